"""Every way in which data can be wrong is told apart and named."""

import random

import pytest

from iscsim.errors import ConfigError
from iscsim.initiator.load.pattern import Tag, render
from iscsim.initiator.load.verification import MAX_SLOTS, DataError, DataErrorKind, Verifier
from iscsim.scsi.store import MemoryStore

SEED, FIRST, EACH = 42, 1000, 4


class Disk:
    """A verifier and the disk it is about: slots of four blocks from block 1000 on."""

    def __init__(self, block_size: int = 512) -> None:
        self.verifier = Verifier(
            seed=SEED, block_size=block_size, first_lba=FIRST, slots=16, slot_blocks=EACH
        )
        self.block_size = block_size
        self.store = MemoryStore(2000, block_size)

    def write(self, slot: int, *, acknowledged: bool = True, arrives: bool = True) -> int:
        """Write a slot; the number of the write."""
        sequence, data = self.verifier.next_write(slot)
        if arrives:
            self.store.write(FIRST + slot * EACH, data)
        (self.verifier.acknowledged if acknowledged else self.verifier.failed)(slot, sequence)
        return sequence

    def block(self, lba: int) -> bytearray:
        return bytearray(self.store.read(lba, 1))

    def check(self, slot: int) -> list[DataError]:
        return self.verifier.check(slot, self.store.read(FIRST + slot * EACH, EACH))

    def only_error(self, slot: int) -> DataError:
        (error,) = self.check(slot)
        return error


@pytest.fixture(params=[512, 4096])
def disk(request: pytest.FixtureRequest) -> Disk:
    made = Disk(request.param)
    for _ in range(3):
        for slot in (0, 1, 2):
            made.write(slot)
    return made  # slot 1 holds write 8, before it 5, before that 2


def test_what_was_acknowledged_and_is_there_is_right(disk: Disk) -> None:
    assert [disk.check(slot) for slot in range(16)] == [[]] * 16


# -- planted errors --------------------------------------------------------------------------------


def test_lost_write_is_named_with_what_is_there_instead(disk: Disk) -> None:
    number = disk.write(1, arrives=False)
    errors = disk.check(1)
    assert [error.kind for error in errors] == [DataErrorKind.LOST] * EACH
    assert str(errors[0]) == f"lost write at LBA 1004: it holds write 8, not write {number}"


def test_part_of_a_write_that_is_lost_is_a_lost_write_of_those_blocks(disk: Disk) -> None:
    kept = disk.block(1006)
    disk.write(1)
    disk.store.write(1006, kept)
    error = disk.only_error(1)
    assert (error.kind, error.lba) == (DataErrorKind.LOST, 1006)


@pytest.mark.parametrize("held", [bytes(512), render(Tag(1012, 5, 99), 512)])
def test_first_write_that_is_lost_leaves_what_was_there_before(held: bytes) -> None:
    disk = Disk()
    disk.store.write(1012, held * EACH)
    disk.write(3, arrives=False)
    assert {error.kind for error in disk.check(3)} == {DataErrorKind.LOST}


def test_stale_block_is_older_than_what_the_lost_write_replaced(disk: Disk) -> None:
    disk.store.write(1005, render(Tag(1005, 2, SEED), disk.block_size))
    error = disk.only_error(1)
    assert (error.kind, error.detail) == (DataErrorKind.STALE, "it holds write 2, not write 8")


def test_zeros_after_several_writes_are_stale(disk: Disk) -> None:
    disk.store.write(1005, bytes(disk.block_size))
    assert disk.only_error(1).kind is DataErrorKind.STALE


def test_misplaced_block_says_where_it_belongs(disk: Disk) -> None:
    disk.store.write(1005, disk.block(1010))
    error = disk.only_error(1)
    assert (error.kind, error.detail) == (DataErrorKind.MISPLACED, "it holds write 9 of LBA 1010")


def test_misplaced_block_is_found_where_nothing_was_written(disk: Disk) -> None:
    disk.store.write(1030, disk.block(1010))
    error = disk.only_error(7)
    assert (error.kind, error.expected) == (DataErrorKind.MISPLACED, 0)


@pytest.mark.parametrize("at", [64, 128, 200, 448])
def test_torn_block_has_parts_of_two_writes(disk: Disk, at: int) -> None:
    older = disk.block(1005)
    disk.write(1)
    disk.store.write(1005, disk.block(1005)[:at] + older[at:])
    error = disk.only_error(1)
    assert error.kind is DataErrorKind.TORN
    assert error.detail.endswith("are write 10, the others write 8")


def test_torn_block_may_have_its_older_part_first(disk: Disk) -> None:
    older = disk.block(1005)
    disk.write(1)
    disk.store.write(1005, older[:256] + disk.block(1005)[256:])
    assert disk.only_error(1).detail.endswith("are write 8, the others write 10")


def test_block_torn_by_much_older_writes_is_torn(disk: Disk) -> None:
    oldest = render(Tag(1005, 2, SEED), disk.block_size)
    disk.store.write(1005, disk.block(1005)[:256] + oldest[256:])
    assert disk.only_error(1).kind is DataErrorKind.TORN


def test_block_in_three_parts_is_torn(disk: Disk) -> None:
    oldest, newest = render(Tag(1005, 2, SEED), disk.block_size), disk.block(1005)
    disk.store.write(1005, newest[:128] + oldest[128:256] + newest[256:])
    error = disk.only_error(1)
    assert (error.kind, error.detail) == (DataErrorKind.TORN, "it has parts of write 8, write 2")


def test_first_block_that_arrived_in_part_is_torn() -> None:
    disk = Disk()
    disk.write(3)
    disk.store.write(1013, disk.block(1013)[:256] + bytes(256))
    error = disk.only_error(3)
    assert error.detail == "bytes 0 to 255 are write 1, the others zeros"


@pytest.mark.parametrize("byte", [0, 8, 23, 24, 31, 117, 500, 508, 511])
@pytest.mark.parametrize("bit", [0, 5])
def test_flipped_bit_is_placed(byte: int, bit: int) -> None:
    disk = Disk()
    disk.write(1)
    disk.write(1)
    block = disk.block(1005)
    block[byte] ^= 1 << bit
    disk.store.write(1005, block)
    error = disk.only_error(1)
    assert error.kind is DataErrorKind.CORRUPT
    assert error.detail == f"1 bit differs from write 2, at byte {byte}, bit {bit}"


def test_some_bytes_that_differ_are_corruption(disk: Disk) -> None:
    block = disk.block(1005)
    block[100:110] = bytes(10)
    disk.store.write(1005, block)
    error = disk.only_error(1)
    assert error.kind is DataErrorKind.CORRUPT
    assert "bits differ from write 8, the first at byte" in error.detail


def test_random_bytes_are_foreign(disk: Disk) -> None:
    disk.store.write(1005, random.Random(1).randbytes(disk.block_size))
    assert disk.only_error(1).kind is DataErrorKind.FOREIGN


def test_write_that_was_never_sent_is_foreign(disk: Disk) -> None:
    disk.store.write(1005, render(Tag(1005, 77, SEED), disk.block_size))
    assert disk.only_error(1).kind is DataErrorKind.FOREIGN


# -- doubts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("arrives", [True, False])
def test_write_that_failed_may_be_there_or_not(disk: Disk, arrives: bool) -> None:
    disk.write(1, acknowledged=False, arrives=arrives)
    assert disk.check(1) == []
    assert disk.verifier.in_doubt == 1


def test_write_that_failed_may_have_arrived_in_some_blocks(disk: Disk) -> None:
    kept = disk.block(1006)
    disk.write(1, acknowledged=False)
    disk.store.write(1006, kept)
    assert disk.check(1) == []


def test_acknowledged_write_ends_the_doubt(disk: Disk) -> None:
    doubtful = disk.write(1, acknowledged=False)
    stored = disk.block(1004)
    number = disk.write(1)
    assert (disk.check(1), disk.verifier.in_doubt) == ([], 0)
    disk.store.write(1004, stored)  # the one that failed comes after all
    error = disk.only_error(1)
    assert (error.kind, error.detail) == (
        DataErrorKind.LOST,
        f"it holds write {doubtful}, not write {number}",
    )


def test_doubt_excuses_no_other_block(disk: Disk) -> None:
    disk.write(1, acknowledged=False)
    disk.store.write(1005, render(Tag(1005, 2, SEED), disk.block_size))
    assert disk.only_error(1).kind is DataErrorKind.STALE


# -- the rest --------------------------------------------------------------------------------------


def test_errors_of_a_slot_are_told_once_for_each_write(disk: Disk) -> None:
    disk.write(1, arrives=False)
    assert disk.check(1)
    disk.verifier.reported(1)
    assert disk.check(1) == []
    disk.write(1, arrives=False)
    assert disk.check(1)


def test_blocks_of_an_earlier_run_with_the_same_seed_are_checked() -> None:
    earlier = Disk()
    earlier.write(2)
    now = Disk()
    now.store = earlier.store
    assert now.check(2) == []
    block = now.block(1009)
    block[7] ^= 1
    now.store.write(1009, block)
    assert now.only_error(2).kind is DataErrorKind.CORRUPT


def test_what_nobody_wrote_may_hold_anything() -> None:
    disk = Disk()
    disk.store.write(1008, random.Random(1).randbytes(512) + render(Tag(3, 1, 99), 512) + b"x" * 1024)
    assert disk.check(2) == []


def test_written_slots_are_listed(disk: Disk) -> None:
    disk.write(9, acknowledged=False)
    assert list(disk.verifier.written()) == [0, 1, 2]


@pytest.mark.parametrize("block_size,slots", [(520, 16), (512, MAX_SLOTS + 1)])
def test_what_cannot_be_verified_is_refused(block_size: int, slots: int) -> None:
    with pytest.raises(ConfigError, match="verif"):
        Verifier(seed=1, block_size=block_size, first_lba=0, slots=slots, slot_blocks=1)
