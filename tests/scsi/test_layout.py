"""The quick path is derived from Construct; here the two are held against each other, field by field."""

import construct
import pytest
from construct import Bytes, Int8ub, Int16ub, Int24ub, Padding
from hypothesis import given
from hypothesis import strategies as st

from iscsim.scsi import capacity, cdb, designator, inquiry, mode, sense, supported, vpd
from iscsim.scsi.layout import Layout, bits, derive, masks, pad_text

ROOMS = (capacity, cdb, designator, inquiry, mode, sense, supported, vpd)
LAYOUTS = {
    f"{module.__name__.rsplit('.', 1)[1]}.{name}": value
    for module in ROOMS
    for name, value in vars(module).items()
    if isinstance(value, Layout)
}


def flatten(layout, parsed):
    """Construct's answer in the shape of the quick path: a byte of bit fields becomes one integer again."""
    values = []
    for name in layout.fields:
        value = parsed[name]
        if isinstance(value, construct.Container):
            found = layout.masks(name)
            value = sum(
                part << (found[key] & -found[key]).bit_length() - 1
                for key, part in value.items()
                if key in found
            )
            values.append((value, sum(found.values())))
        else:
            values.append((value, None))
    return values


@pytest.mark.parametrize("name", LAYOUTS)
def test_quick_path_agrees_with_construct(name):
    layout = LAYOUTS[name]

    @given(st.binary(min_size=layout.size, max_size=layout.size))
    def agree(data):
        for (expected, mask), got in zip(
            flatten(layout, layout.construct.parse(data)), layout.struct.unpack(data), strict=True
        ):
            assert expected == (got if mask is None else got & mask)

    agree()


@pytest.mark.parametrize("name", LAYOUTS)
def test_sizes_agree_with_construct(name):
    assert LAYOUTS[name].size == LAYOUTS[name].construct.sizeof()


def test_there_are_layouts():
    assert len(LAYOUTS) > 25


def test_masks_are_read_from_the_bit_fields():
    layout = construct.Struct("flags" / bits(protect=3, dpo=1, fua=1, _=3))
    assert masks(layout, "flags") == {"protect": 0xE0, "dpo": 0x10, "fua": 0x08}


def test_derive_refuses_a_field_without_a_struct_code():
    with pytest.raises(TypeError, match="no code in struct"):
        derive(construct.Struct("length" / Int24ub))


def test_build_zeroes_what_is_not_given():
    layout = Layout("a" / Int8ub, Padding(1), "b" / Int16ub, "c" / Bytes(2))
    assert layout.build(b=0x0102) == bytes.fromhex("000001020000")


def test_build_refuses_an_unknown_name():
    with pytest.raises(KeyError, match="lab"):
        Layout("lba" / Int8ub).build(lab=1)


def test_parse_refuses_a_stump():
    with pytest.raises(ValueError, match="1 bytes where 2 were expected"):
        Layout("lba" / Int16ub).parse(b"\0")


def test_pad_text_cuts_and_pads():
    assert (pad_text("IET", 8), pad_text("VIRTUAL-DISK", 4)) == (b"IET     ", b"VIRT")


def test_pad_text_shows_what_ascii_cannot_carry_as_question_marks():
    assert pad_text("né\n", 4) == b"n?? "


def test_the_arguments_of_a_cdb_end_with_its_control_byte():
    layout = Layout("opcode" / Int8ub, "lba" / Int16ub, Padding(3))
    assert layout.arguments().unpack(bytes.fromhex("280102000007")) == (0x0102, 7)


def test_what_has_no_control_byte_is_no_cdb():
    with pytest.raises(TypeError, match=">H is not a CDB"):
        Layout("lba" / Int16ub).arguments()
