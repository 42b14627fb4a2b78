"""Steps on emulated Linux hosts: what they compare, and how they say that it is otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from iscsim.errors import ConfigError
from iscsim.lab.play import play
from iscsim.lab.scenario import parse_scenario


def outcome(*steps: dict[str, Any], **settings: Any) -> Any:
    host = {"name": "compute", "addresses": ["10.245.47.10"], "settings": settings}
    return play(parse_scenario({"host": [host], "target": [{"luns": ["1=1M"]}], "step": list(steps)}))


def execute(command: str, **more: Any) -> dict[str, Any]:
    return {"do": "execute", "command": command, **more}


SESSION = "iscsiadm -m session"


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (execute(SESSION), "exit code 21, expected 0: iscsiadm: No active sessions."),
        (
            execute(SESSION, exit_code=21, stderr="^x"),
            "stderr is 'iscsiadm: No active sessions.\\n', expected '^x'",
        ),
        (execute("nonsense"), "FileNotFoundError"),
        ({"do": "leftovers", "left": ["disk sda"]}, "not left: disk sda"),
    ],
)
def test_what_is_otherwise_is_said(step: dict[str, Any], problem: str) -> None:
    (found,) = outcome(step).problems
    assert problem in found


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (execute("'"), "No closing quotation"),
        (execute(" "), "command is empty"),
        (execute(SESSION, exit_code=21, stderr="("), "no regular expression"),
        (execute(SESSION, host="nobody"), "no host 'nobody' .there are: compute."),
        ({"do": "disconnect_volume"}, "no volume 'volume' was connected"),
    ],
)
def test_what_cannot_be_is_a_mistake_of_the_file(step: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        outcome(step)


def test_unknown_setting_of_a_host_is_named() -> None:
    with pytest.raises(ConfigError, match="udev_delay_s"):
        outcome(execute("lsblk"), udev_delay="2s")


def test_leftovers_are_named_and_may_be_allowed() -> None:
    new = execute("iscsiadm -m node -T iqn.x -p 10.0.0.1 -o new")
    (problem,) = outcome(new, {"do": "leftovers"}).problems
    assert problem == "step 2 (leftovers): left: node 10.0.0.1:3260 iqn.x"
    assert outcome(new, {"do": "leftovers", "left": ["node"]}).problems == []


def test_command_that_is_to_fail_fails_so_often() -> None:
    fail = {"do": "fail_command", "command": "multipath -C", "exit_code": 3, "stderr": "no", "times": 1}
    again = execute("multipath -C dm-0", exit_code=1)
    assert outcome(fail, execute("multipath -C dm-0", exit_code=3, stderr="^no$"), again).problems == []


def test_host_that_is_still_logged_in_logs_out_at_the_end() -> None:
    steps = [execute("iscsiadm -m discovery -t st -p 10.245.47.95"), execute("iscsiadm -m node -l")]
    assert outcome(*steps, {"do": "settle"}).problems == []
