"""Playing scenarios: the examples end well, and what does not end well is said."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from iscsim import ConfigError
from iscsim.lab.play import play, shrink_faults
from iscsim.lab.scenario import Scenario, parse_scenario, read_scenario

EXAMPLES = sorted((Path(__file__).parents[2] / "docs" / "examples").glob("*.toml"))


def scenario(*steps: dict[str, Any], faults: list[dict[str, Any]] | None = None, **more: Any) -> Scenario:
    return parse_scenario(
        {"target": [{"luns": ["1=1M"]}], "step": list(steps), "fault": faults or [], **more}
    )


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_ends_well_and_the_same_again(path: Path) -> None:
    if "connect_volume" in path.read_text(encoding="utf-8"):
        pytest.importorskip("os_brick", reason="os-brick is missing: `make osbrick` plays this one")
    first, again = play(read_scenario(path)), play(read_scenario(path))
    assert (first.problems, first.unfired) == ([], [])
    assert first.sha256 == again.sha256


def test_the_scenario_with_the_chap_failure_runs_on_tcp() -> None:
    path = next(path for path in EXAMPLES if path.stem == "chap-failure")
    outcome = play(read_scenario(path).with_options(network="tcp"))
    assert (outcome.problems, outcome.unfired) == ([], [])


def test_the_scenario_of_the_documentation_ends_well() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "scenarios.md"
    body = re.search(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert body is not None
    outcome = play(parse_scenario(tomllib.loads(body[1])))
    assert (outcome.problems, outcome.unfired) == ([], [])


@pytest.mark.parametrize(
    "steps, what",
    [
        ([{"do": "login", "expect": "LoginFailed"}], "step 1 (login): it worked, expected LoginFailed"),
        ([{"do": "login", "portal": "10.245.47.99:3260"}], "ConnectionFailed"),
        ([{"do": "login", "portal": "10.245.47.99:3260", "expect": "LoginFailed"}], "expected LoginFailed"),
        ([{"do": "scan", "luns": [2]}], "luns: [1], expected [2]"),
        ([{"do": "sleep", "seconds": 2, "takes": 1}], "it took 2.000 s, expected 1 s"),
        ([{"do": "login"}], "left a session behind"),
        ([{"do": "attach"}, {"do": "paths", "working": 2}], "working paths: 1, expected 2"),
    ],
)
def test_what_fails_is_named(steps: list[dict[str, Any]], what: str) -> None:
    (problem, *_) = play(scenario(*steps)).problems
    assert what in problem


@pytest.mark.parametrize(
    "step, what",
    [
        ({"do": "login", "host": "x"}, "no host 'x'"),
        ({"do": "login", "target": "iqn.2026-11.test:x"}, "no target"),
        ({"do": "login", "portal": 7}, "has 1 portals, no portal 7"),
        ({"do": "detach"}, "nothing is open as 'volume'"),
        ({"do": "login", "expect": "LoginFaild"}, "did you mean 'LoginFailed'"),
    ],
)
def test_what_is_not_there_is_a_mistake_in_the_file(step: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        play(scenario(step, host=[{"name": "compute"}]))


def test_fault_that_does_not_fire_is_told() -> None:
    outcome = play(scenario({"do": "scan"}, faults=[{"name": "medium.write"}]))
    assert outcome.problems == []
    assert "never fired" in outcome.unfired[0]


def test_steps_wait_for_their_time() -> None:
    outcome = play(scenario({"do": "sleep", "seconds": 1, "at": 5}, {"do": "scan", "after": "2s"}))
    assert [round(each.begun, 3) for each in outcome.steps] == [5.0, 8.0]


def test_faults_that_have_nothing_to_do_with_it_are_left_out() -> None:
    names = ["ua.power_on", "net.refuse", "tcp.slicer", "net.dup"]
    plan = scenario({"do": "scan"}, faults=[{"name": name} for name in names])
    assert [fault["name"] for fault in shrink_faults(plan).faults] == ["net.refuse"]


@pytest.mark.parametrize(("step", "seconds"), [({}, 122), ({"login_timeout": 5}, 42)])
def test_retries_are_open_iscsi_s_patience(step: dict[str, Any], seconds: float) -> None:
    login = {"do": "login", "retries": 8, "expect": "InitialLoginFailed", "message": "(8 - ", **step}
    outcome = play(scenario(login, faults=[{"name": "net.blackhole"}]))
    assert outcome.problems == []
    assert outcome.duration_s == pytest.approx(seconds, abs=0.1)


def test_shrinking_looks_for_the_same_failure_and_no_other() -> None:
    """Without any fault it fails too: then the login works."""
    faults = [{"name": "login.delay", "seconds": 20}, {"name": "ua.power_on"}, {"name": "net.dup"}]
    plan = scenario({"do": "login", "expect": "LoginFailed"}, faults=faults)
    assert play(plan).failures == ["step 1 (login): ConnectionFailed"]
    assert [fault["name"] for fault in shrink_faults(plan).faults] == ["login.delay"]
    assert shrink_faults(plan.with_faults([])).faults == []


@pytest.mark.parametrize(
    ("step", "failure"),
    [
        ({"do": "login", "expect": "LoginFailed"}, "step 1 (login): it worked"),
        ({"do": "sleep", "seconds": 2, "takes": 1}, "step 1 (sleep): its time"),
        ({"do": "login"}, "host left a session behind: "),
    ],
)
def test_failure_is_told_without_its_details(step: dict[str, Any], failure: str) -> None:
    (found,) = play(scenario(step)).failures
    assert found.startswith(failure)
    assert not re.search(r"\d+\.\d+", found)


def test_fault_that_never_matched_is_part_of_the_trace(tmp_path: Path) -> None:
    faults = [[], [{"name": "medium.write"}], [{"name": "medium.write", "when": {"nth": [7]}}]]
    found = []
    for number, each in enumerate(faults):
        path = tmp_path / f"{number}.jsonl"
        outcome = play(scenario({"do": "scan"}, faults=each), trace=path)
        text = path.read_text(encoding="utf-8")
        assert outcome.trace_lines == text.count("\n")
        assert outcome.sha256 == hashlib.sha256(text.encode()).hexdigest()
        found.append(outcome.sha256)
    assert len(set(found)) == 3
