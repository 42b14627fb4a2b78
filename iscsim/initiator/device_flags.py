"""What the kernel knows of some vendors' units, as far as it changes how a target is scanned.

Of the list in ``scsi_devinfo.c`` those entries of disk arrays that have a flag of these; all other units have
none, which is the default.
"""

from __future__ import annotations

from enum import Flag, auto

__all__ = ["DeviceFlag", "flags_of"]


class DeviceFlag(Flag):
    """The kernel's ``BLIST_`` flags, without that prefix."""

    NONE = 0
    SPARSELUN = auto()
    """Scan all LUNs, also behind one that is not there."""
    LARGELUN = auto()
    """Scan LUNs from 8 on, even though the unit is of SCSI-2."""
    REPORTLUN2 = auto()
    """Ask REPORT LUNS, even though the unit is of SCSI-2."""
    NOREPORTLUN = auto()
    """Never ask REPORT LUNS."""
    INQUIRY_36 = auto()
    """Never ask for more than 36 bytes of INQUIRY data."""
    TRY_VPD_PAGES = auto()
    """Ask for vital product data, even though the unit is older than SPC-2."""


_SPARSE, _LARGE, _REPORT = DeviceFlag.SPARSELUN, DeviceFlag.LARGELUN, DeviceFlag.REPORTLUN2

# vendor, how the product begins, flags
_KNOWN: tuple[tuple[str, str, DeviceFlag], ...] = (
    ("DGC", "RAID", _SPARSE),
    ("DGC", "DISK", _SPARSE),
    ("EMC", "Invista", _SPARSE | _LARGE),
    ("EMC", "SYMMETRIX", _SPARSE | _LARGE | _REPORT),
    ("HITACHI", "DF400", _REPORT),
    ("HITACHI", "DF500", _REPORT),
    ("HITACHI", "DISK-SUBSYSTEM", _REPORT),
    ("HITACHI", "OPEN-", _REPORT | DeviceFlag.TRY_VPD_PAGES),
    ("HP", "A6189A", _SPARSE | _LARGE),
    ("HP", "OPEN-", _REPORT | DeviceFlag.TRY_VPD_PAGES),
    ("easyRAID", "16P", DeviceFlag.NOREPORTLUN),
    ("easyRAID", "X6P", DeviceFlag.NOREPORTLUN),
    ("easyRAID", "F8", DeviceFlag.NOREPORTLUN),
    ("Generic", "USB Storage-SMC", DeviceFlag.INQUIRY_36),
)


def flags_of(vendor: str, product: str) -> DeviceFlag:
    """The flags of a unit with these INQUIRY fields."""
    for known_vendor, beginning, flags in _KNOWN:
        if vendor == known_vendor and product.startswith(beginning):
            return flags
    return DeviceFlag.NONE
