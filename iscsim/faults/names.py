"""Wrong names in one line, with the right one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from iscsim.errors import ConfigError

__all__ = ["checked_name", "hint"]

_MOST_LISTED = 12
_LONGEST = 100
_SAME_THINGS = (
    (
        "delay",
        "seconds",
        "s",
        "time",
        "duration",
        "gap",
        "wait",
        "after",
        "late",
        "transition_time",
        "period",
    ),
    ("n", "count", "number", "times"),
    ("bytes", "data", "length", "len", "size"),
    ("op", "operation", "opcode"),
    ("rate", "bandwidth", "bytes_per_second"),
    ("p", "probability"),
    ("dir", "direction"),
    ("wwn", "wwid"),
    ("portal", "address", "ip"),
)
"""Parameters of several faults that people take for one another."""


def checked_name(what: str, name: str, known: Iterable[str]) -> str:
    """``name``, when it is ``known``. Raises `ConfigError` that names the nearest one, or all if few."""
    names = list(known)
    if isinstance(name, str) and name in names:
        return name
    raise ConfigError(f"unknown {what} {str(name)[:_LONGEST]!r} ({hint(str(name), names)})")


def hint(name: str, known: Iterable[str]) -> str:
    """``did you mean 'net.refuse'?``, or what there is, when nothing is near."""
    names = list(known)
    wanted = name[:_LONGEST].lower()
    by_lower = {each.lower(): each for each in reversed(names)}
    for group in _SAME_THINGS:
        if wanted in group and (found := next((by_lower[each] for each in group if each in by_lower), None)):
            return f"did you mean {found!r}?"
    cutoff = 0.4 if len(names) <= _MOST_LISTED else 0.0
    near = difflib.get_close_matches(wanted, by_lower, n=1, cutoff=cutoff)
    return f"did you mean {by_lower[near[0]]!r}?" if near else f"known: {', '.join(names) or 'none'}"
