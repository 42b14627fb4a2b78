"""multipathd as a client."""

from __future__ import annotations

from typing import Any

import pytest

from iscsim.host.settings import HostSettings
from iscsim.lab import Lab

from ..world import ARRAY, WWN, log_in, play

MAPS = HostSettings(find_multipaths="no")
STRICT = HostSettings()


def ask(*lines: str, settings: HostSettings = MAPS) -> list[tuple[str, int]]:
    """Its output and exit code."""

    async def story(lab: Lab) -> Any:
        host = await log_in(lab, settings)
        results = [await host.execute("multipathd", *line.split()) for line in lines]
        return [(result.text, result.exit_code) for result in results]

    return play(story)


def test_status_counts_paths_by_their_state() -> None:
    ((text, code),) = ask("show status")
    assert text == "path checker states:\nup                  2\n\npaths: 2\nbusy: False\n"
    assert code == 0


def test_paths_with_a_format_of_the_askers_and_disks_without_a_map() -> None:
    for settings in (MAPS, STRICT):
        ((text, _),) = ask("show paths raw format %d", settings=settings)
        assert sorted(text.split()) == ["sda", "sdb", "vda"]


def test_paths_are_added_and_removed() -> None:
    answers = ask(
        "add path sda", "add path sdz", "show maps raw format %w", "del path sda", "del path sda", "add path"
    )
    assert [code for _, code in answers] == [0, 1, 0, 0, 1, 1]
    assert [text.strip() for text, _ in answers] == ["ok", "fail", WWN, "ok", "fail", "fail"]


def test_maps_are_removed_and_resized() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab, MAPS)
        for unit in lab.live_target(ARRAY).node.units():
            unit.resize(unit.blocks * 2)
        found = []
        for disk in list(host.kernel.disks.values()):
            await host.kernel.rescan(disk)
        for words in (f"resize map {WWN}", "resize map dm-9", "del map dm-0", "del map dm-0"):
            found.append((await host.execute("multipathd", *words.split())).exit_code)
        return found

    assert play(story) == [0, 1, 0, 1]


def test_no_daemon_no_answer() -> None:
    settings = HostSettings(multipathd_running=False)
    assert ask("show status", "reconfigure", settings=settings) == [("", 1), ("", 1)]


@pytest.mark.parametrize("line", ["-k show status", "-kshow status", "show status"])
def test_words_may_come_with_k(line: str) -> None:
    assert ask(line) == ask("show status")


def test_topology_is_that_of_multipath() -> None:
    ((text, _),) = ask("show topology")
    assert text.startswith(f"{WWN} dm-0 ISCSIM,VIRTUAL-DISK\n")
    assert ask("show nothing", "") == [("fail\n", 1), ("fail\n", 1)]
