"""READ DEFECT DATA (SBC-4): the lists are there, and empty."""

from __future__ import annotations

from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.asc import ASC
from iscsim.scsi.command import Command, CommandFlag
from iscsim.scsi.completion import Completion
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.reservations import ReservationRule
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.store import Buffer

__all__ = ["COMMANDS"]

_REQUEST = layouts.READ_DEFECT_DATA_12.masks("request")
_LISTS = _REQUEST["plist"] | _REQUEST["glist"]
_DEFAULT_FORMAT, _LAST_FORMAT = 0b000, 0b101  # short blocks to physical sectors


def read_defect_data_10(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-4, READ DEFECT DATA (10): a header of 4 bytes."""
    _, request, allocation_length = layouts.READ_DEFECT_DATA_10.struct.unpack_from(cdb)
    header = layouts.DEFECT_DATA_10.build(lists=_lists(request))
    return _answer(mapped, request, header[:allocation_length])


def read_defect_data_12(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-4, READ DEFECT DATA (12): a header of 8 bytes; whatever the index, there is nothing behind it."""
    _, request, _, allocation_length = layouts.READ_DEFECT_DATA_12.struct.unpack_from(cdb)
    header = layouts.DEFECT_DATA_12.build(lists=_lists(request))
    return _answer(mapped, request, header[:allocation_length])


def _lists(request: int) -> int:
    """Which lists are in it, and in which format: the one asked for if there is such a thing."""
    return request & _LISTS | (request & _REQUEST["format"] if _is_known(request) else _DEFAULT_FORMAT)


def _is_known(request: int) -> bool:
    return request & _REQUEST["format"] <= _LAST_FORMAT


def _answer(mapped: MappedLUN, request: int, data: bytes) -> Completion:
    """Data in another format than was asked for comes with 01/1C/00."""
    if _is_known(request):
        return Completion(Status.GOOD, data)
    sense = Sense.of(SenseKey.RECOVERED_ERROR, ASC.DEFECT_LIST_NOT_FOUND)
    return Completion(Status.CHECK_CONDITION, data, sense.encode(mapped.logical_unit.d_sense))


_MEDIUM = CommandFlag.NEEDS_MEDIUM
_READS = ReservationRule.UNDER_WRITE_EXCLUSIVE

COMMANDS: dict[int, Command] = {
    Opcode.READ_DEFECT_DATA_10: Command(
        read_defect_data_10, layouts.READ_DEFECT_DATA_10, _MEDIUM, reservation=_READS
    ),
    Opcode.READ_DEFECT_DATA_12: Command(
        read_defect_data_12, layouts.READ_DEFECT_DATA_12, _MEDIUM, reservation=_READS
    ),
}
