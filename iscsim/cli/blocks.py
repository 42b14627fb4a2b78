"""Blocks between a unit and a file or a pipe, a piece at a time."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from iscsim.cli.arguments import STDIO
from iscsim.cli.units import asking_unit
from iscsim.errors import ConfigError, SCSIError

if TYPE_CHECKING:
    from iscsim.initiator.session import Session
    from iscsim.scsi.capacity import Capacity

Result = TypeVar("Result")
Put = Callable[[int, bytes], object]
"""Takes the offset in the unit, and the bytes from there on."""
PIECE_LENGTH = 1 << 20
"""Bytes that are moved with one command."""


async def _capacity(session: Session, lun: int, lba: int, blocks: int) -> Capacity:
    """The unit's capacity. Raises SCSIError when it is not there, or ``blocks`` from ``lba`` on are not."""
    async with asking_unit(session, lun):
        capacity = await session.read_capacity(lun)
    if lba + blocks > capacity.blocks:
        raise SCSIError(f"LUN {lun} has {capacity.blocks} blocks; {lba} + {blocks} is beyond its end")
    return capacity


def opened(path: Path, mode: str) -> IO[bytes]:
    """The file, unbuffered. Raises ConfigError when it cannot be opened."""
    try:
        return path.open(mode, buffering=0)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


async def read_blocks(session: Session, lun: int, lba: int, blocks: int, put: Put | Path) -> None:
    """Read to ``put``, or to a file, which is made or emptied only once the unit has such blocks.

    Raises:
        SCSIError: it has not, or they cannot be read.
        ConfigError: the file cannot be opened.
    """
    capacity = await _capacity(session, lun, lba, blocks)
    if isinstance(put, Path):
        with opened(put, "wb") as file:
            await _read(session, lun, lba, blocks, capacity.block_size, lambda at, data: _put_all(file, data))
    else:
        await _read(session, lun, lba, blocks, capacity.block_size, put)


async def _read(session: Session, lun: int, lba: int, blocks: int, block_size: int, put: Put) -> None:
    step = PIECE_LENGTH // block_size
    for start in range(lba, lba + blocks, step):
        data = bytes(await session.read(lun, start, min(step, lba + blocks - start)))
        # in a thread: a pager that does not read must not keep the session from answering pings
        await asyncio.to_thread(put, start * block_size, data)


def _put_all(file: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


@dataclass(slots=True)
class Source:
    """What is to be written: its name for people, its size if it is a regular file, its first piece."""

    name: str
    size: int | None
    file: Any
    first: bytes

    def read_piece(self) -> bytes:
        """The next ``PIECE_LENGTH`` bytes, fewer at the end only."""
        pieces, missing = [], PIECE_LENGTH
        while missing:
            piece = self.file.read(missing)
            if piece is None:
                raise BlockingIOError(errno.EAGAIN, f"{self.name} has nothing to read yet")
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)


@contextmanager
def open_source(path: Path | None) -> Iterator[Source]:
    """A file, or stdin for None and ``-``, with its first piece.

    Raises:
        ConfigError: it cannot be read, or is empty.
    """
    if path is None or path == STDIO:
        # not through its buffer: a thread that waits there would hold its lock when the interpreter ends
        buffer = sys.stdin.buffer
        source = Source("stdin", _size_left(buffer), getattr(buffer, "raw", buffer), b"")
        yield _begun(source)
        return
    with opened(path, "rb") as file:
        yield _begun(Source(str(path), _size_left(file), file, b""))


def _begun(source: Source) -> Source:
    try:
        source.first = source.read_piece()
    except OSError as error:
        raise ConfigError(f"{source.name}: {error.strerror}") from error
    if not source.first:
        raise ConfigError("nothing to write")
    return source


def _size_left(file: IO[bytes]) -> int | None:
    """Bytes from here to the end of a regular file, None for what has no end of its own."""
    try:
        status = os.fstat(file.fileno())
    except OSError:  # it is no file of the system's
        return None
    return status.st_size - file.tell() if stat.S_ISREG(status.st_mode) else None


async def write_blocks(session: Session, lun: int, lba: int, source: Source) -> tuple[int, int]:
    """Write all of ``source`` and flush it: how many blocks and bytes. Says on stderr what a failure left.

    Raises:
        SCSIError: it does not fit, or cannot be written.
        ConfigError: it is no whole number of blocks.
    """
    capacity = await _fitting(session, lun, lba, source)
    block_size, room = capacity.block_size, (capacity.blocks - lba) * capacity.block_size
    written = 0
    try:
        piece = source.first
        while piece:
            if len(piece) % block_size:
                raise _broken(source, written + len(piece), block_size)
            fitting = piece[: room - written]
            await session.write(lun, lba + written // block_size, fitting)
            written += len(fitting)
            if len(fitting) < len(piece):
                raise SCSIError(f"{source.name} has more than LUN {lun}, which is full")
            piece = await in_daemon(source.read_piece)
        await session.flush(lun)
    except BaseException:
        if written:
            blocks = written // block_size
            sys.stderr.write(f"iscsim: note: {blocks} blocks ({written} bytes) were written at block {lba}\n")
        raise
    return written // block_size, written


async def _fitting(session: Session, lun: int, lba: int, source: Source) -> Capacity:
    capacity = await _capacity(session, lun, lba, 1)
    room = (capacity.blocks - lba) * capacity.block_size
    if source.size is None:
        return capacity
    if source.size > room:
        where = f" from block {lba} on" if lba else ""
        raise SCSIError(f"{source.name} has {source.size} bytes, LUN {lun} has {room}{where}")
    if source.size % capacity.block_size:
        raise _broken(source, source.size, capacity.block_size)
    return capacity


def _broken(source: Source, length: int, block_size: int) -> ConfigError:
    return ConfigError(f"{source.name}: {length} bytes are no whole number of blocks of {block_size} bytes")


async def in_daemon(function: Callable[[], Result]) -> Result:
    """``function`` in a thread that nobody waits for when we are interrupted, unlike asyncio's own."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Any, error: Exception | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def work() -> None:
        result, error = None, None
        try:
            result = function()
        except Exception as caught:  # it is the waiter's
            error = caught
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, daemon=True).start()
    return await future
