"""Registrations in files: whole ones, one program at a time, and nothing lost in silence."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from iscsim.errors import ConfigError
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.store import MemoryStore
from iscsim.target.state import RegistrationFile, StateDirectory

STATE = {"version": 1, "activated": False, "registrations": [], "reservation": None}


def unit() -> LogicalUnit:
    return LogicalUnit(MemoryStore(64), serial="disk")


@pytest.fixture
def file(tmp_path: Path) -> RegistrationFile:
    return RegistrationFile(tmp_path / "unit.json")


def test_the_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    with StateDirectory(tmp_path / "a" / "b") as state:
        assert stat.S_IMODE(state.path.stat().st_mode) == 0o700


def test_a_unit_has_a_file_under_its_wwn(tmp_path: Path) -> None:
    disk = unit()
    with StateDirectory(tmp_path) as state:
        state.keep(disk)
        with disk.reservations.transaction():
            disk.reservations.activated = True
    assert json.loads((tmp_path / f"{disk.wwn}.json").read_text())["activated"] is True


def test_what_was_saved_is_loaded(file: RegistrationFile) -> None:
    assert file.load() is None
    file.save(STATE)
    file.save(STATE | {"activated": True})
    assert file.load() == STATE | {"activated": True}
    assert os.listdir(file.path.parent) == ["unit.json"]
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_everything_is_on_the_disk_before_it_takes_the_place(
    file: RegistrationFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        steps.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def note_replace(source: Path, target: Path) -> None:
        steps.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    file.save(STATE)
    assert steps == ["file", "replace", "directory"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_save_that_fails_leaves_the_one_before(
    file: RegistrationFile, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    file.save(STATE)

    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space"):
        file.save(STATE | {"activated": True})
    assert (file.load(), os.listdir(file.path.parent)) == (STATE, ["unit.json"])


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"\xff\xfe", b"null", b"[" * 100_000, b" " * ((4 << 20) + 1), b'{"version": 1}'],
)
def test_a_damaged_file_is_refused_in_one_line_that_names_it(tmp_path: Path, data: bytes) -> None:
    disk = unit()
    (tmp_path / f"{disk.wwn}.json").write_bytes(data)
    with StateDirectory(tmp_path) as state, pytest.raises(ConfigError, match=disk.wwn) as caught:
        state.keep(disk)
    assert "\n" not in str(caught.value)
    assert disk.reservations.registrations == []


def test_a_file_that_cannot_be_read_is_refused(file: RegistrationFile) -> None:
    file.path.mkdir()
    with pytest.raises(ConfigError, match="directory"):
        file.load()


def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(file: RegistrationFile) -> None:
    os.mkfifo(file.path)
    with pytest.raises(ConfigError, match="not a regular file"):
        file.load()


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"state directory .*file: (File exists|Not a directory)"):
        StateDirectory(tmp_path / "file")


def test_a_directory_others_can_write_to_is_refused(tmp_path: Path) -> None:
    """Anybody could put registrations there."""
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="others can write to it"):
        StateDirectory(tmp_path)


def test_a_directory_belongs_to_one_program_until_it_lets_go(tmp_path: Path) -> None:
    with StateDirectory(tmp_path) as state:
        with pytest.raises(ConfigError, match="another iscsim uses it"):
            StateDirectory(tmp_path)
        state.close()
        StateDirectory(tmp_path).close()


def test_a_directory_that_cannot_be_written_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *arguments: False)  # root may write everywhere
    with pytest.raises(ConfigError, match="cannot be written to"):
        StateDirectory(tmp_path)
    monkeypatch.undo()
    StateDirectory(tmp_path).close()
