from __future__ import annotations

from pathlib import Path

from conformance.checklist import Row, load


def test_the_checklist_has_62_rows_for_both_ends_and_13_for_the_initiator() -> None:
    numbers = [row.number for row in load()]
    assert numbers == [*map(str, range(1, 63)), *(f"I{number}" for number in range(1, 14))]
    assert {row.side for row in load() if row.number.startswith("I")} == {"initiator"}


def test_every_row_is_one_line_of_its_own() -> None:
    requirements = [row.requirement for row in load()]
    assert len(set(requirements)) == len(requirements)
    assert all(requirement.endswith(".") and "\n" not in requirement for requirement in requirements)


def test_a_row_for_both_needs_tests_on_both_sides(tmp_path: Path) -> None:
    file = tmp_path / "rows.toml"
    file.write_text('[[row]]\nnumber = "1"\nside = "both"\nsections = ["6.1"]\nrequirement = "Talk."\n')
    (row,) = load(file)
    assert row == Row("1", "both", ("6.1",), "Talk.")
    assert row.sides == ("target", "initiator")
