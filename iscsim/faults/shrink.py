"""Fewer faults that still fail: delta debugging of a fault list (Zeller and Hildebrandt's ddmin)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from iscsim.errors import ConfigError

__all__ = ["Shrunk", "shrink"]

Description = Mapping[str, Any]
Fails = Callable[[list[Description]], bool]


@dataclass(frozen=True, slots=True)
class Shrunk:
    """``faults`` still fail. ``is_minimal``: without any one of them they do not; else ``runs`` ran out."""

    faults: list[Description]
    runs: int
    is_minimal: bool


class _OutOfRuns(Exception):
    pass


class _Search:
    """Asks ``fails`` once for each list, and no more than ``most_runs`` times."""

    def __init__(self, faults: Sequence[Description], fails: Fails, most_runs: int) -> None:
        self._faults, self._fails, self._most_runs = faults, fails, most_runs
        self._known: dict[tuple[int, ...], bool] = {}

    @property
    def runs(self) -> int:
        return len(self._known)

    def fails(self, kept: tuple[int, ...]) -> bool:
        if kept not in self._known:
            if self.runs >= self._most_runs:
                raise _OutOfRuns
            self._known[kept] = self._fails([self._faults[index] for index in kept])
        return self._known[kept]


def shrink(faults: Sequence[Description], fails: Fails, *, most_runs: int = 200) -> Shrunk:
    """The fewest of ``faults``, in their order, with which ``fails`` still says True.

    Give each fault an ``id`` of its own first: chance comes from it, and a default one may change when
    faults before it go. The same arguments give the same result, as far as ``fails`` does.

    Raises:
        ConfigError: they do not fail as they are, or no run is allowed.
    """
    search = _Search(faults, fails, most_runs)
    kept = tuple(range(len(faults)))
    try:
        if not search.fails(kept):
            raise ConfigError("there is nothing to shrink: these faults do not fail")
    except _OutOfRuns:
        raise ConfigError(f"most_runs is {most_runs}, expected 1 or more") from None
    best = [kept]
    try:
        _minimize(search, best)
        is_minimal = True
    except _OutOfRuns:
        is_minimal = False
    return Shrunk([faults[index] for index in best[-1]], search.runs, is_minimal)


def _minimize(search: _Search, best: list[tuple[int, ...]]) -> None:
    """Append ever smaller lists that fail to ``best``."""
    if search.fails(()):
        best.append(())
    parts = 2
    while len(best[-1]) > 1 and parts <= len(best[-1]):
        found = _smaller(search, best[-1], parts)
        if found is None:
            parts = parts + 1 if parts == len(best[-1]) else min(2 * parts, len(best[-1]))
        else:
            parts = 2 if len(found) <= len(best[-1]) // parts + 1 else max(parts - 1, 2)
            best.append(found)


def _smaller(search: _Search, kept: tuple[int, ...], parts: int) -> tuple[int, ...] | None:
    """One of ``parts`` equal parts that fails, or all but one of them."""
    bounds = [len(kept) * number // parts for number in range(parts + 1)]
    chunks = [kept[begin:end] for begin, end in pairwise(bounds)]
    rests = [tuple(index for index in kept if index not in chunk) for chunk in chunks]
    return next((each for each in (*chunks, *rests) if len(each) < len(kept) and search.fails(each)), None)
