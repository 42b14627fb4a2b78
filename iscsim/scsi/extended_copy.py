"""EXTENDED COPY (LID1) (SPC-4): from block device to block device, inside what one nexus sees.

Segments are processed in their order: when one fails, those before it are done, as its number in the sense
data says, and nothing of it was written unless the fault came while its data moved. A unit attention of the
other units goes on waiting: it is for the nexus, not for the copy manager.
"""

from __future__ import annotations

from iscsim.errors import SCSIError
from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.asc import ASC
from iscsim.scsi.command import Command, CommandFlag, store_sense
from iscsim.scsi.completion import Completion
from iscsim.scsi.copy_move import DESTINATION, SOURCE, End, Move, read_bytes, write_bytes
from iscsim.scsi.copy_parameters import (
    CSCD,
    MAXIMUM_LIST_LENGTH,
    MAXIMUM_SEGMENT_LENGTH,
    CopyParameters,
    DescriptorType,
    ListIdUsage,
    Segment,
    list_length_error,
)
from iscsim.scsi.copy_results import CopyResult
from iscsim.scsi.designator import Association, Designator
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import Opcode, ServiceAction
from iscsim.scsi.reservations import ReservationConflict, ReservationRule
from iscsim.scsi.sbc import check_writable, settle
from iscsim.scsi.sense import CheckCondition, ForwardedSense, SegmentPointer, Sense, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.store import Buffer

__all__ = ["COMMANDS"]

_SOURCE_AT, _DESTINATION_AT, _SOURCE_LBA_AT, _DESTINATION_LBA_AT = 4, 6, 12, 20  # both segment types
_COUNT_AT = {DescriptorType.BLOCK_TO_BLOCK: 10, DescriptorType.BLOCK_TO_BLOCK_WITH_OFFSETS: 8}
_SOURCE_OFFSET_AT, _DESTINATION_OFFSET_AT = 28, 30
_FLAGS_AT, _CAT_BIT, _BLOCK_LENGTH_AT = 1, 0, 29

# SPC-4, "PAD and CAT bit definitions", for CAT 0: (source PAD, destination PAD) -> what becomes of residual
# source and destination data. With CAT 1 both are kept for the next segment.
_DISCARD, _PAD, _KEEP, _REFUSE = range(4)
_RESIDUES = {
    (True, True): (_DISCARD, _PAD),
    (False, True): (_KEEP, _PAD),
    (True, False): (_DISCARD, _DISCARD),
    (False, False): (_REFUSE, _REFUSE),
}


class CopyAborted(CheckCondition):
    """A segment failed: COPY ABORTED, with its number in COMMAND-SPECIFIC INFORMATION.

    ``residual`` counts destination blocks, and is None when nothing of the segment was written.
    """

    def __init__(
        self,
        code: ASC,
        segment: int,
        pointer: SegmentPointer,
        forwarded: ForwardedSense | None = None,
        residual: int | None = None,
    ) -> None:
        self.sense = Sense.of(
            SenseKey.COPY_ABORTED,
            code,
            information=residual,
            command_specific=segment,
            sense_key_specific=pointer.encode(),
            forwarded=forwarded,
        )
        SCSIError.__init__(self, str(self.sense))


class Copier:
    """One EXTENDED COPY in its course."""

    def __init__(self, nexus: ITNexus, mapped: MappedLUN, parameters: CopyParameters) -> None:
        self.result = CopyResult()
        self._nexus = nexus
        self._mapped = mapped
        self._cscds = parameters.cscds
        self._segments = parameters.segments
        self._names: dict[Designator, MappedLUN] = {}

    def run(self) -> None:
        """Raises `CopyAborted` at the first segment that fails."""
        for number, segment in enumerate(self._segments):
            self.result.segments = number + 1
            source = self._reach(number, segment.source, SOURCE)
            destination = self._reach(number, segment.destination, DESTINATION)
            move = self._plan(number, segment, source, destination)
            self._ask(number, source)
            self._ask(number, destination)
            self._carry_out(number, move)

    # Who takes part.

    def _reach(self, number: int, index: int, role: int) -> End:
        """The unit behind a CSCD descriptor ID, if the nexus sees it and it is what the descriptor says."""
        if index >= len(self._cscds):
            at = _SOURCE_AT if role == SOURCE else _DESTINATION_AT
            raise CopyAborted(ASC.UNREACHABLE_COPY_TARGET, number, SegmentPointer(at, in_segment=True))
        cscd = self._cscds[index]
        mapped = self._find(cscd)
        if mapped is None:
            raise CopyAborted(ASC.COPY_TARGET_DEVICE_NOT_REACHABLE, number, SegmentPointer(cscd.at))
        unit = mapped.logical_unit
        if cscd.device_type != unit.device_type:
            raise CopyAborted(ASC.INCORRECT_COPY_TARGET_DEVICE_TYPE, number, SegmentPointer(cscd.at))
        if cscd.block_length not in (0, unit.block_size):
            pointer = SegmentPointer(cscd.at + _BLOCK_LENGTH_AT)
            raise CopyAborted(ASC.INVALID_FIELD_IN_PARAMETER_LIST, number, pointer)
        return End(role, cscd, mapped)

    def _find(self, cscd: CSCD) -> MappedLUN | None:
        """By a name of the logical unit's own; the unit that got the command is looked at first."""
        if cscd.designator.association != Association.LOGICAL_UNIT:
            return None
        if cscd.designator in self._mapped.logical_unit.designators(self._nexus):
            return self._mapped
        if not self._names:
            for mapped in self._nexus.lun_map:
                for name in mapped.logical_unit.designators(self._nexus):
                    self._names.setdefault(name, mapped)
        return self._names.get(cscd.designator)

    def _ask(self, number: int, end: End) -> None:
        """Whether the unit would take a READ or a WRITE of this nexus now."""
        writes = end.role == DESTINATION
        rule = ReservationRule.CONFLICT if writes else ReservationRule.UNDER_WRITE_EXCLUSIVE
        try:
            if end.unit.restricted:
                end.unit.reservations.check(self._nexus, rule)
                end.unit.access.check(self._nexus, CommandFlag.NEEDS_MEDIUM)
                end.unit.erasure.check(self._nexus, bytes((Opcode.EXTENDED_COPY,)))
                end.unit.check_medium()
            if writes:
                check_writable(end.mapped)
        except ReservationConflict:
            raise self._failure(number, end, Status.RESERVATION_CONFLICT) from None
        except CheckCondition as condition:
            raise self._failure(number, end, Status.CHECK_CONDITION, condition.sense) from None

    def _failure(
        self, number: int, end: End, status: Status, sense: Sense | None = None, residual: int | None = None
    ) -> CopyAborted:
        """What one of the units answered, in the words of the copy manager."""
        encoded = sense.encode(end.unit.d_sense) if sense else b""
        return CopyAborted(
            ASC.THIRD_PARTY_DEVICE_FAILURE,
            number,
            SegmentPointer(end.cscd.at),
            ForwardedSense(end.role, status, encoded),
            residual,
        )

    # What is copied.

    def _plan(self, number: int, segment: Segment, source: End, destination: End) -> Move:
        """A segment in bytes, all of it inside both units."""
        if segment.type == DescriptorType.BLOCK_TO_BLOCK:
            move = self._plan_blocks(number, segment, source, destination)
        else:
            move = self._plan_bytes(number, segment, source, destination)
        ends = (
            (source, move.source_start + move.length, _SOURCE_LBA_AT),
            (destination, move.destination_start + move.length + move.padding, _DESTINATION_LBA_AT),
        )
        for end, last, at in ends:
            if last > end.unit.blocks * end.unit.block_size:
                pointer = SegmentPointer(at, in_segment=True)
                raise CopyAborted(ASC.NO_ADDITIONAL_SENSE, number, pointer)
        if move.length > MAXIMUM_SEGMENT_LENGTH:
            raise self._invalid(number, _COUNT_AT[segment.type])
        return move

    def _invalid(self, number: int, byte: int) -> CopyAborted:
        pointer = SegmentPointer(byte, in_segment=True)
        return CopyAborted(ASC.INVALID_FIELD_IN_PARAMETER_LIST, number, pointer)

    def _plan_blocks(self, number: int, segment: Segment, source: End, destination: End) -> Move:
        """Type 02h: blocks of one unit that may not be whole blocks of the other."""
        source_size, destination_size = source.unit.block_size, destination.unit.block_size
        length = segment.count * (destination_size if segment.dc else source_size)
        move = Move(
            source,
            destination,
            segment.source_lba * source_size,
            segment.destination_lba * destination_size,
            length,
        )
        residue = length % destination_size
        if residue or length % source_size:
            action = self._residue_action(number, segment, source, destination)
            if residue and action == _PAD:
                move.padding = destination_size - residue
            else:
                move.length -= residue
        return move

    def _residue_action(self, number: int, segment: Segment, source: End, destination: End) -> int:
        """What becomes of the rest of a block: _DISCARD or _PAD.

        Raises 0A/26/0A where it would be an error, and where it would have to be kept for another segment,
        which is not done here.
        """
        actions = (_KEEP, _KEEP) if segment.cat else _RESIDUES[source.cscd.pad, destination.cscd.pad]
        action = actions[0 if segment.dc else 1]
        is_last = number == len(self._segments) - 1
        if action == _REFUSE or (action == _KEEP and not is_last):
            pointer = SegmentPointer(_FLAGS_AT, _CAT_BIT, in_segment=True)
            raise CopyAborted(ASC.UNEXPECTED_INEXACT_SEGMENT, number, pointer)
        return _PAD if action == _PAD else _DISCARD

    def _plan_bytes(self, number: int, segment: Segment, source: End, destination: End) -> Move:
        """Type 0Ah: bytes, from within a block to within a block."""
        source_size, destination_size = source.unit.block_size, destination.unit.block_size
        if segment.source_offset >= source_size:
            raise self._invalid(number, _SOURCE_OFFSET_AT)
        if segment.destination_offset >= destination_size:
            raise self._invalid(number, _DESTINATION_OFFSET_AT)
        return Move(
            source,
            destination,
            segment.source_lba * source_size + segment.source_offset,
            segment.destination_lba * destination_size + segment.destination_offset,
            segment.count,
        )

    def _carry_out(self, number: int, move: Move) -> None:
        before = self.result.transferred
        for offset, size in move.pieces():
            data = self._read(number, move, offset, size)
            self._write(number, move, offset, data)
            if not move.is_backwards:
                move.moved = offset + size
            elif not offset:
                move.moved = move.length
            self.result.transferred = before + move.moved
        try:
            settle(move.destination.unit)
        except OSError as error:
            raise self._store_failure(number, move.destination, move, error) from error

    def _read(self, number: int, move: Move, offset: int, size: int) -> bytes:
        try:
            return read_bytes(move.source.unit, move.source_start + offset, size)
        except OSError as error:
            raise self._store_failure(number, move.source, move, error) from error

    def _write(self, number: int, move: Move, offset: int, data: bytes) -> None:
        padding = move.padding if offset + len(data) == move.length else 0
        try:
            write_bytes(move.destination.unit, move.destination_start + offset, data, padding)
        except OSError as error:
            raise self._store_failure(number, move.destination, move, error) from error

    def _store_failure(self, number: int, end: End, move: Move, error: OSError) -> CopyAborted:
        sense = store_sense(error, writing=end.role == DESTINATION)
        end.unit.count_failure(sense)
        written = move.residual_blocks if move.moved else None
        return self._failure(number, end, Status.CHECK_CONDITION, sense, written)


def extended_copy(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SPC-4, EXTENDED COPY (LID1): an empty list copies nothing and is no error.

    Under LIST ID USAGE 11b nothing is remembered, else the result waits for RECEIVE COPY STATUS.
    """
    length = _list_length(mapped, cdb)
    if not length:
        return Completion()
    if len(data_out) != length:
        raise list_length_error()
    parameters = CopyParameters.parse(bytes(data_out))
    copier = Copier(nexus, mapped, parameters)
    unit = mapped.logical_unit
    try:
        copier.run()
    except CopyAborted as aborted:
        copier.result.fail(aborted.sense.encode(unit.d_sense))
        raise
    finally:
        if parameters.usage != ListIdUsage.NONE:
            unit.copy_results.hold(nexus, parameters.list_identifier, copier.result)
    return Completion()


def _list_length(mapped: MappedLUN, cdb: bytes) -> int:
    _, _, length = layouts.EXTENDED_COPY.struct.unpack_from(cdb)
    if length > MAXIMUM_LIST_LENGTH:
        raise list_length_error()
    return int(length)


COMMANDS: dict[int, Command] = {
    Opcode.EXTENDED_COPY: Command(
        service_actions={
            ServiceAction.EXTENDED_COPY_LID1 & 0x1F: Command(
                extended_copy, layouts.EXTENDED_COPY, data_out_length=_list_length
            )
        }
    )
}
