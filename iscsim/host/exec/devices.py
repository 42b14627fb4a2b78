"""What a program finds that opens a disk or a map itself: a file, filled through iSCSI when it is opened.

The file of a device is empty and has a lease (fcntl(2), F_SETLEASE): the kernel lets nobody open it before
we have given the lease back, and that we do when the content is there. While it is open the device counts as
open; when the last one has closed it, what was changed in it is written to the device, and it is emptied.
So it is a picture of the moment of opening, and writes reach the device when the file is closed.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from iscsim.errors import ISCSIError, SCSIError
from iscsim.host.kernel import Disk, Map

if TYPE_CHECKING:
    from iscsim.host.model import Host
    from iscsim.host.nbd import Blocks

__all__ = ["MAX_SIZE", "DeviceFiles"]

logger = logging.getLogger("iscsim.host")

MAX_SIZE = 1 << 30
"""Bytes of the largest device that is filled: a lease is waited for 45 s at most. Larger ones stay empty."""
_IO_S = 40.0
"""How long filling may take: the kernel ends a lease after 45 s, whatever is in the file by then."""
_PATIENCE_S = 1.0
"""How long what was written is waited for before somebody else may look."""
_PIECE = 1 << 20
_ZEROES = bytes(_PIECE)


@dataclass(slots=True)
class _Opened:
    """What the file was filled with: a digest of every piece, and when."""

    to_read: bool
    """Who opened it first wanted to read only."""
    pieces: list[bytes] = field(default_factory=list)
    filled_at: int = 0


@dataclass(slots=True)
class _DeviceFile:
    name: str
    descriptor: int
    inode: int
    opened: _Opened | None = None
    done: Callable[[], None] | None = None
    """Says that the device is no longer open."""
    work: asyncio.Task[None] | None = None
    """Filling it, or writing back."""


class DeviceFiles:
    """The files of all devices of ``host`` in ``directory``; `poll` does what is due."""

    def __init__(self, host: Host, directory: Path) -> None:
        self._host, self._directory = host, directory
        self._files: dict[str, _DeviceFile] = {}
        self.supported = True
        """Whether the file system of ``directory`` has leases."""

    def sync(self, names: Iterable[str]) -> None:
        """Have leases on the files of exactly these devices."""
        wanted = list(names)
        for name in [name for name in self._files if name not in wanted]:
            _forget(self._files.pop(name))
        for name in wanted:
            if self.supported and name not in self._files:
                self._guard(name)

    def _guard(self, name: str) -> None:
        device = self._host.device(name)
        if device is None or not 0 < device.size <= MAX_SIZE:
            return
        with suppress(FileNotFoundError):  # it is gone again
            descriptor = os.open(self._directory / name, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            except BlockingIOError:
                os.close(descriptor)  # somebody was quicker; the next poll tries again
            except OSError as error:
                os.close(descriptor)
                self.supported = False
                logger.warning("devices cannot be opened as files, only read by dd and NBD: %s", error)
            else:
                self._files[name] = _DeviceFile(name, descriptor, os.fstat(descriptor).st_ino)

    async def close(self) -> None:
        """Write back what is left to, and give up all leases."""
        await self.poll()
        work = [file.work for file in self._files.values() if file.work is not None]
        self.sync([])
        await asyncio.gather(*work, return_exceptions=True)

    # -- being opened and closed -------------------------------------------------------------------

    async def poll(self) -> None:
        """Write back what everybody has closed, then fill what somebody wants to open: it may be the same."""
        idle = [file for file in self._files.values() if file.work is None]
        wanted = [file for file in idle if self._is_wanted(file)]
        for file in idle:
            if file.opened is not None and self._is_closed(file):
                self._begin(file, self._close)
        closing = [file.work for file in idle if file.work is not None]
        if closing:
            await asyncio.wait(closing, timeout=_PATIENCE_S)
        for file in wanted:
            self._begin(file, self._open)

    def _begin(self, file: _DeviceFile, act: Callable[[_DeviceFile], Awaitable[None]]) -> None:
        async def work() -> None:
            try:
                async with asyncio.timeout(_IO_S):
                    await act(file)
            except (ISCSIError, SCSIError, OSError) as error:
                logger.warning("/dev/%s: %s", file.name, error or f"no end within {_IO_S:g} s")

        file.work = asyncio.get_running_loop().create_task(work())
        file.work.add_done_callback(lambda task: setattr(file, "work", None))

    def _is_wanted(self, file: _DeviceFile) -> bool:
        """Whether somebody waits for his ``open``."""
        return file.opened is None and fcntl.fcntl(file.descriptor, fcntl.F_GETLEASE) != fcntl.F_WRLCK

    async def _open(self, file: _DeviceFile) -> None:
        device = self._host.device(file.name)
        lease = fcntl.fcntl(file.descriptor, fcntl.F_GETLEASE)
        file.opened = _Opened(to_read=lease == fcntl.F_RDLCK)
        try:
            if device is not None:
                file.done = _count_open(device)
                await self._fill(file, file.opened, device)
        except BaseException:
            os.ftruncate(file.descriptor, 0)
            raise
        finally:
            fcntl.fcntl(file.descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)

    async def _fill(self, file: _DeviceFile, opened: _Opened, device: Blocks) -> None:
        os.ftruncate(file.descriptor, device.size)
        step = _PIECE // device.block_size
        blocks = device.size // device.block_size
        for lba in range(0, blocks, step):
            data = bytes(await device.read(lba, min(step, blocks - lba)))
            opened.pieces.append(_digest(data))
            if data != _ZEROES[: len(data)]:
                os.pwrite(file.descriptor, data, lba * device.block_size)
        opened.filled_at = os.fstat(file.descriptor).st_mtime_ns

    def _is_closed(self, file: _DeviceFile) -> bool:
        try:
            fcntl.fcntl(file.descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except BlockingIOError:
            return False
        return True

    async def _close(self, file: _DeviceFile) -> None:
        device, opened = self._host.device(file.name), file.opened
        file.opened = None
        try:
            if device is not None and opened is not None and self._may_differ(file, opened):
                await self._write_back(file, opened, device)
        finally:
            os.ftruncate(file.descriptor, 0)
            if file.done is not None:
                file.done()
                file.done = None

    def _may_differ(self, file: _DeviceFile, opened: _Opened) -> bool:
        """Whether it is worth looking for changes; writes through mmap need not show in the time."""
        return not opened.to_read or os.fstat(file.descriptor).st_mtime_ns != opened.filled_at

    async def _write_back(self, file: _DeviceFile, opened: _Opened, device: Blocks) -> None:
        changed = False
        for number, digest in enumerate(opened.pieces):
            data = os.pread(file.descriptor, _PIECE, number * _PIECE)
            await asyncio.sleep(0)  # a digest takes its time
            if not data or _digest(data) == digest:
                continue
            if device.read_only:
                raise OSError(errno.EROFS, "it is read-only; what was written to its file is lost")
            lba = number * _PIECE // device.block_size
            blocks = -(-len(data) // device.block_size)
            if len(data) % device.block_size:
                data += bytes(await device.read(lba, blocks))[len(data) :]
            await device.write(lba, data)
            changed = True
        if changed:
            await device.flush()


def _forget(file: _DeviceFile) -> None:
    """The device is gone, or we are; a lease ends with its descriptor."""

    def close(task: object = None) -> None:
        if file.done is not None:
            file.done()
        os.close(file.descriptor)

    if file.work is None:
        close()
    else:
        file.work.cancel()
        file.work.add_done_callback(close)


def _count_open(device: Blocks) -> Callable[[], None]:
    """Count it as open; calling what this gives ends it."""
    stack = ExitStack()
    if isinstance(device, Map):
        stack.enter_context(device.device.open())
    elif isinstance(device, Disk):
        disk = device
        disk.open_count += 1
        stack.callback(lambda: setattr(disk, "open_count", disk.open_count - 1))
    return stack.close


def _digest(data: bytes | bytearray | memoryview) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
