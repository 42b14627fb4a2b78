"""One H:C:T:L of the emulated Linux host: a disk as the kernel's SCSI midlayer and sd keep it.

Every command is queued, timed, judged by the tables of `iscsim.initiator.disposition`, repeated as Linux
would, and rescued by the host's `ErrorHandler` when it is not answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple

from iscsim.errors import ISCSIError, LocalProtocolError, SCSIError
from iscsim.initiator.command_queue import CommandQueue
from iscsim.initiator.disposition import (
    Action,
    DeviceEventKind,
    Disposition,
    Rule,
    event_of,
    rule_of,
    rule_of_error,
    timeout_factor,
)
from iscsim.initiator.error_handling import ErrorHandler, ErrorHandlingSettings, SCSITransport
from iscsim.initiator.queue_depth import DEFAULT_QUEUE_DEPTH, QueueDepth
from iscsim.initiator.scsi_command import SCSICommandState
from iscsim.initiator.session_state import SessionState
from iscsim.initiator.task import CommandTask, CommandTimedOut
from iscsim.initiator.verbs import LUN, SCSIVerbs, parse_sense
from iscsim.scsi.lun import format_lun
from iscsim.scsi.sense import SenseKey
from iscsim.scsi.status import Status

__all__ = [
    "HCTL",
    "DeviceEvent",
    "DeviceOffline",
    "DeviceState",
    "DeviceStateChanged",
    "SCSIDevice",
]

logger = logging.getLogger("iscsim.initiator")

_REPREP_DELAY_S = 1.0
"""``ALUA_TRANSITION_REPREP_DELAY``."""
_NOT_EXPECTED = (0x28, 0x00)  # a medium may have changed: never taken for the echo of a reset


class HCTL(NamedTuple):
    """Host, channel, target and LUN, as ``/sys/class/scsi_device`` names a device: ``3:0:0:1``."""

    host: int
    channel: int
    target: int
    lun: int

    def __str__(self) -> str:
        return f"{self.host}:{self.channel}:{self.target}:{self.lun}"


class DeviceState(StrEnum):
    """``/sys/class/scsi_device/H:C:T:L/device/state``."""

    RUNNING = "running"
    BLOCKED = "blocked"
    """The session is being recovered: commands wait."""
    OFFLINE = "offline"
    """The error handler gave it up: commands fail until somebody sets it to running."""
    TRANSPORT_OFFLINE = "transport-offline"
    """The session did not come back in ``replacement_timeout``: commands fail until it does."""
    DELETED = "deleted"


_STATES = {
    SessionState.LOGGED_IN: DeviceState.RUNNING,
    SessionState.FAILED: DeviceState.BLOCKED,
    SessionState.FREE: DeviceState.TRANSPORT_OFFLINE,
}


class DeviceOffline(SCSIError):
    """The device takes no commands (``rejecting I/O to offline device``)."""


@dataclass(frozen=True, slots=True)
class DeviceEvent:
    """The unit told something with a unit attention."""

    device: SCSIDevice
    kind: DeviceEventKind


@dataclass(frozen=True, slots=True)
class DeviceStateChanged:
    """A device was taken offline, set running, or deleted; ``reason`` is one line."""

    device: SCSIDevice
    state: DeviceState
    reason: str


class _Next(Enum):
    """What follows an attempt that is not the last."""

    NOW = 0
    LATER = 1


class SCSIDevice(SCSIVerbs):
    """A logical unit behind a transport, known as ``hctl``.

    ``lun`` is its number, its 8 bytes, or what the scan found; nothing else can be asked of it. ``handler``
    is the host's, shared by all devices of a session; without one the device is a host of its own.
    ``name`` is that of the block device (``"sda"``), given by whoever counts them.

    Commands end as Linux ends them: :meth:`run` gives back a task with its status, whatever it is, or
    raises CommandTimedOut, DeviceOffline or what the transport raised; the verbs raise CommandFailed.
    """

    def __init__(
        self,
        transport: SCSITransport,
        hctl: HCTL,
        lun: LUN | None = None,
        *,
        handler: ErrorHandler | None = None,
        settings: ErrorHandlingSettings | None = None,
        queue_depth: int = DEFAULT_QUEUE_DEPTH,
        name: str = "",
    ) -> None:
        super().__init__()
        self.transport, self.hctl, self.name = transport, hctl, name
        self.lun = self.lun_of(hctl.lun if lun is None else lun)
        self.handler = handler or ErrorHandler(transport, settings)
        self.settings = settings or self.handler.settings
        self.listeners: list[Callable[[DeviceEvent | DeviceStateChanged], None]] = []
        self.iorequest_count = self.iodone_count = self.ioerr_count = self.iotmo_count = 0
        self.medium_access_timeouts = 0
        """Error handlings in a row for reads and writes that were not answered."""
        self.expecting_unit_attention = False
        """We reset it: the next unit attention is an echo of that."""
        self.depth = QueueDepth(queue_depth, ramp_up_period_s=self.settings.queue_ramp_up_period_s)
        self._queue = CommandQueue(self.depth, self._takes_commands)
        self._fixed_state: DeviceState | None = None
        self._reason = ""
        self._stragglers: dict[asyncio.Task[CommandTask], None] = {}
        self.handler.devices.append(self)

    # -- what it is --------------------------------------------------------------------------------

    @property
    def state(self) -> DeviceState:
        """As sysfs shows it."""
        return self._fixed_state or _STATES[self.transport.state]

    @property
    def is_online(self) -> bool:
        """Whether commands are taken, or will be when the session is back."""
        return self.state in (DeviceState.RUNNING, DeviceState.BLOCKED)

    @property
    def queue_depth(self) -> int:
        """How many commands it gets at a time now."""
        return self.depth.depth

    @property
    def in_flight(self) -> int:
        """How many commands it has now, those in error handling among them."""
        return self._queue.in_flight

    @property
    def label(self) -> str:
        """For messages: ``"3:0:0:1 (sda)"``."""
        return f"{self.hctl} ({self.name})" if self.name else str(self.hctl)

    def counters(self) -> dict[str, int]:
        """Under the names of sysfs; the kernel shows them in hexadecimal."""
        return {
            "iorequest_cnt": self.iorequest_count,
            "iodone_cnt": self.iodone_count,
            "ioerr_cnt": self.ioerr_count,
            "iotmo_cnt": self.iotmo_count,
        }

    def __repr__(self) -> str:
        return f"SCSIDevice({self.label}, {self.state})"

    # -- its state ---------------------------------------------------------------------------------

    def take_offline(self, reason: str) -> None:
        """Fail commands from now on, until :meth:`set_running`."""
        if self.is_online:
            self._change(DeviceState.OFFLINE, reason)

    def set_running(self) -> None:
        """``echo running > state``: use an offline device again."""
        if self._fixed_state is DeviceState.OFFLINE:
            self.medium_access_timeouts = 0
            self._change(None, "set running")

    def delete(self) -> None:
        """``echo 1 > delete``: no more commands; those that wait fail."""
        if self._fixed_state is not DeviceState.DELETED:
            self._change(DeviceState.DELETED, "deleted")
            self.handler.devices.remove(self)
            self.handler.look()

    def _change(self, state: DeviceState | None, reason: str) -> None:
        self._fixed_state, self._reason = state, reason
        logger.warning("%s: %s: %s", self.label, self.state, reason)
        self._tell(DeviceStateChanged(self, self.state, reason))
        self.look()

    def _tell(self, event: DeviceEvent | DeviceStateChanged) -> None:
        for listener in list(self.listeners):
            listener(event)

    def look(self) -> None:
        """Something has changed: let those commands go that may."""
        self._queue.look()

    def _takes_commands(self) -> bool:
        return not self.handler.recovering and self.state is not DeviceState.BLOCKED

    # -- commands ----------------------------------------------------------------------------------

    async def run(self, task: CommandTask, timeout_s: float | None = None) -> CommandTask:
        """Send a command as sd would, and wait for its end; what comes back may be another task.

        ``timeout_s`` is that of one attempt. Cancelling aborts the command.

        Raises:
            CommandTimedOut: it was not answered, and repeated often enough.
            DeviceOffline: the device is offline or deleted.
            TransportDisrupted, TransportFailed: there is no session, and there was none for too long.
            LocalProtocolError: the task is for another logical unit.
        """
        if task.lun != self.lun:
            raise LocalProtocolError(f"{task.name} is not for LUN {format_lun(self.lun)}", "11.3")
        limit = self.settings.command_timeout_s * timeout_factor(task.cdb) if timeout_s is None else timeout_s
        command = SCSICommandState(self, task, limit, _now())
        following = await self._attempt(command, first=False)
        while following is not None:
            if following is _Next.LATER:
                await asyncio.sleep(_REPREP_DELAY_S)
            command.begin_again()
            following = await self._attempt(command, first=True)
        return command.task

    async def _attempt(self, command: SCSICommandState, *, first: bool) -> _Next | None:
        """Send it once: None when it has ended, else what follows."""
        await self._queue.enter(first=first)
        try:
            if not self.is_online:
                raise DeviceOffline(f"{command.task.name}: {self.label} is {self.state}: {self._why()}")
            self.iorequest_count += 1
            if await self._is_answered(command):
                return await self._judge(command)
            return await self._rescue(command)
        finally:
            self._queue.leave()
            self.handler.look()

    def _why(self) -> str:
        return self._reason if self._fixed_state else "the session is gone"

    async def _is_answered(self, command: SCSICommandState) -> bool:
        """Whether the attempt ends in its time."""
        loop = asyncio.get_running_loop()
        running = command.running = loop.create_task(self.transport.run_once(command.task))
        try:
            while not running.done():
                await asyncio.wait((running,), timeout=command.timeout_s)
                if not running.done():
                    self.iotmo_count += 1
                    if not self._gets_more_time(command):
                        break
        except BaseException:
            running.cancel()  # nobody waits for it any more: the transport aborts it
            raise
        self.iodone_count += 1
        return running.done()

    def _gets_more_time(self, command: SCSICommandState) -> bool:
        """``iscsi_eh_cmd_timed_out``: whether it is too early to abort a command."""
        if self.transport.state is not SessionState.LOGGED_IN:
            return True  # the session's recovery will end it
        if not self.settings.checks_connection:
            return False
        if command.has_progressed():
            command.connection_checked = False
            return True
        before, command.connection_checked = command.connection_checked, True
        return not before

    # -- what came back ----------------------------------------------------------------------------

    async def _judge(self, command: SCSICommandState) -> _Next | None:
        try:
            command.task = command.running.result()
        except ISCSIError as error:
            self.ioerr_count += 1
            return self._repeat_or_raise(command, rule_of_error(error), error)
        return await self._judge_status(command)

    def _repeat_or_raise(self, command: SCSICommandState, rule: Rule, error: ISCSIError) -> _Next:
        if rule.disposition is Disposition.NEEDS_RETRY and command.take_retry():
            if not command.is_overdue(_now()):
                self._queue.stall()
                return _Next.NOW
        self._queue.flow()
        raise error

    async def _judge_status(self, command: SCSICommandState) -> _Next | None:
        """``scsi_complete``, then ``scsi_io_completion``."""
        task, overdue = command.task, command.is_overdue(_now())
        self.ioerr_count += task.status != Status.GOOD
        rule = rule_of(task)
        disposition = self.examine(task)
        self._track_queue_depth(task.status)
        if disposition is Disposition.NEEDS_RETRY and not self._may_retry(command):
            disposition = Disposition.SUCCESS
        if disposition is Disposition.FAILED and not overdue:
            return await self._recover(command)
        if disposition is not Disposition.SUCCESS and not overdue:
            self._queue.stall()
            return _Next.NOW
        return self._complete(command, rule.action, overdue)

    def _may_retry(self, command: SCSICommandState) -> bool:
        """Commands that are passed through see each CHECK CONDITION themselves (``scsi_noretry_cmd``)."""
        passes = not command.is_block_command and command.task.status == Status.CHECK_CONDITION
        return command.take_retry() and not passes

    def _complete(self, command: SCSICommandState, action: Action, overdue: bool) -> _Next | None:
        self._queue.flow()
        if action is Action.GOOD and command.task.status == Status.CHECK_CONDITION:
            command.task.status = Status.GOOD  # RECOVERED ERROR: the data is good
        if not command.is_block_command:
            return None
        self.medium_access_timeouts = 0
        if action in (Action.GOOD, Action.FAIL) or overdue:
            return None
        if action is Action.DELAYED_REPREP:
            return _Next.LATER
        self._queue.stall()
        return _Next.NOW

    def examine(self, task: CommandTask) -> Disposition:
        """``scsi_decide_disposition`` for a task that has a status, and for what its sense data tells."""
        event = event_of(task)
        if event is not None:
            logger.warning("%s: unit attention: %s", self.label, event)
            self._tell(DeviceEvent(self, event))
        return Disposition.NEEDS_RETRY if self._is_echo(task) else rule_of(task).disposition

    def _is_echo(self, task: CommandTask) -> bool:
        """Whether this is the unit attention that our own reset brought about."""
        if not self.expecting_unit_attention or task.status != Status.CHECK_CONDITION:
            return False
        sense = parse_sense(task.sense_data)
        if sense is None or sense.key not in (SenseKey.UNIT_ATTENTION, SenseKey.NOT_READY):
            return False
        if (sense.asc, sense.ascq) == _NOT_EXPECTED:
            return False
        self.expecting_unit_attention = False
        return True

    def _track_queue_depth(self, status: int) -> None:
        """For all devices of the target, which has one task set for all we know."""
        now = _now()
        if status == Status.TASK_SET_FULL:
            for device in self.handler.devices:
                device.depth.full(now)
        elif status == Status.GOOD and self.depth.may_rise(now):
            self.depth.has_risen(now)
            for device in self.handler.devices:
                device.depth.rise()

    # -- error handling ----------------------------------------------------------------------------

    async def _rescue(self, command: SCSICommandState) -> _Next:
        """It was not answered."""
        running = command.running
        self._stragglers[running] = None
        running.add_done_callback(self._forget)
        try:
            await self.handler.timed_out(command)
        except BaseException:
            running.cancel()
            raise
        if command.is_block_command and self.is_online and command.take_retry():
            self._queue.stall()
            return _Next.NOW
        self._queue.flow()
        offline = "" if self.is_online else f": {self.label} is {self.state}: {self._why()}"
        raise CommandTimedOut(f"{command.task.name} was not answered in time{offline}")

    def _forget(self, running: asyncio.Task[CommandTask]) -> None:
        """What comes so late is not looked at: the command has been given up, or is repeated."""
        del self._stragglers[running]
        if not running.cancelled():
            running.exception()

    async def _recover(self, command: SCSICommandState) -> _Next | None:
        """It came back with what nobody understands."""
        await self.handler.recover(command)
        if command.is_block_command and self.is_online and command.take_retry():
            self._queue.stall()
            return _Next.NOW
        self._queue.flow()
        return None


def _now() -> float:
    return asyncio.get_running_loop().time()
