"""What every block must hold after the writes that were acknowledged, and the name of what is wrong.

The range is cut into slots as long as one request; a slot is the business of one request at a time.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from iscsim.errors import ConfigError
from iscsim.initiator.load.pattern import (
    UNIT_LENGTH,
    Tag,
    find_tear,
    flips,
    parse,
    render,
    render_blocks,
    repeated_tags,
)

MAX_SLOTS = 1 << 24
"""Each takes 16 bytes: 256 MiB for 64 GiB in requests of 4 KiB."""


class DataErrorKind(Enum):
    """What is wrong with a block."""

    LOST = "lost write"
    """The last write that was acknowledged is not there; the block holds what it held before."""
    STALE = "stale block"
    """An older state than the one before the last write, or one that is gone when it is read again."""
    MISPLACED = "misplaced block"
    """A sound block that belongs to another LBA."""
    TORN = "torn block"
    """Parts of two writes."""
    CORRUPT = "corrupt block"
    """Bits that differ from what was written."""
    FOREIGN = "foreign block"
    """Nothing that this run wrote there."""


@dataclass(frozen=True, slots=True)
class DataError:
    """A block that does not hold what was written; ``detail`` says what it holds."""

    kind: DataErrorKind
    lba: int
    expected: int
    """The number of the write it should be of; 0 for a block this run has not written."""
    detail: str
    time_s: float = 0.0
    path: str = ""
    again: str = ""
    """What a second read brought."""

    def __str__(self) -> str:
        where = f" (through {self.path})" if self.path else ""
        again = f"; {self.again}" if self.again else ""
        return f"{self.kind.value} at LBA {self.lba}{where}: {self.detail}{again}"


class Verifier:
    """The model: which write each slot holds, which it may hold, what stood there before.

    Raises:
        ConfigError: blocks that cannot hold the pattern, or more slots than there is memory for.
    """

    def __init__(self, *, seed: int, block_size: int, first_lba: int, slots: int, slot_blocks: int) -> None:
        if block_size % UNIT_LENGTH:
            raise ConfigError(
                f"blocks of {block_size} bytes cannot be verified: no multiple of {UNIT_LENGTH}"
            )
        if slots > MAX_SLOTS:
            raise ConfigError(
                f"verifying {slots} requests' worth of blocks takes too much memory, at most {MAX_SLOTS} are"
                " possible: choose a shorter range or a larger block size"
            )
        self._seed, self._block_size = seed, block_size
        self._first, self._slot_blocks = first_lba, slot_blocks
        self._acknowledged = array("Q", bytes(8 * slots))
        self._before = array("Q", bytes(8 * slots))
        self._doubts: dict[int, tuple[int, ...]] = {}
        self._doubts_before: dict[int, tuple[int, ...]] = {}
        self._reported: dict[int, None] = {}
        self._sequence = 0

    def lba_of(self, slot: int) -> int:
        """The first block of a slot."""
        return self._first + slot * self._slot_blocks

    def next_write(self, slot: int) -> tuple[int, bytes]:
        """The number of the next write, and its data."""
        self._sequence += 1
        return self._sequence, self._data(slot, self._sequence)

    def _data(self, slot: int, sequence: int) -> bytes:
        return render_blocks(self.lba_of(slot), self._slot_blocks, sequence, self._seed, self._block_size)

    def acknowledged(self, slot: int, sequence: int) -> None:
        """The write was acknowledged: from now on the slot holds it and nothing else."""
        self._before[slot] = self._acknowledged[slot]
        self._acknowledged[slot] = sequence
        self._doubts_before.pop(slot, None)
        if doubts := self._doubts.pop(slot, None):
            self._doubts_before[slot] = doubts
        self._reported.pop(slot, None)

    def failed(self, slot: int, sequence: int) -> None:
        """Nobody knows whether the write took place: each block may hold it, or what was there."""
        self._doubts[slot] = (*self._doubts.get(slot, ()), sequence)

    @property
    def in_doubt(self) -> int:
        """How many slots may hold one thing or another."""
        return len(self._doubts)

    def written(self) -> Iterator[int]:
        """The slots with an acknowledged write, ascending."""
        return (slot for slot, sequence in enumerate(self._acknowledged) if sequence)

    def check(self, slot: int, data: bytes | bytearray | memoryview) -> list[DataError]:
        """What is wrong with the data of a slot; the errors of a slot are told once for each write to it."""
        expected = self._acknowledged[slot]
        if expected and data == self._data(slot, expected):
            return []
        if slot in self._reported:
            return []
        size = self._block_size
        blocks = [bytes(data[at : at + size]) for at in range(0, self._slot_blocks * size, size)]
        check = self._check_written if expected else self._check_unwritten
        found = [check(slot, self.lba_of(slot) + index, block) for index, block in enumerate(blocks)]
        return [error for error in found if error is not None]

    def reported(self, slot: int) -> None:
        """The errors of the slot are known: not to be told again."""
        self._reported[slot] = None

    # -- one block -----------------------------------------------------------------------------------

    def _check_unwritten(self, slot: int, lba: int, block: bytes) -> DataError | None:
        """A block this run has not written: one with the tag of our seed must be sound and in its place."""
        tag = parse(block)
        if tag is not None and tag.seed == self._seed and tag.lba != lba:
            return self._misplaced(lba, 0, tag)
        if tag is not None:
            return None
        tag = next((each for each in repeated_tags(block) if each.seed == self._seed), None)
        return None if tag is None else self._damaged(lba, tag.sequence, block, [tag])

    def _check_written(self, slot: int, lba: int, block: bytes) -> DataError | None:
        expected = self._acknowledged[slot]
        tag = parse(block)
        if tag is None:
            return self._unsound(slot, lba, block)
        if tag.seed != self._seed:
            return self._as_before(slot, lba, f"it holds a block of another run (seed {tag.seed})")
        if tag.lba != lba:
            return self._misplaced(lba, expected, tag)
        if tag.sequence == expected or tag.sequence in self._doubts.get(slot, ()):
            return None
        return self._another_write(slot, lba, tag.sequence)

    def _another_write(self, slot: int, lba: int, sequence: int) -> DataError:
        expected = self._acknowledged[slot]
        detail = f"it holds write {sequence}, not write {expected}"
        if sequence == self._before[slot] or sequence in self._doubts_before.get(slot, ()):
            return DataError(DataErrorKind.LOST, lba, expected, detail)
        if not self._before[slot]:
            return DataError(DataErrorKind.LOST, lba, expected, f"{detail}: an earlier run's")
        kind = DataErrorKind.STALE if sequence < expected else DataErrorKind.FOREIGN
        return DataError(kind, lba, expected, detail)

    def _as_before(self, slot: int, lba: int, detail: str) -> DataError:
        """What only a state before the first write of this run explains."""
        first = not self._before[slot]
        kind = DataErrorKind.LOST if first else DataErrorKind.STALE
        expected = self._acknowledged[slot]
        return DataError(kind, lba, expected, f"{detail}, not write {expected}")

    def _unsound(self, slot: int, lba: int, block: bytes) -> DataError:
        if not any(block):
            return self._as_before(slot, lba, "it holds zeros")
        known = (self._acknowledged[slot], *self._doubts.get(slot, ()), self._before[slot])
        known += self._doubts_before.get(slot, ())
        candidates = [Tag(lba, sequence, self._seed) for sequence in known if sequence]
        return self._damaged(lba, self._acknowledged[slot], block, candidates)

    def _damaged(self, lba: int, expected: int, block: bytes, known: list[Tag]) -> DataError:
        """No sound block: torn, corrupt, or nothing of ours."""
        seen = [tag for tag in repeated_tags(block) if tag.seed == self._seed]
        tear = find_tear(block, dict.fromkeys((*known, *seen, None)))
        if tear is not None:
            first, second = (_named(tag, lba) for tag in (tear.first, tear.second))
            detail = f"bytes 0 to {tear.boundary - 1} are {first}, the others {second}"
            return DataError(DataErrorKind.TORN, lba, expected, detail)
        if len(seen) > 1:
            detail = f"it has parts of {', '.join(_named(tag, lba) for tag in seen)}"
            return DataError(DataErrorKind.TORN, lba, expected, detail)
        return self._corrupt(lba, expected, block, known + seen)

    def _corrupt(self, lba: int, expected: int, block: bytes, known: list[Tag]) -> DataError:
        closest = min(known, key=lambda tag: flips(block, render(tag, len(block))).bits)
        difference = flips(block, render(closest, len(block)))
        if difference.bits > len(block) * 2:  # of random bytes half of the bits differ
            return DataError(
                DataErrorKind.FOREIGN, lba, expected, "it holds nothing that this run wrote anywhere"
            )
        count = "1 bit differs" if difference.bits == 1 else f"{difference.bits} bits differ"
        where = (
            f"{'' if difference.bits == 1 else 'the first '}at byte {difference.byte}, bit {difference.bit}"
        )
        detail = f"{count} from {_named(closest, lba)}, {where}"
        return DataError(DataErrorKind.CORRUPT, lba, expected, detail)

    @staticmethod
    def _misplaced(lba: int, expected: int, tag: Tag) -> DataError:
        detail = f"it holds {_named(tag, lba)}"
        return DataError(DataErrorKind.MISPLACED, lba, expected, detail)


def _named(tag: Tag | None, lba: int) -> str:
    if tag is None:
        return "zeros"
    return f"write {tag.sequence}" if tag.lba == lba else f"write {tag.sequence} of LBA {tag.lba}"
