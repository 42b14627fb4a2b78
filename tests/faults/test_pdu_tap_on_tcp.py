"""The same faults on real TCP: the tap needs nothing of a network in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import iscsim
from iscsim.errors import ConnectionFailed, LoginFailed, SessionFailed
from iscsim.faults.engine import FaultEngine
from iscsim.faults.pdu_tap import FaultTaps
from iscsim.lab import LiveTarget

REAL_TIME = True


@pytest.fixture
def engine() -> FaultEngine:
    return FaultEngine(seed=7)


@pytest.fixture
async def target(engine: FaultEngine) -> AsyncIterator[LiveTarget]:
    async with iscsim.serve(luns={1: "1M"}, taps=FaultTaps(engine)) as served:
        yield served
    engine.check()


async def test_login_is_refused(engine: FaultEngine, target: LiveTarget) -> None:
    engine.add("login.status", class_=3, detail=2, portal=target.portal).times(1)
    with pytest.raises(LoginFailed):
        await iscsim.connect(target.portal, target.name)
    async with iscsim.connect(target.portal, target.name) as session:
        assert session.is_open


async def test_login_is_never_answered(engine: FaultEngine, target: LiveTarget) -> None:
    engine.add("login.no_response")
    with pytest.raises(ConnectionFailed, match="no end of the login within"):
        await iscsim.connect(target.portal, target.name, login_timeout_s=0.05)


async def test_numbers_are_wrong_on_a_live_session(engine: FaultEngine, target: LiveTarget) -> None:
    async with iscsim.connect(target.portal, target.name) as session:
        await session.read(1, lba=0, blocks=8)
        engine.add("session.statsn_gap")
        with pytest.raises(SessionFailed, match="with StatSN"):
            await session.read(1, lba=0, blocks=8)


async def test_late_and_reordered_answers_come(engine: FaultEngine, target: LiveTarget) -> None:
    async with iscsim.connect(target.portal, target.name) as session:
        await session.read(1, lba=0, blocks=8)
        engine.add("task.reorder", wait=0.05).nth(1, 4)
        reads: list[Any] = [session.read(1, lba=lba, blocks=1) for lba in range(3)]
        assert [bytes(data) for data in await asyncio.gather(*reads)] == [bytes(512)] * 3
        await session.test_unit_ready(1)
        await session.test_unit_ready(1)
