"""``iscsim fault``: break a target that is being served, over its control socket."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from iscsim.cli.faults import fault


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A target in a process of its own: its portal, its control socket."""
    control = tmp_path / "control.sock"
    command = [sys.executable, "-m", "iscsim", "serve", "--portal", "127.0.0.1:0", "--control", str(control)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("stop"):
                break
        portal = next(line.split()[1].split(",")[0] for line in lines if line.startswith("portal"))
        yield portal, control
        process.terminate()


PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"
TARGET = "iqn.2026-11.org.iscsim:disk"


def test_fault_is_added_fires_is_listed_and_removed(cli: Any, served: tuple[str, Path]) -> None:
    portal, control = served
    at = ("--control", str(control))
    added = cli("fault", "add", "login.status", "-a", "class=3", "-a", "detail=1", "--nth", "1", *at)
    assert (added.code, added.stdout) == (0, "login.status-1\n")
    cli("luns", portal, TARGET).assert_failed(1, "0x0301")
    assert cli("luns", portal, TARGET).code == 0
    listed = cli("fault", "list", *at)
    assert "login.status-1" in listed.stdout
    assert "class=3 detail=1" in listed.stdout
    assert cli("fault", "remove", "login.status-1", *at).code == 0
    assert cli("fault", "list", *at).stderr == "iscsim: no faults\n"


def test_key_given_twice_matches_each_or_is_refused(cli: Any, served: tuple[str, Path]) -> None:
    _, control = served
    at = ("--control", str(control))
    assert cli("fault", "add", "task.busy", "--match", "lun=7", "--match", "lun=1", *at).code == 0
    assert "lun=[7, 1]" in cli("fault", "list", *at).stdout
    twice = ("-a", "seconds=1", "-a", "seconds=2")
    cli("fault", "add", "login.delay", *twice, *at).assert_failed(2, "attribute seconds is given twice")


def test_every_trigger_can_be_given(cli: Any, served: tuple[str, Path], tmp_path: Path) -> None:
    portal, control = served
    at, gate = ("--control", str(control)), tmp_path / "gate"
    words = ("--after", "0s", "--until", "1h", "--gate", f"file:{gate}", "--per", "session", "--times", "9")
    assert cli("fault", "add", "medium.read", "--after-bytes", "1", *words, *at).code == 0
    described = json.loads(cli("fault", "list", "--json", *at).stdout)[0]
    assert described["scope"] == "session"
    when = described["when"]
    assert (when["after"], when["gate"], when["after_bytes"]) == (0, f"file:{gate}", 1)
    assert 3500 < when["until"] <= 3600
    cli("fault", "add", "task.busy", "--per", "sesion", *at).assert_failed(2, "did you mean 'session'?")
    cli("fault", "add", "task.busy", "--after", "soon", *at).assert_failed(2, "not a time: 'soon'")
    assert cli("fault", "reset", *at).code == 0
    assert cli("fault", "add", "medium.read", "--gate", f"file:{gate}", *at).code == 0
    assert cli("read", portal, TARGET, "1").code == 0
    gate.touch()
    assert cli("read", portal, TARGET, "1").code == 1


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("net.blackhol",), "unknown fault 'net.blackhol' (did you mean 'net.blackhole'?)"),
        (
            ("login.delay", "-a", "delay=3"),
            "unknown parameter of login.delay 'delay' (did you mean 'seconds'?)",
        ),
        (("task.busy", "--match", "command=RAED"), "command='RAED' can never be true"),
        (("task.busy", "--match", "portal=10.0.0.1:1"), "nobody has portal='10.0.0.1:1'"),
        (("lun.hide", "-a", "lun=9"), "nobody has lun=9 (known: 1)"),
        (("clock.skew", "-a", "host=a", "-a", "offset=1"), "nobody has host='a' (known: none)"),
    ],
)
def test_mistake_is_one_line_with_the_right_name_and_exit_2(
    cli: Any, served: tuple[str, Path], words: tuple[str, ...], what: str
) -> None:
    cli("fault", "add", *words, "--control", str(served[1])).assert_failed(2, what)


def test_faults_of_commands_and_of_the_network_reach_a_served_target(
    cli: Any, served: tuple[str, Path]
) -> None:
    portal, control = served
    os.environ["ISCSIM_CONTROL"] = str(control)
    try:
        assert cli("fault", "add", "medium.read", "--match", "lun=1", "--times", "1").code == 0
        cli("read", portal, TARGET, "1").assert_failed(1, "MEDIUM ERROR")
        assert cli("fault", "add", "tcp.reset", "--match", f"portal={portal}").code == 0
        assert cli("luns", portal, TARGET).code == 1
        assert cli("fault", "reset").code == 0
        assert cli("luns", portal, TARGET).code == 0
    finally:
        del os.environ["ISCSIM_CONTROL"]


@pytest.mark.parametrize(
    "arguments, what",
    [
        (["add", "login.dely"], "did you mean 'login.delay'?"),
        (["add", "login.delay", "-a", "secconds=1"], "did you mean 'seconds'?"),
        (["add", "login.delay", "-a", "seconds"], "expected KEY=VALUE"),
        (["add", "net.nic_down", "-a", "nic=array/eth0"], "needs the memory network"),
        (["add", "net.refuse", "--match", "portal=10.0.0.1:3260"], "nobody has portal"),
        (["remove", "x"], "unknown fault rule 'x'"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_2(
    cli: Any, served: tuple[str, Path], arguments: list[str], what: str
) -> None:
    cli("fault", *arguments, "--control", str(served[1])).assert_failed(2, what)


def test_without_a_socket_there_is_nothing_to_break(cli: Any, tmp_path: Path) -> None:
    cli("fault", "list").assert_failed(3, "--control or $ISCSIM_CONTROL")
    cli("fault", "list", "--control", str(tmp_path / "none")).assert_failed(3, "none")


def test_socket_is_its_owners_and_survives_garbage(cli: Any, served: tuple[str, Path]) -> None:
    _, control = served
    assert stat.S_IMODE(control.stat().st_mode) == 0o600
    for garbage in (
        b"\x00\xff" * 100 + b"\n",
        b"[" * 10000 + b"\n",
        b'{"id": 1, "method": "fault.add", "params": {"fault": 7}}\n',
        b'{"id": 1, "method": "fault.add", "params": {"fault": {"name": ["x"]}}}\n',
        b'{"id": 1, "method": "fault.add", "params": {"fault": {"name": "net.loss", "when": {"nth": {}}}}}\n',
        b'{"id": 1, "method": "fault.remove", "params": {"id": {}}}\n',
        b"x" * (2 << 20),
    ):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(control))
            try:
                connection.sendall(garbage)
                connection.recv(4096)
            except ConnectionError:
                continue  # a line beyond the limit ends the conversation
    assert cli("fault", "list", "--control", str(control)).code == 0


def test_reference_names_every_command_and_option() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, command in typer.main.get_command(fault).commands.items():  # type: ignore[attr-defined]
        assert f"iscsim fault {name}" in text
        options = [option for each in command.params for option in each.opts if option.startswith("-")]
        assert [option for option in options if option not in text] == []
