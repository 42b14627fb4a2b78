"""The commands of a direct-access block device (SBC-3).

Handlers raise `CheckCondition`; the device server answers.
"""

from __future__ import annotations

from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.asc import ASC
from iscsim.scsi.command import Command, CommandFlag, check_control, invalid_field, lba_out_of_range
from iscsim.scsi.completion import Completion
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import Opcode, ServiceAction
from iscsim.scsi.reservations import ReservationRule
from iscsim.scsi.sense import CheckCondition, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.store import Buffer

__all__ = [
    "COMMANDS",
    "SERVICE_ACTIONS_IN_16",
    "check_transfer",
    "check_writable",
    "settle",
    "whole_blocks_length",
]

_PROTECT = layouts.TRANSFER_10.masks("access")["protect"]
_FUA = layouts.TRANSFER_10.masks("access")["fua"]
_PMI = layouts.READ_CAPACITY_10.masks("flags")["pmi"]
_GOOD = int(Status.GOOD)
# Where TRANSFER LENGTH begins, by the size of the CDB.
_LENGTH_6, _LENGTH_10, _LENGTH_12, _LENGTH_16 = 4, 7, 6, 10

# READ: the CONTROL byte in the place of the operation code.
_read_arguments_10 = layouts.TRANSFER_10.arguments().unpack_from
_read_arguments_12 = layouts.TRANSFER_12.arguments().unpack_from
_read_arguments_16 = layouts.TRANSFER_16.arguments().unpack_from
_unpack_6 = layouts.TRANSFER_6.struct.unpack_from
_unpack_10 = layouts.TRANSFER_10.struct.unpack_from
_unpack_12 = layouts.TRANSFER_12.struct.unpack_from
_unpack_16 = layouts.TRANSFER_16.struct.unpack_from


def check_transfer(unit: LogicalUnit, access: int, lba: int, blocks: int, length_byte: int) -> None:
    """Raises what is wrong with a range, if anything is; ``length_byte`` is where its length begins."""
    if access & _PROTECT:  # no protection information here: RDPROTECT and WRPROTECT must be 0
        raise invalid_field(1, 7)
    if lba + blocks > unit.blocks:
        raise lba_out_of_range(unit, lba)
    if blocks > unit.maximum_transfer_blocks:
        raise invalid_field(length_byte)


def check_writable(mapped: MappedLUN) -> None:
    """Raises 07/27/00 for a map, a unit or a store that is read-only, and under SWP of the control page."""
    unit = mapped.logical_unit
    if mapped.read_only or unit.read_only or unit.software_write_protect:
        raise CheckCondition(SenseKey.DATA_PROTECT, ASC.WRITE_PROTECTED)


# READ. The body is the hot path of the whole target: unpack, compare, slice, answer.


def _read(unit: LogicalUnit, access: int, lba: int, blocks: int, length_byte: int) -> Completion:
    if access & _PROTECT or lba + blocks > unit.blocks or blocks > unit.maximum_transfer_blocks:
        check_transfer(unit, access, lba, blocks, length_byte)
    return Completion(_GOOD, unit.read(lba, blocks))


def read_6(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, READ (6): 0 blocks means 256."""
    lba, blocks = _range_6(cdb)
    check_control(cdb)
    return _read(mapped.logical_unit, 0, lba, blocks, _LENGTH_6)


def read_10(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, READ (10)."""
    access, lba, blocks, control = _read_arguments_10(cdb)
    if control:
        check_control(cdb)
    return _read(mapped.logical_unit, access, lba, blocks, _LENGTH_10)


def read_12(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, READ (12)."""
    access, lba, blocks, control = _read_arguments_12(cdb)
    if control:
        check_control(cdb)
    return _read(mapped.logical_unit, access, lba, blocks, _LENGTH_12)


def read_16(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, READ (16)."""
    access, lba, blocks, control = _read_arguments_16(cdb)
    if control:
        check_control(cdb)
    return _read(mapped.logical_unit, access, lba, blocks, _LENGTH_16)


def _range_6(cdb: bytes) -> tuple[int, int]:
    _, lba_high, lba_low, blocks = _unpack_6(cdb)
    return (lba_high & 0x1F) << 16 | lba_low, blocks or 256


# WRITE.


def whole_blocks_length(unit: LogicalUnit, blocks: int, data_out: Buffer) -> int:
    """Bytes of the whole blocks that came, ``blocks`` at most: an initiator that expected to send fewer
    gets its residual from iSCSI.
    """
    size = unit.block_size
    return min(blocks, len(data_out) // size) * size


def _write(
    mapped: MappedLUN, access: int, lba: int, blocks: int, length_byte: int, data_out: Buffer
) -> Completion:
    unit = mapped.logical_unit
    check_transfer(unit, access, lba, blocks, length_byte)
    check_writable(mapped)
    length = whole_blocks_length(unit, blocks, data_out)
    if length != len(data_out):
        data_out = memoryview(data_out)[:length]
    if length:
        unit.store.write(lba, data_out)
    settle(unit, access)
    return Completion()


def settle(unit: LogicalUnit, access: int = 0) -> None:
    """After a change: flush what was written when FUA, or a write cache that is switched off, asks for it
    (SBC-3), and see whether a threshold was reached.
    """
    if access & _FUA or not unit.write_cache:
        unit.store.flush()
    if unit.soft_threshold is not None:
        unit.soft_threshold.check(unit)


def write_6(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, WRITE (6): 0 blocks means 256."""
    lba, blocks = _range_6(cdb)
    return _write(mapped, 0, lba, blocks, _LENGTH_6, data_out)


def write_10(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, WRITE (10). FUA is answered when the store has flushed."""
    _, access, lba, blocks = _unpack_10(cdb)
    return _write(mapped, access, lba, blocks, _LENGTH_10, data_out)


def write_12(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, WRITE (12)."""
    _, access, lba, blocks = _unpack_12(cdb)
    return _write(mapped, access, lba, blocks, _LENGTH_12, data_out)


def write_16(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, WRITE (16)."""
    _, access, lba, blocks = _unpack_16(cdb)
    return _write(mapped, access, lba, blocks, _LENGTH_16, data_out)


def _write_length(mapped: MappedLUN, access: int, lba: int, blocks: int, length_byte: int) -> int:
    """The CDB is looked at first: a bad one is told of on a write-protected unit too."""
    unit = mapped.logical_unit
    check_transfer(unit, access, lba, blocks, length_byte)
    check_writable(mapped)
    return blocks * unit.block_size


def _write_length_6(mapped: MappedLUN, cdb: bytes) -> int:
    lba, blocks = _range_6(cdb)
    return _write_length(mapped, 0, lba, blocks, _LENGTH_6)


def _write_length_10(mapped: MappedLUN, cdb: bytes) -> int:
    _, access, lba, blocks = _unpack_10(cdb)
    return _write_length(mapped, access, lba, blocks, _LENGTH_10)


def _write_length_12(mapped: MappedLUN, cdb: bytes) -> int:
    _, access, lba, blocks = _unpack_12(cdb)
    return _write_length(mapped, access, lba, blocks, _LENGTH_12)


def _write_length_16(mapped: MappedLUN, cdb: bytes) -> int:
    _, access, lba, blocks = _unpack_16(cdb)
    return _write_length(mapped, access, lba, blocks, _LENGTH_16)


# Capacity and cache.


def read_capacity_10(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, READ CAPACITY (10). Without PMI an address is an error."""
    _, lba, flags = layouts.READ_CAPACITY_10.struct.unpack_from(cdb)
    if lba and not flags & _PMI:
        raise invalid_field(2)
    return Completion(_GOOD, mapped.logical_unit.capacity.encode_10())


def read_capacity_16(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, READ CAPACITY (16)."""
    _, _, _, allocation_length, _ = layouts.SERVICE_ACTION_IN_16.struct.unpack_from(cdb)
    return Completion(_GOOD, mapped.logical_unit.capacity.encode_16()[:allocation_length])


def synchronize_cache_10(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, SYNCHRONIZE CACHE (10)."""
    _, _, lba, blocks = layouts.SYNCHRONIZE_CACHE_10.struct.unpack_from(cdb)
    return _synchronize(mapped.logical_unit, lba, blocks)


def synchronize_cache_16(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, SYNCHRONIZE CACHE (16)."""
    _, _, lba, blocks = layouts.SYNCHRONIZE_CACHE_16.struct.unpack_from(cdb)
    return _synchronize(mapped.logical_unit, lba, blocks)


def _synchronize(unit: LogicalUnit, lba: int, blocks: int) -> Completion:
    """0 blocks means to the end. A store flushes all it has; IMMED is allowed to wait all the same."""
    if lba + blocks > unit.blocks:
        raise lba_out_of_range(unit, lba)
    unit.store.flush()
    return Completion()


_MEDIUM = CommandFlag.NEEDS_MEDIUM
_READ = _MEDIUM | CommandFlag.CHECKS_CONTROL
_CAPACITY = _MEDIUM | CommandFlag.ON_PASSIVE_PATH
_ALWAYS = ReservationRule.ALWAYS
_READS = ReservationRule.UNDER_WRITE_EXCLUSIVE

COMMANDS: dict[int, Command] = {
    Opcode.READ_6: Command(read_6, layouts.TRANSFER_6, _READ, reservation=_READS),
    Opcode.READ_10: Command(read_10, layouts.TRANSFER_10, _READ, reservation=_READS),
    Opcode.READ_12: Command(read_12, layouts.TRANSFER_12, _READ, reservation=_READS),
    Opcode.READ_16: Command(read_16, layouts.TRANSFER_16, _READ, reservation=_READS),
    Opcode.WRITE_6: Command(write_6, layouts.TRANSFER_6, _MEDIUM, _write_length_6),
    Opcode.WRITE_10: Command(write_10, layouts.TRANSFER_10, _MEDIUM, _write_length_10),
    Opcode.WRITE_12: Command(write_12, layouts.TRANSFER_12, _MEDIUM, _write_length_12),
    Opcode.WRITE_16: Command(write_16, layouts.TRANSFER_16, _MEDIUM, _write_length_16),
    Opcode.READ_CAPACITY_10: Command(
        read_capacity_10, layouts.READ_CAPACITY_10, _CAPACITY, reservation=_ALWAYS
    ),
    Opcode.SYNCHRONIZE_CACHE_10: Command(synchronize_cache_10, layouts.SYNCHRONIZE_CACHE_10, _MEDIUM),
    Opcode.SYNCHRONIZE_CACHE_16: Command(synchronize_cache_16, layouts.SYNCHRONIZE_CACHE_16, _MEDIUM),
}

# Under SERVICE ACTION IN (16).
SERVICE_ACTIONS_IN_16: dict[int, Command] = {
    ServiceAction.READ_CAPACITY_16 & 0x1F: Command(
        read_capacity_16, layouts.SERVICE_ACTION_IN_16, _CAPACITY, reservation=_ALWAYS
    )
}
