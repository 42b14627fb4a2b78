"""A disk behind several sessions that live, its multipath daemon, and a load that checks what it reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from iscsim.errors import ISCSIError
from iscsim.faults.seeds import stream_of
from iscsim.faults.write_model import Difference, WriteModel
from iscsim.initiator.device_state import HCTL
from iscsim.initiator.multipath import MultipathDaemon, MultipathDevice, Path
from iscsim.initiator.scsi_device import SCSIDevice
from iscsim.initiator.settings import NodeSettings
from iscsim.lab import Lab, LiveTarget

__all__ = ["PORTALS", "Load", "World", "all_paths_are_back", "multipath"]

PORTALS = ["10.245.47.95:3260", "10.245.47.96:3260"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
BLOCK = 512


@asynccontextmanager
async def multipath(
    lab: Lab,
    target: LiveTarget,
    lun: int,
    *,
    release: str = "0.9.4",
    replacement_timeout: int = 15,
    names: Sequence[str] = (),
    disks: bool = False,
    portals: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> AsyncIterator[tuple[MultipathDaemon, MultipathDevice]]:
    """Log in through every portal, scan, and have a daemon make the map of ``lun``.

    ``names`` are those of the paths, ``"2:0:0:197 sdd"``; as a host would number them, without. With
    ``disks`` a path is a SCSI device, as on a Linux host, and not its session. ``portals`` are what the
    target's are called, such as a name. ``settings`` are those of the nodes.
    """
    host = lab.host("compute")
    node = NodeSettings(**{"replacement_timeout": replacement_timeout} | dict(settings or {}))
    sessions = []
    async with MultipathDaemon(release=release, overrides=overrides) as daemon:
        try:
            for number, portal in enumerate(target.portals):
                where = portals[number] if portals else portal
                session = await host.log_in(target.name_at(portal), where, settings=node)
                sessions.append(session)
                for unit in await session.scan():
                    if unit.number == lun:
                        name = names[number] if names else f"{number + 2}:0:0:{lun} sd{LETTERS[number]}"
                        hctl, _, device = name.partition(" ")
                        way = (
                            SCSIDevice(session, HCTL(*map(int, hctl.split(":"))), unit) if disks else session
                        )
                        made = await daemon.add_path(Path(way, unit, hctl=hctl, name=device))
            assert made is not None
            yield daemon, made
        finally:
            for each in sessions:
                await each.close()


class World(Protocol):
    """What a load takes its time and its chance from: a `Lab`, or the real ones."""

    seed: int

    @property
    def now(self) -> float: ...


async def all_paths_are_back(device: MultipathDevice, within_s: int = 120) -> None:
    """Wait for it, second by second. Raises AssertionError."""
    for _ in range(within_s):
        if len(device.active_paths) == len(device.paths):
            return
        await asyncio.sleep(1)
    raise AssertionError(f"paths are still missing:\n{device}")


class Load:
    """Workers that write ``blocks`` and read them back; each has its own part of the disk.

    A block is written again only while every write to it so far went well: one that was sent again may arrive
    late, behind a newer one, on a real network too.
    """

    def __init__(
        self,
        lab: World,
        device: MultipathDevice,
        *,
        workers: int = 4,
        pause_s: float = 0.3,
        rewrites: bool = True,
        blocks: int = 1,
    ) -> None:
        self.lab, self.device = lab, device
        self.model = WriteModel(device.size // BLOCK)
        self.workers, self.pause_s, self.rewrites, self.blocks = workers, pause_s, rewrites, blocks
        self.differences: list[Difference] = []
        """What a read has shown that nobody wrote there, or not last."""
        self.writes = self.errors = 0
        self.longest_s = 0.0
        self._stop = False

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.ensure_future(self._work(number)) for number in range(self.workers)]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._stop = True
        await asyncio.gather(*self._tasks)

    async def _work(self, number: int) -> None:
        dice = stream_of(self.lab.seed, "load", str(number))
        part = self.device.size // BLOCK // self.workers
        fresh = list(range(number * part, (number + 1) * part, self.blocks))
        while not self._stop:
            at = dice.randrange(min(len(fresh), 64))
            if not await self._write(fresh[at], dice.randbytes(self.blocks * BLOCK)):
                del fresh[at]
            await asyncio.sleep(self.pause_s * dice.random())

    async def _write(self, lba: int, data: bytes) -> bool:
        """Write its blocks, read them back; whether it was simple."""
        faults, began = self.device.statistics["path_faults"], self.lab.now
        try:
            await self.device.write(lba, data)
        except ISCSIError:
            self.model.failed(lba, data)
            self.errors += 1
            return False
        self.model.wrote(lba, data)
        self.writes += 1
        self.longest_s = max(self.longest_s, self.lab.now - began)
        simple = self.device.statistics["path_faults"] == faults and self.lab.now - began < 1
        self.differences += self.model.compare(lba, await self.device.read(lba, self.blocks))
        return simple and self.rewrites

    async def verify(self) -> list[Difference]:
        """Ask for all that was ever written, through the device: what is not as it was acknowledged."""
        for lba in self.model.written:
            self.differences += self.model.compare(lba, await self.device.read(lba, 1))
        return self.differences
