"""Logging in as often and for as long as open-iscsi does: the asyncio shell of `InitialLogin`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from iscsim.errors import ConnectionFailed, ISCSIError, LoginFailed
from iscsim.initiator.client import InitiatorProtocol
from iscsim.initiator.connection import InitiatorConnection, Timeouts
from iscsim.initiator.exit_codes import IscsiadmExitCode
from iscsim.initiator.initial_login import (
    FATAL,
    Again,
    InitialLogin,
    InitialLoginFailed,
    InitialLoginSettings,
    LoginAttempt,
    exit_code_of,
)
from iscsim.initiator.portal import Portal
from iscsim.initiator.redirections import Redirections
from iscsim.net.reasons import reason_of
from iscsim.session.login import LoginConfig, LoginRedirected

if TYPE_CHECKING:
    from iscsim.net.network import Network, Recorder

__all__ = ["AttemptFailed", "Attempts", "LoginAttempts"]

logger = logging.getLogger("iscsim.initiator")


class AttemptFailed(ISCSIError):
    """An attempt that came to nothing, and how iscsiadm would call that; None for no connection at all.

    ``lost`` says that the connection ended, or brought nonsense, before the login did.
    """

    def __init__(self, message: str, code: IscsiadmExitCode | None = None, *, lost: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.lost = lost


class Attempts:
    """Makes attempts to log in, one by one. ``core``, what is left, goes to each `InitiatorConnection`.

    An attempt takes ``login_timeout`` seconds at most. ``on_attempt`` is told of each that is over.
    """

    def __init__(
        self,
        config: LoginConfig,
        redirections: Redirections,
        login_timeout: float,
        on_attempt: Callable[[LoginAttempt], None] | None,
        *,
        network: Network,
        recorder: Recorder | None,
        timeouts: Timeouts,
        **core: Any,
    ) -> None:
        self.config = config
        self.redirections = redirections
        self.came_up = False
        """Whether there was a TCP connection in the last attempt."""
        self.ends = 0.0
        """When the last attempt is over."""
        self.began = 0.0
        self._login_timeout = login_timeout
        self._network = network
        self._recorder = recorder
        self._core = core | {"timeouts": replace(timeouts, login_s=0)}  # ours is for connecting, too
        self._on_attempt = on_attempt
        self._count = 0
        self.time = asyncio.get_running_loop().time

    async def attempt(self) -> InitiatorProtocol:
        """One attempt, where the redirections have led us. Then call :meth:`note`.

        Raises:
            AttemptFailed: it may be tried again.
            LoginRedirected: it may be tried elsewhere.
            LoginFailed: the target refuses for good.
        """
        portal, self.came_up = self.redirections.here, False
        self.began = now = self.time()
        self.ends = now + self._login_timeout
        label = f"{self.config.target_name} at {portal}"
        core = InitiatorConnection(self.config, now=now, label=label, **self._core)
        protocol = InitiatorProtocol(core, self._recorder)
        await self._connect(protocol, portal)
        self.came_up = True
        await self._log_in(protocol, portal)
        return protocol

    async def _connect(self, protocol: InitiatorProtocol, portal: Portal) -> None:
        limit = asyncio.timeout_at(self.ends)
        try:
            async with limit:
                await self._network.connect(portal.address, portal.port, lambda: protocol)
        except OSError as error:  # a TimeoutError is one too
            if limit.expired():
                text = f"no answer from {portal} in {self._login_timeout:g} s"
                raise AttemptFailed(text, IscsiadmExitCode.TRANS_TIMEOUT) from None
            raise AttemptFailed(f"cannot connect to {portal}: {reason_of(error)}") from None

    async def _log_in(self, protocol: InitiatorProtocol, portal: Portal) -> None:
        try:
            async with asyncio.timeout_at(self.ends):
                await protocol.ready
        except TimeoutError:
            protocol.close()
            text = f"{portal} has not answered the login"
            raise AttemptFailed(text, IscsiadmExitCode.PDU_TIMEOUT) from None
        except LoginFailed as error:
            await self._refused(protocol, error)
        except ISCSIError as error:
            if protocol.core.negotiation_error is not None:
                raise AttemptFailed(str(error), IscsiadmExitCode.FATAL_LOGIN) from None
            raise AttemptFailed(str(error), IscsiadmExitCode.PDU_TIMEOUT, lost=True) from None
        except BaseException:
            protocol.close()
            raise

    async def _refused(self, protocol: InitiatorProtocol, error: LoginFailed) -> None:
        """The target has answered with a status."""
        if isinstance(error, LoginRedirected):
            raise error
        if exit_code_of(error) not in FATAL:
            raise AttemptFailed(str(error), exit_code_of(error)) from None
        error.args = (f"{protocol.core.label}: {error}",)
        await protocol.closed
        raise error

    def note(self, failure: str = "") -> LoginAttempt:
        """The last attempt is over: tell of it."""
        portal = self.redirections.here
        attempt = LoginAttempt(portal, self.began, self.time(), failure, self.came_up)
        self._count += 1
        logger.debug("%s: login attempt %d: %s", portal, self._count, failure or "it works")
        if self._on_attempt is not None:
            self._on_attempt(attempt)
        return attempt


class LoginAttempts:
    """The attempts of a first login; the arguments are those of `Attempts`.

    ``clock`` is the time of day, which may be set: see `InitialLogin.failed`.
    """

    def __init__(
        self,
        config: LoginConfig,
        portal: Portal,
        settings: InitialLoginSettings,
        on_attempt: Callable[[LoginAttempt], None] | None,
        *,
        allowed_redirections: Sequence[str] | None = None,
        clock: Callable[[], float] | None = None,
        **options: Any,
    ) -> None:
        self.redirections = Redirections(portal, allowed_redirections)
        self.one = Attempts(config, self.redirections, settings.login_timeout, on_attempt, **options)
        self._time = self.one.time
        self._policy = InitialLogin(settings, self._time())
        self._clock = clock or self._time
        self._ahead = self._clock() - self._time()
        self.attempts: list[LoginAttempt] = []

    async def run(self) -> tuple[InitiatorProtocol, Portal]:
        """Try until one attempt works; where it ended comes back too.

        Raises:
            InitialLoginFailed: none did until the time was over.
            LoginFailed: the target refuses for good.
        """
        while True:
            try:
                protocol = await self.one.attempt()
            except LoginRedirected as redirection:
                self._note(str(redirection))
                await self._follow(redirection)
            except LoginFailed as error:
                self._note(str(error))
                raise
            except AttemptFailed as failure:
                await self._failed(failure)
            else:
                self._note()
                return protocol, self.redirections.here

    async def _failed(self, failure: AttemptFailed) -> None:
        if failure.lost:
            # iscsid does not look at a connection that is lost, or brings nonsense, during a first login:
            # only its timer ends the attempt
            await asyncio.sleep(self.one.ends - self._time())
        self._note(str(failure))
        await self._before_the_next(failure.code, failure)

    async def _follow(self, redirection: LoginRedirected) -> None:
        """Go where the target sends us, at once; the attempt after a failure begins at home again."""
        try:
            self.redirections.follow(redirection)
        except ConnectionFailed as error:
            await self._before_the_next(IscsiadmExitCode.LOGIN, error)

    async def _before_the_next(self, code: IscsiadmExitCode | None, failure: Exception) -> None:
        """Wait until the next attempt is due. Raises `InitialLoginFailed` when there is none."""
        policy, now = self._policy, self._time()
        if not policy.settings.initial_login_retry_max:  # nobody asked for patience: iscsid would wait first
            raise self._given_up(code or IscsiadmExitCode.TRANS_TIMEOUT, failure) from None
        self.redirections.go_home()
        step = policy.not_connected(now) if code is None else policy.failed(code, now, self._skew_s)
        while isinstance(step, Again) and not step.connect:
            await asyncio.sleep(step.at - self._time())
            step = policy.waited(self._time(), self._skew_s)
        if isinstance(step, IscsiadmExitCode):
            raise self._given_up(step, failure) from None

    @property
    def _skew_s(self) -> float:
        """By how much the time of day has been set forward since the first attempt."""
        return self._clock() - self._time() - self._ahead

    def _given_up(self, code: IscsiadmExitCode, failure: Exception) -> InitialLoginFailed:
        first = self.attempts[0]
        passed, count = self._time() - first.began, len(self.attempts)
        if not self._policy.settings.initial_login_retry_max:
            return InitialLoginFailed(str(failure), code, self.attempts)
        return InitialLoginFailed(
            f"{self.one.config.target_name} at {first.portal}: ({code} - {code.words}) after {passed:.0f} s"
            f" and {count} attempt{'s' * (count > 1)}, the last one: {failure}",
            code,
            self.attempts,
        )

    def _note(self, failure: str = "") -> None:
        if self.one.came_up:
            self._policy.connected()
        self.attempts.append(self.one.note(failure))
