"""A target that is killed while it saves leaves a file that is whole (tools/kill-storm does it 500 times)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_nothing_that_was_acknowledged_is_lost_when_the_target_is_killed() -> None:
    command = [sys.executable, str(ROOT / "tools" / "kill-storm"), "--times", "15", "--seed", "7"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "15 deaths" in done.stdout
