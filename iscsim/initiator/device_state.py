"""What a SCSI device is called, what states it has, and what it tells of itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from iscsim.errors import SCSIError
from iscsim.initiator.disposition import DeviceEventKind

if TYPE_CHECKING:
    from iscsim.initiator.scsi_device import SCSIDevice

__all__ = ["HCTL", "DeviceEvent", "DeviceOffline", "DeviceState", "DeviceStateChanged"]


class HCTL(NamedTuple):
    """Host, channel, target and LUN, as ``/sys/class/scsi_device`` names a device: ``3:0:0:1``."""

    host: int
    channel: int
    target: int
    lun: int

    def __str__(self) -> str:
        return f"{self.host}:{self.channel}:{self.target}:{self.lun}"


class DeviceState(StrEnum):
    """``/sys/class/scsi_device/H:C:T:L/device/state``."""

    RUNNING = "running"
    BLOCKED = "blocked"
    """The session is being recovered: commands wait."""
    OFFLINE = "offline"
    """The error handler gave it up: commands fail until somebody sets it to running."""
    TRANSPORT_OFFLINE = "transport-offline"
    """The session did not come back in ``replacement_timeout``: commands fail until it does."""
    DELETED = "deleted"


class DeviceOffline(SCSIError):
    """The device takes no commands (``rejecting I/O to offline device``)."""


@dataclass(frozen=True, slots=True)
class DeviceEvent:
    """The unit told something with a unit attention."""

    device: SCSIDevice
    kind: DeviceEventKind


@dataclass(frozen=True, slots=True)
class DeviceStateChanged:
    """A device was taken offline, set running, or deleted; ``reason`` is one line."""

    device: SCSIDevice
    state: DeviceState
    reason: str
