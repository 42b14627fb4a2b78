"""Each fault of a session that befalls a PDU, and what our initiator makes of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from faults.world import SmallWorld

import iscsim.faults.session_faults  # noqa: F401 - its faults are in the catalogue then
from iscsim.errors import ConfigError, LoginFailed, SessionFailed
from iscsim.initiator.session import Session
from iscsim.initiator.task import CommandAborted, CommandTimedOut
from iscsim.pdu import RejectReason
from iscsim.scsi.sense import CommandFailed
from iscsim.session.parameters import Wishes

BLOCK = bytes(range(256)) * 2


async def read(session: Session) -> None:
    await session.read(1, lba=0, blocks=8)


async def write(session: Session) -> None:
    """More than may come unsolicited: the target asks with an R2T."""
    await session.write(1, lba=0, data=BLOCK * 1024)


async def ping(session: Session) -> None:
    await session.ping(b"ping")


async def silence(session: Session) -> None:
    """Until the session's own ping."""
    await asyncio.sleep(11)
    await session.ping()


async def logout(session: Session) -> None:
    await session.logout()


ENDS: list[tuple[str, dict[str, Any], Any, str, float]] = [
    ("session.statsn_gap", {}, read, r"SCSIDataIn|SCSIResponse with StatSN \d+, expected \d+", 0.0),
    ("session.statsn_gap", {"n": 5}, ping, r"NOPIn with StatSN \d+, expected \d+", 0.0),
    ("session.datasn_gap", {}, read, "Data-In with DataSN 1, expected 0", 0.0),
    ("session.r2tsn_dup", {}, write, "R2T with R2TSN 0, expected 1", 0.0),
    ("session.nop_ignore", {}, silence, "no answer to a ping within 5 s", 11.0),
    ("session.nop_ignore", {}, ping, "no answer to NOP-Out in time|no answer to a ping", 10.0),
    ("session.nop_bad_ttt", {}, ping, "the answer to a ping with Target Transfer Tag 0x1", 0.0),
    ("session.logout", {"response": 1}, logout, "logout response 1", 0.0),
    ("session.logout", {"response": 3, "delay": 4}, logout, "logout response 3", 4.0),
    ("session.logout", {"none": True}, logout, "no answer to Logout Request in time", 15.0),
    ("session.reject", {"reason": 9, "opcode": "LogoutRequest"}, logout, "Logout Request: Reject", 0.0),
]


@pytest.mark.parametrize(("name", "given", "use", "message", "seconds"), ENDS)
async def test_session_ends_and_a_new_one_is_well(
    world: SmallWorld, name: str, given: dict[str, Any], use: Any, message: str, seconds: float
) -> None:
    session = await world.connect()
    await session.test_unit_ready(1)
    rule = world.fault(name, **given)
    with world.taking(seconds), pytest.raises(SessionFailed, match=message):
        await use(session)
    assert world.commented(rule)
    await session.close()
    world.engine.remove(rule.id)
    async with world.connect() as again:
        await again.read(1, lba=0, blocks=1)


async def test_a_late_answer_to_a_logout_is_waited_for(world: SmallWorld) -> None:
    world.fault("session.logout", delay=4)
    session = await world.connect()
    with world.taking(4.0):
        await session.logout()


# -- the command window ----------------------------------------------------------------------------


async def ready_until_time_is_up(session: Session) -> int:
    """How many commands end before one does not."""
    for count in range(300):
        try:
            await session.execute(1, bytes(6))
        except CommandTimedOut:
            return count
    raise AssertionError("the window never closes")


@pytest.mark.parametrize(("before_login", "commands"), [(True, 1), (False, 128)])
async def test_a_closed_window_stops_commands_once_what_was_open_is_used_up(
    world: SmallWorld, before_login: bool, commands: int
) -> None:
    if before_login:
        world.fault("session.cmdsn_window", mode="close")
    session = await world.connect(command_timeout_s=20.0, ping_interval_s=5)
    if not before_login:
        world.fault("session.cmdsn_window", mode="close")
    with world.taking(20.0):
        assert await ready_until_time_is_up(session) == commands
    assert session.is_open  # pings are immediate


async def test_a_window_of_one_serialises(world: SmallWorld) -> None:
    world.target.node.policy = replace(world.target.node.policy, command_window=4)
    world.fault("session.cmdsn_window", mode="shrink", n=3)
    async with world.connect() as session:
        reads = await asyncio.gather(*(session.read(1, lba=lba, blocks=1) for lba in range(20)))
    assert len(reads) == 20
    sent = [frame for frame in world.frames if frame.by_client and frame.data[:1] == b"\x01"]
    assert all(len(frame.data) == 48 for frame in sent)


async def test_commands_beyond_the_real_window_are_lost(world: SmallWorld) -> None:
    world.target.node.policy = replace(world.target.node.policy, command_window=4)
    world.fault("session.cmdsn_window", mode="jump", n=100)
    async with world.connect(command_timeout_s=5.0) as session:
        await session.test_unit_ready(1)
        reads = [session.execute(1, bytes(6)) for _ in range(20)]
        with world.taking(5.0):
            answers = await asyncio.gather(*reads, return_exceptions=True)
    lost = [each for each in answers if isinstance(each, CommandTimedOut)]
    assert len(lost) == 16


async def test_a_stuck_expcmdsn_uses_the_window_up(world: SmallWorld) -> None:
    world.target.node.policy = replace(world.target.node.policy, command_window=4)
    async with world.connect(command_timeout_s=5.0) as session:
        world.fault("session.expcmdsn_stuck")
        with world.taking(5.0):
            assert await ready_until_time_is_up(session) == 5


# -- rejects ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [reason for reason in RejectReason if reason not in (0x0B, 0x0C)])
async def test_a_rejected_command_is_aborted_and_the_session_goes_on(world: SmallWorld, reason: int) -> None:
    async with world.connect() as session:
        await session.test_unit_ready(1)
        rule = world.fault("session.reject", reason=reason, opcode="SCSICommand").times(1)
        with pytest.raises(CommandAborted, match=f"rejected: Reject with reason {reason:#04x}"):
            await session.execute(1, bytes(6))
        await session.test_unit_ready(1)
        assert session.is_open
    assert world.commented(rule)


@pytest.mark.parametrize(
    ("reason", "message"), [(0x0B, "negotiation reset"), (0x0C, "was rejected: Reject with reason 0x0c")]
)
async def test_some_reasons_end_the_session(world: SmallWorld, reason: int, message: str) -> None:
    session = await world.connect()
    world.fault("session.reject", reason=reason, opcode="SCSICommand").times(1)
    with pytest.raises((SessionFailed, CommandAborted), match=message):
        await session.test_unit_ready(1)
    await asyncio.sleep(1)
    assert not session.is_open


async def test_a_reason_that_is_none_is_refused(world: SmallWorld) -> None:
    with pytest.raises(ConfigError, match="reason is 1, expected one of 2, 3"):
        world.fault("session.reject", reason=1)


# -- digests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("session.header_digest", {}, "header digest of opcode 0x25 does not match"),
        ("session.header_digest", {"direction": "rx"}, "the target closed the connection"),
        ("session.data_digest", {}, "data digest of SCSIDataIn does not match"),
    ],
)
async def test_a_wrong_digest_ends_the_session(
    world: SmallWorld, name: str, given: dict[str, Any], message: str
) -> None:
    session = await world.connect(header_digest=True, data_digest=True)
    await session.read_capacity(1)
    rule = world.fault(name, opcode="SCSI*", **given).times(1)
    with pytest.raises(SessionFailed, match=message):
        await session.read(1, lba=0, blocks=8)
    assert world.commented(rule)


async def test_a_write_whose_data_is_damaged_fails_and_writes_nothing(world: SmallWorld) -> None:
    async with world.connect(header_digest=True, data_digest=True) as session:
        await session.read_capacity(1)
        world.fault("session.data_digest", direction="rx", opcode="SCSIDataOut").times(1)
        with pytest.raises(CommandFailed) as caught:
            await session.write(1, lba=0, data=BLOCK * 1024)
        assert caught.value.sense is not None
        assert (caught.value.sense.key, caught.value.sense.code) == (0x0B, 0x4705)
        assert await session.read(1, lba=0, blocks=8) == bytes(4096)


async def test_without_digests_there_is_none_to_damage(world: SmallWorld) -> None:
    world.fault("session.data_digest").may_not_fire()
    async with world.connect() as session:
        await session.read(1, lba=0, blocks=8)
    assert not world.engine.firings


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "status"), [("session.max_conn", 0x0206), ("session.limit", 0x0302)])
async def test_one_more_than_the_limit_is_refused(world: SmallWorld, name: str, status: int) -> None:
    world.fault(name, n=2)
    one, two = await world.connect(isid=b"\x80abcde"), await world.connect(isid=b"\x80abcdf")
    with pytest.raises(LoginFailed) as caught:
        await world.connect(isid=b"\x80abcdg")
    assert caught.value.status == status
    await one.close()
    async with world.connect(isid=b"\x80abcdg") as three:
        assert three.is_open
    await two.close()


async def test_a_tap_comes_to_a_live_connection_with_the_first_rule(world: SmallWorld) -> None:
    async with world.connect(wishes=Wishes(max_recv_data_segment_length=8192)) as session:
        (connection,) = world.target.node.sessions[0].connections.values()
        assert connection.tap is None
        rule = world.fault("session.nop_bad_ttt").may_not_fire()
        assert connection.tap is not None
        world.engine.remove(rule.id)
        assert await session.ping(b"again") == b"again"
