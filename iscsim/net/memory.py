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
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from iscsim.errors import ConfigError
from iscsim.net.conditions import CLEAR, Conditions, Flow, Passage, Verdict
from iscsim.net.memory_datagram import MemoryDatagramTransport
from iscsim.net.memory_transport import MemoryTransport
from iscsim.net.network import Address, Factory, WireRecord, WireRecorder
from iscsim.net.topology import NIC, Topology, checked_address

__all__ = ["HostNetwork", "MemoryListener", "MemoryNetwork"]

DEFAULT_LATENCY_S = 0.0001
"""One way: as on a quick local network."""
DEFAULT_SEGMENT_SIZE = 65536
ARP_TIMEOUT_S = 3.0
"""How long Linux asks for an address nobody has, before it says EHOSTUNREACH."""
_FIRST_SYN_S = 1.0
_MOST_SYNS = 7
"""Linux, net.ipv4.tcp_syn_retries=6: a connect nobody answers fails after 127 s."""
_FIRST_EPHEMERAL_PORT, _PORTS = 49152, 16384
_WILDCARDS = ("", "0.0.0.0", "::")
_FAILURES = {
    Verdict.REFUSED: (ConnectionRefusedError, errno.ECONNREFUSED, None),
    Verdict.HOST_UNREACHABLE: (OSError, errno.EHOSTUNREACH, 1),
    Verdict.NETWORK_UNREACHABLE: (OSError, errno.ENETUNREACH, 0),
    Verdict.PROHIBITED: (OSError, errno.EHOSTUNREACH, 13),
}
"""Error class, errno, ICMP code (RFC 792 and RFC 1812)."""


@dataclass(slots=True, eq=False)
class MemoryListener:
    """A listening port of a host."""

    host: HostNetwork
    address: Address
    factory: Factory

    def close(self) -> None:
        """Stop accepting; connections there are go on."""
        self.host.network.stop_listening(self)

    async def wait_closed(self) -> None:
        """It closes at once."""

    def is_serving(self) -> bool:
        """Whether it accepts."""
        return self.host.network.listener_at(self.host.name, self.address) is self


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

    async def open(self, host: str, port: int, factory: Factory, *, source: str = "") -> MemoryTransport:
        """As :meth:`connect`, from the address ``source`` if given; returns the transport."""
        return await self.network.open(self, (host, port), factory, source)

    def datagram(
        self,
        factory: Callable[[], asyncio.DatagramProtocol],
        *,
        local_addr: Address | None = None,
        remote_addr: Address | None = None,
    ) -> MemoryDatagramTransport:
        """A UDP port. Raises OSError when the port is taken."""
        return self.network.open_datagram(self, factory, local_addr, remote_addr)


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
        self.transports: dict[MemoryTransport, None] = {}  # a set that keeps its order
        self.connecting: dict[int, Flow] = {}
        """Attempts that have no answer yet, by number."""
        self._hosts: dict[str, HostNetwork] = {}
        self._listeners: dict[tuple[str, Address], MemoryListener] = {}
        self._datagrams: dict[Address, MemoryDatagramTransport] = {}
        self._next_port: dict[str, int] = {}
        self._used_ports: set[tuple[str, int]] = set()
        self._number = 0

    # -- hosts -------------------------------------------------------------------------------------

    def add_host(self, name: str, *addresses: str, nics: dict[str, list[str]] | None = None) -> HostNetwork:
        """A host; each of ``addresses`` on a card of its own (eth0, eth1, ...), or as ``nics`` says.

        Raises `ConfigError` when the name or an address is taken.
        """
        if name in self._hosts:
            raise ConfigError(f"there is a host {name!r} already")
        cards = nics or {f"eth{number}": [address] for number, address in enumerate(addresses)}
        for card, found in cards.items():
            self.topology.add(name, card, tuple(found))
        self.topology.hosts.setdefault(name, {})
        host = self._hosts[name] = HostNetwork(self, name)
        return host

    def host(self, name: str) -> HostNetwork:
        """The host of that name. Raises `ConfigError`."""
        self.topology.cards(name)
        return self._hosts[name]

    def host_of(self, address: str | None) -> HostNetwork:
        """The host with ``address``; the first there is for None and wildcards. Raises `OSError`."""
        if address is None or address in _WILDCARDS:
            if not self._hosts:
                raise OSError(errno.ENETUNREACH, "the lab's network has no hosts")
            return next(iter(self._hosts.values()))
        card = self.topology.owner(address)
        if card is None:
            raise OSError(errno.EADDRNOTAVAIL, f"no host has the address {address}")
        return self._hosts[card.host]

    # -- listening ---------------------------------------------------------------------------------

    def start_listening(self, host: HostNetwork, address: str, port: int, factory: Factory) -> MemoryListener:
        """See `HostNetwork.listen`."""
        name = "" if address in _WILDCARDS else _ip(address)
        if name and (self.topology.owner(name) is None or self.topology.owner(name).host != host.name):  # type: ignore[union-attr]
            raise OSError(errno.EADDRNOTAVAIL, f"{host.name} has no address {name}")
        at = (name, port or self._free_port(host.name))
        if (host.name, at) in self._listeners:
            raise OSError(errno.EADDRINUSE, f"{host.name} listens on {name or '*'}:{at[1]} already")
        listener = self._listeners[host.name, at] = MemoryListener(host, at, factory)
        return listener

    def stop_listening(self, listener: MemoryListener) -> None:
        """See `MemoryListener.close`."""
        self._listeners.pop((listener.host.name, listener.address), None)

    def listener_at(self, host: str, address: Address) -> MemoryListener | None:
        """Who accepts connections to ``address`` on ``host``."""
        return self._listeners.get((host, address)) or self._listeners.get((host, ("", address[1])))

    def _free_port(self, host: str) -> int:
        """Ephemeral ports go round, as the same number twice in a row would look like the same socket."""
        listening = {address[1] for _, address in self._listeners} | {port for _, port in self._datagrams}
        for _ in range(_PORTS):
            step = self._next_port.get(host, 0)
            self._next_port[host] = (step + 1) % _PORTS
            port = _FIRST_EPHEMERAL_PORT + step
            if (host, port) not in self._used_ports and port not in listening:
                return port
        raise OSError(errno.EADDRINUSE, f"every ephemeral port of {host} is in use")

    # -- connecting --------------------------------------------------------------------------------

    async def open(
        self, host: HostNetwork, destination: Address, factory: Factory, source: str = ""
    ) -> MemoryTransport:
        """See `HostNetwork.open`."""
        flow = self._flow(host, (_ip(destination[0]), destination[1]), source)
        record = self._record(flow)
        self.connecting[flow.number] = flow
        try:
            await self._shake_hands(flow, record)
            owner = self.topology.owner(flow.destination[0])
            listener = self.listener_at(owner.host, flow.destination) if owner else None
            if listener is None:  # it has gone while the SYN was under way
                raise _failure(Verdict.REFUSED, flow)
        finally:
            del self.connecting[flow.number]
        if record is not None:
            record.accepted(self._now())
        return self._establish(flow, record, factory, listener)

    def _flow(self, host: HostNetwork, destination: Address, source: str) -> Flow:
        mine = host.addresses
        if source and source not in mine:
            raise OSError(errno.EADDRNOTAVAIL, f"{host.name} has no address {source}")
        if not mine:
            raise OSError(errno.ENETUNREACH, f"{host.name} has no network card that is up")
        local = source or self._route(mine, destination[0])
        owner = self.topology.owner(destination[0])
        self._number += 1
        return Flow(
            host.name,
            (local, self._free_port(host.name)),
            owner.host if owner else "",
            destination,
            self._number,
        )

    def _route(self, mine: list[str], destination: str) -> str:
        """The address of ours that shares most leading bits with where we go: one network card a subnet."""
        same = [address for address in mine if (":" in address) == (":" in destination)] or mine
        far = int(ipaddress.ip_address(destination))
        return min(same, key=lambda address: int(ipaddress.ip_address(address)) ^ far)

    async def _shake_hands(self, flow: Flow, record: WireRecord | None) -> None:
        """Send SYNs until one is answered. Raises OSError."""
        wait = _FIRST_SYN_S
        for attempt in range(1, _MOST_SYNS + 1):
            verdict, comment = self._verdict(flow, attempt)
            if record is not None:
                record.attempted(self._now(), comment)
            if verdict is not Verdict.LOST:
                await asyncio.sleep(self._answer_after(flow, verdict))
                if verdict is Verdict.PASS:
                    return
                self._note_failure(record, verdict)
                raise _failure(verdict, flow)
            await asyncio.sleep(wait)
            wait *= 2
        raise TimeoutError(errno.ETIMEDOUT, f"{os.strerror(errno.ETIMEDOUT)}: {_shown(flow.destination)}")

    def _verdict(self, flow: Flow, attempt: int) -> tuple[Verdict, str | None]:
        verdict, comment = self.conditions.connecting(flow, attempt, self._now())
        if verdict is not Verdict.PASS:
            return verdict, comment
        owner = self.topology.owner(flow.destination[0])
        if not self._up(flow) or (owner is not None and not owner.up):
            return Verdict.LOST, comment
        if owner is None:
            return Verdict.HOST_UNREACHABLE, comment
        listening = self.listener_at(owner.host, flow.destination)
        return (Verdict.PASS if listening else Verdict.REFUSED), comment

    def _answer_after(self, flow: Flow, verdict: Verdict) -> float:
        nobody = self.topology.owner(flow.destination[0]) is None
        return ARP_TIMEOUT_S if verdict is Verdict.HOST_UNREACHABLE and nobody else 2 * self.latency_s

    def _note_failure(self, record: WireRecord | None, verdict: Verdict) -> None:
        code = _FAILURES[verdict][2]
        if record is not None and code is None:
            record.refused(self._now())
        elif record is not None and code is not None:
            record.unreachable(self._now(), code)

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
        client = MemoryTransport(self, loop, flow, record)
        server = MemoryTransport(self, loop, back, record)
        client.peer, server.peer = server, client
        self._used_ports.add((flow.source_host, flow.source[1]))
        self.transports[client] = self.transports[server] = None
        stall = self.conditions.accepting(flow, self._now())
        server.begin(listener.factory, self.latency_s + stall)
        client.begin(factory, 0.0)
        return client

    # -- what transports ask -----------------------------------------------------------------------

    def passages(self, transport: MemoryTransport, data: bytes) -> list[Passage] | None:
        """What gets through of a segment; None when it is lost."""
        flow = transport.flow
        if not (self._up(flow) and self._up_at(flow.destination[0])):
            return None
        if self.conditions is CLEAR:
            return [Passage(data)]
        return self.conditions.segment(flow, data, self._now())

    def _up(self, flow: Flow) -> bool:
        return self._up_at(flow.source[0])

    def _up_at(self, address: str) -> bool:
        card = self.topology.owner(address)
        return card is not None and card.up

    def is_there(self, transport: MemoryTransport) -> bool:
        """Whether the address of this end still belongs to its host."""
        card = self.topology.owner(transport.flow.source[0])
        return card is not None and card.host == transport.flow.source_host

    def forget(self, transport: MemoryTransport) -> None:
        """A transport has come to its end."""
        self.transports.pop(transport, None)
        if transport.flow.from_client:
            self._used_ports.discard((transport.flow.source_host, transport.flow.source[1]))

    def _record(self, flow: Flow) -> WireRecord | None:
        if self.recorder is None:
            return None
        return self.recorder.connection(flow.source, flow.destination, interface=self._interface(flow))

    def _interface(self, flow: Flow) -> str:
        card: NIC | None = self.topology.owner(flow.source[0])
        return str(card) if card else flow.source_host

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    # -- UDP ---------------------------------------------------------------------------------------

    def open_datagram(
        self,
        host: HostNetwork,
        factory: Callable[[], asyncio.DatagramProtocol],
        local: Address | None,
        remote: Address | None,
    ) -> MemoryDatagramTransport:
        """See `HostNetwork.datagram`."""
        mine = host.addresses
        if not mine:
            raise OSError(errno.ENETUNREACH, f"{host.name} has no network card that is up")
        address = local[0] if local and local[0] not in _WILDCARDS else mine[0]
        if address not in mine:
            raise OSError(errno.EADDRNOTAVAIL, f"{host.name} has no address {address}")
        at = (address, (local[1] if local else 0) or self._free_port(host.name))
        if at in self._datagrams:
            raise OSError(errno.EADDRINUSE, f"UDP port {_shown(at)} is in use")
        transport = MemoryDatagramTransport(self, host.name, at, remote)
        self._datagrams[at] = transport
        transport.begin(factory)
        return transport

    def send_datagram(self, transport: MemoryDatagramTransport, data: bytes, to: Address) -> None:
        """Let ``data`` take its way, if there is one."""
        self._number += 1
        card = self.topology.owner(to[0])
        flow = Flow(transport.host, transport.address, card.host if card else "", to, self._number)
        now = self._now()
        if self.recorder is not None:
            self.recorder.datagram(flow.source, to, data, now, interface=self._interface(flow))
        if card is None or not card.up or not self._up(flow):
            return
        for passage in self.conditions.datagram(flow, data, now):
            at = now + self.latency_s + passage.delay_s
            asyncio.get_running_loop().call_at(at, self._arrive, to, passage.data, flow.source)

    def _arrive(self, to: Address, data: bytes, source: Address) -> None:
        found = self._datagrams.get(to)
        if found is not None:
            found.receive(data, source)

    def close_datagram(self, transport: MemoryDatagramTransport) -> None:
        """The port is free again."""
        if self._datagrams.get(transport.address) is transport:
            del self._datagrams[transport.address]

    # -- for a deadlock's message ------------------------------------------------------------------

    def waiting(self) -> list[str]:
        """Who waits for an answer to a SYN."""
        return [
            f"{_shown(flow.source)} connects to {_shown(flow.destination)}"
            for flow in self.connecting.values()
        ]


def _ip(address: str) -> str:
    """An address as the network knows it. Raises OSError, as a name nobody resolves does."""
    try:
        return checked_address(address)
    except ConfigError as error:
        raise OSError(errno.EADDRNOTAVAIL, str(error)) from None


def _shown(address: Address) -> str:
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


def _failure(verdict: Verdict, flow: Flow) -> Any:
    kind, number, _ = _FAILURES[verdict]
    return kind(number, f"{os.strerror(number)}: {_shown(flow.destination)}")
