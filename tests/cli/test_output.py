"""Tables for people, JSON for programs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from iscsim.cli.output import cell, hexdump, human_size, print_json, print_rows

ROWS: list[dict[str, Any]] = [
    {"lun": 1, "read_only": False, "pages": ["a", "b"], "wwn": "3" + "6" * 32, "hidden": 1},
    {"lun": 2, "read_only": True, "pages": [], "wwn": None, "hidden": 2},
]
COLUMNS = ("lun", "read_only", "pages", "wwn")


def test_table_has_the_columns_asked_for_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, COLUMNS, as_json=False, empty="none")
    head, rule, first, second = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert head.split() == ["lun", "read", "only", "pages", "wwn"]
    assert set(rule) <= {" ", "─"}
    assert first.split() == ["1", "no", "a,", "b", "3" + "6" * 32]
    assert second.split() == ["2", "yes"]


def test_table_in_a_pipe_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([{"name": "x" * 150, "other": "y" * 100}], ("name", "other"), as_json=False, empty="none")
    assert "x" * 150 in capsys.readouterr().out


def test_what_a_target_says_steers_neither_table_nor_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"vendor": "[/bold]:bug:", "product": "\x1b[31mEVIL\n\x9b2J"}]
    print_rows(rows, ("vendor", "product"), as_json=False, empty="none")
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.split() == ["[/bold]:bug:", r"\x1b[31mEVIL\n\x9b2J"]


def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, COLUMNS, as_json=True, empty="none")
    assert json.loads(capsys.readouterr().out) == ROWS


def test_no_rows_are_a_line_on_stderr_or_an_empty_list(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([], COLUMNS, as_json=False, empty="no sessions")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "iscsim: no sessions\n")
    print_rows([], COLUMNS, as_json=True, empty="no sessions")
    captured = capsys.readouterr()
    assert (json.loads(captured.out), captured.err) == ([], "")


def test_json_document_is_one_line_end(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": None})
    assert capsys.readouterr().out == '{\n  "a": null\n}\n'


@pytest.mark.parametrize(
    "value, text", [(True, "yes"), (False, "no"), (None, ""), (0, "0"), ([1, 2], "1, 2"), ("x", "x")]
)
def test_cell_is_what_people_read(value: Any, text: str) -> None:
    assert cell(value) == text


@pytest.mark.parametrize(
    "size, text",
    [(0, "0 B"), (512, "512 B"), (1 << 20, "1 MiB"), (1536 << 20, "1.5 GiB"), (1 << 72, "4 ZiB")],
)
def test_size_has_a_binary_unit(size: int, text: str) -> None:
    assert human_size(size) == text


def test_hexdump_shows_offset_bytes_and_text() -> None:
    assert hexdump(b"iscsim\0\xff" + bytes(8) + b"!", 512).splitlines() == [
        "00000200  69 73 63 73 69 6d 00 ff 00 00 00 00 00 00 00 00  iscsim..........",
        "00000210  21                                               !",
    ]


def test_hexdump_shows_lines_that_repeat_as_a_star() -> None:
    first, star, last = hexdump(bytes(64) + b"!" * 16).splitlines()
    assert (first[:8], star, last[:8]) == ("00000000", "*", "00000040")
