"""From a Construct layout to the :class:`struct.Struct` that says the same.

A capture writes three headers for every segment. Construct builds one in about 20 microseconds,
``struct`` in 0.3, so what is written per packet goes through a ``struct`` that is derived here, at
import, from the one Construct definition. ``tests/capture`` proves that both agree.
"""

from __future__ import annotations

import struct

from construct import Struct

from iscsim.struct_code import struct_format


def quick(layout: Struct) -> struct.Struct:
    """Derive the ``struct.Struct`` of a layout of fixed-size whole-byte fields.

    The values go in and come out in the order of the layout's named fields.

    Raises:
        TypeError: a field has no fixed form in ``struct``, or the fields mix byte orders.
    """
    return struct.Struct(struct_format(layout.subcons))
