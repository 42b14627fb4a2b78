"""The sessions of a node, found without looking at each: a thousand hosts may log in at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from iscsim.target.session import TargetSession

__all__ = ["SessionTable"]

Identity = tuple[str, bytes, int]


class SessionTable(list["TargetSession"]):
    """Sessions in the order in which they logged in; add with `append` and ``+=``, take out with `remove`."""

    def __init__(self) -> None:
        super().__init__()
        self._by_identity: dict[Identity, TargetSession] = {}
        self._handles: Counter[int] = Counter()
        self._tags: Counter[int] = Counter()

    def append(self, session: TargetSession) -> None:
        """Add a session."""
        super().append(session)
        self._by_identity.setdefault(session.identity, session)
        self._handles[session.tsih] += 1
        self._tags[session.portal_group_tag] += 1

    def extend(self, sessions: Iterable[TargetSession]) -> None:
        """Add several."""
        for session in sessions:
            self.append(session)

    def __iadd__(self, sessions: Iterable[TargetSession]) -> Self:  # type: ignore[override,misc]
        self.extend(sessions)
        return self

    def remove(self, session: TargetSession) -> None:
        """Take a session out. Raises ValueError when it is not there."""
        super().remove(session)
        if self._by_identity.get(session.identity) is session:
            del self._by_identity[session.identity]
        self._handles[session.tsih] -= 1
        self._tags[session.portal_group_tag] -= 1

    def find(self, identity: Identity) -> TargetSession | None:
        """The session of that I_T nexus; discovery sessions have none, and may share what stands for it."""
        return self._by_identity.get(identity)

    def has_handle(self, tsih: int) -> bool:
        """Whether one of them has that Target Session Identifying Handle."""
        return self._handles[tsih] > 0

    @property
    def portal_group_tags(self) -> set[int]:
        """The portal groups they came in through."""
        return {tag for tag, count in self._tags.items() if count}
