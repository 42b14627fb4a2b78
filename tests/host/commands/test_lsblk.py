"""lsblk in the forms of the recordings."""

from __future__ import annotations

from typing import Any

import pytest

from iscsim.host.commands.lsblk import shown_size
from iscsim.host.settings import HostSettings, LocalDisk
from iscsim.lab import Lab

from ..world import WWN, log_in, play

LOCAL = (
    LocalDisk("vda", "254:0", 20 << 30),
    LocalDisk("vda1", "254:1", 19 << 30, "part", "/", parent="vda"),
)


def run(*arguments: str) -> tuple[str, int]:
    """Its output and exit code."""

    async def story(lab: Lab) -> Any:
        host = await log_in(lab, HostSettings(find_multipaths="no", local_disks=LOCAL))
        result = await host.execute("lsblk", *arguments)
        return result.text or result.error, result.exit_code

    return play(story)


def test_tree_has_the_map_below_each_of_its_paths() -> None:
    text, code = run()
    lines = text.splitlines()
    assert lines[0].split() == ["NAME", "MAJ:MIN", "RM", "SIZE", "RO", "TYPE", "MOUNTPOINTS"]
    assert [line.split()[0] for line in lines[1:]] == ["sda", f"└─{WWN}", "sdb", f"└─{WWN}", "vda", "└─vda1"]
    assert lines[-1].endswith("part  /")
    assert code == 0


def test_list_of_names_as_newton_asks_for_it() -> None:
    text, _ = run("-o", "NAME,RO", "-l", "-n")
    assert [line.split() for line in text.splitlines()] == [
        ["sda", "0"],
        [WWN, "0"],
        ["sdb", "0"],
        [WWN, "0"],
        ["vda", "0"],
        ["vda1", "0"],
    ]


def test_one_device_only_or_none() -> None:
    assert run("-n", "-l", "-o", "NAME", "/dev/sda") == ("sda\n", 0)
    assert run("/dev/sdz")[1] == 32
    assert run("-o", "NOTHING") == ("lsblk: unknown column: NOTHING\n", 1)


@pytest.mark.parametrize(
    ("size", "text"),
    [(512, "512B"), (1024, "1K"), (64 << 20, "64M"), (3 << 29, "1.5G"), (3 << 30, "3G"), (1 << 60, "1024P")],
)
def test_sizes(size: int, text: str) -> None:
    assert shown_size(size) == text
