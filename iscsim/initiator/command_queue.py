"""Who of a SCSI device's commands may go to the target now."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from iscsim.initiator.queue_depth import QueueDepth

__all__ = ["CommandQueue", "HostRoom"]

_IDLE_STALL_S = 0.006
"""A device without commands under way that could not take one is asked again after that long: Linux waits
``SCSI_QUEUE_DELAY`` (3 ms) until ``device_blocked``, 3 at first, is counted down to 0."""


class HostRoom:
    """How many commands all devices of a host have under way: ``limit`` at most (``can_queue``).

    Queues that found no room wait in turn.
    """

    def __init__(self, limit: float = float("inf")) -> None:
        self.limit = limit
        self.taken = 0
        self._starved: dict[CommandQueue, None] = {}

    @property
    def is_full(self) -> bool:
        """Whether no device may begin a command."""
        return self.taken >= self.limit

    def starve(self, queue: CommandQueue) -> None:
        """``queue`` would have had a place of its own."""
        self._starved[queue] = None

    def give_back(self) -> None:
        """A command has ended: the queue that waits longest has the next turn, if it wants it."""
        self.taken -= 1
        for queue in list(self._starved):
            if self.is_full:
                break
            del self._starved[queue]
            queue.look()  # it may starve again, behind the others


class CommandQueue:
    """Lets ``depth`` commands at a time through, in order; those that come back go before all others.

    Nobody is let through while ``is_open()`` is False; call :meth:`look` when that has changed. All places
    are also places in ``host``, which the devices of a host share.
    """

    def __init__(self, depth: QueueDepth, is_open: Callable[[], bool], host: HostRoom | None = None) -> None:
        self.depth = depth
        self.in_flight = 0
        self._host = host or HostRoom()
        self._is_open = is_open
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._stalled = False
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, *, first: bool = False) -> None:
        """Wait for a place; give it back with :meth:`leave`. ``first`` is for commands that came back."""
        if not self._waiting and self._has_place():
            self._take()
            return
        turn = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if first else self._waiting.append)(turn)
        self.look()
        try:
            await turn
        except BaseException:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif turn.done() and not turn.cancelled():
                self.leave()
            raise

    def _take(self) -> None:
        self.in_flight += 1
        self._host.taken += 1

    def leave(self) -> None:
        """A place is free."""
        self.in_flight -= 1
        self._host.give_back()
        self.look()

    def stall(self) -> None:
        """The device could not take a command: wait until another one ends, or a moment if there is none."""
        self._stalled = True

    def flow(self) -> None:
        """A command has ended: the device takes more."""
        self._stalled = False

    def look(self) -> None:
        """Let those through who may go."""
        while self._waiting and self._has_place():
            turn = self._waiting.popleft()
            if not turn.done():
                self._take()
                turn.set_result(None)
        if self._waiting and self._stalled and not self.in_flight and self._timer is None and self._is_open():
            self._timer = asyncio.get_running_loop().call_later(_IDLE_STALL_S, self._try_again)

    def _has_place(self) -> bool:
        if self._stalled or self.in_flight >= self.depth.depth or not self._is_open():
            return False
        if self._host.is_full:
            self._host.starve(self)
            return False
        return True

    def _try_again(self) -> None:
        self._timer = None
        self._stalled = False
        self.look()
