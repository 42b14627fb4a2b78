"""SCSI status codes (SAM-5, table of status codes)."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """How a command ended; the STATUS byte of a SCSI Response."""

    GOOD = 0x00
    CHECK_CONDITION = 0x02
    CONDITION_MET = 0x04
    BUSY = 0x08
    RESERVATION_CONFLICT = 0x18
    TASK_SET_FULL = 0x28
    ACA_ACTIVE = 0x30
    TASK_ABORTED = 0x40


def status_name(status: int) -> str:
    """``"CHECK CONDITION"`` for 2; a code SAM does not define is shown as a number."""
    try:
        return Status(status).name.replace("_", " ")
    except ValueError:
        return f"status {status:#04x}"
