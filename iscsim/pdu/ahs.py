"""Additional Header Segments (RFC 7143 section 11.2.2): only a SCSI Command may carry them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from construct import ConstructError

from iscsim.errors import FormatError, LocalProtocolError
from iscsim.pdu.layouts import AHS_HEADER

_MAX_TOTAL_LENGTH = 255 * 4
_MIN_CDB_LENGTH, _MAX_CDB_LENGTH = 17, 260


@dataclass(slots=True)
class ExtendedCDB:
    """The bytes of a CDB beyond its sixteenth (RFC 7143 section 11.2.2.3).

    ``spill`` holds CDB bytes 16 and up: 1 to 244 bytes.
    """

    type: ClassVar[int] = 1
    spill: bytes

    def encode(self) -> bytes:
        """This segment on the wire, padded to four bytes."""
        if problem := _spill_problem(self.spill):
            raise LocalProtocolError(problem, "11.2.2.3")
        return _segment(self.type, 0, self.spill)


@dataclass(slots=True)
class BidirectionalReadLength:
    """Expected Bidirectional Read Data Transfer Length, in bytes (RFC 7143 section 11.2.2.4)."""

    type: ClassVar[int] = 2
    length: int

    def encode(self) -> bytes:
        """This segment on the wire: eight bytes."""
        return _segment(self.type, 0, self.length.to_bytes(4, "big"))


@dataclass(slots=True)
class UnknownAHS:
    """A segment of a type this module does not know, kept as it came."""

    type: int
    specific: int
    value: bytes

    def encode(self) -> bytes:
        """This segment on the wire, padded to four bytes."""
        return _segment(self.type, self.specific, self.value)


AHS = ExtendedCDB | BidirectionalReadLength | UnknownAHS


def _segment(ahs_type: int, specific: int, value: bytes) -> bytes:
    # RFC 7143 section 11.2.2.2: AHSLength counts from the byte behind AHSType, without padding.
    header = {"ahs_length": len(value) + 1, "byte_2": {"ahs_type": ahs_type}, "specific": specific}
    return bytes(AHS_HEADER.build(header)) + value + bytes(-len(value) % 4)


def _spill_problem(spill: bytes) -> str | None:
    cdb_length = len(spill) + 16
    if _MIN_CDB_LENGTH <= cdb_length <= _MAX_CDB_LENGTH:
        return None
    return f"extended CDB of {cdb_length} bytes, expected {_MIN_CDB_LENGTH} to {_MAX_CDB_LENGTH}"


def _typed(ahs_type: int, specific: int, value: bytes) -> AHS:
    if ahs_type == ExtendedCDB.type:
        if problem := _spill_problem(value):
            raise FormatError(problem, "11.2.2.3")
        return ExtendedCDB(value)
    if ahs_type == BidirectionalReadLength.type:
        if len(value) != 4:
            raise FormatError(f"bidirectional AHS of {len(value)} bytes, expected 4", "11.2.2.4")
        return BidirectionalReadLength(int.from_bytes(value, "big"))
    return UnknownAHS(ahs_type, specific, value)


def decode_ahs(data: bytes) -> tuple[AHS, ...]:
    """Decode the additional header segments behind a SCSI Command header.

    Raises:
        FormatError: an AHSLength is 0 or reaches beyond TotalAHSLength, or a segment is malformed.
    """
    if len(data) % 4:
        raise FormatError(f"{len(data)} bytes of AHS, TotalAHSLength counts words of four", "11.2.1.5")
    segments: list[AHS] = []
    offset = 0
    while offset < len(data):
        header = AHS_HEADER.parse(data[offset : offset + 4])
        value_length = header.ahs_length - 1
        start, end = offset + 4, offset + 4 + value_length
        if value_length < 0 or end > len(data):
            raise FormatError(
                f"AHSLength {header.ahs_length} does not fit {len(data) - offset} bytes of AHS", "11.2.2.2"
            )
        segments.append(_typed(header.byte_2.ahs_type, header.specific, data[start:end]))
        offset = end + -value_length % 4
    return tuple(segments)


def encode_ahs(segments: Sequence[AHS]) -> bytes:
    """Encode segments, each padded to four bytes.

    Raises:
        LocalProtocolError: together they are longer than TotalAHSLength can say (1020 bytes), or a value
            does not fit its field.
    """
    try:
        encoded = b"".join(segment.encode() for segment in segments)
    except (ConstructError, OverflowError) as error:
        raise LocalProtocolError(f"{error} in AHS {segments!r:.200}", "11.2.2") from error
    if len(encoded) > _MAX_TOTAL_LENGTH:
        raise LocalProtocolError(f"{len(encoded)} bytes of AHS, the most is {_MAX_TOTAL_LENGTH}", "11.2.1.5")
    return encoded
