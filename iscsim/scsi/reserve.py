"""RESERVE and RELEASE, 6 and 10 (SPC-2): one nexus has the whole unit for itself.

Extents and third parties, obsolete since SPC-2, are refused.
"""

from __future__ import annotations

from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.command import Command, invalid_field
from iscsim.scsi.completion import Completion
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.reservations import ReservationRule
from iscsim.scsi.store import Buffer

__all__ = ["COMMANDS"]

_OBSOLETE = ((0x10, 4), (0x02, 1), (0x01, 0))  # 3RDPTY, LONGID (part of the third party's name), EXTENT


def reserve(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SPC-2, RESERVE: again is no error; conflicts with another's RESERVE and with every registration."""
    _check_obsolete(cdb)
    mapped.logical_unit.reservations.reserve(nexus)
    return Completion()


def release(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SPC-2, RELEASE: GOOD without effect for a nexus that has reserved nothing."""
    _check_obsolete(cdb)
    mapped.logical_unit.reservations.release(nexus)
    return Completion()


def _check_obsolete(cdb: bytes) -> None:
    for mask, bit in _OBSOLETE:
        if cdb[1] & mask:
            raise invalid_field(1, bit)


# Neither looks at a persistent reservation's type: where there is one there is a registration.
_ANY = ReservationRule.UNDER_PERSISTENT

COMMANDS: dict[int, Command] = {
    Opcode.RESERVE_6: Command(reserve, layouts.RESERVE_6, reservation=_ANY),
    Opcode.RESERVE_10: Command(reserve, layouts.RESERVE_10, reservation=_ANY),
    Opcode.RELEASE_6: Command(release, layouts.RESERVE_6, reservation=ReservationRule.ALWAYS),
    Opcode.RELEASE_10: Command(release, layouts.RESERVE_10, reservation=ReservationRule.ALWAYS),
}
