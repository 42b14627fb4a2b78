"""Who waits for what: the words of a `Deadlock`."""

from __future__ import annotations

import asyncio
from typing import Any

_MOST_LINES = 12
_ASYNCIO = asyncio.__file__.rpartition("/")[0]


def describe_waiting(loop: Any) -> str:
    """One line, then one for each task that waits and each connection that is not answered."""
    network = getattr(loop, "network", None)
    asked = [*loop.waiting, *([network.waiting] if network is not None else [])]
    lines = list(dict.fromkeys(line for ask in asked for line in ask()))
    tasks = sorted(asyncio.all_tasks(loop), key=_in_order)
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
        frame = _first_of(found, "cr_frame", "gi_frame")
        if frame is not None and (not where or not frame.f_code.co_filename.startswith(_ASYNCIO)):
            name = getattr(found, "__qualname__", "?")
            where = f"in {name} ({frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno})"
        found = _first_of(found, "cr_await", "gi_yieldfrom")
    return f"task {task.get_name()} waits {where}".rstrip()


def _in_order(task: asyncio.Task[Any]) -> tuple[int, str]:
    """Task-9 before Task-10."""
    return len(task.get_name()), task.get_name()


def _first_of(found: Any, *names: str) -> Any:
    return next((value for name in names if (value := getattr(found, name, None)) is not None), None)
