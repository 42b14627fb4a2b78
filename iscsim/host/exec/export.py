"""The host's file system as real directories, files and links, kept as the model is."""

from __future__ import annotations

import os
import posixpath
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

    Devices are files without content; `iscsim.host.exec.devices` puts it there. Regular files somebody
    changes under /etc become those of the host, and what is written to attributes of /sys is written there.
    """

    def __init__(self, host: Host, directory: Path) -> None:
        self.host, self.directory = host, directory
        self._shown: dict[str, _Shown] = {}
        self._stamps: dict[str, tuple[int, int, int]] = {}
        """Of the files that may be written to: as they were when they were made."""
        self._scratch = directory.parent / "new"
        for root in ROOTS:
            self.place(root).mkdir(parents=True, exist_ok=True)

    def place(self, path: str) -> Path:
        """Where a path of the host is."""
        return self.directory / path.lstrip("/")

    @property
    def devices(self) -> list[str]:
        """The names of the block devices that are shown."""
        return [path.removeprefix("/dev/") for path, (kind, _) in self._shown.items() if kind is Node]

    # -- from the model ----------------------------------------------------------------------------

    def update(self) -> None:
        """Show the host as it is now."""
        tree = self.host.tree
        wanted = {path: tree.entries[path] for path in tree if path.startswith(_PREFIXES)}
        for path in sorted(self._shown, reverse=True):
            kind = self._shown[path][0]
            if path not in wanted or (
                type(wanted[path]) is not kind and Directory in (kind, type(wanted[path]))
            ):
                self._remove(path, kind)
        for path, entry in wanted.items():
            shown = self._described(entry)
            if self._shown.get(path) != shown:
                self._make(path, entry, shown)

    def _described(self, entry: Entry) -> _Shown:
        if isinstance(entry, File):
            return File, entry.content()
        if isinstance(entry, Link):
            return Link, entry.target
        return type(entry), entry.mode

    def _remove(self, path: str, kind: type[Entry]) -> None:
        del self._shown[path]
        self._stamps.pop(path, None)
        with suppress(OSError):  # somebody was quicker, or has put something of his own into it
            if kind is Directory:
                self.place(path).rmdir()
            else:
                self.place(path).unlink()

    def _make(self, path: str, entry: Entry, shown: _Shown) -> None:
        place, scratch = self.place(path), self._scratch
        self._shown[path] = shown
        if isinstance(entry, Directory):
            place.mkdir(mode=entry.mode, parents=True, exist_ok=True)
            return
        with suppress(FileNotFoundError):
            scratch.unlink()
        if isinstance(entry, Link):
            scratch.symlink_to(_relative(path, entry.target))
        else:
            scratch.write_bytes(shown[1] if isinstance(shown[1], bytes) else b"")
            scratch.chmod(entry.mode | 0o200)
        os.replace(scratch, place)
        if isinstance(entry, File) and (entry.write is not None or path in self.host.files):
            self._stamps[path] = _stamp(place)

    # -- from programs that write to files themselves ----------------------------------------------

    def written(self) -> Iterator[tuple[str, bytes]]:
        """Files of which somebody has written the content since they were made."""
        for path, before in list(self._stamps.items()):
            try:
                stamp = _stamp(self.place(path))
                content = self.place(path).read_bytes() if stamp != before else b""
            except OSError:
                continue  # it was taken away; the model still has it
            if stamp != before:
                self._stamps[path] = stamp
                yield path, content

    def restore(self, path: str) -> None:
        """Show again what the model has at ``path``: an attribute does not keep what is written to it."""
        self._shown.pop(path, None)


_PREFIXES = tuple(f"{root}/" for root in ROOTS)


def _stamp(place: Path) -> tuple[int, int, int]:
    status = place.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def _relative(path: str, target: str) -> str:
    """A link's target without the root in it: the directory may be anywhere."""
    if not target.startswith("/"):
        return target
    return posixpath.relpath(target, posixpath.dirname(path))
