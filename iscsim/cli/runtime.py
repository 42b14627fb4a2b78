"""Where the processes of one user find each other: a directory only he may enter."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from pathlib import Path

from iscsim.cli.errors import EnvironmentFailure

NOT_ATTACHED = "that volume is not attached"
NO_SESSIONS = "no sessions (iscsim login and iscsim attach leave some)"
_MAX_SOCKET_PATH_LENGTH = 107
"""Bytes of sun_path without its NUL (Linux, unix(7))."""


def runtime_directory() -> Path:
    """``$ISCSIM_RUNTIME_DIR``, else below ``$XDG_RUNTIME_DIR`` or the directory for temporary files.

    Raises:
        EnvironmentFailure: it is somebody else's, or others may enter it.
    """
    if chosen := os.environ.get("ISCSIM_RUNTIME_DIR"):
        path = Path(chosen).absolute()
    elif base := os.environ.get("XDG_RUNTIME_DIR"):
        path = Path(base) / "iscsim"
    else:
        path = Path(tempfile.gettempdir()) / f"iscsim-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise EnvironmentFailure(f"{path}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise EnvironmentFailure(
            f"{path} must be a directory of yours that nobody else may enter (chmod 700)"
        )
    return path


def keeper_socket() -> Path:
    """The socket of the process that keeps this user's sessions.

    Raises:
        EnvironmentFailure: its directory cannot be used, or its path is too long for a socket.
    """
    return _socket("initiator.sock")


def control_socket() -> Path:
    """Where ``iscsim serve --control auto`` listens. Raises EnvironmentFailure as `keeper_socket` does."""
    return _socket("control.sock")


def _socket(name: str) -> Path:
    path = runtime_directory() / name
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH_LENGTH:
        raise EnvironmentFailure(
            f"{path} is too long for a socket, at most {_MAX_SOCKET_PATH_LENGTH} bytes are possible"
            " ($ISCSIM_RUNTIME_DIR chooses another directory)"
        )
    return path


def default_initiator_name() -> str:
    """The name this machine's initiator goes by: ``$ISCSIM_INITIATOR_NAME``, or one made of the host name."""
    if name := os.environ.get("ISCSIM_INITIATOR_NAME"):
        return name
    host = "".join(
        letter if letter.isalnum() or letter in "-." else "-" for letter in socket.gethostname().lower()
    )
    return f"iqn.2026-11.org.iscsim:{host or 'host'}"
