"""A wrong name answered with the right one."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["hint"]

_MOST_LISTED = 12
_MOST_COMPARED = 200
"""To compare with more names takes longer than an answer may."""
_LONGEST = 100


def hint(name: str, known: Iterable[str]) -> str:
    """``did you mean 'net.refuse'?``, or what there is, when nothing is near."""
    names = list(known)
    if len(names) > _MOST_COMPARED:
        return f"there are {len(names)} others"
    from difflib import get_close_matches  # it takes some milliseconds to import, and is seldom needed

    wanted = name[:_LONGEST].lower()
    by_lower = {each.lower(): each for each in reversed(names)}
    cutoff = 0.4 if len(names) <= _MOST_LISTED else 0.0
    near = get_close_matches(wanted, by_lower, n=1, cutoff=cutoff)
    return f"did you mean {by_lower[near[0]]!r}?" if near else f"known: {', '.join(names) or 'none'}"
