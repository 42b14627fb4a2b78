"""A device server with one unit of 2048 blocks under LUN 0, and the answers of real targets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from iscsim.scsi.completion import Completion
from iscsim.scsi.device_server import DeviceServer
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.lun import encode_lun
from iscsim.scsi.nexus import ITNexus, LUNMap
from iscsim.scsi.sense import Sense
from iscsim.scsi.store import MemoryStore
from iscsim.scsi.target_ports import TargetPorts

WWN = "6006016015e03a00ab2df25bb82d0ea9"


@dataclass
class Recorded:
    """One command of a capture, and what the target (tgt or LIO) answered to Linux."""

    peer: str
    lun: bytes
    cdb: bytes
    status: int
    data: bytes
    sense: bytes


def _load() -> list[Recorded]:
    rows = json.loads(Path(__file__).with_name("recorded.json").read_text())
    texts = ("lun", "cdb", "data", "sense")
    return [
        Recorded(row["peer"], status=row["status"], **{name: bytes.fromhex(row[name]) for name in texts})
        for row in rows
    ]


RECORDED = _load()


@pytest.fixture(scope="session")
def recorded() -> Callable[..., list[Recorded]]:
    """``recorded("12", peer="LIO")``: the commands whose CDB begins with these hex digits, never none."""

    def find(cdb: str = "", peer: str | None = None, lun: str = "") -> list[Recorded]:
        found = [
            row
            for row in RECORDED
            if row.cdb.hex().startswith(cdb) and peer in (None, row.peer) and row.lun.hex().startswith(lun)
        ]
        assert found, f"no recorded command begins with {cdb}"
        return found

    return find


class Rig:
    """A device server, its map, its unit, and one nexus that has heard its first unit attention."""

    def __init__(self, store: Any = None, number: int = 0, **options: Any) -> None:
        self.server = DeviceServer()
        self.lun_map = LUNMap()
        self.groups: dict[int, list[int]] = {}
        self.ports = TargetPorts(lambda: self.groups)
        self.port_numbers = [1, 2]
        self.unit = self.add(number, store, **options)
        self.lun = encode_lun(number)
        self.nexus = self.connect()
        for mapped in self.lun_map:
            self.nexus.take(mapped.logical_unit)

    def add(self, number: int, store: Any = None, read_only_map: bool = False, **options: Any) -> LogicalUnit:
        identity = {"serial": f"FNM0015060026{number}", "wwn": WWN} | options
        unit = LogicalUnit(store or MemoryStore(2048), **identity)
        self.lun_map.add(number, unit, read_only_map)
        return unit

    def connect(self, initiator: str = "iqn.1993-08.org.debian:01:host", port: int = 1) -> ITNexus:
        """Through a port that is a target port group of its own, unless ``groups`` has it already."""
        if not any(port in ports for ports in self.groups.values()):
            self.groups[port] = [port]
        nexus = ITNexus(
            initiator_name=initiator,
            initiator_port=f"{initiator},i,0x00023d000001",
            target_name="iqn.1992-04.com.emc:cx.a0",
            target_port=f"iqn.1992-04.com.emc:cx.a0,t,{port:#06x}",
            lun_map=self.lun_map,
            relative_target_port=port,
            target_port_group=next(group for group, ports in self.groups.items() if port in ports),
            target_ports=self.ports,
            target_port_names=lambda: {
                number: f"iqn.1992-04.com.emc:cx.a0,t,{number:#06x}" for number in self.port_numbers
            },
        )
        self.server.nexus_established(nexus)
        return nexus

    def execute(self, cdb: bytes, data_out: bytes = b"", **at: Any) -> Completion:
        nexus, lun = at.get("nexus", self.nexus), at.get("lun", self.lun)
        return self.server.execute(nexus, lun, cdb, data_out, at.get("offered"))

    def good(self, cdb: bytes, data_out: bytes = b"", **at: Any) -> bytes:
        completion = self.execute(cdb, data_out, **at)
        assert (completion.status, completion.sense) == (0, b"")
        return bytes(completion.data_in)

    def sense(self, cdb: bytes, data_out: bytes = b"", **at: Any) -> Sense:
        completion = self.execute(cdb, data_out, **at)
        assert (completion.status, bytes(completion.data_in)) == (2, b"")
        return Sense.parse(completion.sense)

    def conflicts(self, cdb: bytes, data_out: bytes = b"", **at: Any) -> bool:
        """True for RESERVATION CONFLICT; anything else but GOOD fails."""
        completion = self.execute(cdb, data_out, **at)
        assert (completion.status in (0x00, 0x18), completion.sense) == (True, b"")
        return completion.status == 0x18

    def other(self, initiator: str = "iqn.other", port: int = 1) -> ITNexus:
        """Another nexus that has heard its first unit attention."""
        nexus = self.connect(initiator, port)
        for mapped in self.lun_map:
            nexus.take(mapped.logical_unit)
        return nexus

    def fault(self, cdb: bytes, data_out: bytes = b"", **at: Any) -> str:
        """``"05/21/00"``."""
        return str(self.sense(cdb, data_out, **at))[-9:-1]


@pytest.fixture(scope="session")
def make_rig() -> type[Rig]:
    return Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()
