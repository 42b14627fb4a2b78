"""Transports for SCSI devices: a plain session that does not come back, and one that follows a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from iscsim.errors import ISCSIError
from iscsim.initiator.session_state import SessionState, SessionStateChanged
from iscsim.initiator.task import CommandAborted, CommandTask
from iscsim.net.virtual_loop import VirtualLoop
from iscsim.pdu import TaskManagementFunction, TaskManagementResponseCode
from iscsim.scsi.sense import Sense
from iscsim.scsi.status import Status
from iscsim.session.events import Event

NEVER = "never answered"


def virtual(main: Coroutine[Any, Any, Result]) -> Result:
    """Run ``main`` in virtual time that begins at 0."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


Answer = int | Sense | ISCSIError | str | bytes
Result = TypeVar("Result")


@dataclass
class ScriptedTransport:
    """Answers commands from ``answers`` in turn, with GOOD when they are used up; notes all it was asked.

    An answer is a status, sense data, an error, bytes that were read, or NEVER. ``managed`` are the answers
    to task management functions: response codes, errors or NEVER. A command takes ``latency_s``.
    """

    answers: list[Answer] = field(default_factory=list)
    managed: list[int | ISCSIError | str] = field(default_factory=list)
    usual: Answer = Status.GOOD
    usual_management: int | ISCSIError | str = TaskManagementResponseCode.FUNCTION_COMPLETE
    latency_s: float = 0.0005
    comes_back: bool = True
    state: SessionState = SessionState.LOGGED_IN
    listeners: list[Callable[[Event], None]] = field(default_factory=list)
    sent: list[tuple[float, CommandTask]] = field(default_factory=list)
    log: list[tuple[float, str]] = field(default_factory=list)
    under_way: dict[CommandTask, asyncio.Future[None]] = field(default_factory=dict)
    most_under_way: int = 0
    answer: Callable[[CommandTask], Answer | None] | None = None
    """Asked first: None leaves it to the script."""

    @property
    def names(self) -> list[str]:
        """What was sent, by command and function."""
        return [name for _, name in self.log]

    def times(self, name: str) -> list[float]:
        """When ``name`` was sent, to the tenth of a second."""
        return [round(at, 1) for at, each in self.log if each == name]

    async def run_once(self, task: CommandTask, timeout_s: float | None = None) -> CommandTask:
        self.sent.append((now(), task))
        self.log.append((now(), task.name.partition(" to ")[0]))
        ended = self.under_way[task] = asyncio.get_running_loop().create_future()
        self.most_under_way = max(self.most_under_way, len(self.under_way))
        try:
            answer = self._answer(task)
            if answer == NEVER:
                await ended
            else:
                await asyncio.wait((ended,), timeout=self.latency_s)
                if ended.done():
                    ended.result()
        finally:
            self.under_way.pop(task, None)
        if isinstance(answer, ISCSIError):
            raise answer
        _end(task, answer)
        return task

    def _answer(self, task: CommandTask) -> Answer:
        answer = self.answer(task) if self.answer else None
        if answer is None:
            answer = self.answers.pop(0) if self.answers else self.usual
        return answer

    async def task_management(
        self, function: int, lun: Any = 0, *, task: CommandTask | None = None, timeout_s: float | None = None
    ) -> int:
        name = TaskManagementFunction(function).name.replace("_", " ")
        self.log.append((now(), name))
        answer = self.managed.pop(0) if self.managed else self.usual_management
        if answer == NEVER:
            await asyncio.sleep(timeout_s or 0)
            raise CommandAborted("no answer to the function")
        if isinstance(answer, ISCSIError):
            raise answer
        if answer == TaskManagementResponseCode.FUNCTION_COMPLETE:
            for each in [task] if task else list(self.under_way):
                self.end(each, CommandAborted(f"ended by {name}"))
        return int(answer)

    def end(self, task: CommandTask, error: ISCSIError) -> None:
        ended = self.under_way.get(task)
        if ended is not None and not ended.done():
            ended.set_exception(error)

    def drop(self, reason: str) -> None:
        self.log.append((now(), "session drop"))
        for task in list(self.under_way):
            self.end(task, CommandAborted("the session was dropped"))
        self.change(SessionState.FAILED, reason)

    def change(self, state: SessionState, reason: str = "") -> None:
        before, self.state = self.state, state
        for listener in list(self.listeners):
            listener(SessionStateChanged(state, before, reason))

    async def recovered(self, timeout_s: float | None = None) -> bool:
        if self.comes_back:
            await asyncio.sleep(2)
            self.change(SessionState.LOGGED_IN)
        else:
            await asyncio.sleep(120 if timeout_s is None else timeout_s)
        return self.comes_back


def _end(task: CommandTask, answer: int | Sense | str | bytes) -> None:
    if isinstance(answer, bytes):
        task.data_in = answer
    elif isinstance(answer, Sense):
        task.status, task.sense_data = Status.CHECK_CONDITION, answer.encode()
    else:
        task.status = int(answer)
        task.data_in = bytes(task.data_in_length) if task.status == Status.GOOD else b""
