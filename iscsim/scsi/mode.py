"""Mode parameters (SPC-4 and SBC-3, "Mode parameters for direct-access block devices")."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Self

from construct import Int8ub, Int16ub, Int32ub, Int64ub, Padding

from iscsim.scsi.layout import Layout, bits

__all__ = [
    "ModePage",
    "ModePageCode",
    "ModeParameters",
    "PageControl",
]


class ModePageCode(IntEnum):
    """PAGE CODE."""

    READ_WRITE_ERROR_RECOVERY = 0x01
    CACHING = 0x08
    CONTROL = 0x0A
    INFORMATIONAL_EXCEPTIONS = 0x1C
    ALL = 0x3F


class PageControl(IntEnum):
    """PC: which values of a page are asked for."""

    CURRENT = 0
    CHANGEABLE = 1
    DEFAULT = 2
    SAVED = 3


ALL_SUBPAGES = 0xFF

_DEVICE_SPECIFIC = bits(wp=1, _1=2, dpofua=1, _2=4)
HEADER_6 = Layout(
    "data_length" / Int8ub,
    "medium_type" / Int8ub,
    "device_specific" / _DEVICE_SPECIFIC,
    "descriptors_length" / Int8ub,
)
HEADER_10 = Layout(
    "data_length" / Int16ub,
    "medium_type" / Int8ub,
    "device_specific" / _DEVICE_SPECIFIC,
    "format" / bits(_=7, longlba=1),
    Padding(1),
    "descriptors_length" / Int16ub,
)
# The short descriptor's block length has 24 bits; its top byte is reserved and zero.
SHORT_DESCRIPTOR = Layout("blocks" / Int32ub, "block_size" / Int32ub)
LONG_DESCRIPTOR = Layout("blocks" / Int64ub, Padding(4), "block_size" / Int32ub)
_WP, _DPOFUA = HEADER_6.masks("device_specific")["wp"], HEADER_6.masks("device_specific")["dpofua"]


@dataclass(frozen=True, slots=True)
class ModePage:
    """A page as it travels: code, subpage and everything after the header."""

    code: int
    subpage: int
    body: bytes

    def encode(self) -> bytes:
        """Page 0 format without a subpage, sub-page format with one."""
        if self.subpage:
            return bytes((0x40 | self.code, self.subpage)) + len(self.body).to_bytes(2, "big") + self.body
        return bytes((self.code, len(self.body))) + self.body

    @classmethod
    def parse_all(cls, data: bytes) -> list[Self]:
        """The pages in ``data``; one that is cut at the end is left out."""
        found, position = [], 0
        while position + 2 <= len(data):
            long = bool(data[position] & 0x40)
            if long and position + 4 > len(data):
                break
            subpage = data[position + 1] if long else 0
            length = int.from_bytes(data[position + 2 : position + 4], "big") if long else data[position + 1]
            start = position + (4 if long else 2)
            position = start + length
            if position <= len(data):
                found.append(cls(data[start - (4 if long else 2)] & 0x3F, subpage, data[start:position]))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeParameters:
    """All MODE SENSE returns: the header's flags, one block descriptor or none, and the pages."""

    write_protected: bool = False
    dpo_fua: bool = False
    medium_type: int = 0
    blocks: int | None = None
    block_size: int | None = None
    pages: tuple[bytes, ...] = field(default=())

    def _device_specific(self) -> int:
        return (_WP if self.write_protected else 0) | (_DPOFUA if self.dpo_fua else 0)

    def _descriptor(self, long: bool) -> bytes:
        if self.blocks is None or self.block_size is None:
            return b""
        if long:
            return LONG_DESCRIPTOR.build(blocks=self.blocks, block_size=self.block_size)
        # SBC-3: a number of blocks that does not fit is FFFFFFFFh.
        return SHORT_DESCRIPTOR.build(blocks=min(self.blocks, 0xFFFF_FFFF), block_size=self.block_size)

    def encode_6(self) -> bytes:
        """For MODE SENSE (6)."""
        descriptor = self._descriptor(long=False)
        body = descriptor + b"".join(self.pages)
        header = HEADER_6.build(
            data_length=HEADER_6.size - 1 + len(body),
            medium_type=self.medium_type,
            device_specific=self._device_specific(),
            descriptors_length=len(descriptor),
        )
        return header + body

    def encode_10(self, *, long_lba: bool = False) -> bytes:
        """For MODE SENSE (10); ``long_lba`` uses the 16-byte block descriptor."""
        descriptor = self._descriptor(long_lba)
        body = descriptor + b"".join(self.pages)
        header = HEADER_10.build(
            data_length=HEADER_10.size - 2 + len(body),
            medium_type=self.medium_type,
            device_specific=self._device_specific(),
            format=int(long_lba and bool(descriptor)),
            descriptors_length=len(descriptor),
        )
        return header + body

    @classmethod
    def parse_6(cls, data: bytes | bytearray | memoryview) -> Self:
        """From MODE SENSE (6), cut or not. Raises `ValueError` when the header is not all there."""
        header = HEADER_6.parse(data)
        return cls._parse(bytes(data[: header["data_length"] + 1]), HEADER_6, header, SHORT_DESCRIPTOR)

    @classmethod
    def parse_10(cls, data: bytes | bytearray | memoryview) -> Self:
        """From MODE SENSE (10), cut or not. Raises `ValueError` when the header is not all there."""
        header = HEADER_10.parse(data)
        descriptor = LONG_DESCRIPTOR if header["format"] & 1 else SHORT_DESCRIPTOR
        return cls._parse(bytes(data[: header["data_length"] + 2]), HEADER_10, header, descriptor)

    @classmethod
    def _parse(cls, data: bytes, layout: Layout, header: dict[str, int], descriptor: Layout) -> Self:
        end = layout.size + header["descriptors_length"]
        has_descriptor = header["descriptors_length"] >= descriptor.size and len(data) >= end
        geometry = descriptor.parse(data, layout.size) if has_descriptor else {}
        return cls(
            write_protected=bool(header["device_specific"] & _WP),
            dpo_fua=bool(header["device_specific"] & _DPOFUA),
            medium_type=header["medium_type"],
            blocks=geometry.get("blocks"),
            block_size=geometry.get("block_size"),
            pages=tuple(page.encode() for page in ModePage.parse_all(data[end:])),
        )

    def find(self, code: int, subpage: int = 0) -> ModePage | None:
        """The page ``code``, or None."""
        pages = ModePage.parse_all(b"".join(self.pages))
        return next((page for page in pages if (page.code, page.subpage) == (code, subpage)), None)
