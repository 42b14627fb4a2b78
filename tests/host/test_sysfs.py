"""/sys is the model, and leads where Linux's does."""

from __future__ import annotations

from typing import Any

from iscsim.host.settings import HostSettings
from iscsim.host.tree import Link
from iscsim.lab import Lab

from .world import ARRAY, PORTALS, WWN, log_in, play

MAPS = HostSettings(find_multipaths="no")


def test_every_link_leads_somewhere() -> None:
    async def story(lab: Lab) -> Any:
        tree = (await log_in(lab, MAPS)).tree
        return [
            path for path, entry in tree.entries.items() if isinstance(entry, Link) and not tree.exists(path)
        ]

    assert play(story) == []


def test_paths_os_brick_looks_at() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab, MAPS)
        disk = host.kernel.disks["sda"]
        number, sid = disk.adapter.number, disk.adapter.sid
        tree = host.tree
        target = f"/sys/class/scsi_host/host{number}/device/session{sid}/target{number}:0:0/{disk.hctl}/block"
        return (
            tree.listdir(target),
            tree.exists(f"/sys/class/iscsi_host/host{number}/device/session{sid}/target{number}:0:0"),
            [tree.read(f"/sys/block/{name}").decode() for name in ("sda/device/wwid", "dm-0/dm/uuid")],
            tree.listdir("/sys/block/sda/holders"),
            tree.listdir("/sys/class/block/dm-0/slaves"),
            tree.resolve("/sys/block/dm-0/slaves/sda") == tree.resolve("/sys/block/sda"),
            tree.exists(f"/sys/bus/scsi/drivers/sd/{disk.hctl}/rescan"),
        )

    listed, session, names, holders, slaves, same, rescan = play(story)
    assert (listed, session, holders, slaves) == (["sda"], True, ["dm-0"], ["sda", "sdb"])
    assert names == [f"naa.{WWN[1:]}\n", f"mpath-{WWN}\n"]
    assert (same, rescan) == (True, True)


def test_size_is_in_sectors_of_512_bytes() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab, MAPS)
        return [host.tree.read(f"/sys/block/{name}/size") for name in ("sda", "dm-0")]

    assert play(story) == [b"131072\n", b"131072\n"]


def test_state_of_a_session_that_has_lost_its_connection() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab)
        paths = ("iscsi_session/session1/state", "iscsi_session/session1/targetname")
        before = [host.tree.read(f"/sys/class/{path}").decode().strip() for path in paths]
        for portal in PORTALS:
            lab.fault("path.down", portal=portal)
        await host.execute("scsi_id", "/dev/sda")
        return before, host.tree.read("/sys/class/iscsi_session/session1/state").decode().strip()

    before, after = play(story, judge=False)
    assert before == ["LOGGED_IN", ARRAY]
    assert after in ("FAILED", "FREE")
