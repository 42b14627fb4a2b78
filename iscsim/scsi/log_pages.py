"""LOG SENSE and LOG SELECT (SPC-4): only pages whose values are true and cost a READ nothing.

So the error counter pages count what went wrong and not the bytes that went well. There are no thresholds,
and nothing is saved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from construct import Int8ub, Int16ub, Int32ub, Padding

from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.asc import ASC
from iscsim.scsi.command import Command, CommandFlag, invalid_field
from iscsim.scsi.completion import Completion
from iscsim.scsi.layout import Layout, bits
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.reservations import ReservationRule
from iscsim.scsi.status import Status
from iscsim.scsi.store import Buffer
from iscsim.scsi.unit_attention import UnitAttention

__all__ = ["COMMANDS", "LogPageCode"]


class LogPageCode(IntEnum):
    """PAGE CODE."""

    SUPPORTED_PAGES = 0x00
    WRITE_ERROR_COUNTERS = 0x02
    READ_ERROR_COUNTERS = 0x03
    LOGICAL_BLOCK_PROVISIONING = 0x0C
    INFORMATIONAL_EXCEPTIONS = 0x2F


HEADER = Layout("page" / bits(ds=1, spf=1, code=6), "subpage" / Int8ub, "length" / Int16ub)
PARAMETER = Layout(
    "code" / Int16ub, "control" / bits(du=1, _1=1, tsd=1, etc=1, tmc=2, format=2), "length" / Int8ub
)
RESOURCE_COUNT = Layout("count" / Int32ub, "scope" / bits(_=6, scope=2), Padding(3))
_DS, _SPF = HEADER.masks("page")["ds"], HEADER.masks("page")["spf"]
_TSD = PARAMETER.masks("control")["tsd"]
_COUNTER, _LIST = _TSD | 0b00, _TSD | 0b11  # never saved; a bounded data counter, a binary list
_SUBPAGES = 0xFF
_TOTAL_UNCORRECTED_ERRORS, _USED_RESOURCES, _GENERAL = 0x0006, 0x0002, 0x0000  # PARAMETER CODE
_DEDICATED = 0b01  # SCOPE: what other units use does not count
_NO_TEMPERATURE = 0xFF
_LARGEST_COUNT = 0xFFFF_FFFF
_THRESHOLDS, _CUMULATIVE, _DEFAULT_THRESHOLDS, _DEFAULT_CUMULATIVE = range(4)  # PC
_PCR, _SENSE = layouts.LOG_SELECT.masks("flags")["pcr"], layouts.LOG_SENSE.masks("flags")

Parameters = list[tuple[int, int, bytes]]  # code, control byte, value


@dataclass(frozen=True, slots=True)
class LogPage:
    """How a page's parameters are found; the second argument asks for default values."""

    parameters: Callable[[LogicalUnit, bool], Parameters]
    counts: bool = False
    is_there: Callable[[LogicalUnit], bool] = lambda unit: True


def _write_errors(unit: LogicalUnit, default: bool) -> Parameters:
    return [_counter(_TOTAL_UNCORRECTED_ERRORS, 0 if default else unit.write_errors)]


def _read_errors(unit: LogicalUnit, default: bool) -> Parameters:
    return [_counter(_TOTAL_UNCORRECTED_ERRORS, 0 if default else unit.read_errors)]


def _counter(code: int, value: int) -> tuple[int, int, bytes]:
    return code, _COUNTER, value.to_bytes(8, "big")


def _provisioning(unit: LogicalUnit, default: bool) -> Parameters:
    """SBC-3: blocks in use, in threshold sets, which here are single blocks (VPD page B2h: exponent 0).

    What is available is nobody's but the host's to say, and left out.
    """
    used = min(-(-unit.store.allocated_size // unit.block_size), unit.blocks)
    return [(_USED_RESOURCES, _LIST, RESOURCE_COUNT.build(count=used, scope=_DEDICATED))]


def _counts_blocks(unit: LogicalUnit) -> bool:
    return unit.thin and unit.blocks <= _LARGEST_COUNT


def _informational_exceptions(unit: LogicalUnit, default: bool) -> Parameters:
    """No unit here predicts its failure, so there is never an exception to tell."""
    code = int(ASC.NO_ADDITIONAL_SENSE).to_bytes(2, "big")
    return [(_GENERAL, _LIST, code + bytes((_NO_TEMPERATURE,)))]


_PAGES: dict[int, LogPage] = {
    LogPageCode.WRITE_ERROR_COUNTERS: LogPage(_write_errors, counts=True),
    LogPageCode.READ_ERROR_COUNTERS: LogPage(_read_errors, counts=True),
    LogPageCode.LOGICAL_BLOCK_PROVISIONING: LogPage(_provisioning, is_there=_counts_blocks),
    LogPageCode.INFORMATIONAL_EXCEPTIONS: LogPage(_informational_exceptions),
}


def _codes(unit: LogicalUnit) -> list[int]:
    return sorted(code for code, page in _PAGES.items() if page.is_there(unit))


def _check_page(unit: LogicalUnit, code: int, subpage: int) -> None:
    """Raises 05/24/00 for a page that is not there; only page 00h has a subpage, FFh."""
    if code != LogPageCode.SUPPORTED_PAGES and code not in _codes(unit):
        raise invalid_field(2, 5)
    if subpage and (code, subpage) != (LogPageCode.SUPPORTED_PAGES, _SUBPAGES):
        raise invalid_field(3)


def log_sense(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SPC-4, LOG SENSE: parameters from the PARAMETER POINTER on. PPC is obsolete, SP has nothing to save."""
    _, flags, page, subpage, pointer, allocation_length = layouts.LOG_SENSE.struct.unpack_from(cdb)
    for name, bit in (("ppc", 1), ("sp", 0)):
        if flags & _SENSE[name]:
            raise invalid_field(1, bit)
    unit, code, control = mapped.logical_unit, page & 0x3F, page >> 6
    _check_page(unit, code, subpage)
    if code == LogPageCode.SUPPORTED_PAGES:
        if pointer:
            raise invalid_field(5)
        data = _supported(unit, subpage)
    else:
        data = _page(unit, code, control, pointer)
    return Completion(Status.GOOD, data[:allocation_length])


def _supported(unit: LogicalUnit, subpage: int) -> bytes:
    codes = [int(LogPageCode.SUPPORTED_PAGES), *_codes(unit)]
    if not subpage:
        return HEADER.build(page=LogPageCode.SUPPORTED_PAGES, length=len(codes)) + bytes(codes)
    pairs = sorted([(code, 0) for code in codes] + [(int(LogPageCode.SUPPORTED_PAGES), _SUBPAGES)])
    body = b"".join(bytes(pair) for pair in pairs)
    head = _SPF | LogPageCode.SUPPORTED_PAGES
    return HEADER.build(page=head, subpage=_SUBPAGES, length=len(body)) + body


def _page(unit: LogicalUnit, code: int, control: int, pointer: int) -> bytes:
    """PC selects among the values of counters and is ignored for lists (SPC-4)."""
    page = _PAGES[code]
    if page.counts and control in (_THRESHOLDS, _DEFAULT_THRESHOLDS):
        raise invalid_field(2, 7)
    parameters = page.parameters(unit, control == _DEFAULT_CUMULATIVE)
    wanted = [parameter for parameter in parameters if parameter[0] >= pointer]
    if not wanted:
        raise invalid_field(5)
    body = b"".join(
        PARAMETER.build(code=number, control=kind, length=len(value)) + value
        for number, kind, value in wanted
    )
    return HEADER.build(page=_DS | code, length=len(body)) + body


def log_select(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SPC-4, LOG SELECT without a list: PCR, or PC 11b, sets counters back; the other nexuses hear 2A/02."""
    _log_select_length(mapped, cdb)
    _, flags, page, _, _ = layouts.LOG_SELECT.struct.unpack_from(cdb)
    unit, code = mapped.logical_unit, page & 0x3F
    if (flags & _PCR or page >> 6 == _DEFAULT_CUMULATIVE) and _set_back(unit, code):
        unit.establish(UnitAttention.LOG_PARAMETERS_CHANGED, except_for=nexus)
    return Completion()


def _set_back(unit: LogicalUnit, code: int) -> bool:
    """Page 00h means all. False when there was nothing to set back."""
    before = unit.read_errors, unit.write_errors
    if code in (LogPageCode.SUPPORTED_PAGES, LogPageCode.READ_ERROR_COUNTERS):
        unit.read_errors = 0
    if code in (LogPageCode.SUPPORTED_PAGES, LogPageCode.WRITE_ERROR_COUNTERS):
        unit.write_errors = 0
    return before != (unit.read_errors, unit.write_errors)


def _log_select_length(mapped: MappedLUN, cdb: bytes) -> int:
    """0: values are counted here and not written, so a parameter list is refused, whatever is in it."""
    _, flags, page, subpage, length = layouts.LOG_SELECT.struct.unpack_from(cdb)
    if flags & layouts.LOG_SELECT.masks("flags")["sp"]:
        raise invalid_field(1, 0)
    if length:
        raise invalid_field(1, 1) if flags & _PCR else invalid_field(7)
    _check_page(mapped.logical_unit, page & 0x3F, subpage)
    return 0


COMMANDS: dict[int, Command] = {
    Opcode.LOG_SELECT: Command(log_select, layouts.LOG_SELECT, CommandFlag.IN_STANDBY, _log_select_length),
    Opcode.LOG_SENSE: Command(
        log_sense, layouts.LOG_SENSE, CommandFlag.IN_STANDBY, reservation=ReservationRule.ALWAYS
    ),
}
