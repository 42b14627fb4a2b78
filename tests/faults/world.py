"""A small world to break: two hosts in memory, a target with two portals, virtual time, the fault engine.

::

    async def test_silent_portal_is_given_up(world):
        world.fault("net.blackhole", portal=world.portals[0])
        with world.taking(15.0), pytest.raises(ConnectionFailed, match="within 15 s"):
            await world.connect()

``compute`` reaches the portal ``.95`` through its card eth0 and ``.96`` through eth1. ``world.frames`` is
what was on the wire, with the comments. A fault that was armed and has not fired fails the test.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import pytest

import iscsim
from iscsim.faults.conditions import FaultyConditions, known_of
from iscsim.faults.engine import FaultEngine
from iscsim.faults.faulty_device_server import FaultyDeviceServer
from iscsim.faults.pdu_tap import FaultTaps
from iscsim.faults.rule import FaultRule
from iscsim.faults.timers import Timers
from iscsim.faults.trace import Trace
from iscsim.initiator.client import Connecting
from iscsim.lab import LiveTarget
from iscsim.net.memory import MemoryNetwork
from iscsim.net.network import Address
from iscsim.target.connection import TargetConnection
from iscsim.target.node import TargetNode
from iscsim.target.server import TargetServer

TARGET = "iqn.2026-11.test:array"
INITIATOR = "iqn.2026-11.test:compute"
PORTALS = ["10.245.47.95:3260", "10.245.47.96:3260"]


@dataclass(frozen=True)
class Frame:
    """One frame of the wire: ``kind`` is syn, syn-ack, refused, unreachable, data, fin, rst or datagram."""

    at: float
    kind: str
    by_client: bool = True
    data: bytes = b""
    comment: str | None = None
    delivered: bool = True
    again: bool = False


class Wire:
    """A `WireRecorder` that keeps frames in a list."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def connection(self, client: Address, server: Address, *, interface: str) -> Wire:
        """All connections go into one list."""
        return self

    def datagram(self, source: Address, destination: Address, data: bytes, now: float, **rest: Any) -> None:
        self.frames.append(Frame(now, "datagram", data=data, comment=rest.get("comment")))

    def attempted(self, now: float, comment: str | None = None) -> None:
        self.frames.append(Frame(now, "syn", comment=comment))

    def accepted(self, now: float) -> None:
        self.frames.append(Frame(now, "syn-ack", by_client=False))

    def refused(self, now: float) -> None:
        self.frames.append(Frame(now, "refused", by_client=False))

    def unreachable(self, now: float, code: int) -> None:
        self.frames.append(Frame(now, "unreachable", by_client=False, data=bytes([code])))

    def sent(
        self, by_client: bool, data: bytes, now: float, comment: str | None = None, **rest: bool
    ) -> None:
        self.frames.append(Frame(now, "data", by_client, data, comment, **rest))

    def copied(
        self, by_client: bool, data: bytes, now: float, comment: str | None = None, *, behind: int
    ) -> None:
        self.frames.append(Frame(now, "data", by_client, data, comment, again=True))

    def finished(self, by_client: bool, now: float, comment: str | None = None, **rest: bool) -> None:
        self.frames.append(Frame(now, "fin", by_client, b"", comment, **rest))

    def reset(self, by_client: bool, now: float, comment: str | None = None) -> None:
        self.frames.append(Frame(now, "rst", by_client, b"", comment))


class SmallWorld:
    """See the module; implements `iscsim.faults.world.World`. Used with ``async with`` on a `VirtualLoop`.

    ``serving`` goes to `iscsim.serve`: ``luns={1: "1M"}``, ``personality="lio"``.
    """

    def __init__(self, seed: int = 7, **serving: Any) -> None:
        self.seed = seed
        self.network = MemoryNetwork()
        self.array = self.network.add_host("array", "10.245.47.95", "10.245.47.96")
        self.compute = self.network.add_host("compute", "10.245.47.93", "10.245.47.98")
        self.hosts: dict[str, Any] = {}
        self.wire = Wire()
        self.network.recorder = self.wire
        self._serving: dict[str, Any] = {"target": TARGET, "luns": {1: "1M"}, "portals": PORTALS} | serving

    async def __aenter__(self) -> Self:
        self.loop = asyncio.get_running_loop()
        self.loop.network = self.network  # type: ignore[attr-defined]
        self.loop.waiting.append(self.network.waiting)  # type: ignore[attr-defined]
        self.trace = Trace(self.loop.time)
        self.engine = FaultEngine(self.seed, self.trace)
        self.network.conditions = FaultyConditions(self.engine)
        self._stack = AsyncExitStack()
        self._spawned: dict[asyncio.Task[None], None] = {}
        taps = FaultTaps(self.engine, self._host_of)
        serving = iscsim.serve(network=self.array, taps=taps, rng=random.Random(self.seed), **self._serving)
        self.target: LiveTarget = await self._stack.enter_async_context(serving)
        self.engine.network = "memory"
        self.engine.known |= known_of(self.network)
        self.engine.known |= {"portal": lambda: self.portals, "target": lambda: [self.target.name]}
        self.device_server = FaultyDeviceServer.install(self.target.server.entity, self.engine)
        self.device_server.commenting = TargetConnection.comment
        self._timers = Timers(self.engine, self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        missed = self.engine.unfired()
        try:
            if missed and error is None:
                self.engine.check()
        finally:
            self.engine.reset()
            await self._stack.aclose()

    def _host_of(self, address: str) -> str:
        card = self.network.topology.owner(address)
        return card.host if card is not None else ""

    # -- what faults see ---------------------------------------------------------------------------

    @property
    def targets(self) -> dict[str, TargetNode]:
        """The one target by its name."""
        return {self.target.name: self.target.node}

    def server_of(self, target: str) -> TargetServer:
        """Its server."""
        assert target == self.target.name
        return self.target.server

    def time(self) -> float:
        """Virtual seconds."""
        return self.loop.time()

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """See `World.call_at`."""
        return self.loop.call_at(when, callback)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """See `World.spawn`."""
        task = self.loop.create_task(work)
        self._spawned[task] = None
        task.add_done_callback(self._spawned.pop)

    # -- what tests use ----------------------------------------------------------------------------

    @property
    def portals(self) -> list[str]:
        """The portals of the target: ``.95``, ``.96``."""
        return self.target.portals

    def fault(self, name: str, /, **given: Any) -> FaultRule:
        """Arm a fault."""
        return self.engine.add(name, **given)

    def connect(self, portal: int | str = 0, **options: Any) -> Connecting:
        """`iscsim.connect` from ``compute`` to the first, the second or another portal."""
        where = self.portals[portal] if isinstance(portal, int) else portal
        given = {"initiator_name": INITIATOR, "rng": random.Random(self.seed)} | options
        return iscsim.connect(where, self.target.name, network=self.compute, **given)

    @contextmanager
    def taking(self, seconds: float, within: float = 0.05) -> Iterator[None]:
        """Assert that the block takes so many virtual seconds."""
        begun = self.loop.time()
        yield
        assert self.loop.time() - begun == pytest.approx(seconds, abs=within)

    @property
    def frames(self) -> list[Frame]:
        """What was on the wire."""
        return self.wire.frames

    def commented(self, rule: FaultRule) -> list[Frame]:
        """The frames whose comment names ``rule``."""
        return [frame for frame in self.frames if f"[{rule.id} " in (frame.comment or "")]
