"""``iscsim rtstool``, loaded whole and not."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from iscsim.cli import main


def test_it_is_in_the_help(cli: Any) -> None:
    assert "rtstool" in cli("--help").stdout
    assert "add-initiator" in cli("rtstool", "--help").stdout


def test_options_of_verbs_are_passed_on(cli: Any) -> None:
    done = cli("rtstool", "create", "a", "b", "c", "d", "e", "-a", "-p3260")
    assert (done.code, done.stdout.splitlines()[0]) == (1, "Usage:")
    assert cli("rtstool", "verify").code == 0


def test_control_option_names_the_target(cli: Any) -> None:
    done = cli("rtstool", "--control", "/nowhere", "get-targets")
    assert (done.code, "no target at /nowhere" in done.stderr) == (1, True)


def test_command_line_starts_it_without_the_rest(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["iscsim", "rtstool", "verify"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    with pytest.raises(SystemExit) as ended:
        main(["rtstool", "bogus"])
    assert ended.value.code == 1
    assert capsys.readouterr().out.startswith("Usage:\niscsim rtstool create")
