"""Power conditions of a logical unit (SBC-3, "Power conditions")."""

from __future__ import annotations

from enum import Enum

from iscsim.scsi.asc import ASC
from iscsim.scsi.sense import CheckCondition, Sense, SenseKey

__all__ = ["PowerCondition"]


class PowerCondition(Enum):
    """What START STOP UNIT has put a unit into; there are no timers that do."""

    ACTIVE = "active"
    IDLE = "idle"
    STANDBY = "standby"
    STOPPED = "stopped"

    @property
    def saves(self) -> bool:
        """A command that wants the medium wakes the unit (SBC-3: idle and standby, not stopped)."""
        return self in (PowerCondition.IDLE, PowerCondition.STANDBY)

    @property
    def sense(self) -> Sense | None:
        """What REQUEST SENSE says of it, None while active."""
        return _SENSES.get(self)

    def check(self) -> None:
        """Raises `CheckCondition` 02/04/02 when only START STOP UNIT brings the medium back."""
        if self is PowerCondition.STOPPED:
            raise CheckCondition(SenseKey.NOT_READY, ASC.INITIALIZING_COMMAND_REQUIRED)


_SENSES = {
    PowerCondition.IDLE: Sense.of(SenseKey.NO_SENSE, ASC.IDLE_CONDITION_ACTIVATED_BY_COMMAND),
    PowerCondition.STANDBY: Sense.of(SenseKey.NO_SENSE, ASC.STANDBY_CONDITION_ACTIVATED_BY_COMMAND),
    PowerCondition.STOPPED: Sense.of(SenseKey.NOT_READY, ASC.INITIALIZING_COMMAND_REQUIRED),
}
