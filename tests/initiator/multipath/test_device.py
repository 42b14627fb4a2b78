"""One device out of several paths: grouping, policies, failing over and coming back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from iscsim.errors import ConfigError, ConnectionFailed, SessionFailed
from iscsim.initiator.client import connect
from iscsim.initiator.multipath import MultipathDevice, Path, PathState, Policy, format_size, group_paths
from iscsim.initiator.portal import Portal
from iscsim.initiator.scan import LogicalUnitInfo
from iscsim.initiator.task import CommandTimedOut
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.sense import CommandFailed
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
        "| `- 10.0.0.1:3260 lun 197 failed faulty offline",
        "`-+- policy='round-robin 0' prio=1 status=active",
        "  `- 10.0.0.2:3260 lun 197 active ready running",
    ]


@pytest.mark.parametrize(
    "size,text", [(512, "0K"), (524288, "512K"), (64 << 20, "64.0M"), (3 << 30, "3.0G"), (200 << 40, "200T")]
)
def test_sizes(size: int, text: str) -> None:
    assert format_size(size) == text
