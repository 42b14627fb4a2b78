"""A directory in which registrations survive the end of the program: one JSON file a logical unit.

The form of a file is that of `iscsim.scsi.registration_store`, its name the WWN of the unit. A new file is
written beside the old one, brought to the disk, and put in its place: at any moment there is a whole one.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from iscsim.errors import ConfigError
from iscsim.scsi.logical_unit import LogicalUnit

_LONGEST_FILE = 4 << 20
"""Bytes; the most registrations a unit takes are some 700 KiB."""


_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class StateDirectory:
    """The directory of ``iscsim serve --state``, made if need be, for its owner alone.

    Held by one program at a time, until `close`, since two would overwrite each other's files. Raises
    `ConfigError` when it cannot be made or written to, when others can write to it, or is held already.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise ConfigError(f"state directory {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise ConfigError(f"state directory {path}: cannot be written to")
            if os.fstat(self._descriptor).st_mode & _OTHERS_WRITE:
                raise ConfigError(f"state directory {path}: others can write to it (chmod go-w)")
        except BlockingIOError:
            self.close()
            raise ConfigError(f"state directory {path}: another iscsim uses it") from None
        except BaseException:
            self.close()
            raise

    def keep(self, unit: LogicalUnit) -> None:
        """Let the registrations of ``unit`` survive here, and begin with those that did.

        Raises `ConfigError` for a damaged file.
        """
        unit.keep_registrations(RegistrationFile(self.path / f"{unit.wwn}.json"))

    def close(self) -> None:
        """Let another program have it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class RegistrationFile:
    """A `RegistrationStore` in a file; ``save`` takes some milliseconds, until the disk has it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Mapping[str, Any] | None:
        """See `RegistrationStore`."""
        try:
            data = _read(self.path, _LONGEST_FILE + 1)
            if len(data) > _LONGEST_FILE:
                raise ConfigError(f"{self}: longer than any that iscsim has written")
            state = json.loads(data)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"{self}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{self}: damaged: {error}") from error
        if not isinstance(state, dict):
            raise ConfigError(f"{self}: damaged: not a JSON object")
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """See `RegistrationStore`."""
        beside = self.path.with_suffix(".json.new")
        try:
            _write(beside, json.dumps(state, indent=1).encode())
            os.replace(beside, self.path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        self._sync_directory()

    def _sync_directory(self) -> None:
        """A new name is on the disk only when its directory is."""
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def __str__(self) -> str:
        return f"registrations in {self.path}"


def _read(path: Path, length: int) -> bytes:
    """At most ``length`` bytes; never waits, as opening a pipe does until somebody writes to it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            return file.read(length)
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
