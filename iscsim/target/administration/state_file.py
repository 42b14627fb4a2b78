"""Files that are whole at every moment, whenever the power goes."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from iscsim.errors import ConfigError
from iscsim.target.administration.parameters import problem_of_json

__all__ = ["MAX_STATE_LENGTH", "read_state", "write_state"]

MAX_STATE_LENGTH = 256 << 20


def write_state(path: Path, document: Mapping[str, Any]) -> None:
    """Write ``document`` as rtslib writes it: keys sorted, indented by 2, for the owner only.

    It goes into a temporary file beside, to the disk, and in the place of the old one; then the directory
    goes to the disk too. A missing directory is made. A link is replaced, not followed.

    Raises:
        ConfigError: ``path`` is there, and no file: a device or a socket must not be replaced.
        OSError: it cannot be written; then the old file is as it was.
    """
    if not path.name or not _may_be_replaced(path):
        raise ConfigError(f"{path}: no regular file")
    data = json.dumps(document, sort_keys=True, indent=2).encode() + b"\n"
    path.parent.mkdir(mode=0o755, exist_ok=True)
    temporary = path.with_name(f"{path.name}.temp")
    try:
        # O_NONBLOCK: opening a FIFO would wait for somebody to read it, and with it all that change anything
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(temporary, flags, 0o600)
        with open(descriptor, "wb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(temporary))
            os.fchmod(descriptor, 0o600)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_directory(path.parent)


def _may_be_replaced(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return True
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_state(path: Path) -> Any:
    """The document of a file. Raises ConfigError, in one line, when there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO would wait for a writer
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError(f"{path}: no regular file")
            data = file.read(MAX_STATE_LENGTH + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if len(data) > MAX_STATE_LENGTH:
        raise ConfigError(f"{path}: more than {MAX_STATE_LENGTH} bytes")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON: {str(error)[:200]}") from None
    if (problem := problem_of_json(document)) is not None:
        raise ConfigError(f"{path}: {problem}")
    return document
