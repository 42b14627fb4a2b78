"""Wrong names in one line, with the right one."""

from __future__ import annotations

from collections.abc import Iterable

from iscsim.errors import ConfigError
from iscsim.hints import hint

__all__ = ["checked_name", "hint"]

_LONGEST = 100


def checked_name(what: str, name: str, known: Iterable[str]) -> str:
    """``name``, when it is ``known``. Raises `ConfigError` that names the nearest one, or all if few."""
    names = list(known)
    if isinstance(name, str) and name in names:
        return name
    raise ConfigError(f"unknown {what} {str(name)[:_LONGEST]!r} ({hint(str(name), names)})")
