"""Faults of a target that is served on real TCP, and the methods of its control socket for them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any

from iscsim.errors import ConfigError
from iscsim.faults.description import shift_times
from iscsim.faults.engine import FaultEngine
from iscsim.faults.faulty_device_server import FaultyDeviceServer
from iscsim.faults.pdu_tap import FaultTaps
from iscsim.faults.tcp_network import FaultyNetwork
from iscsim.faults.timers import Timers
from iscsim.faults.units import luns_of
from iscsim.target.connection import TargetConnection
from iscsim.target.node import NetworkEntity, TargetNode
from iscsim.target.server import TargetServer

__all__ = ["ServedFaults"]


class ServedFaults:
    """The faults of what one server serves; implements `iscsim.faults.world.World`.

    ``network`` and ``taps`` go to its `TargetServer`, which then is given to `use`.
    """

    network = None
    hosts: Mapping[str, Any] = MappingProxyType({})
    """Whoever logs in runs elsewhere."""

    def __init__(self, entity: NetworkEntity) -> None:
        self._loop = asyncio.get_running_loop()
        self._entity = entity
        self.engine = FaultEngine(clock=self._loop.time)
        self.engine.network = "tcp"
        self.engine.file_exists = os.path.exists
        self.engine.known |= {"target": lambda: list(entity.nodes), "clock": lambda: list(self.hosts)}
        self.engine.known |= {
            "mapped_lun": lambda: luns_of(entity.nodes.values(), self.engine.rules.values())
        }
        self.served_network = FaultyNetwork(self.engine, live=lambda: self._server.protocols)
        self.taps = FaultTaps(self.engine)
        device_server = FaultyDeviceServer.install(entity, self.engine)
        device_server.commenting = TargetConnection.comment
        self._device_server = device_server
        self._spawned: dict[asyncio.Task[None], None] = {}

    def use(self, server: TargetServer) -> None:
        """The server is there: faults may come."""
        self._server = server
        self.engine.known |= {"portal": lambda: [str(portal) for portal in self._entity.portals]}
        self._timers = Timers(self.engine, self)

    # -- what may be asked of it -------------------------------------------------------------------

    @property
    def methods(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Method name -> method, as `iscsim.net.rpc.RPCServer` takes them."""
        return {
            "fault.add": self.add,
            "fault.list": self.list,
            "fault.remove": self.remove,
            "fault.reset": self.reset,
        }

    async def add(self, fault: dict[str, Any]) -> dict[str, Any]:
        """Arm what a ``[[fault]]`` table says; returns it. Times are seconds from now.

        Raises ConfigError for what is unknown, with the nearest valid name.
        """
        if not isinstance(fault, dict):
            raise ConfigError("fault must be an object")
        rule = self.engine.add_description(shift_times(fault, self._loop.time()))
        return self._row(rule.describe() | {"fired": rule.fired, "armed": rule.armed})

    async def list(self) -> list[dict[str, Any]]:
        """Every fault that is armed. Times are seconds from now."""
        return [self._row(each) for each in self.engine.describe()]

    def _row(self, described: dict[str, Any]) -> dict[str, Any]:
        now, when = self._loop.time(), described["when"]
        left = {name: round(max(when[name] - now, 0), 3) for name in ("after", "until") if name in when}
        return _row(described | {"when": when | left})

    async def remove(self, id: str) -> bool:
        """Disarm one. Raises ConfigError when there is none of that id."""
        self.engine.remove(id)
        return True

    async def reset(self) -> bool:
        """Disarm all, and let stores go on."""
        self.engine.reset()
        self._device_server.resume_stores()
        return True

    # -- iscsim.faults.world.World -----------------------------------------------------------------

    @property
    def targets(self) -> dict[str, TargetNode]:
        """See `World.targets`."""
        return self._entity.nodes

    def server_of(self, target: str) -> TargetServer:
        """See `World.server_of`."""
        return self._server

    def time(self) -> float:
        """See `World.time`."""
        return self._loop.time()

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """See `World.call_at`."""
        return self._loop.call_at(when, callback)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """See `World.spawn`."""
        task = self._loop.create_task(work)
        self._spawned[task] = None
        task.add_done_callback(self._spawned.pop)


def _row(described: dict[str, Any]) -> dict[str, Any]:
    """As JSON can say it: bytes are hexadecimal, and there is no infinity."""
    found: dict[str, Any] = _plain(described)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return value.hex()
    return None if value in (float("inf"),) else value
