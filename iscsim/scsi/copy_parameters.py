"""The parameter list of EXTENDED COPY (SPC-4): layouts, limits, and what is checked before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from construct import Bytes, Int8ub, Int16ub, Int32ub, Int64ub, Padding

from iscsim.scsi.asc import ASC
from iscsim.scsi.command import invalid_parameter
from iscsim.scsi.designator import Designator
from iscsim.scsi.layout import Layout, bits
from iscsim.scsi.sense import CheckCondition, FieldPointer, SenseKey

__all__ = [
    "CSCD",
    "CopyParameters",
    "DescriptorType",
    "ListIdUsage",
    "Segment",
]

# One command copies 4 x 32 MiB at the most: a copy is not interrupted, so it must not take seconds.
MAXIMUM_CSCD_DESCRIPTORS: Final = 8
MAXIMUM_SEGMENT_DESCRIPTORS: Final = 4
MAXIMUM_SEGMENT_LENGTH: Final = 32 << 20


class DescriptorType(IntEnum):
    """DESCRIPTOR TYPE CODE, as far as this copy manager takes them."""

    BLOCK_TO_BLOCK = 0x02
    BLOCK_TO_BLOCK_WITH_OFFSETS = 0x0A
    IDENTIFICATION = 0xE4


class ListIdUsage(IntEnum):
    """LIST ID USAGE: what becomes of results under the LIST IDENTIFIER; 01b is reserved."""

    HOLD = 0b00
    MAY_DISCARD = 0b10
    NONE = 0b11


HEADER = Layout(
    "list_identifier" / Int8ub,
    "flags" / bits(_=2, str=1, list_id_usage=2, priority=3),
    "cscd_length" / Int16ub,
    Padding(4),
    "segment_length" / Int32ub,
    "inline_length" / Int32ub,
)
# The type code E4h, with the device type specific parameters of a block device behind the designator.
IDENTIFICATION = Layout(
    "type" / Int8ub,
    "device" / bits(lu_id_type=2, nul=1, device_type=5),
    "relative_initiator_port" / Int16ub,
    "designator" / Bytes(24),
    "block_device" / bits(_1=5, pad=1, _2=2),
    "block_length_high" / Int8ub,
    "block_length_low" / Int16ub,
)
BLOCK_TO_BLOCK = Layout(
    "type" / Int8ub,
    "flags" / bits(_=6, dc=1, cat=1),
    "length" / Int16ub,
    "source" / Int16ub,
    "destination" / Int16ub,
    Padding(2),
    "count" / Int16ub,
    "source_lba" / Int64ub,
    "destination_lba" / Int64ub,
)
BLOCK_TO_BLOCK_WITH_OFFSETS = Layout(
    "type" / Int8ub,
    "flags" / bits(_=7, cat=1),
    "length" / Int16ub,
    "source" / Int16ub,
    "destination" / Int16ub,
    "count" / Int32ub,
    "source_lba" / Int64ub,
    "destination_lba" / Int64ub,
    "source_offset" / Int16ub,
    "destination_offset" / Int16ub,
)
SEGMENT_LAYOUTS: Final = {
    DescriptorType.BLOCK_TO_BLOCK: BLOCK_TO_BLOCK,
    DescriptorType.BLOCK_TO_BLOCK_WITH_OFFSETS: BLOCK_TO_BLOCK_WITH_OFFSETS,
}
MAXIMUM_DESCRIPTORS_LENGTH: Final = (
    MAXIMUM_CSCD_DESCRIPTORS * IDENTIFICATION.size
    + MAXIMUM_SEGMENT_DESCRIPTORS * BLOCK_TO_BLOCK_WITH_OFFSETS.size
)
MAXIMUM_LIST_LENGTH: Final = HEADER.size + MAXIMUM_DESCRIPTORS_LENGTH
_USAGE, _DEVICE_TYPE = HEADER.masks("flags")["list_id_usage"], IDENTIFICATION.masks("device")["device_type"]
_PAD = IDENTIFICATION.masks("block_device")["pad"]
_DC, _CAT = BLOCK_TO_BLOCK.masks("flags")["dc"], BLOCK_TO_BLOCK.masks("flags")["cat"]
_DESIGNATOR_AT, _DESIGNATOR_LENGTH_AT, _LONGEST_DESIGNATOR = 4, 7, 20
_CSCD_LENGTH_AT, _INLINE_LENGTH_AT = 2, 12  # in the header


def _error(code: ASC, byte: int | None = None) -> CheckCondition:
    pointer = None if byte is None else FieldPointer(byte, in_cdb=False)
    return CheckCondition(SenseKey.ILLEGAL_REQUEST, code, field=pointer)


def list_length_error() -> CheckCondition:
    """05/1A/00: the list is cut, or longer than this copy manager takes."""
    return _error(ASC.PARAMETER_LIST_LENGTH_ERROR)


@dataclass(frozen=True, slots=True)
class CSCD:
    """A copy source or copy destination as the initiator names it.

    ``at`` is where its descriptor begins in the parameter list. LU ID TYPE and NUL, obsolete since SPC-4,
    and the relative initiator port, which nothing here leaves through, are not looked at.
    """

    at: int
    device_type: int
    designator: Designator
    pad: bool
    block_length: int

    @classmethod
    def parse(cls, data: bytes, at: int) -> Self:
        """Raises 05/26/07 for another type, 05/26/00 for a designator that does not fit its field."""
        if data[at] != DescriptorType.IDENTIFICATION:
            raise _error(ASC.UNSUPPORTED_TARGET_DESCRIPTOR_TYPE, at)
        fields = IDENTIFICATION.parse(data, at)
        if data[at + _DESIGNATOR_LENGTH_AT] > _LONGEST_DESIGNATOR:
            raise invalid_parameter(at + _DESIGNATOR_LENGTH_AT)
        return cls(
            at=at,
            device_type=fields["device"] & _DEVICE_TYPE,
            designator=Designator.parse_all(fields["designator"])[0],
            pad=bool(fields["block_device"] & _PAD),
            block_length=fields["block_length_high"] << 16 | fields["block_length_low"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One copy. ``source`` and ``destination`` are places in the list of CSCDs.

    ``count`` is in bytes for the type with offsets, else in blocks: the destination's with ``dc``.
    """

    type: DescriptorType
    source: int
    destination: int
    count: int
    source_lba: int
    destination_lba: int
    source_offset: int = 0
    destination_offset: int = 0
    dc: bool = False
    cat: bool = False

    @classmethod
    def parse(cls, data: bytes, at: int, end: int) -> tuple[Self, int]:
        """The segment and where the next begins.

        Raises 05/26/09 for another type, 05/26/00 for a wrong length, 05/1A/00 behind ``end``.
        """
        layout = SEGMENT_LAYOUTS.get(data[at])  # type: ignore[call-overload]
        if layout is None:
            raise _error(ASC.UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE, at)
        if end - at < layout.size:
            raise list_length_error()
        fields = layout.parse(data, at)
        if fields.pop("length") != layout.size - 4:
            raise invalid_parameter(at + 2)
        flags, kind = fields.pop("flags"), DescriptorType(fields.pop("type"))
        dc = bool(flags & _DC) and kind == DescriptorType.BLOCK_TO_BLOCK  # SPC-4: ignored in all others
        return cls(type=kind, dc=dc, cat=bool(flags & _CAT), **fields), at + layout.size


@dataclass(frozen=True, slots=True)
class CopyParameters:
    """A parameter list that is well formed; STR and PRIORITY are hints, and nothing runs beside a copy."""

    list_identifier: int
    usage: ListIdUsage
    cscds: tuple[CSCD, ...]
    segments: tuple[Segment, ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Raises `CheckCondition` ILLEGAL REQUEST, with a pointer, for anything that is wrong in itself."""
        if len(data) < HEADER.size:
            raise list_length_error()
        header = HEADER.parse(data)
        usage = _usage(header)
        descriptors = HEADER.size + header["cscd_length"]
        end = descriptors + header["segment_length"]
        if header["inline_length"]:  # no segment type here would use it
            raise _error(ASC.INLINE_DATA_LENGTH_EXCEEDED, _INLINE_LENGTH_AT)
        if end > min(len(data), MAXIMUM_LIST_LENGTH):
            raise list_length_error()
        cscds = _parse_cscds(data, descriptors)
        return cls(header["list_identifier"], usage, cscds, _parse_segments(data, descriptors, end))


def _usage(header: dict[str, int]) -> ListIdUsage:
    code = (header["flags"] & _USAGE) >> 3
    if code not in list(ListIdUsage):
        raise invalid_parameter(1, 4)
    if code == ListIdUsage.NONE and header["list_identifier"]:
        raise invalid_parameter(0)
    return ListIdUsage(code)


def _parse_cscds(data: bytes, end: int) -> tuple[CSCD, ...]:
    count, rest = divmod(end - HEADER.size, IDENTIFICATION.size)
    if count > MAXIMUM_CSCD_DESCRIPTORS:
        raise _error(ASC.TOO_MANY_TARGET_DESCRIPTORS, _CSCD_LENGTH_AT)
    if rest:
        raise invalid_parameter(_CSCD_LENGTH_AT)
    return tuple(CSCD.parse(data, at) for at in range(HEADER.size, end, IDENTIFICATION.size))


def _parse_segments(data: bytes, at: int, end: int) -> tuple[Segment, ...]:
    found: list[Segment] = []
    while at < end:
        if len(found) == MAXIMUM_SEGMENT_DESCRIPTORS:
            raise _error(ASC.TOO_MANY_SEGMENT_DESCRIPTORS, 8)
        segment, at = Segment.parse(data, at, end)
        found.append(segment)
    return tuple(found)
