"""What becomes of a SCSI command that came back: the tables of Linux's SCSI midlayer.

``scsi_decide_disposition`` and ``scsi_check_sense`` (drivers/scsi/scsi_error.c) say whether a command is
repeated; ``scsi_io_completion_action`` (scsi_lib.c) has another look at what they let go up, and
``sd_done`` (sd.c) at two sense keys before that. A `Rule` holds the answers of all of them.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import Enum, StrEnum

from iscsim.errors import ISCSIError, SCSIError
from iscsim.initiator.session_state import TransportDisrupted
from iscsim.initiator.task import CommandAborted, CommandTask, TargetFailure
from iscsim.initiator.verbs import parse_sense
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.sense import CommandFailed, Sense, SenseKey
from iscsim.scsi.status import Status

__all__ = [
    "ERROR_RULES",
    "SENSE_RULES",
    "STATUS_RULES",
    "UNIT_ATTENTION_EVENTS",
    "Action",
    "BlockStatus",
    "DeviceEventKind",
    "Disposition",
    "Rule",
    "SenseRule",
    "block_status_of",
    "event_of",
    "is_block_command",
    "rule_of",
    "rule_of_error",
    "timeout_factor",
]


class Disposition(Enum):
    """The midlayer's first answer, under the kernel's names."""

    SUCCESS = "goes up"
    NEEDS_RETRY = "is repeated, 5 times at most"
    ADD_TO_MLQUEUE = "is repeated, within 180 s"
    FAILED = "goes to the error handler"


class Action(Enum):
    """What the completion of a block request does with a command that goes up."""

    GOOD = "is good"
    FAIL = "fails"
    RETRY = "is repeated, within 180 s"
    DELAYED_REPREP = "is repeated after 1 s, within 180 s"


class BlockStatus(Enum):
    """How the block layer calls an end; the value is the errno a program sees."""

    OK = 0
    IOERR = errno.EIO
    TRANSPORT = errno.ENOLINK
    TARGET = errno.EREMOTEIO
    NEXUS = errno.EBADE
    MEDIUM = errno.ENODATA
    NOSPC = errno.ENOSPC
    PROTECTION = errno.EILSEQ

    @property
    def is_path_error(self) -> bool:
        """Whether dm-multipath tries another path (Linux, ``blk_path_error``)."""
        return self in (BlockStatus.IOERR, BlockStatus.TRANSPORT)


@dataclass(frozen=True, slots=True)
class Rule:
    """What is done with a command: ``disposition`` first, ``action`` when that lets it go up.

    ``status`` is what the block layer calls a failure; ``meaning`` is for people.
    """

    disposition: Disposition
    action: Action
    status: BlockStatus
    meaning: str


@dataclass(frozen=True, slots=True)
class SenseRule(Rule):
    """A rule for sense data; without ``asc`` or ``ascq`` for any that has no rule of its own."""

    key: SenseKey
    asc: int | None = None
    ascq: int | None = None


_UP, _RETRY = Disposition.SUCCESS, Disposition.NEEDS_RETRY
_QUEUE, _HANDLER = Disposition.ADD_TO_MLQUEUE, Disposition.FAILED
_FAIL, _GOOD, _AGAIN, _LATER = Action.FAIL, Action.GOOD, Action.RETRY, Action.DELAYED_REPREP
_IOERR, _TARGET = BlockStatus.IOERR, BlockStatus.TARGET

STATUS_RULES: dict[int, Rule] = {
    Status.GOOD: Rule(_UP, _GOOD, BlockStatus.OK, "done"),
    Status.CONDITION_MET: Rule(_UP, _GOOD, BlockStatus.OK, "done; the status is left as it is"),
    Status.BUSY: Rule(_QUEUE, _FAIL, _IOERR, "the unit cannot take it now"),
    Status.TASK_SET_FULL: Rule(_QUEUE, _FAIL, _IOERR, "the task set is full: counted, see queue depth"),
    Status.RESERVATION_CONFLICT: Rule(_UP, _FAIL, BlockStatus.NEXUS, "somebody else has a reservation"),
    Status.TASK_ABORTED: Rule(_RETRY, _FAIL, _IOERR, "somebody else had it aborted"),
    Status.ACA_ACTIVE: Rule(_UP, _FAIL, _IOERR, "an auto contingent allegiance is there"),
}
UNKNOWN_STATUS = Rule(_HANDLER, _FAIL, _IOERR, "no status of SAM")
NO_SENSE_DATA = Rule(_HANDLER, _FAIL, _IOERR, "CHECK CONDITION without sense data: asked for")
DEFERRED = Rule(_RETRY, _FAIL, _IOERR, "the error of an earlier command: this one was not tried")

_BECOMING_READY = {
    0x04: "format in progress",
    0x05: "rebuild in progress",
    0x06: "recalculation in progress",
    0x07: "operation in progress",
    0x08: "long write in progress",
    0x09: "self-test in progress",
    0x11: "notify (enable spinup) required",
    0x14: "space allocation in progress",
    0x1A: "START STOP UNIT in progress",
    0x1B: "sanitize in progress",
    0x1D: "configuration in progress",
    0x24: "depopulation in progress",
}
_NEVER_LEGAL = {
    0x20: "invalid command operation code",
    0x21: "LBA out of range",
    0x22: "illegal function",
    0x24: "invalid field in CDB",
    0x26: "invalid field in parameter list",
    0x27: "write protected",
}
_LOST_DATA = {0x11: "unrecovered read error", 0x13: "address mark not found", 0x14: "record not found"}
_K = SenseKey

SENSE_RULES: tuple[SenseRule, ...] = (
    SenseRule(_UP, _AGAIN, _IOERR, "nothing is known to be wrong: repeated", _K.NO_SENSE),
    SenseRule(_UP, _GOOD, BlockStatus.OK, "the data is good", _K.RECOVERED_ERROR),
    SenseRule(_RETRY, _AGAIN, _IOERR, "becoming ready", _K.NOT_READY, 0x04, 0x01),
    *(SenseRule(_UP, _AGAIN, _IOERR, why, _K.NOT_READY, 0x04, q) for q, why in _BECOMING_READY.items()),
    SenseRule(_UP, _LATER, _IOERR, "asymmetric access state transition", _K.NOT_READY, 0x04, 0x0A),
    SenseRule(_UP, _FAIL, _IOERR, "not ready, and will not be by itself", _K.NOT_READY),
    *(SenseRule(_UP, _FAIL, BlockStatus.MEDIUM, why, _K.MEDIUM_ERROR, a) for a, why in _LOST_DATA.items()),
    SenseRule(_RETRY, _FAIL, _IOERR, "another medium error", _K.MEDIUM_ERROR),
    SenseRule(_UP, _FAIL, _TARGET, "hardware error", _K.HARDWARE_ERROR),
    *(SenseRule(_UP, _FAIL, _TARGET, why, _K.ILLEGAL_REQUEST, a) for a, why in _NEVER_LEGAL.items()),
    SenseRule(_UP, _FAIL, BlockStatus.PROTECTION, "protection information", _K.ILLEGAL_REQUEST, 0x10),
    SenseRule(_UP, _FAIL, _IOERR, "another illegal request", _K.ILLEGAL_REQUEST),
    SenseRule(_UP, _AGAIN, _IOERR, "not tried: the unit had something to say", _K.UNIT_ATTENTION),
    SenseRule(_UP, _FAIL, BlockStatus.NOSPC, "thin provisioning: no space", _K.DATA_PROTECT, 0x27, 0x07),
    SenseRule(_UP, _FAIL, _TARGET, "write protected", _K.DATA_PROTECT),
    SenseRule(_UP, _FAIL, _TARGET, "blank check", _K.BLANK_CHECK),
    SenseRule(_UP, _FAIL, _IOERR, "vendor specific", _K.VENDOR_SPECIFIC),
    SenseRule(_UP, _FAIL, _TARGET, "copy aborted", _K.COPY_ABORTED),
    SenseRule(_UP, _FAIL, BlockStatus.PROTECTION, "protection information", _K.ABORTED_COMMAND, 0x10),
    SenseRule(_RETRY, _FAIL, _IOERR, "the unit aborted it", _K.ABORTED_COMMAND),
    SenseRule(_UP, _FAIL, _IOERR, "reserved", _K.RESERVED),
    SenseRule(_UP, _FAIL, _TARGET, "volume overflow", _K.VOLUME_OVERFLOW),
    SenseRule(_UP, _FAIL, _TARGET, "miscompare", _K.MISCOMPARE),
    SenseRule(_UP, _FAIL, _IOERR, "completed", _K.COMPLETED),
)
_SENSE_RULES = {(rule.key, rule.asc, rule.ascq): rule for rule in SENSE_RULES}

# What a command ended with that has no status; the kernel's "host byte".
ERROR_RULES: tuple[tuple[type[ISCSIError], Rule], ...] = (
    (TransportDisrupted, Rule(_RETRY, _FAIL, _IOERR, "the connection was lost under it")),
    (CommandAborted, Rule(_RETRY, _FAIL, _IOERR, "a reset or a Reject ended it")),
    (TargetFailure, Rule(_RETRY, _FAIL, _IOERR, "iSCSI response code: target failure")),
    (SCSIError, Rule(_UP, _FAIL, _IOERR, "not answered in time, or the device is offline")),
    (ISCSIError, Rule(_UP, _FAIL, BlockStatus.TRANSPORT, "there is no session")),
)
"""The first that fits; an `ISCSIError` always does."""


class DeviceEventKind(StrEnum):
    """What a unit attention tells: the environment of the kernel's uevent, ``SDEV_UA=...``."""

    INQUIRY_DATA_HAS_CHANGED = "INQUIRY_DATA_HAS_CHANGED"
    REPORTED_LUNS_DATA_HAS_CHANGED = "REPORTED_LUNS_DATA_HAS_CHANGED"
    THIN_PROVISIONING_SOFT_THRESHOLD_REACHED = "THIN_PROVISIONING_SOFT_THRESHOLD_REACHED"
    POWER_ON_RESET_OCCURRED = "POWER_ON_RESET_OCCURRED"
    MODE_PARAMETERS_CHANGED = "MODE_PARAMETERS_CHANGED"
    ASYMMETRIC_ACCESS_STATE_CHANGED = "ASYMMETRIC_ACCESS_STATE_CHANGED"
    CAPACITY_DATA_HAS_CHANGED = "CAPACITY_DATA_HAS_CHANGED"


UNIT_ATTENTION_EVENTS: dict[tuple[int, int | None], DeviceEventKind] = {
    (0x29, None): DeviceEventKind.POWER_ON_RESET_OCCURRED,
    (0x2A, 0x01): DeviceEventKind.MODE_PARAMETERS_CHANGED,
    (0x2A, 0x06): DeviceEventKind.ASYMMETRIC_ACCESS_STATE_CHANGED,
    (0x2A, 0x09): DeviceEventKind.CAPACITY_DATA_HAS_CHANGED,
    (0x38, 0x07): DeviceEventKind.THIN_PROVISIONING_SOFT_THRESHOLD_REACHED,
    (0x3F, 0x03): DeviceEventKind.INQUIRY_DATA_HAS_CHANGED,
    (0x3F, 0x0E): DeviceEventKind.REPORTED_LUNS_DATA_HAS_CHANGED,
}

# What sd itself sends for a file system; everything else is passed through, as by SG_IO. The number says how
# many times the usual timeout Linux gives it: SD_FLUSH_TIMEOUT_MULTIPLIER, SD_WRITE_SAME_TIMEOUT.
_BLOCK_COMMANDS: dict[int, int] = {
    Opcode.READ_6: 1,
    Opcode.READ_10: 1,
    Opcode.READ_12: 1,
    Opcode.READ_16: 1,
    Opcode.WRITE_6: 1,
    Opcode.WRITE_10: 1,
    Opcode.WRITE_12: 1,
    Opcode.WRITE_16: 1,
    Opcode.SYNCHRONIZE_CACHE_10: 2,
    Opcode.SYNCHRONIZE_CACHE_16: 2,
    Opcode.UNMAP: 1,
    Opcode.WRITE_SAME_10: 4,
    Opcode.WRITE_SAME_16: 4,
}
_FIXED_CURRENT = 0x70
_STREAM_BITS = 0xE0  # FILEMARK, EOM, ILI


def is_block_command(cdb: bytes) -> bool:
    """Whether sd sends this for a file system; others are not repeated after CHECK CONDITION or a timeout."""
    return cdb[0] in _BLOCK_COMMANDS


def timeout_factor(cdb: bytes) -> int:
    """How many times the usual timeout a command gets."""
    return _BLOCK_COMMANDS.get(cdb[0], 1)


def rule_of(task: CommandTask, *, of_handler: bool = False) -> Rule:
    """The rule for a task that has ended with a status; ``of_handler`` is for what the error handler sent."""
    if task.status != Status.CHECK_CONDITION:
        return STATUS_RULES.get(task.status, UNKNOWN_STATUS)
    rule = _rule_of_sense(parse_sense(task.sense_data))
    is_probe = _is_probe(task) and not of_handler
    if rule is not NO_SENSE_DATA and (is_probe or _has_stream_bits(task.sense_data)):
        return Rule(_UP, rule.action, rule.status, rule.meaning)
    return rule


def _rule_of_sense(sense: Sense | None) -> Rule:
    if sense is None:
        return NO_SENSE_DATA
    if sense.deferred:
        return DEFERRED
    key = SenseKey(sense.key)
    for names in ((key, sense.asc, sense.ascq), (key, sense.asc, None)):
        if names in _SENSE_RULES:
            return _SENSE_RULES[names]
    return _SENSE_RULES[key, None, None]


def _is_probe(task: CommandTask) -> bool:
    """Who sends TEST UNIT READY wants to see what it says."""
    return task.cdb[0] == Opcode.TEST_UNIT_READY


def _has_stream_bits(sense: bytes) -> bool:
    return sense[0] & 0x7F == _FIXED_CURRENT and bool(sense[2] & _STREAM_BITS)


def rule_of_error(error: ISCSIError) -> Rule:
    """The rule for a task that came back without a status."""
    return next(rule for kind, rule in ERROR_RULES if isinstance(error, kind))


def block_status_of(outcome: CommandTask | ISCSIError) -> BlockStatus:
    """What the block layer calls the end of a command: a task that came back, or what was raised."""
    if isinstance(outcome, CommandTask):
        return rule_of(outcome).status
    if not isinstance(outcome, CommandFailed):
        return rule_of_error(outcome).status
    if outcome.status != Status.CHECK_CONDITION:
        return STATUS_RULES.get(outcome.status, UNKNOWN_STATUS).status
    return _rule_of_sense(outcome.sense).status


def event_of(task: CommandTask) -> DeviceEventKind | None:
    """What a unit attention among the task's sense data tells."""
    sense = parse_sense(task.sense_data) if task.status == Status.CHECK_CONDITION else None
    if sense is None or sense.key != SenseKey.UNIT_ATTENTION:
        return None
    found = UNIT_ATTENTION_EVENTS.get((sense.asc, sense.ascq))
    return found or UNIT_ATTENTION_EVENTS.get((sense.asc, None))
