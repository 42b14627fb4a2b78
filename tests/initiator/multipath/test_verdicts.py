"""What a failed command says of its path."""

from __future__ import annotations

import pytest

from iscsim.errors import ConnectionFailed, ISCSIError, SessionFailed
from iscsim.initiator.device_state import DeviceOffline
from iscsim.initiator.multipath.verdicts import Verdict, tells_of_access, verdict_of
from iscsim.initiator.session_state import TransportFailed
from iscsim.initiator.task import CommandAborted, CommandTimedOut, TargetFailure, TransferIncomplete
from iscsim.scsi.sense import CommandFailed, Sense
from iscsim.scsi.status import Status


def failed(key: int, code: int) -> CommandFailed:
    return CommandFailed(Status.CHECK_CONDITION, Sense(key, code >> 8, code & 0xFF))


@pytest.mark.parametrize(
    "error,verdict",
    [
        (ConnectionFailed("gone"), Verdict.FAIL_PATH),
        (SessionFailed("gone"), Verdict.FAIL_PATH),
        (CommandTimedOut("late"), Verdict.FAIL_PATH),
        (CommandAborted("reset"), Verdict.FAIL_PATH),
        (DeviceOffline("given up"), Verdict.FAIL_PATH),
        (TransportFailed("too late"), Verdict.FAIL_PATH),
        (CommandFailed(Status.CHECK_CONDITION), Verdict.FAIL_PATH),
        (TargetFailure("lost"), Verdict.FAIL_PATH),
        (TransferIncomplete("short"), Verdict.REPORT),
        (CommandFailed(Status.RESERVATION_CONFLICT), Verdict.REPORT),
        (CommandFailed(Status.BUSY), Verdict.WAIT),
        (CommandFailed(Status.TASK_SET_FULL), Verdict.WAIT),
        (CommandFailed(Status.TASK_ABORTED), Verdict.REPEAT),
        (failed(0x2, 0x0401), Verdict.WAIT),
        (failed(0x2, 0x040A), Verdict.WAIT),
        (failed(0x2, 0x040B), Verdict.FAIL_PATH),
        (failed(0x2, 0x040C), Verdict.FAIL_PATH),
        (failed(0x2, 0x0412), Verdict.FAIL_PATH),
        (failed(0x2, 0x0403), Verdict.FAIL_PATH),
        (failed(0x2, 0x3A00), Verdict.FAIL_PATH),
        (failed(0x3, 0x1100), Verdict.REPORT),
        (failed(0x4, 0x4400), Verdict.REPORT),
        (failed(0x5, 0x2100), Verdict.REPORT),
        (failed(0x5, 0x2500), Verdict.FAIL_PATH),
        (failed(0x6, 0x2A06), Verdict.REPEAT),
        (failed(0x7, 0x2700), Verdict.REPORT),
        (failed(0xB, 0x4700), Verdict.REPEAT),
        (failed(0xB, 0x1001), Verdict.REPORT),
    ],
    ids=str,
)
def test_verdict(error: ISCSIError, verdict: Verdict) -> None:
    assert verdict_of(error) is verdict


@pytest.mark.parametrize(
    "error,tells",
    [
        (failed(0x2, 0x040A), True),
        (failed(0x2, 0x040B), True),
        (failed(0x2, 0x040C), True),
        (failed(0x6, 0x2A06), True),
        (failed(0x6, 0x2900), False),
        (failed(0x2, 0x0401), False),
        (SessionFailed("gone"), False),
    ],
    ids=str,
)
def test_access_states_are_worth_asking_for(error: ISCSIError, tells: bool) -> None:
    assert tells_of_access(error) is tells
