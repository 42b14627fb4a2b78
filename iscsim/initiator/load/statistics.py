"""What was counted while a load ran: per path and direction, altogether and over time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from iscsim.initiator.load.histogram import LatencyHistogram

MAX_BUCKETS = 512
"""How many pieces of time a series has at most; then two become one."""


class Direction(Enum):
    """Which way data went."""

    READ = "read"
    WRITE = "write"


@dataclass(slots=True)
class Interval:
    """What happened in a piece of time: how many ended well, of how many bytes, and how many did not."""

    latencies: LatencyHistogram = field(default_factory=LatencyHistogram)
    data_length: int = 0
    errors: int = 0

    @property
    def operations(self) -> int:
        """How many ended well."""
        return len(self.latencies)

    def add(self, other: Interval) -> None:
        """Count what ``other`` has counted."""
        self.latencies.add(other.latencies)
        self.data_length += other.data_length
        self.errors += other.errors


class Series:
    """Intervals one after the other, all equally long; when there are too many, two become one."""

    def __init__(self, interval_s: float, *, limit: int = MAX_BUCKETS) -> None:
        self.interval_s = interval_s
        """How long the intervals are now."""
        self._limit = limit
        self._intervals: list[Interval] = []
        self._each = 1
        self._in_last = 0

    def append(self, interval: Interval) -> None:
        """What happened since the one before."""
        if self._in_last in (0, self._each):
            self._intervals.append(Interval())
            self._in_last = 0
        self._intervals[-1].add(interval)
        self._in_last += 1
        if len(self._intervals) > self._limit:
            self._halve()

    def _halve(self) -> None:
        old = self._intervals
        for first, second in zip(old[::2], old[1::2], strict=False):
            first.add(second)
        if len(old) % 2 == 0:
            self._in_last += self._each
        self._intervals = old[::2]
        self._each *= 2
        self.interval_s *= 2

    def __len__(self) -> int:
        return len(self._intervals)

    def __iter__(self) -> Iterator[tuple[float, Interval]]:
        """Each interval with the second it begins at."""
        return ((index * self.interval_s, each) for index, each in enumerate(self._intervals))


class Meter:
    """The operations of one direction on one path (or on all paths together).

    :meth:`count` and :meth:`count_error` are for the load, :meth:`roll` for the clock.
    """

    __slots__ = ("_current", "last", "record", "series", "total")

    def __init__(self, interval_s: float) -> None:
        self.total = Interval()
        """All up to the last :meth:`roll`."""
        self.last = Interval()
        """The interval that ended with the last :meth:`roll`."""
        self.series = Series(interval_s)
        self._begin()

    def _begin(self) -> None:
        self._current = Interval()
        self.record = self._current.latencies.record
        """Count the latency of one that ended well; its bytes are counted on their own."""

    def count(self, latency_s: float, data_length: int) -> None:
        """One ended well."""
        self.record(latency_s)
        self._current.data_length += data_length

    def count_error(self) -> None:
        """One did not end well."""
        self._current.errors += 1

    def roll(self) -> None:
        """An interval is over."""
        self.last = self._current
        self._begin()
        self.total.add(self.last)
        self.series.append(self.last)


class PathStatistics:
    """What one path has done, by direction."""

    def __init__(self, name: str, interval_s: float) -> None:
        self.name = name
        self.meters = {direction: Meter(interval_s) for direction in Direction}
        self.read = self.meters[Direction.READ]
        self.write = self.meters[Direction.WRITE]

    def roll(self) -> None:
        """An interval is over."""
        for meter in self.meters.values():
            meter.roll()

    def total(self) -> Interval:
        """Both directions together, up to the last roll."""
        return _sum(meter.total for meter in self.meters.values())

    def last(self) -> Interval:
        """Both directions in the interval that ended last."""
        return _sum(meter.last for meter in self.meters.values())

    def series(self) -> list[tuple[float, Interval]]:
        """Both directions over time."""
        pairs = zip(self.read.series, self.write.series, strict=True)
        return [(start, _sum((read, write))) for (start, read), (_, write) in pairs]


def _sum(intervals: Iterator[Interval] | tuple[Interval, ...]) -> Interval:
    total = Interval()
    for each in intervals:
        total.add(each)
    return total
