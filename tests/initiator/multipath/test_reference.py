"""docs/reference/multipath.md says what the tables of the code say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from initiator.multipath.reference import TABLES

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "multipath.md"


@pytest.mark.parametrize("make", TABLES)
def test_page_has_the_table(make: Callable[[], str]) -> None:
    assert make() in PAGE.read_text(encoding="utf-8")
