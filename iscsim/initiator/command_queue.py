"""Who of a SCSI device's commands may go to the target now."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from iscsim.initiator.queue_depth import QueueDepth

__all__ = ["CommandQueue"]

_IDLE_STALL_S = 0.006
"""A device without commands under way that could not take one is asked again after that long: Linux waits
``SCSI_QUEUE_DELAY`` (3 ms) until ``device_blocked``, 3 at first, is counted down to 0."""


class CommandQueue:
    """Lets ``depth`` commands at a time through, in order; those that come back go before all others.

    Nobody is let through while ``is_open()`` is False; call :meth:`look` when that has changed.
    """

    def __init__(self, depth: QueueDepth, is_open: Callable[[], bool]) -> None:
        self.depth = depth
        self.in_flight = 0
        self._is_open = is_open
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._stalled = False
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, *, first: bool = False) -> None:
        """Wait for a place; give it back with :meth:`leave`. ``first`` is for commands that came back."""
        if not self._waiting and self._has_place():
            self.in_flight += 1
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

    def leave(self) -> None:
        """A place is free."""
        self.in_flight -= 1
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
                self.in_flight += 1
                turn.set_result(None)
        if self._waiting and self._stalled and not self.in_flight and self._timer is None and self._is_open():
            self._timer = asyncio.get_running_loop().call_later(_IDLE_STALL_S, self._try_again)

    def _has_place(self) -> bool:
        return not self._stalled and self.in_flight < self.depth.depth and self._is_open()

    def _try_again(self) -> None:
        self._timer = None
        self._stalled = False
        self.look()
