"""multipathd on the host: which disks it takes, which names it keeps, what it misses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from iscsim.errors import ConfigError
from iscsim.host.multipathd import WWIDS
from iscsim.host.settings import HostSettings
from iscsim.initiator.multipath import MapInUse
from iscsim.lab import Lab

from .world import PORTALS, WWN, log_in, make_host, play


@pytest.mark.parametrize(
    ("mode", "portals", "known", "maps"),
    [
        ("no", 1, False, 1),
        ("greedy", 1, False, 1),
        ("yes", 1, False, 0),
        ("yes", 2, False, 1),
        ("strict", 2, False, 0),
        ("strict", 1, True, 1),
    ],
)
def test_find_multipaths_says_what_gets_a_map(mode: str, portals: int, known: bool, maps: int) -> None:
    async def story(lab: Lab) -> Any:
        host = await make_host(lab, HostSettings(find_multipaths=mode), portals=PORTALS[:portals])
        if known:
            host.multipathd.add_wwid(WWN)
        await host.execute("iscsiadm", "-m", "discovery", "-t", "st", "-p", PORTALS[0])
        await host.execute("iscsiadm", "-m", "node", "-l")
        await host.settle()
        return [len(device.paths) for device in host.multipathd.maps.values()]

    assert play(story) == [portals] * maps


def test_map_comes_after_its_delay_and_writes_its_name_down() -> None:
    async def story(lab: Lab) -> Any:
        host = await make_host(lab, HostSettings(find_multipaths="no", udev_delay_s=1, multipathd_delay_s=2))
        await host.execute("iscsiadm", "-m", "discovery", "-t", "st", "-p", PORTALS[0])
        await host.execute("iscsiadm", "-m", "node", "-l")
        begun, counts = lab.now, []
        for when in (2.5, 3.5):
            await asyncio.sleep(begun + when - lab.now)
            counts.append(len(host.multipathd.maps))
        return counts, host.files[WWIDS]

    counts, text = play(story)
    assert counts == [0, 1]
    assert text == f"# Multipath wwids, Version : 1.0\n# Valid WWIDs:\n/{WWN}/\n".encode()


def test_wwids_are_a_file_anybody_may_write() -> None:
    async def story(lab: Lab) -> Any:
        host = await make_host(lab)
        host.files[WWIDS] = b"# mine\n/a/\nnonsense\n/b/\n"
        added = [host.multipathd.add_wwid(name) for name in ("b", "c")]
        removed = [host.multipathd.remove_wwid(name) for name in ("a", "z")]
        return added, removed, host.multipathd.wwids

    assert play(story) == ([False, True], [True, False], ["b", "c"])


def test_map_that_is_open_is_not_flushed_and_outlives_its_paths() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab, HostSettings(find_multipaths="no"))
        device = host.multipathd.maps[WWN]
        with device.open():
            with pytest.raises(MapInUse, match="map in use"):
                host.multipathd.flush(WWN)
            await host.execute("iscsiadm", "-m", "node", "-u")
            left = [len(each.paths) for each in host.multipathd.maps.values()]
        host.multipathd.flush(WWN)
        with pytest.raises(ConfigError):
            host.multipathd.flush(WWN)
        return left, host.multipathd.maps

    assert play(story) == ([0], {})


@pytest.mark.parametrize("queues", [True, False])
def test_last_path_takes_the_map_along_unless_that_queues(queues: bool) -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab, HostSettings(find_multipaths="no", queue_if_no_path=queues))
        await host.execute("iscsiadm", "-m", "node", "-u")
        return len(host.multipathd.maps)

    assert play(story) == int(queues)


@pytest.mark.parametrize("misses", [True, False])
def test_daemon_that_misses_removals_keeps_the_path(misses: bool) -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab, HostSettings(multipathd_misses_removals=misses))
        await host.execute("iscsiadm", "-m", "node", "-u")
        before = list(host.multipathd.paths)
        for name in before:
            host.multipathd.remove_path(name)
        return len(before), host.multipathd.paths

    assert play(story) == (2 if misses else 0, {})


def test_daemon_that_does_not_run_takes_nothing() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab, HostSettings(find_multipaths="no", multipathd_running=False))
        return host.multipathd.maps, host.multipathd.paths

    assert play(story) == ({}, {})


def test_session_behind_a_path_gives_up_after_five_seconds() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab)
        sessions = [each.session for each in host.iscsid.sessions.values()]
        await host.multipathd.add_path("sda")
        behind = host.kernel.disks["sda"].adapter.session
        return [each.settings.replacement_timeout for each in sessions if each is behind], [
            each.settings.replacement_timeout for each in sessions if each is not behind
        ]

    assert play(story) == ([5], [120])


def test_friendly_names_are_counted() -> None:
    async def story(lab: Lab) -> Any:
        luns = {1: "64M", 2: "64M"}
        settings = HostSettings(find_multipaths="no", user_friendly_names=True)
        host = await log_in(lab, settings, luns=luns)
        return sorted(device.alias for device in host.multipathd.maps.values())

    assert play(story) == ["mpatha", "mpathb"]


def test_path_that_is_not_there_cannot_be_added_or_removed() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab)
        with pytest.raises(KeyError):
            await host.multipathd.add_path("sdz")
        with pytest.raises(KeyError):
            host.multipathd.remove_path("sdz")

    play(story)
