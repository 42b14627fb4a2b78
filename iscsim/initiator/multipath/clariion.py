"""VPD page C0h of Dell EMC CLARiiON and VNX: who owns a LUN, and whether its paths may fail over."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Self

__all__ = ["FAILOVER_MODES", "UNIT_REPORT_PAGE", "LUNState", "UnitReport"]

UNIT_REPORT_PAGE = 0xC0
REPORT_LENGTH = 128
_LEAST = 49
_ARRAY_COMM_PATH = 0x04
_INITIATOR_TYPE = 0x03
FAILOVER_MODES = {4: "passive not ready (mode 1)", 6: "ALUA (mode 4)"}
"""What the low three bits of byte 28 may be for Linux: how the array lets a host fail over."""


class LUNState(IntEnum):
    """What the service processor behind this path has to do with the LUN."""

    UNBOUND = 0
    BOUND = 1
    OWNED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitReport:
    """What the page says of the unit and of the path it came through.

    Service processors are numbers: 0 is SP A, 1 is SP B. ``lun_state`` is a `LUNState`, or a number that is
    none. ``is_normal`` is False while the array's software is being upgraded.
    """

    lun_state: int
    default_owner: int
    port: int
    service_processor: int
    wwn: bytes
    initiator_type: int
    failover_mode: int
    array_comm_path: bool
    is_normal: bool

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview) -> Self:
        """Raises `ValueError` for another page or revision, and for one that is cut."""
        data = bytes(data)
        if len(data) < _LEAST or data[1] != UNIT_REPORT_PAGE or data[9] != 0:
            raise ValueError(f"no unit report page: {data[:10].hex()}, {len(data)} bytes")
        return cls(
            lun_state=data[4],
            default_owner=data[5],
            port=data[7],
            service_processor=data[8],
            wwn=data[10:26],
            initiator_type=data[27],
            failover_mode=data[28] & 0x07,
            array_comm_path=bool(data[30] & _ARRAY_COMM_PATH),
            is_normal=data[48] == 0,
        )

    @property
    def may_fail_over(self) -> bool:
        """Whether the array treats this host as one that fails over: initiator type, mode, ArrayCommPath."""
        return (
            self.initiator_type == _INITIATOR_TYPE
            and self.failover_mode in FAILOVER_MODES
            and self.array_comm_path
        )
