"""Wrong names in one line, with the right one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from iscsim.errors import ConfigError

__all__ = ["checked_name", "hint"]

_MOST_LISTED = 12
_LONGEST = 100


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
    cutoff = 0.4 if len(names) <= _MOST_LISTED else 0.0
    near = difflib.get_close_matches(wanted, by_lower, n=1, cutoff=cutoff)
    return f"did you mean {by_lower[near[0]]!r}?" if near else f"known: {', '.join(names) or 'none'}"
