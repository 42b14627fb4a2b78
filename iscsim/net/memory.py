"""A storage network in memory: hosts with their addresses, TCP and UDP between them, and what is in the way.

::

    network = MemoryNetwork()
    array = network.add_host("array", "10.245.47.95", "10.245.47.96")
    compute = network.add_host("compute", "10.245.47.10")
    async with TargetServer(entity, network=array):
        await iscsim.connect("10.245.47.95", name, network=compute)

A host is the `Network` of the programs that run on it. Transports are asyncio's, on whatever loop runs; on a
`VirtualLoop` all of it is deterministic.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress

from iscsim.errors import ConfigError
from iscsim.net.conditions import CLEAR, Conditions, Flow, Passage
from iscsim.net.handshake import shake_hands
from iscsim.net.memory_datagram import DatagramExchange
from iscsim.net.memory_host import WILDCARDS, HostNetwork, MemoryListener
from iscsim.net.memory_tcp import TCPEnd
from iscsim.net.memory_transport import MemoryTransport
from iscsim.net.network import Address, Factory, WireRecord, WireRecorder
from iscsim.net.ports import Ports
from iscsim.net.topology import Topology, checked_address
from iscsim.session.names import format_portal

__all__ = ["HostNetwork", "MemoryListener", "MemoryNetwork"]

DEFAULT_LATENCY_S = 0.0001
"""One way: as on a quick local network."""
DEFAULT_SEGMENT_SIZE = 65461
"""The most that fits a frame of a capture, over IPv6 too."""


class MemoryNetwork:
    """The whole network. ``latency_s`` (one way), ``bandwidth`` (bytes a second of each direction of a
    connection, 0 for no limit) and ``segment_size`` (bytes) hold for every link; ``conditions`` for what is
    to go wrong; ``recorder`` captures what is on the wire. All may be changed at any time.
    """

    def __init__(
        self,
        *,
        latency_s: float = DEFAULT_LATENCY_S,
        bandwidth: float = 0.0,
        segment_size: int = DEFAULT_SEGMENT_SIZE,
        recorder: WireRecorder | None = None,
    ) -> None:
        if latency_s < 0 or bandwidth < 0 or segment_size < 1:
            raise ConfigError("latency and bandwidth are not negative, and a segment has a byte at least")
        self.latency_s = latency_s
        self.bandwidth = bandwidth
        self.segment_size = segment_size
        self.recorder = recorder
        self.conditions: Conditions = CLEAR
        self.topology = Topology()
        self.names: dict[str, list[str]] = {}
        """The addresses of hosts' names, in lower case, as a resolver has them."""
        self.udp = DatagramExchange(self)
        self.transports: dict[MemoryTransport, None] = {}  # a set that keeps its order
        self.connecting: dict[int, Flow] = {}
        """Attempts that have no answer yet, by number."""
        self._hosts: dict[str, HostNetwork] = {}
        self._listeners: dict[tuple[str, int], dict[str, MemoryListener]] = {}
        """By host and port, then by address, "" for all."""
        self._ports = Ports()
        self._number = 0

    # -- hosts -------------------------------------------------------------------------------------

    def add_host(self, name: str, *addresses: str, nics: dict[str, list[str]] | None = None) -> HostNetwork:
        """A host; each of ``addresses`` on a card of its own (eth0, eth1, ...), or as ``nics`` says.

        Raises `ConfigError` when the name or an address is taken.
        """
        if name in self._hosts:
            raise ConfigError(f"there is a host {name!r} already")
        if addresses and nics:
            raise ConfigError("a host has addresses or cards with addresses, not both")
        cards = nics or {f"eth{number}": [address] for number, address in enumerate(addresses)}
        self.topology.add_host(name, {card: tuple(found) for card, found in cards.items()})
        host = self._hosts[name] = HostNetwork(self, name)
        return host

    def host(self, name: str) -> HostNetwork:
        """The host of that name. Raises `ConfigError`."""
        self.topology.cards(name)
        return self._hosts[name]

    def host_of(self, address: str | None) -> HostNetwork:
        """The host with ``address``; the first there is for None and wildcards. Raises `OSError`."""
        if address is None or address in WILDCARDS:
            if not self._hosts:
                raise OSError(errno.ENETUNREACH, "the lab's network has no hosts")
            return next(iter(self._hosts.values()))
        card = self.topology.owner(self.ip(address))
        if card is None:
            raise OSError(errno.EADDRNOTAVAIL, f"no host has the address {address}")
        return self._hosts[card.host]

    # -- listening ---------------------------------------------------------------------------------

    def start_listening(self, host: HostNetwork, address: str, port: int, factory: Factory) -> MemoryListener:
        """See `HostNetwork.listen`."""
        name = "" if address in WILDCARDS else self.ip(address)
        card = self.topology.owner(name)
        if name and (card is None or card.host != host.name):
            raise OSError(errno.EADDRNOTAVAIL, f"{host.name} has no address {name}")
        taken = self._listeners.get((host.name, port), {})
        if name in taken or "" in taken or (taken and not name):
            raise OSError(errno.EADDRINUSE, f"{host.name} listens on {name or '*'}:{port} already")
        port = self._ports.take(host.name, port)
        listener = MemoryListener(host, (name or address or "0.0.0.0", port), factory)
        self._listeners.setdefault((host.name, port), {})[name] = listener
        return listener

    def stop_listening(self, listener: MemoryListener) -> None:
        """See `MemoryListener.close`."""
        key = (listener.host.name, listener.address[1])
        found = self._listeners.get(key, {})
        for name in [name for name, each in found.items() if each is listener]:
            del found[name]
            self._ports.give_back(*key)
        if not found:
            self._listeners.pop(key, None)

    def listener_at(self, address: Address) -> MemoryListener | None:
        """Who accepts connections to ``address``."""
        card = self.topology.owner(address[0])
        found = self._listeners.get((card.host, address[1]), {}) if card is not None else {}
        return found.get(address[0]) or found.get("")

    # -- connecting --------------------------------------------------------------------------------

    async def open(
        self, host: HostNetwork, destination: Address, factory: Factory, local: Address | None = None
    ) -> MemoryTransport:
        """See `HostNetwork.open`."""
        flow = self._flow(host, (self.ip(destination[0]), destination[1]), local)
        record = self._record(flow)
        self.connecting[flow.number] = flow
        try:
            listener = await shake_hands(self, flow, record)
        except BaseException:
            self._ports.give_back(flow.source_host, flow.source[1])
            raise
        finally:
            del self.connecting[flow.number]
        if record is not None:
            record.accepted(asyncio.get_running_loop().time())
        return self._establish(flow, record, factory, listener)

    def _flow(self, host: HostNetwork, destination: Address, local: Address | None) -> Flow:
        if local is None or local[0] in WILDCARDS:
            source = self.route(host, destination[0])
        elif (source := self.ip(local[0])) not in host.addresses:
            raise OSError(errno.EADDRNOTAVAIL, f"{host.name} has no address {source}")
        owner = self.topology.owner(destination[0])
        port = self._ports.take(host.name, local[1] if local else 0)
        return Flow(host.name, (source, port), owner.host if owner else "", destination, self.next_number())

    def route(self, host: HostNetwork, destination: str) -> str:
        """The address of ``host`` that shares most leading bits with ``destination``. Raises OSError.

        So each network card of a host may have a subnet of its own.
        """
        same = [address for address in host.addresses if (":" in address) == (":" in destination)]
        if not same:
            raise OSError(errno.ENETUNREACH, f"{host.name} has no network card that is up for {destination}")
        far = int(ipaddress.ip_address(destination))
        return min(same, key=lambda address: int(ipaddress.ip_address(address)) ^ far)

    def _establish(
        self, flow: Flow, record: WireRecord | None, factory: Factory, listener: MemoryListener
    ) -> MemoryTransport:
        loop = asyncio.get_running_loop()
        back = Flow(
            listener.host.name,
            flow.destination,
            flow.source_host,
            flow.source,
            flow.number,
            from_client=False,
        )
        near, far = TCPEnd(self, loop, flow, record), TCPEnd(self, loop, back, record)
        near.peer, far.peer = far, near
        stall = self.conditions.accepting(flow, loop.time())
        loop.call_later(self.latency_s + stall, self._accept, loop, far, listener)
        try:
            protocol = factory()
        except BaseException:
            near.close()
            self._ports.give_back(flow.source_host, flow.source[1])
            raise
        client = MemoryTransport(self, loop, near)
        self.transports[client] = None
        client.start(protocol)
        return client

    def _accept(self, loop: asyncio.AbstractEventLoop, end: TCPEnd, listener: MemoryListener) -> None:
        """The server's program takes the connection, if it still listens."""
        if not listener.is_serving():
            end.reset()
            return
        try:
            protocol = listener.factory()
        except Exception as error:
            message = f"{listener!r} could not make a protocol"
            loop.call_exception_handler({"message": message, "exception": error})
            end.close()
            return
        server = MemoryTransport(self, loop, end)
        self.transports[server] = None
        server.start(protocol)

    # -- what connections ask ----------------------------------------------------------------------

    def passages(self, flow: Flow, data: bytes) -> list[Passage] | None:
        """What gets through of a segment; None when it is lost."""
        if not (self.can_send(flow) and self.is_up(flow.destination[0])):
            return None
        if self.conditions is CLEAR:
            return [Passage(data)]
        return self.conditions.segment(flow, data, asyncio.get_running_loop().time())

    def can_send(self, flow: Flow) -> bool:
        """Whether the address it comes from is still that of its host, on a card that is up."""
        card = self.topology.owner(flow.source[0])
        return card is not None and card.up and card.host == flow.source_host

    def is_up(self, address: str) -> bool:
        """Whether somebody has ``address`` on a card that is up."""
        card = self.topology.owner(address)
        return card is not None and card.up

    def is_there(self, flow: Flow) -> bool:
        """Whether the address of the end that sends this still belongs to its host."""
        card = self.topology.owner(flow.source[0])
        return card is not None and card.host == flow.source_host

    def forget(self, transport: MemoryTransport) -> None:
        """A transport has come to its end."""
        self.transports.pop(transport, None)
        if transport.flow.from_client:
            self._ports.give_back(transport.flow.source_host, transport.flow.source[1])

    def next_number(self) -> int:
        """Tells connections, attempts and datagrams apart."""
        self._number += 1
        return self._number

    def ip(self, address: str) -> str:
        """An address as the network knows it. Raises OSError, as a name nobody resolves does."""
        try:
            return checked_address(address)
        except ConfigError as error:
            raise OSError(errno.EADDRNOTAVAIL, str(error)) from None

    # -- capture -----------------------------------------------------------------------------------

    def _record(self, flow: Flow) -> WireRecord | None:
        if self.recorder is None:
            return None
        return self.recorder.connection(flow.source, flow.destination, interface=self._interface(flow))

    def record_datagram(self, flow: Flow, data: bytes, now: float, comment: str | None) -> None:
        """A datagram is sent."""
        if self.recorder is not None:
            interface = self._interface(flow)
            self.recorder.datagram(
                flow.source, flow.destination, data, now, interface=interface, comment=comment
            )

    def _interface(self, flow: Flow) -> str:
        card = self.topology.owner(flow.source[0])
        return str(card) if card else flow.source_host

    # -- for a deadlock's message ------------------------------------------------------------------

    def waiting(self) -> list[str]:
        """Who waits for an answer to a SYN."""
        return [
            f"{format_portal(*flow.source)} connects to {format_portal(*flow.destination)}"
            for flow in self.connecting.values()
        ]
