"""How the data of a command is cut: Data-In, Data-Out and R2T (RFC 7143 sections 4.2.5.2, 11.7, 11.8).

Value objects for both ends: an initiator asks :class:`DataOutPlan` what to send unasked and
:func:`segments` how to cut a burst; a target follows a write with :class:`DataOutTransfer` and cuts a
read with :func:`bursts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from iscsim.pdu import RESERVED_TAG, Buffer, SCSIDataOut
from iscsim.session.parameters import Parameters


def segments(offset: int, length: int, max_segment_length: int) -> Iterator[tuple[int, int, bool]]:
    """One burst cut into PDUs: (offset, length, final), each at most ``max_segment_length``."""
    end = offset + length
    while offset < end:
        size = min(max_segment_length, end - offset)
        yield offset, size, offset + size == end
        offset += size


def bursts(length: int, max_burst_length: int, max_segment_length: int) -> Iterator[tuple[int, int, bool]]:
    """The Data-In PDUs of a read of ``length`` bytes: (offset, length, final).

    ``final`` ends each sequence of MaxBurstLength (RFC 7143 section 13.13), so the last one too.
    """
    for offset in range(0, length, max_burst_length):
        yield from segments(offset, min(max_burst_length, length - offset), max_segment_length)


@dataclass(slots=True, frozen=True)
class DataOutPlan:
    """What an initiator sends of a write before any R2T; the rest it is asked for.

    ``immediate_length`` travels in the command, ``unsolicited_length`` in Data-Out PDUs behind it.
    """

    immediate_length: int
    unsolicited_length: int

    @classmethod
    def of(cls, expected_data_transfer_length: int, parameters: Parameters) -> DataOutPlan:
        """The plan under the four combinations of InitialR2T and ImmediateData (RFC 7143 section 13.11)."""
        first_burst = min(parameters.first_burst_length, expected_data_transfer_length)
        immediate = (
            min(first_burst, parameters.max_send_data_segment_length) if parameters.immediate_data else 0
        )
        return cls(immediate, 0 if parameters.initial_r2t else first_burst - immediate)

    @property
    def final(self) -> bool:
        """The F bit of the command: nothing unsolicited follows it."""
        return self.unsolicited_length == 0


class DataOutFailure(Enum):
    """Why the data of a write cannot be used (RFC 7143 section 11.4.7.2)."""

    UNEXPECTED_UNSOLICITED_DATA = auto()
    INCORRECT_AMOUNT_OF_DATA = auto()
    DATA_SEQUENCE_ERROR = auto()
    DATA_DIGEST_ERROR = auto()


@dataclass(slots=True)
class _Burst:
    """A sequence of Data-Out under way: unsolicited, or the answer to one R2T."""

    offset: int  # where its next PDU must begin
    end: int
    data_sn: int = 0


class DataOutTransfer:
    """A target's account of the data of one write.

    ``length`` bytes are kept: what the device server wants of what the initiator has. The initiator
    may have more (it is swallowed) or less (the command sees less). ``failure`` is set by the first
    broken rule; the command then ends once every sequence under way has ended, because a response may
    only follow the last Data-Out (RFC 7143 section 11.4.2).
    """

    __slots__ = (
        "_asked",
        "_buffer",
        "_bursts",
        "_first_limit",
        "_parameters",
        "_room",
        "_unsolicited",
        "failure",
        "length",
    )

    def __init__(self, expected_data_transfer_length: int, wanted_length: int, parameters: Parameters):
        self.length = min(expected_data_transfer_length, wanted_length)
        self.failure: DataOutFailure | None = None
        self._parameters = parameters
        self._first_limit = min(parameters.first_burst_length, expected_data_transfer_length)
        self._asked = 0  # bytes that have come or have been asked for
        self._buffer: Buffer = b""
        self._room = min(self._first_limit, self.length)  # bytes to allocate when data comes
        self._bursts: dict[int, _Burst] = {}  # by Target Transfer Tag
        self._unsolicited: _Burst | None = None

    @property
    def data(self) -> Buffer:
        """What has come, in order; complete when :attr:`complete`."""
        return self._buffer

    @property
    def complete(self) -> bool:
        """No sequence is under way and none is left to ask for."""
        if self._bursts or self._unsolicited is not None:
            return False
        return self.failure is not None or self._asked >= self.length

    def begin(self, immediate: Buffer, final: bool) -> None:
        """Take the immediate data of the command; without ``final`` unsolicited Data-Out follows."""
        length = len(immediate)
        if length and not self._parameters.immediate_data:
            self.fail(DataOutFailure.UNEXPECTED_UNSOLICITED_DATA)
        elif length > self._first_limit:
            self.fail(DataOutFailure.INCORRECT_AMOUNT_OF_DATA)
        if not final:
            self._unsolicited = _Burst(length, self._first_limit)
            if self._parameters.initial_r2t:
                self.fail(DataOutFailure.UNEXPECTED_UNSOLICITED_DATA)
        if length:
            self._keep(0, immediate)
        self._asked = length

    @property
    def unsolicited(self) -> bool:
        """Whether unsolicited Data-Out is still to come."""
        return self._unsolicited is not None

    @property
    def awaits_data(self) -> bool:
        """Whether the initiator owes data: unsolicited, or asked for."""
        return bool(self._bursts) or self._unsolicited is not None

    def limit(self, wanted_length: int) -> None:
        """The device server wants less than the initiator has; before anything is asked for."""
        if wanted_length < self.length:
            self.length = wanted_length
            self._room = min(self._room, wanted_length)
            self._buffer = memoryview(self._buffer)[:wanted_length] if wanted_length else b""

    @property
    def may_ask(self) -> bool:
        """Whether an R2T is due: data is left to ask for, and MaxOutstandingR2T allows one more."""
        if self._unsolicited is not None or self.failure is not None or self._asked >= self.length:
            return False
        return len(self._bursts) < self._parameters.max_outstanding_r2t

    def next_burst(self, target_transfer_tag: int) -> tuple[int, int] | None:
        """(offset, length) to ask for with an R2T of that tag, or None when nothing may be asked now."""
        if not self.may_ask:
            return None
        self._room = self.length
        offset = self._asked
        self._asked = min(self.length, offset + self._parameters.max_burst_length)
        self._bursts[target_transfer_tag] = _Burst(offset, self._asked)
        return offset, self._asked - offset

    def expects(self, pdu: SCSIDataOut) -> bool:
        """Whether a sequence is under way that this Data-Out belongs to (RFC 7143 section 11.7.4)."""
        return self._burst_of(pdu) is not None

    def receive(self, pdu: SCSIDataOut) -> None:
        """Take a Data-Out that is expected: the next one of its sequence, or the failure of it."""
        burst = self._burst_of(pdu)
        assert burst is not None
        end = pdu.buffer_offset + len(pdu.data)
        if pdu.data_sn != burst.data_sn or pdu.buffer_offset != burst.offset:
            # RFC 7143 section 7.9: a gap means that a PDU was lost; at level 0 the command fails
            self.fail(DataOutFailure.DATA_SEQUENCE_ERROR)
        elif end > burst.end:
            self.fail(DataOutFailure.INCORRECT_AMOUNT_OF_DATA)
        burst.data_sn += 1
        if self.failure is None:
            self._keep(pdu.buffer_offset, pdu.data)
            burst.offset = end
        if pdu.final:
            self._end(pdu, burst)

    def lose(self, pdu: SCSIDataOut) -> None:
        """An expected Data-Out came with a wrong data digest: its sequence goes on, the command fails."""
        self.fail(DataOutFailure.DATA_DIGEST_ERROR)
        burst = self._burst_of(pdu)
        if pdu.final and burst is not None:
            self._end(pdu, burst)

    def _burst_of(self, pdu: SCSIDataOut) -> _Burst | None:
        if pdu.target_transfer_tag == RESERVED_TAG:
            return self._unsolicited
        return self._bursts.get(pdu.target_transfer_tag)

    def _end(self, pdu: SCSIDataOut, burst: _Burst) -> None:
        if pdu.target_transfer_tag == RESERVED_TAG:
            self._unsolicited = None
            self._asked = max(self._asked, burst.offset)
        else:
            del self._bursts[pdu.target_transfer_tag]
        if burst.offset < burst.end:
            # RFC 7143 section 4.2.5.2: FirstBurstLength or all there is; and just what an R2T asked for
            self.fail(DataOutFailure.INCORRECT_AMOUNT_OF_DATA)

    def fail(self, failure: DataOutFailure) -> None:
        """Remember the first reason; what still comes is swallowed."""
        if self.failure is None:
            self.failure = failure
            self._buffer = b""

    def _keep(self, offset: int, data: Buffer) -> None:
        if self.failure is not None or offset >= self.length:
            return
        if offset == 0 and len(data) >= self.length:
            self._buffer = memoryview(data)[: self.length]  # one PDU holds it all: no copy
            return
        kept = self._buffer
        if not isinstance(kept, bytearray) or len(kept) < self._room:
            grown = bytearray(self._room)
            grown[: len(kept)] = kept
            self._buffer = kept = grown
        end = min(offset + len(data), self.length)
        kept[offset:end] = memoryview(data)[: end - offset]
