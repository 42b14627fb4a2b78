"""WRITE ATOMIC (SBC-4): all of the blocks, or none."""

from __future__ import annotations

import contextlib

from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.command import Command, CommandFlag, invalid_field
from iscsim.scsi.completion import Completion
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.sbc import check_transfer, check_writable, settle
from iscsim.scsi.store import Buffer

__all__ = ["COMMANDS"]

_LBA, _BOUNDARY, _TRANSFER_LENGTH = 2, 10, 12  # bytes of the CDB
_unpack = layouts.WRITE_ATOMIC_16.struct.unpack_from


def write_atomic_16(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-4, WRITE ATOMIC (16). Commands run one after the other, so what lies between boundaries is written
    with the rest.
    """
    if len(data_out) != _atomic_length(mapped, cdb):
        raise invalid_field(_TRANSFER_LENGTH)
    unit = mapped.logical_unit
    _, access, lba, _, blocks = _unpack(cdb)
    if blocks:
        _write_whole(unit, lba, blocks, data_out)
    settle(unit, access)
    return Completion()


def _write_whole(unit: LogicalUnit, lba: int, blocks: int, data: Buffer) -> None:
    """A store that fails on the way gets its old blocks back, as far as it takes them."""
    old = bytes(unit.read(lba, blocks))
    try:
        unit.store.write(lba, data)
    except OSError:
        with contextlib.suppress(OSError):
            unit.store.write(lba, old)
        raise


def _atomic_length(mapped: MappedLUN, cdb: bytes) -> int:
    """Bytes of Data-Out. Raises what is wrong with the command, if anything is."""
    unit = mapped.logical_unit
    _, access, lba, boundary, blocks = _unpack(cdb)
    check_transfer(unit, access, lba, blocks, _TRANSFER_LENGTH)
    _check_limits(unit, lba, boundary, blocks)
    check_writable(mapped)
    return int(blocks * unit.block_size)


def _check_limits(unit: LogicalUnit, lba: int, boundary: int, blocks: int) -> None:
    """Those of VPD page B0h; the most that can be written is the same with a boundary and without."""
    if blocks > unit.maximum_atomic_blocks:
        raise invalid_field(_TRANSFER_LENGTH)
    if boundary > unit.maximum_atomic_blocks:
        raise invalid_field(_BOUNDARY)
    granularity = unit.atomic_granularity_blocks or 1
    for value, byte in ((lba, _LBA), (blocks, _TRANSFER_LENGTH), (boundary, _BOUNDARY)):
        if value % granularity:
            raise invalid_field(byte)


COMMANDS: dict[int, Command] = {
    Opcode.WRITE_ATOMIC_16: Command(
        write_atomic_16,
        layouts.WRITE_ATOMIC_16,
        CommandFlag.NEEDS_MEDIUM | CommandFlag.EXACT_DATA_OUT,
        _atomic_length,
    )
}
