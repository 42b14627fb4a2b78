"""What a command that failed says: of the path, of the unit, or that it is to be sent again."""

from __future__ import annotations

from enum import Enum

from iscsim.errors import ConnectionFailed, ISCSIError, SessionFailed
from iscsim.initiator.disposition import block_status_of
from iscsim.initiator.task import (
    CommandAborted,
    CommandTimedOut,
    MalformedData,
    TargetFailure,
    TransferIncomplete,
)
from iscsim.scsi.asc import ASC
from iscsim.scsi.sense import CommandFailed, SenseKey
from iscsim.scsi.status import Status

__all__ = ["PATH_ERRORS", "Verdict", "tells_of_access", "verdict_of"]

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
    (SenseKey.NOT_READY, ASC.ALUA_TRANSITION): Verdict.WAIT,
}
_KEYS: dict[int, Verdict] = {
    SenseKey.UNIT_ATTENTION: Verdict.REPEAT,
    SenseKey.ABORTED_COMMAND: Verdict.REPEAT,
}
_OF_ACCESS = (
    (SenseKey.NOT_READY, ASC.ALUA_TRANSITION),
    (SenseKey.NOT_READY, ASC.TARGET_PORT_STANDBY),
    (SenseKey.NOT_READY, ASC.TARGET_PORT_UNAVAILABLE),
    (SenseKey.UNIT_ATTENTION, ASC.ASYMMETRIC_ACCESS_STATE_CHANGED),
    (SenseKey.UNIT_ATTENTION, ASC.IMPLICIT_ACCESS_STATE_TRANSITION_FAILED),
)
_PROTECTION = 0x10
"""ASC of the checks of protection information: what failed them will fail them again."""


def verdict_of(error: ISCSIError) -> Verdict:
    """What becomes of a command that ended with ``error``.

    As Linux has it: device-mapper tries another path unless the target itself is what failed, the medium is
    bad, or a reservation is in the way. What is repeated on the same path is what its SCSI layer repeats.
    """
    if isinstance(error, TransferIncomplete | MalformedData):
        return Verdict.REPORT
    again = _again(error) if isinstance(error, CommandFailed) else None
    if again is not None:
        return again
    return Verdict.FAIL_PATH if block_status_of(error).is_path_error else Verdict.REPORT


def _again(error: CommandFailed) -> Verdict | None:
    sense = error.sense
    if error.status != Status.CHECK_CONDITION:
        return _STATUSES.get(error.status)
    if sense is None or (sense.key == SenseKey.ABORTED_COMMAND and sense.asc == _PROTECTION):
        return None
    return _SENSE.get((sense.key, sense.code)) or _KEYS.get(sense.key)


def tells_of_access(error: ISCSIError) -> bool:
    """Whether asymmetric access states have changed, so that it is worth to ask for them again."""
    sense = error.sense if isinstance(error, CommandFailed) else None
    return sense is not None and (sense.key, sense.code) in _OF_ACCESS
