"""What was not there when the host was new is named."""

from __future__ import annotations

from typing import Any

from iscsim.host.settings import HostSettings
from iscsim.lab import Lab

from .world import ARRAY, WWN, log_in, make_host, play


def test_new_host_has_nothing() -> None:
    async def story(lab: Lab) -> Any:
        return (await make_host(lab)).leftovers()

    assert play(story) == []


def test_everything_has_its_line() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab, HostSettings(find_multipaths="no"))
        host.files["/etc/new"] = b""
        host.links["/dev/disk/by-id/mine"] = "../../sda"
        host.directories["/etc/nvme"] = None
        host.mounts[f"/dev/mapper/{WWN}"] = "/mnt"
        host.changed()
        return host.leftovers()

    lines = play(story)
    kinds = [line.split()[0] for line in lines]
    assert {kind: kinds.count(kind) for kind in dict.fromkeys(kinds) if kind != "link"} == {
        "session": 2,
        "node": 2,
        "discovery": 1,
        "adapter": 2,
        "disk": 2,
        "path": 2,
        "map": 1,
        "wwid": 1,
        "mount": 1,
        "file": 1,
        "directory": 1,
    }
    assert f"session 1: 10.245.47.95:3260 {ARRAY}" in lines
    assert f"link /dev/mapper/{WWN}" in lines
    assert "link /dev/disk/by-id/mine" in lines


def test_file_of_its_own_counts_when_it_was_changed() -> None:
    async def story(lab: Lab) -> Any:
        host = await make_host(lab)
        host.files["/etc/iscsi/initiatorname.iscsi"] = b"InitiatorName=iqn.x\n"
        return host.leftovers()

    assert play(story) == ["file /etc/iscsi/initiatorname.iscsi"]
