"""Three programs name one logical unit: recordings, the order of each, and whatever a page may hold."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.initiator.identity import (
    Identity,
    identify,
    kernel_wwid,
    multipath_wwid,
    os_brick_wwid,
    scsi_id,
    scsi_id_of_page,
)
from iscsim.scsi.designator import (
    Association,
    CodeSet,
    Designator,
    DesignatorType,
    naa_designator,
    relative_target_port_designator,
    t10_vendor_designator,
)
from iscsim.scsi.vpd import encode_device_identification, encode_unit_serial_number

TESTS = Path(__file__).parents[1]
RECORDED = json.loads((TESTS / "scsi" / "recorded.json").read_text())
WWN = "6006016015e03a00ab2df25bb82d0ea9"


def unit_name(kind: DesignatorType, code_set: CodeSet, value: bytes) -> Designator:
    return Designator(kind, code_set, Association.LOGICAL_UNIT, value)


def name_string(text: str) -> Designator:
    value = text.encode() + b"\0"
    return unit_name(DesignatorType.SCSI_NAME, CodeSet.UTF_8, value + bytes(-len(value) % 4))


NAA_6 = naa_designator(WWN)
NAA_6_LATER = naa_designator("6" + "1" * 31)
NAA_5 = unit_name(DesignatorType.NAA, CodeSet.BINARY, bytes.fromhex("5000c50015ea71ac"))
NAA_3 = unit_name(DesignatorType.NAA, CodeSet.BINARY, bytes.fromhex("30000001000000c5"))
NAA_2 = unit_name(DesignatorType.NAA, CodeSet.BINARY, bytes.fromhex("20000001000000c5"))
NAA_4 = unit_name(DesignatorType.NAA, CodeSet.BINARY, bytes.fromhex("40000001000000c5"))
NAA_6_ASCII = unit_name(DesignatorType.NAA, CodeSet.ASCII, WWN.encode())
NAA_6_SHORT = unit_name(DesignatorType.NAA, CodeSet.BINARY, bytes.fromhex("600601601122"))
EUI_8 = unit_name(DesignatorType.EUI_64, CodeSet.BINARY, bytes.fromhex("0011223344556677"))
EUI_16 = unit_name(DesignatorType.EUI_64, CodeSet.BINARY, bytes(range(16)))
EUI_9 = unit_name(DesignatorType.EUI_64, CodeSet.BINARY, bytes(range(9)))
T10 = t10_vendor_designator("IET", "00010  0000")
T10_SHORT = unit_name(DesignatorType.T10_VENDOR, CodeSet.ASCII, b"IET 1")
VENDOR = unit_name(DesignatorType.VENDOR_SPECIFIC, CodeSet.ASCII, b"disk 7")
NAME_EUI = name_string("eui.0011223344556677AABBCCDDEEFF0011")
NAME_IQN = name_string("iqn.2026-11.test:Disk,L,0x0001000000000000")
NAME_OTHER = name_string("uuid.f81d4fae-7dec-11d0-a765-00a0c91e6bf6")
PORT = Designator(DesignatorType.NAA, CodeSet.BINARY, Association.TARGET_PORT, bytes.fromhex(WWN))

designators = st.builds(
    Designator,
    type=st.integers(0, 15),
    code_set=st.integers(0, 15),
    association=st.integers(0, 3),
    value=st.binary(max_size=255),
    protocol=st.none() | st.integers(0, 15),
)


def recorded_page(peer: str, page: int) -> bytes:
    """What LUN 197 of a capture answered, whole."""
    return max(
        (
            bytes.fromhex(each["data"])
            for each in RECORDED
            if each["peer"] == peer
            and each["cdb"].startswith(f"1201{page:02x}")
            and each["lun"] == "00c5000000000000"
        ),
        key=len,
    )


# -- against what was recorded ---------------------------------------------------------------------------


@pytest.mark.parametrize("peer, wwn", [("tgt", WWN), ("LIO", "6001405e7d4395dc03347c9bd5b36742")])
def test_all_agree_on_the_units_of_the_captures(peer: str, wwn: str) -> None:
    identity = identify(recorded_page(peer, 0x83), recorded_page(peer, 0x80))
    assert identity == Identity(scsi_id=f"3{wwn}", wwid=f"naa.{wwn}", multipath=f"3{wwn}")
    assert (identity.os_brick, identity.disagreements()) == (f"3{wwn}", [])
    assert str(identity) == f"scsi_id 3{wwn}, wwid naa.{wwn}, multipath 3{wwn}"


def test_scsi_id_prints_what_the_log_has() -> None:
    log = (TESTS / "golden" / "open-iscsi-2.1.8-linux-6.1.log").read_text()
    printed = re.search(r"^## scsi_id\n(\S+)$", log, re.MULTILINE)
    assert printed is not None
    assert identify(recorded_page("tgt", 0x83)).scsi_id == printed[1]


def test_names_of_page_80_and_t10_are_those_of_the_recorded_links() -> None:
    log = (TESTS / "golden" / "open-iscsi-2.1.8-linux-6.1.log").read_text()
    links = re.findall(r" scsi-(\S+) ->", log)
    page_83, page_80 = recorded_page("tgt", 0x83), recorded_page("tgt", 0x80)
    t10, naa_3, naa_6 = identify_each(page_83)
    serial = scsi_id_of_page(b"", page_80, vendor="DGC", product="VRAID")
    assert [t10, naa_3, naa_6, serial] == [links[0], links[1], links[2], links[3]]


def identify_each(page_83: bytes) -> list[str]:
    """What scsi_id would say if only one designator were there."""
    return [scsi_id([each]) for each in Designator.parse_all(page_83[4:])]


# -- the order of each -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "found, named",
    [
        ([T10, NAA_3, NAA_6], "3" + WWN),
        ([T10, NAA_5, NAA_3], "35000c50015ea71ac"),
        ([NAA_6_ASCII, NAA_5], "35000c50015ea71ac"),  # its first byte is "6", 36h: no NAA 6 for scsi_id
        ([NAA_6_ASCII, T10], "3" + WWN),
        ([T10, NAA_3], "330000001000000c5"),
        ([NAA_6, NAA_6_LATER], "3" + WWN),
        ([NAME_EUI, NAA_6], "3" + WWN),
        ([T10, EUI_8], "20011223344556677"),
        ([VENDOR, T10], "1IET_00010_0000"),
        ([VENDOR], "0DGC_VRAID_disk_7"),
        ([NAME_IQN], ""),
        ([PORT, relative_target_port_designator(1)], ""),
        ([unit_name(DesignatorType.NAA, CodeSet.BINARY, b"")], ""),
        ([unit_name(DesignatorType.EUI_64, CodeSet.BINARY, bytes(128)), T10], "1IET_00010_0000"),
        ([unit_name(DesignatorType.T10_VENDOR, CodeSet.ASCII, b"A/B\0rest\xff")], "1A_B"),
        ([unit_name(DesignatorType.T10_VENDOR, CodeSet.UTF_8, b"IET     x")], ""),
        ([], ""),
    ],
)
def test_scsi_id(found: list[Designator], named: str) -> None:
    assert scsi_id(found, vendor="DGC", product="VRAID") == named


@pytest.mark.parametrize(
    "found, named",
    [
        ([T10, NAA_3, NAA_6], "naa." + WWN),
        ([NAA_6, NAA_6_LATER], "naa.6" + "1" * 31),
        ([NAA_6, NAME_EUI], "eui.0011223344556677AABBCCDDEEFF0011"),
        ([NAME_IQN, NAA_6], "iqn.2026-11.test:Disk,L,0x0001000000000000"),
        ([NAA_6, name_string("iqn.x:1")], "naa." + WWN),  # a shorter name does not take its place
        ([NAME_OTHER], "uuid.f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
        ([EUI_16, NAA_5], "eui.000102030405060708090a0b0c0d0e0f"),
        ([NAA_4, NAA_5, NAA_4], "naa.5000c50015ea71ac"),
        ([EUI_8, NAA_3], "eui.0011223344556677"),
        ([NAA_2], ""),
        ([T10, NAA_3], "naa.30000001000000c5"),
        ([NAA_3, T10], "t10.IET     00010  0000"),
        ([T10, T10_SHORT], "t10.IET     00010  0000"),
        ([T10, NAA_6_SHORT], "t10.IET     00010  0000"),  # preferred, but of a length that is not written
        (
            [unit_name(DesignatorType.T10_VENDOR, CodeSet.ASCII, b"a\\\0\n\x01\x1b\x80\xe9")],
            "t10.a\\\\0\\n\\001\\e\\200é",
        ),
        ([EUI_9, VENDOR, PORT], ""),
    ],
)
def test_kernel_wwid(found: list[Designator], named: str) -> None:
    assert kernel_wwid(found) == named


@pytest.mark.parametrize(
    "found, named",
    [
        ([T10, NAA_3, NAA_6], "3" + WWN),
        ([NAA_6, NAA_6_LATER], "3" + WWN),
        ([NAA_2, NAA_5], "35000c50015ea71ac"),
        ([NAME_EUI, NAA_2], "320000001000000c5"),
        ([NAA_6_SHORT, EUI_8], "20011223344556677"),
        ([NAME_IQN, EUI_8], "20011223344556677"),
        ([NAA_4, NAA_3, NAME_EUI], "20011223344556677aabbccddeeff0011"),
        ([T10, name_string("naa.5000C50015EA71AC")], "35000c50015ea71ac"),
        ([NAME_IQN], "82026-11.test:Disk,L,0x0001000000000000"),
        ([NAME_OTHER, NAA_4, EUI_9, T10_SHORT, VENDOR, PORT], ""),
        ([NAA_3, T10], "1IET_00010_0000"),
        ([unit_name(DesignatorType.T10_VENDOR, CodeSet.ASCII, b"  A  B   ")], "1_A_B"),
        ([t10_vendor_designator("IET", "x" * 150)], "1IET_" + "x" * 122),
    ],
)
def test_multipath_wwid(found: list[Designator], named: str) -> None:
    assert multipath_wwid(found) == named


@pytest.mark.parametrize(
    "wwid, named",
    [
        ("naa." + WWN, "3" + WWN),
        ("t10.IET     1", "1IET     1"),
        ("eui.0011\n", "20011"),
        ("iqn.2026-11.test:disk", "82026-11.test:disk"),
        ("uuid.f81d", "8.f81d"),
        ("", ""),
    ],
)
def test_os_brick_reads_sysfs(wwid: str, named: str) -> None:
    assert os_brick_wwid(wwid) == named


# -- whole pages -----------------------------------------------------------------------------------------


def test_page_80_is_the_last_resort_of_scsi_id_alone() -> None:
    page_80 = encode_unit_serial_number("  FNM00150600267")
    identity = identify(encode_device_identification([PORT]), page_80, vendor="DGC", product="VRAID")
    assert identity == Identity(scsi_id="SDGC_VRAID_FNM00150600267")
    assert identity.disagreements() == [
        "scsi_id says SDGC_VRAID_FNM00150600267, os-brick, from the kernel's wwid, says nothing",
        "scsi_id says SDGC_VRAID_FNM00150600267, multipath-tools says nothing",
    ]


def test_an_empty_serial_number_leaves_a_name_that_is_not_unique() -> None:
    page_80 = encode_unit_serial_number("    ")
    assert identify(b"", page_80, vendor="DGC", product="VRAID").scsi_id == "SDGC_VRAID"


def test_a_name_string_of_the_unit_hides_its_naa_name_from_os_brick() -> None:
    identity = identify(encode_device_identification([NAA_6, NAME_IQN]))
    assert identity.disagreements() == [
        f"scsi_id says 3{WWN}, os-brick, from the kernel's wwid, says 82026-11.test:Disk,L,0x0001000000000000"
    ]


def test_scsi_id_does_not_see_what_stands_behind_byte_254() -> None:
    long_name = unit_name(DesignatorType.VENDOR_SPECIFIC, CodeSet.ASCII, b"v" * 240)
    identity = identify(encode_device_identification([T10, long_name, NAA_6]))
    assert (identity.scsi_id, identity.wwid) == ("1IET_00010_0000", f"naa.{WWN}")


def test_scsi_id_takes_a_page_of_before_spc_3_whole() -> None:
    page = bytes.fromhex("00830010") + bytes.fromhex("60060480000290103447533030303138")
    assert identify(page).scsi_id == "3" + page[4:].hex()


@pytest.mark.parametrize("page", [b"", b"\0", b"\0\x81\0\0", b"\0\x83\xff\xff", b"\0\x83"])
def test_page_that_is_none_names_nothing(page: bytes) -> None:
    assert identify(page, page) == Identity()


@given(st.lists(designators, max_size=6), st.text(max_size=10))
def test_any_designators_have_names_and_always_the_same(found: list[Designator], vendor: str) -> None:
    page = encode_device_identification(found)
    identity = identify(page, vendor=vendor)
    assert identity == identify(page, vendor=vendor)
    assert all(isinstance(line, str) for line in identity.disagreements())
    assert not re.search(r"\s", identity.scsi_id + identity.multipath[:0])
    assert len(identity.multipath) <= 127


@given(st.binary(max_size=600), st.binary(max_size=300))
def test_no_page_breaks_it(page_83: bytes, page_80: bytes) -> None:
    identity = identify(page_83, page_80)
    assert isinstance(identity.os_brick, str)
    assert "\0" not in identity.scsi_id + identity.wwid + identity.multipath


@given(st.binary(min_size=16, max_size=16), st.lists(designators, max_size=4))
def test_a_naa_6_name_alone_of_its_kind_is_found_by_all(value: bytes, others: list[Designator]) -> None:
    """Whatever stands beside it, unless that is as good, or a name string."""
    naa = unit_name(DesignatorType.NAA, CodeSet.BINARY, bytes([0x60 | value[0] & 0x0F]) + value[1:])
    beside = [each for each in others if each.type not in (DesignatorType.NAA, DesignatorType.SCSI_NAME)]
    identity = identify(encode_device_identification([naa, *beside]))
    assert identity.disagreements() == []
    assert identity.wwid == f"naa.{naa.value.hex()}"
