"""EMC's VPD page C0h, the unit path report: which processor a path leads to, and which one owns the unit.

Its fields are those multipath-tools (checker emc_clariion, prioritizer emc), Linux (scsi_dh_emc) and
sg3_utils (sg_vpd --page=upr) read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from construct import Bytes, Int8ub, Padding

from iscsim.scsi.inquiry import text_field
from iscsim.scsi.layout import Layout, bits, pad_text
from iscsim.scsi.vpd import VPDPage, encode_page, parse_page

__all__ = ["OPEN_INITIATOR", "LUNState", "UnitPathReport"]

REPORT = Layout(
    "lun_state" / Int8ub,
    "default_owner" / Int8ub,
    "management" / bits(no_atf=1, access_logix=1, ip_management=2, _=4),
    "port" / Int8ub,
    "processor" / Int8ub,
    "page_revision" / Int8ub,
    "wwn" / Bytes(16),
    Padding(1),
    "initiator_type" / Int8ub,
    "failover" / bits(_=4, mode=4),
    Padding(1),
    "options" / bits(_1=4, array_serial=1, array_commpath=1, _2=2),
    Padding(13),
    "address" / Bytes(4),
    "operations" / Int8ub,
    "serial_length" / Int8ub,
    "serial" / Bytes(16),
    Padding(62),
)
_ACCESS_LOGIX = REPORT.masks("management")["access_logix"]
OPEN_INITIATOR = 0x03
"""The initiator type that hosts with failover software have."""
_OPTIONS = REPORT.masks("options")
_FAILOVER_MODES = (0x04, 0x06)


class LUNState(IntEnum):
    """Of a unit, on this path."""

    UNBOUND = 0
    BOUND = 1
    OWNED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPathReport:
    """One path to a unit; processors count from 0 (A). ``wwn`` has 32 digits, all 0 for LUNZ.

    ``failover_mode`` is the code in the page: 4 for mode 1 (active/passive), 6 for mode 4 (ALUA).
    ``array_commpath`` says that LUNZ is shown, ``busy`` that commands are refused for the moment.
    """

    lun_state: int = LUNState.UNBOUND
    default_owner: int = 0
    processor: int = 0
    port: int = 0
    wwn: str = "0" * 32
    failover_mode: int = 4
    array_commpath: bool = True
    busy: bool = False
    serial: str = ""
    initiator_type: int = OPEN_INITIATOR

    def encode(self, peripheral: int = 0) -> bytes:
        """128 bytes."""
        body = REPORT.build(
            lun_state=self.lun_state,
            default_owner=self.default_owner,
            management=_ACCESS_LOGIX,
            port=self.port,
            processor=self.processor,
            wwn=bytes.fromhex(self.wwn),
            initiator_type=self.initiator_type,
            failover=self.failover_mode,
            options=_OPTIONS["array_serial"] | (_OPTIONS["array_commpath"] if self.array_commpath else 0),
            address=bytes(4),
            operations=int(self.busy),
            serial_length=min(len(self.serial), 16),
            serial=pad_text(self.serial, 16),
        )
        return encode_page(VPDPage.UNIT_PATH_REPORT, body, peripheral)

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview) -> Self:
        """Fields a short page does not have are 0. Raises `ValueError` for another page or revision."""
        body = parse_page(data, VPDPage.UNIT_PATH_REPORT)
        fields = REPORT.parse(body.ljust(REPORT.size, b"\0"))
        if fields["page_revision"]:
            raise ValueError(f"unit path report of revision {fields['page_revision']}, expected 0")
        return cls(
            lun_state=fields["lun_state"],
            default_owner=fields["default_owner"],
            processor=fields["processor"],
            port=fields["port"],
            wwn=fields["wwn"].hex(),
            failover_mode=fields["failover"] & 0x0F,
            array_commpath=bool(fields["options"] & _OPTIONS["array_commpath"]),
            busy=bool(fields["operations"]),
            serial=text_field(fields["serial"][: fields["serial_length"]]),
            initiator_type=fields["initiator_type"],
        )

    @property
    def may_fail_over(self) -> bool:
        """Whether the array lets this host fail over as Linux does: by initiator type, mode and option."""
        modes = self.failover_mode & 0x07 in _FAILOVER_MODES
        return self.initiator_type == OPEN_INITIATOR and modes and self.array_commpath
