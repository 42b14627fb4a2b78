"""Files that are whole at every moment."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from iscsim.errors import ConfigError
from iscsim.target.administration.state_file import read_state, write_state


def test_document_is_written_as_rtslib_does_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "target" / "saveconfig.json"
    write_state(path, {"targets": [], "fabric_modules": [1]})
    assert path.read_text() == '{\n  "fabric_modules": [\n    1\n  ],\n  "targets": []\n}\n'
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o755)
    assert read_state(path) == {"targets": [], "fabric_modules": [1]}


def test_data_is_on_the_disk_before_its_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    sync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        steps.append("directory" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        sync(descriptor)

    def renamed(source: Path, target: Path) -> None:
        steps.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    write_state(tmp_path / "state", {})
    assert steps == ["file", "rename", "directory"]


def test_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    write_state(path, {"old": 1})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_state(path, {"new": 1})
    assert json.loads(path.read_text()) == {"old": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["state"]


def test_what_a_dead_process_left_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "state"
    (tmp_path / "state.temp").write_text("half of someth" * 1000)
    write_state(path, {"new": 1})
    assert (read_state(path), list(tmp_path.iterdir())) == ({"new": 1}, [path])


def test_link_in_the_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "state.temp").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        write_state(tmp_path / "state", {})
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize("text", ["{", "[" * 100000, "\x00"])
def test_what_is_not_json_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "state").write_text(text)
    with pytest.raises(ConfigError, match="not JSON") as caught:
        read_state(tmp_path / "state")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["FIFO", "directory"])
def test_what_is_no_file_is_neither_read_nor_replaced(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "state"
    make(path)
    before = path.lstat()
    with pytest.raises(ConfigError, match="no regular file"):
        write_state(path, {})
    with pytest.raises(ConfigError, match=r"no regular file|Is a directory"):
        read_state(path)
    assert (path.lstat().st_ino, os.listdir(tmp_path)) == (before.st_ino, ["state"])


def test_root_is_no_file() -> None:
    with pytest.raises(ConfigError, match="no regular file"):
        write_state(Path("/"), {})


def test_socket_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("state")
        with pytest.raises(ConfigError, match="no regular file"):
            write_state(tmp_path / "state", {})
        assert (tmp_path / "state").is_socket()


def test_fifo_in_the_place_of_the_temporary_file_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "state.temp")
    with pytest.raises(OSError, match="No such device"):
        write_state(tmp_path / "state", {})


@pytest.mark.parametrize(
    "text, problem",
    [('{"a": "\\ud800"}', "cannot be shown"), ("[" * 40 + "]" * 40, "nested more than 32 deep")],
)
def test_what_could_not_be_written_again_is_not_read(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "state").write_text(text)
    with pytest.raises(ConfigError, match=problem):
        read_state(tmp_path / "state")
