"""One H:C:T:L of the emulated Linux host: a disk as the kernel's SCSI midlayer and sd keep it.

Every command is queued, timed, judged by the tables of `iscsim.initiator.disposition`, repeated as Linux
would, and rescued by the host's `ErrorHandler` when it is not answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import Enum

from iscsim.errors import ISCSIError, LocalProtocolError
from iscsim.initiator.command_queue import CommandQueue
from iscsim.initiator.command_watch import CommandWatch
from iscsim.initiator.device_state import HCTL, DeviceEvent, DeviceOffline, DeviceState, DeviceStateChanged
from iscsim.initiator.disposition import (
    Action,
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
from iscsim.scsi.sense import CommandFailed, SenseKey
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


_STATES = {
    SessionState.LOGGED_IN: DeviceState.RUNNING,
    SessionState.FAILED: DeviceState.BLOCKED,
    SessionState.FREE: DeviceState.TRANSPORT_OFFLINE,
}


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
    raises what there is instead of one; the verbs raise CommandFailed for a status other than GOOD.
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
        self._owns_handler = handler is None
        self.handler = handler or ErrorHandler(transport, settings)
        self.settings = settings or self.handler.settings
        self.listeners: list[Callable[[DeviceEvent | DeviceStateChanged], None]] = []
        self.iorequest_count = self.iodone_count = self.ioerr_count = self.iotmo_count = 0
        self.medium_access_timeouts = 0
        """Error handlings in a row for reads and writes that were not answered."""
        self.expecting_unit_attention = False
        """We reset it: the next unit attention is an echo of that."""
        self.depth = QueueDepth(queue_depth, ramp_up_period_s=self.settings.queue_ramp_up_period_s)
        self._queue = CommandQueue(self.depth, self._takes_commands, self.handler.room)
        self._fixed_state: DeviceState | None = None
        self._reason = ""
        self._watch = CommandWatch(self._overdue)
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
            if self._owns_handler:
                self.handler.close()

    def _change(self, state: DeviceState | None, reason: str) -> None:
        self._fixed_state, self._reason = state, reason
        level = logging.INFO if state is DeviceState.DELETED else logging.WARNING
        logger.log(level, "%s: %s: %s", self.label, self.state, reason)
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
            CommandFailed: the target asked for patience, and has had enough of it.
            CommandTimedOut: it was not answered, and repeated often enough.
            DeviceOffline: the device is offline or deleted.
            TransportDisrupted, TransportFailed: there is no session, and there was none for too long.
            LocalProtocolError: the task is for another logical unit.
        """
        if task.lun != self.lun:
            raise LocalProtocolError(f"{task.name} is not for {self.label}", "11.3")
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
            await self._send(command)
            if command.rescue is not None:
                return await self._rescue(command)
            self.iodone_count += 1
            return await self._judge(command)
        finally:
            self._queue.leave()
            if self.handler.recovering:
                self.handler.look()

    def _why(self) -> str:
        return self._reason if self._fixed_state else "the session is gone"

    async def _send(self, command: SCSICommandState) -> None:
        """One attempt, to its end; ``command.rescue`` is under way if that was not in time."""
        self._watch.add(command)
        try:
            command.task = await self.transport.run_once(command.task)
        except ISCSIError as error:
            command.error = error
        except BaseException:
            if command.rescue is not None:
                command.rescue.cancel()
            raise
        finally:
            command.has_ended = True
            self._watch.remove(command)

    # -- time --------------------------------------------------------------------------------------

    def _overdue(self, command: SCSICommandState) -> bool:
        """The time of ``command`` is up: whether it gets more."""
        self.iotmo_count += 1
        if self._gets_more_time(command):
            return True
        self.iodone_count += 1  # what comes now is not looked at any more
        command.rescue = asyncio.get_running_loop().create_task(self.handler.timed_out(command))
        return False

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
        error, task = command.error, command.task
        if error is not None:
            self.ioerr_count += 1
            return self._repeat_or_raise(command, rule_of_error(error), error)
        if task.status == Status.GOOD:
            self._good(command)
            return None
        return await self._judge_status(command)

    def _good(self, command: SCSICommandState) -> None:
        self._queue.flow()
        if command.is_block_command:
            self.medium_access_timeouts = 0
        if self.depth.depth < self.depth.maximum:
            self._raise_queue_depth()

    def _repeat_or_raise(self, command: SCSICommandState, rule: Rule, error: ISCSIError) -> _Next:
        if rule.disposition is Disposition.NEEDS_RETRY and command.take_retry():
            if not command.is_overdue(_now()):
                self._queue.stall()
                return _Next.NOW
        self._queue.flow()
        raise error

    async def _judge_status(self, command: SCSICommandState) -> _Next | None:
        """``scsi_complete``, then ``scsi_io_completion``."""
        task = command.task
        self.ioerr_count += 1
        disposition = self.examine(task)
        if task.status == Status.TASK_SET_FULL:
            self._lower_queue_depth()
        if disposition is Disposition.NEEDS_RETRY and not self._may_retry(command):
            disposition = Disposition.SUCCESS
        if disposition is Disposition.SUCCESS:
            return self._complete(command)
        if disposition is Disposition.FAILED:
            return await self._recover(command)
        return self._repeat(command)

    def _may_retry(self, command: SCSICommandState) -> bool:
        """Commands that are passed through see each CHECK CONDITION themselves (``scsi_noretry_cmd``)."""
        passes = not command.is_block_command and command.task.status == Status.CHECK_CONDITION
        return command.take_retry() and not passes

    def _complete(self, command: SCSICommandState) -> _Next | None:
        task = command.task
        action = rule_of(task).action
        self._queue.flow()
        if action is Action.GOOD and task.status == Status.CHECK_CONDITION:
            task.status = Status.GOOD  # RECOVERED ERROR: the data is good
        if not command.is_block_command:
            return None
        self.medium_access_timeouts = 0
        if action in (Action.GOOD, Action.FAIL):
            return None
        return self._repeat(command, _Next.LATER if action is Action.DELAYED_REPREP else _Next.NOW)

    def _repeat(self, command: SCSICommandState, when: _Next = _Next.NOW) -> _Next:
        """Once more, if it was not repeated for long enough: then that is its end."""
        task = command.task
        if command.is_overdue(_now()):
            self._queue.flow()
            raise CommandFailed(task.status, parse_sense(task.sense_data), task.name)
        if when is _Next.NOW:
            self._queue.stall()
        return when

    def examine(self, task: CommandTask, *, of_handler: bool = False) -> Disposition:
        """``scsi_decide_disposition`` for a task that has a status, and for what its sense data tells.

        ``of_handler`` is for what the error handler sent.
        """
        event = event_of(task)
        if event is not None:
            logger.info("%s: unit attention: %s", self.label, event)
            self._tell(DeviceEvent(self, event))
        if self._is_echo(task):
            return Disposition.NEEDS_RETRY
        return rule_of(task, of_handler=of_handler).disposition

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

    def _lower_queue_depth(self) -> None:
        """For all devices of the target, which has one task set for all we know."""
        for device in self.handler.devices:
            device.depth.full(_now())

    def _raise_queue_depth(self) -> None:
        now = _now()
        if self.depth.may_rise(now):
            self.depth.has_risen(now)
            for device in self.handler.devices:
                device.depth.rise()

    # -- error handling ----------------------------------------------------------------------------

    async def _rescue(self, command: SCSICommandState) -> _Next:
        """It was not answered, and has ended now: wait for the end of its rescue."""
        assert command.rescue is not None
        await command.rescue
        if command.is_block_command and self.is_online and command.take_retry():
            self._queue.stall()
            return _Next.NOW
        self._queue.flow()
        offline = "" if self.is_online else f": {self.label} is {self.state}: {self._why()}"
        raise CommandTimedOut(f"{command.task.name} was not answered in time{offline}")

    async def _recover(self, command: SCSICommandState) -> _Next | None:
        """It came back with what nobody understands."""
        if command.is_overdue(_now()):
            return self._complete(command)
        await self.handler.recover(command)
        if command.is_block_command and self.is_online and command.take_retry():
            self._queue.stall()
            return _Next.NOW
        return self._complete(command)


def _now() -> float:
    return asyncio.get_running_loop().time()
