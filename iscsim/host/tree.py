"""The host's file system as far as it is emulated: directories, files, links, and who makes them.

Parts of the model contribute entries (`Source`); nothing is stored twice. A `Tree` is a picture of one
moment, made again only after the model has changed.
"""

from __future__ import annotations

import errno
import logging
import os
import posixpath
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Directory", "Entry", "File", "Link", "Node", "Source", "Tree"]

logger = logging.getLogger("iscsim.host")
_MAX_LINKS = 40
"""As many as Linux follows in one path."""


@dataclass(frozen=True, slots=True)
class File:
    """A regular file. ``content`` is asked for when it is read; ``write`` takes what is written
    to it, and may take its time."""

    content: Callable[[], bytes] = bytes
    write: Callable[[bytes], Awaitable[object] | None] | None = None
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True, slots=True)
class Node:
    """A block device: ``name`` is the kernel's (``sda``, ``dm-0``), the numbers are its major and minor."""

    name: str
    major: int
    minor: int
    mode: int = 0o660


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory; those above an entry need not be named."""

    mode: int = 0o755


Entry = Directory | File | Link | Node
Source = Callable[[], Iterable[tuple[str, Entry]]]
"""Gives absolute paths and what is there."""


class Tree:
    """All entries at one moment, by absolute path."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self.entries: dict[str, Entry] = {"/": Directory()}
        self._names: dict[str, dict[str, None]] = {"/": {}}
        for source in sources:
            for path, entry in source():
                if posixpath.normpath(path) != path or "\0" in path:
                    logger.warning("%.200r is no path of a file", path)  # a name came from a target
                    continue
                self._add(path, entry)

    def _add(self, path: str, entry: Entry) -> None:
        known = self.entries.get(path)
        if known is None:
            parent, name = posixpath.split(path)
            if parent not in self.entries:
                self._add(parent, Directory())
            self._names.setdefault(parent, {})[name] = None
        if known is None or not isinstance(entry, Directory):
            self.entries[path] = entry
        if isinstance(entry, Directory):
            self._names.setdefault(path, {})

    def resolve(self, path: str, *, follow: bool = True) -> str:
        """The real path: links in it are followed, at its end only if ``follow``.

        Raises:
            OSError: ENOENT, ENOTDIR or ELOOP, as the system calls do.
        """
        return self._resolve(posixpath.normpath(path), path, follow, _MAX_LINKS)

    def _resolve(self, path: str, asked: str, follow: bool, left: int) -> str:
        done = "/"
        parts = [part for part in path.split("/") if part]
        for index, part in enumerate(parts):
            if part == "..":
                done = posixpath.dirname(done)
                continue
            here = posixpath.join(done, part)
            entry = self.entries.get(here)
            if entry is None:
                raise _error(errno.ENOENT, asked)
            last = index == len(parts) - 1
            if isinstance(entry, Link) and (follow or not last):
                if not left:
                    raise _error(errno.ELOOP, asked)
                rest = posixpath.join(done, entry.target, *parts[index + 1 :])
                return self._resolve(rest, asked, follow, left - 1)
            if not last and not isinstance(entry, Directory):
                raise _error(errno.ENOTDIR, asked)
            done = here
        return done

    def lookup(self, path: str, *, follow: bool = True) -> Entry:
        """What is at ``path``. Raises OSError as `resolve` does."""
        return self.entries[self.resolve(path, follow=follow)]

    def exists(self, path: str, *, follow: bool = True) -> bool:
        """Whether there is something at ``path``; a link that leads nowhere is nothing if ``follow``."""
        try:
            self.resolve(path, follow=follow)
        except OSError:
            return False
        return True

    def listdir(self, path: str) -> list[str]:
        """The names in a directory, sorted. Raises OSError: ENOENT, ENOTDIR."""
        real = self.resolve(path)
        if not isinstance(self.entries[real], Directory):
            raise _error(errno.ENOTDIR, path)
        return sorted(self._names[real])

    def read(self, path: str) -> bytes:
        """The content of a file. Raises OSError: ENOENT, EISDIR, and EINVAL for a device."""
        entry = self.lookup(path)
        if isinstance(entry, Directory):
            raise _error(errno.EISDIR, path)
        if not isinstance(entry, File):
            raise _error(errno.EINVAL, path)
        return entry.content()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.entries))


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
