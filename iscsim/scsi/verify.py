"""Commands that compare or combine what is on the medium with what comes (SBC-3)."""

from __future__ import annotations

from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.asc import ASC
from iscsim.scsi.command import Command, CommandFlag, invalid_field, lba_out_of_range
from iscsim.scsi.completion import Completion
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.reservations import ReservationRule
from iscsim.scsi.sbc import check_transfer, check_writable, settle, whole_blocks_length
from iscsim.scsi.sense import CheckCondition, SenseKey
from iscsim.scsi.store import Buffer

__all__ = ["COMMANDS"]

_NOTHING, _ALL_BLOCKS, _RESERVED, _ONE_BLOCK = range(4)  # BYTCHK
# By the group code of the operation code (SPC-4): 10, 12 and 16 bytes.
_TRANSFERS = {1: layouts.TRANSFER_10, 5: layouts.TRANSFER_12, 4: layouts.TRANSFER_16}
_LENGTH_BYTES = {1: 7, 5: 6, 4: 10}
_COMPARE_AND_WRITE_LENGTH_BYTE = 13


def _range(unit: LogicalUnit, cdb: bytes) -> tuple[int, int, int]:
    """Byte 1, address and number of blocks: every command here has them where READ of its size does.

    Checked.
    """
    group = cdb[0] >> 5
    _, flags, lba, blocks = _TRANSFERS[group].struct.unpack_from(cdb)
    check_transfer(unit, flags, lba, blocks, _LENGTH_BYTES[group])
    return flags, lba, blocks


def _first_difference(ours: Buffer, theirs: Buffer) -> int | None:
    """Offset in bytes of the first mismatch, by bisection: comparing slices is what Python does fast."""
    left, right = bytes(ours), bytes(theirs)  # a view compares byte by byte, bytes with memcmp
    if left == right:
        return None
    start, end = 0, min(len(left), len(right))
    while end - start > 1:
        middle = (start + end) // 2
        if left[start:middle] == right[start:middle]:
            start = middle
        else:
            end = middle
    return start


def _compare(unit: LogicalUnit, lba: int, expected: Buffer) -> None:
    """Raises 0E/1D/00, its INFORMATION the offset of the first mismatch, when the medium says otherwise."""
    difference = _first_difference(unit.read(lba, len(expected) // unit.block_size), expected)
    if difference is not None:
        raise CheckCondition(SenseKey.MISCOMPARE, ASC.MISCOMPARE_DURING_VERIFY, information=difference)


def _verify_size(unit: LogicalUnit, cdb: bytes) -> int:
    """Bytes of Data-Out by BYTCHK: none, all blocks, or one block that every block is compared with."""
    flags, _, blocks = _range(unit, cdb)
    check = flags >> 1 & 0b11
    if check == _RESERVED:
        raise invalid_field(1, 2)
    counts = {_NOTHING: 0, _ALL_BLOCKS: blocks, _ONE_BLOCK: min(blocks, 1)}
    return counts[check] * unit.block_size


def verify(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, VERIFY (10), (12) and (16). Without BYTCHK the medium only has to be readable."""
    unit = mapped.logical_unit
    size = _verify_size(unit, cdb)
    flags, lba, blocks = _range(unit, cdb)
    if len(data_out) < size:
        raise CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_FIELD_IN_CDB)
    if not size:
        unit.read(lba, blocks)
        return Completion()
    pattern = memoryview(data_out)[:size]
    expected = bytes(pattern) * blocks if flags >> 1 & 0b11 == _ONE_BLOCK else pattern
    _compare(unit, lba, expected)
    return Completion()


def _verify_length(mapped: MappedLUN, cdb: bytes) -> int:
    return _verify_size(mapped.logical_unit, cdb)


def write_and_verify(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, WRITE AND VERIFY (10), (12) and (16): on the medium, and read back.

    Whole blocks that came, as WRITE.
    """
    _write_and_verify_length(mapped, cdb)
    unit = mapped.logical_unit
    _, lba, blocks = _range(unit, cdb)
    length = whole_blocks_length(unit, blocks, data_out)
    if length:
        written = memoryview(data_out)[:length]
        unit.store.write(lba, written)
        unit.store.flush()
        _compare(unit, lba, written)
    return Completion()


def _write_and_verify_length(mapped: MappedLUN, cdb: bytes) -> int:
    """With BYTCHK or without, what is read back is compared; its other two values are reserved here."""
    if cdb[1] >> 1 & 0b11 > _ALL_BLOCKS:
        raise invalid_field(1, 2)
    return _write_length(mapped, cdb)


def _write_length(mapped: MappedLUN, cdb: bytes) -> int:
    _, _, blocks = _range(mapped.logical_unit, cdb)
    check_writable(mapped)
    return blocks * mapped.logical_unit.block_size


def compare_and_write(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, COMPARE AND WRITE: the first half of Data-Out is compared, and the second written only if it
    matched.
    """
    length = _compare_and_write_length(mapped, cdb)
    if len(data_out) != length:
        raise invalid_field(_COMPARE_AND_WRITE_LENGTH_BYTE)
    unit = mapped.logical_unit
    _, access, lba, blocks = layouts.COMPARE_AND_WRITE.struct.unpack_from(cdb)
    if blocks:
        halves = memoryview(data_out)
        _compare(unit, lba, halves[: length // 2])
        unit.store.write(lba, halves[length // 2 :])
    settle(unit, access)
    return Completion()


def _compare_and_write_length(mapped: MappedLUN, cdb: bytes) -> int:
    _, access, lba, blocks = layouts.COMPARE_AND_WRITE.struct.unpack_from(cdb)
    check_transfer(mapped.logical_unit, access, lba, blocks, _COMPARE_AND_WRITE_LENGTH_BYTE)
    if blocks > mapped.logical_unit.profile.maximum_compare_and_write_blocks:
        raise invalid_field(_COMPARE_AND_WRITE_LENGTH_BYTE)
    check_writable(mapped)
    return int(2 * blocks * mapped.logical_unit.block_size)


def orwrite(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, ORWRITE (16): every bit that is set on either side is set afterwards.

    Whole blocks that came, as WRITE.
    """
    unit = mapped.logical_unit
    access, lba, blocks = _range(unit, cdb)
    check_writable(mapped)
    length = whole_blocks_length(unit, blocks, data_out)
    if length:
        old = int.from_bytes(unit.read(lba, length // unit.block_size), "little")
        new = int.from_bytes(memoryview(data_out)[:length], "little")
        unit.store.write(lba, (old | new).to_bytes(length, "little"))
    settle(unit, access)
    return Completion()


def pre_fetch(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, PRE-FETCH (10) and (16): GOOD, and not CONDITION MET, because nothing promises to stay in a
    cache.
    """
    unit = mapped.logical_unit
    _, _, lba, blocks = _TRANSFERS[cdb[0] >> 5].struct.unpack_from(cdb)
    if lba + blocks > unit.blocks:
        raise lba_out_of_range(unit, lba)
    return Completion()


_MEDIUM = CommandFlag.NEEDS_MEDIUM
_READS = ReservationRule.UNDER_WRITE_EXCLUSIVE

COMMANDS: dict[int, Command] = {
    Opcode.VERIFY_10: Command(verify, layouts.VERIFY_10, _MEDIUM, _verify_length, reservation=_READS),
    Opcode.VERIFY_12: Command(verify, layouts.VERIFY_12, _MEDIUM, _verify_length, reservation=_READS),
    Opcode.VERIFY_16: Command(verify, layouts.VERIFY_16, _MEDIUM, _verify_length, reservation=_READS),
    Opcode.WRITE_AND_VERIFY_10: Command(
        write_and_verify, layouts.VERIFY_10, _MEDIUM, _write_and_verify_length
    ),
    Opcode.WRITE_AND_VERIFY_12: Command(
        write_and_verify, layouts.VERIFY_12, _MEDIUM, _write_and_verify_length
    ),
    Opcode.WRITE_AND_VERIFY_16: Command(
        write_and_verify, layouts.VERIFY_16, _MEDIUM, _write_and_verify_length
    ),
    Opcode.COMPARE_AND_WRITE: Command(
        compare_and_write,
        layouts.COMPARE_AND_WRITE,
        _MEDIUM | CommandFlag.EXACT_DATA_OUT,
        _compare_and_write_length,
    ),
    Opcode.ORWRITE_16: Command(orwrite, layouts.TRANSFER_16, _MEDIUM, _write_length),
    Opcode.PRE_FETCH_10: Command(pre_fetch, layouts.PRE_FETCH_10, _MEDIUM, reservation=_READS),
    Opcode.PRE_FETCH_16: Command(pre_fetch, layouts.PRE_FETCH_16, _MEDIUM, reservation=_READS),
}
