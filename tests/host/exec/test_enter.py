"""The script that mounts the host: what it says when it cannot, and what it becomes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from iscsim.host.exec import enter

PLAN = {"binds": [], "filled": {}, "hostname": "", "terminals": "/no/such/place", "stage": "/no/such/place"}


def run(path: Path, *words: str, **changes: object) -> subprocess.CompletedProcess[str]:
    path.write_text(json.dumps(PLAN | changes))
    command = [sys.executable, "-IS", enter.__file__, str(path), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_what_cannot_be_mounted_is_told(tmp_path: Path) -> None:
    ended = run(tmp_path / "plan.json", "true")
    assert ended.returncode == enter.FAILED
    assert ended.stderr.startswith("/no/such/place: ")


def test_a_program_there_is_not(capfd) -> None:  # type: ignore[no-untyped-def]
    assert enter.become(["/no/such/program"]) == 127
    assert capfd.readouterr().err == "iscsim: /no/such/program: No such file or directory\n"


def test_a_program_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"\0")
    (tmp_path / "text").chmod(0o755)
    assert enter.become([str(tmp_path / "text")]) == 126


def test_nothing_to_become_is_a_trial() -> None:
    assert enter.become([]) == 0
