"""Disks and maps of the host over NBD, for QEMU and nbd clients: fixed newstyle, on a UNIX socket.

The protocol is that of the NBD project (``doc/proto.md``): simple replies, and of the options EXPORT_NAME,
ABORT, LIST, INFO and GO. Requests need not be aligned to blocks: writes of parts of blocks read them first.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from iscsim.errors import ISCSIError, SCSIError
from iscsim.host.socket_server import SocketServer

__all__ = ["Blocks", "NBDServer"]

logger = logging.getLogger("iscsim.host")

_MAGIC = b"NBDMAGIC"
_OPTION_MAGIC = b"IHAVEOPT"
_REPLY_MAGIC = 0x0003E889045565A9
_REQUEST_MAGIC = 0x25609513
_SIMPLE_REPLY_MAGIC = 0x67446698
_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_HAS_FLAGS, _READ_ONLY, _SEND_FLUSH, _SEND_FUA = 1, 2, 4, 8
_EXPORT_NAME, _ABORT, _LIST, _INFO, _GO = 1, 2, 3, 6, 7
_REP_ACK, _REP_SERVER, _REP_INFO = 1, 2, 3
_ERR_UNSUPPORTED, _ERR_INVALID, _ERR_UNKNOWN, _ERR_TOO_BIG = (1 << 31 | each for each in (1, 3, 6, 9))
_INFO_EXPORT, _INFO_BLOCK_SIZE = 0, 3
_READ, _WRITE, _DISCONNECT, _FLUSH = 0, 1, 2, 3
_FUA = 1
_EPERM, _EIO, _EINVAL, _ENOSPC = 1, 5, 22, 28
_OPTION = struct.Struct(">8sII")
_OPTION_REPLY = struct.Struct(">QIII")
_REQUEST = struct.Struct(">IHHQQI")
_REPLY = struct.Struct(">IIQ")
_MAX_OPTION = 64 << 10
MAX_LENGTH = 32 << 20
"""Bytes of one request, as the protocol has it for clients that did not ask."""
_IN_FLIGHT = 16
_PREFERRED = 64 << 10


class Blocks(Protocol):
    """What is exported: a disk, or a multipath device."""

    @property
    def size(self) -> int:
        """In bytes."""

    @property
    def block_size(self) -> int:
        """In bytes."""

    @property
    def read_only(self) -> bool:
        """Whether writes are refused."""

    async def read(self, lba: int, blocks: int) -> bytes | bytearray | memoryview:
        """``blocks`` blocks from ``lba`` on."""

    async def write(self, lba: int, data: bytes) -> None:
        """Write whole blocks."""

    async def flush(self) -> None:
        """Have everything written go to the medium."""


class _Refused(Exception):
    """A request that cannot be carried out; ``number`` is the errno for the client."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass(frozen=True, slots=True)
class _Request:
    flags: int
    kind: int
    cookie: int
    offset: int
    length: int
    data: bytes


class NBDServer(SocketServer):
    """Serves what ``exports`` has at the time somebody asks, by name; an empty name is the first one.

    Raises OSError from :meth:`start` when the socket cannot be made; it is for its owner alone (0600).
    """

    client_kind = "NBD client"

    def __init__(self, path: str, exports: Callable[[], Mapping[str, Blocks]]) -> None:
        super().__init__(path)
        self._exports = exports

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        device = await _Negotiation(self._exports(), reader, writer).run()
        if device is not None:
            await _transmit(device, reader, writer)


class _Negotiation:
    """The handshake: gives the device the client chose, None if it has left."""

    def __init__(
        self, exports: Mapping[str, Blocks], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._exports, self._reader, self._writer = exports, reader, writer
        self._zeroes = True

    async def run(self) -> Blocks | None:
        """Raises ValueError for what is no NBD."""
        self._writer.write(_MAGIC + _OPTION_MAGIC + struct.pack(">H", _FIXED_NEWSTYLE | _NO_ZEROES))
        (flags,) = struct.unpack(">I", await self._reader.readexactly(4))
        if flags & ~(_FIXED_NEWSTYLE | _NO_ZEROES) or not flags & _FIXED_NEWSTYLE:
            raise ValueError(f"client flags {flags:#x} are not those of fixed newstyle")
        self._zeroes = not flags & _NO_ZEROES
        while True:
            magic, option, length = _OPTION.unpack(await self._reader.readexactly(_OPTION.size))
            if magic != _OPTION_MAGIC or length > _MAX_OPTION:
                raise ValueError(f"option {option} of {length} bytes, magic {magic!r}")
            data = await self._reader.readexactly(length)
            if option == _EXPORT_NAME:
                return self._export_name(data)
            if option == _ABORT:
                self._reply(option, _REP_ACK)
                await self._writer.drain()
                return None
            device = self._answer(option, data)
            await self._writer.drain()
            if device is not None:
                return device

    def _answer(self, option: int, data: bytes) -> Blocks | None:
        if option == _LIST and data:
            self._reply(option, _ERR_INVALID)
        elif option == _LIST:
            for name in self._exports:
                encoded = name.encode()
                self._reply(option, _REP_SERVER, struct.pack(">I", len(encoded)) + encoded)
            self._reply(option, _REP_ACK)
        elif option in (_INFO, _GO):
            device = self._info(option, data)
            return device if option == _GO else None
        else:
            self._reply(option, _ERR_UNSUPPORTED)
        return None

    def _info(self, option: int, data: bytes) -> Blocks | None:
        length = int.from_bytes(data[:4], "big")
        if len(data) < 6 + length or len(data) != 6 + length + 2 * int.from_bytes(
            data[4 + length : 6 + length], "big"
        ):
            self._reply(option, _ERR_INVALID)
            return None
        device = self._find(data[4 : 4 + length])
        if device is None:
            self._reply(option, _ERR_UNKNOWN)
            return None
        self._reply(option, _REP_INFO, struct.pack(">HQH", _INFO_EXPORT, device.size, _flags(device)))
        sizes = (device.block_size, max(_PREFERRED, device.block_size), MAX_LENGTH)
        self._reply(option, _REP_INFO, struct.pack(">HIII", _INFO_BLOCK_SIZE, *sizes))
        self._reply(option, _REP_ACK)
        return device

    def _export_name(self, name: bytes) -> Blocks | None:
        device = self._find(name)
        if device is not None:  # there is no way to refuse but to close
            self._writer.write(struct.pack(">QH", device.size, _flags(device)))
            self._writer.write(bytes(124) if self._zeroes else b"")
        return device

    def _find(self, name: bytes) -> Blocks | None:
        if not name:
            return next(iter(self._exports.values()), None)
        return self._exports.get(name.decode(errors="replace"))

    def _reply(self, option: int, kind: int, data: bytes = b"") -> None:
        self._writer.write(_OPTION_REPLY.pack(_REPLY_MAGIC, option, kind, len(data)) + data)


def _flags(device: Blocks) -> int:
    return _HAS_FLAGS | _SEND_FLUSH | _SEND_FUA | (_READ_ONLY if device.read_only else 0)


async def _transmit(device: Blocks, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve requests until the client leaves. What ended it comes wrapped by a task group."""
    try:
        await _Transmission(device, reader, writer).run()
    except* (asyncio.IncompleteReadError, ConnectionError):
        logger.debug("NBD client: gone without a word")
    except* ValueError as errors:
        logger.warning("NBD client: %s", errors.exceptions[0])


class _Transmission:
    """Requests and replies: several at once, each reply as it is ready."""

    def __init__(self, device: Blocks, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._device, self._reader, self._writer = device, reader, writer
        self._room = asyncio.Semaphore(_IN_FLIGHT)
        self._gate = _Gate()

    async def run(self) -> None:
        """Raises ValueError for what is no request."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                magic, flags, kind, cookie, offset, length = _REQUEST.unpack(
                    await self._reader.readexactly(_REQUEST.size)
                )
                if magic != _REQUEST_MAGIC:
                    raise ValueError(f"request with magic {magic:#x}")
                if kind == _DISCONNECT:
                    return
                if kind in (_READ, _WRITE) and length > MAX_LENGTH:
                    raise ValueError(f"request for {length} bytes, at most {MAX_LENGTH}")
                await self._room.acquire()
                data = await self._reader.readexactly(length) if kind == _WRITE else b""
                tasks.create_task(self._serve(_Request(flags, kind, cookie, offset, length, data)))

    async def _serve(self, request: _Request) -> None:
        data: bytes | bytearray | memoryview = b""
        error = 0
        try:
            data = await self._execute(request)
        except _Refused as refused:
            error = refused.number
        except (ISCSIError, SCSIError, OSError) as failure:
            logger.warning("NBD request at %d: %s", request.offset, failure)
            error = _EIO
        self._writer.write(_REPLY.pack(_SIMPLE_REPLY_MAGIC, error, request.cookie))
        if data:
            self._writer.write(data)
        with suppress(ConnectionError):  # the loop in run() finds out
            await self._writer.drain()
        self._room.release()  # not before: who reads no replies gets no more of them made

    async def _execute(self, request: _Request) -> bytes | bytearray | memoryview:
        device = self._device
        beyond = request.offset + request.length > device.size
        if request.kind == _READ:
            if beyond:
                raise _Refused(_EINVAL)
            return await self._read(request.offset, request.length)
        if request.kind == _WRITE:
            if device.read_only:
                raise _Refused(_EPERM)
            if beyond:
                raise _Refused(_ENOSPC)
            await self._write(request.offset, request.data)
            if request.flags & _FUA:
                await device.flush()
        elif request.kind == _FLUSH:
            await device.flush()
        else:
            raise _Refused(_EINVAL)
        return b""

    async def _read(self, offset: int, length: int) -> bytes | bytearray | memoryview:
        if not length:
            return b""
        size = self._device.block_size
        first, end = offset // size, -(-(offset + length) // size)
        data = memoryview(await self._device.read(first, end - first))
        return data[offset - first * size :][:length]

    async def _write(self, offset: int, data: bytes) -> None:
        if not data:
            return
        size = self._device.block_size
        first, end = offset // size, -(-(offset + len(data)) // size)
        if not offset % size and not len(data) % size:
            async with self._gate.shared():
                await self._device.write(first, data)
            return
        async with self._gate.alone():
            whole = bytearray(await self._device.read(first, end - first))
            begin = offset - first * size
            whole[begin : begin + len(data)] = data
            await self._device.write(first, bytes(whole))


class _Gate:
    """Whole blocks are written side by side, parts of blocks alone: they are read, changed and written."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._writing = 0
        self._alone = asyncio.Lock()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Not while a part of a block is written."""
        async with self._alone:
            self._writing += 1
        try:
            yield
        finally:
            self._writing -= 1
            async with self._changed:
                self._changed.notify_all()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """While nothing else is written."""
        async with self._alone, self._changed:
            await self._changed.wait_for(lambda: not self._writing)
            yield
