"""blockdev, lsscsi, scsi_id, sg_scan: what tells about disks."""

from __future__ import annotations

import getopt
import re

from iscsim.errors import ISCSIError, SCSIError
from iscsim.host.kernel import Disk
from iscsim.host.shell import Call, command
from iscsim.initiator.identity import scsi_id_of_page
from iscsim.scsi.vpd import VPDPage

_SECTOR = 512


@command("blockdev")
async def blockdev(call: Call) -> int:
    """``--getsize64``, ``--getsz``, ``--getss``, ``--getro``, ``--flushbufs``, ``--rereadpt``."""
    questions = [each for each in call.arguments if each.startswith("--")]
    paths = [each for each in call.arguments if not each.startswith("-")]
    if not questions or not paths:
        call.output.error("blockdev: no device specified" if questions else "Usage: blockdev COMMAND DEVICES")
        return 1
    for path in paths:
        device = call.host.device(path)
        if device is None:
            missing = "No such file or directory" if not call.host.tree.exists(path) else "Not a block device"
            call.output.error(f"blockdev: cannot open {path}: {missing}")
            return 1
        answers = {
            "--getsize64": str(device.size),
            "--getsz": str(device.size // _SECTOR),
            "--getsize": str(device.size // _SECTOR),
            "--getss": str(device.block_size),
            "--getbsz": "4096",
            "--getro": str(int(device.read_only)),
            "--rereadpt": "",
            "--flushbufs": "",
        }
        for question in questions:
            if question not in answers:
                call.output.error(f"blockdev: Unknown command: {question}")
                return 1
            if question == "--flushbufs":
                try:
                    await device.flush()
                except (ISCSIError, SCSIError):
                    call.output.error("blockdev: ioctl error on BLKFLSBUF: Input/output error")
                    return 1
            elif answers[question]:
                call.output.line(answers[question])
    return 0


@command("lsscsi")
async def lsscsi(call: Call) -> int:
    """SCSI devices, one a line."""
    for disk in sorted(call.host.kernel.disks.values(), key=lambda disk: disk.hctl):
        standard = disk.identity.standard
        place = f"[{disk.hctl}]".ljust(12)
        words = f"disk    {standard.vendor:<8} {standard.product:<16} {standard.revision:<4}"
        call.output.line(f"{place} {words}  /dev/{disk.name} ")
    return 0


@command("scsi_id")
async def scsi_id(call: Call) -> int:
    """What udev calls a disk: it asks the unit itself."""
    try:
        found, paths = getopt.gnu_getopt(
            call.arguments,
            "p:d:gubxsv",
            ["page=", "device=", "whitelisted", "replace-whitespace", "export", "sg-version=", "verbose"],
        )
    except getopt.GetoptError as error:
        call.output.error(f"scsi_id: {error}")
        return 1
    options = dict(found)
    path = options.get("-d") or options.get("--device") or (paths[0] if paths else "")
    disk = call.host.disk(path)
    if disk is None:
        call.output.error(f"scsi_id: cannot open {path}: No such file or directory")
        return 1
    page = (options.get("-p") or options.get("--page") or "0x83").lower()
    try:
        text = await _ask(disk, page)
    except (ISCSIError, SCSIError):
        text = ""
    if not text:
        return 1
    call.output.line(text)
    return 0


async def _ask(disk: Disk, page: str) -> str:
    """The name by page 83h, or by 80h; empty when the unit tells none."""
    standard = await disk.device.inquiry(disk.device)
    pages = []
    for code in (VPDPage.DEVICE_IDENTIFICATION, VPDPage.UNIT_SERIAL_NUMBER):
        wanted = page == "0x83" or code == VPDPage.UNIT_SERIAL_NUMBER
        pages.append(await disk.device.inquiry(disk.device, code) if wanted else b"")
    return scsi_id_of_page(pages[0], pages[1], vendor=standard.vendor, product=standard.product)


@command("sg_scan")
async def sg_scan(call: Call) -> int:
    """Where a disk is."""
    for path in call.arguments:
        disk = call.host.disk(path)
        if disk is None:
            call.output.error(f"sg_scan: {path}: No such file or directory")
            return 1
        hctl = disk.hctl
        where = f"scsi{hctl.host} channel={hctl.channel} id={hctl.target} lun={hctl.lun}"
        call.output.line(f"{path}: {where} [em]")
    return 0


@command("systool")
async def systool(call: Call) -> int:
    """There is no Fibre Channel."""
    match = re.search(r"-c (\S+)", " ".join(call.arguments))
    call.output.error(f"Error opening class {match.group(1) if match else ''}")
    return 1
