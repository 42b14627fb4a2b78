"""The error handler of one SCSI host: ABORT TASK, then a ladder of resets, as Linux climbs it.

A command that is not answered is aborted by itself (``scmd_eh_abort_handler``). When that fails, the host
stops: no command of any of its devices begins, and when all under way have ended or failed too, one ladder
is climbed for all of them (``scsi_unjam_host``). Read drivers/scsi/scsi_error.c beside it, and
``iscsi_eh_abort``, ``iscsi_eh_device_reset`` and ``iscsi_eh_recover_target`` of libiscsi.c.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from iscsim.errors import ISCSIError
from iscsim.initiator.command_queue import HostRoom
from iscsim.initiator.disposition import Disposition, rule_of
from iscsim.initiator.error_settings import ErrorHandlingSettings
from iscsim.initiator.scsi_command import SCSICommandState
from iscsim.initiator.session_state import SessionState
from iscsim.initiator.task import CommandTask
from iscsim.initiator.verbs import LUN
from iscsim.pdu import TaskManagementFunction, TaskManagementResponseCode
from iscsim.scsi import cdb as commands
from iscsim.scsi.status import Status
from iscsim.session.events import Event

if TYPE_CHECKING:
    from iscsim.initiator.scsi_device import SCSIDevice

__all__ = ["ErrorHandler", "ErrorHandlingSettings", "RecoveryStep", "SCSITransport"]

logger = logging.getLogger("iscsim.initiator")

_ABORT_DELAY_S = 0.01
"""Between a timeout and its abort (``HZ / 100``)."""
_STEPS_KEPT = 1000
_FOR_EVER_S = 1e9
"""For a task management function that may stay without an answer and the session go on."""
_GRACE_S = 1.0
"""What the transport, which drops the session when the time is over, may be late."""
_Function = TaskManagementFunction


class SCSITransport(Protocol):
    """What carries commands to a target: `iscsim.initiator.recovering_session.RecoveringSession`."""

    listeners: list[Callable[[Event], None]]

    @property
    def state(self) -> SessionState:
        """LOGGED_IN, FAILED while it may come back, FREE when that took too long."""

    async def run_once(self, task: CommandTask, timeout_s: float | None = None) -> CommandTask:
        """Send ``task`` and wait for its end, for ever without ``timeout_s``.

        Raises TransportDisrupted when the connection dies under it, TransportFailed without a session,
        CommandAborted when something else ended it.
        """

    async def task_management(
        self,
        function: int,
        lun: LUN = 0,
        *,
        task: CommandTask | None = None,
        timeout_s: float | None = None,
    ) -> int:
        """A task management function: the response. The session is dropped without one in time."""

    def drop(self, reason: str) -> None:
        """Close the connection, and log in anew."""

    async def recovered(self, timeout_s: float | None = None) -> bool:
        """Wait until it is logged in; False when it will not be, or not in time."""


@dataclass(frozen=True, slots=True)
class RecoveryStep:
    """A step that was made: when it began and ended (the loop's clock), what it was, how it went."""

    begun_at: float
    ended_at: float
    action: str
    device: str
    outcome: str

    def __str__(self) -> str:
        return f"{self.begun_at:9.3f} s  {self.action} for {self.device}: {self.outcome}"


class ErrorHandler:
    """What the devices behind one session share: who waits, who failed, and the way out.

    ``listeners`` are told of each step, the last of which stay in ``steps``.
    """

    def __init__(self, transport: SCSITransport, settings: ErrorHandlingSettings | None = None) -> None:
        self.transport = transport
        self.settings = settings or ErrorHandlingSettings()
        self.devices: list[SCSIDevice] = []
        self.room = HostRoom(self.settings.commands_max)
        self.recovering = False
        """No command begins meanwhile (``SHOST_RECOVERY``)."""
        self.steps: deque[RecoveryStep] = deque(maxlen=_STEPS_KEPT)
        self.listeners: list[Callable[[RecoveryStep], None]] = []
        self._failed: dict[SCSICommandState, asyncio.Future[None]] = {}
        self._climbing: asyncio.Task[None] | None = None
        self._aborts = asyncio.Lock()  # one task management function at a time
        self._punished: dict[SCSIDevice, None] = {}
        transport.listeners.append(self._state_changed)

    def _state_changed(self, event: Event) -> None:
        for device in self.devices:
            device.look()

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def close(self) -> None:
        """No more devices: stop listening."""
        if self._state_changed in self.transport.listeners:
            self.transport.listeners.remove(self._state_changed)
        if self._climbing is not None:
            self._climbing.cancel()

    # -- the way in --------------------------------------------------------------------------------

    async def timed_out(self, command: SCSICommandState) -> None:
        """``command`` was not answered in time: come back when nothing of it is left at the target."""
        if not command.abort_scheduled:
            command.abort_scheduled = True
            await asyncio.sleep(_ABORT_DELAY_S)
            async with self._aborts:
                if await self._abort(command):
                    return
        else:
            command.timed_out = True
        await self.recover(command)
        if not command.has_ended:
            self.transport.drop("a command is still there after its error handling")

    async def recover(self, command: SCSICommandState) -> None:
        """Climb the ladder for ``command`` and all that fail meanwhile; come back at its end."""
        done = asyncio.get_running_loop().create_future()
        self._failed[command] = done
        self.recovering = True
        self._punished.pop(command.device, None)
        self.look()
        try:
            await done
        finally:
            self._failed.pop(command, None)
            self.look()

    def look(self) -> None:
        """Begin to climb once every command under way has failed: nothing else can happen any more."""
        if not self.recovering or self._climbing is not None:
            return
        if not self._failed:  # nobody waits for them any more
            self._go_on()
        elif self.room.taken <= len(self._failed):
            self._climbing = asyncio.get_running_loop().create_task(self._climb())

    def _go_on(self) -> None:
        self.recovering = False
        for device in self.devices:
            device.look()

    # -- one command -------------------------------------------------------------------------------

    async def _abort(self, command: SCSICommandState) -> bool:
        """``iscsi_eh_abort``: whether the target has let go of it."""
        if command.has_ended:
            self._note(self._now, _Function.ABORT_TASK, command.device, "has ended meanwhile")
            return True
        timeout_s = self.settings.abort_timeout_s
        response = await self._manage(_Function.ABORT_TASK, command.device, timeout_s, command.task)
        gone = response == TaskManagementResponseCode.TASK_DOES_NOT_EXIST and command.has_ended
        return gone or response == TaskManagementResponseCode.FUNCTION_COMPLETE

    # -- the ladder --------------------------------------------------------------------------------

    async def _climb(self) -> None:
        begun = self._failed
        self._failed = {}
        try:
            work = await self._ask_for_sense(list(begun))
            for rung in (self._reset_units, self._recover_target):
                if work:
                    work = await rung(work)
            for device in self._devices_of(work):
                device.take_offline("not ready after error recovery")
        finally:
            self._climbing = None
            for done in begun.values():
                if not done.done():
                    done.set_result(None)
            self._go_on()

    def _devices_of(self, work: list[SCSICommandState]) -> list[SCSIDevice]:
        return list(dict.fromkeys(command.device for command in work))

    async def _ask_for_sense(self, work: list[SCSICommandState]) -> list[SCSICommandState]:
        """``scsi_eh_get_sense``: CHECK CONDITION came without sense data."""
        left = []
        for command in work:
            task = command.task
            if not command.has_ended or task.status != Status.CHECK_CONDITION:
                left.append(command)
                continue
            begun = self._now
            answer = await self._send(command.device, commands.request_sense(), data_in_length=252)
            self._note(begun, "REQUEST SENSE", command.device, _describe(answer))
            if answer is None or answer.status != Status.GOOD:
                left.append(command)
                continue
            task.sense_data = bytes(answer.data_in)
            disposition = rule_of(task).disposition
            if disposition is Disposition.SUCCESS:
                command.retries = command.allowed  # it is over, and now we know why
            elif disposition is not Disposition.NEEDS_RETRY:
                left.append(command)
        return left

    async def _reset_units(self, work: list[SCSICommandState]) -> list[SCSICommandState]:
        """``scsi_eh_bus_device_reset``: each unit that has failed commands by itself."""
        for device in self._devices_of(work):
            if await self._reset_unit(device) and await self._is_ready(device):
                work = self._finish(device, work)
        return work

    async def _reset_unit(self, device: SCSIDevice) -> bool:
        done = await self._reset(_Function.LOGICAL_UNIT_RESET, device, self.settings.lu_reset_timeout_s)
        device.expecting_unit_attention |= done
        return done

    async def _recover_target(self, work: list[SCSICommandState]) -> list[SCSICommandState]:
        """``iscsi_eh_recover_target``: TARGET WARM RESET, or a new session when there is none."""
        if not await self._reset_target(work[0].device):
            return work
        for device in self._devices_of(work):
            if not device.is_online or await self._is_ready(device):
                work = self._finish(device, work)
        return work

    async def _reset_target(self, device: SCSIDevice) -> bool:
        timeout_s = self.settings.target_reset_timeout_s
        done = await self._reset(_Function.TARGET_WARM_RESET, device, timeout_s)
        done = done or await self._reset_session(device)
        for each in self.devices if done else ():
            each.expecting_unit_attention = True
        return done

    async def _reset_session(self, device: SCSIDevice) -> bool:
        """``iscsi_eh_session_reset``: drop it and wait for a new login."""
        begun = self._now
        self.transport.drop("the SCSI error handler drops the session")
        limit = None if self.settings.drops_on_silence else self.settings.host_reset_timeout_s
        done = await self.transport.recovered(limit)
        self._note(begun, "session drop", device, "logged in again" if done else "no new login")
        return done

    def _finish(self, device: SCSIDevice, work: list[SCSICommandState]) -> list[SCSICommandState]:
        """The commands of ``device`` need no more recovery (``sd_eh_action`` may think otherwise of it)."""
        for command in work:
            if command.device is device and command.timed_out and command.is_block_command:
                if device not in self._punished:
                    self._punished[device] = None
                    device.medium_access_timeouts += 1
                if device.medium_access_timeouts >= self.settings.medium_access_timeouts:
                    device.take_offline("medium access timeout failure")
        return [command for command in work if command.device is not device]

    # -- single steps ------------------------------------------------------------------------------

    async def _is_ready(self, device: SCSIDevice) -> bool:
        """``scsi_eh_tur``: TEST UNIT READY, twice when it is busy or has a unit attention."""
        for _ in range(2):
            begun = self._now
            answer = await self._send(device, commands.test_unit_ready())
            self._note(begun, "TEST UNIT READY", device, _describe(answer))
            if answer is None:
                return False
            disposition = device.examine(answer, of_handler=True)
            if disposition is Disposition.FAILED:
                return False
            if disposition is Disposition.SUCCESS:
                return True  # it speaks: what is wrong is for those who sent the commands
        return True

    async def _send(self, device: SCSIDevice, cdb: bytes, data_in_length: int = 0) -> CommandTask | None:
        """A command of the handler's own; None when there was no answer, and it was aborted."""
        loop = asyncio.get_running_loop()
        task = CommandTask(device.lun, cdb, data_in_length=data_in_length)
        command = SCSICommandState(device, task, self.settings.test_unit_ready_timeout_s, loop.time())
        running = loop.create_task(self.transport.run_once(task))
        await asyncio.wait((running,), timeout=command.timeout_s)
        if running.done():
            return _answer_of(running)
        running.add_done_callback(_answer_of)
        # scsi_abort_eh_cmnd: nothing may be left of it
        if not await self._abort(command) and not await self._reset_unit(device):
            await self._reset_target(device)
        running.cancel()  # it has ended, unless everything failed
        return None

    async def _reset(self, function: TaskManagementFunction, device: SCSIDevice, timeout_s: float) -> bool:
        response = await self._manage(function, device, timeout_s)
        return response == TaskManagementResponseCode.FUNCTION_COMPLETE

    async def _manage(
        self,
        function: TaskManagementFunction,
        device: SCSIDevice,
        timeout_s: float,
        task: CommandTask | None = None,
    ) -> int | None:
        """A task management function: its response, None when there was none."""
        begun = self._now
        if self.transport.state is not SessionState.LOGGED_IN:
            self._note(begun, function, device, "there is no session")
            return None
        drops = self.settings.drops_on_silence
        lun = 0 if function == _Function.TARGET_WARM_RESET else device.lun
        limit = timeout_s if drops else _FOR_EVER_S
        response, outcome = None, "no answer"
        try:
            async with asyncio.timeout(timeout_s + (_GRACE_S if drops else 0)):
                response = await self.transport.task_management(function, lun, task=task, timeout_s=limit)
            outcome = _describe_response(response)
        except TimeoutError:
            pass  # outcome says so
        except ISCSIError as error:
            silent = drops and self._now >= begun + timeout_s
            outcome = "no answer: the session is dropped" if silent else str(error)
        self._note(begun, function, device, outcome)
        return response

    def _note(
        self, begun: float, action: TaskManagementFunction | str, device: SCSIDevice, outcome: str
    ) -> None:
        name = action if isinstance(action, str) else action.name.replace("_", " ")
        step = RecoveryStep(begun, self._now, name, device.label, outcome)
        self.steps.append(step)
        logger.info("%s", step)
        for listener in self.listeners:
            listener(step)


def _answer_of(running: asyncio.Task[CommandTask]) -> CommandTask | None:
    """The task that came back, if one did."""
    if running.cancelled() or running.exception() is not None:
        return None
    return running.result()


def _describe(answer: CommandTask | None) -> str:
    if answer is None:
        return "no answer"
    try:
        return Status(answer.status).name.replace("_", " ")
    except ValueError:
        return f"status {answer.status:#04x}"


def _describe_response(response: int) -> str:
    try:
        return TaskManagementResponseCode(response).name.lower().replace("_", " ")
    except ValueError:
        return f"response {response}"
