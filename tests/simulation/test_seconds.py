"""NOP timeout, relogin, replacement timeout and the ladder: each at its second in the capture."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulation.multipath_world import PORTALS
from simulation.seconds import PLAYS, Step, compare

from iscsim.capture import pcap_events, read_packets
from iscsim.capture.frames import ACK, SYN, parse_segment
from iscsim.pdu import LoginRequest, NOPOut, SCSICommand, TaskManagementFunction, TaskManagementRequest
from iscsim.scsi.opcode import Opcode

ADDRESSES = [portal.partition(":")[0] for portal in PORTALS]


def steps(pcap: Path) -> list[Step]:
    """What our reader sees."""
    found: list[Step] = []
    first: set[object] = set()
    for packet in read_packets(pcap):
        segment = parse_segment(packet.link_type, packet.data)
        if segment is not None and segment.flags & (SYN | ACK) == SYN and segment.source not in first:
            first.add(segment.source)
            portal = ADDRESSES.index(str(segment.destination[0])) + 1
            found.append((packet.timestamp_ns / 1e9, f"connect {portal}"))
    for event in pcap_events(pcap):
        name = _name(event.content) if event.from_client else ""
        if name:
            portal = ADDRESSES.index(str(event.server[0])) + 1
            found.append((event.timestamp_ns / 1e9, f"{name} {portal}"))
    return sorted(found, key=lambda step: step[0])


def _name(pdu: object) -> str:
    match pdu:
        case LoginRequest():
            return "login"
        case NOPOut():
            return "ping"
        case TaskManagementRequest():
            return TaskManagementFunction(pdu.function).name.replace("_", " ")
        case SCSICommand() if pdu.cdb[0] == Opcode.READ_10:
            return "READ"
    return ""


@pytest.mark.parametrize("name", PLAYS)
def test_every_step_is_in_the_capture_at_its_second(name: str, tmp_path: Path) -> None:
    pcap = tmp_path / f"{name}.pcapng"
    PLAYS[name](pcap)
    compare(name, steps(pcap))
