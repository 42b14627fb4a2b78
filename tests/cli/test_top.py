"""``iscsim top``: what is going on, in the terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iscsim.cli.top import Watch, _print

SESSION = {"tsih": 7, "initiator": "iqn.a", "target": "iqn.b", "addresses": ["h:1"], "requests": 100}
COUNTERS = {
    "uptime_s": 10.0,
    "targets": 1,
    "connections": 1,
    "sessions": 1,
    "discovery_sessions": 0,
    "logins": {"0x0000": 1},
    "requests": 100,
    "open_commands": 0,
    "luns": {"disk": {"blocks": 8, "sessions": 1, "open_commands": 0, "read_errors": 0, "write_errors": 0}},
}
ANSWERS: dict[str, Any] = {"counters": COUNTERS, "sessions": [SESSION], "faults": [], "targets": ["iqn.b"]}


def later(**changes: Any) -> dict[str, Any]:
    counters = {**COUNTERS, "uptime_s": 12.0, "requests": 300}
    return {**ANSWERS, "counters": counters, "sessions": [{**SESSION, "requests": 300}], **changes}


def test_rates_are_those_since_the_frame_before() -> None:
    watch = Watch()
    watch.frame(ANSWERS)
    frame = watch.frame(later())
    assert (frame.rate, frame.rates) == (100.0, {7: 100.0})


def test_count_of_a_session_that_began_anew_is_no_rate_below_zero() -> None:
    watch = Watch()
    watch.frame({**ANSWERS, "sessions": [{**SESSION, "requests": 0xFFFFFFFF}]})
    assert watch.frame(later(sessions=[{**SESSION, "requests": 1}])).rates == {7: 1.0}


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "control.sock"
    command = [sys.executable, "-m", "iscsim", "serve", "--portal", "127.0.0.1:0", "--control", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(line.startswith("stop") for line in process.stdout)
        yield path
        process.terminate()


def test_one_frame_shows_luns_and_faults(cli: Any, control: Path) -> None:
    cli("fault", "add", "login.delay", "-a", "seconds=1", "--control", control)
    done = cli("top", "--once", "--interval", "0.1", "--control", control)
    assert done.code == 0
    for word in ("disk-lun1", "login.delay-1", "requests/s", "sessions 0"):
        assert word in done.stdout
    found = json.loads(cli("top", "--once", "--interval", "0.1", "--json", "--control", control).stdout)
    assert (found["sessions"], found["targets"]) == ([], ["iqn.2026-11.org.iscsim:disk"])


def test_names_are_whole_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    name = "iqn.2010-10.org.openstack:" + "v" * 100
    watch = Watch()
    _print(watch.frame({**ANSWERS, "sessions": [{**SESSION, "initiator": name, "target": name}]}))
    shown = capsys.readouterr().out
    assert (shown.count(name), "tsih" in shown) == (2, True)


def test_q_ends_it_and_leaves_the_terminal_as_it_was(control: Path) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "iscsim", "top", "--control", str(control), "--interval", "0.2"]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        seen = b""
        while b"requests/s" not in seen:
            seen += os.read(master, 4096)
        os.write(master, b"q")
        assert process.wait(10) == 0
    os.close(master)
