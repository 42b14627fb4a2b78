from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from benchmarks.report import (
    Comparison,
    Figure,
    document,
    footprint_table,
    shown_rate,
    speed_table,
    spread,
)
from benchmarks.rows import Limit, Load, Row

ROW = Row("read-4k-32", "read 4 KiB", Load.READ, 4096, 32, 2.5, random=True)
LIMIT = Limit("start", "from start to accepting", "ms", 500)


def rendered(table) -> str:
    console = Console(width=160, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def compared(ours: list[float], theirs: list[float]) -> Comparison:
    return Comparison(ROW, ours, theirs)


@pytest.mark.parametrize("values, expected", [([100.0], 0), ([90.0, 100.0, 120.0], 0.3), ([0.0, 0.0], 0)])
def test_spread_is_the_range_as_a_part_of_the_median(values, expected):
    assert spread(values) == pytest.approx(expected)


def test_ratio_is_of_medians_so_one_disturbed_round_does_not_count():
    assert compared([250.0, 260.0, 1.0], [100.0, 100.0, 9000.0]).ratio == 2.5


@pytest.mark.parametrize("ours, met", [(250.0, True), (249.9, False)])
def test_a_ratio_that_is_just_reached_is_met(ours, met):
    assert compared([ours], [100.0]).met is met


@pytest.mark.parametrize("value, met", [(499.9, True), (500.0, False)])
def test_a_figure_must_stay_below_its_limit(value, met):
    assert Figure(LIMIT, [value]).met is met


def test_a_figure_without_a_limit_is_neither_met_nor_missed():
    figure = Figure(replace(LIMIT, most=None), [500.0])
    assert figure.met is None
    text = rendered(footprint_table([figure]))
    assert "500.0 ms" in text
    assert "met" not in text
    assert "missed" not in text


def test_rates_are_shown_with_throughput_and_spread():
    assert shown_rate([118200, 118200, 130020], 4096) == "118,200/s, 462 MiB/s ±5%"


def test_speed_table_shows_ratio_requirement_and_mark():
    text = rendered(speed_table([compared([250.0], [100.0])]))
    assert all(word in text for word in ("read 4 KiB", "tgtd 100/s", "2.50", "2.5", "met"))


def test_speed_table_marks_a_missed_row():
    assert "missed" in rendered(speed_table([compared([200.0], [100.0])]))


def test_speed_table_names_the_package_of_a_row_left_out():
    text = rendered(speed_table([Comparison(ROW, skipped="apt install tgt")]))
    assert "left out: apt install tgt" in text


def test_footprint_table_shows_median_range_and_limit():
    text = rendered(footprint_table([Figure(LIMIT, [260.0, 264.2, 300.0])]))
    assert all(word in text for word in ("264.2 ms", "260.0 - 300.0", "500 ms", "met"))


def test_footprint_table_says_why_a_figure_is_missing():
    assert "no /proc" in rendered(footprint_table([Figure(LIMIT, skipped="no /proc")]))


def test_json_holds_every_raw_number():
    rows = [compared([250.0, 240.0, 260.0], [100.0, 90.0, 110.0]), Comparison(ROW, skipped="apt install tgt")]
    content = document(
        {"cpu": "x"}, {"rounds": 3}, rows, [Figure(LIMIT, [1.0]), Figure(LIMIT, skipped="why")]
    )
    first, second = content["rows"]
    assert first["sides"]["tgtd"] == {
        "requests_per_second": [100.0, 90.0, 110.0],
        "median": 100.0,
        "spread": 0.2,
    }
    assert (first["ratio"], first["met"], second["skipped"]) == (2.5, True, "apt install tgt")
    assert [figure.get("skipped", figure.get("median")) for figure in content["footprint"]] == [1.0, "why"]
