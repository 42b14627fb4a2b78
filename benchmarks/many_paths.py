"""105 LUNs over four paths, one of which flaps for ten minutes: what a host full of multipath maps costs.

``python -m benchmarks.many_paths [--luns N] [--minutes N] [--profile FILE]``: a host logs in through every
portal and scans as Linux does; its multipath daemon makes the maps and checks their paths. Meanwhile each
disk is written and read back every five seconds, and every five seconds the set of maps is looked at.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import resource
import time
from dataclasses import dataclass

from iscsim.faults.write_model import WriteModel
from iscsim.initiator.device_names import DiskNames
from iscsim.initiator.multipath import MultipathDaemon, MultipathDevice, Path
from iscsim.initiator.recovering_session import RecoveringSession
from iscsim.initiator.scan import examine
from iscsim.initiator.scsi_host import SCSIHost
from iscsim.initiator.settings import NodeSettings
from iscsim.lab import Lab, LiveTarget

PORTALS = tuple(f"10.245.47.{number}:3260" for number in range(93, 97))
EVERY_S, CALM_S = 5, 60
FLAP_PERIOD_S = 40
_BLOCKS = 8
_SETTINGS = {"no_path_retry": "fail", "path_grouping_policy": "multibus"}


@dataclass(frozen=True, slots=True)
class Cost:
    """What it took, and what was wrong: nothing, in a run that counts."""

    luns: int
    paths: int
    wall_s: float
    virtual_s: float
    peak_mib: float
    faults: int
    io: int
    problems: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.luns} LUNs, {self.paths} paths: {self.wall_s:.1f} s of wall time, "
            f"{self.virtual_s:.0f} s of virtual time, peak of {self.peak_mib:.0f} MiB; "
            f"{self.faults} path faults, {self.io} commands, {len(self.problems)} problems"
        )


class Watch:
    """What has been seen that must not be."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.seen_down = False
        self.io = 0

    def expect(self, holds: bool, problem: str) -> None:
        """Note ``problem`` unless it ``holds``."""
        if not holds:
            self.problems.append(problem)

    def look(self, daemon: MultipathDaemon, maps: dict[str, MultipathDevice], now: float) -> None:
        """The maps are the same, and every path but the first of each is used."""
        self.expect(daemon.maps == maps, f"{now:.0f} s: other maps")
        for device in maps.values():
            first, *others = (path.is_active for path in device.paths)
            self.seen_down |= not first
            self.expect(all(others), f"{now:.0f} s: {device.alias}: a path that is well is not used")


async def attach(host: SCSIHost, daemon: MultipathDaemon) -> None:
    """Scan, and give every disk to the daemon."""
    await host.scan()
    for hctl, disk in host.devices.items():
        unit = await examine(disk, disk.lun)
        if unit is not None and unit.size:
            await daemon.add_path(Path(disk, unit, hctl=str(hctl), name=disk.name))


async def use(device: MultipathDevice, number: int, until: float, watch: Watch) -> None:
    """Write something new and read something old, every five seconds."""
    loop, model = asyncio.get_running_loop(), WriteModel(device.size // device.block_size)
    for turn in range(1 << 30):
        if loop.time() >= until:
            return
        lba = turn % 64 * _BLOCKS
        data = (number.to_bytes(4, "big") + turn.to_bytes(4, "big")) * (_BLOCKS * device.block_size // 8)
        await device.write(lba, data)
        model.wrote(lba, data)
        old = (turn // 2) % 64 * _BLOCKS
        watch.problems += map(str, model.compare(old, await device.read(old, _BLOCKS)))
        watch.io += 2
        await asyncio.sleep(EVERY_S)


async def log_in(lab: Lab, target: LiveTarget) -> list[RecoveringSession]:
    """A session through every portal."""
    settings = NodeSettings(replacement_timeout=5)
    host = lab.host("compute")
    return [await host.log_in(target, portal, settings=settings) for portal in PORTALS]


async def world(lab: Lab, luns: int, minutes: float) -> tuple[Watch, int]:
    """All of it: what was seen, and how many paths have failed."""
    target = await lab.target(portals=PORTALS, luns=dict.fromkeys(range(1, luns + 1), "1M"))
    watch, names = Watch(), DiskNames()
    sessions = await log_in(lab, target)
    async with MultipathDaemon(overrides=_SETTINGS) as daemon, asyncio.TaskGroup() as group:
        for number, session in enumerate(sessions):
            await attach(SCSIHost(number, session, names=names), daemon)
        maps = dict(daemon.maps)
        end = lab.now + 60 * minutes
        lab.fault("path.flap", portal=PORTALS[0], period=FLAP_PERIOD_S).until(end)
        for number, device in enumerate(maps.values()):
            group.create_task(use(device, number, end, watch))
        while lab.now < end:
            await asyncio.sleep(EVERY_S)
            watch.look(daemon, maps, lab.now)
        await asyncio.sleep(CALM_S)
        active = [len(device.active_paths) for device in maps.values()]
        watch.expect(active == [len(PORTALS)] * luns, f"not every path is back: {active}")
        watch.expect(watch.seen_down, "no path was ever down")
    for session in sessions:
        await session.close()
    return watch, sum(device.statistics["path_faults"] for device in maps.values())


def measure(luns: int, minutes: float) -> Cost:
    """Run it once."""
    virtual_s = 0.0

    async def main(lab: Lab) -> tuple[Watch, int]:
        nonlocal virtual_s
        found = await world(lab, luns, minutes)
        virtual_s = lab.now
        return found

    begin = time.perf_counter()
    watch, faults = Lab.run(main, seed=6)
    wall_s = time.perf_counter() - begin
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    paths = luns * len(PORTALS)
    return Cost(luns, paths, wall_s, virtual_s, peak_mib, faults, watch.io, tuple(watch.problems))


def main() -> int:
    """Measure and show."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_paths", description=__doc__)
    parser.add_argument("--luns", type=int, default=105)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--profile", metavar="FILE", help="write a profile for pstats")
    found = parser.parse_args()
    with cProfile.Profile() as profile:
        if not found.profile:
            profile.disable()
        cost = measure(found.luns, found.minutes)
    if found.profile:
        profile.dump_stats(found.profile)
    print(cost)
    for problem in cost.problems:
        print(problem)
    return bool(cost.problems)


if __name__ == "__main__":
    raise SystemExit(main())
