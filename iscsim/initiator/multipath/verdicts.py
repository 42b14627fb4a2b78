"""What a command that failed says: of the path, of the unit, or that it is to be sent again."""

from __future__ import annotations

from enum import Enum

from iscsim.errors import ConnectionFailed, ISCSIError, SessionFailed
from iscsim.initiator.task import CommandAborted, CommandTimedOut, TargetFailure
from iscsim.scsi.asc import ASC
from iscsim.scsi.sense import CommandFailed, SenseKey
from iscsim.scsi.status import Status

__all__ = ["PATH_ERRORS", "Verdict", "is_transition", "verdict_of"]

# What says that a path is bad, and nothing about the disk behind it.
PATH_ERRORS = (ConnectionFailed, SessionFailed, CommandTimedOut, CommandAborted, TargetFailure)


class Verdict(Enum):
    """What becomes of a command that failed."""

    FAIL_PATH = "fail the path, try another"
    WAIT = "wait a second, try again"
    REPEAT = "try again at once"
    REPORT = "tell the caller"


_STATUSES: dict[int, Verdict] = {
    Status.BUSY: Verdict.WAIT,
    Status.TASK_SET_FULL: Verdict.WAIT,
    Status.ACA_ACTIVE: Verdict.WAIT,
    Status.TASK_ABORTED: Verdict.REPEAT,
}
_SENSE: dict[tuple[int, int], Verdict] = {
    (SenseKey.NOT_READY, 0x0401): Verdict.WAIT,  # becoming ready
    (SenseKey.NOT_READY, 0x0403): Verdict.FAIL_PATH,  # the passive service processor of a CLARiiON
    (SenseKey.NOT_READY, 0x040A): Verdict.WAIT,  # asymmetric access state transition
    (SenseKey.NOT_READY, 0x040B): Verdict.FAIL_PATH,  # standby
    (SenseKey.NOT_READY, 0x040C): Verdict.FAIL_PATH,  # unavailable
    (SenseKey.NOT_READY, 0x0412): Verdict.FAIL_PATH,  # offline
    (SenseKey.ILLEGAL_REQUEST, 0x2500): Verdict.FAIL_PATH,  # no such LUN any more, this way
}
_KEYS: dict[int, Verdict] = {
    SenseKey.UNIT_ATTENTION: Verdict.REPEAT,
    SenseKey.ABORTED_COMMAND: Verdict.REPEAT,
}
_PROTECTION = 0x10
"""ASC of the checks of protection information: what failed them will fail them again."""


def verdict_of(error: ISCSIError) -> Verdict:
    """What becomes of a command that ended with ``error``.

    As Linux has it: device-mapper tries another path unless the target itself is what failed, or it is a
    reservation that is in the way.
    """
    if not isinstance(error, CommandFailed):
        return Verdict.FAIL_PATH if isinstance(error, PATH_ERRORS) else Verdict.REPORT
    sense = error.sense
    if error.status != Status.CHECK_CONDITION or sense is None:
        return _STATUSES.get(error.status, Verdict.REPORT)
    if sense.key == SenseKey.ABORTED_COMMAND and sense.asc == _PROTECTION:
        return Verdict.REPORT
    found = _SENSE.get((sense.key, sense.code))
    return found if found is not None else _KEYS.get(sense.key, Verdict.REPORT)


def is_transition(error: ISCSIError) -> bool:
    """Whether the unit is changing its access states: what it says before it is done."""
    sense = error.sense if isinstance(error, CommandFailed) else None
    return sense is not None and (sense.key, sense.code) == (SenseKey.NOT_READY, ASC.ALUA_TRANSITION)
