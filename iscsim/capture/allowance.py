"""How much a capture may record whole: a disk takes less than a target can send."""

from __future__ import annotations


class Allowance:
    """A bucket that holds ``burst`` bytes, full at first, into which ``rate`` bytes flow every second."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, burst
        self._left: float = burst
        self._at: float | None = None

    def take(self, length: int, now: float) -> bool:
        """Take ``length`` bytes out; false, and none, if there are not as many. ``now`` is in seconds."""
        if self._at is not None:
            self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if length > self._left:
            return False
        self._left -= length
        return True
