"""The mode pages a disk has here (SPC-4 and SBC-3), and which of their bits MODE SELECT may change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from construct import Int8ub, Int16ub, Int32ub, Padding

from iscsim.scsi.layout import Layout, bits
from iscsim.scsi.mode import ModePage, ModePageCode

__all__ = [
    "CachingPage",
    "ControlExtensionPage",
    "ControlPage",
    "InformationalExceptionsPage",
    "PageKey",
    "ProvisioningPage",
    "ReadWriteErrorRecoveryPage",
    "changeable_bits",
    "page_key",
    "refused_field",
]

PageKey = tuple[int, int]  # code and subpage; pages sort by it as SPC-4 orders them

CONTROL_EXTENSION_SUBPAGE = 0x01
PROVISIONING_SUBPAGE = 0x02
_SPF = 0x40
_PAGE_HEAD = ("head" / bits(ps=1, spf=1, code=6), "page_length" / Int8ub)
_SUBPAGE_HEAD = ("head" / bits(ps=1, spf=1, code=6), "subpage" / Int8ub, "page_length" / Int16ub)
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
CONTROL_EXTENSION = Layout(
    *_SUBPAGE_HEAD,
    "flags" / bits(_=5, tcmos=1, scsip=1, ialuae=1),
    "priority" / bits(_=4, initial=4),
    "maximum_sense_length" / Int8ub,
    Padding(25),
)
INFORMATIONAL_EXCEPTIONS = Layout(
    *_PAGE_HEAD,
    "flags" / bits(perf=1, _=1, ebf=1, ewasc=1, dexcpt=1, test=1, ebackerr=1, logerr=1),
    "method" / bits(_=4, mrie=4),
    "interval_timer_100ms" / Int32ub,
    "report_count" / Int32ub,
)
PROVISIONING = Layout(
    *_SUBPAGE_HEAD,
    "flags" / bits(_=7, situa=1),
    Padding(11),
    "threshold" / bits(enabled=1, _=1, kind=3, arming=3),
    "resource" / Int8ub,
    Padding(2),
    "threshold_count" / Int32ub,
)
_CACHE = CACHING.masks("cache")
_SENSE = CONTROL.masks("sense")
_QERR = CONTROL.masks("queue")["qerr"]
_SWP = CONTROL.masks("protection")["swp"]
_TAS = CONTROL.masks("status")["tas"]
_IALUAE = CONTROL_EXTENSION.masks("flags")["ialuae"]
_DEXCPT = INFORMATIONAL_EXCEPTIONS.masks("flags")["dexcpt"]
_TEST = INFORMATIONAL_EXCEPTIONS.masks("flags")["test"]
_MRIE = INFORMATIONAL_EXCEPTIONS.masks("method")["mrie"]
_ENABLED = PROVISIONING.masks("threshold")["enabled"]
_SOFT_INCREASING, _USED = 0b000_001, 0x02  # a threshold for what is used
_UNRESTRICTED_REORDERING = 0x10
_NO_TIMEOUT = 0xFFFF

# MRIE. The methods that would spoil the status of commands that went well are not offered.
NO_REPORT, UNIT_ATTENTION, ON_REQUEST = 0x0, 0x2, 0x6
_METHODS = (NO_REPORT, UNIT_ATTENTION, ON_REQUEST)
_QUEUE_ERRORS = (0b00, 0b01, 0b11)  # QERR; 10b is reserved


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
    """Page 0Ah: sense format, software write protection, and what becomes of other tasks.

    ``task_aborted_status`` (TAS) has them end with TASK ABORTED when another nexus aborts them;
    ``queue_error_management`` (QERR) says whose are aborted when a command ends with CHECK CONDITION: 0
    nobody's, 1 everybody's, 3 those of the same nexus.
    """

    descriptor_sense: bool = False
    software_write_protect: bool = False
    task_aborted_status: bool = False
    queue_error_management: int = 0

    def encode(self) -> bytes:
        """12 bytes."""
        return _build(
            CONTROL,
            ModePageCode.CONTROL,
            sense=(_SENSE["d_sense"] if self.descriptor_sense else 0) | _SENSE["gltsd"],
            queue=_UNRESTRICTED_REORDERING | self.queue_error_management << 1,
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
            queue_error_management=(fields["queue"] & _QERR) >> 1,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlExtensionPage:
    """Page 0Ah, subpage 01h: ``implicit_access`` says that the target changes access states by itself."""

    implicit_access: bool = False

    def encode(self) -> bytes:
        """32 bytes."""
        return CONTROL_EXTENSION.build(
            head=_SPF | ModePageCode.CONTROL,
            subpage=CONTROL_EXTENSION_SUBPAGE,
            page_length=CONTROL_EXTENSION.size - 4,
            flags=_IALUAE if self.implicit_access else 0,
        )

    @classmethod
    def parse(cls, page: ModePage) -> Self:
        """Raises `ValueError` for another page or an empty one."""
        fields = _fields(CONTROL_EXTENSION, ModePageCode.CONTROL, page, CONTROL_EXTENSION_SUBPAGE)
        return cls(implicit_access=bool(fields["flags"] & _IALUAE))


@dataclass(frozen=True, slots=True, kw_only=True)
class InformationalExceptionsPage:
    """Page 1Ch: nothing here predicts its own failure, but ``test`` (TEST) has it do as if.

    ``method`` is MRIE: 0 not reported, 2 as a unit attention, 6 when REQUEST SENSE asks.
    """

    disabled: bool = True
    test: bool = False
    method: int = 0
    interval_timer_100ms: int = 0
    report_count: int = 0

    def encode(self) -> bytes:
        """12 bytes."""
        return _build(
            INFORMATIONAL_EXCEPTIONS,
            ModePageCode.INFORMATIONAL_EXCEPTIONS,
            flags=(_DEXCPT if self.disabled else 0) | (_TEST if self.test else 0),
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
            test=bool(fields["flags"] & _TEST),
            method=fields["method"] & _MRIE,
            interval_timer_100ms=fields["interval_timer_100ms"],
            report_count=fields["report_count"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisioningPage:
    """Page 1Ch, subpage 02h: one soft threshold, for what is used; see VPD page B2h for what it counts."""

    enabled: bool = False
    threshold_count: int = 0

    def encode(self) -> bytes:
        """24 bytes."""
        return PROVISIONING.build(
            head=_SPF | ModePageCode.INFORMATIONAL_EXCEPTIONS,
            subpage=PROVISIONING_SUBPAGE,
            page_length=PROVISIONING.size - 4,
            threshold=_SOFT_INCREASING | (_ENABLED if self.enabled else 0),
            resource=_USED,
            threshold_count=self.threshold_count,
        )

    @classmethod
    def parse(cls, page: ModePage) -> Self:
        """Raises `ValueError` for another page or an empty one."""
        fields = _fields(PROVISIONING, ModePageCode.INFORMATIONAL_EXCEPTIONS, page, PROVISIONING_SUBPAGE)
        return cls(enabled=bool(fields["threshold"] & _ENABLED), threshold_count=fields["threshold_count"])


def page_key(page: bytes) -> PageKey:
    """Code and subpage of an encoded page."""
    return page[0] & ModePageCode.ALL, page[1] if page[0] & _SPF else 0


def _build(layout: Layout, code: ModePageCode, **values: int) -> bytes:
    return layout.build(head=code, page_length=layout.size - 2, **values)


def _fields(layout: Layout, code: ModePageCode, page: ModePage, subpage: int = 0) -> dict[str, int]:
    if (page.code, page.subpage) != (code, subpage) or not page.body:
        expected = f"{code:02X}h/{subpage:02X}h" if subpage else f"{code:02X}h"
        raise ValueError(f"mode page {page.code:02X}h/{page.subpage:02X}h arrived, expected {expected}")
    return layout.parse(page.encode()[: layout.size].ljust(layout.size, b"\0"))


# What MODE SELECT may change and MODE SENSE reports as changeable: what is obeyed, and no more. INTERVAL
# TIMER and REPORT COUNT stay 0, since there is no clock here: an exception is reported once.
_CHANGEABLE: dict[PageKey, bytes] = {
    page_key(page): page
    for page in (
        _build(CACHING, ModePageCode.CACHING, cache=_CACHE["wce"]),
        _build(
            CONTROL,
            ModePageCode.CONTROL,
            sense=_SENSE["d_sense"],
            queue=_QERR,
            protection=_SWP,
            status=_TAS,
        ),
        _build(
            INFORMATIONAL_EXCEPTIONS,
            ModePageCode.INFORMATIONAL_EXCEPTIONS,
            flags=_DEXCPT | _TEST,
            method=NO_REPORT | UNIT_ATTENTION | ON_REQUEST,
        ),
        PROVISIONING.build(
            head=_SPF | ModePageCode.INFORMATIONAL_EXCEPTIONS,
            subpage=PROVISIONING_SUBPAGE,
            threshold=_ENABLED,
            threshold_count=0xFFFF_FFFF,
        ),
    )
}


def changeable_bits(page: bytes) -> bytes:
    """As long as the encoded ``page``: a 1 for every bit MODE SELECT may change, none in the header."""
    header = 4 if page[0] & _SPF else 2
    return bytes(header) + _CHANGEABLE.get(page_key(page), bytes(len(page)))[header:]


def refused_field(page: bytes) -> tuple[int, int] | None:
    """Byte and most significant bit of the field whose value cannot be, in an encoded page that differs from
    the one there is only in bits that are changeable; None when all can be.
    """
    match page_key(page):
        case (ModePageCode.CONTROL, 0) if (page[3] & _QERR) >> 1 not in _QUEUE_ERRORS:
            return 3, 2
        case (ModePageCode.INFORMATIONAL_EXCEPTIONS, 0):
            if page[2] & _TEST and page[2] & _DEXCPT:  # SPC-4: a test of what is disabled
                return 2, 2
            if page[3] & _MRIE not in _METHODS:
                return 3, 3
    return None
