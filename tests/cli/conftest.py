"""Running the command line, in this process or as one of its own, with a runtime directory of its own."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from iscsim.cli import keeper as keeper_module
from iscsim.cli.app import main

HOST = "iqn.1993-08.org.debian:01:host"


@dataclass(slots=True)
class Done:
    """How a command ended."""

    code: int
    output: bytes
    stderr: str

    @property
    def stdout(self) -> str:
        """Its output as text."""
        return self.output.decode()

    def assert_failed(self, code: int, what: str) -> None:
        """It ended with ``code``, nothing on stdout, and one line on stderr with ``what`` in it."""
        assert (self.code, self.output) == (code, b""), self
        assert self.stderr.startswith("iscsim: error: "), self
        assert self.stderr.count("\n") == 1, self
        assert what in self.stderr


class CLI:
    """The command line, with a runtime directory of its own."""

    def __init__(
        self, runtime: Path, capture: pytest.CaptureFixture[bytes], patch: pytest.MonkeyPatch
    ) -> None:
        self.runtime = runtime
        self.socket = runtime / "initiator.sock"
        self._capture = capture
        self._patch = patch

    def __call__(self, *arguments: object, stdin: bytes = b"") -> Done:
        """``iscsim ARGUMENTS`` in this process."""
        self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = self._capture.readouterr()
        return Done(int(ended.value.code or 0), captured.out, captured.err.decode())

    async def beside(self, *arguments: object, stdin: bytes = b"") -> Done:
        """The same beside what runs on the loop of the test, as a target does."""
        return await asyncio.to_thread(self, *arguments, stdin=stdin)

    @staticmethod
    def command(*arguments: object) -> list[str]:
        """``iscsim ARGUMENTS`` as a process of its own."""
        return [sys.executable, "-W", "error", "-m", "iscsim", *map(str, arguments)]

    def spawn(self, *arguments: object, **options: Any) -> Done:
        """Run it as a process of its own, to its end."""
        done = subprocess.run(self.command(*arguments), capture_output=True, timeout=60, **options)
        return Done(done.returncode, done.stdout, done.stderr.decode())

    @staticmethod
    async def until(condition: Callable[[], bool]) -> None:
        """Look again and again; a test that waits for ever is ended by its timeout."""
        for _ in iter(condition, True):
            await asyncio.sleep(0.001)

    def keeper_pid(self) -> int | None:
        """The process that answers on the keeper's socket."""
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self.socket))
            except (FileNotFoundError, ConnectionError):
                return None
            size = struct.calcsize("3i")
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        pid: int = struct.unpack("3i", credentials)[0]
        return pid

    @staticmethod
    def is_running(pid: int) -> bool:
        """Whether that process runs; a zombie does not."""
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False


@pytest.fixture
def cli(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[CLI]:
    """The path is short, as that of a UNIX socket must be; a keeper that is left there is ended."""
    for name in ("ISCSIM_CHAP_USER", "ISCSIM_CHAP_PASSWORD", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    runtime = Path(tempfile.mkdtemp(prefix="iscsim-test-"))
    monkeypatch.setenv("ISCSIM_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("ISCSIM_INITIATOR_NAME", HOST)
    cli = CLI(runtime, capsysbinary, monkeypatch)
    yield cli
    keeper = cli.keeper_pid()
    if keeper not in (None, os.getpid()):
        os.kill(keeper, signal.SIGKILL)
    shutil.rmtree(runtime)


@pytest.fixture
async def keeper(cli: CLI) -> AsyncIterator[asyncio.Task[None]]:
    """A keeper in this process: commands find it, and none is started."""
    task: asyncio.Task[None] = asyncio.ensure_future(keeper_module.keep(cli.socket))
    await cli.until(cli.socket.exists)
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
