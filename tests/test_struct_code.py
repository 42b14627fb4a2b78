"""From Construct to struct, judged by Construct itself."""

from __future__ import annotations

import struct

import construct
import pytest
from construct import BitStruct, Bytes, Flag, Int8ub, Int16ul, Int24ub, Int32ub, Int64ul, Padding

from iscsim.struct_code import struct_code, struct_format


@pytest.mark.parametrize(
    "field, code",
    [
        ("a" / Int8ub, ">B"),
        ("a" / Int32ub, ">L"),
        ("a" / Int16ul, "<H"),
        ("a" / Bytes(6), "6s"),
        (Padding(3), "3x"),
        ("a" / BitStruct("b" / Flag, Padding(7)), "B"),
    ],
)
def test_field_has_the_code_of_its_size(field: construct.Construct, code: str) -> None:
    assert struct_code(field) == code
    assert struct.calcsize(code if code[0] in "<>" else f">{code}") == field.sizeof()


@pytest.mark.parametrize("field", ["a" / Int24ub, "a" / construct.VarInt, "a" / BitStruct("b" / Padding(16))])
def test_field_that_struct_does_not_know_is_refused(field: construct.Construct) -> None:
    with pytest.raises(TypeError, match="no code in struct"):
        struct_code(field)


def test_format_of_a_layout_reads_what_construct_builds() -> None:
    layout = construct.Struct("a" / Int16ul, Padding(2), "b" / Int64ul, "c" / Bytes(3))
    built = layout.build({"a": 1, "b": 2, "c": b"xyz"})
    assert struct.unpack(struct_format(layout.subcons), built) == (1, 2, b"xyz")


def test_both_byte_orders_in_one_layout_are_refused() -> None:
    with pytest.raises(TypeError, match="both byte orders"):
        struct_format(["a" / Int16ul, "b" / Int32ub])
