"""One device out of several paths: grouping, policies, failing over and coming back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from initiator.multipath.straw import Array
from initiator.multipath.straw import device as straw_device

from iscsim.errors import ConfigError, ConnectionFailed, SessionFailed
from iscsim.initiator.client import connect
from iscsim.initiator.multipath import (
    POLICIES,
    MapSettings,
    MultipathDevice,
    Path,
    PathState,
    Policy,
    group_paths,
    settings_for,
)
from iscsim.initiator.portal import Portal
from iscsim.initiator.scan import LogicalUnitInfo
from iscsim.initiator.task import CommandTimedOut
from iscsim.lab.addresses import run_virtual
from iscsim.scsi.asymmetric_access import AccessState
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.sense import CommandFailed, Sense, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.store import MemoryStore

WWN = "36006016015e03a00ab2df25bb82d0ea9"


@pytest.fixture
async def sessions(target: Any) -> AsyncIterator[list[Any]]:
    """A session through each of two portals."""
    first, second = target.portals
    async with connect(str(first), target.name) as one, connect(str(second), target.name) as two:
        yield [one, two]


# -- with a real target ----------------------------------------------------------------------------


async def test_two_portals_are_two_paths_of_one_device(sessions: list[Any], target: Any) -> None:
    (device,) = await group_paths(sessions)
    assert [path.session for path in device.paths] == sessions
    assert (device.size, device.block_size, len(device.wwn)) == (8 << 20, 512, 33)
    await device.write(4, b"m" * 1024)
    await device.flush()
    assert [await device.read(4, 2) for _ in range(4)] == [b"m" * 1024] * 4


async def test_every_unit_is_a_device_of_its_own(sessions: list[Any], target: Any) -> None:
    target.node.add_lun(2, LogicalUnit(MemoryStore(64), serial="two"))
    devices = await group_paths(sessions)
    assert [(device.unit.number, len(device.paths)) for device in devices] == [(1, 2), (2, 2)]


async def test_lost_session_does_not_stop_reading(sessions: list[Any], target: Any) -> None:
    (device,) = await group_paths(sessions)
    sessions[0]._protocol._transport.abort()
    await asyncio.gather(*(device.read(block, 1) for block in range(50)))
    assert [path.state for path in device.paths] == [PathState.FAILED, PathState.ACTIVE]
    assert device.paths[0].failure


async def test_no_path_left_says_why_for_each(sessions: list[Any], target: Any) -> None:
    (device,) = await group_paths(sessions)
    await target.server.close()
    with pytest.raises(SessionFailed, match=f"{device.wwn} has no path left") as caught:
        await device.read(0, 1)
    assert all(str(portal) in str(caught.value) for portal in target.portals)


async def test_what_the_unit_says_is_not_tried_elsewhere(sessions: list[Any]) -> None:
    (device,) = await group_paths(sessions)
    with pytest.raises(CommandFailed, match="out of range"):
        await device.read(16384, 1)
    assert len(device.active_paths) == 2


async def test_check_finds_a_path_that_is_well_again(sessions: list[Any]) -> None:
    (device,) = await group_paths(sessions)
    device.fail_path(device.paths[1], "a test")
    assert await device.check() == device.paths


async def test_check_fails_a_path_to_another_disk(sessions: list[Any], target: Any) -> None:
    (device,) = await group_paths(sessions)
    target.node.lun_map.remove(1)
    assert await device.check() == []
    target.node.add_lun(1, LogicalUnit(MemoryStore(16384), serial="another"))
    assert await device.check() == []
    assert "differ in wwn" in device.paths[0].failure


# -- with paths of straw ---------------------------------------------------------------------------


class FakeSession:
    """Counts what it is asked for; ``error`` is raised instead of an answer."""

    scanned = True

    def __init__(self, number: int, **unit: Any) -> None:
        self.portal = Portal(f"10.0.0.{number}")
        fields = {
            "wwn": WWN,
            "vendor": "DGC",
            "product": "VRAID",
            "block_size": 512,
            "blocks": 6 << 20,
        } | unit
        self.units = [LogicalUnitInfo(number=197, lun=bytes.fromhex("00c5000000000000"), **fields)]
        self.error: Exception | None = None
        self.calls = 0

    async def read(self, lun: Any, lba: int, blocks: int) -> bytes:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return bytes(blocks * 512)

    async def write(self, lun: Any, lba: int, data: bytes) -> None:
        await self.read(lun, lba, 0)


def device(*sessions: Any, policy: Policy = "round-robin") -> MultipathDevice:
    return MultipathDevice([Path(session, session.units[0]) for session in sessions], policy=policy)


@pytest.mark.parametrize("policy,calls", [("round-robin", [5, 5]), ("failover", [10, 0])])
async def test_policy_says_which_path_is_used(policy: Policy, calls: list[int]) -> None:
    one, two = FakeSession(1), FakeSession(2)
    both = device(one, two, policy=policy)
    for _ in range(10):
        await both.read(0, 1)
    assert [one.calls, two.calls] == calls


@pytest.mark.parametrize(
    "error", [SessionFailed("gone"), ConnectionFailed("gone"), CommandTimedOut("late")], ids=type
)
@pytest.mark.parametrize("policy", ["round-robin", "failover"])
async def test_error_of_a_path_is_repeated_on_another(policy: Policy, error: Exception) -> None:
    one, two = FakeSession(1), FakeSession(2)
    one.error = error
    both = device(one, two, policy=policy)
    for _ in range(4):
        await both.write(0, bytes(512))
    assert [one.calls, two.calls] == [1, 4]
    assert both.paths[0].failure == str(error)


@pytest.mark.parametrize("name,value", [("blocks", 1), ("block_size", 4096), ("wwn", "3other")])
def test_paths_that_differ_are_not_joined(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match="differ in"):
        device(FakeSession(1), FakeSession(2, **{name: value}))


def test_what_is_no_multipath_device() -> None:
    with pytest.raises(ConfigError, match="needs a path"):
        device()
    with pytest.raises(ConfigError, match="no WWN"):
        device(FakeSession(1, wwn=""))
    with pytest.raises(ConfigError, match="policy 'random'"):
        device(FakeSession(1), policy="random")  # type: ignore[arg-type]


async def test_units_without_identity_or_blocks_are_left_out() -> None:
    sessions: list[Any] = [FakeSession(1, wwn=""), FakeSession(2, blocks=0)]
    assert await group_paths(sessions) == []


def test_shown_as_multipath_shows_it() -> None:
    both = device(FakeSession(1), FakeSession(2), policy="failover")
    both.fail_path(both.paths[0], "a test")
    assert str(both).splitlines() == [
        f"{WWN} DGC,VRAID",
        "size=3.0G features='0' hwhandler='0' wp=rw",
        "|-+- policy='round-robin 0' prio=0 status=enabled",
        "| `- 10.0.0.1:3260 lun 197 failed faulty running",
        "`-+- policy='round-robin 0' prio=1 status=active",
        "  `- 10.0.0.2:3260 lun 197 active ready running",
    ]


# -- with an array of straw ------------------------------------------------------------------------


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_standby_path_is_not_used_and_not_in_the_way() -> None:
    array = Array(tpgs=1, states={1: AccessState.STANDBY, 2: AccessState.ACTIVE_OPTIMIZED})
    for policy in POLICIES:
        both = MultipathDevice(array.paths("2:0:0:1 sda", "3:0:0:1 sdb"), policy=policy)
        for _ in range(4):
            await both.read(0, 1)
    assert set(array.log) == {"read through 1"}


async def test_group_paths_keeps_a_path_that_shows_no_size() -> None:
    standby, other = FakeSession(1, blocks=0, block_size=0), FakeSession(2)
    sessions: list[Any] = [standby, other]
    (both,) = await group_paths(sessions)
    assert (len(both.paths), both.size) == (2, 3 << 30)


async def test_group_paths_takes_settings_or_makes_them_of_the_unit() -> None:
    sessions: list[Any] = [FakeSession(1), FakeSession(2)]
    (both,) = await group_paths(sessions, settings=lambda unit: settings_for(unit.vendor, unit.product))
    assert both.hardware_handler == "1 emc"
    (both,) = await group_paths(sessions, settings=MapSettings(path_grouping_policy="multibus"))
    assert len(both.groups) == 1


async def test_reservation_conflict_goes_up_to_the_caller() -> None:
    both = straw_device(Array(), "2:0:0:1 sda", "4:0:0:1 sdc")
    both.paths[0].session.answers = [Status.RESERVATION_CONFLICT]
    with pytest.raises(CommandFailed, match="RESERVATION CONFLICT"):
        await both.write(0, bytes(512))
    assert len(both.active_paths) == 2


async def test_trespass_is_sent_when_the_group_changes_and_only_then() -> None:
    array = Array()
    both = straw_device(array, "2:0:0:1 sda", "3:0:0:1 sdb", hardware_handler="1 emc")
    await both.write(0, b"x" * 512)
    both.paths[0].session.error = SessionFailed("pulled")
    reads = await asyncio.gather(*(both.read(0, 1) for _ in range(4)))
    assert [bytes(data) for data in reads] == [b"x" * 512] * 4
    assert array.log[0].startswith("trespass to 1")
    assert array.log[1:] == ["read through 1"] * 4


async def test_group_that_must_not_change_over_is_passed_by() -> None:
    array = Array(report={48: 1})
    both = straw_device(array, "2:0:0:1 sda", "3:0:0:1 sdb", hardware_handler="1 emc")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await both.read(0, 1)
    assert [both.group_state(group).value for group in both.groups] == ["disabled", "disabled"]


async def test_io_waits_for_a_path_when_it_may() -> None:
    array = Array()
    one = straw_device(array, "2:0:0:1 sda", no_path_retry="queue")
    path = one.paths[0]
    path.session.error = SessionFailed("pulled")
    reading = asyncio.ensure_future(one.read(0, 1))
    await settled()
    assert not reading.done()
    path.session.error = None
    one.reinstate_path(path)
    assert bytes(await reading) == bytes(512)


async def test_io_that_waits_fails_when_queueing_ends_or_the_map_goes() -> None:
    for end in ("stop_queueing", "remove"):
        one = straw_device(Array(), "2:0:0:1 sda", no_path_retry="queue")
        one.fail_path(one.paths[0], "pulled")
        reading = asyncio.ensure_future(one.read(0, 1))
        await settled()
        getattr(one, end)()
        with pytest.raises(SessionFailed, match="no path left"):
            await reading


async def test_map_without_paths_gets_a_new_one_while_io_waits() -> None:
    array = Array()
    one = straw_device(array, "2:0:0:1 sda", no_path_retry="queue")
    one.remove_path(one.paths[0])
    writing = asyncio.ensure_future(one.write(7, b"q" * 512))
    await settled()
    one.add_path(*array.paths("6:0:0:1 sde"))
    await writing
    assert array.content == {7: b"q" * 512}


async def test_resize_takes_what_the_paths_agree_on() -> None:
    array = Array()
    both = straw_device(array, "2:0:0:1 sda", "4:0:0:1 sdc")
    array.blocks *= 2
    assert await both.resize() == both.size == 6 << 30
    assert [path.unit.blocks for path in both.paths] == [array.blocks] * 2
    both.paths[1].session.array = Array(blocks=1)
    with pytest.raises(ConfigError, match="differ in size"):
        await both.resize()
    assert both.size == 6 << 30


async def test_commands_under_way_are_counted_by_path() -> None:
    both = straw_device(
        Array(both_active=True), "2:0:0:1 sda", "4:0:0:1 sdc", path_grouping_policy="multibus"
    )
    await asyncio.gather(*(both.read(0, 8) for _ in range(6)))
    assert [path.commands for path in both.paths] == [3, 3]
    assert [(path.in_flight, path.in_flight_length) for path in both.paths] == [(0, 0)] * 2


async def test_open_map_knows_that_it_is_open() -> None:
    one = straw_device(Array(), "2:0:0:1 sda")
    with one.open():
        assert one.opened == 1
    assert one.opened == 0


def test_unit_that_is_busy_or_in_transition_is_waited_for() -> None:
    async def main() -> tuple[float, float]:
        array = Array(tpgs=1, states={1: AccessState.TRANSITIONING})
        both = straw_device(array, "2:0:0:1 sda", "3:0:0:1 sdb", retain_attached_hw_handler=False)
        loop = asyncio.get_running_loop()
        loop.call_later(9.5, array.states.clear)
        await both.read(0, 1)
        first = loop.time()
        assert array.log == ["read through 0"]
        array.states[1] = AccessState.TRANSITIONING
        await both.read(0, 1)
        assert array.log[1:] == ["read through 1"]
        return first, loop.time() - first

    assert run_virtual(main()) == (10.0, 60.0)


def test_unit_that_stays_busy_has_a_minute_on_each_path() -> None:
    async def main() -> float:
        both = straw_device(Array(), "2:0:0:1 sda", "4:0:0:1 sdc")
        for path in both.paths:
            path.session.answers = [Status.BUSY] * 100
        with pytest.raises(SessionFailed, match=r"sda: .* BUSY; sdc: .* BUSY"):
            await both.read(0, 1)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 120.0


async def test_command_that_is_aborted_again_and_again_goes_another_way() -> None:
    both = straw_device(Array(both_active=True), "2:0:0:1 sda", "3:0:0:1 sdb")
    both.paths[0].session.answers = [Sense(SenseKey.ABORTED_COMMAND, 0x47, 0x00)] * 100
    await both.read(0, 1)
    assert [path.is_active for path in both.paths] == [False, True]
    assert len(both.paths[0].session.answers) == 100 - 6
