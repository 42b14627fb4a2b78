"""Names of disks: sda to sdz and on, the lowest free one first, and udev's links."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.initiator.device_names import (
    DiskNames,
    LowestFree,
    by_id_names,
    by_path_name,
    disk_index,
    disk_name,
)

TESTS = Path(__file__).parents[1]
RECORDED = json.loads((TESTS / "scsi" / "recorded.json").read_text())
TARGET = "iqn.1992-04.com.emc:cx.fnm00150600267.a0"


@pytest.mark.parametrize(
    "index, name",
    [(0, "sda"), (25, "sdz"), (26, "sdaa"), (27, "sdab"), (701, "sdzz"), (702, "sdaaa")],
)
def test_letters_count_like_the_kernels(index: int, name: str) -> None:
    assert (disk_name(index), disk_index(name)) == (name, index)


@given(st.integers(0, 10**6))
def test_every_name_leads_back_to_its_number(index: int) -> None:
    assert disk_index(disk_name(index)) == index


@pytest.mark.parametrize("name", ["", "sd", "sda1", "vda", "sdA", "hda"])
def test_what_is_no_name_of_a_disk_is_refused(name: str) -> None:
    with pytest.raises(KeyError):
        disk_index(name)


def test_the_lowest_free_name_is_given_out() -> None:
    names = DiskNames()
    assert [names.take() for _ in range(3)] == ["sda", "sdb", "sdc"]
    names.give_back("sdb")
    names.give_back("sda")
    assert [names.take(), names.take(), names.take()] == ["sda", "sdb", "sdd"]
    assert list(names) == ["sda", "sdb", "sdc", "sdd"]


def test_a_number_nobody_has_cannot_be_given_back() -> None:
    numbers = LowestFree(first=6)
    assert numbers.take() == 6
    with pytest.raises(KeyError):
        numbers.give_back(7)


@pytest.mark.parametrize(
    "lun, end",
    [
        (0, "lun-0"),
        (197, "lun-197"),
        (255, "lun-255"),
        (256, "lun-0x0100000000000000"),
        (16581, "lun-0x40c5000000000000"),
        (16640, "lun-0x4100000000000000"),
        (49409, "lun-0xc101000000000000"),
        (0x0040D200, "lun-0xd200004000000000"),
    ],
)
def test_by_path(lun: int, end: str) -> None:
    link = by_path_name("10.245.47.95:3260", TARGET, lun)
    assert link == f"/dev/disk/by-path/ip-10.245.47.95:3260-iscsi-{TARGET}-{end}"


def test_by_path_has_no_brackets_around_an_ipv6_address() -> None:
    link = by_path_name("[fd00::95]:3260", TARGET, 1)
    assert link == f"/dev/disk/by-path/ip-fd00::95:3260-iscsi-{TARGET}-lun-1"


def recorded_page(capture: str, code: int) -> bytes:
    """A page of LUN 197, whole."""
    found = [
        bytes.fromhex(each["data"])
        for each in RECORDED
        if (each["capture"], each["lun"][:4], each["cdb"][:6]) == (capture, "00c5", f"1201{code:02x}")
    ]
    return max(found, key=len)


def test_by_id_links_are_those_of_the_recording() -> None:
    log = (TESTS / "golden" / "open-iscsi-2.1.8-linux-6.1.log").read_text()
    capture = "open-iscsi-discovery-login-scan-io"
    links = by_id_names(
        recorded_page(capture, 0x83), recorded_page(capture, 0x80), vendor="DGC", product="VRAID"
    )
    assert links == sorted(re.findall(r" ((?:scsi|wwn)-\S+) -> ../../sda$", log, re.MULTILINE))


def test_by_id_links_of_a_name_string_and_of_nothing() -> None:
    page = bytes.fromhex("00830018") + bytes.fromhex("03080014") + b"naa.600601601111".ljust(20, b"\0")
    assert by_id_names(page, b"", vendor="V", product="P") == ["scsi-8naa.600601601111"]
    assert by_id_names(b"\0\0", b"", vendor="V", product="P") == []


@given(st.binary(max_size=300), st.binary(max_size=60))
def test_by_id_links_of_any_page_have_no_blanks(page_83: bytes, page_80: bytes) -> None:
    for link in by_id_names(b"\0\x83" + page_83, b"\0\x80" + page_80, vendor="V", product="P"):
        assert re.fullmatch(r"(scsi|wwn)-[^\s\0]+", link)
