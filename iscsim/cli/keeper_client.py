"""Asking the process that keeps sessions; :mod:`iscsim.cli.keeper` is that process."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from iscsim.cli.errors import EnvironmentFailure
from iscsim.cli.runtime import keeper_socket
from iscsim.errors import ConfigError
from iscsim.net.rpc import INVALID_PARAMS, RPCError, call

_START_TIMEOUT_S = 10.0
_NOBODY_THERE = (FileNotFoundError, ConnectionError)
"""No socket, one nobody listens on, or a keeper that ended before it answered; its sessions ended too."""
_SECRETS = ("ISCSIM_CHAP_USER", "ISCSIM_CHAP_PASSWORD")


def ask(method: str, **params: Any) -> Any:
    """Ask the keeper, starting one if there is none.

    Raises:
        RPCError: what was asked for failed; the message says why.
        ConfigError: what was asked for is wrong in itself.
        EnvironmentFailure: no keeper can be started.
    """
    socket = keeper_socket()
    try:
        return _call(socket, method, params)
    except _NOBODY_THERE:
        _start(socket)
    return _call(socket, method, params)


def ask_if_running(method: str, otherwise: Any, **params: Any) -> Any:
    """Ask the keeper; without one the answer is ``otherwise``. Raises as :func:`ask` does."""
    try:
        return _call(keeper_socket(), method, params)
    except _NOBODY_THERE:
        return otherwise


def _call(socket: Path, method: str, params: dict[str, Any]) -> Any:
    try:
        return call(socket, method, **params)
    except RPCError as error:
        if error.code == INVALID_PARAMS:
            raise ConfigError(str(error)) from None
        raise


def _start(socket: Path) -> None:
    """Start a keeper and wait until it answers; two commands at once start one."""
    log = socket.with_suffix(".log")
    with open(socket.with_suffix(".lock"), "w") as lock, open(log, "a") as errors:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = _spawn(socket, errors.fileno())
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                call(socket, "sessions")
            except OSError:
                if process.poll() not in (None, 3):  # 3: another keeper was there first
                    break
                time.sleep(0.02)
            else:
                process.returncode = 0  # it outlives us, and Popen need not warn of that
                return
    raise EnvironmentFailure(f"the process that keeps sessions does not start; see {log}")


def _spawn(socket: Path, errors: int) -> subprocess.Popen[bytes]:
    """Secrets go through the socket: not into the arguments or the environment of a process that stays."""
    return subprocess.Popen(
        [sys.executable, "-m", "iscsim.cli.keeper", str(socket)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        env={name: value for name, value in os.environ.items() if name not in _SECRETS},
        start_new_session=True,
    )
