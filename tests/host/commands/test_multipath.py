"""multipath: maps by hand."""

from __future__ import annotations

from typing import Any

import pytest

from iscsim.host.result import CommandResult
from iscsim.host.settings import HostSettings
from iscsim.lab import Lab

from ..world import WWN, log_in, play

MAPS = HostSettings(find_multipaths="no")


def run(*lines: str, settings: HostSettings = MAPS) -> list[CommandResult]:
    """Run these on a host with two paths."""

    async def story(lab: Lab) -> Any:
        host = await log_in(lab, settings)
        return [await host.execute(*line.split()) for line in lines]

    return play(story)


@pytest.mark.parametrize("name", ["", f" {WWN}", " dm-0", " /dev/sda", " sdb", f" /dev/mapper/{WWN}"])
def test_map_is_shown_by_any_of_its_names(name: str) -> None:
    (result,) = run(f"multipath -ll{name}")
    assert result.text.startswith(f"{WWN} dm-0 ISCSIM,VIRTUAL-DISK\n")
    assert result.text.count("active ready running") == 2
    assert (result.error, result.exit_code) == ("", 0)


def test_flush_adds_and_forgets() -> None:
    flush, shown, add, again, forget, unknown = run(
        f"multipath -f {WWN}",
        "multipath -ll",
        f"multipath -a {WWN}",
        "multipath -a /dev/sda",
        f"multipath -w {WWN}",
        f"multipath -w {WWN}",
    )
    assert (flush.exit_code, shown.text) == (0, "")
    assert add.text == again.text == f"wwid '{WWN}' added\n"
    assert (forget.text, forget.exit_code) == (f"wwid '{WWN}' removed\n", 0)
    assert (unknown.text, unknown.exit_code) == (f"wwid '{WWN}' not in wwids file\n", 1)


def test_flush_of_what_is_not_there_or_in_use() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab, MAPS)
        with host.multipathd.maps[WWN].open():
            used = await host.execute("multipath", "-f", WWN)
            everything = await host.execute("multipath", "-F")
        gone = await host.execute("multipath", "-F")
        return used, everything, gone, await host.execute("multipath", "-f", WWN)

    used, everything, gone, unknown = play(story)
    assert used.error.endswith(f" | {WWN}: map in use\n")
    assert [each.exit_code for each in (used, everything, gone, unknown)] == [1, 1, 0, 1]


def test_reload_makes_maps_of_what_is_known() -> None:
    shown, added, reload = run(
        "multipath -ll",
        f"multipath -a {WWN}",
        "multipath -r",
        settings=HostSettings(find_multipaths="strict"),
    )
    assert shown.text == ""
    assert added.exit_code == 0
    assert reload.text.startswith(f"reload: {WWN} ")


def test_usable_is_a_map_with_a_path_that_works() -> None:
    usable, unknown = run("multipath -C dm-0", "multipath -C dm-7")
    assert (usable.exit_code, unknown.exit_code) == (0, 1)


@pytest.mark.parametrize("line", ["multipath -Z", "multipath -f", "multipath --what"])
def test_what_is_wrong_is_one_line(line: str) -> None:
    (result,) = run(line)
    assert result.exit_code == 1
    assert len(result.error.splitlines()) == 1
