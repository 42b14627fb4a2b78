"""Our scan of tgt, set up as in the recording: the commands are Linux', byte for byte."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from initiator.recorded_target import OPEN_ISCSI, exchanges, padded
from initiator.scan_steps import documented_differences, step
from initiator.session_transport import SessionTransport
from interop.test_initiator_on_tgt import DEADLINE_S, Tgt, login, start, stop

from iscsim.initiator import HCTL, SCSIHost
from iscsim.scsi.lun import encode_lun

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        not (shutil.which("tgtd") and shutil.which("tgtadm")), reason="tgt is missing: apt install tgt"
    ),
]

WWN = "6006016015e03a00ab2df25bb82d0ea9"
SIZE = 64 << 20
QUIET_S = 0.5


@pytest.fixture
def tgt(tmp_path: Path) -> Iterator[Tgt]:
    """A tgtd whose LUN 197 is that of the recording."""
    started = start(tmp_path)
    try:
        started.admin("--op", "delete", "--mode", "logicalunit", "--tid", "1", "--lun", "1")
        with started.disk.open("wb") as file:
            file.truncate(SIZE)
        lun = ("--mode", "logicalunit", "--tid", "1", "--lun", "197")
        started.admin("--op", "new", *lun, "-b", str(started.disk))
        names = f"vendor_id=DGC,product_id=VRAID,product_rev=4200,scsi_sn=FNM00150600267,scsi_id=3{WWN}"
        started.admin("--op", "update", *lun, "--params", names)
        yield started
    finally:
        stop(started)


def kernel_commands(lun: int) -> list[str]:
    """What Linux sent to a LUN when it was new, without the differences docs/reference/scan.md lists."""
    found, last = [], 0.0
    for each in exchanges(OPEN_ISCSI, 0):
        if last and each.begun_s - last > QUIET_S:
            break
        last = each.begun_s
        if each.lun == encode_lun(lun) and step(each.cdb) not in documented_differences():
            found.append(each.cdb.hex())
    return found


@pytest.mark.parametrize("lun", [0, 197])
async def test_commands_are_those_of_linux(tgt: Tgt, lun: int) -> None:
    async with asyncio.timeout(DEADLINE_S), login(tgt.portals[0]) as session:
        transport = SessionTransport(session)
        host = SCSIHost(6, transport)
        await host.scan()
        sent = [padded(task.cdb).hex() for task in transport.sent if task.lun == encode_lun(lun)]
    assert sent == kernel_commands(lun)


async def test_devices_are_those_of_the_recording(tgt: Tgt) -> None:
    async with asyncio.timeout(DEADLINE_S), login(tgt.portals[0]) as session:
        host = SCSIHost(6, SessionTransport(session))
        await host.scan()
        assert [(str(hctl), device.name) for hctl, device in host.devices.items()] == [
            ("6:0:0:0", ""),
            ("6:0:0:197", "sda"),
        ]
        disk = host.kernel_identity(HCTL(6, 0, 0, 197))
        assert (disk.standard.vendor, disk.standard.product, disk.serial) == (
            "DGC",
            "VRAID",
            "FNM00150600267",
        )
        assert disk.capacity is not None
        assert (disk.capacity.size, disk.write_cache) == (SIZE, True)
        assert await host.differences(HCTL(6, 0, 0, 197)) == []


async def test_lun_that_tgt_gives_to_another_volume_is_found_out(tgt: Tgt, tmp_path: Path) -> None:
    other = tmp_path / "other.img"
    other.write_bytes(bytes(SIZE))
    lun = ("--mode", "logicalunit", "--tid", "1", "--lun", "197")
    async with asyncio.timeout(DEADLINE_S), login(tgt.portals[0]) as session:
        host = SCSIHost(6, SessionTransport(session))
        await host.scan(0, 0, 197)
        tgt.admin("--op", "delete", *lun)
        tgt.admin("--op", "new", *lun, "-b", str(other))
        assert await host.scan() == [host.devices[HCTL(6, 0, 0, 0)]]
        assert host.kernel_identity(HCTL(6, 0, 0, 197)).serial == "FNM00150600267"
        lines = await host.differences(HCTL(6, 0, 0, 197))
        assert any("vendor: the kernel has DGC, the fabric IET" in line for line in lines)
        assert any("scsi_id" in line for line in lines)
