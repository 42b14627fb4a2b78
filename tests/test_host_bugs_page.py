"""docs/reference/host-bugs.md lists every row of the catalogue: those with a test, and those without."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reference" / "host-bugs.md").read_text(encoding="utf-8")
TESTS = (ROOT / "tests" / "interop" / "osbrick" / "test_bugs.py").read_text(encoding="utf-8")
ROWS = 21


def rows(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]


def test_rows_with_a_test_are_those_of_the_tests() -> None:
    shown, _ = PAGE.split("## What no host can show")
    tested = sorted({int(number) for number in re.findall(r"def test_row_(\d+)_", TESTS)})
    assert rows(shown) == tested


def test_every_row_is_listed_once() -> None:
    assert sorted(rows(PAGE)) == list(range(1, ROWS + 1))
