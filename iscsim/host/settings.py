"""How an emulated host is set up: versions of its tools, delays, what its daemons do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from iscsim.errors import ConfigError

__all__ = ["OLD_OPEN_ISCSI", "OPEN_ISCSI_VERSIONS", "HostSettings", "LocalDisk"]

OLD_OPEN_ISCSI = "2.0-873"
OPEN_ISCSI_VERSIONS = (OLD_OPEN_ISCSI, "2.1.8")
"""The one of the seeds' day (Ubuntu 16.04), and Debian 12's."""
FIND_MULTIPATHS = ("strict", "no", "yes", "greedy", "smart")


@dataclass(frozen=True, slots=True)
class LocalDisk:
    """A disk, a partition or a loop device that has nothing to do with iSCSI; ``size`` in bytes."""

    name: str
    device_number: str
    size: int
    kind: str = "disk"
    mountpoint: str = ""
    parent: str = ""
    """The disk a partition is of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """The knobs of a host; times in seconds.

    Raises:
        ConfigError: a value that cannot be.
    """

    initiator_name: str = "iqn.1993-08.org.debian:01:7cc8838d1c0"
    open_iscsi_version: str = "2.1.8"
    multipath_tools_version: str = "0.9.4"
    manual_scan: bool = True
    """Whether this open-iscsi knows ``node.session.scan``."""
    iscsid_running: bool = True
    iscsid_conf: Mapping[str, str] = field(default_factory=dict)
    """Settings of ``iscsid.conf`` beyond those of the package, under open-iscsi's names."""
    multipathd_running: bool = True
    find_multipaths: str = "strict"
    queue_if_no_path: bool = False
    user_friendly_names: bool = False
    first_scsi_host: int = 2
    """The number of the SCSI host of the first session."""
    udev_delay_s: float = 0.0
    """From a new device to its links."""
    multipathd_delay_s: float = 0.0
    """From udev's event to what multipathd makes of it."""
    multipathd_misses_removals: bool = False
    """Whether it is not told when a disk goes, and so keeps the path."""
    local_disks: tuple[LocalDisk, ...] = (LocalDisk("vda", "254:0", 3 << 30, mountpoint="/"),)
    """What the host has beside its iSCSI disks."""
    command_costs: Mapping[str, float] = field(default_factory=dict)
    """How long each command takes in itself, by its name; ``"*"`` is for the others."""

    def __post_init__(self) -> None:
        if self.open_iscsi_version not in OPEN_ISCSI_VERSIONS:
            known = ", ".join(OPEN_ISCSI_VERSIONS)
            raise ConfigError(f"open_iscsi_version {self.open_iscsi_version!r} is not one of {known}")
        if self.find_multipaths not in FIND_MULTIPATHS:
            known = ", ".join(FIND_MULTIPATHS)
            raise ConfigError(f"find_multipaths {self.find_multipaths!r} is not one of {known}")
        for name in ("udev_delay_s", "multipathd_delay_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must not be negative: {getattr(self, name)}")

    def cost_of(self, command: str) -> float:
        """Seconds a run of ``command`` takes beside its I/O."""
        return self.command_costs.get(command, self.command_costs.get("*", 0.0))
