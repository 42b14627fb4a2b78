"""One SCSI host: which LUNs become devices, what is kept of them, and how a reused LUN is found out."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from initiator.fake_units import INVALID_OPCODE, FakeTarget, FakeUnit
from initiator.session_transport import SessionTransport

import iscsim
from iscsim.errors import SCSIError, SessionFailed
from iscsim.initiator.device_names import DiskNames
from iscsim.initiator.device_state import HCTL, DeviceState
from iscsim.initiator.scsi_host import LUNS_CHANGED, SCSIHost
from iscsim.initiator.session_state import SessionState, TransportFailed
from iscsim.initiator.settings import NodeSettings
from iscsim.scsi.designator import naa_designator
from iscsim.scsi.inquiry import DeviceType, StandardInquiry
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.scsi.store import MemoryStore
from iscsim.scsi.vpd import encode_unit_serial_number

A, B = "6006016015e03a00aaaaaaaaaaaaaaaa", "6006016015e03a00bbbbbbbbbbbbbbbb"
LUN_197 = HCTL(6, 0, 0, 197)


def disk(wwn: str = A, **fields: Any) -> FakeUnit:
    return FakeUnit(**fields).named(naa_designator(wwn), serial=wwn[-8:])


async def scanned(target: FakeTarget, **options: Any) -> SCSIHost:
    host = SCSIHost(6, target, **options)
    await host.scan()
    return host


def luns(host: SCSIHost) -> list[int]:
    return [hctl.lun for hctl in host.devices]


# -- a reused LUN: CVE-2023-2088 -------------------------------------------------------------------------


async def test_reused_lun_keeps_the_name_of_the_volume_that_was_there() -> None:
    """A scan is a no-op; the kernel says A, the fabric B; the difference is told."""
    target = FakeTarget({197: disk(A)})
    host = await scanned(target)
    target.units[197] = disk(B)
    target.sent.clear()
    assert await host.scan(0, 0, 197) == []
    assert target.sent == []
    assert host.kernel_identity(LUN_197).names.os_brick == f"3{A}"
    fabric = await host.fabric_identity(LUN_197)
    assert fabric.names.os_brick == f"3{B}"
    assert await host.differences(LUN_197) == [
        "6:0:0:197 (sda): device differs: serial: the kernel has aaaaaaaa, the fabric bbbbbbbb",
        f"6:0:0:197 (sda): device differs: scsi_id: the kernel has 3{A}, the fabric 3{B}",
        f"6:0:0:197 (sda): device differs: wwid: the kernel has naa.{A}, the fabric naa.{B}",
        f"6:0:0:197 (sda): device differs: multipath: the kernel has 3{A}, the fabric 3{B}",
    ]
    assert host.kernel_identity(LUN_197).names.scsi_id == f"3{A}"


async def test_reused_lun_on_a_real_target(caplog: pytest.LogCaptureFixture) -> None:
    """Units that stay report 3F/0E: the kernel prints a line and keeps what it has. What is read is B's."""
    async with (
        iscsim.serve(luns={5: "1M", 197: f"1M,wwn={A}"}) as live,
        iscsim.connect(live.portal, live.name) as session,
    ):
        host = SCSIHost(6, SessionTransport(session))
        five, device = await host.scan()
        live.node.lun_map.remove(197)
        store = MemoryStore(2048)
        store.write(0, b"B" * 512)
        live.node.add_lun(197, LogicalUnit(store, serial="B", wwn=B))
        await five.read(five, 0, 1)
        assert [record.message for record in caplog.records if LUNS_CHANGED in record.message] == [
            f"6:0:0:5 (sda): {LUNS_CHANGED}"
        ]
        assert bytes(await device.read(device, 0, 1)) == b"B" * 512
        assert await host.scan() == []
        assert host.kernel_identity(LUN_197).names.scsi_id == f"3{A}"
        assert any("wwid" in line for line in await host.differences(LUN_197))


async def test_delete_and_scan_find_the_new_volume() -> None:
    target = FakeTarget({197: disk(A)})
    host = await scanned(target)
    target.units[197] = disk(B)
    await host.delete(LUN_197)
    (device,) = await host.scan(lun=197)
    assert (device.name, host.kernel_identity(LUN_197).names.scsi_id) == ("sda", f"3{B}")
    assert await host.differences(LUN_197) == []


async def test_rescan_of_a_reused_lun_reads_its_pages_but_not_its_inquiry() -> None:
    target = FakeTarget({197: disk(A)})
    host = await scanned(target)
    target.units[197] = disk(B, inquiry=StandardInquiry(vendor="OTHER", product="Q"))
    await host.rescan(LUN_197)
    kernel = host.kernel_identity(LUN_197)
    assert (kernel.standard.vendor, kernel.names.wwid) == ("V", f"naa.{B}")
    assert await host.differences(LUN_197) == [
        "6:0:0:197 (sda): device differs: vendor: the kernel has V, the fabric OTHER",
        "6:0:0:197 (sda): device differs: product: the kernel has P, the fabric Q",
    ]


async def test_lun_that_is_gone_differs_in_everything() -> None:
    target = FakeTarget({197: disk(A)})
    host = await scanned(target)
    del target.units[197]
    lines = await host.differences(LUN_197)
    assert lines[0] == "6:0:0:197 (sda): device differs: peripheral: the kernel has 0/0x00, the fabric 3/0x1f"
    assert any("wwid" in line and "the fabric none" in line for line in lines)


async def test_unit_that_does_not_answer_is_an_error() -> None:
    target = FakeTarget({197: disk(A)}, absent=None)
    host = await scanned(target)
    assert luns(host) == []
    await host.scan(lun=197)
    del target.units[197]
    with pytest.raises(SCSIError, match=r"6:0:0:197 \(sda\) does not answer INQUIRY"):
        await host.fabric_identity(LUN_197)


# -- which LUNs become devices ---------------------------------------------------------------------------


async def test_scan_adds_only_what_is_not_there() -> None:
    target = FakeTarget({0: disk(), 5: disk()})
    host = await scanned(target)
    target.units[7] = disk()
    target.sent.clear()
    (added,) = await host.scan()
    assert (str(added.hctl), added.name) == ("6:0:0:7", "sdc")
    assert {task.lun.hex()[:4] for task in target.sent} == {"0000", "0007"}  # REPORT LUNS, and the new one
    assert target.sent[0].cdb[0] == Opcode.REPORT_LUNS


@pytest.mark.parametrize("where", [(1, "-", "-"), ("-", 3, "-"), (1, 0, 5)])
async def test_other_channels_and_targets_have_nothing(where: Any) -> None:
    target = FakeTarget({5: disk()})
    assert await SCSIHost(6, target).scan(*where) == []
    assert target.sent == []


async def test_nothing_is_scanned_without_a_connection() -> None:
    target = FakeTarget({5: disk()}, state=SessionState.FAILED)
    assert await SCSIHost(6, target).scan() == []


async def test_luns_are_sent_as_they_were_reported_and_shown_as_linux_shows_them() -> None:
    flat, well_known = bytes.fromhex("40c5000000000000"), bytes.fromhex("c101000000000000")
    extended = bytes.fromhex("d200400000000000")
    wlun = FakeUnit(inquiry=StandardInquiry(device_type=DeviceType.WELL_KNOWN_LOGICAL_UNIT))
    target = FakeTarget({16581: disk(), 49409: wlun, 0x4000D200: disk()}, luns=[flat, well_known, extended])
    host = await scanned(target)
    assert luns(host) == [16581, 49409, 0x4000D200]
    assert [device.lun for device in host.devices.values()] == [flat, well_known, extended]
    assert [device.name for device in host.devices.values()] == ["sda", "", "sdb"]


async def test_lun_beyond_32_bits_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    target = FakeTarget(
        {5: disk()}, luns=[bytes.fromhex("0001000000010000"), bytes.fromhex("0005000000000000")]
    )
    assert luns(await scanned(target)) == [5]
    assert "larger than allowed" in caplog.text


@pytest.mark.parametrize(
    "inquiry, devices",
    [
        (StandardInquiry(qualifier=0, device_type=DeviceType.STORAGE_ARRAY_CONTROLLER), [0, 5]),
        (StandardInquiry(qualifier=1, device_type=DeviceType.UNKNOWN), [5]),
        (StandardInquiry(qualifier=1, device_type=DeviceType.DISK), [0, 5]),
        (StandardInquiry(qualifier=3, device_type=DeviceType.UNKNOWN), [5]),
    ],
)
async def test_lun_0_need_not_be_a_disk(inquiry: StandardInquiry, devices: list[int]) -> None:
    host = await scanned(FakeTarget({0: FakeUnit(inquiry=inquiry), 5: disk()}))
    assert luns(host) == devices
    assert host.devices[HCTL(6, 0, 0, 5)].name == "sda"


async def test_scan_ends_when_lun_0_does_not_answer() -> None:
    """open-iscsi#175: no LUN 0, nothing is found."""
    target = FakeTarget({5: disk()}, absent=None)
    assert luns(await scanned(target)) == []
    assert target.asked(Opcode.REPORT_LUNS) == []


async def test_scan_is_aborted_at_a_lun_that_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    dead = FakeUnit(replies={Opcode.INQUIRY: [INVALID_OPCODE]})
    assert luns(await scanned(FakeTarget({0: disk(), 1: dead, 2: disk()}))) == [0]
    assert "Unexpected response from lun 1 while scanning, scan aborted" in caplog.text


# -- old devices -----------------------------------------------------------------------------------------


def old(version: int, **fields: Any) -> FakeUnit:
    return FakeUnit(inquiry=StandardInquiry(version=version, **{"vendor": "OLD", "product": "DISK"} | fields))


@pytest.mark.parametrize("version, reports", [(2, []), (3, [0])])
async def test_luns_are_tried_one_by_one_until_one_is_not_there(version: int, reports: list[int]) -> None:
    """SCSI-2 is not asked for REPORT LUNS; SCSI-3 may refuse it."""
    units = {number: old(version) for number in (0, 1, 2, 4)}
    target = FakeTarget(units, luns=INVALID_OPCODE)
    assert luns(await scanned(target)) == [0, 1, 2]
    assert target.asked(Opcode.REPORT_LUNS) == reports


async def test_scsi_2_has_the_lun_in_its_commands_and_no_more_than_8() -> None:
    target = FakeTarget({number: old(2) for number in range(12)})
    assert luns(await scanned(target)) == list(range(8))
    inquiries = [task.cdb[1] for task in target.sent if task.cdb[0] == Opcode.INQUIRY and task.lun[1] == 5]
    assert inquiries == [5 << 5, 5 << 5]
    assert target.asked(Opcode.REPORT_LUNS) == []
    assert {task.cdb[2] for task in target.sent if task.cdb[0] == Opcode.INQUIRY} == {0}  # no pages


async def test_modern_units_without_report_luns_are_tried_up_to_255() -> None:
    target = FakeTarget({number: old(5) for number in range(300)}, luns=INVALID_OPCODE)
    assert len(luns(await scanned(target))) == 256
    assert len(luns(await scanned(target, sequential_max=16))) == 16


async def test_sparse_units_are_found_behind_gaps() -> None:
    units = {number: old(2, vendor="DGC", product="RAID 5") for number in (0, 3, 6, 9)}
    assert luns(await scanned(FakeTarget(units))) == [0, 3, 6]


async def test_arrays_of_scsi_2_that_know_report_luns_are_asked() -> None:
    units = {number: old(2, vendor="HITACHI", product="OPEN-V") for number in (0, 30)}
    assert luns(await scanned(FakeTarget(units))) == [0, 30]


async def test_read_capacity_10_comes_first_for_old_disks() -> None:
    target = FakeTarget({0: old(4)})
    host = await scanned(target)
    assert target.asked(Opcode.SERVICE_ACTION_IN_16) == []
    capacity = host.kernel_identity(HCTL(6, 0, 0, 0)).capacity
    assert capacity is not None
    assert capacity.size == 1 << 20


# -- devices that are there ------------------------------------------------------------------------------


async def test_rescan_reads_the_capacity_and_keeps_pages_that_cannot_be_read() -> None:
    unit = disk()
    host = await scanned(FakeTarget({197: unit}))
    unit.replies[Opcode.SERVICE_ACTION_IN_16] = [
        (4095).to_bytes(8, "big") + (512).to_bytes(4, "big") + bytes(20)
    ]
    unit.pages[0x80] = encode_unit_serial_number("new")
    del unit.pages[0x83]
    await host.rescan(LUN_197)
    kernel = host.kernel_identity(LUN_197)
    assert kernel.capacity is not None
    assert (kernel.capacity.size, kernel.serial, kernel.names.scsi_id) == (2 << 20, "new", f"3{A}")


async def test_first_read_needs_no_read_capacity() -> None:
    unit = disk()
    target = FakeTarget({197: unit})
    host = await scanned(target)
    unit.replies[Opcode.READ_10] = [bytes(512)]
    target.sent.clear()
    device = host.devices[LUN_197]
    assert await device.read(device, 0, 1) == bytes(512)
    assert len(target.sent) == 1


async def test_names_are_shared_by_the_hosts_of_a_machine_and_given_back() -> None:
    names = DiskNames()
    first = await scanned(FakeTarget({1: disk(), 2: disk()}), names=names)
    second = await scanned(FakeTarget({1: disk()}), names=names)
    assert [device.name for device in second.devices.values()] == ["sdc"]
    await first.delete(HCTL(6, 0, 0, 1))
    await second.scan()
    (added,) = await first.scan(lun=1)
    assert added.name == "sda"
    await first.close()
    await second.close()
    assert list(names) == []


async def test_deleted_device_takes_no_commands() -> None:
    host = await scanned(FakeTarget({197: disk()}))
    device = host.devices[LUN_197]
    await host.close()
    assert (device.state, host.devices) == (DeviceState.DELETED, {})
    with pytest.raises(SCSIError):
        await device.test_unit_ready(device)
    for missing in (host.delete, host.rescan, host.fabric_identity, host.differences):
        with pytest.raises(KeyError):
            await missing(LUN_197)


async def test_target_without_devices_is_unknown_again() -> None:
    """Linux forgets it with its last device, and then takes it for one of SCSI-2."""
    target = FakeTarget({5: disk()})
    host = SCSIHost(6, target)
    for _ in range(2):
        await host.scan(lun=5)
        await host.delete(HCTL(6, 0, 0, 5))
    first_inquiries = [
        task.cdb[1] for task in target.sent if task.cdb[0] == Opcode.INQUIRY and task.cdb[4] == 36
    ]
    assert [flags for flags in first_inquiries if not flags & 1] == [5 << 5] * 2


async def test_disk_without_a_write_cache_has_nothing_to_write_out() -> None:
    target = FakeTarget({197: disk()})
    host = await scanned(target)
    await host.delete(LUN_197)
    assert target.asked(Opcode.SYNCHRONIZE_CACHE_10) == []


async def test_delete_goes_on_when_the_cache_cannot_be_written(caplog: pytest.LogCaptureFixture) -> None:
    unit = disk()
    caching = bytes([0x1F, 0, 0, 0, 0x08, 0x12, 0x04]) + bytes(25)
    unit.replies[Opcode.MODE_SENSE_6] = [caching]
    unit.replies[Opcode.SYNCHRONIZE_CACHE_10] = [Sense(SenseKey.HARDWARE_ERROR, 0x44, 0)]
    host = await scanned(FakeTarget({197: unit}))
    assert host.kernel_identity(LUN_197).write_cache
    await host.delete(LUN_197)
    assert host.devices == {}
    assert "Synchronize Cache(10) failed" in caplog.text


async def test_scans_wait_for_each_other() -> None:
    target = FakeTarget({number: disk() for number in range(4)}, latency_s=0.001)
    host = SCSIHost(6, target)
    first, second = await asyncio.gather(host.scan(), host.scan())
    assert (len(first), second) == (4, [])


async def test_session_that_ends_meanwhile_is_told_and_leaves_no_half_device() -> None:
    gone = FakeUnit(replies={Opcode.INQUIRY: [TransportFailed("gone")]})
    host = SCSIHost(6, FakeTarget({0: disk(), 1: gone}))
    with pytest.raises(SessionFailed):
        await host.scan()
    assert luns(host) == [0]
    assert len(host.handler.devices) == 1


async def test_disk_driver_that_loses_the_session_is_told() -> None:
    gone = disk(replies={Opcode.TEST_UNIT_READY: [TransportFailed("gone")]})
    host = SCSIHost(6, FakeTarget({0: disk(), 1: gone}))
    with pytest.raises(SessionFailed):
        await host.scan()
    assert luns(host) == [0, 1]


async def test_cd_drive_has_the_capacity_of_its_medium() -> None:
    drive = FakeUnit(inquiry=StandardInquiry(device_type=DeviceType.CD, removable=True))
    host = await scanned(FakeTarget({0: drive}))
    identity = host.kernel_identity(HCTL(6, 0, 0, 0))
    assert identity.capacity is not None
    assert (identity.capacity.blocks, identity.write_protected) == (2048, True)
    assert host.devices[HCTL(6, 0, 0, 0)].name == ""


async def test_host_says_what_it_is() -> None:
    assert repr(await scanned(FakeTarget({0: disk()}))) == "SCSIHost(6, 1 devices)"


@pytest.fixture(autouse=True)
def _logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "iscsim.initiator")


# -- behind a session that lives -------------------------------------------------------------------------


def test_devices_outlive_the_connection() -> None:
    """While it is away a scan does nothing; afterwards the devices are the same, and none is looked for."""

    async def main(lab: Any) -> None:
        target = await lab.target(luns={1: f"1M,wwn={A}"})
        session = await lab.host("compute").log_in(target)
        host = SCSIHost.of(6, session)
        (device,) = await host.scan_at_login()
        target.add_lun(2, "1M")
        session.drop("by the test")
        assert await host.scan() == []
        assert device.state is DeviceState.BLOCKED
        assert await device.read(device, 0, 1) == bytes(512)
        assert list(host.devices.values()) == [device]
        (added,) = await host.scan()
        assert (added.name, added.hctl.lun) == ("sdb", 2)
        await host.close()
        await session.close()

    iscsim.Lab.run(main)


def test_settings_of_the_node_are_the_hosts() -> None:
    async def main(lab: Any) -> None:
        target = await lab.target(luns={1: "1M"})
        settings = NodeSettings(scan="manual", queue_depth=7, lu_reset_timeout=11)
        session = await lab.host("compute").log_in(target, settings=settings)
        host = SCSIHost.of(3, session, sequential_max=9)
        assert await host.scan_at_login() == []
        (device,) = await host.scan(lun=1)
        assert (device.queue_depth, host.handler.settings.lu_reset_timeout_s, host.sequential_max) == (
            7,
            11,
            9,
        )
        await host.close()
        await session.close()

    iscsim.Lab.run(main)


def test_lun_that_swaps_its_identity_is_found_out() -> None:
    """The fault ``lun.swap_identity`` does the array's part."""

    async def main(lab: Any) -> None:
        target = await lab.target(luns={1: f"1M,wwn={A}", 2: f"1M,wwn={B}"})
        session = await lab.host("compute").log_in(target)
        host = SCSIHost.of(6, session)
        await host.scan_at_login()
        one = HCTL(6, 0, 0, 1)
        lab.fault("lun.swap_identity", target=target.name, lun=1, other=2)
        await asyncio.sleep(1)
        assert await host.scan() == []
        assert any(f"wwid: the kernel has naa.{A}" in line for line in await host.differences(one))
        await host.close()
        await session.close()

    iscsim.Lab.run(main)
