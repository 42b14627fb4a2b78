"""docs/conformance.md is what the checklist, the tags in the tests and the results of the last run make.

Nothing is run here but the renderer; ``make conformance`` runs everything and writes page and results.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import checklist, page, results, tags

STALE = "docs/conformance.md is stale: make conformance"
ROWS = checklist.load()
TAGS = tags.collect()


def test_the_page_is_what_it_is_made_of() -> None:
    made = page.Page(ROWS, TAGS, results.read()).render()
    assert page.FILE.read_text(encoding="utf-8") == made, STALE


def test_the_results_are_those_of_the_tagged_tests() -> None:
    assert results.read().tagged.keys() == {tag.test for tag in TAGS}, STALE


def test_the_results_are_written_as_they_would_be(tmp_path: Path) -> None:
    results.write(results.read(), tmp_path / "conformance.json")
    assert (tmp_path / "conformance.json").read_text() == results.FILE.read_text(), STALE


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.number)
def test_every_row_is_proved_by_tests_on_every_side_it_is_for(row: checklist.Row) -> None:
    made = page.Page(ROWS, TAGS, results.read())
    assert {side: bool(made.tests(row, side)) for side in row.sides} == dict.fromkeys(row.sides, True)
    assert made.verdict(row) == "proved"


def test_tags_name_rows_there_are() -> None:
    known = {row.number for row in ROWS}
    assert [tag for tag in TAGS if not (tag.rows and known.issuperset(tag.rows))] == []


def test_a_test_proves_a_row_for_a_side_the_row_is_for() -> None:
    sides = {row.number: row.sides for row in ROWS}
    wrong = [
        (tag.test, number)
        for tag in TAGS
        for number in tag.rows
        if tag.side != "both" and tag.side not in sides[number]
    ]
    assert wrong == []
