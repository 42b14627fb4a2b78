"""Where the time of an attach went: the attempts to log in, drawn as bars, one line per portal."""

from __future__ import annotations

from collections.abc import Iterable

from iscsim.initiator.initial_login import LoginAttempt
from iscsim.initiator.portal import Portal

__all__ = ["draw_attempts"]

_WORKED, _NO_CONNECTION, _NO_LOGIN = "#", "x", "-"
LEGEND = f"| an attempt begins   {_NO_CONNECTION} no connection   {_NO_LOGIN} no login   {_WORKED} logged in"


def draw_attempts(attempts: Iterable[LoginAttempt], *, width: int = 60) -> str:
    """A chart of ``width`` columns from the first attempt to the end of the last::

        10.245.47.95:3260  |xxxxxx|xxxxxx|xxxxxx|xxxxxx  8 attempts in 122.0 s: no answer from ...
        10.245.47.96:3260  #                             logged in after 0.0 s

    Text without attempts is empty.
    """
    lines: dict[Portal, list[LoginAttempt]] = {}
    for attempt in attempts:
        lines.setdefault(attempt.portal, []).append(attempt)
    if not lines:
        return ""
    begin = min(each.began for line in lines.values() for each in line)
    end = max(each.ended for line in lines.values() for each in line)
    scale = width / (end - begin) if end > begin else 0.0
    names = max(len(str(portal)) for portal in lines)
    rows = [
        f"{portal!s:{names}}  {_bar(line, begin, scale, width)}  {_outcome(line, begin)}".rstrip()
        for portal, line in lines.items()
    ]
    ruler = f"{'':{names}}  0 s{f'{end - begin:.0f} s':>{width - 3}}"
    return "\n".join([ruler, *rows, f"{'':{names}}  {LEGEND}"])


def _bar(attempts: list[LoginAttempt], begin: float, scale: float, width: int) -> str:
    columns = [" "] * width
    for attempt in attempts:
        first = min(int((attempt.began - begin) * scale), width - 1)
        last = min(int((attempt.ended - begin) * scale), width)
        sign = _sign(attempt)
        for column in range(first, max(last, first + 1)):
            columns[column] = sign
        if last > first + 1:
            columns[first] = "|"
    return "".join(columns)


def _sign(attempt: LoginAttempt) -> str:
    if not attempt.failure:
        return _WORKED
    return _NO_LOGIN if attempt.came_up else _NO_CONNECTION


def _outcome(attempts: list[LoginAttempt], begin: float) -> str:
    last = attempts[-1]
    passed, count = last.ended - begin, len(attempts)
    tries = "" if count == 1 else f" and {count} attempts"
    if not last.failure:
        return f"logged in after {passed:.1f} s{tries}"
    return f"{passed:.1f} s{tries}: {last.failure}"
