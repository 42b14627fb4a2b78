"""Logging in again, in virtual time: how long between two logins, and where they go."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from initiator.living import PORTALS, World, connections_of, drop_connections, in_world

from iscsim.initiator.session_state import SessionState, SessionStateChanged, TransportFailed
from iscsim.initiator.task import CommandTask
from iscsim.scsi import cdb
from iscsim.scsi.lun import encode_lun

LOGGED_IN, FAILED, FREE = SessionState.LOGGED_IN, SessionState.FAILED, SessionState.FREE


@pytest.mark.parametrize(
    ("fault", "parameters", "began", "came_up"),
    [
        # 3 s after each SYN that is refused
        ("net.refuse", {"portal": PORTALS[0]}, [2, 5, 8, 11, 14, 17, 20, 23], False),
        # a login_timeout of silence, then at once the next
        ("net.blackhole", {"portal": PORTALS[0]}, [2, 17, 32, 47, 62], False),
        # a login_timeout in all, then Time2Wait, as TCP came up
        ("login.no_response", {}, [2, 19, 36, 53], True),
        # Time2Wait after a connection that is closed within the login
        ("login.drop_at", {}, [2, 4, 6, 8, 10, 12], True),
        # Time2Wait after a refusal, for now or for good
        ("login.status", {"class_": 3, "detail": 1}, [2, 4, 6, 8, 10, 12], True),
        ("login.status", {"class_": 2, "detail": 3}, [2, 4, 6, 8, 10, 12], True),
        ("login.status", {"class_": 2, "detail": 1}, [2, 4, 6, 8, 10, 12], True),
    ],
)
def test_back_off(
    fault: str, parameters: dict[str, Any], began: list[float], came_up: bool, tmp_path: Path
) -> None:
    pcap = tmp_path / "back-off.pcapng"

    async def main(world: World) -> None:
        session = await world.begin()
        world.lab.fault(fault, **parameters)
        session.drop("the test wants it")
        await asyncio.sleep(began[-1] + 1)
        assert world.states == [(0.0, FAILED)]
        assert set(world.came_up) == {came_up}
        world.lab.heal()
        assert await session.recovered(20)

    in_world(main, pcap)
    assert connections_of(pcap)[: len(began) + 1] == pytest.approx([0, *began], abs=0.5)


def test_reopen_max_gives_up() -> None:
    async def main(world: World) -> None:
        session = await world.begin()
        world.lab.fault("net.refuse", portal=PORTALS[0])
        session.drop("the test wants it")
        waiting = asyncio.ensure_future(session.run(CommandTask(encode_lun(1), cdb.test_unit_ready())))
        await asyncio.sleep(30)
        assert world.began == [2.0, 5.0, 8.0]
        assert world.states == [(0.0, FAILED), (11.0, FREE)]
        assert session.given_up
        with pytest.raises(TransportFailed, match="given up"):
            await waiting

    in_world(main, reopen_max=2)


def test_a_target_that_drops_every_login_at_once_is_asked_every_two_seconds() -> None:
    async def main(world: World) -> None:
        session = await world.begin()

        def drop(event: object) -> None:
            if isinstance(event, SessionStateChanged) and event.state is LOGGED_IN:
                asyncio.get_running_loop().call_soon(drop_connections, world)

        session.listeners.append(drop)
        drop_connections(world)
        await asyncio.sleep(60)
        assert len(world.attempts) == pytest.approx(30, abs=1)
        session.listeners.remove(drop)

    in_world(main)


def test_without_time2wait_a_target_cannot_keep_us_busier_than_once_a_second() -> None:
    async def main(world: World) -> None:
        session = await world.begin()
        world.lab.fault("login.status", class_=3, detail=2)
        session.drop("the test wants it")
        await asyncio.sleep(30)
        assert len(world.attempts) == pytest.approx(30, abs=2)
        world.lab.heal()

    in_world(main, default_time2wait=0)


def test_a_temporary_redirection_is_forgotten_and_a_permanent_one_kept() -> None:
    async def main(world: World) -> None:
        session = await world.begin()
        world.target.redirect(PORTALS[1], 0)
        session.drop("once")
        assert await session.recovered()
        assert (str(session.portal), str(session.home)) == (PORTALS[1], PORTALS[0])
        world.target.redirect(None, 0)
        session.drop("twice")
        assert await session.recovered()
        assert str(session.portal) == PORTALS[0]
        world.target.redirect(PORTALS[1], 0, permanent=True)
        session.drop("three times")
        assert await session.recovered()
        world.target.redirect(None, 0)
        session.drop("four times")
        assert await session.recovered()
        assert (str(session.portal), str(session.home)) == (PORTALS[1], PORTALS[1])

    in_world(main)


def test_a_redirection_takes_no_time_and_one_that_is_not_allowed_counts_as_a_failure() -> None:
    async def main(world: World) -> None:
        session = await world.begin(allowed_redirections=["10.245.47.96/32"])
        world.target.redirect(PORTALS[1], 0)
        session.drop("once")
        assert await session.recovered()
        assert (str(session.portal), world.lab.now) == (PORTALS[1], pytest.approx(2.0, abs=0.1))
        world.target.redirect("10.9.9.9:3260", 0)
        world.attempts.clear()
        session.drop("twice")
        await asyncio.sleep(5)
        assert world.began == [4.0, 6.0]
        assert {str(attempt.portal) for attempt in world.attempts} == {PORTALS[0]}
        world.target.redirect(None, 0)

    in_world(main)


def test_a_chain_of_redirections_has_an_end() -> None:
    async def main(world: World) -> None:
        session = await world.begin()
        world.target.redirect(PORTALS[1], 0)
        world.target.redirect(PORTALS[0], 1)
        session.drop("the test wants it")
        await asyncio.sleep(5)
        assert world.began == [2.0] * 5 + [4.0] * 5
        world.target.redirect(None)

    in_world(main)
