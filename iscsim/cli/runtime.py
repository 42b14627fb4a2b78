"""Where the processes of one user find each other: a directory only he may enter."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from pathlib import Path

from iscsim.cli.errors import EnvironmentFailure


def runtime_directory() -> Path:
    """``$ISCSIM_RUNTIME_DIR``, else below ``$XDG_RUNTIME_DIR`` or the directory for temporary files.

    Raises:
        EnvironmentFailure: it is somebody else's, or others may enter it.
    """
    if chosen := os.environ.get("ISCSIM_RUNTIME_DIR"):
        path = Path(chosen)
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
    """The socket of the process that keeps this user's sessions."""
    return runtime_directory() / "initiator.sock"


def default_initiator_name() -> str:
    """The name this machine's initiator goes by: ``$ISCSIM_INITIATOR_NAME``, or one made of the host name."""
    if name := os.environ.get("ISCSIM_INITIATOR_NAME"):
        return name
    host = "".join(
        letter if letter.isalnum() or letter in "-." else "-" for letter in socket.gethostname().lower()
    )
    return f"iqn.2026-11.org.iscsim:{host or 'host'}"
