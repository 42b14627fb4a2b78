import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.scsi.copy_move import DESTINATION, PIECE_LENGTH, SOURCE, End, Move, read_bytes, write_bytes
from iscsim.scsi.copy_parameters import CSCD
from iscsim.scsi.designator import Designator
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.nexus import MappedLUN
from iscsim.scsi.store import MemoryStore

NOBODY = CSCD(16, 0, Designator(3, 1, 0, b""), False, 0)


def disk(blocks=8, block_size=512):
    return LogicalUnit(MemoryStore(blocks, block_size), serial="1")


def move(source_start, destination_start, length, unit=None, other=None):
    unit = unit or disk()
    ends = [
        End(role, NOBODY, MappedLUN(0, one)) for role, one in ((SOURCE, unit), (DESTINATION, other or unit))
    ]
    return Move(*ends, source_start, destination_start, length)


@given(st.integers(0, 4096), st.integers(0, 4096), st.integers(0, 5 * PIECE_LENGTH))
def test_pieces_cover_the_length_once(source_start, destination_start, length):
    one = move(source_start, destination_start, length)
    pieces = sorted(one.pieces())
    assert sum(size for _, size in pieces) == length
    assert [start for start, _ in pieces] == [sum(size for _, size in pieces[:i]) for i in range(len(pieces))]
    assert all(0 < size <= PIECE_LENGTH for _, size in pieces)
    assert all((destination_start + start) % 512 == 0 for start, _ in pieces[1:])


@pytest.mark.parametrize(
    "source, destination, backwards", [(0, 512, True), (512, 0, False), (0, 0, False), (0, 1024, False)]
)
def test_only_a_move_onto_itself_runs_backwards(source, destination, backwards):
    assert move(source, destination, 1024).is_backwards is backwards
    assert not move(source, destination, 1024, other=disk()).is_backwards


@pytest.mark.parametrize(
    "start, length, moved, blocks", [(0, 1024, 0, 2), (0, 1024, 512, 1), (3, 600, 509, 1)]
)
def test_residual_blocks_are_those_not_yet_whole(start, length, moved, blocks):
    one = move(0, start, length)
    one.moved = moved
    assert one.residual_blocks == blocks


@given(st.integers(0, 4000), st.binary(min_size=1, max_size=90))
def test_bytes_are_written_and_read_back_and_nothing_beside_them(start, data):
    unit = disk()
    unit.store.write(0, b"\xee" * 4096)
    write_bytes(unit, start, data, padding=0)
    assert read_bytes(unit, start, len(data)) == data
    expected = bytearray(b"\xee" * 4096)
    expected[start : start + len(data)] = data
    assert bytes(unit.read(0, 8)) == bytes(expected)


def test_padding_fills_the_last_block_with_zeros():
    unit = disk()
    unit.store.write(0, b"\xee" * 4096)
    write_bytes(unit, 512, b"\x11" * 600, padding=424)
    assert bytes(unit.read(0, 4)) == b"\xee" * 512 + b"\x11" * 600 + bytes(424) + b"\xee" * 512
