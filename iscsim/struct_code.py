"""From a field of a Construct layout to its code in ``struct``: where every derived quick path begins.

Parsing with Construct costs some 25 microseconds a header, with ``struct`` 0.2 (docs/design.md, 1.3); so the
rooms in a hurry derive a :class:`struct.Struct` from the one Construct layout when they are imported.
"""

from __future__ import annotations

from construct import Bytes, Construct, FormatField, Padded, Renamed, Transformed


def plain(subcon: Construct) -> Construct:
    """The field without its name."""
    return subcon.subcon if isinstance(subcon, Renamed) else subcon


def struct_code(subcon: Construct) -> str:
    """The code of one field, its byte order first if it has one: ``">H"``, ``"4s"``, ``"2x"``.

    A byte of bit fields is one integer, ``"B"``.

    Raises:
        TypeError: ``struct`` cannot express the field.
    """
    match plain(subcon):
        case FormatField() as field:
            return str(field.fmtstr)
        case Bytes() as field:
            return f"{field.sizeof()}s"
        case Padded() as field:
            return f"{field.sizeof()}x"
        case Transformed() as field if field.sizeof() == 1:
            return "B"
    raise TypeError(f"{subcon!r} has no code in struct")


def struct_format(fields: list[Construct]) -> str:
    """The format of a whole layout. Raises TypeError as `struct_code` does, and for mixed byte orders."""
    codes = [struct_code(field) for field in fields]
    orders = {code[0] for code in codes if code[0] in "<>"}
    if len(orders) > 1:
        raise TypeError(f"fields of both byte orders: {codes}")
    return (orders.pop() if orders else ">") + "".join(code.lstrip("<>") for code in codes)
