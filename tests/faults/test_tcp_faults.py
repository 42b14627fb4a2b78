"""Faults of TCP connections, as our initiator sees them in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from faults.world import SmallWorld

from iscsim.errors import ConfigError, ConnectionFailed, SessionFailed

LOGIN = [
    ("tcp.accept_stall", {"delay": 20}, "no end of the login within 15 s", 15.0),
    ("tcp.reset", {}, "Connection reset by peer", 0.0),
    ("tcp.reset", {"direction": "to_initiator"}, "Connection reset by peer", 0.0),
    ("tcp.fin", {}, "the target closed the connection", 0.0),
    ("tcp.fin", {"after_bytes": 20}, "the target closed the connection", 0.0),
    ("tcp.half_close", {"direction": "to_initiator"}, "the target closed the connection", 0.0),
    ("tcp.limit_data", {"bytes": 20}, "the target closed the connection", 0.0),
    ("tcp.stall", {}, "no end of the login within 15 s", 15.0),
    ("tcp.stall", {"dir": "to_initiator"}, "no end of the login within 15 s", 15.0),
    ("tcp.rcvbuf_zero", {"dir": "to_target"}, "no end of the login within 15 s", 15.0),
    ("tcp.backlog_full", {}, "within 15 s", 15.0),
    ("tcp.corrupt", {"offset": 0}, "the target closed the connection", 0.0),
    ("tcp.garbage", {"direction": "to_target"}, "the target closed the connection", 0.0),
    ("tcp.garbage", {"direction": "to_target", "then": "continue"}, "the target closed the connection", 0.0),
    ("tcp.garbage", {"direction": "to_initiator"}, "0x0f", 0.0),
]


@pytest.mark.parametrize("name, given, message, seconds", LOGIN)
async def test_login_fails(
    world: SmallWorld, name: str, given: dict[str, Any], message: str, seconds: float
) -> None:
    rule = world.fault(name, **given)
    with world.taking(seconds), pytest.raises(ConnectionFailed, match=message):
        await world.connect()
    assert world.commented(rule) or name == "tcp.accept_stall"


SESSION = [
    ("tcp.reset", {"after_bytes": 3000}, "Connection reset by peer", 0.0),
    ("tcp.fin", {"direction": "to_initiator", "after_bytes": 100}, "the target closed the connection", 0.0),
    ("tcp.half_close", {"after_bytes": 100}, "the target closed the connection", 0.0),
    ("tcp.limit_data", {"bytes": 10000}, "the target closed the connection", 0.0),
    ("tcp.stall", {}, "no answer to a ping within 5 s", 10.0),
    ("tcp.stall", {"dir": "to_initiator"}, "no answer to a ping within 5 s", 10.0),
    ("tcp.rcvbuf_zero", {}, "no answer to a ping within 5 s", 10.0),
    ("tcp.garbage", {"direction": "to_initiator", "then": "continue"}, "0x0f", 0.0),
]


@pytest.mark.parametrize("name, given, message, seconds", SESSION)
async def test_session_is_lost(
    world: SmallWorld, name: str, given: dict[str, Any], message: str, seconds: float
) -> None:
    session = await world.connect()
    rule = world.fault(name, **given)
    with world.taking(seconds), pytest.raises(SessionFailed, match=message):
        await session.read(1, lba=0, blocks=64)
    assert world.commented(rule)


async def test_reset_cuts_at_the_very_byte(world: SmallWorld) -> None:
    session = await world.connect()
    del world.frames[:]
    world.fault("tcp.reset", direction="to_initiator", after_bytes=3000)
    with pytest.raises(SessionFailed, match="reset"):
        await session.read(1, lba=0, blocks=64)
    assert sum(len(frame.data) for frame in world.frames if not frame.by_client) == 3000
    assert world.frames[-1].kind == "rst"


async def test_limit_counts_each_direction(world: SmallWorld) -> None:
    session = await world.connect()
    world.fault("tcp.limit_data", bytes=60000)
    await session.read(1, lba=0, blocks=64)
    await session.write(1, lba=0, data=bytes(32768))  # more than 60,000 bytes in both directions
    with pytest.raises(SessionFailed, match="closed"):
        await session.read(1, lba=0, blocks=64)


async def test_accept_stall_below_the_timeout_is_a_slow_login(world: SmallWorld) -> None:
    world.fault("tcp.accept_stall", delay="2s")
    with world.taking(2.0):
        async with world.connect():
            pass


async def test_full_backlog_ignores_the_first_syns(world: SmallWorld) -> None:
    rule = world.fault("tcp.backlog_full", n=2)
    with world.taking(3.0):
        async with world.connect():
            pass
    assert [frame.kind for frame in world.commented(rule)] == ["syn", "syn"]


async def test_slow_close_is_seen_late(world: SmallWorld) -> None:
    session = await world.connect()
    world.fault("tcp.slow_close", delay=2, direction="to_initiator")
    begun, ended = world.time(), []
    session.on_event(lambda event: ended.append(world.time()))
    await world.target.server.close()
    await asyncio.sleep(5)
    assert not session.is_open
    assert ended[0] - begun == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("avg, var, delay", [(1, 0, 0), (7, 6, 0), (64, 0, 0.001)])
async def test_pdus_are_put_together_from_slices(world: SmallWorld, avg: int, var: int, delay: float) -> None:
    rule = world.fault("tcp.slicer", avg=avg, var=var, delay=delay)
    async with world.connect() as session:
        await session.write(1, lba=0, data=bytes(range(256)) * 2)
        assert await session.read(1, lba=0, blocks=1) == bytes(range(256)) * 2
    sizes = [len(frame.data) for frame in world.frames if frame.kind == "data"]
    assert max(sizes) <= avg + var
    assert len(sizes) > rule.fired


async def test_slices_take_their_time(world: SmallWorld) -> None:
    async with world.connect() as session:
        await session.scan()
        world.fault("tcp.slicer", avg=48, delay=0.1, direction="to_initiator")
        with world.taking(1.1):  # header and 512 bytes: twelve pieces
            await session.read(1, lba=0, blocks=1)


async def test_corrupt_data_is_caught_by_the_digest_only(world: SmallWorld) -> None:
    async with world.connect(data_digest=False) as session:
        await session.scan()
        rule = world.fault("tcp.corrupt", offset=48, xor=0x01, direction="to_initiator").times(1)
        assert (await session.read(1, lba=0, blocks=1))[0] == 0x01
        assert len(world.commented(rule)) == 1
    session = await world.connect(data_digest=True)
    await session.scan()
    world.fault("tcp.corrupt", offset=48, xor=0x01, direction="to_initiator").times(1)
    with pytest.raises((SessionFailed, Exception), match="digest"):
        await session.read(1, lba=0, blocks=1)
    await session.close()


async def test_corrupt_counts_from_the_end_too(world: SmallWorld) -> None:
    async with world.connect() as session:
        await session.scan()
        world.fault("tcp.corrupt", offset=-1, xor=0x80, direction="to_initiator").times(1)
        assert bytes(await session.read(1, lba=0, blocks=1)) == bytes(511) + b"\x80"


@asynccontextmanager
async def echo(world: SmallWorld) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection from ``compute`` to a program of ``array`` that says what it hears."""
    writers: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while data := await reader.read(100):
            writer.write(data)

    async with await asyncio.start_server(answer, "10.245.47.95", 7):
        reader, writer = await asyncio.open_connection("10.245.47.95", 7, local_addr=("10.245.47.93", 0))
        yield reader, writer
        for each in (writer, *writers):
            each.transport.abort()
        await asyncio.sleep(1)


async def test_closed_window_never_times_out(world: SmallWorld) -> None:
    async with echo(world) as (reader, writer):
        rule = world.fault("tcp.rcvbuf_zero", dir="to_target")
        writer.write(b"hello")
        await asyncio.sleep(3000)
        world.engine.remove(rule.id)
        assert await reader.readexactly(5) == b"hello"


async def test_stalled_connection_times_out_after_924_s(world: SmallWorld) -> None:
    async with echo(world) as (reader, writer):
        world.fault("tcp.stall")
        writer.write(b"hello")
        with world.taking(924.6), pytest.raises(TimeoutError, match="Connection timed out"):
            await reader.read(1)


async def test_half_closed_connection_still_carries_the_other_direction(world: SmallWorld) -> None:
    async with echo(world) as (reader, writer):
        world.fault("tcp.half_close", direction="to_initiator", after_bytes=3)
        writer.write(b"hello")
        assert await reader.read() == b"hel"
        writer.write(b"more")
        await asyncio.sleep(1)
        arrived = [frame.data for frame in world.frames if frame.by_client and frame.kind == "data"]
        assert arrived == [b"hello", b"more"]
        assert "rst" not in [frame.kind for frame in world.frames]


async def test_only_what_matches_is_hit(world: SmallWorld) -> None:
    world.fault("tcp.reset", portal="10.245.47.96:3260")
    async with world.connect(0):
        with pytest.raises(ConnectionFailed, match="reset"):
            await world.connect(1)


async def test_every_second_connection_is_reset(world: SmallWorld) -> None:
    world.fault("net.refuse").every(2)
    for number in range(1, 7):
        if number % 2:
            async with world.connect():
                pass
        else:
            with pytest.raises(ConnectionFailed, match="refused"):
                await world.connect()


@pytest.mark.parametrize(
    "given, message",
    [
        ({"offset": "x"}, "offset is 'x', expected a whole number"),
        ({"xor": 0}, "xor is 0, expected 1 or more"),
        ({"xor": 256}, "xor is 256, expected 255 or less"),
        ({"ofset": 1}, "did you mean 'offset'"),
        ({"direction": "up"}, "direction='up' can never be true"),
        ({"opcode": "LoginRequest"}, "unknown parameter or match of tcp.corrupt 'opcode'"),
    ],
)
async def test_bad_parameters_are_refused(world: SmallWorld, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        world.fault("tcp.corrupt", **given)
