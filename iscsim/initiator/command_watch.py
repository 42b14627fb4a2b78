"""The deadlines of a device's commands: one timer for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from iscsim.initiator.scsi_command import SCSICommandState

__all__ = ["CommandWatch"]

_NEVER = float("inf")


class CommandWatch:
    """Calls ``overdue(command)`` when a command has had its time; True gives it as much again."""

    def __init__(self, overdue: Callable[[SCSICommandState], bool]) -> None:
        self._overdue = overdue
        self._watched: dict[SCSICommandState, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, command: SCSICommandState) -> None:
        """``command`` begins now."""
        self._watched[command] = None
        command.deadline = deadline = asyncio.get_running_loop().time() + command.timeout_s
        if self._timer is None or deadline < self._timer.when():
            self._arm(deadline)

    def remove(self, command: SCSICommandState) -> None:
        """It has ended."""
        del self._watched[command]

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(deadline, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for command in self._watched:
            if command.deadline <= now:
                command.deadline = now + command.timeout_s if self._overdue(command) else _NEVER
        deadline = min((command.deadline for command in self._watched), default=_NEVER)
        if deadline != _NEVER:
            self._arm(deadline)
