"""Faults of one path, seen from both."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from faults.world import PORTALS, SmallWorld

from iscsim.errors import ConfigError, ConnectionFailed, SessionFailed


async def test_path_down_ends_its_session_and_no_other(world: SmallWorld) -> None:
    dead, alive = await world.connect(0), await world.connect(1)
    rule = world.fault("path.down", portal=PORTALS[0])
    with world.taking(10.0), pytest.raises(SessionFailed, match="no answer to a ping within 5 s"):
        await dead.read(1, lba=0, blocks=8)
    with world.taking(0.0):
        assert await alive.read(1, lba=0, blocks=8) == bytes(4096)
    with world.taking(15.0), pytest.raises(ConnectionFailed, match="within 15 s"):
        await world.connect(0)
    assert not any(frame.delivered for frame in world.commented(rule) if frame.kind == "data")
    await alive.close()


async def test_short_flaps_delay_commands(world: SmallWorld) -> None:
    async with world.connect() as session:
        world.fault("path.flap", portal=PORTALS[0], period="2s")
        with world.taking(1.4):  # down for a second; sent again after 0.2, 0.6 and 1.4 s
            await session.read(1, lba=0, blocks=8)
        with world.taking(0.0):
            await session.read(1, lba=0, blocks=8)
        await asyncio.sleep(0.8)  # 2.2 s: down again
        with world.taking(1.4):
            await session.read(1, lba=0, blocks=8)


async def test_long_flaps_end_sessions_again_and_again(world: SmallWorld) -> None:
    world.fault("path.flap", portal=PORTALS[0], period=40)
    for _ in range(3):
        with pytest.raises(ConnectionFailed, match="within 15 s"):
            await world.connect(0)
        await asyncio.sleep(6)
        session = await world.connect(0)
        await asyncio.sleep(34)
        assert "no answer to a ping" in str(session.failure)
        await asyncio.sleep(-world.time() % 40)


async def test_flaps_begin_with_their_fault(world: SmallWorld) -> None:
    world.fault("path.flap", portal=PORTALS[0], period=2000).after(100)
    async with world.connect():
        await asyncio.sleep(90)
    await asyncio.sleep(20)
    with pytest.raises(ConnectionFailed):
        await world.connect()


async def test_slow_path_takes_longer_there_and_back(world: SmallWorld) -> None:
    world.fault("path.slow", portal=PORTALS[0], delay="250ms")
    with world.taking(1.0):
        slow = await world.connect(0)
    with world.taking(0.0):
        quick = await world.connect(1)
    with world.taking(0.5):
        await slow.ping()
    with world.taking(0.0):
        await quick.ping()
    await slow.close()
    await quick.close()


@pytest.mark.parametrize(
    "name, given, message",
    [
        ("path.down", {}, "path.down needs a match on portal"),
        ("path.flap", {"portal": PORTALS[0]}, "path.flap needs period"),
        ("path.flap", {"portal": PORTALS[0], "period": 0}, "period is 0, expected 0.001 or more"),
        ("path.slow", {"portal": PORTALS[0], "delay": "soon"}, "not a time: 'soon'"),
        ("path.down", {"portal": "10.245.47.97:3260"}, "did you mean '10.245.47.9[56]:3260'"),
    ],
)
async def test_bad_input_is_refused(
    world: SmallWorld, name: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        world.fault(name, **given)
