"""Faults that happen by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from faults.world import SmallWorld

from iscsim.errors import FaultError
from iscsim.faults.kinds import KINDS, FaultKind, Parameter, add_kind
from iscsim.faults.occasion import Hook
from iscsim.faults.seconds import Seconds
from iscsim.faults.timers import Timers


@pytest.fixture
def happened(world: SmallWorld) -> Iterator[list[Any]]:
    """What a kind called ``test.bell`` has done and undone, and when."""
    heard: list[Any] = []

    def ring(rule: Any, within: Any) -> Any:
        assert within is world
        heard.append(("ring", round(world.time(), 6)))
        return lambda: heard.append(("undo", round(world.time(), 6)))

    period = Parameter("period", Seconds, "")
    add_kind(
        FaultKind(
            name="test.bell",
            hooks=(Hook.TIMER,),
            summary="",
            observable="",
            action=ring,
            parameters=(period,),
        )
    )
    yield heard
    del KINDS["test.bell"]


async def test_it_happens_at_once_and_is_undone_when_removed(world: SmallWorld, happened: list[Any]) -> None:
    rule = world.fault("test.bell")
    await asyncio.sleep(5)
    world.engine.remove(rule.id)
    await asyncio.sleep(5)
    assert happened == [("ring", 0.0), ("undo", 5.0)]


async def test_it_happens_at_its_time_and_is_undone_at_its_end(
    world: SmallWorld, happened: list[Any]
) -> None:
    world.fault("test.bell").after(3).until(7)
    await asyncio.sleep(20)
    assert happened == [("ring", 3.0), ("undo", 7.0)]


async def test_it_happens_every_period_until_its_end(world: SmallWorld, happened: list[Any]) -> None:
    world.fault("test.bell", period=2).after(1).until(6)
    await asyncio.sleep(20)
    assert happened == [
        ("ring", 1.0),
        ("undo", 3.0),
        ("ring", 3.0),
        ("undo", 5.0),
        ("ring", 5.0),
        ("undo", 6.0),
    ]


async def test_counts_and_gates_hold_for_it_too(world: SmallWorld, happened: list[Any]) -> None:
    world.fault("test.bell", period=1).nth(2, 3).times(2)
    await asyncio.sleep(10)
    assert [each for each in happened if each[0] == "ring"] == [("ring", 1.0), ("ring", 2.0)]


async def test_nothing_happens_to_what_was_removed_before(world: SmallWorld, happened: list[Any]) -> None:
    world.engine.remove(world.fault("test.bell").after(3).id)
    await asyncio.sleep(5)
    assert happened == []


async def test_what_was_armed_before_the_timers_happens(world: SmallWorld, happened: list[Any]) -> None:
    world.engine.listeners.clear()
    world.fault("test.bell").after(1)
    Timers(world.engine, world)
    await asyncio.sleep(2)
    assert happened == [("ring", 1.0)]


async def test_what_cannot_be_done_fails_the_test_and_nothing_else(
    world: SmallWorld, caplog: pytest.LogCaptureFixture
) -> None:
    rule = world.fault("lun.hide", lun=1).after(1).may_not_fire()
    world.target.lun_map.remove(1)
    await asyncio.sleep(2)
    assert (rule.fired, world.engine.unfired()) == (1, [])
    with pytest.raises(FaultError, match=r"^lun.hide-1: there is no LUN 1$"):
        world.engine.check()
    assert [record.getMessage() for record in caplog.records][-1] == "lun.hide-1: there is no LUN 1"
    world.engine.reset()
    world.engine.check()
