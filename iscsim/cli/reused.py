"""LUNs that are another unit now, while a device or a volume goes on with the old one's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iscsim.cli.units import unit_row
from iscsim.errors import SCSIError

if TYPE_CHECKING:
    from iscsim.initiator.scan import LogicalUnitInfo
    from iscsim.initiator.scsi_host import SCSIHost
    from iscsim.openstack.attach import AttachedPath

REUSED = "another unit"
"""What ``iscsim rescan`` calls this change."""


async def reused_devices(host: SCSIHost, units: list[LogicalUnitInfo]) -> list[dict[str, Any]]:
    """The devices of a host that the kernel takes for another unit than the fabric has there.

    A device whose size alone has changed learns it, as ``iscsiadm -m session --rescan`` has it.
    """
    there = {unit.lun: unit for unit in units}
    rows = []
    for hctl, device in list(host.devices.items()):
        if device.lun not in there:
            continue
        kernel = host.kernel_identity(hctl)
        try:
            fabric = await host.fabric_identity(hctl)
        except SCSIError:  # what does not say what it is has not become another either
            continue
        differences = kernel.differences(fabric)
        if (kernel.names, kernel.serial) != (fabric.names, fabric.serial):
            rows.append(_row(there[device.lun], f"{hctl} ({device.name or 'no disk'})", differences))
        elif differences:
            await host.rescan(hctl)
    return rows


def reused_path(path: AttachedPath, units: list[LogicalUnitInfo]) -> list[dict[str, Any]]:
    """Whether the LUN of an attached volume is another unit than the one that was attached."""
    before = path.unit
    return [
        _row(unit, f"volume {before.wwn}", [f"scsi_id: the device has {before.wwn}, the fabric {unit.wwn}"])
        for unit in units
        if unit.lun == before.lun and unit.wwn != before.wwn
    ]


def _row(unit: LogicalUnitInfo, device: str, differences: list[str]) -> dict[str, Any]:
    return {"change": REUSED} | unit_row(unit) | {"device": device, "differences": differences}


def reused_text(row: dict[str, Any]) -> str:
    """One line for people."""
    return f"the device under LUN {row['lun']}, {row['device']}, is not what it was: " + "; ".join(
        row["differences"]
    )
