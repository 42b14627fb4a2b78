"""The socket on which programs in the namespace ask for the host's commands.

One connection a command. The client says ``iscx``, a length (4 bytes, big-endian) and so many bytes: the
words of the command with NUL bytes between them. Frames follow: a byte of kind, a length (4 bytes), data.

    0 STDOUT, 1 STDERR   from the host: output
    2 EXIT               from the host, the last: one byte, the exit code
    3 ASK                from the host, once at most: the command reads its standard input
    4 INPUT              from the client, after ASK: a piece of it; an empty one is its end

A client that goes away has killed its command.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from iscsim.host.result import CommandResult
from iscsim.host.socket_server import SocketServer

if TYPE_CHECKING:
    from iscsim.host.model import Host

__all__ = ["ShimServer"]

logger = logging.getLogger("iscsim.host")

MAGIC = b"iscx"
FRAME = struct.Struct(">BI")
STDOUT, STDERR, EXIT, ASK, INPUT = range(5)
MAX_COMMAND = 128 << 10
MAX_WORDS = 4096
MAX_FRAME = 64 << 10
MAX_INPUT = 256 << 20
MAX_CLIENTS = 256
BEGIN_S = 10.0
"""How long a client may take to say what it wants."""
_NOT_FOUND, _BROKEN = 127, 1
_PIECE = 1 << 20

Hook = Callable[[], Awaitable[None]]


class ShimServer(SocketServer):
    """Serves ``host`` on a socket for its owner alone (0600).

    ``before`` is awaited before each command, ``after`` between its end and the answer.
    Raises OSError from :meth:`start` when the socket cannot be made.
    """

    client_kind = "shim"
    options = {"limit": MAX_FRAME}

    def __init__(self, host: Host, path: str, *, before: Hook, after: Hook) -> None:
        super().__init__(path)
        self.host = host
        self._before, self._after = before, after

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) > MAX_CLIENTS:
            raise ValueError(f"more than {MAX_CLIENTS} commands at once")
        await _Conversation(self.host, reader, writer, self._before, self._after).run()


class _Conversation:
    """One client and its command."""

    def __init__(
        self,
        host: Host,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        before: Hook,
        after: Hook,
    ) -> None:
        self._host, self._reader, self._writer = host, reader, writer
        self._before, self._after = before, after
        self._asked = False

    async def run(self) -> None:
        """Raises ValueError for what is no command, IncompleteReadError when the client leaves."""
        async with asyncio.timeout(BEGIN_S):
            argv = await self._words()
        await self._before()
        command = asyncio.get_running_loop().create_task(self._execute(argv))
        try:
            result = await self._watched(command)
        finally:
            command.cancel()
            await asyncio.gather(command, return_exceptions=True)
        await self._after()
        await self._answer(result)

    async def _words(self) -> list[str]:
        magic, length = struct.unpack(">4sI", await self._reader.readexactly(8))
        if magic != MAGIC or not 0 < length <= MAX_COMMAND:
            raise ValueError(f"a command of {length} bytes, magic {magic!r}")
        words = (await self._reader.readexactly(length)).split(b"\0", MAX_WORDS)
        if len(words) > MAX_WORDS or not words[0]:
            raise ValueError(f"a command of more than {MAX_WORDS} words, or of no name")
        return [os.fsdecode(word) for word in words]

    async def _execute(self, argv: list[str]) -> CommandResult:
        try:
            result = await self._host.execute(*argv, stdin=_Once(self._input))
            logger.info("%s: exit code %d", shlex.join(argv), result.exit_code)
            return result
        except FileNotFoundError:
            return CommandResult(_NOT_FOUND, b"", os.fsencode(f"{argv[0]}: command not found\n"))
        except (ValueError, asyncio.IncompleteReadError, ConnectionError):
            raise
        except Exception as error:  # a fault of ours: who called must not wait for an answer for ever
            logger.exception("%s", " ".join(argv))
            text = f"{argv[0]}: iscsim failed: {type(error).__name__}: {error}\n"
            return CommandResult(_BROKEN, b"", os.fsencode(text))

    async def _watched(self, command: asyncio.Task[CommandResult]) -> CommandResult:
        """Its result. Raises ConnectionError when the client goes away before."""
        while not command.done():
            await asyncio.wait([command], timeout=_LOOK_S)
            if not command.done() and not self._asked and self._reader.at_eof():
                raise ConnectionError("the client has gone")
        return command.result()

    async def _input(self) -> bytes:
        """All the client gives. Raises ValueError for what is no input."""
        self._asked = True
        self._frame(ASK, b"")
        data = bytearray()
        while True:
            kind, length = FRAME.unpack(await self._reader.readexactly(FRAME.size))
            if kind != INPUT or length > MAX_FRAME or len(data) + length > MAX_INPUT:
                raise ValueError(f"frame {kind} of {length} bytes after {len(data)} of input")
            if not length:
                self._asked = False
                return bytes(data)
            data += await self._reader.readexactly(length)

    async def _answer(self, result: CommandResult) -> None:
        for kind, stream in ((STDOUT, result.stdout), (STDERR, result.stderr)):
            view = memoryview(stream)
            for start in range(0, len(view), _PIECE):
                self._frame(kind, view[start : start + _PIECE])
                await self._writer.drain()
        self._frame(EXIT, bytes([result.exit_code & 0xFF]))
        await self._writer.drain()

    def _frame(self, kind: int, data: bytes | memoryview) -> None:
        self._writer.write(FRAME.pack(kind, len(data)))
        self._writer.write(data)


_LOOK_S = 0.1
"""How often a running command's client is looked after."""


class _Once:
    """An awaitable that begins when it is awaited, unlike a coroutine that warns when it never is."""

    def __init__(self, begin: Callable[[], Awaitable[bytes]]) -> None:
        self._begin = begin

    def __await__(self):  # type: ignore[no-untyped-def]
        return self._begin().__await__()
