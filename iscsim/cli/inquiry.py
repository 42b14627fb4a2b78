"""INQUIRY data in words: a table from page to what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from iscsim.errors import SCSIError
from iscsim.initiator.identity import identify
from iscsim.scsi.designator import Association, CodeSet, Designator, DesignatorType
from iscsim.scsi.inquiry import DeviceType, Qualifier, StandardInquiry, VersionDescriptor
from iscsim.scsi.vpd import (
    BlockDeviceCharacteristics,
    BlockLimits,
    LogicalBlockProvisioning,
    VPDPage,
    parse_device_identification,
    parse_supported_pages,
    parse_unit_serial_number,
)

if TYPE_CHECKING:
    from iscsim.initiator.session import Session


def _name(kind: type[IntEnum], number: int) -> str:
    try:
        return kind(number).name.lower().replace("_", " ")
    except ValueError:
        return f"{number:#x}"


def _standard(lun: int, inquiry: StandardInquiry) -> dict[str, Any]:
    if inquiry.qualifier == Qualifier.NOT_CAPABLE:  # how a target says so: INQUIRY itself does not fail
        raise SCSIError(f"no LUN {lun} there")
    answer = asdict(inquiry)
    return answer | {
        "device_type": _name(DeviceType, answer["device_type"]),
        "qualifier": _name(Qualifier, answer["qualifier"]),
        "version_descriptors": [_name(VersionDescriptor, code) for code in answer["version_descriptors"]],
        "vendor_specific": answer["vendor_specific"].hex(),
    }


def _supported_pages(data: bytes) -> dict[str, Any]:
    return {"pages": [f"{page:#04x} {_name(VPDPage, page)}" for page in parse_supported_pages(data)]}


def _serial_number(data: bytes) -> dict[str, Any]:
    return {"serial": parse_unit_serial_number(data)}


def _designator(designator: Designator) -> str:
    port = (DesignatorType.RELATIVE_TARGET_PORT, DesignatorType.TARGET_PORT_GROUP)
    number = designator.type in port and designator.code_set == CodeSet.BINARY
    text = str(int.from_bytes(designator.value, "big")) if number else designator.text
    return f"{_name(DesignatorType, designator.type)} of {_name(Association, designator.association)}: {text}"


def _identification(data: bytes) -> dict[str, Any]:
    designators, identity = parse_device_identification(data), identify(data)
    answer: dict[str, Any] = {
        "scsi_id": identity.scsi_id,
        "wwid": identity.wwid,
        "multipath": identity.multipath,
        "designators": [_designator(designator) for designator in designators],
    }
    if disagreements := identity.disagreements():
        answer["disagreements"] = disagreements
    return answer


_PAGES: dict[int, Callable[[bytes], dict[str, Any]]] = {
    VPDPage.SUPPORTED_PAGES: _supported_pages,
    VPDPage.UNIT_SERIAL_NUMBER: _serial_number,
    VPDPage.DEVICE_IDENTIFICATION: _identification,
    VPDPage.BLOCK_LIMITS: lambda data: asdict(BlockLimits.parse(data)),
    VPDPage.BLOCK_DEVICE_CHARACTERISTICS: lambda data: asdict(BlockDeviceCharacteristics.parse(data)),
    VPDPage.LOGICAL_BLOCK_PROVISIONING: lambda data: asdict(LogicalBlockProvisioning.parse(data)),
}


async def describe_inquiry(session: Session, lun: int, page: int | None) -> dict[str, Any]:
    """Ask a LUN and put the answer in words, ready for JSON; a page we cannot read stays hexadecimal.

    Raises:
        ISCSIError: the target does not answer, or answers something else than was asked for.
    """
    if page is None:
        return _standard(lun, await session.inquiry(lun))
    data = await session.inquiry(lun, page)
    describe = _PAGES.get(page)
    try:
        return describe(data) if describe else {"page": f"{page:#04x}", "hex": data.hex(" ")}
    except ValueError as error:
        raise SCSIError(f"page {page:#04x} of LUN {lun}: {error}") from error
