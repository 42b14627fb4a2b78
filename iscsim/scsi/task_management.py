"""Task management functions by SAM's names, as a transport says which of them it does."""

from __future__ import annotations

from enum import IntFlag

__all__ = ["TaskManagement"]


class TaskManagement(IntFlag):
    """The first two bytes of what REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS answers (SPC-4).

    TARGET_RESET is from SPC-3 and obsolete since; iSCSI still has it.
    """

    NONE = 0
    ABORT_TASK = 0x8000
    ABORT_TASK_SET = 0x4000
    CLEAR_ACA = 0x2000
    CLEAR_TASK_SET = 0x1000
    LOGICAL_UNIT_RESET = 0x0800
    QUERY_TASK = 0x0400
    TARGET_RESET = 0x0200
    QUERY_ASYNCHRONOUS_EVENT = 0x0004
    QUERY_TASK_SET = 0x0002
    I_T_NEXUS_RESET = 0x0001
