"""docs/reference/seeds.md is what the seeds and the test of them make."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_page_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "tools" / "seeds-page"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
