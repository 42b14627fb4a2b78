"""Two portals of tgt, one of whose connections die again and again: no error, and every path comes back.

``ISCSIM_SOAK_SECONDS=60`` goes on for a minute, as ``make soak`` does.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path as FilePath

import pytest
from interop.breaker import Breaker
from interop.test_initiator_on_tgt import (
    INITIATOR,
    PASSWORD,
    TARGET,
    USER,
    Tgt,
    start,
    stop,
)
from simulation.multipath_world import BLOCK, Load, all_paths_are_back

import iscsim
from iscsim.initiator import NodeSettings, log_in
from iscsim.initiator.device_state import HCTL
from iscsim.initiator.multipath import MultipathDaemon, Path
from iscsim.initiator.scsi_device import SCSIDevice

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        not (shutil.which("tgtd") and shutil.which("tgtadm")), reason="tgt is missing: apt install tgt"
    ),
]

LASTS_S = float(os.environ.get("ISCSIM_SOAK_SECONDS", "10"))
SIZE = 64 << 20
SETTINGS = NodeSettings.from_mapping(
    {
        "node.session.auth.authmethod": "CHAP",
        "node.session.auth.username": USER,
        "node.session.auth.password": PASSWORD,
        "node.session.timeo.replacement_timeout": "1",
    }
)
MAP = {"no_path_retry": "fail", "path_grouping_policy": "multibus", "failback": "immediate"}
CHECKS = {"polling_interval": 1, "max_polling_interval": 2}


class RealTime:
    """What a load takes its time and chance from."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()


@pytest.fixture
def tgt(tmp_path: FilePath) -> Iterator[Tgt]:
    """A tgtd that asks for CHAP, with a disk of 64 MiB."""
    started = start(tmp_path)
    try:
        lun = ("--mode", "logicalunit", "--tid", "1", "--lun", "1")
        started.admin("--op", "delete", *lun)
        with started.disk.open("wb") as file:
            file.truncate(SIZE)
        started.admin("--op", "new", *lun, "-b", str(started.disk))
        started.admin("--op", "new", "--mode", "account", "--user", USER, "--password", PASSWORD)
        started.admin("--op", "bind", "--mode", "account", "--tid", "1", "--user", USER)
        yield started
    finally:
        stop(started)


async def path_through(portal: str, number: int, stack: AsyncExitStack) -> Path:
    """Discovery, a session that lives, its disk, a path."""
    (found,) = await iscsim.discover(portal, initiator_name=INITIATOR)
    assert found.name == TARGET
    session = await log_in(portal, found.name, initiator_name=INITIATOR, settings=SETTINGS, sid=number)
    await stack.enter_async_context(session)
    (unit,) = [unit for unit in await session.scan() if unit.size]
    disk = SCSIDevice(session, HCTL(number, 0, 0, unit.number), unit, name=f"sd{'_ab'[number]}")
    return Path(disk, unit, hctl=str(disk.hctl), name=disk.name)


async def kill_again_and_again(breaker: Breaker) -> int:
    """For so many seconds, soon after each login and some in the middle of one: how many connections."""
    dice, killed = random.Random(5), 0
    with suppress(TimeoutError):
        async with asyncio.timeout(LASTS_S):
            while True:
                breaker.taken.clear()
                killed += dice.choice([breaker.reset, breaker.finish])()
                await breaker.taken.wait()
                await asyncio.sleep(dice.choice([0, 0.5, 2]) * dice.random())
    return killed


async def test_nothing_is_lost_while_the_connections_of_a_portal_die(tgt: Tgt) -> None:
    async with asyncio.timeout(LASTS_S + 60), AsyncExitStack() as stack:
        breaker = await stack.enter_async_context(Breaker(tgt.portals[0]))
        daemon = await stack.enter_async_context(MultipathDaemon(overrides=MAP | CHECKS))
        for number, portal in enumerate((breaker.portal, tgt.portals[1]), 1):
            device = await daemon.add_path(await path_through(portal, number, stack))
        assert device is not None
        async with Load(RealTime(1), device, pause_s=0.01, blocks=16) as load:
            killed = await kill_again_and_again(breaker)
            await all_paths_are_back(device)
        await device.flush()
        assert (load.errors, await load.verify()) == (0, [])
        assert killed >= LASTS_S / 5
        assert load.model.differences(on_disk(tgt)) == []
    print(f"{killed} connections killed, {load.writes} writes, none longer than {load.longest_s:.1f} s")


def on_disk(tgt: Tgt) -> Callable[[int, int], bytes]:
    content = tgt.disk.read_bytes()
    return lambda lba, blocks: content[lba * BLOCK : (lba + blocks) * BLOCK]
