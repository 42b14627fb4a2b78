"""What units of one make say of themselves, and how an array shares them out: data, one object a make."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from iscsim.scsi.asc import ASC
from iscsim.scsi.asymmetric_access import AccessModes, AccessState
from iscsim.scsi.designator import (
    Association,
    Designator,
    logical_unit_group_designator,
    naa_designator,
    relative_target_port_designator,
    scsi_name_designator,
    t10_vendor_designator,
    target_port_group_designator,
)
from iscsim.scsi.inquiry import SPC_4_VERSION, VersionDescriptor
from iscsim.scsi.vpd import VPDPage

__all__ = [
    "PLAIN",
    "DeviceProfile",
    "FailoverMode",
    "Processors",
    "UnitNames",
    "derive_wwn",
    "designators_of",
]

# We own no OUI; this one has the "locally administered" bit set and spells "IS".
LOCAL_OUI = "024953"
_WWN_LENGTH = 32


def _digits(seed: str) -> str:
    return hashlib.sha256(seed.encode()).hexdigest()


def derive_wwn(serial: str) -> str:
    """The NAA-6 name of a unit that was given none: 6, our OUI, 25 digits of the serial number's SHA-256."""
    return f"6{LOCAL_OUI}{_digits(serial)[:25]}"


def hashed_name(prefix: str) -> Callable[[str], str]:
    """A rule that makes 32 digits: ``prefix``, then as many of the seed's SHA-256 as fit."""
    return lambda seed: (prefix + _digits(seed))[:_WWN_LENGTH]


def serial_name(prefix: str) -> Callable[[str], str]:
    """LIO's rule: ``prefix``, then the hexadecimal digits of the serial number in their order, then zeros."""
    return lambda serial: (prefix + re.sub("[^0-9a-f]", "", serial.lower())).ljust(_WWN_LENGTH, "0")[
        :_WWN_LENGTH
    ]


def short_serial(target_name: str, number: int) -> str:
    """Sixteen digits made of target name and LUN, so that they stay the same."""
    return _digits(f"{target_name},{number}")[:16]


def uuid_serial(target_name: str, number: int) -> str:
    """The same as a UUID, which is LIO's form."""
    text = _digits(f"{target_name},{number}")
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:32]))


def array_serial(target_name: str, number: int) -> str:
    """The array's number, which EMC has in its target names: ``...:cx.fnm00150600267``. The LUNs share it."""
    found = re.search(r":cx\.([a-z]{3}[0-9]{11})(?:\.|$)", target_name)
    if found:
        return found[1].upper()
    return f"FNM{int(_digits(target_name), 16) % 10**11:011}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverMode:
    """How a path to a processor that does not own the unit behaves.

    ``code`` is what the unit path report says; ``passive`` the access state of such a path, and ``refusal``
    what its commands end with, in place of what the state has of its own.
    """

    code: int
    modes: AccessModes
    passive: AccessState
    refusal: ASC | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Processors:
    """The storage processors of an array: each is a target port group, numbered from 1; one owns a unit.

    ``failover_modes`` are by EMC's number of the mode, ``default_mode`` is one of them. ``trespass_page``
    is the mode page by whose MODE SELECT the processor it comes to takes the unit over.
    """

    count: int
    failover_modes: dict[int, FailoverMode]
    default_mode: int
    trespass_page: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """A make of disks. What is said here holds unless a unit was given its own.

    ``serial`` makes a serial number of target name and LUN, ``wwn`` a WWN of the serial number, or of target
    name and LUN where ``serial_is_of_array``. ``t10_identifier`` takes ``product`` and ``serial``.
    ``product`` is that of units without a name of their own; with ``product_is_name`` a name comes first,
    and ``products`` are those by what is behind (``"fileio"``).
    ``model`` stands in the vendor specific part of standard INQUIRY data. ``placeholder`` is the product at
    LUN 0 of who has no LUN 0, "" for none. Lengths in bytes.
    """

    vendor: str = "ISCSIM"
    product: str = "VIRTUAL-DISK"
    revision: str = "0001"
    product_is_name: bool = False
    products: Mapping[str, str] = field(default_factory=dict)
    version: int = SPC_4_VERSION
    version_descriptors: tuple[VersionDescriptor, ...] = (
        VersionDescriptor.SAM_5,
        VersionDescriptor.ISCSI,
        VersionDescriptor.SPC_4,
        VersionDescriptor.SBC_3,
    )
    model: str = ""
    serial: Callable[[str, int], str] = short_serial
    serial_is_of_array: bool = False
    wwn: Callable[[str], str] = derive_wwn
    t10_identifier: str = "{product}:{serial}"
    designators: tuple[str, ...] = (
        "naa",
        "t10",
        "relative_target_port",
        "target_port_group",
        "target_port_name",
        "target_name",
    )
    access_modes: AccessModes = AccessModes.IMPLICIT
    maximum_transfer_length: int = 16 << 20
    optimal_transfer_length: int = 1 << 20
    maximum_compare_and_write_blocks: int = 128
    vpd_pages: frozenset[int] = field(default=frozenset(VPDPage) - {VPDPage.UNIT_PATH_REPORT})
    placeholder: str = ""
    processors: Processors | None = None


PLAIN = DeviceProfile()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitNames:
    """What the designators of page 83h are made of."""

    profile: DeviceProfile
    wwn: str
    vendor: str
    product: str
    serial: str
    relative_target_port: int
    target_port_group: int
    target_port: str
    target_name: str


_DESIGNATORS: dict[str, Callable[[UnitNames], Designator]] = {
    "naa": lambda names: naa_designator(names.wwn),
    "t10": lambda names: t10_vendor_designator(
        names.vendor, names.profile.t10_identifier.format(product=names.product, serial=names.serial)
    ),
    "relative_target_port": lambda names: relative_target_port_designator(names.relative_target_port),
    "target_port_group": lambda names: target_port_group_designator(names.target_port_group),
    "logical_unit_group": lambda names: logical_unit_group_designator(0),
    "target_port_name": lambda names: scsi_name_designator(names.target_port, Association.TARGET_PORT),
    "target_name": lambda names: scsi_name_designator(names.target_name, Association.TARGET_DEVICE),
}


def designators_of(names: UnitNames) -> list[Designator]:
    """The designators of page 83h, in the order of the profile."""
    return [_DESIGNATORS[kind](names) for kind in names.profile.designators]
