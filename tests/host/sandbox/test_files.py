"""System calls on files: the host's where it claims the path, the real ones elsewhere."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from iscsim.host.model import Host
from iscsim.host.sandbox.files import Files
from iscsim.host.tree import File, Link, Node
from iscsim.net.memory import MemoryNetwork


@pytest.fixture
def host() -> Host:
    made = Host(MemoryNetwork().add_host("compute", "10.245.47.10"))
    made.sources.append(
        lambda: [
            ("/dev/sda", Node("sda", 8, 0)),
            ("/dev/disk/by-id/x", Link("../../sda")),
            ("/sys/block/sda/size", File(lambda: b"8\n")),
        ]
    )
    return made


@pytest.fixture
def calls(host: Host) -> ModuleType:
    module = ModuleType("os")
    Files(host).install(module)
    return module


def number_of(call: Any, *args: Any) -> int | None:
    with pytest.raises(OSError) as caught:
        call(*args)
    return caught.value.errno


def test_only_what_is_claimed_is_the_hosts(host: Host, tmp_path: Path) -> None:
    files = Files(host)
    claimed = ["/sys/block", "/dev", "/dev/../dev/sda", "/etc/iscsi/x", b"/sys"]
    real = ["/etc/passwd", "/dev/null", "sys", "/system", str(tmp_path), 3]
    assert [files.claims(path) is not None for path in claimed] == [True] * len(claimed)
    assert [files.claims(path) is not None for path in real] == [False] * len(real)


def test_kinds_of_files(calls: Any) -> None:
    assert stat.S_ISBLK(calls.stat("/dev/disk/by-id/x").st_mode)
    assert calls.stat("/dev/sda").st_rdev == os.makedev(8, 0)
    assert stat.S_ISLNK(calls.lstat("/dev/disk/by-id/x").st_mode)
    assert calls.readlink("/dev/disk/by-id/x") == "../../sda"
    assert stat.S_ISDIR(calls.stat("/sys/block").st_mode)
    assert calls.stat("/sys/block/sda/size").st_size == 2
    assert calls.access("/dev/sda", os.R_OK)
    assert not calls.access("/dev/sdb", os.R_OK)


def test_directories_are_listed(calls: Any) -> None:
    assert calls.listdir("/dev") == ["disk", "sda"]
    with calls.scandir("/dev") as entries:
        found = {each.name: (each.is_dir(), each.is_file(), each.is_symlink()) for each in entries}
    assert found == {"disk": (True, False, False), "sda": (False, False, False)}


def test_what_is_not_there_or_of_another_kind(calls: Any) -> None:
    assert number_of(calls.stat, "/dev/sdz") == errno.ENOENT
    assert number_of(calls.listdir, "/dev/sda") == errno.ENOTDIR
    assert number_of(calls.readlink, "/dev/sda") == errno.EINVAL
    assert number_of(calls.unlink, "/dev/disk") == errno.EISDIR
    assert number_of(calls.unlink, "/dev/sda") == errno.EPERM
    assert number_of(calls.open, "/dev/scini", os.O_RDWR) == errno.ENOENT
    assert number_of(calls.symlink, "x", "/dev/sda") == errno.EEXIST
    assert number_of(calls.rmdir, "/dev/disk") == errno.ENOTEMPTY


def test_links_directories_and_files_can_be_made_and_removed(calls: Any, host: Host) -> None:
    calls.symlink("../sda", "/dev/mine")
    assert calls.readlink("/dev/mine") == "../sda"
    calls.mkdir("/etc/nvme")
    calls.unlink("/dev/mine")
    calls.rmdir("/etc/nvme")
    assert host.leftovers() == ["link /dev/disk/by-id/x"]


def test_files_are_read_written_and_appended_to(host: Host) -> None:
    files = Files(host)
    with files.open_file("/etc/iscsi/new", "w") as file:
        file.write("one\n")
    with files.open_file("/etc/iscsi/new", "a") as file:
        file.write("two\n")
    with files.open_file("/etc/iscsi/new", encoding="ascii") as file:
        assert file.readlines() == ["one\n", "two\n"]
    with files.open_file("/sys/block/sda/size", "rb") as file:
        assert file.read() == b"8\n"


@pytest.mark.parametrize(
    ("path", "mode", "number"),
    [
        ("/sys/block/sda/none", "r", errno.ENOENT),
        ("/sys/block", "r", errno.EISDIR),
        ("/sys/block/sda/size", "w", errno.EACCES),
        ("/etc/iscsi/initiatorname.iscsi", "x", errno.EEXIST),
        ("/etc/iscsi/none", "r+", errno.ENOENT),
    ],
)
def test_files_that_cannot_be_opened(host: Host, path: str, mode: str, number: int) -> None:
    assert number_of(Files(host).open_file, path, mode) == number


def test_real_paths_stay_real(calls: Any, host: Host, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("here")
    assert calls.listdir(str(tmp_path)) == ["real"]
    with Files(host).open_file(tmp_path / "real") as file:
        assert file.read() == "here"
