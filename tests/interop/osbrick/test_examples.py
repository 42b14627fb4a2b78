"""The scenarios of the documentation that need an os-brick end well with the one they are for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from iscsim.lab.play import play
from iscsim.lab.scenario import read_scenario

from .arena import NEWTON

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("newton-*.toml" if NEWTON else "os-brick-*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_ends_well_and_the_same_again(path: Path) -> None:
    first, again = play(read_scenario(path)), play(read_scenario(path))
    assert (first.problems, first.unfired) == ([], [])
    assert first.sha256 == again.sha256


def test_there_is_an_example() -> None:
    assert EXAMPLES


@pytest.mark.skipif(NEWTON, reason="the page is about today's os-brick (iscsim[osbrick])")
def test_tests_of_the_how_to_pass(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "howto" / "test-os-brick.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(# (\w+\.py)\n.*?)^```", text, re.MULTILINE | re.DOTALL)
    for body, file in blocks:
        (tmp_path / file).write_text(body)
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "asyncio_mode=auto"]
    command = [sys.executable, "-m", "pytest", *options]
    installed = any(each.value == "iscsim.pytest_plugin" for each in entry_points(group="pytest11"))
    command += [] if installed else ["-p", "iscsim.pytest_plugin"]
    places = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=100, env=places)
    assert done.returncode == 0, done.stdout + done.stderr
    assert blocks
