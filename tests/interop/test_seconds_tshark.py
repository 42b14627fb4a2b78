"""tshark, which shares no code with us, sees every step of recovery and error handling at its second."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from interop.test_capture_tshark import tshark
from simulation.multipath_world import PORTALS
from simulation.seconds import PLAYS, Step, compare

from iscsim.pdu import TaskManagementFunction

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is missing: apt install tshark"),
]

ADDRESSES = [portal.partition(":")[0] for portal in PORTALS]
FROM_US = " or ".join(f"ip.dst == {address}" for address in ADDRESSES)
NEW = "not tcp.analysis.retransmission and not tcp.analysis.fast_retransmission"
FIELDS = (
    "frame.time_epoch",
    "ip.dst",
    "tcp.flags.syn",
    "iscsi.opcode",
    "scsi_sbc.opcode",
    "iscsi.taskmanfun.function",
)
PDUS = {0x00: "ping", 0x03: "login"}
READ_10 = 0x28


def steps(pcap: Path) -> list[Step]:
    found = []
    for line in tshark(pcap, f"({FROM_US}) and {NEW}", *FIELDS):
        second, address, syn, *values = line.split("\t")
        name = "connect" if syn in ("1", "True") else _name(*(_first(value) for value in values))
        if name:
            found.append((float(second), f"{name} {ADDRESSES.index(address) + 1}"))
    return found


def _first(value: str) -> int | None:
    return int(value.partition(",")[0], 0) if value else None


def _name(opcode: int | None, command: int | None, function: int | None) -> str:
    if function is not None:
        return TaskManagementFunction(function & 0x7F).name.replace("_", " ")
    if opcode == 0x01:
        return "READ" if command == READ_10 else ""
    return PDUS.get(opcode, "") if opcode is not None else ""


@pytest.mark.parametrize("name", PLAYS)
def test_every_step_is_in_the_capture_at_its_second(name: str, tmp_path: Path) -> None:
    pcap = tmp_path / f"{name}.pcapng"
    PLAYS[name](pcap)
    compare(name, steps(pcap))
