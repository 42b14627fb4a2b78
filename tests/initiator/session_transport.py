"""A transport for SCSI devices around a plain session, which does not come back when it is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iscsim.initiator.session import Session
from iscsim.initiator.session_state import SessionState, TransportFailed
from iscsim.initiator.task import CommandTask
from iscsim.session.events import Event


class SessionTransport:
    """Notes what is ``sent``."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.sent: list[CommandTask] = []
        self.listeners: list[Callable[[Event], None]] = []

    @property
    def state(self) -> SessionState:
        return SessionState.LOGGED_IN if self.session.is_open else SessionState.FREE

    async def run_once(self, task: CommandTask, timeout_s: float | None = None) -> CommandTask:
        if not self.session.is_open:
            raise TransportFailed("the session is gone")
        self.sent.append(task)
        return await self.session.run(task, timeout_s)

    async def task_management(
        self, function: int, lun: Any = 0, *, task: CommandTask | None = None, timeout_s: float | None = None
    ) -> int:
        return int(await self.session.task_management(function, lun, task=task, timeout_s=timeout_s))

    def drop(self, reason: str) -> None:
        self.session._protocol.close()

    async def recovered(self, timeout_s: float | None = None) -> bool:
        return False
