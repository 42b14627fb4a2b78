"""Names of disks: sda to sdz and on, the lowest free one first, and udev's links."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.initiator.device_names import (
    DiskNames,
    LowestFree,
    by_path_name,
    disk_index,
    disk_name,
)

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
