"""Times as people write them."""

from __future__ import annotations

import math
import re

from iscsim.errors import ConfigError

__all__ = ["Seconds", "parse_seconds"]

_SECONDS = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(us|ms|s|m|h)?\Z")
_UNITS = {None: 1.0, "s": 1.0, "us": 1e-6, "ms": 0.001, "m": 60.0, "h": 3600.0}


class Seconds(float):
    """The kind of a `Parameter` that is a time: ``1.5``, ``"250ms"``, ``"70s"``."""


def parse_seconds(text: float | str) -> float:
    """Seconds from a number or ``"70s"``, ``"250ms"``, ``"2m"``. Raises `ConfigError`."""
    if isinstance(text, int | float) and not isinstance(text, bool) and text >= 0 and math.isfinite(text):
        return float(text)
    found = _SECONDS.match(str(text)[:80].strip())
    if found is None:
        raise ConfigError(f"not a time: {str(text)[:60]!r} (expected seconds, or 250ms, 70s, 2m, 1h)")
    return float(found[1]) * _UNITS[found[2]]
