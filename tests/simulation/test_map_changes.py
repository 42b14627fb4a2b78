"""Maps that change while I/O runs: paths come and go, the unit grows; a SCSI device may be a path."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from simulation.multipath_world import PORTALS, Load, multipath

from iscsim.errors import SessionFailed
from iscsim.initiator.device_state import HCTL
from iscsim.initiator.multipath import MapInUse, MultipathDaemon, MultipathDevice, Path
from iscsim.initiator.scsi_device import SCSIDevice
from iscsim.initiator.settings import NodeSettings
from iscsim.lab import Lab, LiveTarget

QUEUE = {"no_path_retry": "queue", "path_grouping_policy": "multibus"}


async def one_more_path(lab: Lab, target: LiveTarget, number: int) -> Path:
    session = await lab.host("compute").log_in(target, PORTALS[number])
    (unit,) = await session.scan()
    return Path(session, unit, hctl=f"{number + 9}:0:0:1", name=f"sd{'yz'[number]}")


def test_paths_come_and_go_and_the_unit_grows_while_it_is_used() -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target(portals=PORTALS, luns={1: "1M"})
        async with multipath(lab, target, 1, **QUEUE) as (daemon, device), Load(lab, device) as load:
            sessions = [path.session for path in device.paths]
            for number in (0, 1):
                await asyncio.sleep(3)
                added = await one_more_path(lab, target, number)
                assert await daemon.add_path(added) is device
                sessions.append(added.session)
                await asyncio.sleep(3)
                gone = device.paths[0]
                daemon.remove_path(gone)
                used = gone.commands
                await asyncio.sleep(3)
                assert gone.commands == used
            (unit,) = target.node.units(1)
            unit.resize(4096)
            assert await device.resize() == 2 << 20
            await asyncio.sleep(3)
            assert [path.name for path in device.paths] == ["sdy", "sdz"]
            assert all(path.commands for path in device.paths)
        assert (load.errors, load.differences) == (0, [])
        for session in sessions:
            await session.close()

    Lab.run(main, seed=1)


def test_map_survives_without_paths_and_its_io_waits() -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target(portals=PORTALS, luns={1: "1M"})
        async with multipath(lab, target, 1, **QUEUE) as (daemon, device):
            async with Load(lab, device) as load:
                await asyncio.sleep(2)
                paths = list(device.paths)
                for path in paths:
                    daemon.remove_path(path)
                before = load.writes
                await asyncio.sleep(30)
                assert (load.writes, list(daemon.maps.values())) == (before, [device])
                await daemon.add_path(paths[1])
                await asyncio.sleep(2)
                assert load.writes > before
            assert (load.errors, await load.verify()) == (0, [])
            await paths[0].session.close()

    Lab.run(main, seed=2)


def test_flush_waits_for_nobody_and_refuses_while_the_map_is_in_use() -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target(portals=PORTALS, luns={1: "1M"})
        async with multipath(lab, target, 1, **QUEUE) as (daemon, device):
            sessions = [path.session for path in device.paths]
            with device.open():
                with pytest.raises(MapInUse):
                    daemon.flush(device.wwn)
                await device.write(0, b"x" * 512)
            daemon.flush(device.wwn)
            for path in list(device.paths):
                device.remove_path(path)
            with pytest.raises(SessionFailed):
                await device.read(0, 1)
            for session in sessions:
                await session.close()

    Lab.run(main, seed=3)


def test_scsi_devices_are_paths() -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target(portals=PORTALS, luns={1: "1M"})
        host = lab.host("compute")
        async with MultipathDaemon(overrides={"no_path_retry": "queue"}) as daemon:
            sessions: list[Any] = []
            for number, portal in enumerate(PORTALS):
                session = await host.log_in(target, portal, settings=NodeSettings(replacement_timeout=5))
                sessions.append(session)
                (unit,) = await session.scan()
                disk = SCSIDevice(session, HCTL(number, 0, 0, 1), unit, name=f"sd{'ab'[number]}")
                device = await daemon.add_path(Path(disk, unit, hctl=str(disk.hctl), name=disk.name))
            assert isinstance(device, MultipathDevice)
            rule = lab.fault("path.down", portal=PORTALS[0])
            async with Load(lab, device) as load:
                await asyncio.sleep(40)
                assert [path.is_active for path in device.paths] == [False, True]
                rule.until(lab.now)
                await asyncio.sleep(60)
            assert [path.is_active for path in device.paths] == [True, True]
            assert (load.errors, await load.verify()) == (0, [])
            device.paths[1].session.take_offline("given up")
            await daemon.check_all()
            assert "sdb 8:16 failed faulty offline" in str(device)
            for session in sessions:
                await session.close()

    Lab.run(main, seed=4)
