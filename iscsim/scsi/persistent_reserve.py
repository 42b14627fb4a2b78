"""PERSISTENT RESERVE OUT (SPC-4), and the rows of PERSISTENT RESERVE IN beside it.

Every service action is a transaction: it happens as a whole and, with APTPL, is kept before it is answered,
or it does not happen at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from construct import Int16ub, Int32ub, Int64ub, Padding

from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi import persistent_reserve_in
from iscsim.scsi.asc import ASC
from iscsim.scsi.command import Command, CommandFlag, Handler, invalid_field, invalid_parameter
from iscsim.scsi.completion import Completion, PreemptAndAbortCompletion
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
from iscsim.scsi.store import Buffer
from iscsim.scsi.transport_id import TransportID, TruncatedTransportID, parse_transport_ids

__all__ = ["COMMANDS"]

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
            raise self.wrong_key()
        return registration

    def wrong_key(self) -> ReservationConflict:
        """For who is not registered under the key it says."""
        return ReservationConflict(f"{self.nexus} is not registered with key {self.key:#x}")

    def kind(self) -> ReservationType:
        """Raises 05/24/00 for another scope than the logical unit, or a type SPC-4 does not have."""
        if self.scope_type >> 4:
            raise invalid_field(2, 7)
        try:
            return ReservationType(self.scope_type & 0x0F)
        except ValueError:
            raise invalid_field(2, 3) from None

    def registrations(self, initiator_port: str) -> list[Registration]:
        """New ones for an initiator port: at the target port of this nexus, with ALL_TG_PT at every one."""
        nexus, everywhere = self.nexus, bool(self.flags & _ALL_TG_PT)
        own = {nexus.relative_target_port: nexus.target_port}
        target_ports = own | dict(nexus.target_port_names()) if everywhere else own
        return [
            Registration(initiator_port, name, number, self.service_action_key, nexus.target_name, everywhere)
            for number, name in target_ports.items()
        ]


_Action = Callable[[Request], Completion | None]


def _change(action: _Action, *, counted: bool = True) -> Handler:
    """``counted`` actions increment PRGENERATION when they succeed."""

    def answer(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
        length = _list_length(mapped, cdb)
        if len(data_out) != length or length < PARAMETERS.size:
            raise _length_error()
        reservations = mapped.logical_unit.reservations
        request = _request(nexus, reservations, cdb, bytes(data_out))
        with reservations.transaction():
            completion = action(request)
        if counted:
            reservations.generation = (reservations.generation + 1) & 0xFFFF_FFFF
        return completion or Completion()

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


# REGISTER, and REGISTER AND IGNORE EXISTING KEY.


def _register(request: Request) -> None:
    """REGISTER: with key 0 for who is not registered, with its key for who is.

    With ALL_TG_PT that has to be so through every target port: it is as if each had received the command.
    """
    registered = [request.reservations.get(one.identity) for one in _own(request)]
    if any(request.key != (found.key if found else 0) for found in registered):
        raise request.wrong_key()
    if not request.flags & _SPEC_I_PT:
        return _register_and_ignore_existing_key(request)
    if registered[0] is not None:  # SPC-4: who is registered already registers nobody else
        raise invalid_parameter(_FLAGS_AT, 3)
    others = [one for port in _specified_ports(request) for one in request.registrations(port)]
    new = [one for one in others if request.reservations.get(one.identity) is None]
    if request.service_action_key:
        _activate(request, request.flags & _APTPL, at=_FLAGS_AT)
        request.reservations.register([*_own(request), *new])
    return None


def _own(request: Request) -> list[Registration]:
    return request.registrations(request.nexus.initiator_port)


def _specified_ports(request: Request) -> list[str]:
    """SPEC_I_PT: the initiator ports behind the 24 bytes."""
    start = _TRANSPORT_IDS_AT + 4
    length = int.from_bytes(request.data[_TRANSPORT_IDS_AT:start], "big")
    if len(request.data) != start + length:
        raise _length_error()
    return _ports(request, _parse_transport_ids(request.data[start:], at=start))


def _ports(request: Request, transport_ids: Iterable[TransportID]) -> list[str]:
    """SPC-4: a TransportID without an ISID stands for all ports of that initiator that are known."""
    ports: list[str] = []
    for each in transport_ids:
        known = request.reservations.initiator_ports(each.initiator_name)
        ports += known if each.initiator_port is None else [each.initiator_port]
    return ports


def _parse_transport_ids(data: bytes, *, at: int) -> list[TransportID]:
    try:
        return parse_transport_ids(data)
    except TruncatedTransportID:
        raise _length_error() from None
    except ValueError:
        raise invalid_parameter(at) from None


def _register_and_ignore_existing_key(request: Request) -> None:
    """Register, change the key, or with key 0 unregister; who is not registered may do that, too."""
    _check_plain(request)
    wanted, reservations = _own(request), request.reservations
    found = [one for one in map(reservations.get, (one.identity for one in wanted)) if one is not None]
    if request.service_action_key or found:
        _activate(request, request.flags & _APTPL, at=_FLAGS_AT)
    if request.service_action_key:
        reservations.register(wanted)
    else:
        for registration in found:
            reservations.unregister(registration, by=request.nexus)


def _activate(request: Request, aptpl: int, *, at: int) -> None:
    """APTPL of the last registration, whosoever, says what a loss of power leaves of all of them."""
    if aptpl and not request.reservations.can_survive_power_loss:
        raise invalid_parameter(at, 0)
    request.reservations.activated = bool(aptpl)


# The others.


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
    _preempted(request)


def _preempted(request: Request) -> list[Registration]:
    """PREEMPT: of a key that holds the reservation it takes that over; of another it removes registrations.

    Returns what was removed.
    """
    registration = request.own_registration()
    _check_plain(request)
    key, reservations = request.service_action_key, request.reservations
    if reservations.is_preempted_by(key):
        return reservations.preempt_reservation(registration, key, request.kind(), by=request.nexus)
    if not key:
        raise invalid_parameter(_KEY_AT)
    return reservations.preempt_registrations(key, by=request.nexus)


def _preempt_and_abort(request: Request) -> Completion:
    """As PREEMPT; the commands of who lost its registration end, which the transport has to see to."""
    gone = _preempted(request)
    return PreemptAndAbortCompletion(request.reservations.nexuses_of(gone))


def _register_and_move(request: Request) -> None:
    """REGISTER AND MOVE: the one holder hands its reservation to another nexus, and may leave (UNREG)."""
    registration, reservations = request.own_registration(), request.reservations
    if reservations.reservation is None:
        raise invalid_field(1, 4)
    if reservations.reservation.holder != registration.identity:
        raise ReservationConflict(f"{request.nexus} does not hold a reservation it could move")
    receiving, flags = _receiving(request)
    _activate(request, flags & _APTPL, at=_MOVE_FLAGS_AT)
    reservations.move(receiving)
    if flags & _UNREG:
        reservations.unregister(registration, by=request.nexus)


def _receiving(request: Request) -> tuple[Registration, int]:
    """Who gets the reservation, and the flags, which stand elsewhere in this parameter list.

    It must not be the initiator port that gives it, whatever the target port (SPC-4).
    """
    fields = MOVE_PARAMETERS.parse(request.data)
    if len(request.data) != MOVE_PARAMETERS.size + fields["transport_id_length"]:
        raise _length_error()
    if not request.service_action_key:
        raise invalid_parameter(_KEY_AT)
    number, nexus = fields["relative_target_port"], request.nexus
    target_port = nexus.target_port_names().get(number)
    if target_port is None:
        raise invalid_parameter(_PORT_AT)
    named = _parse_transport_ids(request.data[_TRANSPORT_IDS_AT:], at=_TRANSPORT_IDS_AT)
    port = named[0].initiator_port if len(named) == 1 else None
    if port in (None, nexus.initiator_port):
        raise invalid_parameter(_TRANSPORT_IDS_AT)
    key = request.service_action_key
    return Registration(port, target_port, number, key, nexus.target_name), fields["flags"]


def _row(action: _Action, *, counted: bool = True) -> Command:
    # Looks for itself at who is registered: conflicts with the nexus' own RESERVE, too.
    return Command(
        _change(action, counted=counted),
        layouts.PERSISTENT_RESERVE_OUT,
        CommandFlag.IN_STANDBY,
        _list_length,
        reservation=ReservationRule.UNDER_PERSISTENT,
    )


SERVICE_ACTIONS: dict[ServiceAction, Command] = {
    ServiceAction.PERSISTENT_RESERVE_OUT_REGISTER: _row(_register),
    ServiceAction.PERSISTENT_RESERVE_OUT_RESERVE: _row(_reserve, counted=False),
    ServiceAction.PERSISTENT_RESERVE_OUT_RELEASE: _row(_release, counted=False),
    ServiceAction.PERSISTENT_RESERVE_OUT_CLEAR: _row(_clear),
    ServiceAction.PERSISTENT_RESERVE_OUT_PREEMPT: _row(_preempt),
    ServiceAction.PERSISTENT_RESERVE_OUT_PREEMPT_AND_ABORT: _row(_preempt_and_abort),
    ServiceAction.PERSISTENT_RESERVE_OUT_REGISTER_AND_IGNORE_EXISTING_KEY: _row(
        _register_and_ignore_existing_key
    ),
    ServiceAction.PERSISTENT_RESERVE_OUT_REGISTER_AND_MOVE: _row(_register_and_move),
}


def _by_code(rows: Mapping[ServiceAction, Command]) -> dict[int, Command]:
    return {code & 0x1F: row for code, row in rows.items()}


COMMANDS: dict[int, Command] = {
    Opcode.PERSISTENT_RESERVE_IN: Command(service_actions=_by_code(persistent_reserve_in.SERVICE_ACTIONS)),
    Opcode.PERSISTENT_RESERVE_OUT: Command(service_actions=_by_code(SERVICE_ACTIONS)),
}
