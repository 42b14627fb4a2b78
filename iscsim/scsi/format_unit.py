"""FORMAT UNIT (SBC-4). Blocks keep their size, and there are no defects to keep a list of."""

from __future__ import annotations

from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.asc import ASC
from iscsim.scsi.command import (
    Command,
    CommandFlag,
    invalid_field,
    invalid_parameter,
    parameter_list_length_error,
)
from iscsim.scsi.completion import Completion
from iscsim.scsi.erasure import check_fill, fill, repeated
from iscsim.scsi.layout import Layout
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.sbc import check_writable
from iscsim.scsi.sense import CheckCondition, SenseKey
from iscsim.scsi.store import Buffer

__all__ = ["COMMANDS"]

_OPTIONS = layouts.FORMAT_UNIT.masks("options")
_FFMT = layouts.FORMAT_UNIT.masks("fast")["ffmt"]
_FLAGS = layouts.FORMAT_SHORT_HEADER.masks("flags")
_FORMAT_OPTIONS = ("dpry", "dcrt", "stpf", "ip")  # they count only with FOV
_NOT_DONE = ("obsolete", "vendor_specific")
_LAST_DEFECT_FORMAT = 0b101  # physical sectors; what follows is vendor specific or reserved
_PROTECTION = layouts.FORMAT_SHORT_HEADER.masks("protection")["field_usage"]
_INTERVAL = layouts.FORMAT_LONG_HEADER.masks("interval")
_DEFAULT_PATTERN, _REPEATED_PATTERN = 0x00, 0x01
_MODIFIER = layouts.FORMAT_PATTERN.masks("modifier")


def format_unit(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-4, FORMAT UNIT: every block is filled with zeros, or with the initialization pattern."""
    unit = mapped.logical_unit
    _format_length(mapped, cdb)
    immediate, block = False, bytes(unit.block_size)
    if cdb[1] & _OPTIONS["fmtdata"]:
        immediate, block = _parameters(cdb, bytes(data_out), unit.block_size)
    check_fill(unit, block)
    try:
        fill(unit, block)
    except OSError as error:
        raise CheckCondition(SenseKey.MEDIUM_ERROR, ASC.FORMAT_COMMAND_FAILED) from error
    ready_at = unit.erasure.begin(ASC.FORMAT_IN_PROGRESS, nexus)
    return Completion(ready_at=None if immediate else ready_at)


def _header(cdb: bytes) -> Layout:
    long = cdb[1] & _OPTIONS["longlist"]
    return layouts.FORMAT_LONG_HEADER if long else layouts.FORMAT_SHORT_HEADER


def _parameters(cdb: bytes, data: bytes, block_size: int) -> tuple[bool, bytes]:
    """IMMED, and what to fill every block with."""
    header = _header(cdb)
    if len(data) < header.size:
        raise parameter_list_length_error()
    fields = header.parse(data)
    if fields["protection"] & _PROTECTION:  # no protection information here: FMTPINFO was 0
        raise invalid_parameter(0, 2)
    flags = fields["flags"]
    _check_flags(flags)
    _check_interval(fields.get("interval", 0))
    if fields["defect_list_length"]:
        raise invalid_parameter(4 if header is layouts.FORMAT_LONG_HEADER else 2)
    block = bytes(block_size)
    if flags & _FLAGS["ip"]:
        block = _pattern(data, header.size, block_size)
    return bool(flags & _FLAGS["immed"]), block


def _check_flags(flags: int) -> None:
    wrong = _NOT_DONE if flags & _FLAGS["fov"] else (*_FORMAT_OPTIONS, *_NOT_DONE)
    for name in wrong:
        if flags & _FLAGS[name]:
            raise invalid_parameter(1, _FLAGS[name].bit_length() - 1)


def _check_interval(interval: int) -> None:
    """Of the long header: only with protection information may these be set."""
    for name in ("information", "exponent"):
        if interval & _INTERVAL[name]:
            raise invalid_parameter(3, _INTERVAL[name].bit_length() - 1)


def _pattern(data: bytes, start: int, block_size: int) -> bytes:
    """The initialization pattern descriptor behind the header, as one block."""
    if len(data) < start + layouts.FORMAT_PATTERN.size:
        raise parameter_list_length_error()
    modifier, kind, length = layouts.FORMAT_PATTERN.struct.unpack_from(data, start)
    for name in ("obsolete", "security"):  # a security erasure write is more than a store can promise
        if modifier & _MODIFIER[name]:
            raise invalid_parameter(start, _MODIFIER[name].bit_length() - 1)
    if kind not in (_DEFAULT_PATTERN, _REPEATED_PATTERN):
        raise invalid_parameter(start + 1)
    if length > block_size or bool(length) != (kind == _REPEATED_PATTERN):
        raise invalid_parameter(start + 2)
    start += layouts.FORMAT_PATTERN.size
    pattern = data[start : start + length]
    if len(pattern) < length:
        raise parameter_list_length_error()
    return repeated(pattern, block_size) if pattern else bytes(block_size)


def _format_length(mapped: MappedLUN, cdb: bytes) -> int:
    """No more than a header and a pattern of one block: a list of defects is not taken, however long."""
    _check_cdb(cdb)
    check_writable(mapped)
    if not cdb[1] & _OPTIONS["fmtdata"]:
        return 0
    return _header(cdb).size + layouts.FORMAT_PATTERN.size + mapped.logical_unit.block_size


def _check_cdb(cdb: bytes) -> None:
    options = cdb[1]
    if options & _OPTIONS["fmtpinfo"]:
        raise invalid_field(1, 7)
    most = _LAST_DEFECT_FORMAT if options & _OPTIONS["fmtdata"] else 0
    if options & _OPTIONS["defect_list_format"] > most:
        raise invalid_field(1, 2)
    if cdb[4] & _FFMT:  # a fast format is optional
        raise invalid_field(4, 1)


COMMANDS: dict[int, Command] = {
    Opcode.FORMAT_UNIT: Command(
        format_unit,
        layouts.FORMAT_UNIT,
        CommandFlag.NEEDS_MEDIUM | CommandFlag.OPEN_DATA_OUT,
        _format_length,
    )
}
