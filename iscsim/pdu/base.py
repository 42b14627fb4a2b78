"""What all PDUs have in common: header, additional header segments, data segment."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, ClassVar, Self, TypeVar

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
    opcode: ClassVar[Opcode]
    codec: ClassVar[Codec]
    _split: ClassVar[tuple[int, int, int]]
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
        byte_0, byte_1, *values = codec.unpack_from(buffer, offset)
        return cls(*codec.unpack_byte_0[byte_0], *codec.unpack_byte_1[byte_1], *values)

    def header(self) -> bytes:
        """The Basic Header Segment and the AHS behind it, lengths filled in.

        Raises:
            LocalProtocolError: a field does not fit its bits, or the data segment 24 bits.
        """
        codec = self.codec
        values = type(self)._values(self)
        bits_0, bits, lengths = self._split
        segments = self.additional_headers
        ahs = encode_ahs(segments) if segments else b""
        if len(self.data) > MAX_DATA_SEGMENT_LENGTH:
            raise LocalProtocolError(f"data segment of {len(self.data)} bytes in {self!r:.80}", "11.2.1.6")
        try:
            header = codec.pack(
                codec.pack_byte_0[values[:bits_0]],
                codec.pack_byte_1[values[bits_0:bits]],
                *values[bits:lengths],
                len(ahs) << 22 | len(self.data),  # TotalAHSLength counts words: << 24 >> 2
                *values[lengths:],
            )
        except struct.error as error:
            raise LocalProtocolError(f"{error} in {self!r:.300}", "11.2") from error
        return bytes(header + ahs)

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


def pdu(opcode: Opcode) -> Callable[[type[PDUType]], type[PDUType]]:
    """Register a PDU class: derive its codec and check that its fields follow the layout."""

    def register(cls: type[PDUType]) -> type[PDUType]:
        cls = dataclass(slots=True)(cls)
        codec = derive(LAYOUTS[opcode], opcode)
        names = tuple(field.name for field in fields(cls))  # type: ignore[arg-type]
        if names[: len(codec.fields)] != codec.fields:
            raise TypeError(f"{cls.__name__} has fields {names}, its layout {codec.fields}")
        cls.opcode, cls.codec = opcode, codec
        bits_0, bits = codec.split
        cls._split = (bits_0, bits, bits + codec.lengths_index - 2)
        cls._values = attrgetter(*codec.fields)
        PDU_TYPES[opcode] = cls
        return cls

    return register
