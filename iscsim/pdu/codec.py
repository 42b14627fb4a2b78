"""The quick path: what Construct says, at the price of ``struct``.

Parsing a header with plain Construct costs 25 microseconds, with ``struct`` 0.2; so at import each
layout is walked once and becomes a :class:`struct.Struct` for its whole bytes plus a table for each
byte of flags. The tables are filled by Construct itself, one entry the first time a byte value is
seen, so a flag has its meaning written in one place only. ``tests/pdu/test_codec.py`` proves that
both ways of reading agree.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from construct import Bytes, Construct, Container, FormatField, Padded, Renamed, Struct

from iscsim.pdu.constants import BASIC_HEADER_LENGTH


class UnpackFlags(dict[int, tuple[Any, ...]]):
    """Byte of flags -> values of its named fields; filled on demand by the Construct layout."""

    def __init__(self, layout: Construct, names: tuple[str, ...]) -> None:
        super().__init__()
        self._layout, self._names = layout, names

    def __missing__(self, byte: int) -> tuple[Any, ...]:
        parsed = self._layout.parse(bytes((byte,)))
        self[byte] = values = tuple(parsed[name] for name in self._names)
        return values


class PackFlags(dict[tuple[Any, ...], int]):
    """Values of the named fields of a byte of flags -> the byte; at most 256 entries."""

    def __init__(self, layout: Construct, names: tuple[str, ...], opcode: int | None) -> None:
        super().__init__()
        self._layout, self._names, self._opcode = layout, names, opcode

    def __missing__(self, values: tuple[Any, ...]) -> int:
        container = Container(zip(self._names, values, strict=True))
        if self._opcode is not None:
            container["opcode"] = self._opcode
        byte: int = self._layout.build(container)[0]
        self[values] = byte
        return byte


class Codec(NamedTuple):
    """One layout made quick. ``fields`` are the dataclass' first fields, in this order."""

    fields: tuple[str, ...]
    unpack_from: Any  # (buffer, offset) -> (byte_0, byte_1, value ...): lengths left out
    pack: (
        Any  # (byte_0, byte_1, value ..., with TotalAHSLength << 24 | DataSegmentLength in place) -> 48 bytes
    )
    unpack_byte_0: UnpackFlags
    unpack_byte_1: UnpackFlags
    pack_byte_0: PackFlags
    pack_byte_1: PackFlags
    lengths_index: int  # where among the packed values the two lengths go
    split: tuple[int, int]  # number of fields in byte 0, and in bytes 0 and 1


def _plain(subcon: Construct) -> Construct:
    return subcon.subcon if isinstance(subcon, Renamed) else subcon


def _bit_names(layout: Construct) -> tuple[str, ...]:
    inner = layout.subcon  # BitStruct is Transformed/Restreamed around a Struct
    return tuple(sub.name for sub in inner.subcons if sub.name and sub.name != "opcode")


def _format_of(subcon: Construct) -> str:
    """``struct`` format of one whole-byte field of a layout."""
    plain = _plain(subcon)
    if isinstance(plain, FormatField):
        return str(plain.fmtstr[1:])
    if isinstance(plain, Padded):
        return f"{plain.sizeof()}x"
    if isinstance(plain, Bytes):
        return f"{plain.sizeof()}s"
    raise TypeError(f"no quick form for {subcon!r}")


def derive(layout: Construct, opcode: int) -> Codec:
    """Derive the quick codec of a PDU layout.

    Raises:
        TypeError: the layout holds a field that ``struct`` cannot express.
    """
    assert isinstance(layout, Struct)
    byte_0, byte_1 = _plain(layout.subcons[0]), _plain(layout.subcons[1])
    unpack_format, pack_format, names, index = ">BB", ">BB", [], 2
    lengths_index = -1
    for sub in layout.subcons[2:]:
        if sub.name == "total_ahs_length":
            continue  # packed together with the 24 bits that follow it
        if sub.name == "data_segment_length":
            unpack_format, pack_format, lengths_index = unpack_format + "4x", pack_format + "I", index
            index += 1
            continue
        unpack_format, pack_format = unpack_format + _format_of(sub), pack_format + _format_of(sub)
        if sub.name:
            names.append(sub.name)
            index += 1
    unpacker, packer = struct.Struct(unpack_format), struct.Struct(pack_format)
    assert unpacker.size == packer.size == layout.sizeof() == BASIC_HEADER_LENGTH
    names_0, names_1 = _bit_names(byte_0), _bit_names(byte_1)
    return Codec(
        fields=(*names_0, *names_1, *names),
        unpack_from=unpacker.unpack_from,
        pack=packer.pack,
        unpack_byte_0=UnpackFlags(byte_0, names_0),
        unpack_byte_1=UnpackFlags(byte_1, names_1),
        pack_byte_0=PackFlags(byte_0, names_0, opcode),
        pack_byte_1=PackFlags(byte_1, names_1, None),
        lengths_index=lengths_index,
        split=(len(names_0), len(names_0) + len(names_1)),
    )


__all__ = ["Codec", "PackFlags", "UnpackFlags", "derive"]
