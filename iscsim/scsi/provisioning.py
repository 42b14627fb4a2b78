"""Commands that give blocks back, or fill many with one (SBC-3, "Logical block provisioning")."""

from __future__ import annotations

from iscsim.scsi import cdb as layouts
from iscsim.scsi.asc import ASC
from iscsim.scsi.command import Command, CommandFlag, invalid_field, invalid_parameter
from iscsim.scsi.completion import Completion
from iscsim.scsi.logical_unit import MAXIMUM_UNMAP_BLOCKS, MAXIMUM_UNMAP_DESCRIPTORS, LogicalUnit
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import Opcode, ServiceAction
from iscsim.scsi.reservations import ReservationRule
from iscsim.scsi.sbc import check_writable, settle
from iscsim.scsi.sense import CheckCondition, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.store import Buffer

__all__ = ["COMMANDS", "SERVICE_ACTIONS_IN_16"]

_MAPPED, _DEALLOCATED = 0, 1  # PROVISIONING STATUS
_HOLE = bytes(4096)  # fewer zeros do not end an extent of data
_WINDOW_LENGTH = 4 << 20  # as far as GET LBA STATUS looks
_FILL_LENGTH = 1 << 20  # WRITE SAME writes its block in pieces of this size
_SAME = layouts.WRITE_SAME_16.masks("flags")
_ANCHOR = layouts.UNMAP.masks("flags")["anchor"]
_SAME_10, _SAME_16 = layouts.WRITE_SAME_10.struct.unpack_from, layouts.WRITE_SAME_16.struct.unpack_from


def _out_of_range() -> CheckCondition:
    return CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.LBA_OUT_OF_RANGE)


def unmap(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, UNMAP: every descriptor is checked before the first block goes."""
    _unmap_length(mapped, cdb)
    unit = mapped.logical_unit
    ranges = _unmap_ranges(data_out)
    if any(lba + blocks > unit.blocks for lba, blocks in ranges):
        raise _out_of_range()
    if sum(blocks for _, blocks in ranges) > MAXIMUM_UNMAP_BLOCKS:
        raise invalid_parameter(8)
    for lba, blocks in ranges:
        unit.store.unmap(lba, blocks)
    settle(unit)
    return Completion()


def _unmap_ranges(parameters: Buffer) -> list[tuple[int, int]]:
    """(lba, blocks) of every descriptor that is all there; a descriptor that is cut is ignored (SBC-3)."""
    if not parameters:
        return []
    header_size, size = layouts.UNMAP_HEADER.size, layouts.UNMAP_DESCRIPTOR.size
    if len(parameters) < header_size:
        raise CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.PARAMETER_LIST_LENGTH_ERROR)
    _, descriptors_length = layouts.UNMAP_HEADER.struct.unpack_from(parameters)
    count = min(descriptors_length, len(parameters) - header_size) // size
    if count > MAXIMUM_UNMAP_DESCRIPTORS:
        raise invalid_parameter(2)
    unpack = layouts.UNMAP_DESCRIPTOR.struct.unpack_from
    return [unpack(parameters, header_size + index * size)[:2] for index in range(count)]


def _unmap_length(mapped: MappedLUN, cdb: bytes) -> int:
    if not mapped.logical_unit.thin:
        raise CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_COMMAND_OPERATION_CODE, field=(0, None))
    check_writable(mapped)
    _, flags, parameter_list_length = layouts.UNMAP.struct.unpack_from(cdb)
    if flags & _ANCHOR:  # VPD page B2h: ANC_SUP is 0
        raise invalid_field(1, 0)
    return int(parameter_list_length)


def write_same_10(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, WRITE SAME (10)."""
    _, flags, lba, blocks = _SAME_10(cdb)
    return _write_same(mapped, flags, lba, blocks, data_out)


def write_same_16(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, WRITE SAME (16)."""
    _, flags, lba, blocks = _SAME_16(cdb)
    return _write_same(mapped, flags, lba, blocks, data_out)


def _write_same(mapped: MappedLUN, flags: int, lba: int, blocks: int, data_out: Buffer) -> Completion:
    """One block, written to all of them; zeros on a thin unit need not be written at all."""
    if len(data_out) != _write_same_size(mapped, flags, lba, blocks):
        raise CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_FIELD_IN_CDB)
    unit = mapped.logical_unit
    block = bytes(data_out)
    if unit.thin and not any(block):
        unit.store.unmap(lba, blocks)
        settle(unit)
        return Completion()
    step = _FILL_LENGTH // unit.block_size
    for offset in range(0, blocks, step):
        unit.store.write(lba + offset, block * min(step, blocks - offset))
    settle(unit)
    return Completion()


def _write_same_size(mapped: MappedLUN, flags: int, lba: int, blocks: int) -> int:
    """One block. Raises what is wrong with the command, if anything is."""
    check_writable(mapped)
    unit = mapped.logical_unit
    _check_same_flags(unit, flags)
    if not blocks:  # VPD page B0h: WSNZ
        raise CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_FIELD_IN_CDB)
    if lba + blocks > unit.blocks:
        raise _out_of_range()
    if blocks > unit.maximum_transfer_blocks:
        raise CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_FIELD_IN_CDB)
    return unit.block_size


def _check_same_flags(unit: LogicalUnit, flags: int) -> None:
    refused = ["protect", "anchor", "pbdata", "lbdata", "ndob"] + ([] if unit.thin else ["unmap"])
    for name in refused:
        if flags & _SAME[name]:
            raise invalid_field(1, _SAME[name].bit_length() - 1)


def _write_same_10_length(mapped: MappedLUN, cdb: bytes) -> int:
    _, flags, lba, blocks = _SAME_10(cdb)
    return _write_same_size(mapped, flags, lba, blocks)


def _write_same_16_length(mapped: MappedLUN, cdb: bytes) -> int:
    _, flags, lba, blocks = _SAME_16(cdb)
    return _write_same_size(mapped, flags, lba, blocks)


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
        raise _out_of_range()
    blocks, status = _extent(unit, lba)
    length = layouts.LBA_STATUS.size - 4
    data = layouts.LBA_STATUS.build(data_length=length, lba=lba, blocks=blocks, status=status)
    return Completion(Status.GOOD, data[:allocation_length])


def _extent(unit: LogicalUnit, lba: int) -> tuple[int, int]:
    """Blocks from ``lba`` on in one state, and the state. Only so far is looked: the host asks again."""
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
    Opcode.WRITE_SAME_10: Command(write_same_10, layouts.WRITE_SAME_10, _EXACT, _write_same_10_length),
    Opcode.WRITE_SAME_16: Command(write_same_16, layouts.WRITE_SAME_16, _EXACT, _write_same_16_length),
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
