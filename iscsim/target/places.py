"""Who has to go when all of a server's connections are taken: a stranger must not hold them for ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

from iscsim.session.connection import Phase
from iscsim.target.connection import TargetConnection


class Visitor(Protocol):
    """A connection with its peer's address (host and port)."""

    core: TargetConnection
    peer: Any


V = TypeVar("V", bound=Visitor)

# In this order; who has logged in to a target stays
_DISPENSABLE: tuple[Callable[[TargetConnection], bool], ...] = (
    lambda core: core.closing,
    lambda core: core.phase is Phase.LOGIN,
    lambda core: core.phase is Phase.DISCOVERY,
)


def who_gives_way(visitors: Iterable[V]) -> V | None:
    """Of those who have not logged in to a target, the oldest of the address that has most of them.

    Those who only linger go first, those who only discover last. ``visitors`` are in the order they came.
    """
    present = list(visitors)
    for dispensable in _DISPENSABLE:
        found = [visitor for visitor in present if dispensable(visitor.core)]
        counts = Counter(visitor.peer[0] for visitor in found)
        if found:
            most = max(counts.values())
            return next(visitor for visitor in found if counts[visitor.peer[0]] == most)
    return None
