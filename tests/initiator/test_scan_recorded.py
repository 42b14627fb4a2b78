"""The scan sends what Linux 6.1 sent, command by command, when the target answers as it did then."""

from __future__ import annotations

import pytest
from initiator.recorded_target import LIO, OPEN_ISCSI, OS_BRICK, Exchange, RecordedTarget, exchanges

from iscsim.initiator.device_state import HCTL
from iscsim.initiator.scsi_host import SCSIHost
from iscsim.scsi.opcode import Opcode

LUN_197 = "00c5"
WWN = "6006016015e03a00ab2df25bb82d0ea9"
VENDOR_PAGE_C0 = "1201c0"
MULTIPATHD_PAGE_00 = "12010000fe"


def between(capture: str, begin_s: float, end_s: float, connection: int = 0) -> list[Exchange]:
    return [each for each in exchanges(capture, connection) if begin_s <= each.begun_s < end_s]


def fresh(capture: str, connection: int = 0) -> list[Exchange]:
    """What the kernel sent until the first READ, which looks for a partition table."""
    found = []
    for each in exchanges(capture, connection):
        if each.cdb[0] == Opcode.READ_10:
            break
        if not each.cdb.hex().startswith(MULTIPATHD_PAGE_00):
            found.append(each)
    return found


def asked(recorded: list[Exchange]) -> list[tuple[str, str]]:
    return [each.asked for each in recorded]


@pytest.mark.parametrize("capture", [OPEN_ISCSI, LIO])
async def test_automatic_scan_of_a_fresh_target(capture: str) -> None:
    recorded = fresh(capture)
    target = RecordedTarget(recorded)
    await SCSIHost(6, target).scan()
    assert target.asked == asked(recorded)


@pytest.mark.parametrize("connection", [0, 1, 2])
async def test_manual_scan_of_one_lun(connection: int) -> None:
    """os-brick: ``0 0 197``. The target's standard is not known yet, so INQUIRY has the LUN in its CDB."""
    recorded = fresh(OS_BRICK, connection)
    target = RecordedTarget(recorded)
    (device,) = await SCSIHost(6, target).scan(0, 0, 197)
    assert target.asked == asked(recorded)
    assert target.asked[0] == (LUN_197, "12a00000240000000000000000000000")
    assert device.hctl == HCTL(6, 0, 0, 197)


async def scanned() -> tuple[SCSIHost, RecordedTarget]:
    """A host that knows the target of the first capture."""
    target = RecordedTarget(list(exchanges(OPEN_ISCSI, 0)))
    host = SCSIHost(6, target)
    await host.scan()
    target.asked.clear()
    return host, target


@pytest.mark.parametrize("begin_s, end_s", [(11.0, 11.3), (11.3, 11.7)])
async def test_rescan_of_a_session(begin_s: float, end_s: float) -> None:
    """``iscsiadm -m session --rescan``: every device, then a scan that adds nothing."""
    host, target = await scanned()
    assert await host.rescan_all() == []
    assert target.asked == asked(between(OPEN_ISCSI, begin_s, end_s))


async def test_delete_writes_the_cache_out() -> None:
    host, target = await scanned()
    await host.delete(HCTL(6, 0, 0, 197))
    assert target.asked == asked(between(OPEN_ISCSI, 11.8, 12.0))
    assert list(host.devices) == [HCTL(6, 0, 0, 0)]


async def test_scan_after_a_delete_finds_the_unit_anew() -> None:
    """By then the kernel had loaded scsi_dh_emc, which looks for page C0h before the disk driver comes."""
    host, target = await scanned()
    await host.delete(HCTL(6, 0, 0, 197))
    target.asked.clear()
    await host.rescan_all()
    recorded = [each for each in asked(between(OPEN_ISCSI, 12.2, 12.39)) if not each[1].startswith("28")]
    (extra,) = [at for at in range(1, len(recorded) - 1) if is_device_handler(recorded[at - 1 : at + 2])]
    del recorded[extra]
    assert target.asked == recorded


def is_device_handler(three: list[tuple[str, str]]) -> bool:
    """A look at page 00h between the last page of a new disk and its first TEST UNIT READY."""
    before, each, after = (cdb[:10] for _, cdb in three)
    return (before, each, after) == ("1201b20008", "1201000024", "0000000000")


async def test_host_knows_what_the_recording_shows() -> None:
    host, _ = await scanned()
    assert [str(hctl) for hctl in host.devices] == ["6:0:0:0", "6:0:0:197"]
    assert [device.name for device in host.devices.values()] == ["", "sda"]
    controller = host.kernel_identity(HCTL(6, 0, 0, 0)).standard
    assert (controller.vendor, controller.product, controller.device_type) == ("IET", "Controller", 0x0C)
    disk = host.kernel_identity(HCTL(6, 0, 0, 197))
    assert (disk.standard.vendor, disk.standard.product) == ("DGC", "VRAID")
    assert (disk.serial, disk.names.wwid) == ("FNM00150600267", f"naa.{WWN}")
    assert disk.capacity is not None
    assert (disk.capacity.size, disk.write_cache, disk.write_protected) == (64 << 20, True, False)
    assert sorted(disk.pages) == [0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2]


async def test_lun_0_of_lio_is_no_device() -> None:
    """PQ 1 and an unknown type: the target answers, so REPORT LUNS is asked there all the same."""
    target = RecordedTarget(fresh(LIO))
    host = SCSIHost(2, target)
    (device,) = await host.scan()
    assert (str(device.hctl), device.name) == ("2:0:0:197", "sda")
    assert sorted(host.kernel_identity(device.hctl).pages) == [0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2]
