"""Latencies counted in logarithmic buckets: any percentile to within 0.8 %, in memory that does not grow.

The scheme is HdrHistogram's: 64 buckets for every doubling. Its Python package takes twice the time for a
value and wants setuptools at run time, for a page of code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_SUB_BITS = 6
_SUB_BUCKETS = 1 << _SUB_BITS
_NS = 1e9
PERCENTILES = (50.0, 90.0, 99.0, 99.9)
"""Those that reports show."""


class LatencyHistogram:
    """How often each latency was seen. Seconds go in and come out; nanoseconds are counted.

    There are at most 64 buckets for each power of two: 2,300 for all from 1 ns to 18 minutes. Only those that
    are used are kept.
    """

    __slots__ = ("_counts", "_max", "_min")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._min = -1
        self._max = 0

    def record(self, latency_s: float) -> None:
        """Count one."""
        value = int(latency_s * _NS)
        shift = value.bit_length() - (_SUB_BITS + 1)
        bucket = (shift << _SUB_BITS) + (value >> shift) if shift > 0 else value
        counts = self._counts
        counts[bucket] = counts.get(bucket, 0) + 1
        if value > self._max:
            self._max = value
        if value < self._min or self._min < 0:
            self._min = value

    def add(self, other: LatencyHistogram) -> None:
        """Count all that ``other`` has counted."""
        counts = self._counts
        for bucket, count in other._counts.items():
            counts[bucket] = counts.get(bucket, 0) + count
        self._max = max(self._max, other._max)
        if other._min >= 0:
            self._min = other._min if self._min < 0 else min(self._min, other._min)

    def __len__(self) -> int:
        """How many were counted."""
        return sum(self._counts.values())

    @property
    def buckets(self) -> int:
        """How many buckets are kept."""
        return len(self._counts)

    @property
    def max_s(self) -> float:
        """The longest, exactly; 0 without any."""
        return self._max / _NS

    @property
    def min_s(self) -> float:
        """The shortest, exactly; 0 without any."""
        return max(self._min, 0) / _NS

    @property
    def mean_s(self) -> float:
        """The mean to within 0.8 %; 0 without any."""
        total = len(self)
        return sum(_middle(bucket) * count for bucket, count in self._counts.items()) / _NS / max(total, 1)

    def percentile(self, percent: float) -> float:
        """The latency, to within 0.8 %, that ``percent`` of a hundred did not exceed; 0 without any."""
        return self.percentiles((percent,))[percent]

    def percentiles(self, percents: tuple[float, ...] = PERCENTILES) -> Mapping[float, float]:
        """Several at once, in ascending order."""
        ordered = sorted(self._counts.items())
        wanted = len(self)
        found = {}
        seen, rest = 0, iter(ordered)
        bucket = 0
        for percent in percents:
            rank = max(1, -(-wanted * percent // 100))  # the first of one, and never of none
            while seen < rank and (entry := next(rest, None)) is not None:
                bucket, count = entry
                seen += count
            found[percent] = min(max(_middle(bucket), self._min), self._max) / _NS
        return found

    def rows(self) -> Iterator[tuple[float, int]]:
        """Each bucket that is used: its upper end in seconds, and how many it counted; ascending."""
        for bucket, count in sorted(self._counts.items()):
            yield (_low(bucket + 1) - 1) / _NS, count


def _low(bucket: int) -> int:
    """The least value of a bucket, in nanoseconds."""
    if bucket < 2 * _SUB_BUCKETS:
        return bucket
    shift = (bucket >> _SUB_BITS) - 1
    return (bucket - (shift << _SUB_BITS)) << shift


def _middle(bucket: int) -> int:
    return (_low(bucket) + _low(bucket + 1) - 1) // 2
