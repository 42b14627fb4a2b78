"""``iscsim target``: a running target looked at and changed from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from iscsim.cli.target import target
from iscsim.target.administration.methods import METHODS

NAME, HOST = "iqn.2010-10.org.openstack:volume-1", "iqn.1993-08.org.debian:01:host"


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The control socket of a target in a process of its own, which begins empty."""
    path = tmp_path_factory.mktemp("control") / "control.sock"
    command = [sys.executable, "-m", "iscsim", "serve", "--empty", "--control", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(line.startswith("stop") for line in process.stdout)
        yield path
        process.terminate()


@pytest.fixture
def ask(cli: Any, control: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("ISCSIM_CONTROL", str(control))

    def call(*arguments: object) -> Any:
        return cli("target", *arguments)

    yield call
    for name in cli("target", "list").stdout.split():
        cli("target", "delete", name)
    for row in json.loads(cli("target", "backstore", "list", "--json").stdout):
        cli("target", "backstore", "delete", row["name"])


def make_volume(ask: Any) -> str:
    """The portal."""
    for words in (
        ("backstore", "create", "disk", "--size", "64M"),
        ("create", NAME),
        ("tpg", "create", NAME),
        ("lun", "create", NAME, 1, "disk"),
        ("acl", "create", NAME, 1, HOST, "--map-luns"),
        ("tpg", "set", NAME, "--attribute", "authentication=0"),
        ("tpg", "enable", NAME),
    ):
        done = ask(*words)
        assert (done.code, done.output) == (0, b""), done
    row = json.loads(ask("portal", "create", NAME, 1, "127.0.0.1", "--port", 0, "--json").stdout)
    return f"{row['address']}:{row['port']}"


def commands(group: Any = target, prefix: str = "") -> Iterator[str]:
    for name, command in typer.main.get_command(group).commands.items():  # type: ignore[attr-defined]
        nested = getattr(command, "commands", None)
        if nested is None:
            yield f"{prefix}{name}"
        else:
            yield from (f"{name} {each}" for each in nested)


def test_every_method_has_a_command() -> None:
    wanted = {name.removeprefix("target.").replace("_", "-").replace(".", " ") for name in METHODS}
    assert set(commands()) == wanted


def test_volume_is_made_seen_resized_and_taken_away(ask: Any, cli: Any) -> None:
    portal = make_volume(ask)
    assert ask("list").stdout == f"{NAME}\n"
    assert f"name                    {NAME}\n" in ask("show", NAME).stdout
    shown = cli("luns", portal, NAME, "--initiator-name", HOST)
    assert "64 MiB" in shown.stdout
    assert ask("lun", "resize", NAME, 1, 0, "128M").code == 0
    assert "128 MiB" in cli("luns", portal, NAME, "--initiator-name", HOST).stdout
    assert HOST in ask("acl", "list", NAME).stdout
    assert ask("acl", "delete", NAME, 1, HOST).code == 0
    cli("luns", portal, NAME, "--initiator-name", HOST).assert_failed(1, "0x0202")
    assert ask("delete", NAME).code == 0
    assert ask("list").output == b""


def test_secrets_come_from_the_environment_and_are_not_shown(
    ask: Any, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal = make_volume(ask)
    monkeypatch.setenv("ISCSIM_CHAP_PASSWORD", "a-long-secret")
    monkeypatch.setenv("ISCSIM_CHAP_MUTUAL_PASSWORD", "another-secret")
    assert ask("acl", "set-chap", NAME, 1, HOST, "--user", "chapuser").code == 0
    ask("tpg", "set", NAME, "--attribute", "authentication=1")
    for words in (("show", NAME), ("describe", "--json"), ("acl", "list", NAME, "--json")):
        done = ask(*words)
        assert ("chapuser" in done.stdout, "secret" in done.stdout) == (True, False)
    assert cli("luns", portal, NAME, "--initiator-name", HOST, "--user", "chapuser").code == 0


def test_sessions_are_listed_and_kicked(ask: Any, cli: Any) -> None:
    portal = make_volume(ask)
    cli("login", portal, NAME, "--initiator-name", HOST)
    (row,) = json.loads(ask("session", "list", "--json").stdout)
    assert (row["initiator"], row["target"]) == (HOST, NAME)
    assert ask("session", "kick", row["tsih"], "--time-s", 0).code == 0
    cli("logout", "--all")


def test_configuration_is_saved_and_restored(
    ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_volume(ask)
    before = json.loads(ask("describe", "--json").stdout)
    assert ask("save", "state.json").code == 0
    ask("delete", NAME)
    assert ask("restore", "state.json").code == 0
    after = json.loads(ask("describe", "--json").stdout)
    assert [row["wwn"] for row in after["backstores"]] == [row["wwn"] for row in before["backstores"]]
    assert after["targets"][0]["tpgs"][0]["portals"] == before["targets"][0]["tpgs"][0]["portals"]


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("show", NAME), 1, "no target"),
        (("create", "disk"), 2, "not an iSCSI name"),
        (("tpg", "create", NAME, "--tag", 0), 2, "tag: expected 1 to 65535"),
        (("backstore", "create", "disk", "--size", "64X"), 2, "not a size"),
        (("backstore", "create", "disk", "--attribute", "x", "--size", "1M"), 2, "expected NAME=VALUE"),
        (("backstore", "create", "disk", "--plugin", "fileio"), 2, "disk: fileio needs a path"),
        (("backstore", "create", "disk", "--path", "/tmp/x"), 2, "disk: ramdisk has no path"),
        (("restore", "nothing.json"), 2, "No such file"),
        (("show",), 2, "TARGET"),
        (("acl", "create", NAME, 1, HOST, "--user", "chapuser"), 2, "in $ISCSIM_CHAP_PASSWORD"),
        (("tpg", "set", NAME, "--mutual-user", "us"), 2, "in $ISCSIM_CHAP_MUTUAL_PASSWORD"),
    ],
)
def test_mistakes_are_one_line(ask: Any, words: Any, code: int, what: str) -> None:
    ask(*words).assert_failed(code, what)


def test_attribute_that_lio_does_not_have_is_refused(ask: Any) -> None:
    make_volume(ask)
    wrong = ask("tpg", "set", NAME, "--attribute", "authentification=0")
    wrong.assert_failed(2, "unknown attribute 'authentification' (did you mean 'authentication'?)")
    assert ask("tpg", "set", NAME, "--attribute", "login_timeout=20").code == 0


def test_descriptions_keep_names_and_values_apart(ask: Any) -> None:
    make_volume(ask)
    assert "demo mode write protect 1" in " ".join(ask("show", NAME).stdout.split())


def test_nobody_there_is_the_environments_fault(cli: Any) -> None:
    nobody = cli("target", "list", "--control", "/nowhere/socket")
    nobody.assert_failed(3, "no target answers at /nowhere/socket: No such file")
    assert "iscsim serve --control /nowhere/socket starts one" in nobody.stderr


def test_socket_is_found_where_serve_puts_it(cli: Any) -> None:
    command = [sys.executable, "-m", "iscsim", "serve", "--empty", "--control", "auto"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(line.startswith("stop") for line in process.stdout)
        assert cli("target", "create", NAME).code == 0
        assert cli("target", "list").stdout == f"{NAME}\n"
        assert cli("target", "stop").code == 0
        assert process.wait(10) == 0
