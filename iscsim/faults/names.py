"""Wrong names in one line, with the right one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from iscsim.errors import ConfigError

__all__ = ["checked_name"]


def checked_name(what: str, name: str, known: Iterable[str]) -> str:
    """``name``, when it is ``known``. Raises `ConfigError` that names the nearest one, or all if few."""
    names = list(known)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
    raise ConfigError(f"unknown {what} {name!r} ({hint})")
