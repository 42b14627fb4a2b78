"""A storage array and a compute host on a memory network, and conditions a test can set."""

from __future__ import annotations

import asyncio
from typing import Any

from net.worlds import Log, until

from iscsim.net.conditions import Flow, Passage, Reply, Verdict
from iscsim.net.memory import MemoryNetwork

ARRAY, COMPUTE = "10.245.47.95", "10.245.47.10"


class Way:
    """`Conditions` as a test sets them."""

    def __init__(self) -> None:
        self.verdict = Verdict.PASS
        self.stall_s = 0.0
        self.syns: list[float] = []
        self.segments: list[tuple[float, bytes]] = []
        self.lost = False
        self.passages: list[Passage] | None = None

    def connecting(self, flow: Flow, attempt: int, now: float) -> Reply:
        self.syns.append(now)
        return Reply(self.verdict)

    def accepting(self, flow: Flow, now: float) -> float:
        return self.stall_s

    def segment(self, flow: Flow, data: bytes, now: float) -> list[Passage] | None:
        self.segments.append((now, data))
        if self.lost:
            return None
        return [Passage(data)] if self.passages is None else self.passages

    def datagram(self, flow: Flow, data: bytes, now: float) -> list[Passage]:
        return [Passage(data)]


class World:
    def __init__(self, **options: Any) -> None:
        self.network = MemoryNetwork(latency_s=0.001, **options)
        self.way = self.network.conditions = Way()
        self.array = self.network.add_host("array", ARRAY, "10.245.47.96")
        self.compute = self.network.add_host("compute", COMPUTE)

    async def pair(self, kind: type[Log] = Log) -> tuple[Any, Any]:
        """The protocols of a connection, client first."""
        accepted: list[Any] = []

        def factory() -> Log:
            accepted.append(kind())
            return accepted[-1]

        listener = await self.array.listen(ARRAY, 0, factory)
        client: Any = await self.compute.connect(*listener.address, kind)
        await until(lambda: accepted, within_s=100)
        listener.close()
        self.way.segments.clear()
        return client, accepted[0]

    def card(self, host: str) -> Any:
        return self.network.topology.cards(host)["eth0"]


def now() -> float:
    return asyncio.get_running_loop().time()
