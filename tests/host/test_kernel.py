"""The kernel: SCSI hosts, disks, and what it believes."""

from __future__ import annotations

from typing import Any

import pytest

from iscsim.errors import ISCSIError
from iscsim.host.kernel import Map
from iscsim.host.settings import HostSettings
from iscsim.lab import Lab

from .world import ARRAY, LUN, PORTALS, WWN, log_in, play

OTHER = "64M,wwn=6006016074e03a008d3cf25b04e2daae"


def test_session_is_a_scsi_host_and_each_lun_a_disk() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab, HostSettings(first_scsi_host=6), luns={1: LUN, 5: OTHER})
        disks = {disk.name: str(disk.hctl) for disk in host.kernel.disks.values()}
        numbers = [disk.device_number for disk in host.kernel.disks.values()]
        await host.execute("iscsiadm", "-m", "node", "-u")
        return disks, numbers, host.kernel.disks, host.kernel.adapters

    disks, numbers, left, adapters = play(story)
    assert sorted(disks) == ["sda", "sdb", "sdc", "sdd"]
    assert sorted(disks.values()) == ["6:0:0:1", "6:0:0:5", "7:0:0:1", "7:0:0:5"]
    assert sorted(numbers) == ["8:0", "8:16", "8:32", "8:48"]
    assert (left, adapters) == ({}, {})


def test_scan_finds_only_what_it_was_asked_for_and_nothing_twice() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab)
        lab.live_target(ARRAY).add_lun(2, OTHER)
        lab.live_target(ARRAY).add_lun(3, "64M")
        counts = [len(await host.kernel.scan(2, 0, 0, 2)), len(await host.kernel.scan(2, "-", "-", 2))]
        return [*counts, len(await host.kernel.scan(2)), len(await host.kernel.scan(2))]

    assert play(story) == [1, 0, 1, 0]


def test_resized_unit_keeps_its_old_size_until_it_is_rescanned() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab)
        disk = host.kernel.disks["sda"]
        for unit in lab.live_target(ARRAY).node.units():
            unit.resize(unit.blocks * 2)
        sizes = [disk.size]
        differences = await host.kernel.differences()
        await host.kernel.rescan(disk)
        return [*sizes, disk.size], len(differences), len(await host.kernel.differences())

    sizes, before, after = play(story)
    assert sizes == [64 << 20, 128 << 20]
    assert (before, after) == (2, 1)  # the other path still has the old size


def test_deleted_disk_may_still_be_asked_what_it_was() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab)
        disk = host.kernel.disks["sda"]
        await host.kernel.delete(disk)
        await host.kernel.delete(disk)
        with pytest.raises(ISCSIError):
            await disk.read(0, 1)
        return disk.size, disk.identity.names.wwid, list(host.kernel.disks)

    assert play(story) == (64 << 20, f"naa.{WWN[1:]}", ["sdb"])


def test_name_that_is_free_again_is_used_again() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab)
        place = host.kernel.disks["sda"].hctl
        await host.kernel.delete(host.kernel.disks["sda"])
        await host.kernel.scan(place.host)
        return host.kernel.disks["sda"].hctl == place

    assert play(story)


def test_path_that_is_down_cannot_be_asked_and_is_said_so() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab)
        for portal in PORTALS:
            lab.fault("path.down", portal=portal)
        return await host.kernel.differences()

    lines = play(story, judge=False)
    assert len(lines) == 2
    assert all("cannot be asked" in line for line in lines)


def test_disks_and_maps_are_read_written_and_flushed_by_blocks() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab, HostSettings(find_multipaths="no"))
        found = host.device(f"/dev/mapper/{WWN}")
        assert isinstance(found, Map)
        await found.write(3, b"x" * 512)
        await found.flush()
        disk = host.kernel.disks["sda"]
        await disk.flush()
        return bytes(await disk.read(3, 1)), (found.size, found.block_size, found.read_only)

    assert play(story) == (b"x" * 512, (64 << 20, 512, False))
