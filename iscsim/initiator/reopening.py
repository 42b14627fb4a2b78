"""When iscsid logs in again after a session was lost, as a policy without a clock.

It waits Time2Wait once after every connection that came up, 3 s after one that did not (refused, no way to
the portal), and not at all after one that timed out. It never gives up unless ``node.session.reopen_max``
says so: whether the target refuses for now or for good makes no difference to one that was there.
"""

from __future__ import annotations

from dataclasses import dataclass

from iscsim.initiator.initial_login import REOPEN_DELAY_S

__all__ = ["Reopen", "Reopening"]

MIN_INTERVAL_S = 1.0
"""Attempts are no closer together, whatever Time2Wait says: a target that takes logins and drops them at once
must not keep us busy. Iscsid would go on at once; with its default of 2 s for Time2Wait that never shows."""


@dataclass(frozen=True, slots=True)
class Reopen:
    """Go on ``at`` this time: with an attempt, or by giving up."""

    at: float
    give_up: bool = False


class Reopening:
    """The state machine: told what happens, it says what is next. ``now`` is in seconds.

    ``default_time2wait`` is what we ask for, ``reopen_max`` how many failed attempts in a row may be followed
    by another one, 0 for any number.
    """

    def __init__(self, default_time2wait: float, reopen_max: int) -> None:
        self._default = default_time2wait
        self._reopen_max = reopen_max
        self._time2wait = default_time2wait
        self._not_before = float("-inf")
        self.attempts = 0
        """Since the session was lost."""

    def began(self, now: float) -> None:
        """The session was logged in, or an attempt to do so begins."""
        self.attempts += 1
        self._not_before = now + MIN_INTERVAL_S

    def lost(self, now: float, time2wait: float) -> Reopen:
        """The session is lost; ``time2wait`` is what the login agreed on, or the target asked for since."""
        self.attempts, self._time2wait = 0, time2wait
        return self._after_time2wait(now)

    def connected(self) -> None:
        """TCP came up. If the login fails now, Time2Wait is waited again."""
        self._time2wait = self._default

    def not_connected(self, now: float) -> Reopen:
        """The connection was refused, or there is no way to the portal; iscsid counts after its wait."""
        return Reopen(now + REOPEN_DELAY_S, self._is_enough)

    def failed(self, now: float) -> Reopen:
        """An attempt timed out, or the login was lost or refused."""
        return Reopen(now, give_up=True) if self._is_enough else self._after_time2wait(now)

    @property
    def _is_enough(self) -> bool:
        return 0 < self._reopen_max < self.attempts

    def _after_time2wait(self, now: float) -> Reopen:
        wait, self._time2wait = self._time2wait, 0
        return Reopen(max(now + wait, self._not_before))
