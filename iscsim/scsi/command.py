"""What a command table holds, and what its handlers have in common."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntFlag
from typing import TYPE_CHECKING

from iscsim.scsi.completion import Completion
from iscsim.scsi.layout import Layout
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import cdb_length
from iscsim.scsi.reservations import ReservationRule
from iscsim.scsi.sense import ASC, CheckCondition, FieldPointer, Sense, SenseKey
from iscsim.scsi.store import Buffer

if TYPE_CHECKING:
    from iscsim.scsi.logical_unit import LogicalUnit

__all__ = [
    "Command",
    "CommandFlag",
    "DataOutLength",
    "Handler",
    "check_control",
    "checking_control",
    "invalid_field",
    "invalid_parameter",
    "lba_out_of_range",
    "parameter_list_length_error",
    "store_sense",
]

NACA = 0x04  # the only bit of CONTROL that asks for something
VARIABLE_LENGTH = 0x7F  # has CONTROL in byte 1
# nexus, unit, CDB (16 bytes or more), Data-Out. Raises CheckCondition.
Handler = Callable[[ITNexus, MappedLUN, bytes, Buffer], Completion]
# Bytes of Data-Out the command wants. Raises CheckCondition when it is going to fail.
DataOutLength = Callable[[MappedLUN, bytes], int]
# CDB -> rule, for commands that are harmless in one form only.
RuleByCDB = Callable[[bytes], ReservationRule]


class CommandFlag(IntFlag):
    """When a command may run."""

    NONE = 0
    # SAM-5: INQUIRY, REPORT LUNS and REQUEST SENSE run although a unit attention waits.
    WITH_UNIT_ATTENTION = 1
    # Ends with 02/3A when there is no medium.
    NEEDS_MEDIUM = 2
    # There only on thin units, which REPORT SUPPORTED OPERATION CODES has to know.
    THIN_ONLY = 4
    # Refused when the initiator offers more or less Data-Out than the command wants, instead of a residual.
    EXACT_DATA_OUT = 8
    # The CDB does not say how long Data-Out is: ``data_out_length`` is the most that is taken of it.
    OPEN_DATA_OUT = 16
    # There only on units that take variable length CDBs.
    LONG_CDB_ONLY = 32
    # SPC-4, asymmetric access: runs although the unit is in standby, unavailable or offline, or in transition
    # at the port it came through.
    IN_STANDBY = 1 << 16
    IN_UNAVAILABLE = 1 << 17
    IN_TRANSITION = 1 << 18
    IN_ANY_ACCESS_STATE = IN_STANDBY | IN_UNAVAILABLE | IN_TRANSITION
    # There only on units with asymmetric access, or with explicit asymmetric access.
    ASYMMETRIC_ONLY = 1 << 19
    EXPLICIT_ONLY = 1 << 20
    # Runs on a path to a storage processor that does not own the unit, besides what runs in standby.
    ON_PASSIVE_PATH = 1 << 21
    # The handler looks at CONTROL itself, because it is in a hurry; for all others the device server does.
    CHECKS_CONTROL = 1 << 8


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table.

    ``layout`` is that of the CDB, ``data_out_length`` is None where there is no Data-Out. An operation code
    with service actions has its rows in ``service_actions``, by what `opcode.service_action` finds in the
    CDB, and no handler of its own. ``reservation`` is what the command may do while somebody else has
    reserved the unit: nothing, unless the row says otherwise.
    """

    handler: Handler | None = None
    layout: Layout | None = None
    flags: CommandFlag = CommandFlag.NONE
    data_out_length: DataOutLength | None = None
    service_actions: Mapping[int, Command] = field(default_factory=dict)
    reservation: ReservationRule | RuleByCDB = ReservationRule.CONFLICT
    bits: int = field(init=False, repr=False)
    """The flags once more: ``&`` of plain numbers takes a tenth of the time."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", int(self.flags))


def control_position(opcode: int) -> int | None:
    """Which byte of a CDB is CONTROL; None where the operation code does not say how long the CDB is."""
    if opcode == VARIABLE_LENGTH:
        return 1
    return cdb_length(opcode) - 1 if cdb_length(opcode) else None


def check_control(cdb: bytes) -> None:
    """SAM-5, CONTROL byte: NACA is refused, as NORMACA of standard INQUIRY data is 0.

    The vendor specific and reserved bits are ignored. Raises 05/24/00 with a pointer to NACA.
    """
    position = control_position(cdb[0])
    if position is not None and cdb[position] & NACA:
        raise invalid_field(position, 2)


def checking_control(opcode: int, row: Command) -> Command:
    """``row`` with what `check_control` does before its handler and before its length of Data-Out."""
    actions = {action: checking_control(opcode, each) for action, each in row.service_actions.items()}
    handler, length, position = row.handler, row.data_out_length, control_position(opcode)
    if handler is None or position is None or row.flags & CommandFlag.CHECKS_CONTROL:
        return replace(row, service_actions=actions)

    def handle(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
        if cdb[position] & NACA:
            raise invalid_field(position, 2)
        return handler(nexus, mapped, cdb, data_out)

    def data_out_length(mapped: MappedLUN, cdb: bytes) -> int:
        if cdb[position] & NACA:
            raise invalid_field(position, 2)
        return length(mapped, cdb) if length else 0

    wanted = data_out_length if length else None
    return replace(row, handler=handle, data_out_length=wanted, service_actions=actions)


def invalid_field(byte: int, bit: int | None = None) -> CheckCondition:
    """05/24/00 with a pointer to the field of the CDB that is wrong."""
    return CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_FIELD_IN_CDB, field=(byte, bit))


def invalid_parameter(byte: int, bit: int | None = None) -> CheckCondition:
    """05/26/00 with a pointer to the field of the parameter list that is wrong."""
    pointer = FieldPointer(byte, bit, in_cdb=False)
    return CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_FIELD_IN_PARAMETER_LIST, field=pointer)


def store_sense(error: OSError, *, writing: bool) -> Sense:
    """What a failure of the store is called: no space, a failed write, a failed read."""
    if error.errno == errno.ENOSPC:
        return Sense.of(SenseKey.DATA_PROTECT, ASC.SPACE_ALLOCATION_FAILED_WRITE_PROTECT)
    return Sense.of(SenseKey.MEDIUM_ERROR, ASC.WRITE_ERROR if writing else ASC.UNRECOVERED_READ_ERROR)


def parameter_list_length_error() -> CheckCondition:
    """05/1A/00: the lengths in a parameter list, of it and of what came do not agree."""
    return CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.PARAMETER_LIST_LENGTH_ERROR)


def lba_out_of_range(unit: LogicalUnit, lba: int) -> CheckCondition:
    """05/21/00; its INFORMATION is the first address of a range from ``lba`` on that is not there (SBC-3)."""
    return CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.LBA_OUT_OF_RANGE, information=max(lba, unit.blocks))
