"""A TCP proxy before a portal that ends its connections, as a firewall or a cable would."""

from __future__ import annotations

import asyncio
import socket
import struct
from types import TracebackType
from typing import Self

__all__ = ["Breaker"]

_CHUNK = 64 << 10
_RST_AT_CLOSE = struct.pack("ii", 1, 0)


class Breaker:
    """Listens on ``portal`` and carries every connection to ``there``; used with ``async with``."""

    def __init__(self, there: str) -> None:
        host, _, port = there.rpartition(":")
        self._there = host, int(port)
        self._pairs: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self.taken = asyncio.Event()
        """Set with every connection."""

    @property
    def portal(self) -> str:
        """Where the initiator finds it."""
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        self.reset()
        await self._server.wait_closed()
        await asyncio.sleep(0.05)

    def reset(self) -> int:
        """RST to both sides of every connection, whatever is under way; how many there were."""
        pairs, self._pairs = self._pairs, []
        for writer in (each for pair in pairs for each in pair):
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_AT_CLOSE)
            writer.transport.abort()
        return len(pairs)

    def finish(self) -> int:
        """FIN to both sides, in the middle of whatever PDU; how many connections there were."""
        pairs, self._pairs = self._pairs, []
        for writer in (each for pair in pairs for each in pair):
            writer.close()
        return len(pairs)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._there)
        pair = writer, there_writer
        self._pairs.append(pair)
        self.taken.set()
        await asyncio.gather(_carry(reader, there_writer), _carry(there_reader, writer))
        if pair in self._pairs:
            self._pairs.remove(pair)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """All that comes; the end of one direction is the end of both."""
    try:
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        pass  # the other direction ends with it
    finally:
        writer.close()
