"""How much data sessions may have on its way: a bound for the memory that peers can make us take."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iscsim.target.connection import TargetConnection
    from iscsim.target.policy import TargetPolicy
    from iscsim.target.task import Task


class WriteRoom:
    """Room for the data that R2Ts ask for, in bytes; a write without room waits for its first R2T.

    RFC 7143 leaves it to the target when it asks. One write always has room, however long it is.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._waiting: deque[Task] = deque()

    def resize(self, size: int) -> None:
        """Change the size for those that come now; then call :meth:`next`."""
        self._size = size

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


class SharedRoom:
    """The room of all sessions of a network entity, divided equally among those there are.

    Nobody can take the share of another, so nobody starves; with few sessions each has what its policy
    gives to one.
    """

    def __init__(self, policy: TargetPolicy) -> None:
        self._policy = policy
        self._members: dict[TargetConnection, None] = {}  # a set that keeps its order
        self._parts = 0

    def join(self, connection: TargetConnection) -> None:
        """A connection begins to take commands: the shares of all become smaller."""
        self._members[connection] = None
        if not self._divide():
            self._give_share(connection)

    def leave(self, connection: TargetConnection) -> None:
        """It is over: those that wait may find room now."""
        if connection in self._members:
            del self._members[connection]
            self._divide()

    @property
    def unsolicited_share(self) -> int:
        """Bytes that a session may have kept for its open commands though nobody asked for them."""
        return self._policy.all_unsolicited_room // max(len(self._members), 1)

    def _divide(self) -> bool:
        """Tell all of their share if it has changed; whether it has."""
        parts = _rounded_up(len(self._members))
        if parts == self._parts:
            return False
        self._parts = parts
        for connection in self._members:
            self._give_share(connection)
        return True

    def _give_share(self, connection: TargetConnection) -> None:
        policy, parts = self._policy, self._parts
        connection.most_owed = min(policy.read_room, policy.all_read_room // parts)
        connection.commands.resize_room(min(policy.write_room, policy.all_write_room // parts))


def _rounded_up(count: int) -> int:
    """``count`` itself up to 16, and then in steps of an eighth at most.

    So not everybody has to be told of everybody who comes and goes, when there are thousands.
    """
    step = 1 << max(count.bit_length() - 4, 0)
    return -(-count // step) * step
