"""Logging in again, as often and for as long as iscsid does: the asyncio shell of `Reopening`."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from iscsim.errors import ISCSIError, LoginFailed
from iscsim.initiator.login_attempts import AttemptFailed, Attempts
from iscsim.initiator.portal import Portal
from iscsim.initiator.reopening import Reopen, Reopening
from iscsim.initiator.settings import NodeSettings
from iscsim.session.login import LoginRedirected

if TYPE_CHECKING:
    from iscsim.initiator.client import InitiatorProtocol

__all__ = ["GivenUp", "Relogin"]

logger = logging.getLogger("iscsim.initiator")


class GivenUp(Exception):
    """``reopen_max`` logins in a row have failed."""


class Relogin:
    """The later logins of one session, whose first one ``attempts`` has made."""

    def __init__(self, attempts: Attempts, settings: NodeSettings) -> None:
        self._attempts = attempts
        self._time = attempts.time
        self._policy = Reopening(settings.default_time2wait, settings.reopen_max)
        self._policy.began(self._time())

    async def run(self, time2wait: float) -> tuple[InitiatorProtocol, Portal]:
        """The session is lost: try until one login works; where it ended comes back too.

        ``time2wait`` (seconds) is what that session says. Raises `GivenUp`.
        """
        step = self._policy.lost(self._time(), time2wait)
        while True:
            self._attempts.redirections.go_home()
            await asyncio.sleep(step.at - self._time())
            if step.give_up:
                raise GivenUp(f"given up after {self._policy.attempts} logins")
            self._policy.began(self._time())
            try:
                return await self._attempt(), self._attempts.redirections.here
            except ISCSIError as failure:
                step = self._next_step(failure)

    async def _attempt(self) -> InitiatorProtocol:
        """One login, with the redirections it meets."""
        attempts = self._attempts
        while True:
            try:
                protocol = await attempts.attempt()
            except LoginRedirected as redirection:
                attempts.note(str(redirection))
                attempts.redirections.follow(redirection)
            except (AttemptFailed, LoginFailed) as failure:
                attempts.note(str(failure))
                raise
            else:
                return self._noted(protocol)
            finally:
                if attempts.came_up:
                    self._policy.connected()

    def _noted(self, protocol: InitiatorProtocol) -> InitiatorProtocol:
        try:
            self._attempts.note()
        except BaseException:
            protocol.close()
            raise
        return protocol

    def _next_step(self, failure: ISCSIError) -> Reopen:
        logger.info(
            "%s: login %d failed: %s", self._attempts.redirections.home, self._policy.attempts, failure
        )
        if isinstance(failure, AttemptFailed) and failure.code is None:
            return self._policy.not_connected(self._time())
        return self._policy.failed(self._time())
