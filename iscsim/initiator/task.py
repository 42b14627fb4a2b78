"""What an initiator has asked for and waits for: one object per Initiator Task Tag."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from iscsim.errors import ISCSIError, SCSIError
from iscsim.pdu import RESERVED_TAG, Buffer, TaskAttribute, TaskManagementFunction
from iscsim.pdu.text import Pair
from iscsim.scsi.cdb import cdb_name
from iscsim.scsi.lun import format_lun


class CommandTimedOut(SCSIError):
    """No response came in time; the command was aborted, and may or may not have been executed."""


class CommandAborted(SCSIError):
    """A task management function, or its caller, ended the command."""


class TargetFailure(SCSIError):
    """The target could not say how the command ended: a response code other than 0.

    RFC 7143 section 11.4.3.
    """


class TransferIncomplete(SCSIError):
    """A command ended well, but fewer bytes were moved than it asked for."""


class MalformedData(SCSIError, ValueError):
    """A command ended well, but its data cannot be what was asked for."""


def _nobody(request: Request) -> None:
    """Nobody waits for the end of this request."""


class Request:
    """A request under way. ``done(request)`` is called once, when it has ended.

    ``error`` is then None or why there is no answer. ``context`` belongs to the caller. ``deadline`` is on
    the connection's clock.
    """

    name = "request"
    initiator_task_tag = RESERVED_TAG
    cmd_sn = 0
    deadline = float("inf")
    error: ISCSIError | None = None
    context: Any = None
    done: Callable[[Any], None] = staticmethod(_nobody)


class Ping(Request):
    """A NOP-Out that wants an answer; ``data`` becomes what the answer brought back."""

    name = "NOP-Out"

    def __init__(self, data: bytes = b"") -> None:
        self.data = data


class TextNegotiation(Request):
    """A text exchange: ``pairs`` to send, ``answers`` when it is done."""

    name = "Text Request"

    def __init__(self, pairs: list[Pair]) -> None:
        self.pairs = pairs
        self.answers: list[Pair] = []


class Logout(Request):
    """A Logout Request; ``response`` is the target's ``LogoutResponseCode``."""

    name = "Logout Request"
    response = 0


class Management(Request):
    """A task management function; ``response`` is the target's ``TaskManagementResponseCode``."""

    response = 0

    def __init__(self, function: int, lun: bytes, task: CommandTask | None = None) -> None:
        self.function = TaskManagementFunction(function)
        self.lun = lun
        self.task = task
        self.affected: list[CommandTask] = []
        self.name = self.function.name.replace("_", " ")


class CommandTask(Request):
    """One SCSI command from its queue to its status.

    ``data_out`` is what a write sends: do not change it before the end. ``data_in_length`` is the room for
    what a read brings, which is ``data_in`` at the end. ``into`` may give that room, of that length.
    ``residual`` counts bytes that were expected and not moved; it is negative for those that did not fit
    (RFC 7143 section 11.4.5). ``status`` is that of SAM, ``sense_data`` the bytes that came with it.
    """

    status = 0
    sense_data = b""
    residual = 0
    data_in: bytes | bytearray | memoryview = b""
    buffer: bytearray | memoryview | None = None
    into: memoryview | None = None
    received = 0
    """Where the next Data-In must begin; with data out of order, how many bytes came."""
    transfer_sn = 0
    """The next DataSN or R2TSN: one count for both (RFC 7143 section 4.2.2.4)."""
    asked = 0
    """Bytes sent or asked for of ``data_out``."""
    data_in_pieces: Extents | None = None
    data_out_pieces: Extents | None = None
    aborting = False

    def __init__(
        self,
        lun: bytes,
        cdb: bytes,
        *,
        data_out: Buffer = b"",
        data_in_length: int = 0,
        into: memoryview | None = None,
        immediate: bool = False,
        task_attribute: int = TaskAttribute.SIMPLE,
    ) -> None:
        self.lun = lun
        self.cdb = cdb
        self.data_out = data_out
        self.data_in_length = data_in_length
        self.immediate = immediate
        self.task_attribute = task_attribute
        if into is not None:
            self.buffer = self.into = into

    def again(self) -> CommandTask:
        """A fresh task that asks the same: for a command that was lost with its connection."""
        return CommandTask(
            self.lun,
            self.cdb,
            data_out=self.data_out,
            data_in_length=self.data_in_length,
            into=self.into,
            immediate=self.immediate,
            task_attribute=self.task_attribute,
        )

    @property
    def name(self) -> str:  # type: ignore[override]
        """For messages: ``"READ (10) to LUN 1"``."""
        return f"{cdb_name(self.cdb)} to {format_lun(self.lun)}"


class Extents:
    """Ranges of bytes that must not overlap: for data that may come out of order."""

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def claim(self, start: int, end: int) -> bool:
        """Take ``start`` to ``end``; False when a part of it is taken already."""
        index = bisect_right(self._starts, start)
        before = index > 0 and self._ends[index - 1] > start
        if before or (index < len(self._starts) and self._starts[index] < end):
            return False
        if index > 0 and self._ends[index - 1] == start:
            self._ends[index - 1] = end  # neighbours become one: the list stays short
        else:
            self._starts.insert(index, start)
            self._ends.insert(index, end)
        return True
