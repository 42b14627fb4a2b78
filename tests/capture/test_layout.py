from __future__ import annotations

import pytest
from construct import Bytes, GreedyBytes, Int16ub, Int16ul, Int32ul, Padding, Struct
from hypothesis import given
from hypothesis import strategies as st

from iscsim.capture import frames, pcapng
from iscsim.capture.layout import quick

LAYOUTS = {
    "Ethernet": frames.ETHERNET,
    "IPv4": frames.IPV4,
    "IPv6": frames.IPV6,
    "TCP": frames.TCP,
    "SLL": frames.LINUX_SLL,
    "SLL2": frames.LINUX_SLL2,
    "enhanced packet": pcapng.ENHANCED_PACKET,
    "block trailer": pcapng.TRAILER,
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@given(data=st.data())
def test_struct_and_construct_agree_on_every_layout(layout: Struct, data: st.DataObject) -> None:
    size = layout.sizeof()
    wire = data.draw(st.binary(min_size=size, max_size=size))
    parsed = layout.parse(wire)
    values = tuple(parsed[subcon.name] for subcon in layout.subcons if subcon.name)
    assert quick(layout).unpack(wire) == values
    assert quick(layout).pack(*values) == layout.build(parsed)


def test_little_endian_layout_keeps_its_byte_order() -> None:
    assert quick(Struct("a" / Int16ul, Padding(2), "b" / Int32ul)).pack(1, 2) == bytes.fromhex(
        "0100000002000000"
    )


def test_layout_without_numbers_has_no_byte_order() -> None:
    assert quick(Struct("a" / Bytes(2))).pack(b"xy") == b"xy"


@pytest.mark.parametrize("layout", [Struct("a" / Int16ub, "b" / Int16ul), Struct("a" / GreedyBytes)])
def test_layout_that_struct_cannot_express_is_refused(layout: Struct) -> None:
    with pytest.raises(TypeError):
        quick(layout)
