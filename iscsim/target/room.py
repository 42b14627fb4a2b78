"""How much write data a session may have on its way: a bound for the memory a peer can make us take."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iscsim.target.task import Task


class WriteRoom:
    """Room for the data that R2Ts ask for, in bytes; a write without room waits for its first R2T.

    RFC 7143 leaves it to the target when it asks. One write always has room, however long it is.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._waiting: deque[Task] = deque()

    def take(self, task: Task) -> bool:
        """Room for all of ``task``'s data, from the first call until :meth:`give_back`; else it waits."""
        if task.has_room:
            return True
        if self._waiting or not self._fits(task):
            if task not in self._waiting:
                self._waiting.append(task)
            return False
        self._grant(task)
        return True

    def give_back(self, task: Task) -> None:
        """``task`` has its data, or does not want it any more."""
        if task.has_room:
            task.has_room = False
            self._taken -= task.transfer.length
        elif task in self._waiting:
            self._waiting.remove(task)

    def clear(self) -> None:
        """Nobody has room, and nobody waits."""
        self._waiting.clear()
        self._taken = 0

    def next(self) -> Task | None:
        """A task that has waited and now has room."""
        if not self._waiting or not self._fits(self._waiting[0]):
            return None
        task = self._waiting.popleft()
        self._grant(task)
        return task

    def _fits(self, task: Task) -> bool:
        return not self._taken or self._taken + task.transfer.length <= self._size

    def _grant(self, task: Task) -> None:
        task.has_room = True
        self._taken += task.transfer.length
