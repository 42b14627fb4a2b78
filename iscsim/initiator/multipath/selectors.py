"""Path selectors: which path of a group the next command takes, as device-mapper's modules choose."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from iscsim.initiator.multipath.path import Path

__all__ = ["SELECTORS", "Selector", "selector_of"]


class Selector(Protocol):
    """Chooses among the active paths of a group."""

    def select(self, active: Sequence[Path], length: int) -> Path:
        """One of ``active``, which is not empty, for a command of ``length`` bytes."""
        ...


class RoundRobin:
    """The active paths in turn; ``min_io`` commands each (``rr_min_io_rq``)."""

    def __init__(self, min_io: int = 1) -> None:
        self.min_io = min_io
        self._last: Path | None = None
        self._left = 0

    def select(self, active: Sequence[Path], length: int) -> Path:
        """See `Selector`."""
        last = self._last
        if last is not None and last in active:
            if self._left > 0:
                self._left -= 1
                return last
            chosen = active[(active.index(last) + 1) % len(active)]
        else:
            chosen = active[0]
        self._last, self._left = chosen, self.min_io - 1
        return chosen


class _Least(ABC):
    """The path with the least load. Of equals the one that was chosen longest ago, as dm's list has it."""

    def __init__(self, min_io: int = 1) -> None:
        self._order: list[Path] = []

    @abstractmethod
    def load(self, path: Path) -> int:
        """What is under way on ``path``."""

    def select(self, active: Sequence[Path], length: int) -> Path:
        """See `Selector`."""
        waiting = [path for path in self._order if path in active]
        candidates = [path for path in active if path not in waiting] + waiting
        chosen = min(candidates, key=self.load)
        candidates.remove(chosen)
        self._order = [*candidates, chosen]
        return chosen


class QueueLength(_Least):
    """The path with the fewest commands under way."""

    def load(self, path: Path) -> int:
        """Commands."""
        return path.in_flight


class ServiceTime(_Least):
    """The path with the fewest bytes under way; all have the same throughput."""

    def load(self, path: Path) -> int:
        """Bytes."""
        return path.in_flight_length


SELECTORS: dict[str, type[RoundRobin] | type[QueueLength] | type[ServiceTime]] = {
    "round-robin": RoundRobin,
    "queue-length": QueueLength,
    "service-time": ServiceTime,
}


def selector_of(text: str, min_io: int = 1) -> Selector:
    """A selector from what ``multipath.conf`` says, ``"round-robin 0"``; ``min_io`` is ``rr_min_io_rq``."""
    return SELECTORS[text.partition(" ")[0]](min_io)
