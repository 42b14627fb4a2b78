"""A thousand hosts on one target, in memory and virtual time: what a large world costs.

``python -m benchmarks.thousand_hosts [HOSTS] [--profile FILE]``: each host logs in with two sessions, one to
each portal, scans, reads on both, and stays until everybody is there.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import resource
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

import iscsim
from iscsim.net.memory import HostNetwork, MemoryNetwork
from iscsim.net.virtual_loop import VirtualLoop
from iscsim.target.config import ServeConfig, TargetConfig, build
from iscsim.target.server import TargetServer

TARGET = "iqn.2026-11.org.iscsim.bench:disk"
PORTALS = ("10.245.47.95:3260", "10.245.47.96:3260")
_READ_BLOCKS = 8


@dataclass(frozen=True, slots=True)
class Cost:
    """What a world of ``hosts`` took."""

    hosts: int
    sessions: int
    wall_s: float
    virtual_s: float
    peak_mib: float

    def __str__(self) -> str:
        return (
            f"{self.hosts} hosts, {self.sessions} sessions: {self.wall_s:.1f} s of wall time, "
            f"{self.virtual_s:.3f} s of virtual time, peak of {self.peak_mib:.0f} MiB"
        )


async def use(host: HostNetwork, target: str, everybody: asyncio.Barrier) -> int:
    """What one host does; how many sessions it had."""
    async with AsyncExitStack() as stack:
        sessions = []
        for portal in PORTALS:
            name = f"iqn.2026-11.org.iscsim.bench:{host.name}"
            opened = iscsim.connect(portal, target, initiator_name=name, network=host)
            sessions.append(await stack.enter_async_context(opened))
        for session in sessions:
            (unit,) = await session.scan()
            await session.read(unit.lun, 0, _READ_BLOCKS)
        await everybody.wait()
        return len(sessions)


async def world(hosts: int) -> tuple[int, float]:
    """All of it: sessions at the same time, and virtual seconds."""
    network = MemoryNetwork()
    array = network.add_host("array", *(portal.partition(":")[0] for portal in PORTALS))
    computes = [
        network.add_host(f"compute-{number}", f"10.245.{48 + number // 250}.{1 + number % 250}")
        for number in range(hosts)
    ]
    everybody = asyncio.Barrier(hosts)
    described = TargetConfig(name=TARGET, portals=list(PORTALS), luns=["1=64M"])
    entity, _ = build(ServeConfig(targets=[described]))
    server = TargetServer(entity, network=array, max_connections=len(PORTALS) * hosts)
    async with server, asyncio.TaskGroup() as group:
        tasks = [group.create_task(use(host, TARGET, everybody)) for host in computes]
    return sum(task.result() for task in tasks), asyncio.get_running_loop().time()


def measure(hosts: int) -> Cost:
    """Run the world once."""
    begin = time.perf_counter()
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        sessions, virtual_s = runner.run(world(hosts))
    wall_s = time.perf_counter() - begin
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Cost(hosts, sessions, wall_s, virtual_s, peak_mib)


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.thousand_hosts", description=__doc__)
    parser.add_argument("hosts", nargs="?", type=int, default=1000)
    parser.add_argument("--profile", metavar="FILE", help="write a profile for pstats")
    found = parser.parse_args()
    with cProfile.Profile() as profile:
        if not found.profile:
            profile.disable()
        cost = measure(found.hosts)
    if found.profile:
        profile.dump_stats(found.profile)
    print(cost)


if __name__ == "__main__":
    main()
