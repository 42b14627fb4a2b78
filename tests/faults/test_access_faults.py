"""What our initiator sees when a path may be used otherwise."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from faults.world import SmallWorld

from iscsim.errors import ConfigError
from iscsim.scsi import cdb

STATES = [
    ("active/optimized", ""),
    ("active/non-optimized", ""),
    ("standby", "02/04/0b"),
    ("unavailable", "02/04/0c"),
    ("offline", "02/04/12"),
    ("transitioning", "02/04/0a"),
]


async def heard(session: Any, lun: int = 1) -> str:
    """The sense of TEST UNIT READY, "" for none."""
    found = await session.execute(lun, cdb.test_unit_ready())
    return (
        "" if found.sense is None else f"{found.sense.key:02x}/{found.sense.asc:02x}/{found.sense.ascq:02x}"
    )


@pytest.mark.parametrize(("state", "sense"), STATES)
async def test_one_path_changes_and_the_other_does_not(world: SmallWorld, state: str, sense: str) -> None:
    async with world.connect(0) as one, world.connect(1) as other:
        await one.test_unit_ready(1)
        await other.test_unit_ready(1)
        rule = world.fault("path.asymmetric", portal_group=2, state=state)
        await asyncio.sleep(0.001)
        changed = state not in ("active/optimized", "transitioning")
        told = "06/2a/06" if changed else ""
        assert [await heard(one), await heard(one)] == [told, ""]
        first = await heard(other)
        assert (first if not changed else await heard(other)) == sense
        world.engine.remove(rule.id)
        await heard(other)
        assert await heard(other) == ""


async def test_transition_takes_its_time(world: SmallWorld) -> None:
    async with world.connect(0) as session:
        await session.test_unit_ready(1)
        world.fault("path.asymmetric", portal_group=1, state="standby", transition_time=10)
        await asyncio.sleep(0.001)
        assert await heard(session) == "02/04/0a"
        await asyncio.sleep(9)
        assert await heard(session) == "02/04/0a"
        await asyncio.sleep(1)
        assert [await heard(session), await heard(session)] == ["06/2a/06", "02/04/0b"]


async def test_transition_that_is_undone_does_not_come_back(world: SmallWorld) -> None:
    async with world.connect(0) as session:
        await session.test_unit_ready(1)
        rule = world.fault("path.asymmetric", portal_group=1, state="standby", transition_time=10)
        await asyncio.sleep(1)
        world.engine.remove(rule.id)
        await asyncio.sleep(20)
        await heard(session)
        assert await heard(session) == ""


async def test_one_lun_only() -> None:
    async with SmallWorld(luns={1: "1M", 2: "1M"}) as world, world.connect() as session:
        await session.scan()
        world.fault("path.asymmetric", portal_group=1, state="unavailable", lun=2)
        await asyncio.sleep(0.001)
        assert [await heard(session, 1), await heard(session, 2)] == ["", "06/2a/06"]
        assert await heard(session, 2) == "02/04/0c"


async def test_transition_to_a_transition_is_refused(world: SmallWorld) -> None:
    with pytest.raises(ConfigError, match="goes to another state"):
        world.fault("path.asymmetric", portal_group=1, state="transitioning", transition_time=1)
