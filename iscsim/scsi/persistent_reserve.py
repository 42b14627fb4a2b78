"""PERSISTENT RESERVE IN and OUT (SPC-4).

What is not done is said by REPORT CAPABILITIES and refused: nothing survives the end of the program
(PTPL_C is 0, so APTPL is an error), and no registration is for all target ports at once (ATP_C is 0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from construct import Int16ub, Int32ub, Int64ub, Padding

from iscsim.scsi import cdb as layouts
from iscsim.scsi.asc import ASC
from iscsim.scsi.command import Command, CommandFlag, Handler, invalid_field, invalid_parameter
from iscsim.scsi.completion import Completion
from iscsim.scsi.layout import Layout, bits
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import Opcode, ServiceAction
from iscsim.scsi.reservations import (
    Registration,
    ReservationConflict,
    ReservationRule,
    Reservations,
    ReservationType,
)
from iscsim.scsi.sense import CheckCondition, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.store import Buffer
from iscsim.scsi.transport_id import encode_transport_id, parse_transport_ids

__all__ = ["COMMANDS"]

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
PARAMETERS = Layout(
    "key" / Int64ub,
    "service_action_key" / Int64ub,
    Padding(4),
    "flags" / bits(_1=4, spec_i_pt=1, all_tg_pt=1, _2=1, aptpl=1),
    Padding(3),
)
MOVE_PARAMETERS = Layout(
    "key" / Int64ub,
    "service_action_key" / Int64ub,
    Padding(1),
    "flags" / bits(_=6, unreg=1, aptpl=1),
    "relative_target_port" / Int16ub,
    "transport_id_length" / Int32ub,
)
_SPEC_I_PT = PARAMETERS.masks("flags")["spec_i_pt"]
_ALL_TG_PT = PARAMETERS.masks("flags")["all_tg_pt"]
_APTPL = PARAMETERS.masks("flags")["aptpl"]
_UNREG = MOVE_PARAMETERS.masks("flags")["unreg"]
_FLAGS_AT, _MOVE_FLAGS_AT, _PORT_AT, _TRANSPORT_IDS_AT = 20, 17, 18, 24
_KEY_AT = 8  # SERVICE ACTION RESERVATION KEY
_LONGEST_LIST = 8192  # some thirty TransportIDs of the longest kind


# PERSISTENT RESERVE IN.


def _report(read: Callable[[Reservations], bytes]) -> Handler:
    def answer(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
        _, _, allocation_length = layouts.PERSISTENT_RESERVE_IN.struct.unpack_from(cdb)
        reservations = mapped.logical_unit.reservations
        reservations.check_unreserved()
        return Completion(Status.GOOD, read(reservations)[:allocation_length])

    return answer


def _with_header(reservations: Reservations, body: bytes) -> bytes:
    return READ_HEADER.build(generation=reservations.generation, additional_length=len(body)) + body


def _read_keys(reservations: Reservations) -> bytes:
    keys = (registration.key.to_bytes(8, "big") for registration in reservations.registrations)
    return _with_header(reservations, b"".join(keys))


def _read_reservation(reservations: Reservations) -> bytes:
    held = reservations.reservation
    if held is None:
        return _with_header(reservations, b"")
    key = held.holder.key if held.holder else 0  # SPC-4: 0 when all registrants hold it
    return _with_header(reservations, RESERVATION.build(key=key, scope_type=held.type))


def _report_capabilities(reservations: Reservations) -> bytes:
    return CAPABILITIES.build(
        data_length=CAPABILITIES.size,
        flags=CAPABILITIES.masks("flags")["sip_c"],
        more=CAPABILITIES.masks("more")["tmv"],
        types_1=sum(CAPABILITIES.masks("types_1").values()),
        types_2=sum(CAPABILITIES.masks("types_2").values()),
    )


def _read_full_status(reservations: Reservations) -> bytes:
    found = (_full_status(reservations, registration) for registration in reservations.registrations)
    return _with_header(reservations, b"".join(found))


def _full_status(reservations: Reservations, registration: Registration) -> bytes:
    held = reservations.reservation if reservations.holds(registration) else None
    transport_id = encode_transport_id(registration.initiator_port)
    descriptor = FULL_STATUS.build(
        key=registration.key,
        flags=FULL_STATUS.masks("flags")["r_holder"] if held else 0,
        scope_type=held.type if held else 0,
        relative_target_port=registration.relative_target_port,
        additional_length=len(transport_id),
    )
    return descriptor + transport_id


# PERSISTENT RESERVE OUT.


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A PERSISTENT RESERVE OUT, taken apart; ``scope_type`` is the CDB's byte, ``data`` the whole list."""

    nexus: ITNexus
    reservations: Reservations
    scope_type: int
    key: int
    service_action_key: int
    flags: int
    data: bytes

    def own_registration(self) -> Registration:
        """Raises `ReservationConflict` unless the nexus is registered, and under the key it says."""
        registration = self.reservations.find(self.nexus)
        if registration is None or registration.key != self.key:
            raise ReservationConflict(f"{self.nexus} is not registered with key {self.key:#x}")
        return registration

    def kind(self) -> ReservationType:
        """Raises 05/24/00 for another scope than the logical unit, or a type SPC-4 does not have."""
        if self.scope_type >> 4:
            raise invalid_field(2, 7)
        try:
            return ReservationType(self.scope_type & 0x0F)
        except ValueError:
            raise invalid_field(2, 3) from None

    def registration(self, initiator_port: str | None = None) -> Registration:
        """A new one: this nexus, or another initiator port at the same target port."""
        nexus = self.nexus
        port = initiator_port or nexus.initiator_port
        return Registration(port, nexus.target_port, nexus.relative_target_port, self.service_action_key)


_Action = Callable[[Request], None]


def _change(action: _Action, *, counted: bool = True) -> Handler:
    """``counted`` actions increment PRGENERATION when they succeed."""

    def answer(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
        length = _list_length(mapped, cdb)
        if len(data_out) != length or length < PARAMETERS.size:
            raise _length_error()
        reservations = mapped.logical_unit.reservations
        action(_request(nexus, reservations, cdb, bytes(data_out)))
        if counted:
            reservations.generation = (reservations.generation + 1) & 0xFFFF_FFFF
        return Completion()

    return answer


def _request(nexus: ITNexus, reservations: Reservations, cdb: bytes, data: bytes) -> Request:
    fields = PARAMETERS.parse(data)
    return Request(nexus=nexus, reservations=reservations, scope_type=cdb[2], data=data, **fields)


def _list_length(mapped: MappedLUN, cdb: bytes) -> int:
    mapped.logical_unit.reservations.check_unreserved()
    _, _, _, length = layouts.PERSISTENT_RESERVE_OUT.struct.unpack_from(cdb)
    if length > _LONGEST_LIST:
        raise _length_error()
    return int(length)


def _length_error() -> CheckCondition:
    return CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.PARAMETER_LIST_LENGTH_ERROR)


def _check_plain(request: Request) -> None:
    """24 bytes; TransportIDs are for REGISTER alone."""
    if request.flags & _SPEC_I_PT:
        raise invalid_parameter(_FLAGS_AT, 3)
    if len(request.data) != PARAMETERS.size:
        raise _length_error()


def _check_register_flags(request: Request) -> None:
    if request.flags & _ALL_TG_PT:
        raise invalid_parameter(_FLAGS_AT, 2)
    if request.flags & _APTPL:
        raise invalid_parameter(_FLAGS_AT, 0)


def _register(request: Request) -> None:
    """REGISTER: with key 0 for who is not registered, with its key for who is."""
    registration = request.reservations.find(request.nexus)
    if request.key != (registration.key if registration else 0):
        raise ReservationConflict(f"{request.nexus} is not registered with key {request.key:#x}")
    if not request.flags & _SPEC_I_PT:
        return _register_and_ignore_existing_key(request)
    _check_register_flags(request)
    if registration is not None:  # SPC-4: who is registered already registers nobody else
        raise invalid_parameter(_FLAGS_AT, 3)
    known = {one.identity for one in request.reservations.registrations}
    wanted = [request.registration(port) for port in _specified_ports(request)]
    if request.service_action_key:
        new = [one for one in wanted if one.identity not in known]
        request.reservations.register([request.registration(), *new])
    return None


def _specified_ports(request: Request) -> list[str]:
    """SPEC_I_PT: the initiator ports behind the 24 bytes."""
    start = _TRANSPORT_IDS_AT + 4
    length = int.from_bytes(request.data[_TRANSPORT_IDS_AT:start], "big")
    if len(request.data) != start + length:
        raise _length_error()
    return _parse_ports(request.data[start:], at=start)


def _parse_ports(data: bytes, *, at: int) -> list[str]:
    try:
        return parse_transport_ids(data)
    except ValueError:
        raise invalid_parameter(at) from None


def _register_and_ignore_existing_key(request: Request) -> None:
    """Register, change the key, or with key 0 unregister; who is not registered may do that, too."""
    _check_plain(request)
    _check_register_flags(request)
    if request.service_action_key:
        request.reservations.register([request.registration()])
        return
    registration = request.reservations.find(request.nexus)
    if registration is not None:
        request.reservations.unregister(registration, by=request.nexus)


def _reserve(request: Request) -> None:
    kind = request.kind()
    registration = request.own_registration()
    _check_plain(request)
    request.reservations.reserve_persistent(registration, kind)


def _release(request: Request) -> None:
    """RELEASE: nothing happens when this nexus holds nothing."""
    registration = request.own_registration()
    _check_plain(request)
    held = request.reservations.reservation
    if held is None or not request.reservations.holds(registration):
        return
    if request.scope_type != held.type:
        raise CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_RELEASE_OF_PERSISTENT_RESERVATION)
    request.reservations.release_persistent(by=request.nexus)


def _clear(request: Request) -> None:
    request.own_registration()
    _check_plain(request)
    request.reservations.clear(by=request.nexus)


def _preempt(request: Request) -> None:
    """PREEMPT: of a key that holds the reservation it takes that over; of another it removes registrations.

    PREEMPT AND ABORT does the same: commands run to their end at once here, and one whose data is still on
    the way is checked against the new reservation when it has them.
    """
    registration = request.own_registration()
    _check_plain(request)
    key, reservations = request.service_action_key, request.reservations
    if reservations.is_preempted_by(key):
        reservations.preempt_reservation(registration, key, request.kind(), by=request.nexus)
    elif key:
        reservations.preempt_registrations(key, by=request.nexus)
    else:
        raise invalid_parameter(_KEY_AT)


def _register_and_move(request: Request) -> None:
    """REGISTER AND MOVE: the one holder hands its reservation to another nexus, and may leave (UNREG)."""
    registration = request.own_registration()
    held = request.reservations.reservation
    if held is None or held.holder is not registration:
        raise ReservationConflict(f"{request.nexus} does not hold a reservation it could move")
    receiving, flags = _receiving(request)
    if receiving.identity == registration.identity:
        raise invalid_parameter(_TRANSPORT_IDS_AT)
    request.reservations.move(receiving)
    if flags & _UNREG:
        request.reservations.unregister(registration, by=request.nexus)


def _receiving(request: Request) -> tuple[Registration, int]:
    """Who gets the reservation, and the flags, which stand elsewhere in this parameter list."""
    fields = MOVE_PARAMETERS.parse(request.data)
    if len(request.data) != MOVE_PARAMETERS.size + fields["transport_id_length"]:
        raise _length_error()
    if not request.service_action_key:
        raise invalid_parameter(_KEY_AT)
    if fields["flags"] & _APTPL:
        raise invalid_parameter(_MOVE_FLAGS_AT, 0)
    number = fields["relative_target_port"]
    target_port = request.reservations.target_port(request.nexus, number)
    if target_port is None:
        raise invalid_parameter(_PORT_AT)
    ports = _parse_ports(request.data[_TRANSPORT_IDS_AT:], at=_TRANSPORT_IDS_AT)
    if len(ports) != 1:
        raise invalid_parameter(_TRANSPORT_IDS_AT)
    return Registration(ports[0], target_port, number, request.service_action_key), fields["flags"]


# Both look for themselves at who is registered, and conflict with the nexus' own RESERVE, too.
_RULE = ReservationRule.UNDER_PERSISTENT


def _in(read: Callable[[Reservations], bytes]) -> Command:
    return Command(_report(read), layouts.PERSISTENT_RESERVE_IN, CommandFlag.IN_STANDBY, reservation=_RULE)


def _out(action: _Action, *, counted: bool = True) -> Command:
    return Command(
        _change(action, counted=counted),
        layouts.PERSISTENT_RESERVE_OUT,
        CommandFlag.IN_STANDBY,
        _list_length,
        reservation=_RULE,
    )


_IN: dict[ServiceAction, Command] = {
    ServiceAction.PERSISTENT_RESERVE_IN_READ_KEYS: _in(_read_keys),
    ServiceAction.PERSISTENT_RESERVE_IN_READ_RESERVATION: _in(_read_reservation),
    ServiceAction.PERSISTENT_RESERVE_IN_REPORT_CAPABILITIES: _in(_report_capabilities),
    ServiceAction.PERSISTENT_RESERVE_IN_READ_FULL_STATUS: _in(_read_full_status),
}
_OUT: dict[ServiceAction, Command] = {
    ServiceAction.PERSISTENT_RESERVE_OUT_REGISTER: _out(_register),
    ServiceAction.PERSISTENT_RESERVE_OUT_RESERVE: _out(_reserve, counted=False),
    ServiceAction.PERSISTENT_RESERVE_OUT_RELEASE: _out(_release, counted=False),
    ServiceAction.PERSISTENT_RESERVE_OUT_CLEAR: _out(_clear),
    ServiceAction.PERSISTENT_RESERVE_OUT_PREEMPT: _out(_preempt),
    ServiceAction.PERSISTENT_RESERVE_OUT_PREEMPT_AND_ABORT: _out(_preempt),
    ServiceAction.PERSISTENT_RESERVE_OUT_REGISTER_AND_IGNORE_EXISTING_KEY: _out(
        _register_and_ignore_existing_key
    ),
    ServiceAction.PERSISTENT_RESERVE_OUT_REGISTER_AND_MOVE: _out(_register_and_move),
}

COMMANDS: dict[int, Command] = {
    Opcode.PERSISTENT_RESERVE_IN: Command(service_actions={code & 0x1F: row for code, row in _IN.items()}),
    Opcode.PERSISTENT_RESERVE_OUT: Command(service_actions={code & 0x1F: row for code, row in _OUT.items()}),
}
