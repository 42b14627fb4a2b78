"""What our initiator sees of a target that dies, stands still and comes back as another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from faults.world import INITIATOR, SmallWorld

from iscsim.errors import ConfigError, ConnectionFailed, SessionFailed
from iscsim.scsi import cdb

KEY = (7).to_bytes(8, "big")
DATA = b"\xda" * 512
ISID = bytes.fromhex("00023d000001")


async def register(session: Any) -> None:
    await session.execute(1, cdb.persistent_reserve_out(0), data_out=bytes(8) + KEY + bytes(8), check=True)


async def keys(session: Any) -> bytes:
    found = await session.execute(1, cdb.persistent_reserve_in(0), data_in_length=4096, check=True)
    return bytes(found.data_in[8:])


async def refused_until(world: SmallWorld) -> float:
    """Try every second; the time of the first connection."""
    while True:
        try:
            async with world.connect():
                return world.time()
        except ConnectionFailed:
            await asyncio.sleep(1)


async def test_killed_target_resets_and_refuses(world: SmallWorld) -> None:
    async with world.connect() as session:
        await session.write(1, 0, DATA)
        rule = world.fault("target.kill", target=world.target.name)
        await asyncio.sleep(0.01)
        with pytest.raises(SessionFailed):
            await session.read(1, 0, 1)
    for portal in (0, 1):
        with pytest.raises(ConnectionFailed, match="refused"):
            await world.connect(portal)
    assert world.target.sessions == []
    world.engine.remove(rule.id)
    await asyncio.sleep(0.01)
    async with world.connect() as session:
        assert await session.read(1, 0, 1) == DATA


BACK = [
    ("target.restart", {"after": 10}, True),
    ("target.restart", {"after": 10, "keep_state": True}, True),
    ("target.restart", {"after": 10, "keep_state": False}, False),
    ("target.failover", {"gap": 10}, True),
    ("target.upgrade", {"after": 10}, True),
]


@pytest.mark.parametrize(("name", "given", "kept"), BACK)
async def test_target_is_back_after_its_time(
    world: SmallWorld, name: str, given: dict[str, Any], kept: bool
) -> None:
    async with world.connect(isid=ISID) as session:
        await session.write(1, 0, DATA)
        await register(session)
        begun = world.time()
        world.fault(name, **given)
        await asyncio.sleep(0.01)
        with pytest.raises(SessionFailed):
            await session.ping()
    assert await refused_until(world) == pytest.approx(begun + 10, abs=1.1)
    async with world.connect(isid=ISID) as session:
        await session.test_unit_ready(1)
        assert await session.read(1, 0, 1) == DATA
        assert await keys(session) == (KEY if kept else b"")


async def test_target_that_lost_its_state_has_mode_parameters_of_the_first_day(world: SmallWorld) -> None:
    unit = world.target.node.units(1)[0]
    unit.write_cache = False
    world.fault("target.restart", keep_state=False, after=1)
    await asyncio.sleep(2)
    async with world.connect():
        assert unit.write_cache is True


async def test_removed_restart_starts_at_once(world: SmallWorld) -> None:
    rule = world.fault("target.restart", after=1000)
    await asyncio.sleep(1)
    world.engine.remove(rule.id)
    assert await refused_until(world) < 5


async def test_paused_target_answers_when_it_goes_on(world: SmallWorld) -> None:
    async with world.connect() as session:
        await session.test_unit_ready(1)
        world.fault("target.pause", s=8)
        await asyncio.sleep(0.001)
        with world.taking(8.0):
            assert await session.read(1, 0, 1) == bytes(512)


async def test_connection_to_a_paused_target_is_made_and_login_waits(world: SmallWorld) -> None:
    world.fault("target.pause", s=8)
    await asyncio.sleep(0.001)
    with world.taking(8.0):
        async with world.connect():
            kinds = [frame.kind for frame in world.frames]
    assert kinds[:2] == ["syn", "syn-ack"]


async def test_target_paused_for_long_answers_no_ping(world: SmallWorld) -> None:
    async with world.connect() as session:
        await session.test_unit_ready(1)
        rule = world.fault("target.pause", s=1000)
        await asyncio.sleep(0.001)
        with world.taking(10.0), pytest.raises(SessionFailed, match="no answer to a ping within 5 s"):
            await session.read(1, 0, 1)
        world.engine.remove(rule.id)


async def test_delayed_answer_of_a_paused_target_comes_when_it_goes_on(world: SmallWorld) -> None:
    async with world.connect() as session:
        await session.read(1, 0, 1)
        world.fault("task.delay", delay=2.0, command="READ (10)")
        reading = asyncio.ensure_future(session.read(1, 0, 1))
        await asyncio.sleep(1)
        world.fault("target.pause", s=5)
        begun = world.time()
        await reading
        assert world.time() - begun == pytest.approx(5.0, abs=0.01)


async def test_upgraded_target_has_other_limits_and_another_revision(world: SmallWorld) -> None:
    async with world.connect() as session:
        assert session.parameters.immediate_data is True
    world.fault(
        "target.upgrade",
        params="MaxBurstLength=65536 FirstBurstLength=8192 ImmediateData=No",
        revision="0002",
        after=1,
    )
    await asyncio.sleep(2)
    async with world.connect() as session:
        assert (session.parameters.max_burst_length, session.parameters.immediate_data) == (65536, False)
        assert (await session.inquiry(1)).revision == "0002"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"params": "MaxBurst=1"}, "MaxBurst=1"),
        ({"params": "MaxBurstLength=1"}, "max_burst_length is 1"),
        ({"params": "ImmediateData=Maybe"}, "Yes and No"),
        ({"revision": "00002"}, "1 to 4"),
    ],
)
async def test_upgrade_that_cannot_be_is_refused(
    world: SmallWorld, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        world.fault("target.upgrade", **given)


async def test_initiator_is_the_same_after_all(world: SmallWorld) -> None:
    world.fault("target.failover", gap=1)
    await asyncio.sleep(2)
    async with world.connect():
        assert [session.initiator_name for session in world.target.sessions] == [INITIATOR]
