"""Running the program: its streams are ours, signals reach it, and nothing of it is left afterwards."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

__all__ = ["Signals", "run_program"]

_BECOME_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER: who loses his parent becomes ours (prctl(2))."""
GRACE_S = 2.0
"""From the first signal to the next harder one."""
_HARDER = {signal.SIGINT: signal.SIGTERM, signal.SIGTERM: signal.SIGKILL, signal.SIGHUP: signal.SIGKILL}


class Signals:
    """What SIGINT, SIGTERM and SIGHUP do while this context lasts, in the task that has made it.

    While there is a program they go to it; if it does not end, harder ones follow, but for Ctrl-C on a
    terminal, with which programs do what they like. Before and after, they cancel the task; `number` is the
    one that did.
    """

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.number: int | None = None
        self._timers: list[asyncio.TimerHandle] = []

    def __enter__(self) -> Self:
        self._task, self._loop = asyncio.current_task(), asyncio.get_running_loop()
        for number in _HARDER:
            self._loop.add_signal_handler(number, self._hear, number)
        return self

    def __exit__(self, *error: object) -> None:
        self.forget()
        for number in _HARDER:
            self._loop.remove_signal_handler(number)

    def forget(self) -> None:
        """The program has ended."""
        self.process = None
        for timer in self._timers:
            timer.cancel()

    def _hear(self, number: signal.Signals) -> None:
        if self.process is not None:
            self._send(number)
        elif self._task is not None:
            self.number = number
            self._task.cancel()

    def _send(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        harder = _HARDER.get(number)
        if harder is not None and not (number == signal.SIGINT and sys.stdin.isatty()):
            self._timers.append(self._loop.call_later(GRACE_S, self._send, harder))


async def run_program(command: Sequence[str], environment: Mapping[str, str], signals: Signals) -> int:
    """Run it to its end; its exit code, 128 and the number of the signal that ended it.

    What it leaves running is killed. Raises OSError when it cannot be started.
    """
    _become_subreaper()
    known = _children()
    process = signals.process = _start(command, environment)
    try:
        code = await asyncio.to_thread(process.wait)
    finally:
        signals.forget()
        await _end_descendants(known)
    return 128 - code if code < 0 else code


def _start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # not asyncio's: uvloop would leave copies of our streams open in it
    return subprocess.Popen(list(command), env=dict(environment))


def _become_subreaper() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_BECOME_SUBREAPER, 1, 0, 0, 0)


# -- what it leaves running ----------------------------------------------------------------------------


async def _end_descendants(known: set[int]) -> None:
    """Kill what the program has left, until there is nothing: a dying parent gives us its children."""
    for _ in range(_ROUNDS):
        left = _children() - known
        if not left:
            return
        for each in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(each, signal.SIGKILL)
        await asyncio.sleep(0.01)
        for each in left:
            _reap(each)


_ROUNDS = 100
"""As many generations as are waited for, 10 ms each."""


def _reap(process: int) -> None:
    with suppress(ChildProcessError):
        os.waitpid(process, os.WNOHANG)


def _children() -> set[int]:
    """The processes whose parent we are."""
    found = set()
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal():
            continue
        try:
            status = Path(entry.path, "stat").read_text(encoding="latin-1")
        except OSError:
            continue  # it has ended meanwhile
        parent = int(status.rpartition(")")[2].split()[1])
        if parent == os.getpid():
            found.add(int(entry.name))
    return found
