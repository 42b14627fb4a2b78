"""A ``subprocess`` for blocking code: its processes are commands of the emulated host."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from iscsim.host.result import CommandResult
from iscsim.host.shell import find

if TYPE_CHECKING:
    from iscsim.host.model import Host
    from iscsim.host.sandbox.bridge import Bridge

__all__ = ["subprocess_for"]

_FIRST_PID = 1000
_SHELL_WORDS = set("|&;<>()$`*?[]{}~\n")


def subprocess_for(host: Host, bridge: Bridge) -> ModuleType:
    """A module in the place of ``subprocess``, with `Popen`, `run` and `check_output` on the host."""
    module = ModuleType("subprocess", subprocess.__doc__)
    kept = {name: value for name, value in vars(subprocess).items() if not name.startswith("__")}
    module.__dict__.update(kept)
    pids = iter(range(_FIRST_PID, 1 << 22))

    class Popen:
        """A command that runs. It begins at once, and waits for its input if it reads it.

        Raises:
            FileNotFoundError: the host has no such program.
        """

        def __init__(self, args: str | Sequence[str], bufsize: int = -1, **options: Any) -> None:
            self.args, self._options = args, options
            argv = _argv(args, shell=bool(options.get("shell")))
            find(host, argv[0])
            self.pid = next(pids)
            self.returncode: int | None = None
            self.stdin = self.stdout = self.stderr = None
            self._text = bool(options.get("text") or options.get("universal_newlines"))
            self._signal = 0
            self._input: asyncio.Future[bytes] = bridge.loop.create_future()
            self._task = bridge.start(host.execute(*argv, stdin=self._input))

        def communicate(
            self, input: bytes | str | None = None, timeout: float | None = None
        ) -> tuple[Any, Any]:
            """Give it its input and wait for its end: its two streams.

            Raises TimeoutExpired.
            """
            self._give(input)
            result = self._wait(timeout)
            streams = (result.stdout, result.stderr)
            wanted = [self._options.get(name) == subprocess.PIPE for name in ("stdout", "stderr")]
            out, error = (data if asked else None for data, asked in zip(streams, wanted, strict=True))
            return (_decoded(out), _decoded(error)) if self._text else (out, error)

        def _give(self, data: bytes | str | None) -> None:
            if not self._input.done():
                self._input.set_result(data.encode() if isinstance(data, str) else data or b"")

        def _wait(self, timeout: float | None) -> CommandResult:
            if not self._task.done():
                bridge.wait(asyncio.wait([self._task], timeout=timeout))
            if not self._task.done():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            result = CommandResult(-self._signal) if self._task.cancelled() else self._task.result()
            self.returncode = result.exit_code
            return result

        def wait(self, timeout: float | None = None) -> int:
            """Wait for its end: its exit code. Raises TimeoutExpired."""
            self._give(None)
            return self._wait(timeout).exit_code

        def poll(self) -> int | None:
            """Its exit code, None while it runs."""
            return self._wait(None).exit_code if self._task.done() else None

        def send_signal(self, sig: int) -> None:
            """End it; there is no signal that would not."""
            if not self._task.done():
                self._signal = int(sig)
                self._task.cancel()

        def terminate(self) -> None:
            """SIGTERM."""
            self.send_signal(signal.SIGTERM)

        def kill(self) -> None:
            """SIGKILL."""
            self.send_signal(signal.SIGKILL)

        def __enter__(self) -> Popen:
            return self

        def __exit__(self, *error: object) -> None:
            self.wait()

    def run(args: Any, *, input: Any = None, capture_output: bool = False, **options: Any) -> Any:
        """As that of ``subprocess``. Raises CalledProcessError if ``check``, and TimeoutExpired."""
        timeout, check = options.pop("timeout", None), options.pop("check", False)
        if capture_output:
            options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = Popen(args, **options)
        out, error = process.communicate(input, timeout)
        assert process.returncode is not None
        if check and process.returncode:
            raise subprocess.CalledProcessError(process.returncode, args, out, error)
        return subprocess.CompletedProcess(args, process.returncode, out, error)

    def check_output(args: Any, **options: Any) -> Any:
        """As that of ``subprocess``. Raises CalledProcessError."""
        return run(args, stdout=subprocess.PIPE, check=True, **options).stdout

    module.__dict__.update(Popen=Popen, run=run, check_output=check_output)
    return module


def _argv(args: str | Sequence[str], *, shell: bool) -> list[str]:
    """The words of a command; of a shell's command line those of a simple command only."""
    if not shell:
        return [args] if isinstance(args, str) else [os.fsdecode(each) for each in args]
    line = args if isinstance(args, str) else args[0]
    words = shlex.split(line)
    if any(set(word) & _SHELL_WORDS for word in words) and "'" not in line and '"' not in line:
        return ["sh", "-c", line]
    return words or ["sh", "-c", line]


def _decoded(data: bytes | None) -> str | None:
    return None if data is None else os.fsdecode(data)
