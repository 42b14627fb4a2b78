"""Faults that befall sessions by themselves, and what our initiator makes of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from faults.world import INITIATOR, SmallWorld

import iscsim.faults.session_timer_faults  # noqa: F401 - its faults are in the catalogue then
from iscsim.initiator.events import AsyncMessageReceived
from iscsim.pdu import AsyncEvent, NOPOut
from iscsim.pdu.wire import decode_header
from iscsim.scsi.sense import Sense
from iscsim.session.events import ConnectionEnded

ISID = b"\x80\0\0\0\0\1"


async def events_after(world: SmallWorld, session: Any, name: str, **given: Any) -> list[Any]:
    """What the session tells when the fault comes after ten seconds."""
    events: list[Any] = []
    session.on_event(events.append)
    rule = world.fault(name, **given).after(10)
    await asyncio.sleep(10.5)
    assert rule.fired
    assert [frame.at for frame in world.commented(rule)] == [pytest.approx(10.0)] * rule.fired
    return [event for event in events if isinstance(event, AsyncMessageReceived)]


@pytest.mark.parametrize("event", [0, 1, 2, 3, 4, 5, 255])
async def test_an_asynchronous_event_is_told(world: SmallWorld, event: int) -> None:
    session = await world.connect()
    (told,) = await events_after(world, session, "session.async", event=event, p1=1, p2=2, p3=4)
    assert (told.code, told.parameter_1, told.parameter_2, told.parameter_3) == (event, 1, 2, 4)
    if event == AsyncEvent.SCSI_EVENT:
        assert Sense.parse(told.sense_data).code == 0x3F0E
    await session.close()


@pytest.mark.parametrize(
    ("event", "is_open", "failure"),
    [
        (0, True, "None"),
        (1, False, "None"),
        (2, False, "the target drops the connection (asynchronous event 2)"),
        (3, False, "the target drops the connection (asynchronous event 3)"),
        (4, True, "None"),
        (5, True, "None"),
    ],
)
async def test_what_an_event_asks_for_is_done(
    world: SmallWorld, event: int, is_open: bool, failure: str
) -> None:
    session = await world.connect()
    await events_after(world, session, "session.async", event=event)
    assert session.is_open is is_open
    assert str(session.failure) == failure
    await session.close()


async def test_a_dropped_session_says_when_to_come_back(world: SmallWorld) -> None:
    session = await world.connect()
    (told,) = await events_after(world, session, "session.drop", time2wait=3, time2retain=20)
    assert (told.parameter_2, told.parameter_3) == (3, 20)
    assert str(session.failure) == "the target drops the connection (asynchronous event 3)"
    assert world.target.sessions == []
    async with world.connect() as again:
        assert again.is_open


async def test_only_the_sessions_of_the_named_initiator_are_dropped(world: SmallWorld) -> None:
    one = await world.connect()
    other = await world.connect(initiator_name="iqn.2026-11.test:other")
    await events_after(world, one, "session.drop", initiator=INITIATOR)
    assert (one.is_open, other.is_open) == (False, True)
    await other.close()


async def test_a_session_taken_over_by_another_host_comes_back_to_a_unit_attention(world: SmallWorld) -> None:
    session = await world.connect(isid=ISID)
    await session.test_unit_ready(1)
    await events_after(world, session, "session.reinstate_foreign")
    assert str(session.failure) == "the target closed the connection"
    assert len(world.target.sessions) == 1
    async with world.connect(isid=ISID) as again:
        result = await again.execute(1, bytes(6))
        assert result.sense is not None
        assert (result.sense.key, result.sense.code) == (
            0x06,
            0x2900,
        )  # as SPC-4 allows (docs/design.md, 29/07)
        assert len(world.target.sessions) == 1


async def test_sessions_ping_pong_while_it_goes_on(world: SmallWorld) -> None:
    rule = world.fault("session.reinstate_foreign", period=10).after(5).until(40)
    logins = 0
    for _ in range(3):
        async with world.connect(isid=ISID) as session:
            logins += 1
            ended = asyncio.Event()
            session.on_event(lambda event, ended=ended: isinstance(event, ConnectionEnded) and ended.set())
            await ended.wait()
    await asyncio.sleep(40)
    assert (logins, rule.fired, world.target.sessions) == (3, 3, [])


async def test_every_ping_of_a_flood_is_answered(world: SmallWorld) -> None:
    async with world.connect() as session:
        await events_after(world, session, "session.nop_in_flood", n=50)
        assert await session.ping(b"there") == b"there"
    sent = b"".join(frame.data for frame in world.frames if frame.by_client and frame.at >= 10)
    headers = [decode_header(sent[start : start + 48]) for start in range(0, 50 * 48, 48)]
    assert [each.target_transfer_tag for each in headers if isinstance(each, NOPOut)] == list(range(1, 51))


@pytest.mark.parametrize("given", [{}, {"initiator": "iqn.2001-04.com.example:*"}])
async def test_without_such_a_session_nothing_has_fired(world: SmallWorld, given: dict[str, str]) -> None:
    if given:
        session = await world.connect()
    rule = world.fault("session.drop", **given).after(1).may_not_fire()
    await asyncio.sleep(2)
    assert not rule.fired
    if given:
        assert session.is_open
        await session.close()
