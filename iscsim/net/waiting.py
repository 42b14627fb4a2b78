"""Who waits for what: the words of a `Deadlock`."""

from __future__ import annotations

import asyncio
from typing import Any

_MOST_LINES = 12
_ASYNCIO = asyncio.__file__.rpartition("/")[0]


def describe_waiting(loop: Any) -> str:
    """One line, then one for each task that waits and each connection that is not answered."""
    lines = [line for ask in loop.waiting for line in ask()]
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    lines += [_describe(task) for task in tasks]
    hidden = len(lines) - _MOST_LINES
    shown = lines[:_MOST_LINES] + ([f"and {hidden} more"] if hidden > 0 else [])
    head = f"nothing can happen any more at {loop.time():g} s of virtual time"
    return "\n  ".join([head + (":" if shown else ""), *shown])


def _describe(task: asyncio.Task[Any]) -> str:
    """The task's name, and the innermost line it has come to that is not asyncio's."""
    found: Any = task.get_coro()
    where = ""
    while found is not None:
        frame = getattr(found, "cr_frame", None) or getattr(found, "gi_frame", None)
        if frame is not None and (not where or not frame.f_code.co_filename.startswith(_ASYNCIO)):
            name = getattr(found, "__qualname__", "?")
            where = f"in {name} ({frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno})"
        found = getattr(found, "cr_await", None) or getattr(found, "gi_yieldfrom", None)
    return f"task {task.get_name()} waits {where}".rstrip()
