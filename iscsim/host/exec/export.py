"""The host's file system as real directories, files and links, kept as the model is."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from iscsim.host.tree import Directory, Entry, File, Link, Node

if TYPE_CHECKING:
    from iscsim.host.model import Host

__all__ = ["ROOTS", "Export"]

ROOTS = ("/sys", "/dev", "/etc/iscsi", "/etc/multipath")
"""What of the host's file system is shown; the rest is the machine's own."""
_Shown = tuple[type[Entry], str | bytes | int]
"""What was made of an entry: its kind, and content, target or size."""


class Export:
    """Keeps ``directory`` like ``host.tree``, each entry replaced in one step; what others make stays.

    /sys, which is most of it, is in ``quick``, a directory that may be on a quicker file system.
    Devices are files without content; `iscsim.host.exec.devices` puts it there. Regular files somebody
    changes under /etc become those of the host, and what is written to attributes of /sys is written there.
    """

    def __init__(self, host: Host, directory: Path, quick: Path | None = None) -> None:
        self.host, self.directory, self.quick = host, directory, quick or directory
        self._shown: dict[str, _Shown] = {}
        self._stamps: dict[str, tuple[int, int, int]] = {}
        """Of the files that may be written to: as they were when they were made."""
        for root in ROOTS:
            os.makedirs(self.place(root), exist_ok=True)

    def place(self, path: str) -> str:
        """Where a path of the host is."""
        return f"{self._base(path)}{path}"

    def _base(self, path: str) -> Path:
        return self.quick if path.startswith("/sys/") or path == "/sys" else self.directory

    @property
    def devices(self) -> list[str]:
        """The names of the block devices that are shown."""
        return [path.removeprefix("/dev/") for path, (kind, _) in self._shown.items() if kind is Node]

    # -- from the model ----------------------------------------------------------------------------

    def update(self) -> None:
        """Show the host as it is now."""
        tree = self.host.tree
        wanted = {path: entry for path, entry in tree.entries.items() if path.startswith(_PREFIXES)}
        gone = [path for path, shown in self._shown.items() if not _stays(shown, wanted.get(path))]
        for path in sorted(gone, key=lambda path: (_ORDER[self._shown[path][0]], path), reverse=True):
            self._remove(path)
        changed = [(path, entry, self._described(entry)) for path, entry in wanted.items()]
        for path, entry, shown in sorted(changed, key=lambda each: (_ORDER[each[2][0]], each[0])):
            if self._shown.get(path) != shown:
                self._make(path, entry, shown)

    def _described(self, entry: Entry) -> _Shown:
        if isinstance(entry, File):
            return File, entry.content()
        if isinstance(entry, Link):
            return Link, entry.target
        return type(entry), entry.mode

    def _remove(self, path: str) -> None:
        kind = self._shown.pop(path)[0]
        self._stamps.pop(path, None)
        with suppress(OSError):  # somebody was quicker, or has put something of his own into it
            (os.rmdir if kind is Directory else os.unlink)(self.place(path))

    def _make(self, path: str, entry: Entry, shown: _Shown) -> None:
        place, known = self.place(path), path in self._shown
        self._shown[path] = shown
        if isinstance(entry, Directory):
            os.makedirs(place, mode=entry.mode, exist_ok=True)
            return
        # what is there is replaced in one step; what is new nobody looks at before its links are there
        here = f"{self._base(path)}/.new" if known or os.path.lexists(place) else place
        if here != place:
            with suppress(FileNotFoundError):
                os.unlink(here)  # somebody has made one of that name
        if isinstance(entry, Link):
            os.symlink(_relative(path, entry.target), here)
        else:
            _write(here, shown[1] if isinstance(shown[1], bytes) else b"", entry.mode | 0o600)
        if here != place:
            os.replace(here, place)
        if isinstance(entry, File) and (entry.write is not None or path in self.host.files):
            self._stamps[path] = _stamp(place)

    # -- from programs that write to files themselves ----------------------------------------------

    def written(self) -> Iterator[tuple[str, bytes]]:
        """Files of which somebody has written the content since they were made."""
        for path, before in list(self._stamps.items()):
            try:
                stamp = _stamp(self.place(path))
                content = _read(self.place(path)) if stamp != before else b""
            except OSError:
                continue  # it was taken away; the model still has it
            if stamp != before:
                self._stamps[path] = stamp
                yield path, content

    def restore(self, path: str) -> None:
        """Show again what the model has at ``path``: an attribute does not keep what is written to it."""
        self._shown.pop(path, None)


_ORDER: dict[type[Entry], int] = {Directory: 0, File: 1, Node: 2, Link: 3}
"""What comes first and goes last: no link leads nowhere meanwhile."""
_MAX_READ = 1 << 20
"""As much of what programs write to a file of the host is taken."""
_PREFIXES = tuple(f"{root}/" for root in ROOTS)


def _stays(shown: _Shown, entry: Entry | None) -> bool:
    """Whether what is shown can stay, or be replaced in one step."""
    return entry is not None and (shown[0] is Directory) == isinstance(entry, Directory)


def _write(place: str, content: bytes, mode: int) -> None:
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "wb") as file:
        file.write(content)


def _read(place: str) -> bytes:
    """What is in a regular file; a program may have put a link or a FIFO there. Raises OSError."""
    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        _refuse_others(os.fstat(descriptor), place)
        return file.read(_MAX_READ)


def _stamp(place: str) -> tuple[int, int, int]:
    """By which a change is seen. Raises OSError for what is no regular file."""
    status = os.lstat(place)
    _refuse_others(status, place)
    return status.st_ino, status.st_mtime_ns, status.st_size


def _refuse_others(status: os.stat_result, place: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", place)


def _relative(path: str, target: str) -> str:
    """A link's target without the root in it: the directory may be anywhere."""
    if not target.startswith("/"):
        return target
    return posixpath.relpath(target, posixpath.dirname(path))
