"""A target that is served empty, as a process of its own, and cinder-rtstool on a PATH for it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from iscsim.net.control_client import ControlClient
from iscsim.openstack.rtstool.shims import lay

ROOT = Path(__file__).parents[3]


@dataclass
class Array:
    """A directory with the socket, the shims and a volume, and the process that serves."""

    path: Path
    process: subprocess.Popen[bytes] | None = None
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def socket(self) -> Path:
        return self.path / "c.sock"

    @property
    def volume(self) -> Path:
        """128 MiB, as /dev/loop0 of the recording."""
        return self.path / "volume"

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return (
            os.environ
            | {"PATH": path, "ISCSIM_CONTROL": str(self.socket), "PYTHONPATH": str(ROOT)}
            | self.extra
        )

    def start(self, *options: str) -> None:
        command = [
            sys.executable,
            "-m",
            "iscsim",
            "serve",
            "--empty",
            "--control",
            str(self.socket),
            *options,
        ]
        log = open(self.path / "serve.log", "ab")
        self.process = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        log.close()
        deadline = time.monotonic() + 30
        while not self._answers():
            assert self.process.poll() is None, (self.path / "serve.log").read_text()
            assert time.monotonic() < deadline, "it does not answer"
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(20)
            self.process = None

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            env=self.environment,
            cwd=self.path,
            **options,
        )

    def tool(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``cinder-rtstool`` from the PATH."""
        return self.run("cinder-rtstool", *arguments)


@contextmanager
def made() -> Iterator[Array]:
    """Nobody serves yet; the path is short, as that of a UNIX socket must be."""
    path = Path(tempfile.mkdtemp(prefix="iscsim-test-"))
    array = Array(path)
    with array.volume.open("wb") as volume:
        volume.truncate(128 << 20)
    list(lay(path / "bin"))
    yield array
    array.stop(signal.SIGKILL)
    shutil.rmtree(path)


@pytest.fixture
def idle_array() -> Iterator[Array]:
    """Nobody serves."""
    with made() as array:
        yield array


@pytest.fixture(scope="session")
def served() -> Iterator[Array]:
    """One process for all tests that do not end it, with LIO's habits."""
    with made() as array:
        array.start("--personality", "lio")
        yield array


@pytest.fixture
def array(served: Array) -> Array:
    """It serves, and has nothing yet."""
    empty = served.path / "empty.json"
    empty.write_text("{}")
    with ControlClient(served.socket) as client:
        client.restore(empty)
    served.extra = {}
    return served


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
