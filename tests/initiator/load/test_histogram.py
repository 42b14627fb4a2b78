"""Latencies in logarithmic buckets: percentiles to within 0.8 %, memory that does not grow."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.initiator.load.histogram import PERCENTILES, LatencyHistogram

SECONDS = st.lists(st.floats(1e-9, 1000, allow_nan=False), min_size=1, max_size=300)


def histogram(values: list[float]) -> LatencyHistogram:
    counted = LatencyHistogram()
    for value in values:
        counted.record(value)
    return counted


@given(SECONDS, st.sampled_from([0.0, 1.0, *PERCENTILES, 100.0]))
def test_percentile_is_that_of_the_sorted_values(values: list[float], percent: float) -> None:
    rank = max(1, -(-len(values) * percent // 100))
    exact = sorted(values)[int(rank) - 1]
    assert histogram(values).percentile(percent) == pytest.approx(exact, rel=0.008, abs=2e-9)


@given(SECONDS)
def test_least_and_greatest_are_exact_to_the_nanosecond(values: list[float]) -> None:
    counted = histogram(values)
    assert counted.min_s == pytest.approx(min(values), abs=1e-9)
    assert counted.max_s == pytest.approx(max(values), abs=1e-9)
    assert counted.mean_s == pytest.approx(sum(values) / len(values), rel=0.008, abs=2e-9)


@given(SECONDS, SECONDS)
def test_two_added_are_all_in_one(one: list[float], other: list[float]) -> None:
    both, together = histogram(one), histogram(one + other)
    both.add(histogram(other))
    assert both.percentiles() == together.percentiles()
    assert (len(both), both.max_s, both.min_s) == (len(together), together.max_s, together.min_s)


def test_nothing_counted_is_zero() -> None:
    nothing = LatencyHistogram()
    assert (len(nothing), nothing.max_s, nothing.min_s, nothing.mean_s) == (0, 0, 0, 0)
    assert set(nothing.percentiles().values()) == {0}
    nothing.add(LatencyHistogram())
    assert (len(nothing), nothing.min_s) == (0, 0)


def test_buckets_are_bounded() -> None:
    dice = random.Random(1)
    counted = histogram([10 ** dice.uniform(-9, 3) for _ in range(50_000)])
    assert len(counted) == 50_000
    assert counted.buckets <= 2300


def test_rows_rise_and_hold_everything() -> None:
    rows = list(histogram([0.001, 0.001, 0.002, 0.5]).rows())
    assert [count for _, count in rows] == [2, 1, 1]
    assert [end for end, _ in rows] == sorted(end for end, _ in rows)
    assert rows[0][0] == pytest.approx(0.001, rel=0.016)
