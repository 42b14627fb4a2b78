"""One attach, its I/O and its detach: the same body in memory and on real TCP, and both captures clean."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import pytest
from interop.test_capture_tshark import SUSPICIOUS, tshark

from iscsim.capture import pcap_ladder
from iscsim.lab import Lab

Network = Literal["memory", "tcp"]
PORTALS = ["10.245.47.95:3260", "10.245.47.96:3260"]
NETWORKS: list[Network] = ["memory", "tcp"]
DATA = bytes(range(256)) * 256


async def attach_use_detach(lab: Lab) -> None:
    """What the test is, whatever the network."""
    target = await lab.target(portals=PORTALS, luns={197: "16M"})
    volume = await lab.host("compute", "10.245.47.93", "10.245.47.94").attach(target, lun=197)
    assert [str(path.spec.lun) for path in volume.working] == ["197", "197"]
    await volume.device.write(8, DATA)
    assert bytes(await volume.device.read(8, len(DATA) // 512)) == DATA
    await volume.detach()
    assert target.sessions == []


def run(network: Network, path: Path) -> None:
    Lab.run(attach_use_detach, network=network, seed=7, pcap=path)


@pytest.mark.parametrize("network", NETWORKS)
def test_attach_io_and_detach_pass_on_both_networks(network: Network, tmp_path: Path) -> None:
    run(network, tmp_path / "attach.pcapng")
    ladder = pcap_ladder(tmp_path / "attach.pcapng")
    assert [portal for portal in PORTALS if f"-> {portal}" not in ladder] == []
    assert ladder.count("Logout Response success") == 2
    assert "WRITE (10) lba=8" in ladder


def test_two_runs_in_memory_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        run("memory", tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is missing: apt install tshark")
@pytest.mark.parametrize("network", NETWORKS)
def test_tshark_finds_both_portals_and_nothing_to_complain_of(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "attach.pcapng"
    run(network, path)
    unknown_to_it = '_ws.expert.message == "No dissection for this service action yet"'  # the checks of paths
    assert tshark(path, f"({SUSPICIOUS}) and not {unknown_to_it}") == []
    logins = tshark(path, "iscsi.opcode == 0x03", "ip.dst", "tcp.dstport")
    assert sorted(logins) == ["10.245.47.95\t3260", "10.245.47.96\t3260"]
