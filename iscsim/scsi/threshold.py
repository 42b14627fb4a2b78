"""The soft threshold of a thin unit (SBC-3, "Logical block provisioning thresholds")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iscsim.scsi.store import MeasuredStore
from iscsim.scsi.unit_attention import UnitAttention

if TYPE_CHECKING:
    from iscsim.scsi.logical_unit import LogicalUnit

__all__ = ["SoftThreshold", "measures", "threshold_exponent"]

SET_LENGTH = 1 << 20  # a threshold counts mebibytes


def measures(unit: LogicalUnit) -> bool:
    """Is there a threshold to be set: on a thin unit, whose store knows how much it has allocated."""
    return unit.thin and isinstance(unit.store, MeasuredStore)


def threshold_exponent(unit: LogicalUnit) -> int:
    """For VPD page B2h: a threshold set is 2 to the power of this many blocks; 0 without thresholds."""
    return (SET_LENGTH // unit.block_size).bit_length() - 1 if measures(unit) else 0


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
        store = unit.store
        used = store.allocated_size if isinstance(store, MeasuredStore) else 0
        reached = used >= self.count * SET_LENGTH
        if reached and not self._reached:
            unit.establish(UnitAttention.SOFT_THRESHOLD_REACHED)
        self._reached = reached
