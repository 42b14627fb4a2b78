"""Sessions that live, in virtual time: what happens at which second, as the capture shows it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from initiator.living import BY_THE_TEST, PORTALS, World, drop_connections, in_world, seconds_of

from iscsim.errors import ConfigError, LoginFailed
from iscsim.initiator import InitialLoginFailed
from iscsim.initiator.events import AsyncMessageReceived
from iscsim.initiator.recovering_session import MAX_RETRIES
from iscsim.initiator.session_state import (
    SessionState,
    TransportDisrupted,
    TransportFailed,
)
from iscsim.initiator.task import CommandAborted, CommandTask, CommandTimedOut
from iscsim.lab import Lab
from iscsim.pdu import (
    AsyncMessage,
    LoginRequest,
    LogoutRequest,
    NOPOut,
    SCSICommand,
    TaskManagementFunction,
    TaskManagementRequest,
    TaskManagementResponseCode,
    TextRequest,
)
from iscsim.scsi import cdb
from iscsim.scsi.lun import encode_lun
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.scsi.status import Status
from iscsim.session.events import LoginCompleted

LOGGED_IN, FAILED, FREE = SessionState.LOGGED_IN, SessionState.FAILED, SessionState.FREE
LUN_1 = encode_lun(1)


def a_read() -> CommandTask:
    return CommandTask(LUN_1, cdb.read_10(0, 1), data_in_length=512)


def first_requests(pcap: Path) -> list[float]:
    """When each login began: without CHAP one has one request."""
    return seconds_of(pcap, LoginRequest, lambda pdu: pdu.tsih == 0)


# -- pings -----------------------------------------------------------------------------------------


def test_five_seconds_of_silence_bring_a_ping(tmp_path: Path) -> None:
    pcap = tmp_path / "pings.pcapng"

    async def main(world: World) -> None:
        session = await world.begin()
        await asyncio.sleep(12)
        await session.execute(1, cdb.test_unit_ready())  # at 12 s: the next ping is due at 17 s
        await asyncio.sleep(6)

    in_world(main, pcap)
    assert seconds_of(pcap, NOPOut) == [5.0, 10.0, 17.0]


def test_a_ping_that_is_not_answered_in_five_seconds_fails_the_session(tmp_path: Path) -> None:
    pcap = tmp_path / "unanswered.pcapng"

    async def main(world: World) -> None:
        session = await world.begin()
        world.lab.fault("session.nop_ignore").times(1)
        await asyncio.sleep(9.5)
        assert session.state is LOGGED_IN
        await asyncio.sleep(8)
        assert world.states == [(10.0, FAILED), (12.0, LOGGED_IN)]

    in_world(main, pcap)
    assert seconds_of(pcap, NOPOut) == [5.0, 17.0]
    assert first_requests(pcap) == [0.0, 12.0]


def test_pings_have_the_settings_of_the_node(tmp_path: Path) -> None:
    pcap = tmp_path / "settings.pcapng"

    async def main(world: World) -> None:
        await world.begin()
        world.lab.fault("session.nop_ignore").times(1)
        await asyncio.sleep(12)
        assert world.states == [(5.0, FAILED), (8.0, LOGGED_IN)]

    in_world(main, pcap, noop_out_interval=3, noop_out_timeout=2, default_time2wait=3)
    assert seconds_of(pcap, NOPOut) == [3.0, 11.0]


# -- logging in again ------------------------------------------------------------------------------


def test_time2wait_after_a_loss_the_login_is_tried(tmp_path: Path) -> None:
    pcap = tmp_path / "lost.pcapng"

    async def main(world: World) -> None:
        session = await world.begin()
        await session.write(1, 0, b"x" * 512)
        isid, first = session.isid, session.session
        await asyncio.sleep(3)
        drop_connections(world)
        await asyncio.sleep(1)
        assert (session.state, session.session) == (FAILED, None)
        await asyncio.sleep(2)
        assert bytes(await session.read(1, 0, 1)) == b"x" * 512
        assert session.session is not first
        assert [each.isid for each in world.target.sessions] == [isid]

    in_world(main, pcap)
    assert first_requests(pcap) == [0.0, 5.0]


def test_a_session_does_not_care_how_often_the_login_failed() -> None:
    async def main(world: World) -> None:
        session = await world.begin()
        world.lab.fault("net.refuse", portal=PORTALS[0])
        session.drop("the test wants it")
        await asyncio.sleep(3600)
        assert len(world.attempts) == pytest.approx(3600 / 3, abs=2)
        world.lab.heal()
        assert await session.recovered() is False  # it is FREE: nobody waits any more
        await asyncio.sleep(3)
        assert session.state is LOGGED_IN

    in_world(main)


def test_a_session_that_is_dropped_with_the_end_of_its_login_is_recovered() -> None:
    """What comes in one piece with the Login Response is there before anybody can listen."""

    async def main(world: World) -> None:
        session = await world.begin()
        drops: list[float] = []

        def drop(connection: Any, peer: object, event: object) -> None:
            if isinstance(event, LoginCompleted) and len(drops) < 2:
                drops.append(world.lab.now)
                connection.notices.drop(BY_THE_TEST)

        world.target.server.listeners.append(drop)
        session.drop("the test wants it")
        await session.read(1, 0, 1)
        assert world.began == [2.0, 4.0, 6.0]
        assert world.states == [
            (0.0, FAILED),
            (2.0, LOGGED_IN),
            (2.0, FAILED),
            (4.0, LOGGED_IN),
            (4.0, FAILED),
            (6.0, LOGGED_IN),
        ]

    in_world(main)


# -- commands --------------------------------------------------------------------------------------


def test_commands_under_way_are_disrupted_once_and_queued_ones_wait(tmp_path: Path) -> None:
    pcap = tmp_path / "commands.pcapng"

    async def main(world: World) -> None:
        session = await world.begin()
        await session.read(1, 0, 1)
        world.lab.fault("task.no_response", command="READ (10)").times(3)
        tasks = [asyncio.ensure_future(session.run_once(a_read())) for _ in range(3)]
        await asyncio.sleep(1)
        session.drop("the test wants it")
        await asyncio.sleep(0.1)
        for task in tasks:
            with pytest.raises(TransportDisrupted, match="the test wants it"):
                await task
        queued = asyncio.ensure_future(session.run_once(a_read()))
        await asyncio.sleep(1)
        assert not queued.done()
        done = await queued
        assert done.status == Status.CHECK_CONDITION  # what a new session hears first
        assert world.lab.now == pytest.approx(3.0, abs=0.1)

    in_world(main, pcap)
    reads = seconds_of(pcap, SCSICommand, lambda pdu: pdu.cdb[0] == 0x28)
    assert reads.count(0.0) - 1 == 3  # and the one before
    assert reads[-1] == 3.0


def test_run_sends_what_was_disrupted_again() -> None:
    async def main(world: World) -> None:
        session = await world.begin()
        await session.read(1, 0, 1)
        world.lab.fault("task.no_response", command="WRITE (10)").times(1)
        write = asyncio.ensure_future(session.write(1, 8, b"w" * 512))
        await asyncio.sleep(1)
        assert not write.done()
        session.drop("the test wants it")
        await write
        assert bytes(await session.read(1, 8, 1)) == b"w" * 512
        assert world.lab.now == pytest.approx(3.0, abs=0.1)

    in_world(main)


def test_a_command_that_is_always_disrupted_is_given_up_after_five_retries(tmp_path: Path) -> None:
    pcap = tmp_path / "retries.pcapng"

    async def main(world: World) -> None:
        session = await world.begin()
        await session.read(1, 0, 1)
        world.lab.fault("task.no_response", command="WRITE (10)")
        task = CommandTask(LUN_1, cdb.write_10(0, 1), data_out=bytes(512))
        run = asyncio.ensure_future(session.run(task))
        while not run.done():
            await asyncio.sleep(1)
            session.drop("again")
        with pytest.raises(TransportDisrupted, match="again"):
            await run

    in_world(main, pcap)
    writes = seconds_of(pcap, SCSICommand, lambda pdu: pdu.cdb[0] == 0x2A)
    assert len(writes) == 1 + MAX_RETRIES == 6


def test_a_command_is_aborted_at_its_own_time(tmp_path: Path) -> None:
    pcap = tmp_path / "abort.pcapng"

    async def main(world: World) -> None:
        session = await world.begin()
        world.lab.fault("task.no_response", command="READ (10)").times(1)
        with pytest.raises(CommandTimedOut):
            await session.run(a_read())
        assert session.state is LOGGED_IN

    in_world(main, pcap)
    assert seconds_of(pcap, TaskManagementRequest) == [30.0]


def test_no_more_commands_are_under_way_than_cmds_max() -> None:
    async def main(world: World) -> None:
        session = await world.begin()
        await session.read(1, 0, 1)
        world.lab.fault("task.delay", delay=1, command="READ (10)")
        reads = [asyncio.ensure_future(session.read(1, 0, 1)) for _ in range(6)]
        await asyncio.sleep(0.5)
        assert session.session is not None
        assert session.session.unanswered == 2
        await asyncio.gather(*reads)
        assert world.lab.now == pytest.approx(3, abs=0.1)

    in_world(main, cmds_max=2)


# -- replacement_timeout ---------------------------------------------------------------------------


def test_after_replacement_timeout_waiting_and_new_commands_fail_and_later_ones_work() -> None:
    async def main(world: World) -> None:
        session = await world.begin()
        await session.write(1, 0, b"x" * 512)
        rule = world.lab.fault("net.blackhole", portal=PORTALS[0])
        await asyncio.sleep(20)  # the ping of 5 s is not answered: FAILED at 10 s
        assert world.states == [(10.0, FAILED)]
        waiting = asyncio.ensure_future(session.read(1, 0, 1))
        with pytest.raises(TransportFailed, match="longer than replacement_timeout"):
            await waiting
        assert world.lab.now == pytest.approx(130.0, abs=0.5)
        assert world.states[-1] == (130.0, FREE)
        with pytest.raises(TransportFailed):
            await session.read(1, 0, 1)
        assert world.lab.now == pytest.approx(130.0, abs=0.5)
        assert rule.fired
        world.lab.heal()
        await asyncio.sleep(20)
        assert session.state is LOGGED_IN
        assert bytes(await session.read(1, 0, 1)) == b"x" * 512

    in_world(main)


def test_replacement_timeout_counts_from_the_first_loss_through_every_failed_login() -> None:
    async def main(world: World) -> None:
        session = await world.begin()
        world.lab.fault("login.status", class_=3, detail=1)
        session.drop("the test wants it")
        await asyncio.sleep(121)
        assert world.states == [(0.0, FAILED), (120.0, FREE)]
        assert len(world.attempts) == pytest.approx(60, abs=1)
        world.lab.heal()

    in_world(main)


def test_a_login_that_works_ends_the_countdown_and_the_next_loss_begins_another() -> None:
    async def main(world: World) -> None:
        session = await world.begin()
        session.drop("once")
        await asyncio.sleep(100)
        session.drop("twice")
        await asyncio.sleep(100)  # 120 s after the first, and not after the second
        assert [state for _, state in world.states] == [FAILED, LOGGED_IN] * 2
        await session.read(1, 0, 1)

    in_world(main)


def test_replacement_timeout_0_fails_at_once() -> None:
    async def main(world: World) -> None:
        session = await world.begin()
        session.drop("the test wants it")
        await asyncio.sleep(0.01)
        assert world.states == [(0.0, FAILED), (0.0, FREE)]
        with pytest.raises(TransportFailed):
            await session.read(1, 0, 1)
        await asyncio.sleep(3)
        assert world.states[-1] == (2.0, LOGGED_IN)
        await session.read(1, 0, 1)

    in_world(main, replacement_timeout=0)


def test_a_negative_replacement_timeout_waits_for_ever() -> None:
    async def main(world: World) -> None:
        session = await world.begin()
        world.lab.fault("net.refuse", portal=PORTALS[0])
        session.drop("the test wants it")
        waiting = asyncio.ensure_future(session.read(1, 0, 1))
        await asyncio.sleep(10000)
        assert (session.state, waiting.done()) == (FAILED, False)
        world.lab.heal()
        await waiting

    in_world(main, replacement_timeout=-1)


# -- asynchronous messages -------------------------------------------------------------------------


def test_a_scsi_event_is_told_to_listeners() -> None:
    async def main(world: World) -> None:
        session = await world.begin()
        heard: list[Any] = []
        session.listeners.append(heard.append)
        world.target.send_async(0, lun=LUN_1, sense=Sense(SenseKey.UNIT_ATTENTION, 0x3F, 0x0E).encode())
        await asyncio.sleep(1)
        assert [each.code for each in heard if isinstance(each, AsyncMessageReceived)] == [0]
        assert session.state is LOGGED_IN

    in_world(main)


def test_a_logout_that_is_asked_for_happens_in_time_and_is_followed_by_a_login(tmp_path: Path) -> None:
    pcap = tmp_path / "logout.pcapng"

    async def main(world: World) -> None:
        session = await world.begin()
        await session.write(1, 0, b"x" * 512)
        world.lab.fault("task.delay", delay=30, command="READ (10)").times(1)
        slow = asyncio.ensure_future(session.run(a_read()))
        await asyncio.sleep(1)
        world.target.request_logout(8)
        await asyncio.sleep(1)
        new = asyncio.ensure_future(session.read(1, 0, 1))
        await asyncio.sleep(1)
        assert not new.done()
        assert bytes(await new) == b"x" * 512
        assert bytes((await slow).data_in) in (b"", b"x" * 512)

    in_world(main, pcap)
    logouts = seconds_of(pcap, LogoutRequest)
    assert seconds_of(pcap, AsyncMessage) == [1.0]
    assert 1.0 <= logouts[0] <= 9.0
    assert first_requests(pcap)[1] == pytest.approx(logouts[0] + 2, abs=0.5)


@pytest.mark.parametrize("event", [2, 3])
def test_a_drop_that_is_announced_says_how_long_to_wait(event: int, tmp_path: Path) -> None:
    pcap = tmp_path / "drop.pcapng"

    async def main(world: World) -> None:
        session = await world.begin()
        world.lab.fault("session.async", event=event, p2=7, p3=20)
        await asyncio.sleep(1)
        assert session.state is FAILED
        assert await session.recovered()
        # that was for once: the next loss has the Time2Wait of the login again
        session.drop("the test wants it")
        assert await session.recovered()

    in_world(main, pcap)
    assert first_requests(pcap) == [0.0, 7.0, 9.0]


def test_a_negotiation_that_is_asked_for_is_begun(tmp_path: Path) -> None:
    pcap = tmp_path / "negotiation.pcapng"

    async def main(world: World) -> None:
        session = await world.begin()
        await asyncio.sleep(1)
        world.target.send_async(4, parameter_3=5)
        await asyncio.sleep(1)
        assert session.state is LOGGED_IN

    in_world(main, pcap)
    assert seconds_of(pcap, TextRequest) == [1.0]


# -- the first login -------------------------------------------------------------------------------


def test_an_allow_list_is_looked_at_before_the_first_login() -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target(portals=PORTALS)
        lab.expect_error("moved temporarily")
        with pytest.raises(ConfigError, match=r"'10.0.0.0/99' is no address"):
            await lab.host("compute").log_in(target, allowed_redirections=["10.0.0.0/99"])
        target.redirect(PORTALS[1], 0)
        with pytest.raises(InitialLoginFailed, match="which is not allowed"):
            await lab.host("compute").log_in(target, allowed_redirections=[])

    Lab.run(main)


# -- task management, drop, close ------------------------------------------------------------------


def test_an_abort_that_is_not_answered_drops_the_connection(tmp_path: Path) -> None:
    pcap = tmp_path / "tmf.pcapng"

    async def main(world: World) -> None:
        session = await world.begin()
        world.lab.fault("task.no_response", command="READ (10)").times(1)
        world.lab.fault("task.abort_response", none=True).times(1)
        task = a_read()
        run = asyncio.ensure_future(session.run_once(task))
        await asyncio.sleep(1)
        with pytest.raises(TransportDisrupted, match="no answer to ABORT TASK in time"):
            await session.task_management(TaskManagementFunction.ABORT_TASK, task=task, timeout_s=4)
        assert world.lab.now == pytest.approx(5, abs=0.1)
        with pytest.raises(TransportDisrupted):
            await run
        assert session.state is FAILED
        with pytest.raises(TransportDisrupted):
            await session.task_management(TaskManagementFunction.LOGICAL_UNIT_RESET, 1)
        assert world.lab.now == pytest.approx(5, abs=0.1)

    in_world(main, pcap)
    assert seconds_of(pcap, TaskManagementRequest) == [1.0]


def test_an_abort_ends_its_command_and_one_of_a_task_that_is_not_there_needs_no_target() -> None:
    async def main(world: World) -> None:
        session = await world.begin()
        world.lab.fault("task.no_response", command="READ (10)").times(1)
        task = a_read()
        run = asyncio.ensure_future(session.run_once(task))
        await asyncio.sleep(1)
        abort = TaskManagementFunction.ABORT_TASK
        done, unknown = (
            TaskManagementResponseCode.FUNCTION_COMPLETE,
            TaskManagementResponseCode.TASK_DOES_NOT_EXIST,
        )
        assert await session.task_management(abort, task=task) == done
        with pytest.raises(CommandAborted):
            await run
        assert await session.task_management(abort, task=task) == unknown

    in_world(main)


def test_recovered_says_whether_there_is_a_session() -> None:
    async def main(world: World) -> None:
        session = await world.begin()
        assert await session.recovered(0.1)
        session.drop("the test wants it")
        assert not await session.recovered(1)
        assert await session.recovered(2)
        assert await session.ping(b"hello") == b"hello"

    in_world(main)


def test_nobody_waits_for_a_login_that_an_error_of_ours_has_ended(caplog: Any) -> None:
    async def main(lab: Lab) -> None:
        calls: list[object] = []

        def fail(attempt: object) -> None:
            calls.append(attempt)
            if len(calls) > 1:
                raise ZeroDivisionError("the caller's mistake")

        session = await lab.host("compute").log_in(await lab.target(portals=PORTALS), on_attempt=fail)
        session.drop("the test wants it")
        with pytest.raises(TransportFailed):
            await session.read(1, 0, 1)
        assert (session.given_up, session.state) == (True, FREE)
        assert "cannot go on" in caplog.text

    Lab.run(main)


def test_close_ends_the_login_and_what_waits() -> None:
    async def main(world: World) -> None:
        session = await world.begin()
        world.lab.fault("net.blackhole", portal=PORTALS[0])
        session.drop("the test wants it")
        waiting = asyncio.ensure_future(session.read(1, 0, 1))
        await asyncio.sleep(5)
        await session.close()
        with pytest.raises(TransportFailed, match="given up"):
            await waiting
        world.lab.heal()
        await asyncio.sleep(60)
        assert (session.state, session.session) == (FREE, None)
        assert world.target.sessions == []
        session.drop("nothing is there")
        with pytest.raises(TransportFailed):
            await session.task_management(TaskManagementFunction.LOGICAL_UNIT_RESET, 1)

    in_world(main)


def test_closing_logs_out(tmp_path: Path) -> None:
    pcap = tmp_path / "close.pcapng"

    async def main(world: World) -> None:
        async with await world.begin() as session:
            await asyncio.sleep(1)
            assert str(session) == (f"RecoveringSession('{world.target.name}' at {PORTALS[0]}, LOGGED_IN)")
        await asyncio.sleep(10)

    in_world(main, pcap)
    assert seconds_of(pcap, LogoutRequest) == [1.0]
    assert first_requests(pcap) == [0.0]


# -- the rest --------------------------------------------------------------------------------------


def test_chap_is_done_at_every_login() -> None:
    async def main(world: World) -> None:
        name = world.lab.host("compute").initiator_name
        session = await world.begin(initiators=(f"{name}:user:secret-of-16-byte",))
        session.drop("the test wants it")
        assert await session.recovered()
        await session.read(1, 0, 1)

    in_world(main, authmethod="CHAP", username="user", password="secret-of-16-byte")


def test_a_first_login_that_is_refused_for_good_raises() -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target(portals=PORTALS)
        lab.fault("login.status", class_=2, detail=3).times(1)
        with pytest.raises(LoginFailed):
            await lab.host("compute").log_in(target)

    Lab.run(main)


def test_a_half_open_connection_is_replaced_at_the_target(tmp_path: Path) -> None:
    """The target has not noticed: the same ISID ends the old session (RFC 7143 section 6.3.5)."""

    async def main(world: World) -> None:
        session = await world.begin()
        rule = world.lab.fault("net.blackhole", portal=PORTALS[0]).until("11s")
        await asyncio.sleep(11)
        assert len(world.target.sessions) == 1
        before = world.target.sessions[0]
        assert await session.recovered(20)
        assert [each is before for each in world.target.sessions] == [False]
        assert rule.fired

    in_world(main)


def trace_of(seed: int) -> str:
    async def main(lab: Lab) -> str:
        target = await lab.target(portals=PORTALS, luns={1: "1M"})
        session = await lab.host("compute").log_in(target)
        lab.fault("session.nop_ignore").with_probability(0.4)
        lab.fault("net.refuse", portal=PORTALS[0]).with_probability(0.5).may_not_fire()
        for _ in range(30):
            await session.write(1, 0, bytes(512))
            await asyncio.sleep(7)
        await session.close()
        return lab.trace.sha256

    return Lab.run(main, seed=seed)


def test_same_seed_same_recoveries() -> None:
    assert trace_of(5) == trace_of(5)
    assert trace_of(5) != trace_of(6)
