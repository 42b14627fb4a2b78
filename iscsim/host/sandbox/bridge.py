"""Blocking code that waits for coroutines: each piece of it runs in a greenlet beside the event loop.

Where such code blocks, its greenlet is left and the loop goes on; so in virtual time nothing is waited for.
Only one greenlet runs at a time, in an order the loop decides, so runs can be repeated, "threads" included.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import greenlet

__all__ = ["Bridge"]

Result = TypeVar("Result")


class Bridge:
    """Between blocking code and ``loop``.

    ``tasks`` are the threads of blocking code that have not ended.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self._numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._next = itertools.count(1)

    async def run(self, function: Callable[..., Result], /, *args: Any, **options: Any) -> Result:
        """Call blocking code from a coroutine; what it raises is raised here.

        When the caller is cancelled, CancelledError is raised where the code waits.
        """
        worker = greenlet.greenlet(lambda: function(*args, **options))
        waited_for = worker.switch()
        while not worker.dead:
            try:
                answer = await waited_for
            except BaseException as error:  # it belongs to the code that waits
                waited_for = worker.throw(error)
            else:
                waited_for = worker.switch(answer)
        return waited_for  # type: ignore[no-any-return]

    def wait(self, awaitable: Awaitable[Result]) -> Result:
        """Called by blocking code: wait for ``awaitable``, while the loop goes on.

        Outside of :meth:`run` the loop is run until then.
        """
        here = greenlet.getcurrent()
        if here.parent is not None:
            return here.parent.switch(awaitable)  # type: ignore[no-any-return]
        return self.loop.run_until_complete(_as_coroutine(awaitable))

    def sleep(self, seconds: float) -> None:
        """Called by blocking code, instead of ``time.sleep``."""
        self.wait(asyncio.sleep(seconds))

    def spawn(self, function: Callable[[], None]) -> asyncio.Task[None]:
        """Called by blocking code: begin another thread of it, which runs when this one waits."""
        return self.start(self.run(function))

    def start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Begin a coroutine beside the blocking code."""
        task = self.loop.create_task(work)
        self.tasks[task] = None
        task.add_done_callback(self.tasks.pop)
        return task

    def identify(self) -> int:
        """A number for the thread this is called in, as ``threading.get_ident`` has it."""
        here = greenlet.getcurrent()
        if here not in self._numbers:
            self._numbers[here] = next(self._next)
        return self._numbers[here]


async def _as_coroutine(awaitable: Awaitable[Result]) -> Result:
    return await awaitable
