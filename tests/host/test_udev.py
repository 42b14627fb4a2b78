"""udev: links come some time after the disk, and go with it."""

from __future__ import annotations

import asyncio
from typing import Any

from iscsim.host.settings import HostSettings
from iscsim.lab import Lab

from .world import ARRAY, WWN, log_in, make_host, play

BY_PATH = f"/dev/disk/by-path/ip-10.245.47.95:3260-iscsi-{ARRAY}-lun-1"
BY_ID = f"/dev/disk/by-id/scsi-{WWN}"
LATE = HostSettings(udev_delay_s=2)


def test_node_is_there_at_once_and_links_after_the_delay() -> None:
    async def story(lab: Lab) -> Any:
        host = await make_host(lab, LATE)
        await host.execute("iscsiadm", "-m", "discovery", "-t", "st", "-p", "10.245.47.95")
        await host.execute("iscsiadm", "-m", "node", "-l")
        seen = []
        for _ in range(2):
            seen.append([host.tree.exists(path) for path in ("/dev/sda", BY_PATH, BY_ID)])
            await asyncio.sleep(2.5)
        return seen

    assert play(story) == [[True, False, False], [True, True, True]]


def test_links_lead_to_the_disk_and_to_the_map_once_there_is_one() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab)
        before = host.device_name(BY_ID)
        await host.multipathd.add_path("sda")
        await host.multipathd.add_path("sdb")
        with_map = host.device_name(BY_ID), host.device_name(f"/dev/disk/by-id/dm-uuid-mpath-{WWN}")
        paths = host.device_name(BY_PATH)
        host.multipathd.flush(WWN)
        return before, with_map, paths[:2], host.device_name(BY_ID)

    before, with_map, path, after = play(story)
    assert (before, after) == ("sda", "sda")
    assert with_map == ("dm-0", "dm-0")
    assert path == "sd"


def test_disk_that_goes_before_udev_has_looked_leaves_nothing() -> None:
    async def story(lab: Lab) -> Any:
        host = await make_host(lab, LATE)
        await host.execute("iscsiadm", "-m", "discovery", "-t", "st", "-p", "10.245.47.95")
        await host.execute("iscsiadm", "-m", "node", "-l")
        busy = host.udev.busy
        await host.execute("iscsiadm", "-m", "node", "-u")
        await host.execute("iscsiadm", "-m", "node", "-o", "delete")
        await host.settle()
        return busy, [each for each in host.leftovers() if not each.startswith("discovery")]

    assert play(story) == (2, [])


def test_properties_are_those_udevadm_shows() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab)
        return (await host.execute("udevadm", "info", "/dev/sda")).text, host.kernel.disks["sda"].properties

    text, properties = play(story)
    assert properties["ID_SERIAL"] == WWN
    assert f"E: ID_SERIAL={WWN}\n" in text
