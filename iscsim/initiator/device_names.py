"""How Linux and udev name what a scan finds: numbers given out lowest first, sda to sdz and on, by-path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from heapq import heappop, heappush

from iscsim.initiator.identity import scsi_id, scsi_id_of_page, udev_text
from iscsim.scsi.designator import Association, Designator, DesignatorType
from iscsim.scsi.vpd import parse_device_identification

__all__ = [
    "DiskNames",
    "LowestFree",
    "by_id_names",
    "by_path_lun",
    "by_path_name",
    "disk_index",
    "disk_name",
    "letters",
]

_LETTERS = 26
_PREFIX = "sd"


class LowestFree:
    """Numbers from 0 on; the lowest one that is free is given out, as the kernel's IDA does it."""

    def __init__(self, first: int = 0) -> None:
        self._next = first
        self._given: dict[int, None] = {}
        self._returned: list[int] = []

    def take(self) -> int:
        """The lowest number nobody has."""
        if self._returned:
            number = heappop(self._returned)
        else:
            number, self._next = self._next, self._next + 1
        self._given[number] = None
        return number

    def give_back(self, number: int) -> None:
        """``number`` is free again. Raises KeyError when nobody had it."""
        del self._given[number]
        heappush(self._returned, number)

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._given))


class DiskNames:
    """The names of a host's SCSI disks: all its SCSI hosts share one."""

    def __init__(self, indices: LowestFree | None = None) -> None:
        self._indices = LowestFree() if indices is None else indices

    def take(self) -> str:
        """``"sda"`` for the first disk; the lowest name that is free."""
        return disk_name(self._indices.take())

    def give_back(self, name: str) -> None:
        """The disk is gone. Raises KeyError when no disk has that name."""
        self._indices.give_back(disk_index(name))

    def __iter__(self) -> Iterator[str]:
        return map(disk_name, self._indices)


def disk_name(index: int) -> str:
    """0 is ``"sda"``, 25 ``"sdz"``, 26 ``"sdaa"``, 702 ``"sdaaa"``."""
    return _PREFIX + letters(index)


def letters(index: int) -> str:
    """0 is ``"a"``, 25 ``"z"``, 26 ``"aa"``: how disks and multipath maps are counted."""
    text = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, _LETTERS)
        text = chr(ord("a") + letter) + text
    return text


def disk_index(name: str) -> int:
    """The number behind a disk's name. Raises KeyError for what is no name of a disk."""
    if not re.fullmatch(f"{_PREFIX}[a-z]+", name):
        raise KeyError(name)
    index = 0
    for letter in name.removeprefix(_PREFIX):
        index = index * _LETTERS + ord(letter) - ord("a") + 1
    return index - 1


def by_path_lun(lun: int) -> str:
    """The end of a by-path name for the LUN Linux shows: ``"lun-197"``, ``"lun-0x4100000000000000"``."""
    if lun < 1 << 8:
        return f"lun-{lun}"
    return f"lun-0x{lun & 0xFFFF:04x}{lun >> 16 & 0xFFFF:04x}00000000"


def by_path_name(portal: str, target_name: str, lun: int) -> str:
    """The link udev makes for a disk; ``portal`` is ``"host:port"``, ``lun`` as Linux shows it.

    An IPv6 address has no brackets there: the kernel shows udev none.
    """
    address = portal.replace("[", "").replace("]", "")
    return f"/dev/disk/by-path/ip-{address}-iscsi-{target_name}-{by_path_lun(lun)}"


def by_id_names(page_83: bytes, page_80: bytes, *, vendor: str, product: str) -> list[str]:
    """The links in ``/dev/disk/by-id`` udev makes for a disk, with the rules of sg3-utils, sorted.

    One for each designator of the unit, one for vendor, product and serial number, and ``wwn-0x...`` where
    scsi_id chooses a NAA name.
    """
    try:
        designators = parse_device_identification(page_83)
    except ValueError:
        designators = []
    chosen = scsi_id_of_page(page_83, vendor=vendor, product=product)
    names = [_by_id_of(designator, vendor, product) for designator in designators]
    names += [chosen, scsi_id_of_page(b"", page_80, vendor=vendor, product=product)]
    links = {f"scsi-{name}" for name in names if name}
    if chosen.startswith("3"):
        links.add(f"wwn-0x{chosen[1:]}")
    return sorted(links)


def _by_id_of(designator: Designator, vendor: str, product: str) -> str:
    if designator.type == DesignatorType.SCSI_NAME and designator.association == Association.LOGICAL_UNIT:
        return udev_text(b"%x" % designator.type + designator.value)
    return scsi_id([designator], vendor=vendor, product=product)
