"""What a sanitize or format operation does to a logical unit beside its blocks: it is busy, or has failed.

The blocks change when the command starts; for how long the unit then says that it is at work is a setting.
SCSI has no clock: the time comes with the nexus.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iscsim.scsi.asc import ASC
from iscsim.scsi.mode import ModePageCode
from iscsim.scsi.opcode import Opcode, ServiceAction
from iscsim.scsi.sense import CheckCondition, SenseKey

if TYPE_CHECKING:
    from iscsim.scsi.logical_unit import LogicalUnit
    from iscsim.scsi.nexus import ITNexus

__all__ = ["MAXIMUM_FILL_LENGTH", "Erasure", "check_fill", "fill", "repeated"]

MAXIMUM_FILL_LENGTH = 128 << 20
"""Bytes of the largest unit that is filled with anything but zeros, which sparse stores need not keep.

A command does all of its work at once: more than this would keep everybody else waiting for a second."""
_FILL_LENGTH = 1 << 20  # blocks are written in pieces of this size
_PROTOCOL_SPECIFIC_UNIT, _PROTOCOL_SPECIFIC_PORT, _TEMPERATURE = 0x18, 0x19, 0x0D
_MODE_PAGES = frozenset(
    {
        ModePageCode.INFORMATIONAL_EXCEPTIONS,
        ModePageCode.CACHING,
        ModePageCode.CONTROL,
        _PROTOCOL_SPECIFIC_UNIT,
        _PROTOCOL_SPECIFIC_PORT,
    }
)
_REPORTS = frozenset(
    action & 0x1F
    for action in (
        ServiceAction.REPORT_SUPPORTED_OPERATION_CODES,
        ServiceAction.REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS,
    )
)


def _always(cdb: bytes) -> bool:
    return True


def _of_mode_page(cdb: bytes) -> bool:
    return cdb[2] & 0x3F in _MODE_PAGES


Commands = dict[int, Callable[[bytes], bool]]

# SBC-4, "Commands allowed during sanitize".
_DURING_SANITIZE: Commands = {
    Opcode.INQUIRY: _always,
    Opcode.LOG_SENSE: lambda cdb: cdb[2] & 0x3F == _TEMPERATURE,
    Opcode.MODE_SENSE_6: _of_mode_page,
    Opcode.MODE_SENSE_10: _of_mode_page,
    Opcode.READ_CAPACITY_10: _always,
    Opcode.SERVICE_ACTION_IN_16: lambda cdb: cdb[1] & 0x1F == ServiceAction.READ_CAPACITY_16 & 0x1F,
    Opcode.REPORT_LUNS: _always,
    Opcode.MAINTENANCE_IN: lambda cdb: cdb[1] & 0x1F in _REPORTS,
    Opcode.REQUEST_SENSE: _always,
}
# SBC-4, "Performing a format operation".
_DURING_FORMAT: Commands = dict.fromkeys((Opcode.INQUIRY, Opcode.REPORT_LUNS, Opcode.REQUEST_SENSE), _always)
_ALLOWED: dict[int, Commands] = {
    ASC.SANITIZE_IN_PROGRESS: _DURING_SANITIZE,
    ASC.FORMAT_IN_PROGRESS: _DURING_FORMAT,
}


def _is_in(commands: Commands, cdb: bytes) -> bool:
    allows = commands.get(cdb[0])
    return allows is not None and allows(cdb)


@dataclass(frozen=True, slots=True)
class _Operation:
    """``condition`` is what other commands hear until ``ends_at``, seconds on the nexus' clock."""

    condition: ASC
    began_at: float
    ends_at: float

    def progress(self, now: float) -> int:
        """In 65536ths."""
        part = (now - self.began_at) / (self.ends_at - self.began_at)
        return min(max(int(part * 0x10000), 0), 0xFFFF)


class Erasure:
    """The state of one logical unit. A reset, or the loss of a nexus, does not touch it (SBC-4).

    ``duration_s`` is how long an operation takes, 0 for no time at all. ``failed`` is True after a sanitize
    operation that failed, ``restricted`` when only a successful one can end that (AUSE was 0).
    """

    __slots__ = ("_operation", "_unit", "duration_s", "failed", "restricted")

    def __init__(self, unit: LogicalUnit, duration_s: float) -> None:
        self._unit = unit
        self._operation: _Operation | None = None
        self.duration_s = duration_s
        self.failed = False
        self.restricted = False

    @property
    def in_force(self) -> bool:
        """Some commands must be refused."""
        return self.failed or self._operation is not None

    def begin(self, condition: ASC, nexus: ITNexus) -> float | None:
        """The unit is at work from now on; returns until when, None when it is ready at once."""
        if not self.duration_s or nexus.clock is None:
            return None
        now = nexus.clock()
        self._operation = _Operation(condition, now, now + self.duration_s)
        self._unit.update_restricted()
        return self._operation.ends_at

    def settle(self, *, failed: bool, restricted: bool = False) -> None:
        """How the last sanitize operation ended, or is taken to have ended."""
        self.failed, self.restricted = failed, restricted
        self._unit.update_restricted()

    def busy(self, nexus: ITNexus) -> CheckCondition | None:
        """02/04/1B or 02/04/04 with the progress, while an operation is under way."""
        operation = self._operation
        if operation is None:
            return None
        now = nexus.clock() if nexus.clock is not None else operation.began_at
        if now >= operation.ends_at:
            self._operation = None
            self._unit.update_restricted()
            return None
        return CheckCondition(SenseKey.NOT_READY, operation.condition, progress=operation.progress(now))

    def check(self, nexus: ITNexus, cdb: bytes) -> None:
        """Raises `CheckCondition` when this command cannot run now."""
        busy = self.busy(nexus)
        if busy is not None and not _is_in(_ALLOWED[busy.sense.code], cdb):
            raise busy
        if self.failed and cdb[0] != Opcode.SANITIZE and not _is_in(_DURING_SANITIZE, cdb):
            raise CheckCondition(SenseKey.MEDIUM_ERROR, ASC.SANITIZE_COMMAND_FAILED)


def repeated(pattern: bytes, block_size: int) -> bytes:
    """A block full of ``pattern``, which begins with the block and may be cut at its end."""
    return (pattern * -(-block_size // len(pattern)))[:block_size]


def check_fill(unit: LogicalUnit, block: bytes) -> None:
    """Raises 05/55/03 when filling the unit would take too long, and too much, for one command of a peer."""
    if any(block) and unit.blocks * unit.block_size > MAXIMUM_FILL_LENGTH:
        raise CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.INSUFFICIENT_RESOURCES)


def fill(unit: LogicalUnit, block: bytes) -> None:
    """Write ``block`` to every block of the unit, and flush; zeros need not be written (LBPRZ is 1).

    Raises `OSError` when the store does.
    """
    if any(block):
        step = max(_FILL_LENGTH // len(block), 1)
        piece = block * step
        for lba in range(0, unit.blocks, step):
            count = min(step, unit.blocks - lba)
            unit.store.write(lba, piece if count == step else block * count)
    else:
        unit.store.unmap(0, unit.blocks)
    unit.store.flush()
