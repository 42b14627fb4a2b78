"""The same faults on real TCP."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

import iscsim
from iscsim.errors import ConfigError, ConnectionFailed, SessionFailed
from iscsim.faults.engine import FaultEngine
from iscsim.faults.rule import FaultRule
from iscsim.faults.tcp_network import FaultyNetwork
from iscsim.lab import LiveTarget
from iscsim.net import runner
from iscsim.net.tcp import TCPNetwork

REAL_TIME = True
DATA = bytes(range(256)) * 128
SIDES = ["target", "initiator"]


@asynccontextmanager
async def served(engine: FaultEngine, side: str) -> AsyncIterator[tuple[LiveTarget, Any]]:
    """A target and the network of its initiator; the faults are on one side."""
    engine.network = "tcp"
    faulty = FaultyNetwork(engine, host="here")
    networks = (faulty, TCPNetwork()) if side == "target" else (TCPNetwork(), faulty)
    async with iscsim.serve(luns={1: "1M"}, network=networks[0]) as target:
        yield target, networks[1]


@pytest.mark.parametrize("side", SIDES)
async def test_network_without_faults_is_a_network(side: str) -> None:
    async with served(FaultEngine(), side) as (target, network):
        async with iscsim.connect(target.portal, target.name, network=network) as session:
            await session.write(1, lba=0, data=DATA)
            assert await session.read(1, lba=0, blocks=64) == DATA
        assert target.sessions == []


REFUSED = [
    ("net.refuse", {}, "Connection refused"),
    ("net.unreachable", {"code": "net"}, "Network is unreachable"),
    ("net.unreachable", {"code": "prohibited"}, "No route to host"),
    ("net.blackhole", {}, "within 0.3 s"),
    ("tcp.backlog_full", {}, "within 0.3 s"),
    ("net.latency", {"delay": 5}, "within 0.3 s"),
]


@pytest.mark.parametrize("name, given, message", REFUSED)
async def test_connect_fails(name: str, given: dict[str, Any], message: str) -> None:
    engine = FaultEngine()
    async with served(engine, "initiator") as (target, network):
        rule = engine.add(name, **given)
        with pytest.raises(ConnectionFailed, match=message):
            await iscsim.connect(target.portal, target.name, network=network, login_timeout_s=0.3)
        assert rule.fired


async def test_blackhole_may_be_cancelled() -> None:
    engine = FaultEngine()
    engine.add("net.blackhole")
    connecting = asyncio.ensure_future(FaultyNetwork(engine).connect("127.0.0.1", 9, asyncio.Protocol))
    await asyncio.sleep(0.05)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting


async def test_name_is_not_resolved() -> None:
    engine = FaultEngine()
    engine.add("net.dns", name="localhost", rcode="SERVFAIL")
    with pytest.raises(socket.gaierror, match="Temporary failure"):
        await FaultyNetwork(engine).connect("localhost", 9, asyncio.Protocol)


LOST = [
    ("tcp.reset", {"direction": "to_initiator", "after_bytes": 3000}, "reset by peer"),
    ("tcp.fin", {"direction": "to_initiator", "after_bytes": 3000}, "closed the connection"),
    ("tcp.half_close", {"direction": "to_initiator", "after_bytes": 3000}, "closed the connection"),
    ("tcp.limit_data", {"bytes": 4000}, "closed the connection"),
    ("tcp.garbage", {"direction": "to_initiator", "then": "continue"}, "0x0f"),
    ("tcp.stall", {"dir": "to_initiator"}, "no answer to a ping"),
    ("tcp.rcvbuf_zero", {"dir": "to_initiator"}, "no answer to a ping"),
]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name, given, message", LOST)
async def test_session_is_lost(side: str, name: str, given: dict[str, Any], message: str) -> None:
    engine = FaultEngine()
    async with served(engine, side) as (target, network):
        times = {"ping_interval_s": 0.1, "ping_timeout_s": 0.2}
        session = await iscsim.connect(target.portal, target.name, network=network, **times)
        rule = engine.add(name, **given)
        with pytest.raises(SessionFailed, match=message):
            await session.read(1, lba=0, blocks=64)
        assert rule.fired


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "name, given",
    [
        ("tcp.slicer", {"avg": 5, "var": 4}),
        ("net.latency", {"delay": "5ms", "jitter": "4ms", "dist": "uniform"}),
        ("net.bandwidth", {"rate": 1e6}),
        ("tcp.slow_close", {"delay": "50ms"}),
    ],
)
async def test_data_is_what_it_was(side: str, name: str, given: dict[str, Any]) -> None:
    engine = FaultEngine()
    async with served(engine, side) as (target, network):
        rule = engine.add(name, **given)
        async with iscsim.connect(target.portal, target.name, network=network) as session:
            await session.write(1, lba=0, data=DATA[:4096])
            assert await session.read(1, lba=0, blocks=8) == DATA[:4096]
        await asyncio.sleep(0.1)
        assert rule.fired


@pytest.mark.parametrize("side", SIDES)
async def test_lost_segments_come_again(side: str) -> None:
    engine = FaultEngine()
    async with served(engine, side) as (target, network):
        async with iscsim.connect(target.portal, target.name, network=network) as session:
            rule: FaultRule = engine.add("net.loss", p=1.0, dir="to_target").times(1)
            begun = time.monotonic()
            await session.ping()
            assert (rule.fired, time.monotonic() - begun >= 0.19) == (1, True)


@pytest.mark.parametrize("side", SIDES)
async def test_latency_is_there_and_back(side: str) -> None:
    engine = FaultEngine()
    async with served(engine, side) as (target, network):
        async with iscsim.connect(target.portal, target.name, network=network) as session:
            engine.add("net.latency", delay="50ms")
            begun = time.monotonic()
            await session.ping()
            assert time.monotonic() - begun >= 0.099


async def test_corrupt_byte_arrives() -> None:
    engine = FaultEngine()
    async with served(engine, "target") as (target, network):
        async with iscsim.connect(target.portal, target.name, network=network) as session:
            await session.scan()
            engine.add("tcp.corrupt", offset=48, xor=0x0F, direction="to_initiator").times(1)
            assert (await session.read(1, lba=0, blocks=1))[0] == 0x0F


async def test_accept_is_stalled() -> None:
    engine = FaultEngine()
    async with served(engine, "target") as (target, network):
        engine.add("tcp.accept_stall", delay=5).times(1)
        with pytest.raises(ConnectionFailed, match=r"no end of the login within 0.2 s"):
            await iscsim.connect(target.portal, target.name, network=network, login_timeout_s=0.2)
        engine.add("tcp.accept_stall", delay="50ms").times(1)
        async with iscsim.connect(target.portal, target.name, network=network):
            pass


async def test_connection_nobody_has_accepted_when_the_listener_closes_is_reset() -> None:
    engine = FaultEngine()
    engine.add("tcp.accept_stall", delay=60)
    listener = await FaultyNetwork(engine).listen("127.0.0.1", 0, asyncio.Protocol)
    reader, writer = await asyncio.open_connection(*listener.address)
    await asyncio.sleep(0.02)
    listener.close()
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    writer.close()


async def test_who_looks_at_no_segments_counts_connects_only() -> None:
    engine = FaultEngine()
    client, server = FaultyNetwork(engine, segments=False), FaultyNetwork(engine)
    rule = engine.add("tcp.slow_close", delay=0)
    async with iscsim.serve(luns={1: "1M"}, network=server) as target:
        async with iscsim.connect(target.portal, target.name, network=client):
            pass
        await asyncio.sleep(0.05)
    assert 0 < rule.fired <= 3


async def test_faults_of_a_network_in_memory_are_refused() -> None:
    engine = FaultEngine()
    async with served(engine, "target"):
        with pytest.raises(ConfigError, match=r"net.mtu_blackhole needs the memory network"):
            engine.add("net.mtu_blackhole")


# -- faults that step between ----------------------------------------------------------------------------


@asynccontextmanager
async def aside(engine: FaultEngine) -> AsyncIterator[LiveTarget]:
    """A target whose connections know of faults only when there are some."""
    engine.network = "tcp"
    found: list[LiveTarget] = []
    network = FaultyNetwork(engine, host="here", live=lambda: found[0].server.protocols)
    async with iscsim.serve(luns={1: "1M"}, network=network) as target:
        found.append(target)
        yield target


def transports(target: LiveTarget) -> set[str]:
    return {type(protocol.transport).__name__.lstrip("_") for protocol in target.server.protocols}


def in_real_time(main: Callable[[], Coroutine[Any, Any, None]], loop: str) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
        runner.run(main())
    else:
        asyncio.run(main())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_session_is_left_alone_until_a_fault_of_the_network_is_armed(loop: str) -> None:
    async def main() -> None:
        engine = FaultEngine()
        async with aside(engine) as target:
            async with iscsim.connect(target.portal, target.name) as session:
                await session.write(1, lba=0, data=DATA)
                engine.add("task.busy", command="WRITE (16)").may_not_fire()
                assert "FaultyTransport" not in transports(target)
                reading = asyncio.gather(*(session.read(1, lba=0, blocks=64) for _ in range(16)))
                await asyncio.sleep(0)
                rule = engine.add("net.latency", delay=0.05)
                assert transports(target) == {"FaultyTransport"}
                assert await reading == [DATA] * 16
                begun = time.monotonic()
                assert await session.read(1, lba=0, blocks=64) == DATA
                assert time.monotonic() - begun > 0.09
                assert rule.fired
                engine.reset()
                assert await session.read(1, lba=0, blocks=64) == DATA
            async with iscsim.connect(target.portal, target.name) as session:
                assert "FaultyTransport" not in transports(target)

    in_real_time(main, loop)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("name", ["tcp.reset", "tcp.fin"])
def test_fault_ends_a_session_that_was_there_before(name: str, loop: str) -> None:
    async def main() -> None:
        engine = FaultEngine()
        async with aside(engine) as target:
            async with iscsim.connect(target.portal, target.name) as session:
                await session.read(1, lba=0, blocks=1)
                rule = engine.add(name, portal=target.portal)
                with pytest.raises(SessionFailed):
                    await session.read(1, lba=0, blocks=1)
                assert rule.fired == 1
            await asyncio.sleep(0.05)
            assert target.server.protocols == []

    in_real_time(main, loop)


async def test_who_does_not_read_is_still_waited_for_when_faults_step_between() -> None:
    engine = FaultEngine()
    async with aside(engine) as target, iscsim.connect(target.portal, target.name) as session:
        (protocol,) = target.server.protocols
        protocol.stand_still()
        reading = asyncio.ensure_future(session.read(1, lba=0, blocks=64))
        await asyncio.sleep(0.05)
        engine.add("tcp.slicer", avg=1000)
        protocol.go_on()
        assert await reading == bytes(64 * 512)


async def test_fault_of_accepting_meets_connections_that_come_later() -> None:
    engine = FaultEngine()
    async with aside(engine) as target, iscsim.connect(target.portal, target.name):
        rule = engine.add("tcp.accept_stall", delay=0.1)
        begun = time.monotonic()
        async with iscsim.connect(target.portal, target.name):
            assert time.monotonic() - begun > 0.09
        assert rule.fired == 1
