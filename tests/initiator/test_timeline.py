"""Attempts to log in, drawn."""

from __future__ import annotations

from iscsim.initiator.initial_login import LoginAttempt
from iscsim.initiator.portal import Portal
from iscsim.initiator.timeline import draw_attempts

DEAD, SILENT, GOOD = (Portal(f"10.245.47.{number}") for number in (95, 94, 96))


def test_every_portal_is_a_line_and_every_attempt_a_bar() -> None:
    drawn = draw_attempts(
        [
            LoginAttempt(GOOD, 100, 100, "", True),
            LoginAttempt(DEAD, 100, 110, "no answer"),
            LoginAttempt(DEAD, 112, 120, "no answer at all"),
        ],
        width=20,
    )
    assert drawn.splitlines() == [
        "                   0 s             20 s",
        "10.245.47.96:3260  #                     logged in after 0.0 s",
        "10.245.47.95:3260  |xxxxxxxxx  |xxxxxxx  20.0 s and 2 attempts: no answer at all",
        "                   | an attempt begins   x no connection   - no login   # logged in",
    ]


def test_portal_that_was_reached_looks_different_from_one_that_was_not() -> None:
    drawn = draw_attempts([LoginAttempt(SILENT, 0, 15, "silence", True)], width=10)
    assert "|---------  15.0 s: silence" in drawn


def test_login_that_works_at_last_says_after_how_long() -> None:
    attempts = [LoginAttempt(DEAD, 0, 15, "no answer"), LoginAttempt(DEAD, 17, 20, "", True)]
    assert "logged in after 20.0 s and 2 attempts" in draw_attempts(attempts)


def test_instant_attempts_are_seen_too() -> None:
    assert "\n10.245.47.96:3260  #    logged in" in draw_attempts([LoginAttempt(GOOD, 5, 5)], width=3)


def test_without_attempts_there_is_nothing_to_see() -> None:
    assert draw_attempts([]) == ""
