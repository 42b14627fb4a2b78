"""Fewer faults that still fail."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.errors import ConfigError
from iscsim.faults.shrink import shrink


def faults(count: int) -> list[dict[str, Any]]:
    return [{"id": str(number), "name": "net.refuse"} for number in range(count)]


@given(count=st.integers(1, 40), data=st.data())
def test_what_is_needed_is_found_and_nothing_else(count: int, data: st.DataObject) -> None:
    needed = data.draw(st.sets(st.integers(0, count - 1), max_size=4))
    runs: list[list[str]] = []

    def fails(kept: list[Any]) -> bool:
        runs.append([fault["id"] for fault in kept])
        return {str(number) for number in needed} <= {fault["id"] for fault in kept}

    found = shrink(faults(count), fails, most_runs=2000)
    assert [int(fault["id"]) for fault in found.faults] == sorted(needed)
    assert found.is_minimal
    assert found.runs == len(runs) == len({tuple(run) for run in runs})  # no list is tried twice
    first = list(runs)
    runs.clear()
    assert shrink(faults(count), fails, most_runs=2000) == found
    assert runs == first


@given(count=st.integers(1, 12), seed=st.randoms(use_true_random=False))
def test_result_fails_and_no_smaller_one_does_whatever_fails(count: int, seed: Any) -> None:
    verdicts: dict[tuple[str, ...], bool] = {}

    def fails(kept: list[Any]) -> bool:
        key = tuple(fault["id"] for fault in kept)
        return verdicts.setdefault(key, len(key) == count or seed.random() < 0.3)

    found = shrink(faults(count), fails)
    assert fails(found.faults)
    if found.is_minimal:
        for fault in found.faults:
            assert not fails([each for each in found.faults if each is not fault])


def test_runs_are_bounded_and_the_best_so_far_comes_back() -> None:
    calls = []

    def fails(kept: list[Any]) -> bool:
        calls.append(len(kept))
        return {"3", "60"} <= {fault["id"] for fault in kept}

    found = shrink(faults(64), fails, most_runs=5)
    assert (len(calls), found.runs, found.is_minimal) == (5, 5, False)
    assert {"3", "60"} <= {fault["id"] for fault in found.faults}


def test_what_does_not_fail_cannot_be_shrunk() -> None:
    with pytest.raises(ConfigError, match="these faults do not fail"):
        shrink(faults(3), lambda kept: False)
    with pytest.raises(ConfigError, match="most_runs is 0"):
        shrink(faults(3), lambda kept: True, most_runs=0)
