"""docs/reference/error-handling.md has the tables the code uses, and shows what its programs print."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from iscsim.initiator.disposition import SENSE_RULES, STATUS_RULES

TOOL = Path(__file__).parents[1] / "tools" / "error-handling-page"


def load() -> Any:
    loader = importlib.machinery.SourceFileLoader("error_handling_page", str(TOOL))
    spec = importlib.util.spec_from_loader("error_handling_page", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


tool = load()


def test_page_is_up_to_date() -> None:
    text = tool.PAGE.read_text(encoding="utf-8")
    assert tool.written(text) == text, "run tools/error-handling-page"


def test_every_rule_is_a_row() -> None:
    assert len(list(tool.statuses())) == 2 + len(STATUS_RULES) + 1
    assert len(list(tool.senses())) == 2 + 2 + len(SENSE_RULES)


def test_a_page_without_a_marker_is_refused() -> None:
    with pytest.raises(AssertionError, match="no marker of statuses"):
        tool.written("nothing")


def test_the_ladder_that_is_drawn_has_the_seconds_that_are_printed() -> None:
    text = tool.PAGE.read_text(encoding="utf-8")
    drawn = text[text.index("## The ladder") :]
    for second in (
        "30 s   ABORT TASK",
        "45 s ",
        "75 s   TARGET WARM RESET",
        "105 s   the session is dropped",
    ):
        assert second in drawn
    printed = text[: text.index("## The ladder")]
    for line in ("30.011 s  ABORT TASK", "45.011 s  LOGICAL", "75.011 s  TARGET", "105.011 s  session drop"):
        assert line in printed
