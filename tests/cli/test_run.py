"""``iscsim run``: what it shows, and what it exits with."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
SILENT = str(EXAMPLES / "silent-portal.toml")
SCAN = "[[target]]\n[[step]]\ndo = 'scan'\n"


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "x.toml"
    path.write_text(text)
    return str(path)


def test_shows_plan_faults_steps_trace_and_replay(cli: Any) -> None:
    done = cli("run", SILENT)
    assert (done.code, done.stderr) == (0, "")
    for line in (
        r"^seed     17$",
        r"^fault    portal-a-silent  net\.blackhole  .*10\.245\.47\.95:3260",
        r"^ +122\.000\d s  attach retries=8 takes=122s: 3[0-9a-f]{32}, 1 of 2 paths$",
        r"^fired    portal-a-silent, 32 times$",
        r"^trace    [0-9a-f]{64} ",
        rf"^replay   iscsim run {re.escape(SILENT)} --seed 17$",
    ):
        assert re.search(line, done.stdout, re.MULTILINE), line


def test_replay_that_differs_is_exit_5(cli: Any) -> None:
    sha256 = json.loads(cli("run", SILENT, "--json").stdout)["sha256"]
    assert cli("run", SILENT, "--expect-trace", sha256).code == 0
    done = cli("run", SILENT, "--seed", "18", "--expect-trace", sha256)
    assert done.code == 5
    assert f"expected {sha256}" in done.stderr


def test_step_that_fails_is_exit_1(cli: Any, tmp_path: Path) -> None:
    done = cli("run", written(tmp_path, SCAN + "luns = [7]\n"))
    assert done.code == 1
    assert "failed   step 1 (scan): luns: [1], expected [7]" in done.stdout


def test_fault_that_never_fires_is_exit_4(cli: Any, tmp_path: Path) -> None:
    done = cli("run", written(tmp_path, SCAN + "[[fault]]\nname = 'medium.write'\n"))
    assert done.code == 4
    assert "unfired  fault medium.write-1" in done.stdout


def test_unknown_key_is_one_line_and_exit_2(cli: Any, tmp_path: Path) -> None:
    cli("run", written(tmp_path, "[lab]\nsede = 1")).assert_failed(2, "did you mean 'seed'?")
    cli("run", SILENT, "--network", "cloud").assert_failed(2, "expected one of memory, tcp")


def test_failing_faults_are_shrunk(cli: Any, tmp_path: Path) -> None:
    faults = "".join(f"[[fault]]\nname = '{name}'\n" for name in ("ua.power_on", "net.refuse", "net.dup"))
    done = cli("run", written(tmp_path, SCAN + faults), "--shrink")
    assert done.code == 1
    assert re.findall(r"^shrunk   (.*)$", done.stdout, re.MULTILINE) == [
        '{"name": "net.refuse", "id": "net.refuse-2"}'
    ]


def test_trace_and_capture_are_written(cli: Any, tmp_path: Path) -> None:
    trace, pcap = tmp_path / "t.jsonl", tmp_path / "t.pcapng"
    done = cli("run", SILENT, "--trace", str(trace), "--pcap", str(pcap), "--json")
    lines = trace.read_text().splitlines()
    assert len(lines) >= json.loads(done.stdout)["trace_lines"]
    assert any('"rule":"portal-a-silent"' in line and '"fired":true' in line for line in lines)
    assert b"fault net.blackhole" in pcap.read_bytes()
