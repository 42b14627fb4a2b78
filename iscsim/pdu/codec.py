"""The quick path: what Construct says, at the price of ``struct``.

Parsing a header with plain Construct costs 25 microseconds, with ``struct`` 0.2; so at import each
layout is walked once and becomes a :class:`struct.Struct` for its whole bytes plus a table for the
flags in its first two bytes. The tables are filled by Construct itself, one entry the first time a
combination is seen, so a flag has its meaning written in one place only. ``tests/pdu/test_codec.py``
proves that both ways of reading and writing agree.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from construct import Bytes, Construct, ConstructError, Container, Struct

from iscsim.errors import LocalProtocolError
from iscsim.pdu.constants import BASIC_HEADER_LENGTH
from iscsim.struct_code import plain, struct_code


class UnpackFlags(dict[int, tuple[Any, ...]]):
    """The first two bytes as one number, reserved bits masked out -> values of their named fields.

    Filled on demand by the two Construct layouts; the mask bounds it to 512 entries at most.
    """

    def __init__(self, layouts: tuple[Construct, Construct], names: tuple[str, ...]) -> None:
        super().__init__()
        self._layouts, self._names = layouts, names

    def __missing__(self, flags: int) -> tuple[Any, ...]:
        parsed: dict[str, Any] = {}
        for layout, byte in zip(self._layouts, flags.to_bytes(2, "big"), strict=True):
            parsed.update(layout.parse(bytes((byte,))))
        self[flags] = values = tuple(parsed[name] for name in self._names)
        return values


class PackFlags(dict[tuple[Any, ...], int]):
    """Values of the named fields of the first two bytes -> those bytes as one number, opcode included.

    Filled on demand by the two Construct layouts.
    """

    def __init__(self, layouts: tuple[Construct, Construct], names: tuple[str, ...], opcode: int) -> None:
        super().__init__()
        self._layouts, self._names, self._opcode = layouts, names, opcode

    def __missing__(self, values: tuple[Any, ...]) -> int:
        container = Container(zip(self._names, values, strict=True), opcode=self._opcode)
        try:
            built = b"".join(layout.build(container) for layout in self._layouts)
        except ConstructError as error:
            raise LocalProtocolError(f"flags {values} do not fit their bits: {error}", "11.2") from error
        self[values] = flags = int.from_bytes(built, "big")
        return flags


@dataclass(slots=True, frozen=True)
class Codec:
    """One layout made quick. ``fields`` are the dataclass' first fields, in this order."""

    fields: tuple[str, ...]
    unpack_from: Any
    """(buffer, offset) -> (first two bytes as one number, value ...): lengths left out."""
    pack: Any
    """(first two bytes, value ..., TotalAHSLength << 24 | DataSegmentLength, value ...) -> 48 bytes."""
    flags_mask: int
    """The bits of the first two bytes that have a name; the opcode's and the reserved ones are 0."""
    unpack_flags: UnpackFlags
    pack_flags: PackFlags
    flag_count: int
    """How many of ``fields`` are in the first two bytes."""
    lengths_index: int
    """How many of ``fields`` come before the two lengths."""
    byte_fields: tuple[tuple[int, int], ...]
    """(index among ``fields``, length) of each that holds bytes: ``struct`` would pad or cut in silence."""


def _bits(layout: Construct) -> tuple[tuple[str, ...], int]:
    """Names and mask of the named bits of one byte of flags, the opcode's left out."""
    names, mask = [], 0
    for sub in layout.subcon.subcons:  # BitStruct is Transformed around a Struct
        width = sub.sizeof()
        mask <<= width
        if sub.name and sub.name != "opcode":
            names.append(sub.name)
            mask |= (1 << width) - 1
    return tuple(names), mask


def derive(layout: Construct, opcode: int) -> Codec:
    """Derive the quick codec of a PDU layout.

    Raises:
        TypeError: the layout holds a field that ``struct`` cannot express.
    """
    assert isinstance(layout, Struct)
    flag_bytes = plain(layout.subcons[0]), plain(layout.subcons[1])
    (names_0, mask_0), (names_1, mask_1) = map(_bits, flag_bytes)
    flag_names = names_0 + names_1
    names, byte_fields, lengths_index = list(flag_names), [], -1
    unpack_format, pack_format = ">H", ">H"
    for sub in layout.subcons[2:]:
        if sub.name == "total_ahs_length":
            continue  # packed together with the 24 bits that follow it
        if sub.name == "data_segment_length":
            unpack_format, pack_format, lengths_index = unpack_format + "4x", pack_format + "I", len(names)
            continue
        code = struct_code(sub).lstrip(">")
        unpack_format, pack_format = unpack_format + code, pack_format + code
        if isinstance(plain(sub), Bytes):
            byte_fields.append((len(names), sub.sizeof()))
        if sub.name:
            names.append(sub.name)
    unpacker, packer = struct.Struct(unpack_format), struct.Struct(pack_format)
    assert unpacker.size == packer.size == layout.sizeof() == BASIC_HEADER_LENGTH
    return Codec(
        fields=tuple(names),
        unpack_from=unpacker.unpack_from,
        pack=packer.pack,
        flags_mask=mask_0 << 8 | mask_1,
        unpack_flags=UnpackFlags(flag_bytes, flag_names),
        pack_flags=PackFlags(flag_bytes, flag_names, opcode),
        flag_count=len(flag_names),
        lengths_index=lengths_index,
        byte_fields=tuple(byte_fields),
    )


__all__ = ["Codec", "PackFlags", "UnpackFlags", "derive"]
