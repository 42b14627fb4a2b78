from __future__ import annotations

from typing import Any

import pytest

from conformance.checklist import Row
from conformance.page import Page, link, table
from conformance.results import Results
from conformance.tags import Tag

ROW = Row("2", "both", ("4.2.2.1",), "Be quiet.")
TEST, OTHER = "tests/target/test_x.py::test_a_cmd_sn", "tests/initiator/test_x.py::test_it"
TAGS = [
    Tag(TEST, "7143", ("4.2.2.1",), ("2",), "target"),
    Tag(OTHER, "7143", ("4.2.2.1",), ("2",), "initiator"),
]
PASSED = {TEST: "pass", OTHER: "pass"}


def page(tags: list[Tag] = TAGS, tagged: dict[str, str] = PASSED, **results: Any) -> Page:
    return Page([ROW], tags, Results(tagged=tagged, **results))


@pytest.mark.parametrize(
    "tags, tagged, verdict",
    [
        (TAGS, PASSED, "proved"),
        (TAGS[:1], PASSED, "**no test**"),
        (TAGS, PASSED | {OTHER: "fail"}, "**FAILS**"),
        (TAGS, {TEST: "pass"}, "**FAILS**"),
    ],
    ids=["both sides", "one side", "a failure", "a test that was not run"],
)
def test_the_verdict_asks_for_tests_of_every_side_that_pass(
    tags: list[Tag], tagged: dict[str, str], verdict: str
) -> None:
    assert page(tags, tagged).verdict(ROW) == verdict


def test_a_row_leads_to_its_tests() -> None:
    line = (
        "| 2 | 4.2.2.1 | Be quiet. | both | [a cmd sn](../tests/target/test_x.py) |"
        " [it](../tests/initiator/test_x.py) | proved |\n"
    )
    assert line in page().render()


def test_failures_and_what_never_ran_are_shown_with_what_they_say() -> None:
    matrix = {
        "Read10.Simple": {"thin": ["fail", "wrong | sense"]},
        "Read10.Async": {"thin": ["skip", "nothing to do"]},
    }
    made = page(matrix=matrix, trouble={"Read10 on thin": "HANGS"}).render()
    assert r"| Read10.Simple | thin | wrong \| sense |" in made
    assert "| Read10.Async | nothing to do |" in made
    assert "| Read10 on thin | HANGS |" in made
    assert "| Read10.Simple | **FAIL** |  |  |  |  |" in made


def test_without_failures_nothing_is_said_of_them() -> None:
    made = page(matrix={"Read10.Simple": {"thin": ["pass"]}}).render()
    assert "###" not in made
    assert "1 of 1 rows" in made


def test_a_link_reads_as_a_sentence() -> None:
    assert link(TEST) == "[a cmd sn](../tests/target/test_x.py)"


def test_a_table_escapes_bars() -> None:
    assert table(["a"], [["b|c"]]) == "| a |\n| --- |\n| b\\|c |\n"
