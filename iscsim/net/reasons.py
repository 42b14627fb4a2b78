"""What the system says is wrong, in its own words and no others."""

from __future__ import annotations

import os


def reason_of(error: BaseException) -> str:
    """``Connection refused``, not ``[Errno 111] Connect call failed ('127.0.0.1', 3260)``.

    The resolver has numbers below zero, and words of its own for them.
    """
    number = getattr(error, "errno", None)
    if isinstance(error, OSError) and isinstance(number, int):
        return os.strerror(number) if number > 0 else error.strerror or str(error)
    return str(error) or type(error).__name__
