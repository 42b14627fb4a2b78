"""A wrong name answered with the right one."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["hint"]

_MOST_LISTED = 12
_MOST_COMPARED = 200
"""To compare with more names takes longer than an answer may."""
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
"""Names that people take for one another."""


def hint(name: str, known: Iterable[str]) -> str:
    """``did you mean 'net.refuse'?``, or what there is, when nothing is near."""
    names = list(known)
    if len(names) > _MOST_COMPARED:
        return f"there are {len(names)} others"
    from difflib import get_close_matches  # it takes some milliseconds to import, and is seldom needed

    wanted = name[:_LONGEST].lower()
    by_lower = {each.lower(): each for each in reversed(names)}
    for group in _SAME_THINGS:
        if wanted in group and (found := next((by_lower[each] for each in group if each in by_lower), None)):
            return f"did you mean {found!r}?"
    cutoff = 0.4 if len(names) <= _MOST_LISTED else 0.0
    near = get_close_matches(wanted, by_lower, n=1, cutoff=cutoff)
    return f"did you mean {by_lower[near[0]]!r}?" if near else f"known: {', '.join(names) or 'none'}"
