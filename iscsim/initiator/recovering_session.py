"""A session that lives: logged in again whenever its connection is lost, as open-iscsi and Linux do it.

:class:`iscsim.initiator.session.Session` ends with its connection. This one has a `Session` as long as it
is logged in, gets itself another when that is lost, and tells commands what became of them meanwhile. The
numbers are those of :class:`NodeSettings`; when what happens is described in docs/howto/recovery.md.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from iscsim.errors import SessionFailed
from iscsim.initiator.client import (
    DEFAULT_INITIATOR_NAME,
    InitiatorProtocol,
    PortalLike,
    default_network,
    random_isid,
)
from iscsim.initiator.command_room import CommandRoom
from iscsim.initiator.login_attempts import Attempts, LoginAttempts
from iscsim.initiator.portal import Portal, parse_portal
from iscsim.initiator.relogin import GivenUp, Relogin
from iscsim.initiator.session import Session
from iscsim.initiator.session_state import (
    SessionState,
    SessionStateChanged,
    TransportDisrupted,
    TransportFailed,
)
from iscsim.initiator.settings import NodeSettings
from iscsim.initiator.task import CommandTask
from iscsim.initiator.verbs import LUN, SCSIVerbs
from iscsim.pdu import TaskManagementResponseCode
from iscsim.session.events import ConnectionEnded, Event
from iscsim.session.login import LoginConfig
from iscsim.session.names import normalize_name

if TYPE_CHECKING:
    from iscsim.initiator.initial_login import LoginAttempt
    from iscsim.net.network import Network, Recorder
    from iscsim.session.chap import Randomness

__all__ = [
    "RecoveringSession",
    "SessionState",
    "SessionStateChanged",
    "TransportDisrupted",
    "TransportFailed",
    "log_in",
]

logger = logging.getLogger("iscsim.initiator")

MAX_RETRIES = 5
"""How often a disk sends a command again that was disrupted (Linux: SD_MAX_RETRIES)."""
Listener = Callable[[Event], None]


class RecoveringSession(SCSIVerbs):
    """A session with a target that outlives its connections; :func:`log_in` makes one.

    Commands wait while it is FAILED, up to ``replacement_timeout``. Every coroutine that talks to the target
    raises `TransportFailed` when there is no session, and when the wait was too long; `run_once` raises
    `TransportDisrupted` when the connection was lost under its command, and `run` sends it again.

    ``listeners`` are told of every event: `SessionStateChanged`, asynchronous messages, rejects, the end of a
    connection. Its owner knows it by its number ``sid``, the target by ``isid`` (6 bytes).
    """

    def __init__(
        self, attempts: Attempts, session: Session, settings: NodeSettings, *, isid: bytes, sid: int = 1
    ) -> None:
        super().__init__()
        self.settings = settings
        self.isid = isid
        self.sid = sid
        self.listeners: list[Listener] = []
        self.command_timeout_s: float | None = 30.0
        self.given_up = False
        """Whether it was closed, or ``reopen_max`` logins in a row have failed: it will not come back."""
        self._attempts = attempts
        self._relogin = Relogin(attempts, settings)
        self._loop = asyncio.get_running_loop()
        self._state = SessionState.FAILED
        self._room = CommandRoom(settings.cmds_max)
        self._settled = asyncio.Event()  # whether nobody has to wait: for commands, or for the next state
        self._recovery: asyncio.Task[None] | None = None
        self._replacement: asyncio.TimerHandle | None = None
        self._session: Session | None = None
        self._use(session)

    # -- what it is --------------------------------------------------------------------------------

    @property
    def state(self) -> SessionState:
        """As Linux shows it in ``/sys/class/iscsi_session``."""
        return self._state

    @property
    def session(self) -> Session | None:
        """The session of the present connection; None while there is none."""
        return self._session

    @property
    def portal(self) -> Portal:
        """Where it is logged in, or logs in next."""
        return self._attempts.redirections.here

    @property
    def home(self) -> Portal:
        """Where every login begins: the portal it was made for, or where a target has moved for good."""
        return self._attempts.redirections.home

    @property
    def target_name(self) -> str:
        """The target's iSCSI name."""
        return self._attempts.config.target_name or ""

    @property
    def initiator_name(self) -> str:
        """Ours."""
        return self._attempts.config.initiator_name

    def __repr__(self) -> str:
        return f"RecoveringSession({self.target_name!r} at {self.portal}, {self._state})"

    # -- commands ----------------------------------------------------------------------------------

    async def run(self, task: CommandTask, timeout_s: float | None = None) -> CommandTask:
        """Send a command, and send it again when it was disrupted, `MAX_RETRIES` times at most.

        What comes back is the task that ended, which is not ``task`` when that was disrupted. Each has
        ``command_timeout_s`` unless ``timeout_s`` is given, and is aborted then.

        Raises:
            TransportFailed: there is no session, and has not been for too long.
            TransportDisrupted: it was disrupted once too often.
            CommandTimedOut, CommandAborted, TargetFailure: as `Session.run`.
        """
        limit = self.command_timeout_s if timeout_s is None else timeout_s
        for _ in range(MAX_RETRIES):
            try:
                return await self.run_once(task, limit)
            except TransportDisrupted as error:
                logger.debug("%r: %s is sent again: %s", self, task.name, error)
                task = task.again()
        return await self.run_once(task, limit)

    async def run_once(self, task: CommandTask, timeout_s: float | None = None) -> CommandTask:
        """Send a command as soon as there is a session, once; cancelling aborts it.

        Without ``timeout_s`` it may take as long as it takes.

        Raises:
            TransportDisrupted: the connection was lost, the command may or may not have been executed.
            TransportFailed, CommandTimedOut, CommandAborted, TargetFailure: as `run`.
        """
        if self._room.free:
            self._room.free -= 1
        else:
            await self._room.wait()
        try:
            session = self._session
            if session is None or not session.is_open:
                session = await self._admitted()
            try:
                return await session.run(task, timeout_s)
            except SessionFailed as error:
                raise TransportDisrupted(str(error)) from None
        finally:
            self._room.leave()

    async def _admitted(self) -> Session:
        """The session, once there is one. Raises TransportFailed when there is none for too long."""
        while True:
            session = self._session
            if session is not None and session.is_open:
                return session
            if self._state is SessionState.FREE:
                raise self._no_session()
            self._settled.clear()
            await self._settled.wait()

    def _no_session(self) -> TransportFailed:
        why = "it was given up" if self.given_up else "no session for longer than replacement_timeout"
        return TransportFailed(f"{self.target_name} at {self.portal}: {why}")

    async def task_management(
        self,
        function: int,
        lun: LUN = 0,
        *,
        task: CommandTask | None = None,
        timeout_s: float | None = None,
    ) -> TaskManagementResponseCode | int:
        """A task management function; ``task`` is the one ABORT TASK is about.

        It waits for no login. ABORT TASK of a task that was not sent yet, or has ended, is answered here.
        When the target does not answer in ``timeout_s`` (``logout_timeout`` unless given) the connection is
        dropped, as Linux does it. Raises `TransportDisrupted` for that and while FAILED, `TransportFailed`
        when FREE.
        """
        session = self._session
        if session is None:
            raise self._no_session() if self._state is SessionState.FREE else self._disrupted("FAILED")
        if task is not None and (answer := session.abort_locally(function, task)) is not None:
            return answer
        try:
            return await session.task_management(function, lun, task=task, timeout_s=timeout_s)
        except SessionFailed as error:
            raise self._disrupted(str(error)) from None

    def _disrupted(self, why: str) -> TransportDisrupted:
        return TransportDisrupted(f"{self.target_name} at {self.portal}: {why}")

    async def ping(self, data: bytes = b"", timeout_s: float | None = None) -> bytes:
        """NOP-Out and back: what came back of ``data``. Waits and raises as `run_once` does."""
        session = await self._admitted()
        try:
            return await session.ping(data, timeout_s)
        except SessionFailed as error:
            raise self._disrupted(str(error)) from None

    # -- losing it and getting it back -------------------------------------------------------------

    def drop(self, reason: str) -> None:
        """Close the connection and begin recovery: the last step of error handling. Nothing when FAILED."""
        if self._session is not None:
            self._session.drop(reason)

    async def recovered(self, timeout_s: float | None = None) -> bool:
        """Wait until it is logged in; False when ``replacement_timeout`` or ``timeout_s`` was quicker."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._admitted()
        except (TimeoutError, TransportFailed):
            return False
        return True

    def _use(self, session: Session) -> None:
        """There is a session: let everybody go on."""
        self._session = session

        def told(event: Event) -> None:
            self._heard(session, event)

        session.on_event(told)
        self._stop_replacement()
        self._change(SessionState.LOGGED_IN, f"logged in at {session.portal}")
        self._settled.set()
        if session.has_ended and self._session is session:  # before we could listen to it
            self._lost(session, str(session.failure or "logged out"))

    def _heard(self, session: Session, event: Event) -> None:
        """An event of one of our connections."""
        self._tell(event)
        if isinstance(event, ConnectionEnded) and session is self._session:
            self._lost(session, event.message or "logged out")

    def _lost(self, session: Session, reason: str) -> None:
        self._session = None
        if self.given_up:
            return
        self._settled.clear()
        self._change(SessionState.FAILED, reason)
        self._begin_replacement()
        self._recovery = self._loop.create_task(self._log_in_again(session.time2wait))
        self._recovery.add_done_callback(self._stopped)

    def _change(self, state: SessionState, reason: str) -> None:
        if state is not self._state:
            previous, self._state = self._state, state
            logger.info("%r, was %s: %s", self, previous, reason)
            self._tell(SessionStateChanged(state, previous, reason))

    def _tell(self, event: Event) -> None:
        for listener in list(self.listeners):
            listener(event)

    # -- replacement_timeout -----------------------------------------------------------------------

    def _begin_replacement(self) -> None:
        limit = self.settings.replacement_timeout
        if limit >= 0:
            self._replacement = self._loop.call_later(limit, self._too_long)

    def _stop_replacement(self) -> None:
        if self._replacement is not None:
            self._replacement.cancel()
            self._replacement = None

    def _too_long(self) -> None:
        """Commands do not wait any longer; the login goes on."""
        self._replacement = None
        limit = self.settings.replacement_timeout
        self._free(f"session recovery timed out after {limit:g} s")

    def _free(self, reason: str) -> None:
        self._change(SessionState.FREE, reason)
        self._settled.set()

    # -- the next login ----------------------------------------------------------------------------

    async def _log_in_again(self, time2wait: float) -> None:
        try:
            protocol, reached = await self._relogin.run(time2wait)
        except GivenUp as error:
            self._give_up(str(error))
        else:
            self._use(_session_on(protocol, reached))

    def _stopped(self, recovery: asyncio.Task[None]) -> None:
        """Nobody tries any more: if that was no plan, as when ``on_attempt`` raised, let nobody wait."""
        if not recovery.cancelled() and (error := recovery.exception()) is not None:
            self._give_up(f"no login is tried any more: {error!r}")
            message = f"{self!r} cannot go on"
            self._loop.call_exception_handler({"message": message, "exception": error, "task": recovery})

    def _give_up(self, reason: str) -> None:
        self.given_up = True
        self._stop_replacement()
        self._free(reason)

    # -- the end -----------------------------------------------------------------------------------

    async def close(self) -> None:
        """Log out if that is possible; no login is tried any more, and what waits fails."""
        session, recovery = self._session, self._recovery
        self._give_up("closed")
        if recovery is not None and not recovery.done():
            recovery.cancel()
            await asyncio.gather(recovery, return_exceptions=True)
        if session is not None:
            await session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def _session_on(protocol: InitiatorProtocol, portal: Portal) -> Session:
    return Session(protocol, portal, command_timeout_s=None)


async def log_in(
    portal: PortalLike,
    target_name: str,
    *,
    settings: NodeSettings | None = None,
    initiator_name: str = DEFAULT_INITIATOR_NAME,
    network: Network | None = None,
    recorder: Recorder | None = None,
    rng: Randomness | None = None,
    isid: bytes | None = None,
    sid: int = 1,
    portal_group_tag: int | None = None,
    allowed_redirections: Sequence[str] | None = None,
    on_attempt: Callable[[LoginAttempt], None] | None = None,
    clock: Callable[[], float] | None = None,
) -> RecoveringSession:
    """Log in to a target, and stay logged in::

        async with await log_in("127.0.0.1:3260", "iqn.2026-11.test:disk") as session:
            data = await session.read(1, lba=0, blocks=8)

    ``settings`` are those of open-iscsi, CHAP and digests among them. The first login is tried as long as
    iscsid would try it. ``allowed_redirections`` are the addresses, networks and host names a target may
    send us to, None for any. ``on_attempt`` is told of every login that was tried, now and later. The rest
    is as for :func:`iscsim.initiator.client.connect`.

    Raises:
        InitialLoginFailed: no login worked until the time was over.
        LoginFailed: the target refuses for good.
        ConfigError: a name, a setting, a secret or the portal is none.
    """
    settings = settings or NodeSettings()
    dice: Randomness = secrets.SystemRandom() if rng is None else rng
    config = LoginConfig(
        initiator_name=normalize_name(initiator_name),
        target_name=target_name,
        chap=settings.chap,
        portal_group_tag=portal_group_tag,
        wishes=settings.wishes,
    )
    isid = random_isid(dice) if isid is None else isid
    options: dict[str, Any] = {
        "network": network or default_network(),
        "recorder": recorder,
        "rng": dice,
        "timeouts": settings.timeouts,
        "isid": isid,
    }
    first = LoginAttempts(
        config,
        parse_portal(portal),
        settings.initial_login,
        on_attempt,
        allowed_redirections=allowed_redirections,
        clock=clock,
        **options,
    )
    protocol, reached = await first.run()
    return RecoveringSession(first.one, _session_on(protocol, reached), settings, isid=isid, sid=sid)
