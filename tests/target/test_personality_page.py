"""docs/reference/personalities.md has what each personality changes, as it is in the data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_tables_are_those_of_the_data() -> None:
    """Else run tools/personality-tables."""
    command = [sys.executable, str(ROOT / "tools" / "personality-tables"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
