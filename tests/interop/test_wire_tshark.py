"""tshark reads the capture of a memory network, and finds what went wrong on it, and nothing else."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from interop.test_capture_tshark import STRICT, SUSPICIOUS, tshark
from net.worlds import Log, play, until

import iscsim
from iscsim.capture.wire import WireRecorder
from iscsim.net.conditions import End, Flow, Passage, Reply, Verdict
from iscsim.net.memory import MemoryNetwork

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is missing: apt install tshark"),
]

ARRAY, ARRAY_2, COMPUTE = "10.245.47.95", "10.245.47.96", "10.245.47.10"


class Way:
    """`Conditions` as a test sets them."""

    verdict = Verdict.PASS
    lost: frozenset[int] = frozenset()
    """Which segments, counted from 1, are lost."""
    end: End | None = None
    twice = False
    count = 0

    def connecting(self, flow: Flow, attempt: int, now: float) -> Reply:
        return Reply(self.verdict, None if self.verdict is Verdict.PASS else f"fault: {self.verdict.value}")

    def accepting(self, flow: Flow, now: float) -> float:
        return 0.0

    def segment(self, flow: Flow, data: bytes, now: float) -> list[Passage] | None:
        self.count += 1
        if self.count in self.lost:
            return [Passage(data, comment=f"fault: lost segment {self.count}", lost=True)]
        if data and self.twice:
            return [Passage(data), Passage(data, copy=True, comment="fault: twice")]
        return [Passage(data, end=self.end, comment="fault: cut" if self.end else None)]

    def datagram(self, flow: Flow, data: bytes, now: float) -> list[Passage]:
        return [Passage(data, comment="fault: none")]


@pytest.fixture
def captured(tmp_path: Path) -> Callable[[Callable[[MemoryNetwork, Way], Awaitable[None]]], Path]:
    """Capture what a coroutine does in a world of two hosts; the file."""

    def run(body: Callable[[MemoryNetwork, Way], Awaitable[None]]) -> Path:
        path = tmp_path / "wire.pcapng"

        async def main() -> None:
            with WireRecorder(path) as recorder:
                network, way = MemoryNetwork(recorder=recorder), Way()
                network.conditions = way
                network.add_host("array", ARRAY, ARRAY_2)
                network.add_host("compute", COMPUTE)
                await body(network, way)

        play(main)
        return path

    return run


def failing_connect(verdict: Verdict) -> Callable[[MemoryNetwork, Way], Awaitable[None]]:
    async def body(network: MemoryNetwork, way: Way) -> None:
        way.verdict = verdict
        with pytest.raises(OSError):
            await network.host("compute").connect(ARRAY, 3260, Log)

    return body


async def session(network: MemoryNetwork, way: Way) -> None:
    """Log in through both portals, write and read a MiB."""
    portals = [f"{ARRAY}:3260", f"{ARRAY_2}:3260"]
    async with iscsim.serve(network=network.host("array"), portals=portals) as target:
        for portal in portals:
            compute = network.host("compute")
            async with iscsim.connect(portal, target.name, network=compute) as opened:
                (unit,) = await opened.scan()
                await opened.write(unit.lun, 0, bytes(1 << 20))
                assert len(await opened.read(unit.lun, 0, 2048)) == 1 << 20


def test_sessions_are_clean_from_syn_to_fin(captured: Any) -> None:
    path = captured(session)
    assert tshark(path, f"{SUSPICIOUS} or ip.checksum.status != 1 or tcp.checksum.status != 1") == []
    assert len(set(tshark(path, "tcp", "tcp.stream"))) == 2
    assert set(tshark(path, "tcp", "frame.interface_name")) == {"compute/eth0"}
    servers = set(tshark(path, "tcp.flags.syn == 1 and tcp.flags.ack == 0", "ip.dst", "tcp.dstport"))
    assert servers == {f"{ARRAY}\t3260", f"{ARRAY_2}\t3260"}
    opcodes = tshark(path, "iscsi.opcode in {0x03, 0x23, 0x06, 0x26}", "iscsi.opcode")
    assert opcodes[:2] == ["0x03", "0x23"]
    assert opcodes[-2:] == ["0x06", "0x26"]
    assert tshark(path, "tcp.flags.reset == 1") == []


def test_blackhole_is_seven_syns_of_which_six_are_retransmissions(captured: Any) -> None:
    path = captured(failing_connect(Verdict.LOST))
    syns = tshark(path, "tcp", "tcp.flags.syn", "frame.time_relative", "frame.comment")
    assert [float(line.split("\t")[1]) for line in syns] == [0, 1, 3, 7, 15, 31, 63]
    assert {line.split("\t")[2] for line in syns} == {"fault: lost"}
    assert len(tshark(path, "tcp.analysis.retransmission")) == 6
    assert tshark(path, "_ws.malformed or _ws.expert.severity >= 0x800000") == []


def test_refusal_is_a_reset(captured: Any) -> None:
    path = captured(failing_connect(Verdict.REFUSED))
    assert tshark(path, "tcp", "tcp.flags") == ["0x0002", "0x0014"]
    assert tshark(path, "tcp.flags.reset == 1", "tcp.ack") == ["1"]
    assert tshark(path, "tcp.analysis.flags or _ws.malformed") == []


@pytest.mark.parametrize(
    "verdict, code",
    [(Verdict.HOST_UNREACHABLE, 1), (Verdict.NETWORK_UNREACHABLE, 0), (Verdict.PROHIBITED, 13)],
)
def test_unreachable_is_icmp_that_quotes_the_syn(captured: Any, verdict: Verdict, code: int) -> None:
    path = captured(failing_connect(verdict))
    fields = ("icmp.type", "icmp.code", "icmp.checksum.status", "tcp.dstport")
    assert tshark(path, "icmp", *fields) == [f"3\t{code}\t1\t3260"]
    assert tshark(path, "_ws.malformed or tcp.analysis.flags") == []


def test_lost_segments_come_again_and_nobody_acknowledges_them_before(captured: Any) -> None:
    async def body(network: MemoryNetwork, way: Way) -> None:
        way.lost = frozenset({1, 3, 4, 9, 20, 40})
        await session(network, way)

    path = captured(body)
    assert len(tshark(path, 'frame.comment contains "fault: lost segment"')) == 6
    assert len(tshark(path, "tcp.analysis.retransmission")) == 6
    unwanted = "tcp.analysis.spurious_retransmission or tcp.analysis.ack_lost_segment or _ws.malformed"
    assert tshark(path, f"{unwanted} or tcp.analysis.lost_segment or tcp.analysis.out_of_order") == []
    assert tshark(path, "_ws.expert.severity >= 0x800000") == []


def test_copies_are_retransmissions_and_no_new_data(captured: Any) -> None:
    async def body(network: MemoryNetwork, way: Way) -> None:
        way.twice = True
        await session(network, way)

    path = captured(body)
    copies = tshark(path, 'frame.comment contains "fault: twice"')
    assert len(tshark(path, "tcp.analysis.retransmission")) == len(copies) > 20
    unwanted = "tcp.analysis.ack_lost_segment or tcp.analysis.lost_segment or _ws.malformed"
    assert tshark(path, f"{unwanted} or _ws.expert.severity >= 0x800000") == []


def test_reset_from_outside_bears_its_comment(captured: Any) -> None:
    async def body(network: MemoryNetwork, way: Way) -> None:
        await network.host("array").listen(ARRAY, 3260, Log)
        client: Any = await network.host("compute").connect(ARRAY, 3260, Log)
        way.end = End.RST
        client.transport.write(bytes(48))
        await until(lambda: client.lost)
        await asyncio.sleep(1)

    path = captured(body)
    assert len(tshark(path, "tcp.flags.reset == 1", "frame.comment")) == 1
    assert len(tshark(path, 'frame.comment contains "fault: cut"')) >= 1
    assert tshark(path, "tcp.analysis.flags or _ws.malformed") == []


def test_datagram_is_udp_with_its_comment(captured: Any) -> None:
    async def body(network: MemoryNetwork, way: Way) -> None:
        transport = await network.host("compute").datagram(asyncio.DatagramProtocol)
        transport.sendto(b"hello", (ARRAY, 9999))
        await asyncio.sleep(1)

    path = captured(body)
    found = tshark(
        path, "udp", "ip.dst", "udp.dstport", "udp.checksum.status", "data.data", "frame.comment",
        preferences=(*STRICT, "udp.check_checksum:TRUE"),
    )  # fmt: skip
    assert found == [f"{ARRAY}\t9999\t1\t68656c6c6f\tfault: none"]
