"""One command of a SCSI device, over all its attempts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from iscsim.errors import ISCSIError
from iscsim.initiator.disposition import is_block_command
from iscsim.initiator.task import CommandTask

if TYPE_CHECKING:
    from iscsim.initiator.scsi_device import SCSIDevice

__all__ = ["SCSICommandState"]


class SCSICommandState:
    """What a device and its error handler know of a command that is not over.

    ``task`` is the attempt under way, and ``deadline`` when it should have ended; ``rescue`` is at work when
    it has not. ``begun_at`` is when the command was first asked for, ``retries`` how many were counted.
    """

    __slots__ = (
        "_data_pdus",
        "abort_scheduled",
        "allowed",
        "begun_at",
        "connection_checked",
        "deadline",
        "device",
        "error",
        "has_ended",
        "is_block_command",
        "rescue",
        "retries",
        "task",
        "timed_out",
        "timeout_s",
    )

    def __init__(self, device: SCSIDevice, task: CommandTask, timeout_s: float, now: float) -> None:
        self.device, self.task = device, task
        self.timeout_s, self.begun_at = timeout_s, now
        self.is_block_command = is_block_command(task.cdb)
        self.allowed = device.settings.retries
        self.retries = 0
        self.abort_scheduled = False
        """It was aborted once: the next time it is not answered the error handler begins at once."""
        self._reset()

    def _reset(self) -> None:
        self.deadline = 0.0
        self.has_ended = False
        """Whether the attempt is over, one way or another."""
        self.error: ISCSIError | None = None
        self.rescue: asyncio.Task[None] | None = None
        self.timed_out = False
        """This attempt was not answered, and not aborted either."""
        self.connection_checked = False
        self._data_pdus = 0

    def take_retry(self) -> bool:
        """Count one more retry; False when there is none left."""
        self.retries += 1
        return self.retries <= self.allowed

    def is_overdue(self, now: float) -> bool:
        """Whether it was repeated for long enough (Linux, ``scsi_cmd_runtime_exceeced``)."""
        return now > self.begun_at + (self.allowed + 1) * self.timeout_s

    def begin_again(self) -> None:
        """The next attempt: a fresh task with the same bytes."""
        self.task = self.task.again()
        self._reset()

    def has_progressed(self) -> bool:
        """Whether data was moved since this was last asked."""
        before, self._data_pdus = self._data_pdus, self.task.transfer_sn
        return self._data_pdus > before
