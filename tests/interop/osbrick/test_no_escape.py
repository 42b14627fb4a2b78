"""os-brick in the sandbox touches nothing of the real machine but what docs/reference/sandbox.md lists."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .arena import NEWTON

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def touched() -> list[Any]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.interop.osbrick.escapes"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


def test_attach_and_detach_open_run_and_connect_to_nothing_real(touched: list[Any]) -> None:
    assert [each for each in touched if each[0] == "sandbox"] == []


def test_what_importing_does_is_what_the_page_says(touched: list[Any]) -> None:
    page = (ROOT / "docs" / "reference" / "sandbox.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^\| import of os_brick 7\.1 \| `([^`]+)` \|", page, re.MULTILINE)
    wanted = [] if NEWTON else [command.split()]
    assert [json.loads(each[2].partition("', ")[2][:-1].replace("'", '"')) for each in touched] == wanted
