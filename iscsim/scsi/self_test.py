"""SEND DIAGNOSTIC (SPC-4): self-tests of the store. There are no diagnostic pages."""

from __future__ import annotations

from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.asc import ASC
from iscsim.scsi.command import Command, CommandFlag, invalid_field
from iscsim.scsi.completion import Completion
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.sense import CheckCondition, SenseKey
from iscsim.scsi.store import Buffer

__all__ = ["COMMANDS"]

_FLAGS = layouts.SEND_DIAGNOSTIC.masks("flags")
# SELF-TEST CODE -> how many blocks are read, spread from the first to the last. A background test has ended
# before its answer is on the wire, so there is never one to abort (code 4).
_SHORT, _EXTENDED = 2, 64
_BLOCKS_READ = {0b001: _SHORT, 0b010: _EXTENDED, 0b101: _SHORT, 0b110: _EXTENDED}


def send_diagnostic(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SPC-4, SEND DIAGNOSTIC. DEVOFFL and UNITOFFL allow what these tests do not do.

    Raises 05/24/00 for a self-test there is not and for a parameter list, 04/3E/03 when the test fails.
    """
    _, flags, parameter_list_length = layouts.SEND_DIAGNOSTIC.struct.unpack_from(cdb)
    code = flags >> 5
    if parameter_list_length:
        raise invalid_field(3)
    if flags & _FLAGS["selftest"]:
        if code:  # SPC-4: the default self-test has no code
            raise invalid_field(1, 7)
        _test(mapped.logical_unit, _SHORT)
    elif code:
        if code not in _BLOCKS_READ:
            raise invalid_field(1, 7)
        _test(mapped.logical_unit, _BLOCKS_READ[code])
    return Completion()


def _test(unit: LogicalUnit, count: int) -> None:
    """Raises 04/3E/03 when the store cannot flush, or cannot read a block."""
    if not unit.medium_present:
        return
    try:
        unit.store.flush()
        for index in range(count):
            unit.store.read((unit.blocks - 1) * index // (count - 1), 1)
    except OSError as error:
        raise CheckCondition(SenseKey.HARDWARE_ERROR, ASC.LOGICAL_UNIT_FAILED_SELF_TEST) from error


COMMANDS: dict[int, Command] = {
    Opcode.SEND_DIAGNOSTIC: Command(send_diagnostic, layouts.SEND_DIAGNOSTIC, CommandFlag.IN_STANDBY)
}
