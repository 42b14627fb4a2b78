"""Logging in as often and for as long as open-iscsi does: the asyncio shell of `InitialLogin`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from iscsim.errors import ConnectionFailed, ISCSIError, LoginFailed
from iscsim.initiator.client import MAX_REDIRECTIONS, InitiatorProtocol
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
from iscsim.initiator.portal import Portal, parse_redirect
from iscsim.net.reasons import reason_of
from iscsim.session.login import LoginConfig, LoginRedirected

if TYPE_CHECKING:
    from iscsim.net.network import Network, Recorder

__all__ = ["LoginAttempts"]

logger = logging.getLogger("iscsim.initiator")


class _Failed(Exception):
    """An attempt that came to nothing, and how iscsiadm would call that; None for no connection at all."""

    def __init__(self, message: str, code: IscsiadmExitCode | None = None) -> None:
        super().__init__(message)
        self.code = code


class LoginAttempts:
    """The attempts to log in for one session. ``core``, what is left, goes to each `InitiatorConnection`.

    ``clock`` is the time of day, which may be set: see `InitialLogin.failed`.
    """

    def __init__(
        self,
        config: LoginConfig,
        portal: Portal,
        settings: InitialLoginSettings,
        on_attempt: Callable[[LoginAttempt], None] | None,
        *,
        network: Network,
        recorder: Recorder | None,
        timeouts: Timeouts,
        clock: Callable[[], float] | None = None,
        **core: Any,
    ) -> None:
        self._config = config
        self._home = self._portal = portal  # where redirections begin, and where the next attempt goes
        self._redirections = 0
        self._network = network
        self._recorder = recorder
        self._core = core | {"timeouts": replace(timeouts, login_s=0)}  # ours is for connecting, too
        self._on_attempt = on_attempt
        self._time = asyncio.get_running_loop().time
        self._policy = InitialLogin(settings, self._time())
        self._clock = clock or self._time
        self._ahead = self._clock() - self._time()
        self._came_up = False
        self.attempts: list[LoginAttempt] = []

    async def run(self) -> tuple[InitiatorProtocol, Portal]:
        """Try until one attempt works; where it ended comes back too.

        Raises:
            InitialLoginFailed: none did until the time was over.
            LoginFailed: the target refuses for good.
        """
        while True:
            began, portal, self._came_up = self._time(), self._portal, False
            try:
                protocol = await self._attempt()
            except LoginRedirected as redirection:
                self._note(portal, began, str(redirection))
                await self._follow(redirection)
            except LoginFailed as error:
                self._note(portal, began, str(error))
                raise
            except _Failed as failure:
                self._note(portal, began, str(failure))
                await self._before_the_next(failure.code, failure)
            else:
                self._note(portal, began)
                return protocol, portal

    async def _attempt(self) -> InitiatorProtocol:
        """One attempt. Raises `_Failed`, `LoginRedirected`, `LoginFailed`."""
        portal, now = self._portal, self._time()
        label = f"{self._config.target_name} at {portal}"
        core = InitiatorConnection(self._config, now=now, label=label, **self._core)
        protocol = InitiatorProtocol(core, self._recorder)
        ends = self._policy.attempt_ends(now)
        await self._connect(protocol, ends)
        self._came_up = True
        self._policy.connected()
        await self._log_in(protocol, ends)
        return protocol

    async def _connect(self, protocol: InitiatorProtocol, ends: float) -> None:
        portal = self._portal
        limit = asyncio.timeout_at(ends)
        try:
            async with limit:
                await self._network.connect(portal.address, portal.port, lambda: protocol)
        except OSError as error:  # a TimeoutError is one too
            if limit.expired():
                text = f"no answer from {portal} in {self._policy.settings.login_timeout:g} s"
                raise _Failed(text, IscsiadmExitCode.TRANS_TIMEOUT) from None
            raise _Failed(f"cannot connect to {portal}: {reason_of(error)}") from None

    async def _log_in(self, protocol: InitiatorProtocol, ends: float) -> None:
        try:
            async with asyncio.timeout_at(ends):
                await protocol.ready
        except TimeoutError:
            protocol.close()
            text = f"{self._portal} has not answered the login"
            raise _Failed(text, IscsiadmExitCode.PDU_TIMEOUT) from None
        except LoginFailed as error:
            await self._refused(protocol, error)
        except ISCSIError as error:
            if protocol.core.negotiation_error is not None:
                raise _Failed(str(error), IscsiadmExitCode.FATAL_LOGIN) from None
            # iscsid does not look at a connection that is lost, or brings nonsense, during a login: only its
            # timer ends the attempt
            await asyncio.sleep(ends - self._time())
            raise _Failed(str(error), IscsiadmExitCode.PDU_TIMEOUT) from None
        except BaseException:
            protocol.close()
            raise

    async def _refused(self, protocol: InitiatorProtocol, error: LoginFailed) -> None:
        """The target has answered with a status."""
        if isinstance(error, LoginRedirected):
            raise error
        if exit_code_of(error) not in FATAL:
            raise _Failed(str(error), exit_code_of(error)) from None
        error.args = (f"{protocol.core.label}: {error}",)
        await protocol.closed
        raise error

    async def _follow(self, redirection: LoginRedirected) -> None:
        """Go where the target sends us, at once; the attempt after a failure begins at home again."""
        self._redirections += 1
        try:
            if self._redirections > MAX_REDIRECTIONS:
                raise ConnectionFailed(f"more than {MAX_REDIRECTIONS} redirections")
            self._portal = parse_redirect(redirection.address, self._portal)
        except ConnectionFailed as error:
            await self._before_the_next(IscsiadmExitCode.LOGIN, error)
        else:
            if redirection.permanent:
                self._home = self._portal

    async def _before_the_next(self, code: IscsiadmExitCode | None, failure: Exception) -> None:
        """Wait until the next attempt is due. Raises `InitialLoginFailed` when there is none."""
        self._portal, self._redirections = self._home, 0
        policy, now = self._policy, self._time()
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
        return InitialLoginFailed(
            f"{self._config.target_name} at {first.portal}: ({code} - {code.words}) after {passed:.0f} s and"
            f" {count} attempt{'s' * (count > 1)}, the last one: {failure}",
            code,
            self.attempts,
        )

    def _note(self, portal: Portal, began: float, failure: str = "") -> None:
        attempt = LoginAttempt(portal, began, self._time(), failure, self._came_up)
        self.attempts.append(attempt)
        logger.debug("%s: login attempt %d: %s", portal, len(self.attempts), failure or "it works")
        if self._on_attempt is not None:
            self._on_attempt(attempt)
