"""System calls on files as blocking code sees them: on the host's tree if it claims the path, else real."""

from __future__ import annotations

import errno
import io
import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from iscsim.host.tree import Directory, Entry, File, Link, Node

if TYPE_CHECKING:
    from iscsim.host.model import Host

__all__ = ["CLAIMED", "Files"]

CLAIMED = ("/sys", "/dev", "/etc/iscsi", "/etc/nvme", "/etc/multipath", "/run/udev", "/proc/sys")
"""What is the host's from here on down; beside that paths are real, and only read by os-brick."""
_REAL_DEVICES = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/stdin"}
_FORMATS = {Directory: stat.S_IFDIR, File: stat.S_IFREG, Link: stat.S_IFLNK, Node: stat.S_IFBLK}


class _DirEntry:
    """What ``os.scandir`` gives."""

    def __init__(self, files: Files, directory: str, name: str) -> None:
        self.name, self.path, self._files = name, posixpath.join(directory, name), files

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """As ``os.stat``."""
        return self._files.stat(self.path, follow_symlinks=follow_symlinks)

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a directory; False for a link that leads nowhere."""
        return self._is(stat.S_ISDIR, follow_symlinks)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a regular file."""
        return self._is(stat.S_ISREG, follow_symlinks)

    def is_symlink(self) -> bool:
        """Whether it is a link."""
        return self._is(stat.S_ISLNK, False)

    def _is(self, kind: Callable[[int], bool], follow: bool) -> bool:
        try:
            return kind(self.stat(follow_symlinks=follow).st_mode)
        except OSError:
            return False

    def inode(self) -> int:
        """Its number."""
        return self.stat(follow_symlinks=False).st_ino

    def __fspath__(self) -> str:
        return self.path


class _Scan:
    """The iterator, and context manager, of ``os.scandir``."""

    def __init__(self, entries: list[_DirEntry]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> Iterator[_DirEntry]:
        return self._entries

    def __next__(self) -> _DirEntry:
        return next(self._entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held."""


class _Writer(io.BytesIO):
    """A file that is opened to be written; what is in it goes to the host when it is closed."""

    def __init__(self, content: bytes, put: Callable[[bytes], object], *, append: bool) -> None:
        super().__init__(content)
        self._put = put
        if append:
            self.seek(0, io.SEEK_END)

    def close(self) -> None:
        """Write it."""
        if not self.closed:
            self._put(self.getvalue())
        super().close()


class Files:
    """The calls, on one host."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def claims(self, path: Any) -> str | None:
        """The absolute path if it is the host's, else None (for open files, too)."""
        if isinstance(path, int):
            return None
        text = os.fsdecode(os.fspath(path))
        if not text.startswith("/") or text in _REAL_DEVICES:
            return None
        whole = posixpath.normpath(text)
        inside = any(whole == each or whole.startswith(each + "/") for each in CLAIMED)
        return text if inside else None

    def install(self, module: ModuleType) -> None:
        """Put the calls into a copy of ``os``."""
        for name in ("stat", "lstat", "readlink", "listdir", "scandir", "access", "open", "mkdir", "rmdir"):
            setattr(module, name, self._either(getattr(self, name), getattr(os, name)))
        for name in ("unlink", "symlink", "chmod", "rename", "replace"):
            setattr(module, name, self._either(getattr(self, name), getattr(os, name)))
        module.__dict__["remove"] = vars(module)["unlink"]

    def _either(self, mine: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
        where = 1 if real is os.symlink else 0

        def call(*args: Any, **options: Any) -> Any:
            path = args[where] if len(args) > where else "."
            return mine(*args, **options) if self.claims(path) is not None else real(*args, **options)

        call.__name__ = real.__name__
        return call

    # -- reading -----------------------------------------------------------------------------------

    def stat(self, path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
        """``os.stat``."""
        tree = self._host.tree
        real = tree.resolve(_text(path), follow=follow_symlinks)
        return _stat_result(real, tree.entries[real])

    def lstat(self, path: Any, *, dir_fd: int | None = None) -> os.stat_result:
        """``os.lstat``."""
        return self.stat(path, follow_symlinks=False)

    def readlink(self, path: Any, *, dir_fd: int | None = None) -> str:
        """``os.readlink``."""
        entry = self._host.tree.lookup(_text(path), follow=False)
        if not isinstance(entry, Link):
            raise _error(errno.EINVAL, path)
        return entry.target

    def listdir(self, path: Any = ".") -> list[str]:
        """``os.listdir``."""
        return self._host.tree.listdir(_text(path))

    def scandir(self, path: Any = ".") -> _Scan:
        """``os.scandir``."""
        return _Scan([_DirEntry(self, _text(path), name) for name in self.listdir(path)])

    def access(self, path: Any, mode: int, **options: Any) -> bool:
        """``os.access``, for root."""
        return self._host.tree.exists(_text(path))

    def open_file(self, path: Any, mode: str = "r", buffering: int = -1, *args: Any, **options: Any) -> Any:
        """The built-in ``open``."""
        if self.claims(path) is None:
            return open(path, mode, buffering, *args, **options)
        raw = (
            self._reader(_text(path)) if "r" in mode and "+" not in mode else self._writer(_text(path), mode)
        )
        return raw if "b" in mode else io.TextIOWrapper(raw, *_text_options(args, options))

    def _reader(self, path: str) -> io.BytesIO:
        return io.BytesIO(self._host.tree.read(path))

    def _writer(self, path: str, mode: str) -> io.BytesIO:
        tree = self._host.tree
        if not tree.exists(path):
            if "r" in mode:
                raise _error(errno.ENOENT, path)
            return _Writer(b"", lambda data: self._create(path, data), append=False)
        if "x" in mode:
            raise _error(errno.EEXIST, path)
        entry = tree.lookup(path)
        if isinstance(entry, Directory):
            raise _error(errno.EISDIR, path)
        if not isinstance(entry, File) or (entry.write is None and path not in self._host.files):
            raise _error(errno.EACCES, path)
        put = entry.write or (lambda data: self._create(path, data))
        old = b"" if "w" in mode or entry.write is not None else entry.content()
        return _Writer(old, put, append="a" in mode)

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        """``os.open``: the emulated host has no file descriptors of its own."""
        self._host.tree.lookup(_text(path))
        raise _error(errno.ENODEV, path)

    # -- changing ----------------------------------------------------------------------------------

    def _create(self, path: str, data: bytes) -> None:
        self._host.files[path] = data
        self._host.changed()

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        """``os.unlink``: of plain files and of links, as root may."""
        name = _text(path)
        entry = self._host.tree.lookup(name, follow=False)
        if isinstance(entry, Directory):
            raise _error(errno.EISDIR, path)
        if not self._host.unlink(name):
            raise _error(errno.EPERM, path)

    def symlink(
        self, source: Any, path: Any, target_is_directory: bool = False, *, dir_fd: int | None = None
    ) -> None:
        """``os.symlink``."""
        if self._host.tree.exists(_text(path), follow=False):
            raise _error(errno.EEXIST, path)
        self._host.links[_text(path)] = os.fsdecode(os.fspath(source))
        self._host.changed()

    def mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        """``os.mkdir``."""
        if self._host.tree.exists(_text(path), follow=False):
            raise _error(errno.EEXIST, path)
        self._host.directories[_text(path)] = None
        self._host.changed()

    def rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        """``os.rmdir``."""
        if self.listdir(path):
            raise _error(errno.ENOTEMPTY, path)
        if _text(path) not in self._host.directories:
            raise _error(errno.EPERM, path)
        del self._host.directories[_text(path)]
        self._host.changed()

    def chmod(self, path: Any, mode: int, **options: Any) -> None:
        """``os.chmod``: looked at by nobody."""
        self._host.tree.lookup(_text(path))

    def rename(self, source: Any, path: Any, **options: Any) -> None:
        """``os.rename`` of a plain file."""
        if _text(source) not in self._host.files:
            self._host.tree.lookup(_text(source))
            raise _error(errno.EPERM, source)
        self._create(_text(path), self._host.files.pop(_text(source)))

    replace = rename


def _text(path: Any) -> str:
    return os.fsdecode(os.fspath(path))


def _text_options(args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, ...]:
    names = ("encoding", "errors", "newline")
    given = dict(zip(names, args, strict=False)) | options
    return tuple(given.get(name) for name in names)


def _stat_result(path: str, entry: Entry) -> os.stat_result:
    size = len(entry.content()) if isinstance(entry, File) else 0
    mode = _FORMATS[type(entry)] | (0o777 if isinstance(entry, Link) else entry.mode)
    device = os.makedev(entry.major, entry.minor) if isinstance(entry, Node) else 0
    fields = (mode, _inode(path), 1, 1, 0, 0, size, 0, 0, 0)
    return os.stat_result(fields, {"st_rdev": device, "st_blksize": 4096, "st_blocks": 0})


def _inode(path: str) -> int:
    number = 0
    for byte in path.encode(errors="surrogateescape"):
        number = (number * 131 + byte) % (1 << 61)
    return number


def _error(number: int, path: Any) -> OSError:
    return OSError(number, os.strerror(number), _text(path))
