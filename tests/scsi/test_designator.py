import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.scsi.designator import (
    Association,
    CodeSet,
    Designator,
    DesignatorType,
    naa_designator,
    relative_target_port_designator,
    scsi_name_designator,
    t10_vendor_designator,
    target_port_group_designator,
    udev_identifier,
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
        assert designator.naa in (None, *range(16))
    assert isinstance(udev_identifier(Designator.parse_all(data)), str)


def test_parse_leaves_out_a_designator_that_is_cut():
    whole = naa_designator(WWN).encode()
    assert Designator.parse_all(whole + whole[:-1]) == [naa_designator(WWN)]


def test_encode_refuses_a_value_of_256_bytes():
    with pytest.raises(ValueError, match="at most 255"):
        Designator(0, 1, 0, bytes(256)).encode()


def test_a_long_iscsi_name_still_fits():
    name = "iqn.2026-11.com.example:" + "x" * 199 + ",t,0x0001"
    assert Designator.parse_all(scsi_name_designator(name, Association.TARGET_PORT).encode())[0].text == name


def unit_name(kind, code_set, value):
    return Designator(kind, code_set, LOGICAL_UNIT, value)


NAA_3 = unit_name(DesignatorType.NAA, CodeSet.BINARY, bytes.fromhex("30000001000000c5"))
NAA_5 = unit_name(DesignatorType.NAA, CodeSet.BINARY, bytes.fromhex("5000c50015ea71ac"))
NAA_6_ASCII = unit_name(DesignatorType.NAA, CodeSet.ASCII, WWN.encode())
EUI = unit_name(DesignatorType.EUI_64, CodeSet.BINARY, bytes.fromhex("0011223344556677"))
T10 = t10_vendor_designator("IET", "00010  0000")
VENDOR = unit_name(DesignatorType.VENDOR_SPECIFIC, CodeSet.ASCII, b"disk 7")


@pytest.mark.parametrize(
    "found, identifier",
    [
        ([T10, NAA_3, naa_designator(WWN)], "3" + WWN),
        ([T10, NAA_5, NAA_3], "35000c50015ea71ac"),
        ([NAA_6_ASCII, NAA_5], "3" + WWN),
        ([T10, NAA_3], "330000001000000c5"),
        ([T10, EUI], "20011223344556677"),
        ([VENDOR, T10], "1IET_00010_0000"),
        ([VENDOR], "0DGC_VRAID_disk_7"),
        ([], "SDGC_VRAID_FNM00150600267"),
        ([relative_target_port_designator(1)], "SDGC_VRAID_FNM00150600267"),
        ([scsi_name_designator(WWN, Association.TARGET_DEVICE), T10], "1IET_00010_0000"),
    ],
)
def test_udev_identifier_follows_scsi_ids_order(found, identifier):
    assert udev_identifier(found, vendor="DGC", product="VRAID", serial="  FNM00150600267") == identifier


def test_udev_identifier_of_a_nameless_disk_is_empty():
    assert udev_identifier([], vendor="DGC") == ""


def test_udev_identifier_ignores_the_names_of_other_things():
    port = Designator(DesignatorType.NAA, CodeSet.BINARY, Association.TARGET_PORT, bytes.fromhex(WWN))
    assert udev_identifier([port]) == ""


def test_a_naa_name_in_letters_that_are_no_number_has_no_naa():
    assert unit_name(DesignatorType.NAA, CodeSet.ASCII, b"xyz").naa is None
    assert (NAA_5.naa, NAA_6_ASCII.naa, EUI.naa) == (5, 6, None)
