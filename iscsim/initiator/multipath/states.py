"""What multipath-tools and the kernel call the states of paths and path groups."""

from __future__ import annotations

from enum import Enum

__all__ = ["SHOWN", "USABLE", "CheckerState", "GroupState", "PathState"]


class PathState(Enum):
    """Whether device-mapper uses a path; the value is what ``multipath -ll`` shows."""

    ACTIVE = "active"
    FAILED = "failed"


class CheckerState(Enum):
    """What a checker says of a path; the value is what ``multipathd show status`` calls it."""

    WILD = "wild"
    UNCHECKED = "unchecked"
    DOWN = "down"
    UP = "up"
    SHAKY = "shaky"
    GHOST = "ghost"
    PENDING = "pending"
    TIMEOUT = "timeout"
    REMOVED = "removed"
    DELAYED = "delayed"


class GroupState(Enum):
    """What device-mapper does with a path group."""

    ACTIVE = "active"
    ENABLED = "enabled"
    DISABLED = "disabled"


SHOWN = {
    CheckerState.UP: "ready",
    CheckerState.DOWN: "faulty",
    CheckerState.SHAKY: "shaky",
    CheckerState.GHOST: "ghost",
    CheckerState.PENDING: "i/o pending",
    CheckerState.TIMEOUT: "i/o timeout",
    CheckerState.DELAYED: "delayed",
}
"""What ``multipath -ll`` shows; ``undef`` for the others."""

USABLE = (CheckerState.UP, CheckerState.GHOST)
"""A path in one of these is reinstated. GHOST: the port is in standby, it works once it is asked to."""
