"""How many commands a SCSI device gets at a time: down when the target is full, up when it is not."""

from __future__ import annotations

__all__ = ["DEFAULT_QUEUE_DEPTH", "QueueDepth"]

DEFAULT_QUEUE_DEPTH = 32
"""``node.session.queue_depth``."""
_JIFFIES_PER_S = 250
_SAME_EVENT = 16
"""Several TASK SET FULL within so many jiffies count once."""
_PATIENCE = 10
"""TASK SET FULL at one depth that change nothing (Linux, ``scsi_track_queue_full``)."""
_NEVER = float("-inf")


class QueueDepth:
    """The queue depth of one device, as Linux's ``scsi_track_queue_full`` and queue ramp-up have it.

    ``depth`` is what holds now, ``maximum`` where it began and may rise to again.
    """

    def __init__(self, maximum: int = DEFAULT_QUEUE_DEPTH, *, ramp_up_period_s: float = 120.0) -> None:
        self.depth = self.maximum = maximum
        self.ramp_up_period_s = ramp_up_period_s
        self._full_at = self._risen_at = _NEVER
        self._full_depth = self._full_count = 0

    def full(self, now: float) -> None:
        """TASK SET FULL came from a device of this target: the eleventh at one depth lowers it by one."""
        if self._full_at != _NEVER and _slice(now) == _slice(self._full_at):
            return
        self._full_at = now
        wanted = self.depth - 1
        if self._full_depth != wanted:
            self._full_depth, self._full_count = wanted, 0
        self._full_count += 1
        if self._full_count > _PATIENCE and wanted > 0:
            self.depth = wanted

    def may_rise(self, now: float) -> bool:
        """Whether a command that ended well raises the depth of all devices of its target."""
        quiet_since = max(self._full_at, self._risen_at)
        return self.depth < self.maximum and now >= quiet_since + self.ramp_up_period_s

    def has_risen(self, now: float) -> None:
        """This device's command raised them."""
        self._risen_at = now

    def rise(self) -> None:
        """One more, up to ``maximum``."""
        self.depth = min(self.depth + 1, self.maximum)


def _slice(now: float) -> int:
    return int(now * _JIFFIES_PER_S) // _SAME_EVENT
