"""What a load is: how large, how deep, how much of it reads, where and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from iscsim.errors import ConfigError

MAX_DEPTH = 4096
MAX_REQUEST_LENGTH = 8 << 20
"""Longer reads and writes would be cut into several commands, and a latency not be that of one."""
_TRIES = 8


class Dice(Protocol):
    """What a load needs of ``random.Random``."""

    def random(self) -> float:
        """0 up to 1."""
        ...

    def randrange(self, stop: int, /) -> int:
        """0 up to ``stop``."""
        ...

    def randbytes(self, n: int, /) -> bytes:
        """``n`` bytes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A load on a device. It ends after ``duration_s`` or ``count`` requests, whichever is first.

    Raises:
        ConfigError: a value out of its range, or no end.
    """

    request_length: int = 4096
    """Bytes of a request: a whole number of blocks."""
    depth: int = 32
    """How many requests are under way at once."""
    read_share: int = 100
    """Of a hundred requests, how many read; where each falls is up to chance."""
    sequential: bool = False
    first_lba: int = 0
    blocks: int | None = None
    """How many blocks from there on; None: to the end."""
    duration_s: float | None = None
    count: int | None = None
    rate: float | None = None
    """Requests per second at most."""
    verify: bool = False
    """Write a pattern that says where and when, and check every block that is read."""
    seed: int = 0
    interval_s: float = 1.0
    """The grain of what is counted over time."""
    max_errors: int | None = None
    """After so many requests that failed the load ends."""

    def __post_init__(self) -> None:
        checks = (
            (0 < self.request_length <= MAX_REQUEST_LENGTH, f"a request has 1 to {MAX_REQUEST_LENGTH} bytes"),
            (0 < self.depth <= MAX_DEPTH, f"the depth is 1 to {MAX_DEPTH}"),
            (0 <= self.read_share <= 100, "the share of reads is 0 to 100"),
            (self.first_lba >= 0, "the first block is 0 or more"),
            (self.blocks is None or self.blocks > 0, "the range has at least 1 block"),
            (self.duration_s is None or 0 < self.duration_s < float("inf"), "the duration is more than 0 s"),
            (self.count is None or self.count > 0, "the count is at least 1"),
            (self.duration_s is not None or self.count is not None, "a load needs a duration or a count"),
            (self.rate is None or 0 < self.rate < float("inf"), "the rate is more than 0"),
            (0 <= self.seed < 1 << 64, "the seed is a number of 64 bits"),
            (0 < self.interval_s < float("inf"), "the interval is more than 0 s"),
            (self.max_errors is None or self.max_errors > 0, "the number of errors is at least 1"),
        )
        for good, rule in checks:
            if not good:
                raise ConfigError(rule)


@dataclass(frozen=True, slots=True)
class Extent:
    """The part of a device a load uses, in slots as long as one request."""

    first_lba: int
    slots: int
    slot_blocks: int
    block_size: int

    @property
    def blocks(self) -> int:
        """How many blocks are used."""
        return self.slots * self.slot_blocks

    @property
    def last_lba(self) -> int:
        """The last block that is used."""
        return self.first_lba + self.blocks - 1


def extent_of(workload: Workload, *, blocks: int, block_size: int) -> Extent:
    """The part of a device with so many blocks.

    Raises:
        ConfigError: no whole number of blocks, a range beyond the end, or too short for the depth.
    """
    slot_blocks, rest = divmod(workload.request_length, block_size)
    if rest:
        raise ConfigError(
            f"requests of {workload.request_length} bytes are no whole number of blocks of {block_size} bytes"
        )
    length = blocks - workload.first_lba if workload.blocks is None else workload.blocks
    if length <= 0 or workload.first_lba + length > blocks:
        raise ConfigError(
            f"{max(length, 1)} blocks from {workload.first_lba} on are beyond the end: there are {blocks}"
        )
    slots = length // slot_blocks
    if not slots:
        raise ConfigError(f"{length} blocks are too few for a request of {slot_blocks}")
    if workload.verify and slots < workload.depth:
        raise ConfigError(
            f"verifying needs a range of {workload.depth} requests, one for each under way, not of {slots}"
        )
    return Extent(workload.first_lba, slots, slot_blocks, block_size)


class Slots:
    """Which slot the next request takes; with ``claims`` each is one request's until it is given back."""

    def __init__(self, slots: int, dice: Dice, *, sequential: bool, claims: bool) -> None:
        self._slots, self._dice, self._claims = slots, dice, claims
        self._sequential = sequential
        self._next = 0
        self._taken: dict[int, None] = {}

    def take(self) -> int:
        """The next slot."""
        slot = self._step() if self._sequential else self._dice.randrange(self._slots)
        if not self._claims:
            return slot
        for _ in range(_TRIES):
            if slot not in self._taken:
                break
            slot = self._step() if self._sequential else self._dice.randrange(self._slots)
        while slot in self._taken:  # there are at least as many slots as requests under way
            slot = (slot + 1) % self._slots
        self._taken[slot] = None
        return slot

    def _step(self) -> int:
        slot, self._next = self._next, (self._next + 1) % self._slots
        return slot

    def give_back(self, slot: int) -> None:
        """The request is over."""
        self._taken.pop(slot, None)

    def __iter__(self) -> Iterator[int]:
        """The slots that are taken now."""
        return iter(self._taken)
