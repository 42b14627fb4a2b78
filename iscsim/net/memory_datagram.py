"""UDP in memory, as asyncio's datagram transports have it."""

from __future__ import annotations

import asyncio
import errno
import heapq
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from iscsim.net.conditions import Flow
from iscsim.net.network import Address, Buffer
from iscsim.net.ports import Ports

if TYPE_CHECKING:
    from iscsim.net.memory import MemoryNetwork
    from iscsim.net.memory_host import HostNetwork

__all__ = ["DatagramExchange", "MemoryDatagramTransport"]

_LONGEST = 65507
"""What one IPv4 packet holds."""
_ANYWHERE = ("", "0.0.0.0", "::")


class MemoryDatagramTransport(asyncio.DatagramTransport):
    """A UDP port of ``host`` at ``address``; with a ``remote`` one it talks to nobody else."""

    def __init__(
        self, exchange: DatagramExchange, host: HostNetwork, address: Address, remote: Address | None
    ) -> None:
        super().__init__({"sockname": address, "peername": remote, "socket": None})
        self.host = host
        self.address = address
        self._exchange = exchange
        self._remote = remote
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._protocol: Any = None

    def begin(self, factory: Callable[[], asyncio.DatagramProtocol]) -> None:
        """Make the protocol and tell it."""
        self._protocol = factory()
        self._protocol.connection_made(self)

    def get_protocol(self) -> Any:
        """The protocol on it."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand over to another protocol."""
        self._protocol = protocol

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def sendto(self, data: Buffer, addr: Any = None) -> None:
        """Send a datagram; one that is too long is told to the protocol. Raises ValueError for nobody."""
        to = self._remote if addr is None else (addr[0], addr[1])
        if to is None:
            raise ValueError("nobody to send it to")
        if self._remote not in (None, to):
            raise ValueError(f"invalid address: must be None or {self._remote}")
        if self._closing:
            return
        if len(data) > _LONGEST:
            self.fail(OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE)))
        else:
            self._exchange.send(self, bytes(data), to)

    def receive(self, data: bytes, source: Address) -> None:
        """A datagram has come."""
        if not self._closing and self._remote in (None, source):
            self._protocol.datagram_received(data, source)

    def refused(self, by: Address) -> None:
        """ICMP says that nobody is there: sockets with a remote address hear of it."""
        if self._remote == by:
            self.fail(ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)))

    def fail(self, error: OSError) -> None:
        """Tell the protocol of an error."""
        if not self._closing:
            self._protocol.error_received(error)

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self._closing

    def close(self) -> None:
        """Give the port back."""
        if not self._closing:
            self._closing = True
            self._exchange.close(self)
            if not self._loop.is_closed():  # nobody is left to be told, else
                self._loop.call_soon(self._protocol.connection_lost, None)

    abort = close


class DatagramExchange:
    """The UDP ports of a memory network, and what is on its way between them."""

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network
        self._ports = Ports()
        self._transports: dict[tuple[str, Address], MemoryDatagramTransport] = {}
        self._flying: list[tuple[float, int, Flow, bytes]] = []
        self._sent = 0

    def open(
        self,
        host: HostNetwork,
        factory: Callable[[], asyncio.DatagramProtocol],
        local: Address | None,
        remote: Address | None,
    ) -> MemoryDatagramTransport:
        """See `HostNetwork.datagram`."""
        to = (self._network.ip(remote[0]), remote[1]) if remote else None
        name, wanted = self._local(host, local, to)
        if wanted and (host.name, (name, wanted)) in self._transports:
            raise OSError(errno.EADDRINUSE, f"UDP port {wanted} of {host.name} is in use")
        port = self._ports.take(host.name, wanted)
        shown = (name or (local[0] if local and local[0] else "0.0.0.0"), port)
        transport = MemoryDatagramTransport(self, host, shown, to)
        self._transports[host.name, (name, port)] = transport
        transport.begin(factory)
        return transport

    def _local(self, host: HostNetwork, local: Address | None, to: Address | None) -> Address:
        """The address to bind to, "" for all, and the port, 0 for any."""
        port = local[1] if local else 0
        if local is None or local[0] in _ANYWHERE:
            return (self._network.route(host, to[0]) if to else "", port)
        if (name := self._network.ip(local[0])) not in host.addresses:
            raise OSError(errno.EADDRNOTAVAIL, f"{host.name} has no address {name}")
        return name, port

    def send(self, transport: MemoryDatagramTransport, data: bytes, to: Address) -> None:
        """Let ``data`` take its way, if there is one. An error is told to the protocol."""
        network, now = self._network, asyncio.get_running_loop().time()
        try:
            flow = self._flow(transport, to)
        except OSError as error:
            transport.fail(error)
            return
        can_pass = network.can_send(flow) and network.is_up(flow.destination[0])
        passages = network.conditions.datagram(flow, data, now) if can_pass else []
        comments = [each.comment for each in passages] or [None]
        for comment in comments:
            network.record_datagram(flow, data, now, comment)
        for passage in passages:
            if not passage.lost:
                self._fly(flow, passage.data, now + network.latency_s + passage.delay_s)

    def _flow(self, transport: MemoryDatagramTransport, to: Address) -> Flow:
        network, (name, port) = self._network, transport.address
        destination = (network.ip(to[0]), to[1])
        if name in _ANYWHERE:
            name = network.route(transport.host, destination[0])
        card = network.topology.owner(destination[0])
        number = network.next_number()
        return Flow(transport.host.name, (name, port), card.host if card else "", destination, number)

    def _fly(self, flow: Flow, data: bytes, arrival: float) -> None:
        """What was sent first arrives first, if both take as long."""
        self._sent += 1
        heapq.heappush(self._flying, (arrival, self._sent, flow, data))
        asyncio.get_running_loop().call_at(arrival, self._land)

    def _land(self) -> None:
        _, _, flow, data = heapq.heappop(self._flying)
        card = self._network.topology.owner(flow.destination[0])
        if card is None or not card.up:
            return
        found = self._bound(card.host, flow.destination)
        if found is not None:
            found.receive(data, flow.source)
        elif (sender := self._bound(flow.source_host, flow.source)) is not None:
            asyncio.get_running_loop().call_later(self._network.latency_s, sender.refused, flow.destination)

    def _bound(self, host: str, at: Address) -> MemoryDatagramTransport | None:
        return self._transports.get((host, at)) or self._transports.get((host, ("", at[1])))

    def close(self, transport: MemoryDatagramTransport) -> None:
        """The port is free again."""
        name, port = transport.address
        host = transport.host.name
        for key in ((host, (name, port)), (host, ("", port))):
            if self._transports.get(key) is transport:
                del self._transports[key]
                self._ports.give_back(host, port)
