"""Asking the process that keeps sessions; :mod:`iscsim.cli.keeper` is that process."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from iscsim.cli.errors import EnvironmentFailure
from iscsim.cli.runtime import keeper_socket
from iscsim.net.rpc import call

_START_TIMEOUT_S = 10.0


def ask(method: str, **params: Any) -> Any:
    """Ask the keeper, starting one if there is none.

    Raises:
        RPCError: what was asked for failed; the message says why.
        EnvironmentFailure: no keeper can be started.
    """
    socket = keeper_socket()
    try:
        return call(socket, method, **params)
    except (FileNotFoundError, ConnectionRefusedError):
        _start(socket)
    return call(socket, method, **params)


def ask_if_running(method: str, otherwise: Any, **params: Any) -> Any:
    """Ask the keeper; without one the answer is ``otherwise``."""
    try:
        return call(keeper_socket(), method, **params)
    except (FileNotFoundError, ConnectionRefusedError):
        return otherwise


def _start(socket: Path) -> None:
    """Start a keeper and wait until it answers; two commands at once start one."""
    log = socket.with_suffix(".log")
    with open(socket.with_suffix(".lock"), "w") as lock, open(log, "a") as errors:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, "-m", "iscsim.cli.keeper", str(socket)]
        null = subprocess.DEVNULL
        process = subprocess.Popen(command, stdin=null, stdout=null, stderr=errors, start_new_session=True)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                call(socket, "sessions")
            except OSError:
                if process.poll() not in (None, 3):  # 3: another keeper was there first
                    break
                time.sleep(0.02)
            else:
                return
    raise EnvironmentFailure(f"the process that keeps sessions does not start; see {log}")
