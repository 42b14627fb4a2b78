"""Scenario files: what is in them, and what is wrong with them in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from iscsim import ConfigError
from iscsim.lab.scenario import read_scenario

EXAMPLES = sorted((Path(__file__).parents[2] / "docs" / "examples").glob("*.toml"))


@pytest.mark.parametrize(
    "text, what",
    [
        ("= broken", "Invalid statement"),
        ("faults = []", "scenario: unknown key 'faults' (did you mean 'fault'?)"),
        ("fault = 1", "expected an array of tables"),
        ("[lab]\nsede = 1", r"[lab]: unknown key 'sede' (did you mean 'seed'?)"),
        ("[lab]\nseed = -1", "seed is '-1', expected a whole number from 0"),
        ("[lab]\nnetwork = 'cloud'", "expected one of memory, tcp"),
        ("[lab]\nlatency = 'soon'", "expected seconds, or a text like"),
        ("[[host]]\naddresses = []", "[[host]] 1 needs name"),
        ("[[target]]\nportals = 0", "expected a list of ADDRESS:PORT, or how many"),
        ("[[fault]]\nname = 'net.blakhole'", "did you mean 'net.blackhole'?"),
        ("[[fault]]\nname = 'net.blackhole'\nwen = {}", "[[fault]] 1: unknown key"),
        (
            "[[fault]]\nid = 'a'\nname = 'net.loss'\n[[fault]]\nid = 'a'\nname = 'net.dup'",
            "two faults have the id",
        ),
        ("[[step]]\nat = 1", "[[step]] 1: unknown step ''"),
        ("[[step]]\ndo = 'attatch'", "did you mean 'attach'?"),
        ("[[step]]\ndo = 'attach'\nlum = 1", "[[step]] 1 (attach): unknown key 'lum' (did you mean 'lun'?)"),
        ("[[step]]\ndo = 'sleep'", "[[step]] 1 (sleep) needs seconds"),
        ("[[step]]\ndo = 'read'\nlba = true", "expected a whole number from 0"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_scenario(path)
    assert what in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_there_is_not_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_scenario(tmp_path / "nowhere.toml")


def test_faults_have_ids_that_others_do_not_change(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("[[fault]]\nname = 'net.dup'\n[[fault]]\nname = 'net.loss'\n")
    scenario = read_scenario(path)
    assert [fault["id"] for fault in scenario.faults] == ["net.dup-1", "net.loss-2"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_can_be_read(path: Path) -> None:
    assert read_scenario(path).title
