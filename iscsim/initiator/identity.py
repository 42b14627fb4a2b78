"""The name a Linux host gives a logical unit: three programs choose from the same VPD page 83h, each its own.

udev's ``scsi_id``, the kernel (``/sys/block/sda/device/wwid``) and multipath-tools rank the designators
differently, so one page may have three names; which, and where they differ, says :class:`Identity`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from iscsim.scsi.designator import Association, CodeSet, Designator, DesignatorType
from iscsim.scsi.vpd import VPDPage, parse_device_identification, parse_page

__all__ = [
    "Identity",
    "identify",
    "kernel_wwid",
    "multipath_wwid",
    "os_brick_wwid",
    "scsi_id",
    "scsi_id_of_page",
    "udev_text",
]

_SCSI_ID_BUFFER = 254
"""What scsi_id asks for, and so all it sees of a page."""
_SCSI_ID_LENGTH_MAX = 256
_MULTIPATH_LENGTH_MAX = 127
_OTHER_TYPE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What each program calls one logical unit; "" where it has no name for it."""

    scsi_id: str = ""
    """udev's ID_SERIAL: ``"3"`` and 32 hex digits for NAA 6, ``"S..."`` from page 80h as a last resort."""
    wwid: str = ""
    """The kernel's ``wwid`` in sysfs: ``"naa.6..."``, ``"t10...."``, ``"eui...."`` or a SCSI name string."""
    multipath: str = ""
    """What multipathd takes from the kernel's page 83h when udev has no ID_SERIAL for it."""

    @property
    def os_brick(self) -> str:
        """What os-brick makes of ``wwid``: the multipath map it looks for."""
        return os_brick_wwid(self.wwid)

    def disagreements(self) -> list[str]:
        """A line for each two programs that would not find each other's name; none when all is well."""
        names = {
            "scsi_id": self.scsi_id,
            "os-brick, from the kernel's wwid,": self.os_brick,
            "multipath-tools": self.multipath,
        }
        (one, first), *others = names.items()
        return [
            f"{one} says {first or 'nothing'}, {other} says {second or 'nothing'}"
            for other, second in others
            if second != first
        ]

    def __str__(self) -> str:
        return f"scsi_id {self.scsi_id or '-'}, wwid {self.wwid or '-'}, multipath {self.multipath or '-'}"


def identify(page_83: bytes = b"", page_80: bytes = b"", *, vendor: str = "", product: str = "") -> Identity:
    """All three choices, from whole VPD pages (header included) as the unit sent them.

    A page that is missing or makes no sense counts as not there.
    """
    return Identity(
        scsi_id=scsi_id_of_page(page_83, page_80, vendor=vendor, product=product),
        wwid=kernel_wwid(_designators(page_83)),
        multipath=multipath_wwid(_designators(page_83)),
    )


def _designators(page_83: bytes) -> list[Designator]:
    try:
        return parse_device_identification(page_83)
    except ValueError:
        return []


# -- scsi_id -----------------------------------------------------------------------------------------

# Best first: (designator type, NAA or None for any, code set).
_SCSI_ID_PREFERENCES: tuple[tuple[DesignatorType, int | None, CodeSet], ...] = (
    (DesignatorType.NAA, 6, CodeSet.BINARY),
    (DesignatorType.NAA, 6, CodeSet.ASCII),
    (DesignatorType.NAA, 5, CodeSet.BINARY),
    (DesignatorType.NAA, 5, CodeSet.ASCII),
    (DesignatorType.NAA, None, CodeSet.BINARY),
    (DesignatorType.NAA, None, CodeSet.ASCII),
    (DesignatorType.EUI_64, None, CodeSet.BINARY),
    (DesignatorType.EUI_64, None, CodeSet.ASCII),
    (DesignatorType.T10_VENDOR, None, CodeSet.BINARY),
    (DesignatorType.T10_VENDOR, None, CodeSet.ASCII),
    (DesignatorType.VENDOR_SPECIFIC, None, CodeSet.BINARY),
    (DesignatorType.VENDOR_SPECIFIC, None, CodeSet.ASCII),
)


def scsi_id_of_page(page_83: bytes, page_80: bytes = b"", *, vendor: str = "", product: str = "") -> str:
    """udev's ID_SERIAL, as ``scsi_id --export`` prints it; "" when scsi_id fails.

    Of page 83h only the first 254 bytes count. When their 7th is not 0, the page is taken for one of
    SCSI-2, whose 16 bytes behind the header are the name (EMC Symmetrix). Without a usable page 83h, page
    80h gives ``"S"``, vendor, product and serial number; leave it out for ``scsi_id --page 0x83``.
    """
    found = ""
    if page_83[1:2] == b"\x83":
        page = page_83[:_SCSI_ID_BUFFER]
        if page[6:7] not in (b"", b"\0"):
            return _pre_spc_3(page)
        found = scsi_id(_designators(page), vendor=vendor, product=product)
    return found or _from_serial(page_80, vendor, product)


def _pre_spc_3(page: bytes) -> str:
    return "3" + page[4 : 4 + page[3]].hex()


def _from_serial(page_80: bytes, vendor: str, product: str) -> str:
    try:
        serial = parse_page(page_80[:_SCSI_ID_BUFFER], VPDPage.UNIT_SERIAL_NUMBER)
    except ValueError:
        return ""
    return udev_text(b"S" + _vendor_product(vendor, product) + serial)


def scsi_id(designators: Sequence[Designator], *, vendor: str = "", product: str = "") -> str:
    """scsi_id's choice among designators; "" when none of them names the logical unit."""
    named = _of_the_unit(designators)
    for kind, naa, code_set in _SCSI_ID_PREFERENCES:
        for designator in named:
            if (
                designator.type == kind
                and designator.code_set == code_set
                and naa in (None, _first_nibble(designator))
                and _scsi_id_fits(designator)
            ):
                return _scsi_id_text(designator, vendor, product)
    return ""


def _of_the_unit(designators: Iterable[Designator]) -> list[Designator]:
    """An empty one is left out: what follows it would be taken for its value."""
    return [each for each in designators if each.association == Association.LOGICAL_UNIT and each.value]


def _first_nibble(designator: Designator) -> int:
    """All three programs look for NAA here, even where it is written in ASCII and "6" is 36h."""
    return designator.value[0] >> 4


def _scsi_id_fits(designator: Designator) -> bool:
    length = len(designator.value) * (1 if designator.code_set == CodeSet.ASCII else 2) + 2
    if designator.type == DesignatorType.VENDOR_SPECIFIC:
        length += 24
    return length <= _SCSI_ID_LENGTH_MAX


def _scsi_id_text(designator: Designator, vendor: str, product: str) -> str:
    value = designator.value if designator.code_set == CodeSet.ASCII else designator.value.hex().encode()
    owner = _vendor_product(vendor, product) if designator.type == DesignatorType.VENDOR_SPECIFIC else b""
    return udev_text(b"%x" % designator.type + owner + value)


def _vendor_product(vendor: str, product: str) -> bytes:
    return (vendor[:8].ljust(8) + product[:16].ljust(16)).encode("ascii", "replace")


_NOT_IN_LINKS = re.compile(r"[^0-9A-Za-z#+\-.:=@_\u0080-\U0010ffff]|\ufffd")


def udev_text(raw: bytes) -> str:
    """A C string as udev keeps it: an underscore for runs of white space, and for what fits no link."""
    text = raw.split(b"\0", 1)[0].decode("utf-8", "replace")
    return _NOT_IN_LINKS.sub("_", re.sub(r"[ \t\n\v\f\r]+", "_", text.strip(" \t\n\v\f\r")))


# -- the kernel ----------------------------------------------------------------------------------------

_KERNEL_NAA = {6: 8, 5: 5, 4: 4, 3: 1}
_KERNEL_EUI = {16: 7, 12: 6, 8: 3}
_KERNEL_NAME, _KERNEL_T10 = 9, 1


def kernel_wwid(designators: Sequence[Designator]) -> str:
    """What Linux writes into ``wwid`` (``scsi_vpd_lun_id``); "" where reading it is an error.

    A SCSI name string goes before NAA 6, unless it is shorter than what was found before it. Of equals the
    last one is taken.
    """
    found, best, size = "", 0, 0
    for designator in _of_the_unit(designators):
        priority, length = _kernel_priority(designator), len(designator.value)
        if not priority or best > priority:
            continue
        if designator.type in (DesignatorType.T10_VENDOR, DesignatorType.SCSI_NAME) and size > length:
            continue
        best, size = priority, length
        # a NAA name of another length is preferred to what was there, and then not written
        found = _KERNEL_FORMS[designator.type](designator.value) or found
    return found


def _kernel_priority(designator: Designator) -> int:
    match designator.type:
        case DesignatorType.SCSI_NAME:
            return _KERNEL_NAME
        case DesignatorType.NAA:
            return _KERNEL_NAA.get(_first_nibble(designator), 0)
        case DesignatorType.EUI_64:
            return _KERNEL_EUI.get(len(designator.value), 0)
        case DesignatorType.T10_VENDOR:
            return _KERNEL_T10
    return 0


_KERNEL_ESCAPES = {0: "\\0", 7: "\\a", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 27: "\\e"}
_KERNEL_FORMS: dict[int, Callable[[bytes], str]] = {
    DesignatorType.SCSI_NAME: lambda value: value.split(b"\0", 1)[0].decode("utf-8", "replace"),
    DesignatorType.NAA: lambda value: f"naa.{value.hex()}" if len(value) in (8, 16) else "",
    DesignatorType.EUI_64: lambda value: f"eui.{value.hex()}",
    DesignatorType.T10_VENDOR: lambda value: "t10." + "".join(map(_kernel_character, value)),
}


def _kernel_character(byte: int) -> str:
    """As the kernel's ``%pE`` prints it: what is not printable in Latin-1 is escaped."""
    if 0x20 <= byte < 0x7F or byte >= 0xA0:
        return chr(byte)
    return _KERNEL_ESCAPES.get(byte, f"\\{byte:03o}")


_OS_BRICK_TYPES = {"t10.": "1", "eui.": "2", "naa.": "3"}


def os_brick_wwid(wwid: str) -> str:
    """What os-brick makes of sysfs' ``wwid``; any other kind of name loses its first four letters to an 8."""
    wwid = wwid.strip()
    return _OS_BRICK_TYPES.get(wwid[:4], str(_OTHER_TYPE)) + wwid[4:] if wwid else ""


# -- multipath-tools -----------------------------------------------------------------------------------

_MULTIPATH_NAA = {6: (8, 16), 5: (7, 8), 2: (6, 8), 3: (1, 8)}
"""NAA -> (priority, length in bytes); all others are invalid there."""
_MULTIPATH_EUI, _MULTIPATH_NAME, _MULTIPATH_T10 = 4, 3, 2
_MULTIPATH_NAMES = {b"eui.": "2", b"naa.": "3", b"iqn.": str(_OTHER_TYPE)}


def multipath_wwid(designators: Sequence[Designator]) -> str:
    """multipath-tools' choice (``parse_vpd_pg83`` of 0.9); "" where it finds nothing valid.

    Of equals the first one is taken. A SCSI name string counts when it begins with ``eui.``, ``naa.`` or
    ``iqn.``.
    """
    found: Designator | None = None
    best = 0
    for designator in _of_the_unit(designators):
        priority = _multipath_priority(designator)
        if priority > best:
            found, best = designator, priority
    return _MULTIPATH_FORMS[found.type](found.value)[:_MULTIPATH_LENGTH_MAX] if found else ""


def _multipath_priority(designator: Designator) -> int:
    length = len(designator.value)
    match designator.type:
        case DesignatorType.NAA:
            priority, right = _MULTIPATH_NAA.get(_first_nibble(designator), (0, 0))
            return priority if length == right else 0
        case DesignatorType.EUI_64:
            return _MULTIPATH_EUI if length in (8, 12, 16) else 0
        case DesignatorType.SCSI_NAME:
            return _MULTIPATH_NAME if designator.value[:4] in _MULTIPATH_NAMES else 0
        case DesignatorType.T10_VENDOR:
            return _MULTIPATH_T10 if length >= 8 else 0
    return 0


def _multipath_name(value: bytes) -> str:
    kind = _MULTIPATH_NAMES[value[:4]]
    text = value[4:].split(b"\0", 1)[0].decode("latin-1")
    return kind + (text if kind == str(_OTHER_TYPE) else "".join(map(_lower, text)))


def _lower(letter: str) -> str:
    """As C's ``tolower`` does: ASCII alone."""
    return letter.lower() if letter.isascii() else letter


def _multipath_t10(value: bytes) -> str:
    """Runs of blanks as one underscore, but none at the end."""
    text = re.sub(rb" +", b"_", value.rstrip(b" ")).split(b"\0", 1)[0]
    return "1" + text.decode("latin-1")


_MULTIPATH_FORMS: dict[int, Callable[[bytes], str]] = {
    DesignatorType.NAA: lambda value: "3" + value.hex(),
    DesignatorType.EUI_64: lambda value: "2" + value.hex(),
    DesignatorType.SCSI_NAME: _multipath_name,
    DesignatorType.T10_VENDOR: _multipath_t10,
}
