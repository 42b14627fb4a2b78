"""The emulated file system follows links as Linux does."""

from __future__ import annotations

import errno

import pytest

from iscsim.host.tree import Entry, File, Link, Node, Tree


@pytest.fixture
def tree() -> Tree:
    entries: list[tuple[str, Entry]] = [
        ("/sys/block/sda", Link("../devices/host2/sda")),
        ("/sys/devices/host2/wwid", File(lambda: b"naa.6\n")),
        ("/sys/devices/host2/sda/device", Link("..")),
        ("/sys/devices/host2/sda/size", File(lambda: b"8\n")),
        ("/dev/sda", Node("sda", 8, 0)),
        ("/dev/disk/by-id/wwn", Link("../../sda")),
        ("/dev/loop/a", Link("b")),
        ("/dev/loop/b", Link("a")),
        ("/dev/gone", Link("nowhere")),
    ]
    return Tree([lambda: entries])


def test_links_within_a_path_are_followed(tree: Tree) -> None:
    assert tree.read("/sys/block/sda/device/wwid") == b"naa.6\n"
    assert tree.resolve("/sys/block/sda/device/wwid") == "/sys/devices/host2/wwid"


def test_last_link_is_kept_when_it_is_not_to_be_followed(tree: Tree) -> None:
    assert tree.lookup("/dev/disk/by-id/wwn") == Node("sda", 8, 0)
    assert tree.lookup("/dev/disk/by-id/wwn", follow=False) == Link("../../sda")


def test_directories_above_an_entry_are_there(tree: Tree) -> None:
    assert tree.listdir("/") == ["dev", "sys"]
    assert tree.listdir("/dev") == ["disk", "gone", "loop", "sda"]


def test_link_to_nowhere_is_nothing_but_a_link(tree: Tree) -> None:
    assert not tree.exists("/dev/gone")
    assert tree.exists("/dev/gone", follow=False)


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/dev/nope", errno.ENOENT),
        ("/dev/loop/a", errno.ELOOP),
        ("/dev/sda/x", errno.ENOTDIR),
        ("/dev/disk", errno.EISDIR),
        ("/dev/sda", errno.EINVAL),
    ],
)
def test_errors_are_those_of_the_system_calls(tree: Tree, path: str, number: int) -> None:
    with pytest.raises(OSError) as caught:
        tree.read(path)
    assert caught.value.errno == number


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/../b", "a//b", "..", ".", "a\0b", ""])
def test_name_that_leads_elsewhere_is_no_entry(name: str) -> None:
    tree = Tree([lambda: [(f"/dev/disk/by-path/{name}", Link("../../sda")), ("/dev/sda", Node("sda", 8, 0))]])
    assert list(tree) == ["/", "/dev", "/dev/sda"]
