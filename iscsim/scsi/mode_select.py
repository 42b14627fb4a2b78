"""MODE SELECT (6) and (10) (SPC-4): caching, control, informational exceptions.

A page comes back as MODE SENSE gave it, with some of its changeable bits turned; the whole parameter list is
checked before the first page counts.
"""

from __future__ import annotations

from collections.abc import Mapping

from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.asc import ASC
from iscsim.scsi.command import Command, CommandFlag, invalid_field, invalid_parameter
from iscsim.scsi.completion import Completion
from iscsim.scsi.layout import Layout
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.mode import (
    HEADER_6,
    HEADER_10,
    LONG_DESCRIPTOR,
    SHORT_DESCRIPTOR,
)
from iscsim.scsi.mode_pages import PageKey, changeable_bits, page_key, refused_field
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.ownership import OwnedAccess
from iscsim.scsi.sense import CheckCondition, SenseKey
from iscsim.scsi.store import Buffer
from iscsim.scsi.unit_attention import UnitAttention

__all__ = ["COMMANDS"]

_FLAGS = layouts.MODE_SELECT_6.masks("flags")
_LONGLBA = HEADER_10.masks("format")["longlba"]
_SPF, _CODE = 0x40, 0x3F  # byte 0 of a page; PS above them is reserved here
_LENGTH_AT = {0: slice(1, 2), _SPF: slice(2, 4)}  # PAGE LENGTH, by SPF
_MEDIUM_TYPE_AT = {HEADER_6: 1, HEADER_10: 2}
_DESCRIPTORS_LENGTH_AT = {HEADER_6: 3, HEADER_10: 6}
# Of a block descriptor: the number of blocks that stands for all there are, where the block length begins,
# and which bits it has (the byte before it is reserved in the short one).
_GEOMETRY = {
    SHORT_DESCRIPTOR: (0xFFFF_FFFF, 5, 0x00FF_FFFF),
    LONG_DESCRIPTOR: (0xFFFF_FFFF_FFFF_FFFF, 12, 0xFFFF_FFFF),
}


def mode_select_6(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SPC-4, MODE SELECT (6)."""
    return _select(nexus, mapped.logical_unit, _length_6(mapped, cdb), HEADER_6, bytes(data_out))


def mode_select_10(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SPC-4, MODE SELECT (10)."""
    return _select(nexus, mapped.logical_unit, _length_10(mapped, cdb), HEADER_10, bytes(data_out))


def _length_6(mapped: MappedLUN, cdb: bytes) -> int:
    _, flags, length = layouts.MODE_SELECT_6.struct.unpack_from(cdb)
    _check_flags(flags)
    return int(length)


def _length_10(mapped: MappedLUN, cdb: bytes) -> int:
    _, flags, length = layouts.MODE_SELECT_10.struct.unpack_from(cdb)
    _check_flags(flags)
    return int(length)


def _check_flags(flags: int) -> None:
    """Standard pages (PF) only; nothing is saved (SP), and there is no going back to defaults (RTD)."""
    if not flags & _FLAGS["pf"]:
        raise invalid_field(1, 4)
    if flags & _FLAGS["rtd"]:
        raise invalid_field(1, 1)
    if flags & _FLAGS["sp"]:
        raise invalid_field(1, 0)


def _select(nexus: ITNexus, unit: LogicalUnit, length: int, layout: Layout, data: bytes) -> Completion:
    """SPC-4: an empty list changes nothing and is no error. A change is told to every other nexus."""
    if len(data) != length:
        raise _length_error()
    start = _pages_at(unit, layout, data) if data else 0
    trespass = _trespass_page(unit, data, start) if data else b""
    if trespass and isinstance(unit.access, OwnedAccess):
        unit.access.select(trespass, start, by=nexus)
        return Completion()
    pages = _pages(unit, data, start) if data else {}
    changed = any(unit.mode_pages()[key] != page for key, page in pages.items())
    if changed and unit.write_cache:  # SBC-3: a cache that is switched off leaves nothing behind
        unit.store.flush()
    unit.use_mode_pages(pages)
    if changed:
        unit.establish(UnitAttention.MODE_PARAMETERS_CHANGED, except_for=nexus)
    return Completion()


def _length_error() -> CheckCondition:
    return CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.PARAMETER_LIST_LENGTH_ERROR)


def _pages_at(unit: LogicalUnit, layout: Layout, data: bytes) -> int:
    """Where the pages begin: behind the header and one block descriptor, or none.

    WP and DPOFUA, which MODE SENSE reports there, are reserved in MODE SELECT and not looked at.
    """
    if len(data) < layout.size:
        raise _length_error()
    header = layout.parse(data)
    if header["medium_type"]:
        raise invalid_parameter(_MEDIUM_TYPE_AT[layout])
    descriptor = LONG_DESCRIPTOR if header.get("format", 0) & _LONGLBA else SHORT_DESCRIPTOR
    if header["descriptors_length"] not in (0, descriptor.size):
        raise invalid_parameter(_DESCRIPTORS_LENGTH_AT[layout])
    end: int = layout.size + header["descriptors_length"]
    if len(data) < end:
        raise _length_error()
    if header["descriptors_length"]:
        _check_geometry(unit, descriptor, data, layout.size)
    return end


def _check_geometry(unit: LogicalUnit, descriptor: Layout, data: bytes, start: int) -> None:
    """The capacity and the block size are what they are (SBC-3: 0 blocks, or all ones, do not change it)."""
    geometry = descriptor.parse(data, start)
    all_of_them, block_length_at, mask = _GEOMETRY[descriptor]
    if geometry["blocks"] not in (0, unit.blocks, all_of_them):
        raise invalid_parameter(start)
    if geometry["block_size"] & mask != unit.block_size:
        raise invalid_parameter(start + block_length_at)


def _trespass_page(unit: LogicalUnit, data: bytes, start: int) -> bytes:
    """All that comes behind the header, when the first page of it is the one by which an array's storage
    processor takes over a unit: it comes alone. Else nothing.
    """
    access = unit.access
    if not isinstance(access, OwnedAccess) or data[start : start + 1] != bytes(
        (access.processors.trespass_page,)
    ):
        return b""
    if len(data) < start + 2:
        raise _length_error()
    return data[start:]


def _pages(unit: LogicalUnit, data: bytes, start: int) -> dict[PageKey, bytes]:
    """The pages from ``start`` on, by code and subpage, all checked; of a page that comes twice the last
    counts.
    """
    found: dict[PageKey, bytes] = {}
    current = unit.mode_pages()
    while start < len(data):
        page = _page(current, data, start)
        found[page_key(page)] = page
        start += len(page)
    return found


def _page(current: Mapping[PageKey, bytes], data: bytes, start: int) -> bytes:
    """One page, without PS: the one there is now, but for changeable bits."""
    old = _current_page(current, data, start)
    page = bytes((old[0],)) + data[start + 1 : start + len(old)]
    length_at = _LENGTH_AT[old[0] & _SPF]
    if len(page) >= length_at.stop and page[length_at] != old[length_at]:
        raise invalid_parameter(start + length_at.start)
    if len(page) != len(old):
        raise _length_error()
    for offset, (now, wanted, changeable) in enumerate(zip(old, page, changeable_bits(old), strict=True)):
        if (now ^ wanted) & ~changeable:
            raise invalid_parameter(start + offset)
    if refused := refused_field(page):
        raise invalid_parameter(start + refused[0], refused[1])
    return page


def _current_page(current: Mapping[PageKey, bytes], data: bytes, start: int) -> bytes:
    """The page of the code and subpage at ``start``."""
    code, has_subpage = data[start] & _CODE, data[start] & _SPF
    if not any(key[0] == code for key in current):
        raise invalid_parameter(start, 5)
    if has_subpage and start + 1 == len(data):
        raise _length_error()
    subpage = data[start + 1] if has_subpage else 0
    old = current.get((code, subpage))
    if old is None or bool(has_subpage) != bool(old[0] & _SPF):
        raise invalid_parameter(start + 1 if subpage else start, None if subpage else 6)
    return old


COMMANDS: dict[int, Command] = {
    Opcode.MODE_SELECT_6: Command(mode_select_6, layouts.MODE_SELECT_6, CommandFlag.IN_STANDBY, _length_6),
    Opcode.MODE_SELECT_10: Command(
        mode_select_10, layouts.MODE_SELECT_10, CommandFlag.IN_STANDBY, _length_10
    ),
}
