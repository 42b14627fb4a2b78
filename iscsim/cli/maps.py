"""``iscsim paths``: multipath maps as ``multipath -ll`` shows them, and ready for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iscsim.initiator.multipath import MultipathDevice, Path, PathGroup


def map_row(device: MultipathDevice) -> dict[str, Any]:
    """One map, its groups and their paths; ``text`` is that of ``multipath -ll``."""
    unit = device.unit
    return {
        "wwn": device.wwn,
        "alias": device.alias,
        "device": None if device.minor is None else f"dm-{device.minor}",
        "vendor": unit.vendor,
        "product": unit.product,
        "size": device.size,
        "features": device.features,
        "hardware_handler": device.hardware_handler,
        "read_only": unit.read_only,
        "path_selector": device.settings.path_selector,
        "groups": [_group(device, group) for group in device.groups],
        "text": str(device),
    }


def _group(device: MultipathDevice, group: PathGroup) -> dict[str, Any]:
    return {
        "priority": group.priority,
        "status": device.group_state(group).value,
        "paths": [_path(path) for path in group.paths],
    }


def _path(path: Path) -> dict[str, Any]:
    return {
        "hctl": path.hctl or None,
        "name": path.name or None,
        "portal": str(getattr(path.session, "portal", "")) or path.memory.get("portal"),
        "lun": path.unit.number,
        "state": path.state.value,
        "checker_state": path.checker_state.value,
        "device_state": path.device_state,
        "failures": path.failures,
        "failure": path.failure or None,
    }
