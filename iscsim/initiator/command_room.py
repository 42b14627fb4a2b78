"""How many commands of a session may be under way."""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["CommandRoom"]


class CommandRoom:
    """Places for commands; who finds none waits in turn.

    What `asyncio.Semaphore` does, at less cost to those who find a place: take ``free`` down by one, or
    :meth:`wait` when it is 0. Either way :meth:`leave` gives the place back.
    """

    __slots__ = ("_waiting", "free")

    def __init__(self, places: int) -> None:
        self.free = places
        """Places that nobody has or waits for."""
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        """Come back with a place."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif not turn.cancelled():  # it was given a place and cancelled at the same time
                self.leave()
            raise

    def leave(self) -> None:
        """A place is free: whoever waits longest has it."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.free += 1
