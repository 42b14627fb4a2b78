"""Executables in the place of cinder-rtstool and sudo."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from iscsim.openstack.rtstool.command import main
from iscsim.openstack.rtstool.shims import lay


def test_both_are_executable_and_named(tmp_path: Path, capsys: Any) -> None:
    assert main(["iscsim-rtstool", "shims", str(tmp_path / "bin")]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown == [str(tmp_path / "bin" / name) for name in ("cinder-rtstool", "sudo")]
    assert all(os.access(path, os.X_OK) for path in shown)
    assert sorted(path.name for path in (tmp_path / "bin").iterdir()) == ["cinder-rtstool", "sudo"]


def test_directory_that_cannot_be_is_one_line(capsys: Any) -> None:
    assert main(["iscsim-rtstool", "shims", "/proc/none"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_shims_without_a_directory_say_what_is_missing(capsys: Any) -> None:
    assert main(["iscsim-rtstool", "shims"]) == 1
    shown = capsys.readouterr()
    assert (shown.out, "directory" in shown.err, shown.err.count("\n")) == ("", True, 1)


@pytest.mark.parametrize(
    "prefix",
    [
        ["sudo"],
        ["sudo", "-n"],
        ["sudo", "-u", "root", "-n", "--"],
        ["sudo", "cinder-rootwrap", "/etc/cinder/rootwrap.conf"],
        ["sudo", "-E", "/usr/bin/cinder-rootwrap", "/etc/cinder/rootwrap.conf", "env", "LC_ALL=C", "A=b c"],
    ],
    ids=str,
)
def test_sudo_drops_what_comes_before_the_tool(array: Any, prefix: list[str]) -> None:
    done = array.run(*prefix, "cinder-rtstool", "get-targets")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "command", [["rm", "-rf", "x"], ["cinder-rootwrap", "conf", "lvs"], [], ["-n"], ["env"]], ids=str
)
def test_sudo_runs_nothing_else(idle_array: Any, command: list[str]) -> None:
    done = idle_array.run("sudo", *command)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("sudo: the one of iscsim runs cinder-rtstool")


@pytest.mark.parametrize("command", [["-u"], ["cinder-rootwrap"]], ids=str)
def test_sudo_without_what_an_option_takes_ends(idle_array: Any, command: list[str]) -> None:
    shim = idle_array.path / "shims"
    list(lay(shim))
    for shell in filter(None, map(shutil.which, ("sh", "bash"))):
        done = subprocess.run([shell, shim / "sudo", *command], capture_output=True, timeout=10)
        assert (done.returncode, done.stderr[:6]) == (1, b"sudo: ")


@pytest.mark.parametrize("prefix", [["sudo"], ["sudo", "env"], ["env"]], ids=" ".join)
def test_variables_have_the_tool_run_nothing_else(array: Any, prefix: list[str]) -> None:
    for name in ("sitecustomize", "json"):
        (array.path / f"{name}.py").write_text("raise SystemExit('this is something else')")
    done = array.run(
        *prefix, f"PYTHONPATH={array.path}", "LD_PRELOAD=/x", "-p=1", "cinder-rtstool", "get-targets"
    )
    if prefix == ["env"]:
        done = array.run("env", f"PYTHONPATH={array.path}", "cinder-rtstool", "get-targets")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_socket_may_be_written_into_them(array: Any) -> None:
    list(lay(array.path / "with", control=str(array.socket)))
    array.extra = {"ISCSIM_CONTROL": "", "XDG_RUNTIME_DIR": ""}
    done = array.run(str(array.path / "with" / "cinder-rtstool"), "get-targets")
    assert (done.returncode, done.stderr) == (0, "")


def test_they_run_from_anywhere(array: Any) -> None:
    """iscsim is found where it was, installed or not."""
    array.extra = {"PYTHONPATH": ""}
    done = array.run("cinder-rtstool", "verify")
    assert (done.returncode, done.stderr) == (0, ""), sys.executable
