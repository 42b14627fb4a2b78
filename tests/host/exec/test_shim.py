"""The stand-in for every command: what it leaves to the host, and what to the machine."""

from __future__ import annotations

import ast
import inspect
import os
from pathlib import Path

import pytest

from iscsim.host.exec import server, shim

ALLOWED = {"_socket", "os", "socket", "struct", "sys"}


@pytest.fixture(autouse=True)
def _values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shim, "ROOTS", ("/sys", "/dev", "/etc/iscsi"))
    monkeypatch.setattr(shim, "REAL_NODES", ("/dev/null", "/dev/zero", "/dev/pts"))


def test_it_imports_next_to_nothing() -> None:
    found = [node for node in ast.walk(ast.parse(inspect.getsource(shim))) if isinstance(node, ast.Import)]
    assert {alias.name for node in found for alias in node.names} <= ALLOWED


def test_it_speaks_as_the_server_does() -> None:
    for name in ("MAGIC", "STDOUT", "STDERR", "EXIT", "ASK", "INPUT"):
        assert getattr(shim, name) == getattr(server, name), name
    assert shim.FRAME.format == server.FRAME.format
    assert shim.PIECE <= server.MAX_FRAME


@pytest.mark.parametrize(
    "path, emulated",
    [
        ("/dev/sda", True),
        ("/dev/mapper/../dm-0", True),
        ("/sys/block/sda/device/delete", True),
        ("/sys", True),
        ("/system", False),
        ("/dev/null", False),
        ("/dev/pts/3", False),
        ("/dev/zero0", True),
        ("/etc/passwd", False),
        ("file", False),
        ("", False),
    ],
)
def test_which_paths_are_the_hosts(path: str, emulated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/tmp")
    assert shim.is_emulated(path) is emulated


def test_a_relative_path_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shim, "ROOTS", ("/tmp",))
    monkeypatch.chdir("/tmp")
    assert shim.is_emulated("x") is True
    assert shim.is_emulated("../x") is False


@pytest.mark.parametrize(
    "text, value", [("4k", 4096), ("1", 1), ("2M", 2 << 20), ("3kB", 3000), ("x", 0), ("", 0), ("1Q", 0)]
)
def test_amounts(text: str, value: int) -> None:
    assert shim.amount(text) == value


@pytest.mark.parametrize(
    "words, ordinary",
    [
        (["cat", "/etc/passwd"], True),
        (["cat"], True),
        (["cat", "/sys/block/sda/size"], False),
        (["cat", "/sys/block/sda/size", "/etc/passwd"], True),
        (["cat", "/etc/iscsi/initiatorname.iscsi"], True),
        (["cat", "/dev/sda"], True),
        (["dd", "if=/dev/zero", "of=/tmp/x", "count=1"], True),
        (["dd", "if=/dev/sda", "of=/dev/null"], False),
        (["dd", "if=/dev/sda", "seek=3"], True),
        (["tee", "/dev/null"], True),
        (["tee", "-a", "/sys/block/sda/device/delete"], False),
        (["iscsiadm", "-m", "session"], False),
    ],
)
def test_what_is_ordinary_is_the_machines_own(words: list[str], ordinary: bool) -> None:
    assert shim.Files(words[0], words[1:]).ordinary is ordinary


def test_dd_gets_a_disk_into_a_file(tmp_path: Path) -> None:
    files = shim.Files("dd", ["if=/dev/sda", f"of={tmp_path}/out", "bs=4k"])
    assert files.arguments == ["if=/dev/sda", "bs=4k"]
    assert os.readlink(f"/proc/self/fd/{files.outputs[0]}") == f"{tmp_path}/out"
    os.close(files.outputs[0])


def test_dd_takes_no_more_of_a_file_than_it_needs(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x" * 10)
    files = shim.Files("dd", [f"if={tmp_path}/in", "of=/dev/sda", "bs=1k", "count=3", "skip=2"])
    assert files.input_limit == 5 << 10
    assert files.arguments == ["of=/dev/sda", "bs=1k", "count=3", "skip=2"]
    os.close(files.input)


def test_tee_writes_to_files_beside_an_attribute(tmp_path: Path) -> None:
    files = shim.Files("tee", ["/sys/block/sda/device/delete", f"{tmp_path}/log"])
    assert files.arguments == ["/sys/block/sda/device/delete"]
    assert len(files.outputs) == 2
    os.close(files.outputs[1])


def test_the_real_program_is_not_the_shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("shims", "real"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cat").write_text("")
        (tmp_path / name / "cat").chmod(0o755)
    monkeypatch.setattr(shim, "SHIMS", str(tmp_path / "shims"))
    monkeypatch.setenv("PATH", f"{tmp_path}/shims:{tmp_path}/real")
    assert shim.real_program("cat") == f"{tmp_path}/real/cat"
    assert shim.real_program("nothing") == ""


def test_sudo_of_nothing_is_nothing() -> None:
    assert shim.main("sudo", ["-n"]) == 0


def test_sudo_says_what_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    assert shim.main("sudo", ["-u", "root", "/no/such/program"]) == 1
    assert capfd.readouterr().err == "sudo: /no/such/program: No such file or directory\n"


def test_without_a_host_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shim, "SOCKET", "/no/such/socket")
    assert shim.main("lsblk", []) == 1
    assert "lsblk: iscsim host exec: No such file or directory" in capfd.readouterr().err
