"""REPORT and SET TARGET PORT GROUPS (SPC-4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from construct import Int8ub, Int16ub, Int32ub, Padding

from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.asc import ASC
from iscsim.scsi.asymmetric_access import AccessModes, AccessState, AccessStatus, AsymmetricAccess
from iscsim.scsi.command import Command, CommandFlag, invalid_field, invalid_parameter
from iscsim.scsi.completion import Completion
from iscsim.scsi.layout import Layout, bits
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import ServiceAction
from iscsim.scsi.reservations import ReservationRule
from iscsim.scsi.sense import CheckCondition, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.store import Buffer

__all__ = ["MAINTENANCE_IN", "MAINTENANCE_OUT", "TargetPortGroup", "encode_states", "parse_report"]

LENGTH_HEADER = Layout("return_data_length" / Int32ub)
EXTENDED_HEADER = Layout(
    "return_data_length" / Int32ub,
    "format" / bits(_1=1, return_data_format=3, _2=4),
    "implicit_transition_time_s" / Int8ub,
    Padding(2),
)
GROUP = Layout(
    "access" / bits(pref=1, _=3, state=4),
    "supported" / bits(t_sup=1, o_sup=1, _=1, lbd_sup=1, u_sup=1, s_sup=1, an_sup=1, ao_sup=1),
    "group" / Int16ub,
    Padding(1),
    "status" / Int8ub,
    "vendor_specific" / Int8ub,
    "port_count" / Int8ub,
)
PORT = Layout(Padding(2), "relative_target_port" / Int16ub)
SET_HEADER = Layout(Padding(4))
SET_STATE = Layout("access" / bits(_=4, state=4), Padding(1), "group" / Int16ub)

_LENGTH_ONLY, _EXTENDED = 0b000, 0b001  # PARAMETER DATA FORMAT
_RETURN_EXTENDED = _EXTENDED << 4
_PREF = GROUP.masks("access")["pref"]
_SUPPORTED = {
    AccessState.ACTIVE_OPTIMIZED: 0x01,
    AccessState.ACTIVE_NON_OPTIMIZED: 0x02,
    AccessState.STANDBY: 0x04,
    AccessState.UNAVAILABLE: 0x08,
    AccessState.LOGICAL_BLOCK_DEPENDENT: 0x10,
    AccessState.OFFLINE: 0x40,
    AccessState.TRANSITIONING: 0x80,
}
# What an initiator may ask for. Ports go offline by themselves, and TRANSITIONING is no state to stay in.
_TO_BE_SET = frozenset(
    {
        AccessState.ACTIVE_OPTIMIZED,
        AccessState.ACTIVE_NON_OPTIMIZED,
        AccessState.STANDBY,
        AccessState.UNAVAILABLE,
    }
)
_LONGEST_LIST = 4 + 4 * 1024
_MOST_PORTS = 255  # TARGET PORT COUNT is one byte


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPortGroup:
    """One target port group descriptor. ``state`` and ``status`` are `AccessState` and `AccessStatus`, or
    numbers that are none of them; ``supported`` has no others.
    """

    group: int
    ports: tuple[int, ...]
    state: int = AccessState.ACTIVE_OPTIMIZED
    status: int = AccessStatus.NONE
    preferred: bool = False
    supported: frozenset[AccessState] = frozenset()

    def encode(self) -> bytes:
        """8 bytes and 4 a port."""
        ports = self.ports[:_MOST_PORTS]
        head = GROUP.build(
            access=self.state | (_PREF if self.preferred else 0),
            supported=sum(_SUPPORTED[state] for state in self.supported),
            group=self.group,
            status=self.status,
            port_count=len(ports),
        )
        return head + b"".join(PORT.build(relative_target_port=port) for port in ports)

    @classmethod
    def parse(cls, data: bytes, offset: int) -> tuple[Self, int]:
        """The descriptor at ``offset``, and the offset behind it. Raises `ValueError` when it is cut."""
        fields = GROUP.parse(data, offset)
        start, end = offset + GROUP.size, offset + GROUP.size + PORT.size * fields["port_count"]
        ports = tuple(PORT.parse(data, at)["relative_target_port"] for at in range(start, end, PORT.size))
        group = cls(
            group=fields["group"],
            ports=ports,
            state=fields["access"] & 0x0F,
            status=fields["status"],
            preferred=bool(fields["access"] & _PREF),
            supported=frozenset(state for state, bit in _SUPPORTED.items() if fields["supported"] & bit),
        )
        return group, end


def parse_report(data: bytes | bytearray | memoryview) -> tuple[list[TargetPortGroup], int]:
    """The groups of REPORT TARGET PORT GROUPS in either format, and the implicit transition time.

    That is in seconds, 0 where it is not known. Raises `ValueError` when the data is cut.
    """
    data = bytes(data)
    end = LENGTH_HEADER.size + LENGTH_HEADER.parse(data)["return_data_length"]
    if len(data) < end:
        raise ValueError(f"{len(data)} bytes of {end} of the target port groups")
    data, at, time_s = data[:end], LENGTH_HEADER.size, 0
    if len(data) >= EXTENDED_HEADER.size and data[4] & 0x70 == _RETURN_EXTENDED:
        # Whatever was asked for: bits 6:4 are reserved and 0 where a group descriptor begins here.
        at, time_s = EXTENDED_HEADER.size, data[5]
    groups = []
    while at < end:
        group, at = TargetPortGroup.parse(data, at)
        groups.append(group)
    return groups, time_s


def encode_states(states: Iterable[tuple[int, int]]) -> bytes:
    """The parameter list of SET TARGET PORT GROUPS from (group, state)."""
    return SET_HEADER.build() + b"".join(
        SET_STATE.build(access=state, group=group) for group, state in states
    )


def report_target_port_groups(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SPC-4: every group of the nexus' target device with the unit's state in it."""
    access = mapped.logical_unit.access
    if not access.modes:
        raise invalid_field(1, 4)
    _, action, allocation_length = layouts.REPORT_TARGET_PORT_GROUPS.struct.unpack_from(cdb)
    groups = b"".join(group.encode() for group in _groups(nexus, access))
    data = _header(action >> 5, access, len(groups)) + groups
    return Completion(Status.GOOD, data[:allocation_length])


def _groups(nexus: ITNexus, access: AsymmetricAccess) -> Iterable[TargetPortGroup]:
    for group, ports in nexus.target_ports.items():
        found = access.group(group, nexus.target_ports)
        yield TargetPortGroup(
            group=group,
            ports=ports,
            state=found.state,
            status=found.status,
            preferred=found.preferred,
            supported=access.supported,
        )


def _header(parameter_data_format: int, access: AsymmetricAccess, length: int) -> bytes:
    """Raises 05/24/00 for a format SPC-4 does not have."""
    if parameter_data_format == _LENGTH_ONLY:
        return LENGTH_HEADER.build(return_data_length=length)
    if parameter_data_format != _EXTENDED:
        raise invalid_field(1, 7)
    return EXTENDED_HEADER.build(
        return_data_length=EXTENDED_HEADER.size - LENGTH_HEADER.size + length,
        format=_RETURN_EXTENDED,
        implicit_transition_time_s=access.implicit_transition_time_s,
    )


def set_target_port_groups(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SPC-4: all of it, or nothing when one state cannot be set. It is done when it is answered."""
    length = _list_length(mapped, cdb)
    if len(data_out) < length:
        raise CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.PARAMETER_LIST_LENGTH_ERROR)
    access = mapped.logical_unit.access
    states = _wanted_states(nexus, access, bytes(data_out)[:length])
    if any(access.state(group, nexus.target_ports) is AccessState.TRANSITIONING for group in states):
        raise CheckCondition(SenseKey.NOT_READY, ASC.ALUA_TRANSITION)
    access.set_explicitly(states, by=nexus)
    return Completion()


def _list_length(mapped: MappedLUN, cdb: bytes) -> int:
    """Raises 05/20/00 where only the device changes states, 05/24/00 for a list with half a descriptor."""
    if not mapped.logical_unit.access.modes & AccessModes.EXPLICIT:
        raise CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_COMMAND_OPERATION_CODE, field=(0, None))
    _, _, length = layouts.SET_TARGET_PORT_GROUPS.struct.unpack_from(cdb)
    whole = not length or (length >= SET_HEADER.size and not (length - SET_HEADER.size) % SET_STATE.size)
    if not whole or length > _LONGEST_LIST:
        raise invalid_field(6)
    return int(length)


def _wanted_states(nexus: ITNexus, access: AsymmetricAccess, data: bytes) -> dict[int, AccessState]:
    """Raises 05/26/00 for a state that cannot be set, and a group that is unknown or there twice."""
    states: dict[int, AccessState] = {}
    known = set(nexus.target_ports)
    for at in range(SET_HEADER.size, len(data), SET_STATE.size):
        flags, group = SET_STATE.struct.unpack_from(data, at)
        state = flags & 0x0F
        if state not in _TO_BE_SET & access.supported:
            raise invalid_parameter(at, 3)
        if group not in known or group in states:
            raise invalid_parameter(at + 2)
        states[group] = AccessState(state)
    return states


MAINTENANCE_IN: dict[int, Command] = {
    ServiceAction.REPORT_TARGET_PORT_GROUPS & 0x1F: Command(
        report_target_port_groups,
        layouts.REPORT_TARGET_PORT_GROUPS,
        CommandFlag.IN_ANY_ACCESS_STATE | CommandFlag.ASYMMETRIC_ONLY,
        reservation=ReservationRule.ALWAYS,
    )
}
MAINTENANCE_OUT: dict[int, Command] = {
    ServiceAction.SET_TARGET_PORT_GROUPS & 0x1F: Command(
        set_target_port_groups,
        layouts.SET_TARGET_PORT_GROUPS,
        CommandFlag.IN_STANDBY | CommandFlag.IN_UNAVAILABLE | CommandFlag.EXPLICIT_ONLY,
        _list_length,
    )
}
