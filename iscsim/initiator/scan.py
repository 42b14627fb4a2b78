"""Finding the logical units of a target: REPORT LUNS, INQUIRY, VPD pages, READ CAPACITY."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iscsim.errors import SCSIError
from iscsim.initiator.identity import scsi_id_of_page
from iscsim.scsi.capacity import Capacity
from iscsim.scsi.inquiry import DeviceType, Qualifier, StandardInquiry
from iscsim.scsi.lun import InvalidLUN, decode_lun, encode_lun, format_lun, linux_lun
from iscsim.scsi.sense import CommandFailed
from iscsim.scsi.vpd import (
    VPDPage,
    parse_supported_pages,
    parse_unit_serial_number,
)

if TYPE_CHECKING:
    from iscsim.initiator.verbs import SCSIVerbs

logger = logging.getLogger("iscsim.initiator")

_LUN_0 = encode_lun(0)
_WITH_BLOCKS = frozenset({DeviceType.DISK, DeviceType.CD})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalUnitInfo:
    """A logical unit as an initiator sees it.

    ``lun`` is the 8 bytes the target reported, which it is asked by; ``number`` what they mean. ``wwn`` is
    what udev's ``scsi_id`` makes of page 83h: ``"3"`` and 32 hex digits for NAA 6, "" for none. ``blocks``
    and ``block_size`` are 0 for what has no blocks, or no medium; ``no_capacity`` then is what READ CAPACITY
    has said instead.
    """

    number: int
    lun: bytes
    vendor: str = ""
    product: str = ""
    revision: str = ""
    serial: str = ""
    wwn: str = ""
    device_type: int = DeviceType.DISK
    block_size: int = 0
    blocks: int = 0
    read_only: bool = False
    no_capacity: str = ""

    @property
    def size(self) -> int:
        """In bytes."""
        return self.blocks * self.block_size

    def __str__(self) -> str:
        return f"{format_lun(self.lun)}: {self.vendor} {self.product}, {self.size} bytes"


async def scan(session: SCSIVerbs) -> list[LogicalUnitInfo]:
    """The logical units that are connected, in the target's order; a unit that talks nonsense is left out.

    Raises:
        SessionFailed: the session is gone.
    """
    found: dict[bytes, LogicalUnitInfo] = {}
    for lun in await _luns(session):
        try:
            unit = await examine(session, lun)
        except (SCSIError, ValueError) as error:
            logger.warning("%r: %s left out of the scan: %s", session, format_lun(lun), error)
            continue
        if unit is not None:
            found[lun] = unit
    return list(found.values())


async def _luns(session: SCSIVerbs) -> list[bytes]:
    """What REPORT LUNS says, each once; just LUN 0 where that is not known, as in SCSI-2."""
    try:
        return list(dict.fromkeys(await session.report_luns()))
    except (CommandFailed, ValueError):
        return [_LUN_0]


async def examine(session: SCSIVerbs, lun: bytes) -> LogicalUnitInfo | None:
    """What one logical unit is; None when none is connected under ``lun``.

    Raises:
        SCSIError, ValueError: INQUIRY does not work.
        SessionFailed: the session is gone.
    """
    number = lun_number(lun)
    inquiry = await session.inquiry(lun)
    if number is None or inquiry.qualifier != Qualifier.CONNECTED:
        return None
    serial, wwn = await _identity(session, lun, inquiry)
    capacity, why, read_only = None, "", False
    if inquiry.device_type in _WITH_BLOCKS:
        capacity, why = await _capacity(session, lun)
        read_only = inquiry.device_type == DeviceType.CD or await session.is_read_only(lun)
    return LogicalUnitInfo(
        number=number,
        lun=lun,
        vendor=inquiry.vendor,
        product=inquiry.product,
        revision=inquiry.revision,
        serial=serial,
        wwn=wwn,
        device_type=inquiry.device_type,
        block_size=capacity.block_size if capacity else 0,
        blocks=capacity.blocks if capacity else 0,
        read_only=read_only,
        no_capacity=why,
    )


def lun_number(lun: bytes) -> int | None:
    """The number behind a reported LUN; None for a well-known logical unit, which is no disk.

    For the methods ``decode_lun`` does not take, the number Linux shows.
    """
    try:
        return decode_lun(lun)
    except InvalidLUN:
        return None if lun[0] == 0xC1 else linux_lun(lun)


async def _identity(session: SCSIVerbs, lun: bytes, inquiry: StandardInquiry) -> tuple[str, str]:
    """Serial number and WWN, "" where there is none."""
    pages: list[int] = await _page(session, lun, VPDPage.SUPPORTED_PAGES, parse_supported_pages, [])
    page_80 = page_83 = b""
    if VPDPage.UNIT_SERIAL_NUMBER in pages:
        page_80 = await _page(session, lun, VPDPage.UNIT_SERIAL_NUMBER, bytes, b"")
    if VPDPage.DEVICE_IDENTIFICATION in pages:
        page_83 = await _page(session, lun, VPDPage.DEVICE_IDENTIFICATION, bytes, b"")
    serial = _serial(page_80)
    # what has no serial number either is not taken for one disk with all others that have none
    page_80 = page_80 if serial else b""
    return serial, scsi_id_of_page(page_83, page_80, vendor=inquiry.vendor, product=inquiry.product)


def _serial(page_80: bytes) -> str:
    try:
        return parse_unit_serial_number(page_80)
    except ValueError:
        return ""


async def _page(
    session: SCSIVerbs, lun: bytes, page: VPDPage, parse: Callable[[bytes], Any], default: Any
) -> Any:
    try:
        return parse(await session.inquiry(lun, page))
    except (CommandFailed, ValueError):
        return default


async def _capacity(session: SCSIVerbs, lun: bytes) -> tuple[Capacity | None, str]:
    """None, and why, while there is no medium, or when the answer makes no sense."""
    try:
        return await session.read_capacity(lun), ""
    except CommandFailed as error:
        return None, str(error.sense or error)
    except ValueError as error:
        return None, str(error)
