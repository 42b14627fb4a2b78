"""Where the processes of one user find each other."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from iscsim.cli.errors import EnvironmentFailure
from iscsim.cli.runtime import default_initiator_name, keeper_socket, runtime_directory
from iscsim.session.names import normalize_name


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ISCSIM_RUNTIME_DIR", "XDG_RUNTIME_DIR", "ISCSIM_INITIATOR_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "tmp"))


def test_directory_is_the_one_chosen_else_xdg_else_temporary(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert runtime_directory().parent == tmp_path / "tmp"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "xdg"))
    assert runtime_directory() == tmp_path / "xdg" / "iscsim"
    monkeypatch.setenv("ISCSIM_RUNTIME_DIR", str(tmp_path / "chosen"))
    assert runtime_directory() == tmp_path / "chosen"


def test_relative_directory_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISCSIM_RUNTIME_DIR", "here")
    assert runtime_directory() == tmp_path / "here"


def test_directory_is_made_for_its_owner_only() -> None:
    assert stat.S_IMODE(runtime_directory().stat().st_mode) == 0o700


def test_directory_others_may_enter_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setenv("ISCSIM_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(EnvironmentFailure, match="nobody else may enter"):
        runtime_directory()


def test_link_to_a_directory_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("ISCSIM_RUNTIME_DIR", str(tmp_path / "link"))
    with pytest.raises(EnvironmentFailure, match="must be a directory of yours"):
        runtime_directory()


def test_file_in_its_place_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ISCSIM_RUNTIME_DIR", str(tmp_path / "file"))
    with pytest.raises(EnvironmentFailure, match="File exists"):
        runtime_directory()


def test_path_too_long_for_a_socket_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ISCSIM_RUNTIME_DIR", str(tmp_path / ("x" * 100)))
    with pytest.raises(EnvironmentFailure, match="at most 107 bytes"):
        keeper_socket()


def test_initiator_name_is_the_one_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISCSIM_INITIATOR_NAME", "iqn.2026-11.test:me")
    assert default_initiator_name() == "iqn.2026-11.test:me"


@pytest.mark.parametrize("host", ["node-1.example", "MY_MACHINE", "", "b\u00fccher"])
def test_initiator_name_made_of_a_host_name_is_a_name(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert normalize_name(default_initiator_name()) == default_initiator_name()
