"""PERSISTENT RESERVE IN (SPC-4): who is registered, who has reserved, and what is possible."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from construct import Int16ub, Int32ub, Int64ub, Padding

from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.command import Command, CommandFlag, Handler
from iscsim.scsi.completion import Completion
from iscsim.scsi.layout import Layout, bits
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import ServiceAction
from iscsim.scsi.reservations import Registration, ReservationRule, Reservations
from iscsim.scsi.status import Status
from iscsim.scsi.store import Buffer
from iscsim.scsi.transport_id import encode_transport_id

__all__ = ["SERVICE_ACTIONS"]

READ_HEADER = Layout("generation" / Int32ub, "additional_length" / Int32ub)
RESERVATION = Layout(
    "key" / Int64ub, Padding(5), "scope_type" / bits(scope=4, reservation_type=4), Padding(2)
)
CAPABILITIES = Layout(
    "data_length" / Int16ub,
    "flags" / bits(rlr_c=1, _1=2, crh=1, sip_c=1, atp_c=1, _2=1, ptpl_c=1),
    "more" / bits(tmv=1, allow_commands=3, _=3, ptpl_a=1),
    "types_1" / bits(wr_ex_ar=1, ex_ac_ro=1, wr_ex_ro=1, _1=1, ex_ac=1, _2=1, wr_ex=1, _3=1),
    "types_2" / bits(_=7, ex_ac_ar=1),
    Padding(2),
)
FULL_STATUS = Layout(
    "key" / Int64ub,
    Padding(4),
    "flags" / bits(_=6, all_tg_pt=1, r_holder=1),
    "scope_type" / bits(scope=4, reservation_type=4),
    Padding(4),
    "relative_target_port" / Int16ub,
    "additional_length" / Int32ub,
)

_Report = Callable[[ITNexus, Reservations], bytes]


def _report(read: _Report) -> Handler:
    def answer(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
        _, _, allocation_length = layouts.PERSISTENT_RESERVE_IN.struct.unpack_from(cdb)
        reservations = mapped.logical_unit.reservations
        reservations.check_unreserved()
        return Completion(Status.GOOD, read(nexus, reservations)[:allocation_length])

    return answer


def _with_header(reservations: Reservations, body: bytes) -> bytes:
    return READ_HEADER.build(generation=reservations.generation, additional_length=len(body)) + body


def _read_keys(nexus: ITNexus, reservations: Reservations) -> bytes:
    """READ KEYS: one for each registered I_T nexus, the same key again where several have it."""
    keys = (registration.key.to_bytes(8, "big") for registration in reservations.registrations)
    return _with_header(reservations, b"".join(keys))


def _read_reservation(nexus: ITNexus, reservations: Reservations) -> bytes:
    held = reservations.reservation
    if held is None:
        return _with_header(reservations, b"")
    body = RESERVATION.build(key=reservations.holder_key(), scope_type=held.type)
    return _with_header(reservations, body)


def _report_capabilities(nexus: ITNexus, reservations: Reservations) -> bytes:
    """REPORT CAPABILITIES; PTPL_C is 1 for a unit that has a place to keep registrations in."""
    flags, more = CAPABILITIES.masks("flags"), CAPABILITIES.masks("more")
    lasting = flags["ptpl_c"] if reservations.can_survive_power_loss else 0
    return CAPABILITIES.build(
        data_length=CAPABILITIES.size,
        flags=flags["crh"] | flags["sip_c"] | flags["atp_c"] | lasting,
        more=more["tmv"] | _ALLOWS_TEST_UNIT_READY | (more["ptpl_a"] if reservations.activated else 0),
        types_1=sum(CAPABILITIES.masks("types_1").values()),
        types_2=sum(CAPABILITIES.masks("types_2").values()),
    )


# ALLOW COMMANDS 001b: TEST UNIT READY runs under every type, of other commands nothing is said.
_ALLOWS_TEST_UNIT_READY = 0b001 << 4


def _read_full_status(nexus: ITNexus, reservations: Reservations) -> bytes:
    """READ FULL STATUS; what is the same through every port of the nexus' target is told once (ALL_TG_PT)."""
    body = bytearray()
    told: set[Registration] = set()
    for registration in reservations.registrations:
        if registration not in told:
            together = list(_through_all_ports(nexus, reservations, registration))
            told.update(together)
            body += _full_status(reservations, registration, all_target_ports=bool(together))
    return _with_header(reservations, bytes(body))


def _through_all_ports(
    nexus: ITNexus, reservations: Reservations, registration: Registration
) -> Iterable[Registration]:
    """The registrations made with this one, if there still is an equal one for every target port."""
    if not registration.all_target_ports or registration.target_name != nexus.target_name:
        return ()
    names = nexus.target_port_names().values()
    found = [reservations.get((registration.initiator_port, name)) for name in names]
    same = [one for one in found if one is not None and _alike(reservations, one, registration)]
    return same if len(same) == len(found) else ()


def _alike(reservations: Reservations, one: Registration, other: Registration) -> bool:
    return (
        one.all_target_ports and one.key == other.key and reservations.holds(one) == reservations.holds(other)
    )


def _full_status(reservations: Reservations, registration: Registration, *, all_target_ports: bool) -> bytes:
    held = reservations.reservation if reservations.holds(registration) else None
    transport_id = encode_transport_id(registration.initiator_port)
    flags = FULL_STATUS.masks("flags")
    descriptor = FULL_STATUS.build(
        key=registration.key,
        flags=(flags["all_tg_pt"] if all_target_ports else 0) | (flags["r_holder"] if held else 0),
        scope_type=held.type if held else 0,
        relative_target_port=0 if all_target_ports else registration.relative_target_port,
        additional_length=len(transport_id),
    )
    return descriptor + transport_id


def _row(read: _Report) -> Command:
    # Looks for itself at who has reserved: conflicts with the nexus' own RESERVE, too.
    return Command(
        _report(read),
        layouts.PERSISTENT_RESERVE_IN,
        CommandFlag.IN_STANDBY,
        reservation=ReservationRule.UNDER_PERSISTENT,
    )


SERVICE_ACTIONS: dict[ServiceAction, Command] = {
    ServiceAction.PERSISTENT_RESERVE_IN_READ_KEYS: _row(_read_keys),
    ServiceAction.PERSISTENT_RESERVE_IN_READ_RESERVATION: _row(_read_reservation),
    ServiceAction.PERSISTENT_RESERVE_IN_REPORT_CAPABILITIES: _row(_report_capabilities),
    ServiceAction.PERSISTENT_RESERVE_IN_READ_FULL_STATUS: _row(_read_full_status),
}
