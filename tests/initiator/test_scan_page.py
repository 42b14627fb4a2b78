"""docs/reference/scan.md: its tables are what was recorded, and what we send to a target of our own."""

from __future__ import annotations

from initiator.recorded_target import OPEN_ISCSI, exchanges
from initiator.scan_steps import documented_differences, documented_steps, step
from initiator.session_transport import SessionTransport

import iscsim
from iscsim.initiator.scsi_host import SCSIHost
from iscsim.scsi.lun import encode_lun

FIRST_STEPS_OF_A_DISK_DRIVER = 21
QUIET_S = 0.5
"""The kernel was done, and udev had not yet begun, when so long nothing was sent."""


def kernel_steps(lun: int) -> list[str]:
    """What the kernel sent to a LUN of a fresh target, its look for partitions among it."""
    found, last = [], 0.0
    for each in exchanges(OPEN_ISCSI, 0):
        if last and each.begun_s - last > QUIET_S:
            break
        last = each.begun_s
        if each.lun == encode_lun(lun):
            found.append(step(each.cdb))
    return found


def test_page_has_all_the_kernel_sent_but_the_differences_it_lists() -> None:
    differences = documented_differences()
    sent = kernel_steps(197)
    assert [each for each in sent if each not in differences] == documented_steps()
    assert [each for each in sent if each in differences] == differences


def test_lun_0_gets_the_first_steps_and_report_luns() -> None:
    first = documented_steps()[:FIRST_STEPS_OF_A_DISK_DRIVER]
    assert kernel_steps(0) == [*first, "REPORT LUNS, 4096 bytes"]


async def scanned(luns: dict[int, str]) -> tuple[SCSIHost, dict[bytes, list[str]]]:
    """A scan of a target of ours: the steps of each LUN."""
    async with iscsim.serve(luns=luns) as target, iscsim.connect(target.portal, target.name) as session:
        transport = SessionTransport(session)
        host = SCSIHost(6, transport)
        await host.scan()
        found: dict[bytes, list[str]] = {}
        for task in transport.sent:
            found.setdefault(task.lun, []).append(step(task.cdb))
        return host, found


async def test_our_scan_sends_the_same_to_our_target() -> None:
    host, found = await scanned({0: "1M", 197: "64M"})
    assert found[encode_lun(197)] == documented_steps()
    report_luns = FIRST_STEPS_OF_A_DISK_DRIVER
    assert found[encode_lun(0)][report_luns] == "REPORT LUNS, 4096 bytes"
    del found[encode_lun(0)][report_luns]
    assert found[encode_lun(0)] == documented_steps()
    assert [device.name for device in host.devices.values()] == ["sda", "sdb"]


async def test_lun_0_that_is_not_there_is_asked_twice_and_for_the_luns() -> None:
    _, found = await scanned({197: "64M"})
    assert found[encode_lun(0)] == ["INQUIRY, 36 bytes", "INQUIRY, all of it", "REPORT LUNS, 4096 bytes"]
    assert found[encode_lun(197)] == documented_steps()


async def test_disks_are_asked_beside_each_other() -> None:
    """As the kernel does: no disk waits for the end of another one's questions."""
    async with (
        iscsim.serve(luns={0: "1M", 1: "1M"}) as target,
        iscsim.connect(target.portal, target.name) as session,
    ):
        transport = SessionTransport(session)
        await SCSIHost(6, transport).scan()
    order = [task.lun for task in transport.sent if step(task.cdb) == "READ CAPACITY (16)"]
    assert order == [encode_lun(0), encode_lun(1)] * 2
