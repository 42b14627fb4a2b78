"""What all PDUs have in common: header, additional header segments, data segment."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import Field, dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, dataclass_transform

from iscsim.errors import LocalProtocolError
from iscsim.pdu.ahs import AHS, encode_ahs
from iscsim.pdu.codec import Codec, derive
from iscsim.pdu.constants import MAX_DATA_SEGMENT_LENGTH, Opcode
from iscsim.pdu.digest import Buffer, digest
from iscsim.pdu.layouts import LAYOUTS

PADS = (b"", b"\0\0\0", b"\0\0", b"\0")
"""``PADS[length % 4]`` pads to four bytes (RFC 7143 section 11.1)."""

NO_LUN = bytes(8)


class PDU:
    """A Protocol Data Unit of RFC 7143 chapter 11: the typed form of one header and its data.

    Every subclass is a ``slots`` dataclass whose first fields are those of its Construct layout.
    ``data`` is the data segment without padding: bytes, or a view of a store.
    """

    __slots__ = ("data",)
    if TYPE_CHECKING:  # every subclass is a dataclass
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    opcode: ClassVar[Opcode]
    codec: ClassVar[Codec]
    _values: ClassVar[Callable[[Any], tuple[Any, ...]]]
    data: Buffer

    @property
    def additional_headers(self) -> tuple[AHS, ...]:
        """The additional header segments: none but for a SCSI Command (RFC 7143 section 11.2.1.5)."""
        return ()

    @classmethod
    def from_header(cls, buffer: Buffer, offset: int = 0) -> Self:
        """Make the PDU from the 48 header bytes at ``offset``; ``data`` and ``ahs`` stay empty."""
        codec = cls.codec
        values = codec.unpack_from(buffer, offset)
        # RFC 7143 section 11: "any bit not defined" is ignored, so it is masked out before the look-up
        return cls(*(codec.unpack_flags[values[0] & codec.flags_mask] + values[1:]))

    def header(self) -> bytes:
        """The Basic Header Segment and the AHS behind it, lengths filled in.

        Raises:
            LocalProtocolError: a field does not fit its bits, or the data segment 24 bits.
        """
        codec = self.codec
        values = type(self)._values(self)
        flags, lengths = codec.flag_count, codec.lengths_index
        segments, data_length = self.additional_headers, len(self.data)
        ahs = encode_ahs(segments) if segments else b""
        if data_length > MAX_DATA_SEGMENT_LENGTH:
            raise self._misfit("data segment", data_length, f"at most {MAX_DATA_SEGMENT_LENGTH}")
        for index, length in codec.byte_fields:
            if len(values[index]) != length:
                raise self._misfit(codec.fields[index], len(values[index]), str(length))
        try:
            header: bytes = codec.pack(
                codec.pack_flags[values[:flags]],
                *values[flags:lengths],
                len(ahs) << 22 | data_length,  # TotalAHSLength counts words: << 24 >> 2
                *values[lengths:],
            )
        except struct.error as error:
            raise LocalProtocolError(f"{error} in {type(self).__name__} {values}", "11.2") from error
        return header + ahs if ahs else header

    def _misfit(self, field: str, length: int, expected: str) -> LocalProtocolError:
        return LocalProtocolError(
            f"{field} of {length} bytes in {type(self).__name__}, expected {expected}", "11.2.1"
        )

    def encode(self, header_digest: bool = False, data_digest: bool = False) -> list[Buffer]:
        """The PDU on the wire, as pieces to be sent in this order (``writelines``).

        The data segment is not copied. Digests are CRC32C, the data digest covers the padding and is
        missing when there is no data (RFC 7143 section 11.2.3).
        """
        header, data = self.header(), self.data
        if header_digest:
            header += digest(header)
        if not data:
            return [header]
        pieces: list[Buffer] = [header, data]
        if pad := PADS[len(data) & 3]:
            pieces.append(pad)
        if data_digest:
            pieces.append(digest(data, pad))
        return pieces


class RawPDU(PDU):
    """Any bytes at all, sent as they are: for tests and faults. It has no digests of its own."""

    __slots__ = ("wire",)

    def __init__(self, wire: bytes) -> None:
        self.wire = wire
        self.data = b""

    def header(self) -> bytes:
        """The bytes as they were given."""
        return self.wire

    def encode(self, header_digest: bool = False, data_digest: bool = False) -> list[Buffer]:
        """The bytes as they were given, in one piece."""
        return [self.wire]

    def __repr__(self) -> str:
        return f"RawPDU({self.wire[:48].hex()}{'...' if len(self.wire) > 48 else ''})"


PDUType = TypeVar("PDUType", bound=PDU)

PDU_TYPES: dict[int, type[PDU]] = {}
"""Opcode -> PDU class."""


@dataclass_transform()
def pdu(opcode: Opcode) -> Callable[[type[PDUType]], type[PDUType]]:
    """Register a PDU class: derive its codec and check that its fields follow the layout."""

    def register(cls: type[PDUType]) -> type[PDUType]:
        cls = dataclass(slots=True)(cls)
        codec = derive(LAYOUTS[opcode], opcode)
        names = tuple(field.name for field in fields(cls))
        if names[: len(codec.fields)] != codec.fields:
            raise TypeError(f"{cls.__name__} has fields {names}, its layout {codec.fields}")
        cls.opcode, cls.codec = opcode, codec
        cls._values = attrgetter(*codec.fields)
        PDU_TYPES[opcode] = cls
        return cls

    return register
