"""A mixed scenario: three hosts, two targets, four portals, eight LUNs, random faults, then heal."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from typing import Any

from iscsim.errors import ISCSIError
from iscsim.faults.seeds import stream_of
from iscsim.faults.write_model import WriteModel
from iscsim.initiator.multipath import PathState
from iscsim.lab import Lab, LabHost, LiveTarget
from iscsim.openstack.attach import AttachedVolume, NoPathWorks

__all__ = ["run"]

HOSTS, TARGETS, LUNS_EACH = 3, 2, 4
ROUNDS, BLOCKS = 6, 8
CONVERGES_WITHIN_S = 120.0
"""Longest of what is still under way when all is well again: commands that time out, logins, pings."""

Dice = random.Random
Make = Callable[[Dice, str], dict[str, Any]]


def _on_portal(**given: Any) -> Make:
    return lambda dice, portal: {"portal": portal, **given}


def _anywhere(**given: Any) -> Make:
    return lambda dice, portal: given


FAULTS: dict[str, tuple[Make, int]] = {
    "net.blackhole": (_on_portal(), 0),
    "net.refuse": (_on_portal(), 0),
    "net.unreachable": (_on_portal(), 0),
    "net.latency": (_on_portal(delay=0.05, jitter=0.02, dist="uniform"), 0),
    "net.loss": (_on_portal(p=0.1), 0),
    "net.reorder": (_on_portal(p=0.2), 0),
    "net.dup": (_on_portal(p=0.2), 0),
    "net.bandwidth": (_on_portal(rate=20000), 0),
    "net.nic_down": (lambda dice, portal: {"nic": f"array/eth{dice.randrange(4)}"}, 0),
    "net.partition": (lambda dice, portal: {"groups": [["array"], [f"host{dice.randrange(HOSTS)}"]]}, 0),
    "tcp.reset": (_on_portal(after_bytes=3000), 1),
    "tcp.fin": (_on_portal(after_bytes=3000), 1),
    "tcp.stall": (_on_portal(), 0),
    "tcp.slicer": (_on_portal(avg=40), 0),
    "tcp.accept_stall": (_on_portal(delay=2), 2),
    "login.no_response": (_on_portal(), 2),
    "login.delay": (_on_portal(seconds=3), 2),
    "login.status": (_on_portal(class_=3, detail=1), 2),
    "session.drop": (_anywhere(), 1),
    "session.nop_ignore": (_on_portal(), 0),
    "task.no_response": (_on_portal(), 2),
    "task.delay": (_on_portal(delay=1), 10),
    "task.busy": (_on_portal(), 3),
    "task.task_set_full": (_on_portal(), 3),
    "ua.power_on": (_on_portal(), 1),
    "ua.capacity": (_on_portal(), 1),
    "medium.read": (_on_portal(), 2),
    "notready.becoming": (_on_portal(), 3),
    "disk.delay": (_anywhere(delay=0.5), 5),
    "disk.error": (_anywhere(op="write"), 3),
    "target.restart": (_anywhere(after=3), 1),
    "target.pause": (_anywhere(s=4), 1),
    "target.failover": (_anywhere(gap=2), 1),
    "path.down": (_on_portal(), 0),
    "path.flap": (_on_portal(period=3), 0),
    "path.slow": (_on_portal(delay=0.2), 0),
}
"""Faults that can heal, how to make them, and how often each fires at most (0: as long as it is there)."""


class Disk:
    """One attached volume of a host, and what was written to it: each block once, so that a write that
    arrives late, behind the one that was sent again, changes nothing."""

    def __init__(self, host: LabHost, target: LiveTarget, lun: int) -> None:
        self.host, self.target, self.lun = host, target, lun
        self.volume: AttachedVolume | None = None
        self.model = WriteModel(2048)
        self._next = 0

    async def attach(self) -> bool:
        """Have every path there can be; whether all of them work."""
        try:
            if self.volume is None:
                self.volume = await self.host.attach(self.target, self.lun)
            elif len(self.volume.working) < len(self.target.portals):
                await self.host.reconnect(self.volume)
        except (NoPathWorks, ISCSIError):
            return False
        await self.volume.device.check()
        states = [path.state for path in self.volume.device.paths]
        return states == [PathState.ACTIVE] * len(self.target.portals)

    async def use(self, dice: Dice) -> None:
        """Write something new, read something old."""
        if self.volume is None:
            return
        data = dice.randbytes(BLOCKS * 512)
        lba, self._next = self._next, self._next + BLOCKS
        try:
            await self.volume.device.write(lba, data)
        except ISCSIError:
            self.model.failed(lba, data)
        else:
            self.model.wrote(lba, data)
        try:
            found = await self.volume.device.read(lba, BLOCKS)
        except ISCSIError:
            return
        assert self.model.compare(lba, found) == []

    async def verify(self) -> None:
        """All of it is as it was written."""
        assert self.volume is not None
        for lba in range(0, self._next, BLOCKS):
            assert self.model.compare(lba, await self.volume.device.read(lba, BLOCKS)) == []


async def scenario(lab: Lab) -> None:
    targets = [
        await lab.target(
            f"iqn.2026-11.test:array-{number}", portals=2, luns=dict.fromkeys(range(LUNS_EACH), "1M")
        )
        for number in range(TARGETS)
    ]
    hosts = [lab.host(f"host{number}") for number in range(HOSTS)]
    pairs = [(target, lun) for target in targets for lun in range(LUNS_EACH)]
    disks = [Disk(hosts[number % HOSTS], *pair) for number, pair in enumerate(pairs)]
    _break(lab, [portal for target in targets for portal in target.portals])
    await asyncio.gather(*(_live(lab, disk) for disk in disks))
    lab.heal()
    async with asyncio.timeout(CONVERGES_WITHIN_S):
        await asyncio.gather(*(_converge(disk) for disk in disks))
    for disk in disks:
        await disk.verify()
    for disk in disks:
        assert disk.volume is not None
        await disk.volume.detach()


def _break(lab: Lab, portals: list[str]) -> None:
    dice = stream_of(lab.seed, "faults")
    for number in range(dice.randint(2, 5)):
        name = dice.choice(list(FAULTS))
        make, times = FAULTS[name]
        rule = lab.fault(name, id=f"{name}-{number}", **make(dice, dice.choice(portals))).may_not_fire()
        begins = dice.uniform(0, 10)
        rule.after(begins).until(begins + dice.uniform(1, 20))
        if times:
            rule.times(times)


async def _live(lab: Lab, disk: Disk) -> None:
    dice = stream_of(lab.seed, disk.host.name, disk.target.name, str(disk.lun))
    for _ in range(ROUNDS):
        await disk.attach()
        await disk.use(dice)
        await asyncio.sleep(dice.uniform(0, 4))


async def _converge(disk: Disk) -> None:
    for _ in itertools.count():
        if await disk.attach():
            return
        await asyncio.sleep(1)


def run(seed: int) -> str:
    """Play it; the SHA-256 of its trace."""

    async def main(lab: Lab) -> str:
        await scenario(lab)
        await lab.settle()
        return lab.trace.sha256

    return Lab.run(main, seed=seed)
