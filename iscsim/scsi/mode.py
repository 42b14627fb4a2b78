"""Mode parameters (SPC-4 and SBC-3, "Mode parameters for direct-access block devices")."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Self

from construct import Int8ub, Int16ub, Int32ub, Int64ub, Padding

from iscsim.scsi.layout import Layout, bits

__all__ = [
    "CachingPage",
    "ControlPage",
    "InformationalExceptionsPage",
    "ModePage",
    "ModePageCode",
    "ModeParameters",
    "PageControl",
    "ReadWriteErrorRecoveryPage",
    "changeable_bits",
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

_PAGE_HEAD = ("head" / bits(ps=1, spf=1, code=6), "page_length" / Int8ub)
READ_WRITE_ERROR_RECOVERY = Layout(
    *_PAGE_HEAD,
    "recovery" / bits(awre=1, arre=1, tb=1, rc=1, eer=1, per=1, dte=1, dcr=1),
    "read_retry_count" / Int8ub,
    Padding(4),
    "write_retry_count" / Int8ub,
    Padding(1),
    "recovery_time_limit_ms" / Int16ub,
)
CACHING = Layout(
    *_PAGE_HEAD,
    "cache" / bits(ic=1, abpf=1, cap=1, disc=1, size=1, wce=1, mf=1, rcd=1),
    Padding(17),
)
CONTROL = Layout(
    *_PAGE_HEAD,
    "sense" / bits(tst=3, tmf_only=1, dpicz=1, d_sense=1, gltsd=1, rlec=1),
    "queue" / bits(algorithm=4, nuar=1, qerr=2, _=1),
    "protection" / bits(vs=1, rac=1, ua_intlck=2, swp=1, _=3),
    "status" / bits(ato=1, tas=1, atmpe=1, rwwp=1, _=1, autoload=3),
    Padding(2),
    "busy_timeout_100ms" / Int16ub,
    "self_test_time_s" / Int16ub,
)
INFORMATIONAL_EXCEPTIONS = Layout(
    *_PAGE_HEAD,
    "flags" / bits(perf=1, _=1, ebf=1, ewasc=1, dexcpt=1, test=1, ebackerr=1, logerr=1),
    "method" / bits(_=4, mrie=4),
    "interval_timer_100ms" / Int32ub,
    "report_count" / Int32ub,
)
_CACHE = CACHING.masks("cache")
_SENSE = CONTROL.masks("sense")
_SWP = CONTROL.masks("protection")["swp"]
_TAS = CONTROL.masks("status")["tas"]
_DEXCPT = INFORMATIONAL_EXCEPTIONS.masks("flags")["dexcpt"]
_MRIE = INFORMATIONAL_EXCEPTIONS.masks("method")["mrie"]
_UNRESTRICTED_REORDERING = 0x10
_NO_TIMEOUT = 0xFFFF


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
class ReadWriteErrorRecoveryPage:
    """Page 01h: a store has no retries to tune."""

    def encode(self) -> bytes:
        """12 bytes."""
        return _build(READ_WRITE_ERROR_RECOVERY, ModePageCode.READ_WRITE_ERROR_RECOVERY)


@dataclass(frozen=True, slots=True, kw_only=True)
class CachingPage:
    """Page 08h. Hosts send SYNCHRONIZE CACHE only when ``write_cache`` says that there is one."""

    write_cache: bool = True
    read_cache: bool = True

    def encode(self) -> bytes:
        """20 bytes."""
        cache = (_CACHE["wce"] if self.write_cache else 0) | (0 if self.read_cache else _CACHE["rcd"])
        return _build(CACHING, ModePageCode.CACHING, cache=cache)

    @classmethod
    def parse(cls, page: ModePage) -> Self:
        """Raises `ValueError` for another page or an empty one."""
        cache = _fields(CACHING, ModePageCode.CACHING, page)["cache"]
        return cls(write_cache=bool(cache & _CACHE["wce"]), read_cache=not cache & _CACHE["rcd"])


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPage:
    """Page 0Ah: sense format, software write protection, and what becomes of aborted tasks (TAS)."""

    descriptor_sense: bool = False
    software_write_protect: bool = False
    task_aborted_status: bool = False

    def encode(self) -> bytes:
        """12 bytes."""
        return _build(
            CONTROL,
            ModePageCode.CONTROL,
            sense=(_SENSE["d_sense"] if self.descriptor_sense else 0) | _SENSE["gltsd"],
            queue=_UNRESTRICTED_REORDERING,
            protection=_SWP if self.software_write_protect else 0,
            status=_TAS if self.task_aborted_status else 0,
            busy_timeout_100ms=_NO_TIMEOUT,
        )

    @classmethod
    def parse(cls, page: ModePage) -> Self:
        """Raises `ValueError` for another page or an empty one."""
        fields = _fields(CONTROL, ModePageCode.CONTROL, page)
        return cls(
            descriptor_sense=bool(fields["sense"] & _SENSE["d_sense"]),
            software_write_protect=bool(fields["protection"] & _SWP),
            task_aborted_status=bool(fields["status"] & _TAS),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InformationalExceptionsPage:
    """Page 1Ch: nothing here predicts its own failure, so hosts may have it disabled or reported as they
    like.

    ``method`` is MRIE, 0 to 15.
    """

    disabled: bool = True
    method: int = 0
    interval_timer_100ms: int = 0
    report_count: int = 0

    def encode(self) -> bytes:
        """12 bytes."""
        return _build(
            INFORMATIONAL_EXCEPTIONS,
            ModePageCode.INFORMATIONAL_EXCEPTIONS,
            flags=_DEXCPT if self.disabled else 0,
            method=self.method,
            interval_timer_100ms=self.interval_timer_100ms,
            report_count=self.report_count,
        )

    @classmethod
    def parse(cls, page: ModePage) -> Self:
        """Raises `ValueError` for another page or an empty one."""
        fields = _fields(INFORMATIONAL_EXCEPTIONS, ModePageCode.INFORMATIONAL_EXCEPTIONS, page)
        return cls(
            disabled=bool(fields["flags"] & _DEXCPT),
            method=fields["method"] & _MRIE,
            interval_timer_100ms=fields["interval_timer_100ms"],
            report_count=fields["report_count"],
        )


def _build(layout: Layout, code: ModePageCode, **values: int) -> bytes:
    return layout.build(head=code, page_length=layout.size - 2, **values)


# What MODE SELECT may change and MODE SENSE reports as changeable.
_CHANGEABLE: dict[int, bytes] = {
    page[0]: page
    for page in (
        _build(CACHING, ModePageCode.CACHING, cache=_CACHE["wce"]),
        _build(CONTROL, ModePageCode.CONTROL, sense=_SENSE["d_sense"], protection=_SWP),
        _build(
            INFORMATIONAL_EXCEPTIONS,
            ModePageCode.INFORMATIONAL_EXCEPTIONS,
            flags=_DEXCPT,
            method=_MRIE,
            interval_timer_100ms=0xFFFF_FFFF,
            report_count=0xFFFF_FFFF,
        ),
    )
}


def changeable_bits(page: bytes) -> bytes:
    """As long as the encoded ``page``: a 1 for every bit MODE SELECT may change, none in the header."""
    found = _CHANGEABLE.get(page[0], bytes(len(page)))
    return bytes(2) + found[2:]


def _fields(layout: Layout, code: ModePageCode, page: ModePage) -> dict[str, int]:
    if page.code != code or page.subpage or not page.body:
        raise ValueError(f"mode page {page.code:02X}h/{page.subpage:02X}h arrived, expected {code:02X}h")
    return layout.parse(page.encode()[: layout.size].ljust(layout.size, b"\0"))


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
