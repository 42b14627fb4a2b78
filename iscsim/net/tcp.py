"""Real TCP on the running loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from iscsim.net.network import Address, Factory

_BACKLOG = 512


class TCPListener:
    """A listening socket."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        host, port = server.sockets[0].getsockname()[:2]
        self._address: Address = (host, port)

    @property
    def address(self) -> Address:
        """Where it listens, with the real port."""
        return self._address

    def close(self) -> None:
        """Stop accepting; connections there are go on."""
        self._server.close()


class TCPNetwork:
    """The machine's own network."""

    async def listen(self, host: str, port: int, factory: Factory) -> TCPListener:
        """Accept connections to ``host:port``; port 0 picks a free one. Raises OSError."""
        loop = asyncio.get_running_loop()
        options: Any = {"reuse_address": True, "backlog": _BACKLOG}
        return TCPListener(await loop.create_server(factory, host, port, **options))

    async def connect(self, host: str, port: int, factory: Factory) -> asyncio.BaseProtocol:
        """Connect to ``host:port``; returns the protocol. Raises OSError."""
        _, protocol = await asyncio.get_running_loop().create_connection(factory, host, port)
        return protocol

    async def datagram(
        self,
        factory: Callable[[], asyncio.DatagramProtocol],
        *,
        local_addr: Address | None = None,
        remote_addr: Address | None = None,
    ) -> asyncio.DatagramTransport:
        """A UDP port; returns the transport. Raises OSError when the port is taken."""
        if local_addr is None and remote_addr is None:
            local_addr = ("0.0.0.0", 0)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            factory, local_addr=local_addr, remote_addr=remote_addr
        )
        return transport


def pause_from_the_start(transport: asyncio.Transport) -> None:
    """Read nothing from a connection that was just made; to be called in ``connection_made``.

    In early releases of Python 3.11 the transport of a socket begins to read after ``connection_made``
    although it was paused there: it must be told right behind that.
    """
    if transport.get_extra_info("socket") is None:
        transport.pause_reading()
    else:
        asyncio.get_running_loop().call_soon(transport.pause_reading)
