"""The soft threshold of a thin unit (SBC-3, "Logical block provisioning thresholds")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iscsim.scsi.unit_attention import UnitAttention

if TYPE_CHECKING:
    from iscsim.scsi.logical_unit import LogicalUnit

__all__ = ["SoftThreshold", "threshold_exponent"]

SET_LENGTH = 1 << 20  # a threshold counts mebibytes


def threshold_exponent(unit: LogicalUnit) -> int:
    """For VPD page B2h: a threshold set is 2 to the power of this many blocks; 0 without thresholds."""
    return (SET_LENGTH // unit.block_size).bit_length() - 1 if unit.thin else 0


class SoftThreshold:
    """Has every nexus hear 38/07 when the unit comes to use ``count`` threshold sets, and again only after
    it has used fewer.
    """

    __slots__ = ("_reached", "count")

    def __init__(self, count: int) -> None:
        self.count = count
        self._reached = False

    def check(self, unit: LogicalUnit) -> None:
        """Look at what the store of ``unit`` has allocated, after it may have changed."""
        reached = unit.store.allocated_size >= self.count * SET_LENGTH
        if reached and not self._reached:
            unit.establish(UnitAttention.SOFT_THRESHOLD_REACHED)
        self._reached = reached
