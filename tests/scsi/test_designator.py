import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.scsi.designator import (
    Association,
    Designator,
    naa_designator,
    relative_target_port_designator,
    scsi_name_designator,
    t10_vendor_designator,
    target_port_group_designator,
)

WWN = "6006016015e03a00ab2df25bb82d0ea9"
LOGICAL_UNIT = Association.LOGICAL_UNIT
designators = st.builds(
    Designator,
    type=st.integers(0, 15),
    code_set=st.integers(0, 15),
    association=st.integers(0, 3),
    value=st.binary(max_size=255),
    protocol=st.none() | st.integers(0, 15),
)


@pytest.mark.parametrize(
    "designator, encoded",
    [
        (naa_designator(WWN), "01030010" + WWN),
        (t10_vendor_designator("IET", "00010"), "0201000d" + b"IET     00010".hex()),
        (relative_target_port_designator(2), "5194000400000002"),
        (target_port_group_designator(3), "5195000400000003"),
        (
            scsi_name_designator("iqn.x,t,0x0001", Association.TARGET_PORT),
            "53980010" + b"iqn.x,t,0x0001\0\0".hex(),
        ),
        (scsi_name_designator("iqn.x.yz", Association.TARGET_DEVICE), "53a8000c" + b"iqn.x.yz\0\0\0\0".hex()),
    ],
)
def test_encoded(designator, encoded):
    assert designator.encode().hex() == encoded


@given(st.lists(designators, max_size=6))
def test_round_trip(found):
    assert Designator.parse_all(b"".join(designator.encode() for designator in found)) == found


@given(st.binary(max_size=600))
def test_parse_survives_anything(data):
    for designator in Designator.parse_all(data):
        assert isinstance(designator.text, str)


def test_parse_leaves_out_a_designator_that_is_cut():
    whole = naa_designator(WWN).encode()
    assert Designator.parse_all(whole + whole[:-1]) == [naa_designator(WWN)]


def test_encode_refuses_a_value_of_256_bytes():
    with pytest.raises(ValueError, match="at most 255"):
        Designator(0, 1, 0, bytes(256)).encode()


def test_a_long_iscsi_name_still_fits():
    name = "iqn.2026-11.com.example:" + "x" * 199 + ",t,0x0001"
    assert Designator.parse_all(scsi_name_designator(name, Association.TARGET_PORT).encode())[0].text == name
