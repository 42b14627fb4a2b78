"""How long open-iscsi tries to log in for the first time, as a policy without a clock.

Two settings make the famous two minutes: ``node.conn[0].timeo.login_timeout`` (15 s) for each attempt, and
times ``node.session.initial_login_retry_max`` (8) for all of them. The second is no number of attempts: a
portal that refuses at once is asked every three seconds until the same 120 s have passed. The rules here
reproduce what was recorded of open-iscsi 2.1.8 (``tests/golden/open-iscsi-2.1.8-login-timeouts.log``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from iscsim.errors import ConfigError, ConnectionFailed, LoginFailed
from iscsim.initiator.exit_codes import IscsiadmExitCode
from iscsim.initiator.portal import Portal

__all__ = [
    "Again",
    "InitialLogin",
    "InitialLoginFailed",
    "InitialLoginSettings",
    "LoginAttempt",
    "exit_code_of",
]

REOPEN_DELAY_S = 3
"""How long iscsid waits when a connection could not be made at all."""
FATAL = {IscsiadmExitCode.FATAL_LOGIN, IscsiadmExitCode.LOGIN_AUTH_FAILED}
_AUTHENTICATION = {0x0201, 0x0202}
_TARGET_ERROR = 0x03
"""The class of what may be tried again later (RFC 7143 section 11.13.5)."""
_GRAIN_S = 0.001
"""Event loops run timers this much too early at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialLoginSettings:
    """The settings of open-iscsi that decide, with the defaults of its ``iscsid.conf``; times in seconds.

    Raises:
        ConfigError: a time is not positive, or a number negative.
    """

    login_timeout: float = 15
    """``node.conn[0].timeo.login_timeout``: connecting and logging in, one attempt."""
    initial_login_retry_max: int = 8
    """``node.session.initial_login_retry_max``: after so many login timeouts there is no other attempt."""
    default_time2wait: float = 2
    """``node.session.iscsi.DefaultTime2Wait``: waited once after every connection that came up in vain."""

    def __post_init__(self) -> None:
        if not 0 < self.login_timeout < float("inf"):
            raise ConfigError(f"login_timeout must be more than 0 seconds, not {self.login_timeout}")
        for name in ("initial_login_retry_max", "default_time2wait"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must not be negative: {getattr(self, name)}")

    @classmethod
    def from_node_record(cls, record: Mapping[str, Any]) -> Self:
        """From what ``iscsiadm -m node`` shows of a node; what is missing in it is the default.

        Raises:
            ConfigError: a value is no number.
        """
        given = {}
        for name, key in NODE_RECORD_KEYS.items():
            if key in record:
                if not str(record[key]).strip().isdecimal():
                    raise ConfigError(f"{key} must be a number, not {record[key]!r}")
                given[name] = int(record[key])
        return cls(**given)

    @property
    def patience_s(self) -> float:
        """After so many seconds no other attempt is begun."""
        return self.initial_login_retry_max * self.login_timeout


NODE_RECORD_KEYS = {
    "login_timeout": "node.conn[0].timeo.login_timeout",
    "initial_login_retry_max": "node.session.initial_login_retry_max",
    "default_time2wait": "node.session.iscsi.DefaultTime2Wait",
}
"""What each setting is called in a node record."""


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """One attempt that is over: where it went, when (in seconds of the loop's clock), how it ended."""

    portal: Portal
    began: float
    ended: float
    failure: str = ""
    """Empty for the attempt that worked."""
    came_up: bool = False
    """Whether there was a TCP connection."""


class InitialLoginFailed(ConnectionFailed):
    """The time is over. ``exit_code`` is what iscsiadm would exit with, ``attempts`` what was tried."""

    def __init__(self, message: str, exit_code: IscsiadmExitCode, attempts: list[LoginAttempt]) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.attempts = attempts


def exit_code_of(error: BaseException) -> IscsiadmExitCode:
    """What iscsiadm would exit with when a login ends in ``error``."""
    match error:
        case InitialLoginFailed(exit_code=code):
            return code
        case LoginFailed(status_class=kind) if kind == _TARGET_ERROR:
            return IscsiadmExitCode.LOGIN
        case LoginFailed(status=status) if status in _AUTHENTICATION:
            return IscsiadmExitCode.LOGIN_AUTH_FAILED
        case LoginFailed():
            return IscsiadmExitCode.FATAL_LOGIN
        case ConnectionFailed():
            return IscsiadmExitCode.TRANS_TIMEOUT
    return IscsiadmExitCode.UNKNOWN


@dataclass(frozen=True, slots=True)
class Again:
    """Go on ``at`` this time: with an attempt, or, without ``connect``, by :meth:`InitialLogin.waited`."""

    at: float
    connect: bool


class InitialLogin:
    """The state machine: told what came of an attempt, it says what is next. ``now`` is in seconds.

    Its answers are `Again`, or the `IscsiadmExitCode` to give up with.
    """

    def __init__(self, settings: InitialLoginSettings, now: float) -> None:
        self.settings = settings
        self._give_up_at = now + settings.patience_s
        self._time2wait = settings.default_time2wait

    def attempt_ends(self, now: float) -> float:
        """When an attempt that begins now is over, connected or not."""
        return now + self.settings.login_timeout

    def connected(self) -> None:
        """TCP came up. If the login fails now, Time2Wait is waited again."""
        self._time2wait = self.settings.default_time2wait

    def not_connected(self, now: float) -> Again:
        """The connection was refused, or there is no way to the portal."""
        return Again(now + REOPEN_DELAY_S, connect=False)

    def waited(self, now: float, skew_s: float = 0.0) -> Again | IscsiadmExitCode:
        """A wait is over. To iscsid that is a connection that timed out: it uses the same timer."""
        return self.failed(IscsiadmExitCode.TRANS_TIMEOUT, now, skew_s)

    def failed(self, code: IscsiadmExitCode, now: float, skew_s: float = 0.0) -> Again | IscsiadmExitCode:
        """An attempt timed out, or the target refused the login.

        ``skew_s``: by how much the time of day has been set forward since the first attempt. iscsid counts
        its patience by it (``gettimeofday``), and only that: its timers are none of the clock's.
        """
        if code in FATAL or now + skew_s + _GRAIN_S >= self._give_up_at:
            return code
        wait, self._time2wait = self._time2wait, 0
        return Again(now + wait, connect=not wait)
