"""The faults of the network and of TCP on real connections: a `Network` around another."""

from __future__ import annotations

import asyncio
import errno
import os
import weakref
from collections.abc import Callable, Iterable

from iscsim.faults.conditions import FaultyConditions
from iscsim.faults.engine import FaultEngine
from iscsim.faults.occasion import Hook
from iscsim.faults.rule import FaultRule
from iscsim.faults.tcp_protocol import FaultyProtocol, ProtocolThatChangesItsTransport
from iscsim.net.conditions import Flow, Verdict
from iscsim.net.handshake import FIRST_SYN_S, MOST_SYNS, failure
from iscsim.net.network import Address, Factory, Listener, Network
from iscsim.net.resolver import check_resolution, is_address
from iscsim.net.tcp import TCPNetwork

__all__ = ["FaultyNetwork"]

_NOBODY: Address = ("0.0.0.0", 0)


class _FaultyListener:
    """A listener that resets, when it closes, what nobody has accepted yet, as a kernel does."""

    def __init__(self, listener: Listener, accepted: Iterable[FaultyProtocol]) -> None:
        self._listener = listener
        self._accepted = accepted

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._listener.address

    def close(self) -> None:
        """Stop accepting."""
        self._listener.close()
        for protocol in list(self._accepted):
            protocol.refuse()


class FaultyNetwork:
    """``network`` (real TCP unless given) as ``engine`` lets it be; ``host`` is who uses it, for matches.

    What its programs connect to is refused, unreachable, silent or late; every connection, made or accepted,
    is cut, held, sliced and so on. ``segments`` is False where the other end is on a faulty network of the
    same engine, which then does the latter: else everything would be counted twice. A "segment" is what a
    program writes or receives at once. UDP goes through as it is.

    With ``live``, which gives the protocols of the connections that were accepted, these cost nothing while
    there is no fault of the network: faults step between when the first one is armed.
    """

    def __init__(
        self,
        engine: FaultEngine,
        *,
        network: Network | None = None,
        host: str = "",
        segments: bool = True,
        live: Callable[[], Iterable[ProtocolThatChangesItsTransport]] | None = None,
    ) -> None:
        self.host = host
        self._network: Network = TCPNetwork() if network is None else network
        self._conditions = FaultyConditions(engine)
        self._numbers = engine.connection_numbers
        self._segments = segments
        self._live = live
        if live is not None:
            engine.listeners.append(self._armed)

    def _armed(self, rule: FaultRule) -> None:
        if self._live is not None and Hook.SEGMENT in rule.hooks:
            for protocol in self._live():
                FaultyProtocol.step_between(self._conditions, protocol, self.host, next(self._numbers))

    async def listen(self, host: str, port: int, factory: Factory) -> Listener:
        """See `Network.listen`."""
        if not self._segments:
            return await self._network.listen(host, port, factory)

        accepted: weakref.WeakSet[FaultyProtocol] = weakref.WeakSet()

        def wrapped() -> asyncio.BaseProtocol:
            if self._live is not None and not self._conditions.holds_connections:
                return factory()
            number = next(self._numbers)
            found = FaultyProtocol(self._conditions, factory, self.host, number, from_client=False)
            accepted.add(found)
            return found

        return _FaultyListener(await self._network.listen(host, port, wrapped), accepted)

    async def connect(self, host: str, port: int, factory: Factory) -> asyncio.BaseProtocol:
        """See `Network.connect`."""
        loop, number = asyncio.get_running_loop(), next(self._numbers)
        if not is_address(host):
            await check_resolution(self._conditions.resolving(self.host, host.lower(), loop.time()))
        await self._shake_hands(Flow(self.host, _NOBODY, "", (host, port), number))
        if not self._segments:
            return await self._network.connect(host, port, factory)
        wrapper = FaultyProtocol(self._conditions, factory, self.host, number, from_client=True)
        await self._network.connect(host, port, lambda: wrapper)
        protocol: asyncio.BaseProtocol = wrapper.protocol
        return protocol

    async def _shake_hands(self, flow: Flow) -> None:
        """What becomes of the SYN before it goes out at all. Raises OSError."""
        loop, wait = asyncio.get_running_loop(), FIRST_SYN_S
        for attempt in range(1, MOST_SYNS + 1):
            reply = self._conditions.connecting(flow, attempt, loop.time())
            if reply.verdict is not Verdict.LOST:
                await asyncio.sleep(reply.delay_s)
                if reply.verdict is not Verdict.PASS:
                    raise failure(reply.verdict, flow, None, loop.time())
                return
            await asyncio.sleep(wait)
            wait *= 2
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    async def datagram(
        self,
        factory: Callable[[], asyncio.DatagramProtocol],
        *,
        local_addr: Address | None = None,
        remote_addr: Address | None = None,
    ) -> asyncio.DatagramTransport:
        """See `Network.datagram`."""
        return await self._network.datagram(factory, local_addr=local_addr, remote_addr=remote_addr)
