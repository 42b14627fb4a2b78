"""A whole storage world in one object.

::

    async def main(lab):
        target = await lab.target(portals=["10.245.47.95:3260", "10.245.47.96:3260"], luns={1: "1M"})
        lab.fault("net.blackhole", portal=target.portals[0])
        volume = await lab.host("compute", "10.245.47.93").attach(target)
        await volume.detach()

    Lab.run(main, seed=7, pcap="incident.pcapng")
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from iscsim.errors import ConfigError, FaultError
from iscsim.faults.conditions import FaultyConditions, known_of
from iscsim.faults.description import shift_times
from iscsim.faults.engine import FaultEngine
from iscsim.faults.faulty_device_server import FaultyDeviceServer
from iscsim.faults.pdu_tap import FaultTaps
from iscsim.faults.rule import FaultRule
from iscsim.faults.seeds import stream_of
from iscsim.faults.tcp_network import FaultyNetwork
from iscsim.faults.timers import Timers
from iscsim.faults.trace import Trace
from iscsim.faults.units import luns_of
from iscsim.lab.addresses import Addresses, run_virtual
from iscsim.lab.host import LabHost
from iscsim.lab.oracles import BrokenInvariant, Oracles, model_writes
from iscsim.lab.serving import LiveTarget, check_description, serve
from iscsim.lab.wire_trace import TracedWire
from iscsim.net.memory import DEFAULT_LATENCY_S, MemoryNetwork
from iscsim.net.network import Network, Recorder
from iscsim.net.virtual_loop import VirtualLoop
from iscsim.target.connection import TargetConnection
from iscsim.target.node import TargetNode
from iscsim.target.server import TargetServer

__all__ = ["Lab"]

Result = TypeVar("Result")
ARRAY = "array"
_SETTLE_S = {"memory": 0.01, "tcp": 0.1}
"""How long the last FINs may be under way before sessions count as left behind."""


class Lab:
    """Targets, hosts, the network between them, faults, a trace, a capture; used with ``async with``.

    On the ``"memory"`` network everything depends on ``seed`` alone, given a `VirtualLoop`; ``latency_s`` is
    that of a link, one way. On ``"tcp"`` targets listen on free ports of 127.0.0.1 and chance is real.
    ``trace`` and ``pcap`` are files. Unless ``judge`` is False, a block that ends well ends with `check`.
    """

    def __init__(
        self,
        network: Literal["memory", "tcp"] = "memory",
        *,
        seed: int = 0,
        pcap: str | Path | None = None,
        trace: str | Path | None = None,
        latency_s: float = DEFAULT_LATENCY_S,
        judge: bool = True,
    ) -> None:
        if network not in _SETTLE_S:
            raise ConfigError(f"network is {network!r:.60}, expected 'memory' or 'tcp'")
        self.network_name, self.seed, self.judge = network, seed, judge
        self.network = MemoryNetwork(latency_s=latency_s) if network == "memory" else None
        self.addresses = Addresses(self.network)
        self.oracles = Oracles()
        self.recorder: Recorder | None = None
        """What the programs of a lab on real TCP are recorded with; a memory network records by itself."""
        self.live_targets: dict[str, LiveTarget] = {}
        """By name, in the order in which they were made."""
        self.hosts: dict[str, LabHost] = {}
        self._pcap, self._trace_path = pcap, trace
        self._stack = AsyncExitStack()
        self._programs = AsyncExitStack()
        self._device_servers: list[FaultyDeviceServer] = []
        self._spawned: dict[asyncio.Task[None], None] = {}
        self._missed: list[str] = []

    # -- the block ---------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self.loop = asyncio.get_running_loop()
        self._begun = begun = self.loop.time()
        self.trace = Trace(lambda: self.loop.time() - begun, path=self._trace_path)
        self._stack.callback(self.trace.close)
        self.trace.listeners.append(self.oracles.excuses.learn)
        self.faults = FaultEngine(self.seed, self.trace, clock=self.loop.time)
        self.faults.network = self.network_name
        self.faults.file_exists = os.path.exists
        self.faults.known |= {"clock": lambda: list(self.hosts)}
        self._wire = TracedWire(self.trace)
        if self.network is not None:
            self._wire_up(self.network)
        if self._pcap is not None:
            self.capture(self._pcap)
        self._taps = FaultTaps(self.faults, self.addresses.host_of)
        self._timers = Timers(self.faults, self)
        return self

    def _wire_up(self, network: MemoryNetwork) -> None:
        network.conditions = FaultyConditions(self.faults)
        network.recorder = self._wire
        if isinstance(self.loop, VirtualLoop):
            self.loop.network = network
            self.loop.waiting.append(network.waiting)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self.end_programs()
            if error is None and self.judge:
                await self.settle()
                self.check()
        finally:
            self.faults.reset()
            await self._stack.aclose()

    @classmethod
    def run(cls, main: Callable[[Self], Awaitable[Result]], **options: Any) -> Result:
        """Run ``main(lab)`` to its end: on a `VirtualLoop`, or for ``network="tcp"`` on a real one.

        ``options`` are those of `Lab`.
        """
        lab = cls(**options)
        return lab.run_with(lambda: main(lab))

    def run_with(self, main: Callable[[], Awaitable[Result]]) -> Result:
        """Run ``main`` in this lab, on the loop its network needs."""

        async def whole() -> Result:
            async with self:
                return await main()

        if self.network is not None:
            return run_virtual(whole())
        from iscsim.net.runner import run

        return run(whole())

    # -- who is there ------------------------------------------------------------------------------

    def host(self, name: str, *addresses: str) -> LabHost:
        """The host of that name; a new one has these addresses, each on a card of its own, or a free one."""
        if name in self.hosts:
            if addresses:
                raise ConfigError(f"there is a host {name!r} already")
            return self.hosts[name]
        if self.network is not None:
            network: Network = self.addresses.add_host(name, addresses)
        else:
            network = FaultyNetwork(self.faults, host=name, segments=False)
        host = self.hosts[name] = LabHost(self, name, network, self._chance("host", name))
        return host

    def closing(self, close: Callable[[], Awaitable[object]]) -> None:
        """Await ``close()`` at the end, before the targets go."""
        self._programs.push_async_callback(close)

    async def end_programs(self) -> None:
        """Await all that was given to `closing`, the last first: they are judged when they have ended."""
        await self._programs.aclose()

    async def target(
        self,
        name: str | None = None,
        *,
        portals: int | Sequence[str] = 1,
        luns: Mapping[int, str] | None = None,
        initiators: Sequence[str] = (),
        personality: str = "rfc",
        host: str = ARRAY,
    ) -> LiveTarget:
        """Serve a target until the lab ends; the arguments are those of `iscsim.serve`.

        In memory its portals are addresses of ``host``, which gets those it does not have; a number stands
        for as many free ones. On real TCP ``"10.245.47.95:3260"`` is a name for a free port of 127.0.0.1,
        which faults may match and a capture shows.

        Raises `ConfigError` for what is wrong with the description.
        """
        check_description(name, luns, portals, initiators)
        wanted = self.addresses.portals(portals, host)
        where = wanted if self.network is not None else ["127.0.0.1:0"] * len(wanted)
        network = self.network.host(host) if self.network else FaultyNetwork(self.faults, host=host)
        target = await self._stack.enter_async_context(
            serve(
                target=name,
                luns=luns,
                portals=where,
                initiators=initiators,
                personality=personality,
                recorder=self.recorder,
                network=network,
                rng=self._chance("target", name or str(len(self.live_targets))),
                taps=self._taps,
            )
        )
        self.addresses.are(wanted, target.portals)
        self._prepare(target)
        return target

    def _prepare(self, target: LiveTarget) -> None:
        server = target.server
        server.listeners.append(self.oracles.target_event)
        device_server = FaultyDeviceServer.install(server.entity, self.faults)
        device_server.commenting = TargetConnection.comment
        self._device_servers.append(device_server)
        if self.network is not None:
            for unit in dict.fromkeys(target.node.units()):
                model_writes(unit)
            self.faults.known |= known_of(self.network)
        self.live_targets[target.name] = target
        self.faults.known |= {
            "portal": lambda: [portal for each in self.live_targets.values() for portal in each.portals],
            "target": lambda: [node.name for each in self.live_targets.values() for node in each.nodes],
            "mapped_lun": lambda: luns_of(self.targets.values(), self.faults.rules.values()),
        }

    def _chance(self, *names: str) -> Any:
        return stream_of(self.seed, *names) if self.network is not None else None

    def live_target(self, target: LiveTarget | str) -> LiveTarget:
        """The target of that name. Raises `ConfigError`."""
        if isinstance(target, LiveTarget):
            return target
        for live in self.live_targets.values():
            if target in (node.name for node in live.nodes) or target == live.base_name:
                return live
        if target not in self.live_targets:
            raise ConfigError(f"no target {target!r} (there are: {', '.join(self.live_targets) or 'none'})")
        return self.live_targets[target]

    def real_portal(self, portal: str) -> str:
        """Where ``portal`` really is: on real TCP it may be a name for another address."""
        return self.addresses.real(portal)

    def connection_info(self, target: LiveTarget | str, lun: int = 1) -> dict[str, Any]:
        """What Cinder would say of a LUN: all portals of its target."""
        found = self.live_target(target)
        count = len(found.portals)
        columns = {"target_portals": found.portals, "target_luns": [lun] * count}
        names = [found.name_at(number) for number in range(count)]
        return {"driver_volume_type": "iscsi", "data": columns | {"target_iqns": names}}

    # -- faults ------------------------------------------------------------------------------------

    def fault(self, name: str, /, **given: Any) -> FaultRule:
        """Arm a fault; ``given`` are its parameters and what it has to match. Raises `ConfigError`."""
        return self.faults.add(name, **{key: self.addresses.translated(each) for key, each in given.items()})

    def add_fault(self, description: Mapping[str, Any]) -> FaultRule:
        """Arm the fault of a ``[[fault]]`` table; its times count from the lab's beginning.

        Raises `ConfigError`."""
        shifted = shift_times(self.addresses.translated(description), self._begun)
        return self.faults.add_description(shifted)

    def flag(self, name: str, up: bool = True) -> None:
        """Raise or lower what gates of faults wait for."""
        (self.faults.flags.add if up else self.faults.flags.discard)(name)

    def heal(self) -> None:
        """Take every fault away and make good what it did; flags go down. `check` still knows of them."""
        try:
            self.faults.check()
        except FaultError as error:
            self._missed.append(str(error))
        self.trace.add("heal")
        self.faults.reset()
        for device_server in self._device_servers:
            device_server.resume_stores()

    # -- what there is to see ----------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Seconds of the loop's clock; virtual ones begin at 0."""
        return self.loop.time()

    @property
    def begun(self) -> float:
        """When the lab was opened, on the loop's clock."""
        return self._begun

    def capture(self, path: str | Path) -> None:
        """Capture connections made from now on to a pcapng file. Raises `ConfigError`."""
        from iscsim.capture import WireRecorder, real_time_recorder

        if self.network is not None:
            self._wire.capture = self._stack.enter_context(WireRecorder(path))
        elif self.recorder is not None:
            raise ConfigError("a lab on real TCP has one capture")
        else:
            self.recorder = self._stack.enter_context(
                real_time_recorder(path, portal_port=None, show=self.addresses.shown)
            )

    def expect_error(self, text: str) -> None:
        """Protocol errors with ``text`` in them are what this is about."""
        self.oracles.expected.append(text)

    async def settle(self, seconds: float | None = None) -> None:
        """Let what is on the wire arrive."""
        await asyncio.sleep(_SETTLE_S[self.network_name] if seconds is None else seconds)

    def unfired(self) -> list[str]:
        """Why each fault that had to fire has not, those that were healed too."""
        missed = list(self._missed)
        try:
            self.faults.check()
        except FaultError as error:
            missed.append(str(error))
        return missed

    def problems(self) -> list[str]:
        """Invariants that do not hold: a line for each."""
        sessions = [each for target in self.live_targets.values() for each in target.sessions]
        nodes = self.targets.values()
        units = dict.fromkeys(unit for node in nodes for unit in node.units())
        return self.oracles.problems(sessions, units)

    def check(self) -> None:
        """Raises `BrokenInvariant` for what no fault explains, `FaultError` for faults that never fired."""
        problems = self.problems()
        if problems:
            raise BrokenInvariant("\n".join(problems))
        missed = self.unfired()
        if missed:
            raise FaultError("; ".join(missed))

    # -- iscsim.faults.world.World -----------------------------------------------------------------

    @property
    def targets(self) -> dict[str, TargetNode]:
        """See `World.targets`."""
        return {name: target.node for name, target in self.live_targets.items()}

    def server_of(self, target: str) -> TargetServer:
        """See `World.server_of`."""
        return self.live_targets[target].server

    def time(self) -> float:
        """See `World.time`."""
        return self.loop.time()

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """See `World.call_at`."""
        return self.loop.call_at(when, callback)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """See `World.spawn`."""
        task = self.loop.create_task(work)
        self._spawned[task] = None
        task.add_done_callback(self._spawned.pop)

    def __repr__(self) -> str:
        return f"Lab({self.network_name!r}, seed={self.seed})"
