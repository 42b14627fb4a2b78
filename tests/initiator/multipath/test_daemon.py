"""multipathd's rounds: when paths are checked, and what follows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from initiator.multipath.straw import WWN, Array

from iscsim.errors import ConfigError, SessionFailed
from iscsim.initiator.device_state import DeviceEvent
from iscsim.initiator.disposition import DeviceEventKind
from iscsim.initiator.multipath import MapInUse, MultipathDaemon, MultipathDevice, Path
from iscsim.initiator.multipath.states import CheckerState
from iscsim.lab.addresses import run_virtual
from iscsim.scsi.asymmetric_access import AccessState

SDA, SDB = "2:0:0:1 sda", "3:0:0:1 sdb"
Story = Callable[[MultipathDaemon, MultipathDevice], Awaitable[None]]


def play(story: Story, array: Array, *names: str, **overrides: Any) -> None:
    """Run ``story`` with a daemon that has one map, in virtual time."""

    async def main() -> None:
        async with MultipathDaemon(overrides=overrides) as daemon:
            for path in array.paths(*(names or (SDA, SDB)), vendor="TEST"):
                device = await daemon.add_path(path)
            assert device is not None
            await story(daemon, device)

    run_virtual(main())


def pull(path: Path) -> None:
    path.session.error = SessionFailed("pulled")


def plug(path: Path) -> None:
    path.session.error = None


def active(device: MultipathDevice) -> list[str]:
    assert device.current_group is not None
    return [path.name for path in device.current_group.paths]


def test_interval_doubles_while_a_path_is_well() -> None:
    async def story(daemon: MultipathDaemon, device: MultipathDevice) -> None:
        times: list[float] = []
        loop = asyncio.get_running_loop()
        daemon.listeners.append(lambda device: times.append(loop.time()))
        await asyncio.sleep(100)
        assert times == [5, 15, 35, 55, 75, 95]

    play(story, Array(both_active=True), SDA)


def test_path_is_down_within_an_interval_and_looked_after_every_five_seconds() -> None:
    async def story(daemon: MultipathDaemon, device: MultipathDevice) -> None:
        path = device.paths[0]
        await asyncio.sleep(36)
        pull(path)
        await asyncio.sleep(20)
        assert (path.checker_state, path.is_active) == (CheckerState.DOWN, False)
        assert path.failure == "checker tur says down"
        plug(path)
        await asyncio.sleep(5)
        assert (path.checker_state, path.is_active) == (CheckerState.UP, True)

    play(story, Array(both_active=True))


def test_path_that_io_has_failed_is_checked_soon() -> None:
    async def story(daemon: MultipathDaemon, device: MultipathDevice) -> None:
        await asyncio.sleep(36)
        device.fail_path(device.paths[0], "a command")
        await asyncio.sleep(5.5)
        assert device.paths[0].is_active

    play(story, Array(both_active=True))


def test_silent_path_does_not_hold_up_the_others() -> None:
    async def story(daemon: MultipathDaemon, device: MultipathDevice) -> None:
        first, second = device.paths
        run = first.session.run

        async def late(*arguments: Any) -> Any:
            await asyncio.sleep(30)
            return await run(*arguments)

        first.session.run = late
        pull(second)
        await asyncio.sleep(16)
        assert [path.is_active for path in device.paths] == [True, False]

    play(story, Array(both_active=True))


@pytest.mark.parametrize(
    "failback,seconds,expected",
    [
        ("immediate", 6, "sda"),
        ("manual", 60, "sdb"),
        (10, 11, "sdb"),
        (10, 12, "sda"),
        ("followover", 6, "sda"),
    ],
)
def test_failback(failback: str | int, seconds: float, expected: str) -> None:
    async def story(daemon: MultipathDaemon, device: MultipathDevice) -> None:
        first = device.paths[0]
        pull(first)
        await asyncio.sleep(9.5)
        assert active(device) == ["sdb"]
        plug(first)
        await asyncio.sleep(seconds)
        assert active(device) == [expected]

    play(story, Array(both_active=True), failback=failback)


def test_followover_waits_for_the_first_path_of_the_better_group() -> None:
    async def story(daemon: MultipathDaemon, device: MultipathDevice) -> None:
        device.groups[1].paths[0].priority = 90
        await asyncio.sleep(60)
        assert active(device) == ["sda"]

    play(story, Array(both_active=True), failback="followover", detect_prio=False)


def test_io_gives_up_after_no_path_retry_checks() -> None:
    async def story(daemon: MultipathDaemon, device: MultipathDevice) -> None:
        pull(device.paths[0])
        loop = asyncio.get_running_loop()
        with pytest.raises(SessionFailed, match="no path left"):
            await device.read(0, 1)
        assert loop.time() == pytest.approx(3 * 5 + 1)
        assert device.statistics["failures"] == device.statistics["q_timeouts"] == 1
        plug(device.paths[0])
        await asyncio.sleep(6)
        assert device.queue_if_no_path
        await device.read(0, 1)

    play(story, Array(both_active=True), SDA, no_path_retry=3)


def test_controller_failover_forms_the_groups_anew() -> None:
    async def story(daemon: MultipathDaemon, device: MultipathDevice) -> None:
        array = device.paths[0].session.array
        assert [path.priority for path in device.paths] == [50, 10]
        array.owner = 1
        await asyncio.sleep(20)
        assert ([path.priority for path in device.paths], active(device)) == ([10, 50], ["sdb"])

    play(story, Array(tpgs=1), path_grouping_policy="group_by_prio", failback="immediate")


def test_standby_is_ghost_and_is_not_reinstated_when_only_the_array_can_change_it() -> None:
    async def story(daemon: MultipathDaemon, device: MultipathDevice) -> None:
        first, second = device.paths
        array = first.session.array
        pull(second)
        await asyncio.sleep(20)
        array.states[1] = AccessState.STANDBY
        device.fail_path(first, "a command")
        await asyncio.sleep(20)
        assert (first.checker_state, first.is_active) == (CheckerState.GHOST, False)
        array.states.clear()
        await asyncio.sleep(5)
        assert (first.checker_state, first.is_active) == (CheckerState.UP, True)

    play(story, Array(tpgs=1))


def test_standby_path_beside_one_that_works_is_reinstated() -> None:
    async def story(daemon: MultipathDaemon, device: MultipathDevice) -> None:
        first = device.paths[0]
        first.session.array.states[1] = AccessState.STANDBY
        device.fail_path(first, "a command")
        await asyncio.sleep(20)
        assert (first.checker_state, first.is_active, first.priority) == (CheckerState.GHOST, True, 1)
        assert active(device) == ["sdb"]

    play(story, Array(tpgs=1), path_grouping_policy="group_by_prio", failback="immediate")


def test_standby_that_a_command_meets_has_all_paths_asked_within_a_second() -> None:
    async def story(daemon: MultipathDaemon, device: MultipathDevice) -> None:
        await asyncio.sleep(36)
        array = device.paths[0].session.array
        array.states |= {1: AccessState.STANDBY, 2: AccessState.ACTIVE_OPTIMIZED}
        await device.read(0, 1)
        await asyncio.sleep(1.5)
        assert [path.priority for path in device.paths] == [1, 50]
        assert device.paths[0].checker_state is CheckerState.GHOST

    play(story, Array(tpgs=1), path_grouping_policy="group_by_prio", failback="immediate")


def test_device_that_hears_of_access_states_has_all_paths_asked() -> None:
    async def story(daemon: MultipathDaemon, device: MultipathDevice) -> None:
        (path,) = Array(tpgs=1).paths("5:0:0:1 sdf", vendor="TEST")
        path.session.listeners = []
        await daemon.add_path(path)
        await asyncio.sleep(36)
        (listener,) = path.session.listeners
        listener(DeviceEvent(path.session, DeviceEventKind.CAPACITY_DATA_HAS_CHANGED))
        assert path.tick > 1
        listener(DeviceEvent(path.session, DeviceEventKind.ASYMMETRIC_ACCESS_STATE_CHANGED))
        assert [each.tick for each in device.paths] == [1, 1]

    play(story, Array(tpgs=1), SDA)


def test_bypassed_group_is_used_again_once_a_path_of_it_comes_up() -> None:
    async def story(daemon: MultipathDaemon, device: MultipathDevice) -> None:
        device.groups[0].bypassed = True
        device.fail_path(device.paths[0], "a command")
        await asyncio.sleep(6)
        assert [group.bypassed for group in device.groups] == [False, False]

    play(story, Array(both_active=True))


# -- maps ------------------------------------------------------------------------------------------


async def daemon_with(*names: str, **overrides: Any) -> tuple[MultipathDaemon, MultipathDevice]:
    daemon = MultipathDaemon(overrides=overrides)
    for path in Array(both_active=True).paths(*names, vendor="TEST"):
        device = await daemon.add_path(path)
    assert device is not None
    return daemon, device


async def test_paths_of_one_wwn_share_a_map_and_others_have_their_own() -> None:
    daemon, device = await daemon_with(SDA, SDB)
    (other,) = Array().paths("2:0:0:2 sdc", wwn="3600c")
    await daemon.add_path(other)
    assert [(each.wwn, each.minor, len(each.paths)) for each in daemon.maps.values()] == [
        (WWN, 0, 2),
        ("3600c", 1, 1),
    ]
    assert daemon.find("dm-0") is daemon.find(WWN) is daemon.find("sdb") is device


async def test_lunz_and_what_has_no_wwn_is_no_path() -> None:
    daemon = MultipathDaemon()
    for unit in ({"product": "LUNZ"}, {"wwn": ""}):
        assert await daemon.add_path(*Array().paths(SDA, **unit)) is None
    assert daemon.maps == {}


async def test_map_in_use_is_not_flushed() -> None:
    daemon, device = await daemon_with(SDA)
    with device.open(), pytest.raises(MapInUse, match=f"{WWN}: map in use"):
        daemon.flush(WWN)
    daemon.flush("dm-0")
    assert (daemon.maps, device.is_removed) == ({}, True)
    with pytest.raises(ConfigError, match="no multipath map"):
        daemon.flush(WWN)


async def test_last_path_takes_its_map_along_unless_that_queues() -> None:
    for retry, left in (("fail", []), ("queue", [WWN])):
        daemon, device = await daemon_with(SDA, SDB, no_path_retry=retry)
        for path in list(device.paths):
            assert list(daemon.maps) == [WWN]
            daemon.remove_path(path)
        assert list(daemon.maps) == left


async def test_alias_is_given_once() -> None:
    daemon, device = await daemon_with(SDA)
    await daemon.add_path(*Array().paths("2:0:0:2 sdc", wwn="3600c"))
    daemon.rename(WWN, "mpatha")
    assert daemon.find("mpatha") is device
    with pytest.raises(ConfigError, match="already"):
        daemon.rename("3600c", "mpatha")


async def test_path_is_added_once() -> None:
    daemon, device = await daemon_with(SDA)
    assert await daemon.add_path(device.paths[0]) is device
    assert len(device.paths) == 1


async def test_check_all_asks_every_path_now() -> None:
    daemon, device = await daemon_with(SDA, SDB)
    pull(device.paths[1])
    await daemon.check_all()
    assert [path.checker_state.value for path in device.paths] == ["up", "down"]
