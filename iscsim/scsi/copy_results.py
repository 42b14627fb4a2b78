"""What a copy manager remembers of its copies, and the commands that ask for it (SPC-4, RECEIVE COPY ...)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from construct import Bytes, Int8ub, Int16ub, Int32ub, Padding

from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.command import Command, invalid_field
from iscsim.scsi.completion import Completion
from iscsim.scsi.copy_parameters import (
    MAXIMUM_CSCD_DESCRIPTORS,
    MAXIMUM_DESCRIPTORS_LENGTH,
    MAXIMUM_SEGMENT_DESCRIPTORS,
    MAXIMUM_SEGMENT_LENGTH,
    DescriptorType,
)
from iscsim.scsi.layout import Layout, bits
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import Opcode, ServiceAction
from iscsim.scsi.status import Status
from iscsim.scsi.store import Buffer

__all__ = ["COMMANDS", "CopyResult", "CopyResults"]

COPY_STATUS = Layout(
    "available" / Int32ub,
    "status" / bits(hdd=1, status=7),
    "segments_processed" / Int16ub,
    "transfer_count_units" / Int8ub,
    "transfer_count" / Int32ub,
)
OPERATING_PARAMETERS = Layout(
    "available" / Int32ub,
    "flags" / bits(_=7, snlid=1),
    Padding(3),
    "maximum_cscd_descriptors" / Int16ub,
    "maximum_segment_descriptors" / Int16ub,
    "maximum_descriptors_length" / Int32ub,
    "maximum_segment_length" / Int32ub,
    "maximum_inline_length" / Int32ub,
    "held_data_limit" / Int32ub,
    "maximum_stream_transfer_length" / Int32ub,
    Padding(2),
    "total_concurrent_copies" / Int16ub,
    "maximum_concurrent_copies" / Int8ub,
    "data_segment_granularity" / Int8ub,
    "inline_data_granularity" / Int8ub,
    "held_data_granularity" / Int8ub,
    Padding(3),
    "descriptor_types_length" / Int8ub,
    "descriptor_types" / Bytes(len(DescriptorType)),
)
FAILURE_DETAILS = Layout(
    "available" / Int32ub, Padding(52), "status" / Int8ub, Padding(1), "sense_length" / Int16ub
)
_NO_DETAILS = bytes(4)  # AVAILABLE DATA, alone
_SNLID = OPERATING_PARAMETERS.masks("flags")["snlid"]


class CopyStatus(IntEnum):
    """COPY COMMAND STATUS; none is ever in progress when somebody asks."""

    COMPLETED = 0x01
    FAILED = 0x02


@dataclass(slots=True)
class CopyResult:
    """How one copy ended.

    ``segments`` counts those processed, the failed one among them; ``transferred`` is in bytes. ``details``
    are the sense data of a failure until they have been told, ``status_held`` goes when the status has been.
    """

    segments: int = 0
    transferred: int = 0
    failed: bool = False
    details: bytes = b""
    status_held: bool = True

    def fail(self, sense: bytes) -> None:
        """The copy was aborted with this sense data."""
        self.failed, self.details = True, sense

    @property
    def is_spent(self) -> bool:
        """Nothing is left to tell."""
        return not self.status_held and not self.details


class CopyResults:
    """Of one logical unit, by I_T nexus and LIST IDENTIFIER: 256 a nexus and no more.

    They end with the nexus and with a reset (SPC-4).
    """

    __slots__ = ("_by_nexus",)

    def __init__(self) -> None:
        self._by_nexus: dict[ITNexus, dict[int, CopyResult]] = {}

    def hold(self, nexus: ITNexus, list_identifier: int, result: CopyResult) -> None:
        """Take the place of an older copy with the same identifier."""
        self._by_nexus.setdefault(nexus, {})[list_identifier] = result

    def find(self, nexus: ITNexus, list_identifier: int) -> CopyResult:
        """Raises 05/24/00 for a copy nobody knows (any more)."""
        result = self._by_nexus.get(nexus, {}).get(list_identifier)
        if result is None:
            raise invalid_field(2)
        return result

    def discard(self, nexus: ITNexus, list_identifier: int) -> None:
        """Forget one copy, if it is known."""
        self._by_nexus.get(nexus, {}).pop(list_identifier, None)

    def forget(self, nexus: ITNexus) -> None:
        """The nexus is gone."""
        self._by_nexus.pop(nexus, None)

    def clear(self) -> None:
        """A reset."""
        self._by_nexus.clear()


def _find(nexus: ITNexus, mapped: MappedLUN, cdb: bytes) -> tuple[CopyResults, int, CopyResult, int]:
    """The unit's results, the LIST IDENTIFIER, its result, the allocation length."""
    _, _, list_identifier, allocation_length = layouts.RECEIVE_COPY_RESULTS.struct.unpack_from(cdb)
    results = mapped.logical_unit.copy_results
    return results, list_identifier, results.find(nexus, list_identifier), allocation_length


def receive_copy_status(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SPC-4, RECEIVE COPY STATUS (LID1): told once, then discarded, however much of it was asked for."""
    results, list_identifier, result, allocation_length = _find(nexus, mapped, cdb)
    if not result.status_held:
        raise invalid_field(2)
    data = COPY_STATUS.build(
        available=COPY_STATUS.size - 4,
        status=CopyStatus.FAILED if result.failed else CopyStatus.COMPLETED,
        segments_processed=result.segments,
        transfer_count=result.transferred,
    )
    result.status_held = False
    if result.is_spent:
        results.discard(nexus, list_identifier)
    return Completion(Status.GOOD, data[:allocation_length])


def receive_copy_failure_details(
    nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer
) -> Completion:
    """SPC-4, RECEIVE COPY FAILURE DETAILS (LID1): held until all was told, or nothing was asked for."""
    results, list_identifier, result, allocation_length = _find(nexus, mapped, cdb)
    data = _failure_details(result.details) if result.details else _NO_DETAILS
    if not 0 < allocation_length < len(data):
        result.details = b""
    if result.is_spent:
        results.discard(nexus, list_identifier)
    return Completion(Status.GOOD, data[:allocation_length])


def _failure_details(sense: bytes) -> bytes:
    available = FAILURE_DETAILS.size - 4 + len(sense)
    header = FAILURE_DETAILS.build(
        available=available, status=Status.CHECK_CONDITION, sense_length=len(sense)
    )
    return header + sense


def receive_copy_operating_parameters(
    nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer
) -> Completion:
    """SPC-4, RECEIVE COPY OPERATING PARAMETERS; 0 is no inline and no held data, and a granularity of one
    byte.
    """
    _, _, _, allocation_length = layouts.RECEIVE_COPY_RESULTS.struct.unpack_from(cdb)
    types = bytes(sorted(DescriptorType))
    data = OPERATING_PARAMETERS.build(
        available=OPERATING_PARAMETERS.size - 4,
        flags=_SNLID,
        maximum_cscd_descriptors=MAXIMUM_CSCD_DESCRIPTORS,
        maximum_segment_descriptors=MAXIMUM_SEGMENT_DESCRIPTORS,
        maximum_descriptors_length=MAXIMUM_DESCRIPTORS_LENGTH,
        maximum_segment_length=MAXIMUM_SEGMENT_LENGTH,
        total_concurrent_copies=1,
        maximum_concurrent_copies=1,
        descriptor_types_length=len(types),
        descriptor_types=types,
    )
    return Completion(Status.GOOD, data[:allocation_length])


_LAYOUT = layouts.RECEIVE_COPY_RESULTS

COMMANDS: dict[int, Command] = {
    Opcode.RECEIVE_COPY_RESULTS: Command(
        service_actions={
            ServiceAction.RECEIVE_COPY_STATUS_LID1 & 0x1F: Command(receive_copy_status, _LAYOUT),
            ServiceAction.RECEIVE_COPY_OPERATING_PARAMETERS & 0x1F: Command(
                receive_copy_operating_parameters, _LAYOUT
            ),
            ServiceAction.RECEIVE_COPY_FAILURE_DETAILS_LID1 & 0x1F: Command(
                receive_copy_failure_details, _LAYOUT
            ),
        }
    )
}
