"""From a Construct layout to the :class:`struct.Struct` that says the same.

A capture writes three headers for every segment. Construct builds one in about 20 microseconds,
``struct`` in 0.3, so what is written per packet goes through a ``struct`` that is derived here, at
import, from the one Construct definition. ``tests/capture`` proves that both agree.
"""

from __future__ import annotations

import struct

from construct import Bytes, Construct, FormatField, Padded, Renamed, Struct


def _format_of(subcon: Construct) -> str:
    """``struct`` format of one field, byte order first: ``">H"``, ``"4s"``."""
    plain = subcon.subcon if isinstance(subcon, Renamed) else subcon
    if isinstance(plain, FormatField):
        return str(plain.fmtstr)
    if isinstance(plain, Padded):
        return f"{plain.sizeof()}x"
    if isinstance(plain, Bytes):
        return f"{plain.sizeof()}s"
    raise TypeError(f"struct has no form for {subcon!r}")


def quick(layout: Struct) -> struct.Struct:
    """Derive the ``struct.Struct`` of a layout of fixed-size whole-byte fields.

    The values go in and come out in the order of the layout's named fields.

    Raises:
        TypeError: a field has no fixed form in ``struct``, or the fields mix byte orders.
    """
    formats = [_format_of(subcon) for subcon in layout.subcons]
    orders = {text[0] for text in formats if text[0] in "<>"}
    if len(orders) > 1:
        raise TypeError(f"{layout!r} mixes byte orders")
    return struct.Struct("".join((*orders, *(text.lstrip("<>") for text in formats))))
