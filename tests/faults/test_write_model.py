"""The reference of acknowledged writes."""

from __future__ import annotations

import pytest

from iscsim.faults.write_model import ModelledStore, WriteModel
from iscsim.scsi.store import MemoryStore

A, B, C = (bytes([value]) * 512 for value in (1, 2, 3))


class Failing(MemoryStore):
    """Takes the first block of a write and fails."""

    def write(self, lba: int, data: bytes | bytearray | memoryview) -> None:
        super().write(lba, data[:512])
        raise OSError(5, "EIO")


def test_what_was_acknowledged_must_be_there() -> None:
    model, store = WriteModel(100), MemoryStore(100)
    model.wrote(3, A + B)
    assert [each.lba for each in model.differences(store.read)] == [3, 4]
    store.write(3, A + B)
    assert model.differences(store.read) == []


def test_write_that_failed_may_have_happened_or_not() -> None:
    model, store = WriteModel(100), MemoryStore(100)
    model.wrote(0, A + A)
    model.failed(0, B + B)
    for held in (A + A, A + B, B + A, B + B):
        store.write(0, held)
        assert model.differences(store.read) == []
    store.write(0, C)
    (difference,) = model.differences(store.read)
    assert str(difference) == (
        "block 0 holds 0303030303030303...0303030303030303, expected "
        "0101010101010101...0101010101010101 or 0202020202020202...0202020202020202"
    )


def test_next_acknowledged_write_ends_the_doubt() -> None:
    model, store = WriteModel(100), MemoryStore(100)
    model.failed(0, B)
    model.wrote(0, C)
    store.write(0, B)
    assert [each.lba for each in model.differences(store.read)] == [0]


def test_unmapped_blocks_are_zeros() -> None:
    model, store = WriteModel(100), MemoryStore(100)
    model.wrote(0, A + A)
    model.unmapped(0, 1)
    store.write(0, A + A)
    assert [str(each) for each in model.differences(store.read)] == [
        "block 0 holds 0101010101010101...0101010101010101, expected zeros"
    ]


def test_read_is_compared_with_blocks_nobody_wrote_too() -> None:
    model = WriteModel(100)
    model.wrote(1, A)
    assert [each.lba for each in model.compare(0, A + A)] == [0]


def test_filter_feeds_the_model() -> None:
    store = ModelledStore(MemoryStore(100))
    store.write(0, A)
    store.unmap(0, 1)
    store.write(1, B)
    assert store.differences() == []
    store.inner.write(1, A)
    assert [each.lba for each in store.differences()] == [1]


def test_write_that_fails_half_way_is_no_difference() -> None:
    store = ModelledStore(Failing(100))
    with pytest.raises(OSError, match="EIO"):
        store.write(0, A + B)
    assert store.differences() == []


def test_resize_forgets_what_is_beyond() -> None:
    store = ModelledStore(MemoryStore(100))
    store.write(99, A)
    store.resize(50)
    store.resize(100)
    assert store.differences() == []
    assert store.model.expected(99) == (bytes(512),)
