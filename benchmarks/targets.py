"""The two targets side by side, each serving the same file; both end with their ``with`` block."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BLOCK_SIZE = 512
_START_TIMEOUT_S = 15.0
_COMMAND_TIMEOUT_S = 10
_STOP_TIMEOUT_S = 5


class TargetFailed(Exception):
    """A target did not start."""


def iscsim_command() -> list[str]:
    """How the command line of this very installation is called."""
    script = Path(sys.executable).with_name("iscsim")
    return [str(script)] if script.exists() else [sys.executable, "-c", "from iscsim.cli import main; main()"]


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(process: subprocess.Popen[bytes], port: int, log: Path, *, pause_s: float = 0.02) -> None:
    """Return once ``port`` accepts. Raises TargetFailed when the process ends or takes too long."""
    end = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(pause_s)
    raise TargetFailed(f"{process.args!r} does not listen on {port}: {log.read_text()[-500:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that we started, the hard way if need be."""
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_TIMEOUT_S)


@contextmanager
def started(
    command: list[str], port: int, log: Path, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that accepts on ``port``, stopped at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env={**os.environ, **environment}
        )
    try:
        wait_for(process, port, log)
        yield process
    finally:
        stop(process)


IQN = "iqn.2026-11.org.iscsim.bench:disk"


def url(port: int, lun: int = 1) -> str:
    """What libiscsi and QEMU call the LUN."""
    return f"iscsi://127.0.0.1:{port}/{IQN}/{lun}"


@contextmanager
def iscsim_target(lun: str, directory: Path, *options: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """``iscsim serve`` with LUN 1 as the specification says, and ``options``: (port, process)."""
    port = free_port()
    command = [
        *iscsim_command(),
        "serve",
        "--portal",
        f"127.0.0.1:{port}",
        "--target",
        IQN,
        "--lun",
        f"1={lun}",
        *options,
    ]
    with started(command, port, directory / f"iscsim-{port}.log") as process:
        yield port, process


@contextmanager
def tgtd_target(image: Path, directory: Path) -> Iterator[int]:
    """A ``tgtd`` of our own with ``image`` as LUN 1, its settings as they come: its port."""
    port, control = free_port(), str(20000 + os.getpid() % 10000)
    sockets = str(directory / "tgt")
    command = ["tgtd", "-f", "-C", control, "--iscsi", f"portal=127.0.0.1:{port}"]

    def manage(*arguments: str) -> None:
        subprocess.run(
            ["tgtadm", "-C", control, "--lld", "iscsi", *arguments],
            env={**os.environ, "TGT_IPC_SOCKET": sockets},
            timeout=_COMMAND_TIMEOUT_S,
            check=True,
            capture_output=True,
        )

    with started(command, port, directory / "tgtd.log", TGT_IPC_SOCKET=sockets):
        manage("--mode", "target", "--op", "new", "--tid", "1", "-T", IQN)
        manage("--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", "1", "-b", str(image))
        manage("--mode", "target", "--op", "bind", "--tid", "1", "-I", "ALL")
        try:
            yield port
        finally:  # tgtd ignores SIGTERM as long as it has targets
            manage("--mode", "target", "--op", "delete", "--force", "--tid", "1")
