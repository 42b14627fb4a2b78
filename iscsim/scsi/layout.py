"""Construct layouts, and the quick paths derived from them.

Every CDB and every data format of this room is written once, as a Construct layout of big-endian integers,
byte strings and single bytes of bit fields. Plain Construct costs some 25 microseconds a parse, which a
command handler cannot afford, so `derive` turns the same layout into a `struct.Struct` when the module is
imported, and `masks` gives the bit fields as masks. Tests prove that the two agree.
"""

from __future__ import annotations

import re
import struct
from typing import Any, Final

import construct

from iscsim.struct_code import struct_format

__all__ = ["Layout", "bits", "derive", "masks", "pad_text"]


def derive(layout: construct.Struct) -> struct.Struct:
    """The `struct.Struct` that reads the fields of ``layout`` in its order, one value a field.

    Padding is skipped, a byte of bit fields is one integer. Raises `TypeError` for a layout with anything
    else.
    """
    return struct.Struct(struct_format(layout.subcons))


def bits(**widths: int) -> Any:
    """One byte of bit fields, most significant first; a name that begins with ``_`` is reserved bits."""
    return construct.BitStruct(
        *(
            construct.Padding(width) if name.startswith("_") else name / construct.BitsInteger(width)
            for name, width in widths.items()
        )
    )


def masks(layout: construct.Struct, byte: str) -> dict[str, int]:
    """The bit fields of the one-byte field ``byte`` as masks: ``{"dpo": 0x10, "fua": 0x08}``."""
    field = next(subcon for subcon in layout.subcons if subcon.name == byte)
    found, shift = {}, 8
    for part in field.subcon.subcon.subcons:
        width = part.sizeof()
        shift -= width
        if part.name:
            found[part.name] = ((1 << width) - 1) << shift
    return found


class Layout:
    """A Construct layout with its quick path: values go in and come out as keywords.

    ``construct`` is the definition, ``struct`` the derived packer; ``fields`` are the names in order.
    """

    __slots__ = ("_zeros", "construct", "fields", "size", "struct")

    def __init__(self, *fields: Any) -> None:
        self.construct: Final = construct.Struct(*fields)
        self.struct: Final = derive(self.construct)
        self.size: Final = self.struct.size
        named = [field for field in self.construct.subcons if field.name]
        self.fields: Final = tuple(field.name for field in named)
        self._zeros: Final[dict[str, Any]] = {field.name: _zero(field) for field in named}

    def build(self, **values: Any) -> bytes:
        """The bytes of ``values``; what is not given is zero.

        Raises `KeyError` for a name that is not there.
        """
        found = self._zeros | values  # in the order of the fields, and then what is none
        if len(found) > len(self.fields):
            raise KeyError(f"no such field: {sorted(values.keys() - set(self.fields))}")
        return self.struct.pack(*found.values())

    def parse(self, data: bytes | bytearray | memoryview, offset: int = 0) -> dict[str, Any]:
        """The fields by name. Raises `ValueError` when ``data`` is shorter than the layout."""
        if len(data) - offset < self.size:
            raise ValueError(f"{len(data) - offset} bytes where {self.size} were expected")
        return dict(zip(self.fields, self.struct.unpack_from(data, offset), strict=True))

    def arguments(self) -> struct.Struct:
        """Reads a CDB of this layout without its operation code, but with its CONTROL byte, which is the last
        one: as many values as `struct` has, so that looking at CONTROL costs the quick path nothing.

        Raises `TypeError` for a layout that is not a CDB.
        """
        codes = self.struct.format
        found = re.fullmatch(r">B(.*?)(\d*)x", codes)
        if found is None:
            raise TypeError(f"{codes} is not a CDB")
        reserved = int(found[2] or 1) - 1
        return struct.Struct(f">x{found[1]}{reserved}xB")

    def masks(self, byte: str) -> dict[str, int]:
        """See `masks`."""
        return masks(self.construct, byte)


def _zero(field: Any) -> int | bytes:
    return b"" if isinstance(field.subcon, construct.Bytes) else 0


def pad_text(text: str, length: int) -> bytes:
    """SPC's ASCII field: left-aligned, cut or padded with spaces to ``length`` bytes; other characters are
    ``?``.
    """
    printable = "".join(character if " " <= character <= "~" else "?" for character in text)
    return printable.encode("ascii")[:length].ljust(length)
