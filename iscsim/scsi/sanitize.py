"""SANITIZE (SBC-4): the whole medium overwritten, erased or made unreadable."""

from __future__ import annotations

from collections.abc import Callable

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
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import ServiceAction
from iscsim.scsi.sbc import check_writable
from iscsim.scsi.sense import CheckCondition, SenseKey
from iscsim.scsi.store import Buffer

__all__ = ["SERVICE_ACTIONS"]

_OPTIONS = layouts.SANITIZE.masks("options")
_OVERWRITE = layouts.OVERWRITE.masks("options")
_RESERVED_BIT = 0x40  # ZNR of zoned block devices, which this is not
_RESERVED_BYTES = range(2, 7)
_EXIT_FAILURE_MODE = ServiceAction.SANITIZE_EXIT_FAILURE_MODE & 0x1F


def _check(mapped: MappedLUN, cdb: bytes, shortest: int = 0, longest: int = 0) -> tuple[int, int]:
    """Byte 1 and the parameter list length. Raises what is wrong with the command, if anything is."""
    _, options, length = layouts.SANITIZE.struct.unpack_from(cdb)
    if options & _RESERVED_BIT:
        raise invalid_field(1, 6)
    for byte in _RESERVED_BYTES:
        if cdb[byte]:
            raise invalid_field(byte)
    _check_exit(mapped, options)
    if not shortest <= length <= longest:
        raise invalid_field(7)
    check_writable(mapped)
    return options, length


def _check_exit(mapped: MappedLUN, options: int) -> None:
    """After a failure with AUSE 0 there is one way out only: a sanitize operation with AUSE 0."""
    if not mapped.logical_unit.erasure.restricted:
        return
    if options & _OPTIONS["service_action"] == _EXIT_FAILURE_MODE:
        raise invalid_field(1, 4)
    if options & _OPTIONS["ause"]:
        raise invalid_field(1, 5)


def _perform(nexus: ITNexus, mapped: MappedLUN, options: int, work: Callable[[], None]) -> Completion:
    """Erase now; with IMMED the answer does not tell how it went, and does not wait."""
    unit, immediate = mapped.logical_unit, bool(options & _OPTIONS["immed"])
    try:
        work()
    except OSError as error:
        unit.erasure.settle(failed=True, restricted=not options & _OPTIONS["ause"])
        if immediate:
            return Completion()
        raise CheckCondition(SenseKey.MEDIUM_ERROR, ASC.SANITIZE_COMMAND_FAILED) from error
    unit.erasure.settle(failed=False)
    ready_at = unit.erasure.begin(ASC.SANITIZE_IN_PROGRESS, nexus)
    return Completion(ready_at=None if immediate else ready_at)


def overwrite(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-4, SANITIZE with OVERWRITE: the pattern fills every block from its first byte on.

    However many passes are asked for, and with INVERT too, the last one writes the pattern as it came: one
    pass is all that anybody can see.
    """
    unit = mapped.logical_unit
    length = _overwrite_length(mapped, cdb)
    if len(data_out) < length:
        raise parameter_list_length_error()
    pattern = _pattern(memoryview(data_out)[:length], unit.block_size)
    block = repeated(pattern, unit.block_size)
    check_fill(unit, block)
    return _perform(nexus, mapped, cdb[1], lambda: fill(unit, block))


def _pattern(parameters: memoryview, block_size: int) -> bytes:
    options, pattern_length = layouts.OVERWRITE.struct.unpack_from(parameters)
    if options & _OVERWRITE["test"]:  # vendor specific, and we have nothing of the kind
        raise invalid_parameter(0, 6)
    if not options & _OVERWRITE["count"]:
        raise invalid_parameter(0, 4)
    if parameters[1]:
        raise invalid_parameter(1)
    if not 0 < pattern_length <= block_size:
        raise invalid_parameter(2)
    pattern = bytes(parameters[layouts.OVERWRITE.size :])
    if len(pattern) != pattern_length:
        raise parameter_list_length_error()
    return pattern


def _overwrite_length(mapped: MappedLUN, cdb: bytes) -> int:
    header = layouts.OVERWRITE.size
    _, length = _check(mapped, cdb, header + 1, header + mapped.logical_unit.block_size)
    return length


def erase(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-4, SANITIZE with BLOCK ERASE or CRYPTOGRAPHIC ERASE: every block is deallocated, which only thin
    units can say.
    """
    unit = mapped.logical_unit
    if not unit.thin:
        raise invalid_field(1, 4)
    options, _ = _check(mapped, cdb)
    return _perform(nexus, mapped, options, lambda: fill(unit, bytes(unit.block_size)))


def exit_failure_mode(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-4, SANITIZE with EXIT FAILURE MODE: as if the last operation had not failed."""
    _check(mapped, cdb)
    mapped.logical_unit.erasure.settle(failed=False)
    return Completion()


_MEDIUM = CommandFlag.NEEDS_MEDIUM
_ERASE = Command(erase, layouts.SANITIZE, _MEDIUM | CommandFlag.THIN_ONLY)

# Under SANITIZE.
SERVICE_ACTIONS: dict[int, Command] = {
    ServiceAction.SANITIZE_OVERWRITE & 0x1F: Command(overwrite, layouts.SANITIZE, _MEDIUM, _overwrite_length),
    ServiceAction.SANITIZE_BLOCK_ERASE & 0x1F: _ERASE,
    ServiceAction.SANITIZE_CRYPTOGRAPHIC_ERASE & 0x1F: _ERASE,
    _EXIT_FAILURE_MODE: Command(exit_failure_mode, layouts.SANITIZE, _MEDIUM),
}
