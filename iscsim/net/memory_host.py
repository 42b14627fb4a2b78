"""One host of a memory network: the `Network` of the programs that run on it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from iscsim.net.memory_datagram import MemoryDatagramTransport
from iscsim.net.memory_transport import MemoryTransport
from iscsim.net.network import Address, Factory
from iscsim.net.resolver import resolve

if TYPE_CHECKING:
    from iscsim.net.memory import MemoryNetwork

__all__ = ["WILDCARDS", "HostNetwork", "MemoryListener"]

WILDCARDS = ("", "0.0.0.0", "::")


class _ListeningSocket:
    """As much of a socket as is needed to ask for its name."""

    type = socket.SOCK_STREAM
    proto = 0

    def __init__(self, address: Address) -> None:
        self._address = address

    @property
    def family(self) -> socket.AddressFamily:
        """By the form of the address."""
        return socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET

    def getsockname(self) -> Address:
        """Where it listens."""
        return self._address


class MemoryListener:
    """A listening port of a host; has what `asyncio.Server` has, too."""

    def __init__(self, host: HostNetwork, address: Address, factory: Factory) -> None:
        self.host = host
        self.address = address
        self.factory = factory
        self._closed = asyncio.Event()

    @property
    def sockets(self) -> tuple[_ListeningSocket, ...]:
        """One, to be asked for its name; none once it is closed."""
        return () if self._closed.is_set() else (_ListeningSocket(self.address),)

    def close(self) -> None:
        """Stop accepting; connections there are go on, but those nobody has accepted yet are reset."""
        if not self._closed.is_set():
            self._closed.set()
            self.host.network.stop_listening(self)

    async def wait_closed(self) -> None:
        """Return when it is closed."""
        await self._closed.wait()

    def is_serving(self) -> bool:
        """Whether it accepts."""
        return not self._closed.is_set()

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that runs."""
        return asyncio.get_running_loop()

    async def start_serving(self) -> None:
        """It does already. Raises RuntimeError when it is closed."""
        if self._closed.is_set():
            raise RuntimeError(f"server {self!r} is closed")

    async def serve_forever(self) -> None:
        """Wait until it is closed, or this is cancelled, which closes it."""
        await self.start_serving()
        try:
            await self._closed.wait()
        finally:
            self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"MemoryListener({self.host.name}, {self.address[0]}:{self.address[1]})"


class HostNetwork:
    """One host's view of a memory network; implements `iscsim.net.network.Network`."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self.network = network
        self.name = name

    @property
    def addresses(self) -> list[str]:
        """Its addresses on cards that are up."""
        return self.network.topology.addresses_of(self.name)

    async def listen(self, host: str, port: int, factory: Factory) -> MemoryListener:
        """Accept connections; ``host`` is one of our addresses or a wildcard. Raises OSError."""
        return self.network.start_listening(self, host, port, factory)

    async def connect(self, host: str, port: int, factory: Factory) -> asyncio.BaseProtocol:
        """Connect to ``host:port``; returns the protocol. Raises OSError."""
        return (await self.open(host, port, factory)).get_protocol()

    async def open(
        self, host: str, port: int, factory: Factory, *, local_addr: Address | None = None
    ) -> MemoryTransport:
        """As :meth:`connect`, from ``local_addr`` if given (port 0: any); returns the transport.

        The addresses of a name are tried in turn.
        """
        *others, last = await resolve(self.network, self.name, host)
        for address in others:
            with contextlib.suppress(OSError):
                return await self.network.open(self, (address, port), factory, local_addr)
        return await self.network.open(self, (last, port), factory, local_addr)

    async def datagram(
        self,
        factory: Callable[[], asyncio.DatagramProtocol],
        *,
        local_addr: Address | None = None,
        remote_addr: Address | None = None,
    ) -> MemoryDatagramTransport:
        """A UDP port; returns the transport. Raises OSError when the port is taken."""
        return self.network.udp.open(self, factory, local_addr, remote_addr)

    def __repr__(self) -> str:
        return f"HostNetwork({self.name})"
