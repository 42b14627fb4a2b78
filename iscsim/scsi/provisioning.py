"""Commands that give blocks back, or fill many with one (SBC-3, "Logical block provisioning")."""

from __future__ import annotations

from typing import NamedTuple

from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.asc import ASC
from iscsim.scsi.command import (
    Command,
    CommandFlag,
    invalid_field,
    invalid_parameter,
    lba_out_of_range,
    parameter_list_length_error,
)
from iscsim.scsi.completion import Completion
from iscsim.scsi.layout import Layout
from iscsim.scsi.logical_unit import MAXIMUM_UNMAP_BLOCKS, MAXIMUM_UNMAP_DESCRIPTORS, LogicalUnit
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import Opcode, ServiceAction
from iscsim.scsi.reservations import ReservationRule
from iscsim.scsi.sbc import check_writable, settle
from iscsim.scsi.sense import CheckCondition, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.store import Buffer

__all__ = ["COMMANDS", "SERVICE_ACTIONS_IN_16", "VARIABLE_LENGTH_SERVICE_ACTIONS"]

_MAPPED, _DEALLOCATED = 0, 1  # PROVISIONING STATUS
_HOLE = bytes(4096)  # fewer zeros do not end an extent of data
_WINDOW_LENGTH = 4 << 20  # as far as GET LBA STATUS looks into what was written
_MOST_BLOCKS = 0xFFFF_FFFF  # in one of its descriptors
_FILL_LENGTH = 1 << 20  # WRITE SAME writes its block in pieces of this size
_SAME = layouts.WRITE_SAME_16.masks("flags")
_ANCHOR = layouts.UNMAP.masks("flags")["anchor"]
# By operation code: the layout, the byte of the flags, and that where NUMBER OF LOGICAL BLOCKS begins.
_SAME_FORMS: dict[int, tuple[Layout, int, int]] = {
    Opcode.WRITE_SAME_10: (layouts.WRITE_SAME_10, 1, 7),
    Opcode.WRITE_SAME_16: (layouts.WRITE_SAME_16, 1, 10),
    Opcode.VARIABLE_LENGTH: (layouts.WRITE_SAME_32, 10, 28),
}
_HEADER_SIZE, _DESCRIPTOR_SIZE = layouts.UNMAP_HEADER.size, layouts.UNMAP_DESCRIPTOR.size
_BLOCKS_IN_DESCRIPTOR = 8  # where NUMBER OF LOGICAL BLOCKS stands in one


def unmap(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, UNMAP: every descriptor is checked before the first block goes."""
    _unmap_length(mapped, cdb)
    unit = mapped.logical_unit
    ranges = _unmap_ranges(data_out)
    _check_ranges(unit, ranges)
    for lba, blocks in ranges:
        unit.store.unmap(lba, blocks)
    settle(unit)
    return Completion()


def _check_ranges(unit: LogicalUnit, ranges: list[tuple[int, int]]) -> None:
    total = 0
    for index, (lba, blocks) in enumerate(ranges):
        if lba + blocks > unit.blocks:
            raise lba_out_of_range(unit, lba)
        total += blocks
        if total > MAXIMUM_UNMAP_BLOCKS:
            raise invalid_parameter(_HEADER_SIZE + index * _DESCRIPTOR_SIZE + _BLOCKS_IN_DESCRIPTOR)


def _unmap_ranges(parameters: Buffer) -> list[tuple[int, int]]:
    """(lba, blocks) of every descriptor that is all there; a descriptor that is cut is ignored (SBC-3)."""
    if not parameters:
        return []
    if len(parameters) < _HEADER_SIZE:
        raise parameter_list_length_error()
    _, descriptors_length = layouts.UNMAP_HEADER.struct.unpack_from(parameters)
    count = min(descriptors_length, len(parameters) - _HEADER_SIZE) // _DESCRIPTOR_SIZE
    if count > MAXIMUM_UNMAP_DESCRIPTORS:
        raise invalid_parameter(2)
    unpack = layouts.UNMAP_DESCRIPTOR.struct.unpack_from
    return [unpack(parameters, _HEADER_SIZE + index * _DESCRIPTOR_SIZE)[:2] for index in range(count)]


def _unmap_length(mapped: MappedLUN, cdb: bytes) -> int:
    if not mapped.logical_unit.thin:
        raise CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_COMMAND_OPERATION_CODE, field=(0, None))
    _, flags, parameter_list_length = layouts.UNMAP.struct.unpack_from(cdb)
    if flags & _ANCHOR:  # VPD page B2h: ANC_SUP is 0
        raise invalid_field(1, 0)
    if 0 < parameter_list_length < _HEADER_SIZE:
        raise parameter_list_length_error()
    check_writable(mapped)
    return int(parameter_list_length)


def write_same(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, WRITE SAME (10), (16) and (32): one block, written to all; a thin unit need not write zeros."""
    if len(data_out) != _write_same_length(mapped, cdb):
        raise CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_FIELD_IN_CDB)
    unit, same = mapped.logical_unit, _same(mapped.logical_unit, cdb)
    block = bytes(data_out) or bytes(unit.block_size)  # NDOB stands for zeros
    if unit.thin and not any(block):
        unit.store.unmap(same.lba, same.blocks)
    else:
        step = _FILL_LENGTH // unit.block_size
        for offset in range(0, same.blocks, step):
            unit.store.write(same.lba + offset, block * min(step, same.blocks - offset))
    settle(unit)
    return Completion()


class _Same(NamedTuple):
    """What a WRITE SAME asks for, and where in its CDB the flags and the number of blocks stand."""

    flags: int
    lba: int
    blocks: int
    to_the_end: bool
    flags_byte: int
    length_byte: int


def _same(unit: LogicalUnit, cdb: bytes) -> _Same:
    """0 blocks means to the end, where WSNZ allows it."""
    layout, flags_byte, length_byte = _SAME_FORMS[cdb[0]]
    fields = layout.parse(cdb)
    lba, blocks = fields["lba"], fields["blocks"]
    count = blocks or max(unit.blocks - lba, 0)
    return _Same(fields["flags"], lba, count, not blocks, flags_byte, length_byte)


def _write_same_length(mapped: MappedLUN, cdb: bytes) -> int:
    """One block, or none with NDOB. Raises what is wrong with the command, if anything is."""
    unit, same = mapped.logical_unit, _same(mapped.logical_unit, cdb)
    _check_same_flags(unit, same, cdb)
    if same.lba >= unit.blocks or same.lba + same.blocks > unit.blocks:
        raise lba_out_of_range(unit, same.lba)
    # VPD page B0h: WSNZ, and MAXIMUM WRITE SAME LENGTH, which holds for all that lies up to the end too
    if (same.to_the_end and unit.write_same_non_zero) or same.blocks > unit.maximum_transfer_blocks:
        raise invalid_field(same.length_byte)
    check_writable(mapped)
    return 0 if same.flags & _SAME["ndob"] else unit.block_size


def _check_same_flags(unit: LogicalUnit, same: _Same, cdb: bytes) -> None:
    refused = ["protect", "anchor", "pbdata", "lbdata"]
    refused += [] if unit.thin else ["unmap"]
    refused += ["ndob"] if cdb[0] == Opcode.WRITE_SAME_10 else []  # which has no such bit
    for name in refused:
        if same.flags & _SAME[name]:
            raise invalid_field(same.flags_byte, _SAME[name].bit_length() - 1)


# GET LBA STATUS.


def get_lba_status(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, GET LBA STATUS: the extent at the starting address, and whether it takes space.

    LBPRZ is 1, so a block of zeros and a block that is not there cannot be told apart, and are not.
    """
    unit = mapped.logical_unit
    if not unit.thin:
        raise invalid_field(1, 4)
    _, _, lba, allocation_length, _ = layouts.SERVICE_ACTION_IN_16.struct.unpack_from(cdb)
    if lba >= unit.blocks:
        raise lba_out_of_range(unit, lba)
    blocks, status = _extent(unit, lba)
    length = layouts.LBA_STATUS.size - 4
    data = layouts.LBA_STATUS.build(data_length=length, lba=lba, blocks=blocks, status=status)
    return Completion(Status.GOOD, data[:allocation_length])


def _extent(unit: LogicalUnit, lba: int) -> tuple[int, int]:
    """Blocks from ``lba`` on in one state, and the state.

    What was never written is passed over at once. Of the rest only so much is looked at: the host asks again.
    """
    written = unit.store.next_written(lba)
    if written > lba:
        return min(written - lba, _MOST_BLOCKS), _DEALLOCATED
    window = min(unit.blocks - lba, _WINDOW_LENGTH // unit.block_size)
    data = bytes(unit.read(lba, window))
    zeros = (len(data) - len(data.lstrip(b"\0"))) // unit.block_size
    if zeros:
        return zeros, _DEALLOCATED
    end = data.find(_HOLE)
    return (window if end < 0 else -(-end // unit.block_size)), _MAPPED


_MEDIUM = CommandFlag.NEEDS_MEDIUM
_EXACT = _MEDIUM | CommandFlag.EXACT_DATA_OUT

COMMANDS: dict[int, Command] = {
    Opcode.UNMAP: Command(unmap, layouts.UNMAP, _MEDIUM | CommandFlag.THIN_ONLY, _unmap_length),
    Opcode.WRITE_SAME_10: Command(write_same, layouts.WRITE_SAME_10, _EXACT, _write_same_length),
    Opcode.WRITE_SAME_16: Command(write_same, layouts.WRITE_SAME_16, _EXACT, _write_same_length),
}

# Under operation code 7Fh.
VARIABLE_LENGTH_SERVICE_ACTIONS: dict[int, Command] = {
    ServiceAction.WRITE_SAME_32 & 0xFFFF: Command(
        write_same, layouts.WRITE_SAME_32, _EXACT | CommandFlag.LONG_CDB_ONLY, _write_same_length
    )
}

# Under SERVICE ACTION IN (16).
SERVICE_ACTIONS_IN_16: dict[int, Command] = {
    ServiceAction.GET_LBA_STATUS & 0x1F: Command(
        get_lba_status,
        layouts.SERVICE_ACTION_IN_16,
        _MEDIUM | CommandFlag.THIN_ONLY,
        reservation=ReservationRule.UNDER_WRITE_EXCLUSIVE,
    )
}
