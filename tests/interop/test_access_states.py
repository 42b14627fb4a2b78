"""What tshark reads in a capture of paths that are not active.

It does not take REPORT TARGET PORT GROUPS apart: that is compared with LIO's own answer in
tests/scsi/test_target_port_groups.py.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import iscsim
from iscsim.scsi import cdb

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is missing: apt install tshark"),
]


def tshark(path: Path, shown: str, *fields: str) -> list[str]:
    command = ["timeout", "60", "tshark", "-n", "-r", str(path), "-Y", shown, "-T", "fields"]
    command += [word for field in fields for word in ("-e", field)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


async def converse(path: Path, portals: int, states: tuple[str, ...]) -> None:
    async with (
        iscsim.serve(luns={1: "1M,tpgs=both"}, portals=portals, pcap=path) as target,
        iscsim.connect(target.portals[0], target.name) as session,
    ):
        await session.inquiry(1)
        for state in states:
            target.set_access_state(1, state)
            await session.inquiry(1)
            await session.execute(1, cdb.report_target_port_groups(), data_in_length=4096)
            with pytest.raises(iscsim.CommandFailed):
                await session.read_capacity(1)


async def test_sense_of_every_state_is_named(tmp_path: Path) -> None:
    path = tmp_path / "states.pcapng"
    await converse(path, 1, ("standby", "unavailable", "offline", "transitioning"))
    senses = tshark(path, "scsi.sns.key", "scsi.sns.key", "scsi.sns.ascascq")
    not_ready = [line.split("\t")[1] for line in senses if line.startswith("0x02")]
    assert not_ready == ["0x040b", "0x040c", "0x0412", "0x040a"]
    assert tshark(path, "_ws.malformed", "frame.number") == []


@pytest.mark.parametrize("portals", [1, 2])
async def test_inquiry_shows_modes_ports_and_qualifier(tmp_path: Path, portals: int) -> None:
    path = tmp_path / "inquiry.pcapng"
    await converse(path, portals, ("standby", "unavailable"))
    fields = ("scsi.inquiry.qualifier", "scsi.inquiry.tpgs", "scsi.inquiry.multip")
    answers = tshark(path, "scsi.inquiry.tpgs", *fields)
    several = "1" if portals > 1 else "0"
    assert answers == [f"{qualifier}\t3\t{several}" for qualifier in ("0x00", "0x00", "0x01")]


async def test_requests_are_called_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "requests.pcapng"
    await converse(path, 1, ("standby",))
    assert "0x0a" in tshark(path, "scsi.mpi.service_action", "scsi.mpi.service_action")
