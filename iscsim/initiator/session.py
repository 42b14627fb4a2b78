"""A session with a target: SCSI commands as coroutines, and what else a session can be asked."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from iscsim.errors import ISCSIError, SessionFailed
from iscsim.initiator.task import (
    CommandAborted,
    CommandTask,
    Logout,
    Management,
    Ping,
    Request,
    TextNegotiation,
)
from iscsim.initiator.verbs import (
    LUN,
    MAX_TRANSFER_LENGTH,
    Result,
    SCSIVerbs,
    failure_of,
    moved,
    read_cdb,
    was_unit_attention,
)
from iscsim.pdu import TaskManagementFunction, TaskManagementResponseCode
from iscsim.pdu.text import Pair
from iscsim.session.events import Event

if TYPE_CHECKING:
    from iscsim.initiator.client import InitiatorProtocol
    from iscsim.initiator.portal import Portal

logger = logging.getLogger("iscsim.initiator")


class Session(SCSIVerbs):
    """A normal session; :func:`iscsim.initiator.client.connect` makes one.

    It ends with its connection: for one that comes back, see
    :class:`iscsim.initiator.recovering_session.RecoveringSession`. What a LUN may be, see
    :class:`SCSIVerbs`. Every coroutine that talks to the target raises SessionFailed when the session is
    gone, ``CommandTimedOut`` when a command had to be aborted, and those that return data ``CommandFailed``
    for a status other than GOOD.
    """

    def __init__(
        self, protocol: InitiatorProtocol, portal: Portal, *, command_timeout_s: float | None = 30.0
    ) -> None:
        super().__init__()
        self._protocol = protocol
        self._core = protocol.core
        self._begin, self._submit = protocol.begin, protocol.core.commands.submit
        self.portal = portal
        self.command_timeout_s = command_timeout_s

    # -- what it is --------------------------------------------------------------------------------

    @property
    def target_name(self) -> str:
        """The target's iSCSI name."""
        return self._core.parameters.target_name or ""

    @property
    def local_address(self) -> str:
        """Our address on its connection."""
        return self._protocol.local_address

    @property
    def parameters(self) -> Any:
        """What the login agreed on: ``iscsim.session.parameters.Parameters``."""
        return self._core.parameters

    @property
    def is_open(self) -> bool:
        """Whether commands are taken."""
        return not self._core.closing and not self._core.draining

    @property
    def has_ended(self) -> bool:
        """Whether nothing comes any more."""
        return self._core.closing

    @property
    def failure(self) -> ISCSIError | None:
        """Why the session has ended, None while it has not and after a logout."""
        return self._core.failure

    @property
    def time2wait(self) -> float:
        """Seconds to wait before a new login once this session is lost: agreed on, or asked for since."""
        return self._core.time2wait

    @property
    def unanswered(self) -> int:
        """How many requests wait for an answer."""
        core = self._core
        return len(core.requests) + len(core.commands.tasks) + len(core.commands.queue)

    def on_event(self, listener: Callable[[Event], None]) -> None:
        """Call ``listener`` with each event: asynchronous messages, rejects, the end."""
        self._protocol.listeners.append(listener)

    def __repr__(self) -> str:
        return f"Session({self.target_name!r} at {self.portal}, {'open' if self.is_open else 'closed'})"

    # -- commands ----------------------------------------------------------------------------------

    async def run(self, task: CommandTask, timeout_s: float | None = None) -> CommandTask:
        """Send a task made by the caller and wait for its end; cancelling aborts the command."""
        future = self._begin(task, self.command_timeout_s if timeout_s is None else timeout_s)
        self._submit(task)
        try:
            await future
        except BaseException:
            self._abandon(task, future)
            raise
        return task

    def _abandon(self, task: CommandTask, future: Any) -> None:
        """Abort ``task`` if its waiter was cancelled."""
        if not future.done() or future.cancelled():
            self._protocol.abandon(task, CommandAborted(f"{task.name} was cancelled"))

    async def read(self, lun: LUN, lba: int, blocks: int) -> bytes | bytearray | memoryview:
        """``blocks`` blocks from ``lba`` on; a new buffer, yours.

        Raises:
            CommandFailed: a status other than GOOD, as for an LBA out of range.
            TransferIncomplete: GOOD, but with fewer bytes.
        """
        raw = self.lun_of(lun)
        block_size = self._block_sizes.get(raw) or await self._block_size(raw)
        length = blocks * block_size
        if length > MAX_TRANSFER_LENGTH:
            return await self._read_in_parts(raw, lba, length)
        if blocks <= 0:
            return b""
        task = CommandTask(raw, read_cdb(lba, blocks), data_in_length=length)
        future = self._begin(task, self.command_timeout_s)  # run() written out: most reads end here
        self._submit(task)
        try:
            await future
        except BaseException:
            self._abandon(task, future)
            raise
        if not task.status and len(task.data_in) == length and task.residual <= 0:
            return task.data_in
        if not was_unit_attention(task):
            raise failure_of(task, moved(task, length), length)
        return await self._read_once(raw, lba, blocks, length, None)

    # -- the session itself ------------------------------------------------------------------------

    async def ping(self, data: bytes = b"", timeout_s: float | None = None) -> bytes:
        """NOP-Out and back: what came back of ``data``."""
        request = Ping(data)
        await self._ask(request, lambda: self._core.ping(request), timeout_s)
        return request.data

    async def task_management(
        self,
        function: int,
        lun: LUN = 0,
        *,
        task: CommandTask | None = None,
        timeout_s: float | None = None,
    ) -> TaskManagementResponseCode | int:
        """A task management function; ``task`` is the one ABORT TASK is about.

        The commands it ends raise CommandAborted where they are awaited.
        """
        request = Management(function, task.lun if task else self.lun_of(lun), task)
        await self._ask(request, lambda: self._core.manage(request), timeout_s)
        try:
            return TaskManagementResponseCode(request.response)
        except ValueError:
            return request.response

    def abort_locally(self, function: int, task: CommandTask) -> TaskManagementResponseCode | None:
        """ABORT TASK of a task that is not under way needs no target: the answer to it, None for all else."""
        commands = self._core.commands
        if function != TaskManagementFunction.ABORT_TASK:
            return None
        if task in commands.queue:
            commands.abort(task, CommandAborted(f"{task.name} was aborted before it was sent"))
            return TaskManagementResponseCode.FUNCTION_COMPLETE
        if commands.tasks.get(task.initiator_task_tag) is task:
            return None
        return TaskManagementResponseCode.TASK_DOES_NOT_EXIST

    async def text(self, pairs: list[Pair], timeout_s: float | None = None) -> list[Pair]:
        """A text negotiation: the target's answers."""
        request = TextNegotiation(pairs)
        await self._ask(request, lambda: self._core.negotiate(request), timeout_s)
        return request.answers

    async def logout(self, timeout_s: float | None = None) -> None:
        """Log out, wait for the answer, close. Nothing happens when the session is gone already.

        Raises SessionFailed when the target does not answer.
        """
        if not self._core.closing:
            request = Logout()
            await self._ask(request, lambda: self._core.logout(request), timeout_s)
            if request.response:
                raise SessionFailed(f"{self._core.label}: logout response {request.response}")
        await self._protocol.closed

    async def close(self) -> None:
        """Log out if that is possible, close in any case."""
        try:
            await self.logout()
        except ISCSIError as error:
            logger.info("%r: closed without a logout: %s", self, error)
        finally:
            self._protocol.close()

    def drop(self, reason: str) -> None:
        """Close the connection without a logout; ``reason`` is one line."""
        self._protocol.close(reason)

    async def _ask(self, request: Request, send: Callable[[], None], timeout_s: float | None) -> None:
        future = self._protocol.begin(request, timeout_s)
        send()
        await future

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


__all__ = ["LUN", "MAX_TRANSFER_LENGTH", "Result", "Session"]
