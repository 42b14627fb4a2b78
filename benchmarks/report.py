"""Medians, ratios, the table and the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.table import Table

from benchmarks.rows import MIB, Limit, Row


def spread(values: Sequence[float]) -> float:
    """How far apart the highest and the lowest are, as a part of the median."""
    middle = median(values)
    return (max(values) - min(values)) / middle if middle else 0.0


@dataclass(slots=True)
class Comparison:
    """A row with the rates of both sides, in the order they were measured; or why there are none."""

    row: Row
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    skipped: str = ""

    @property
    def ratio(self) -> float:
        """Median of ours by median of theirs."""
        return median(self.ours) / median(self.theirs)

    @property
    def met(self) -> bool:
        """Is it as quick as it has to be?"""
        return self.ratio >= self.row.required

    def as_json(self) -> dict[str, Any]:
        """All that was measured."""
        row = self.row
        facts: dict[str, Any] = {"name": row.name, "title": row.title, "required": row.required}
        if self.skipped:
            return facts | {"skipped": self.skipped}
        sides = {
            side: {
                "requests_per_second": values,
                "median": median(values),
                "spread": round(spread(values), 3),
            }
            for side, values in zip(row.sides, (self.ours, self.theirs), strict=True)
        }
        return facts | {
            "request_length": row.request_length,
            "depth": row.depth,
            "sides": sides,
            "ratio": self.ratio,
            "met": self.met,
        }


@dataclass(slots=True)
class Figure:
    """A limit with what was measured of it; or why nothing was."""

    limit: Limit
    values: list[float] = field(default_factory=list)
    skipped: str = ""

    @property
    def met(self) -> bool | None:
        """Is it as small as it has to be? None when it only is to be known."""
        return None if self.limit.most is None else median(self.values) < self.limit.most

    def as_json(self) -> dict[str, Any]:
        """All that was measured."""
        limit = self.limit
        facts: dict[str, Any] = {
            "name": limit.name,
            "title": limit.title,
            "unit": limit.unit,
            "most": limit.most,
        }
        if self.skipped:
            return facts | {"skipped": self.skipped}
        return facts | {"values": self.values, "median": median(self.values), "met": self.met}


def shown_rate(values: Sequence[float], request_length: int) -> str:
    """``117,285/s, 458 MiB/s ±6%``: medians, and half the spread."""
    middle = median(values)
    throughput = middle * request_length / MIB
    return f"{middle:,.0f}/s, {throughput:,.0f} MiB/s ±{50 * spread(values):.0f}%"


def _mark(met: bool | None) -> str:
    if met is None:
        return ""
    return "[green]met[/]" if met else "[bold red]missed[/]"


def speed_table(comparisons: Sequence[Comparison]) -> Table:
    """The side-by-side table."""
    table = Table("", "iscsim", "the other", "ratio", "required", "", title="Side by side, medians")
    for each in comparisons:
        row = each.row
        if each.skipped:
            table.add_row(
                row.title, f"[yellow]left out: {each.skipped}[/]", "", "", f"{row.required:.1f}", ""
            )
            continue
        ours, theirs = (shown_rate(values, row.request_length) for values in (each.ours, each.theirs))
        other = f"{row.sides[1]} {theirs}"
        table.add_row(row.title, ours, other, f"{each.ratio:.2f}", f"{row.required:.1f}", _mark(each.met))
    return table


def footprint_table(figures: Sequence[Figure]) -> Table:
    """The table of what iscsim itself may cost."""
    table = Table("", "median", "range", "less than", "", title="Footprint")
    for each in figures:
        unit = each.limit.unit
        most = "" if each.limit.most is None else f"{each.limit.most:g} {unit}"
        if each.skipped:
            table.add_row(each.limit.title, f"[yellow]left out: {each.skipped}[/]", "", most, "")
            continue
        extent = f"{min(each.values):.1f} - {max(each.values):.1f}"
        middle = f"{median(each.values):.1f} {unit}"
        table.add_row(each.limit.title, middle, extent, most, _mark(each.met))
    return table


def document(
    machine: dict[str, Any], settings: dict[str, Any], rows: Sequence[Comparison], figures: Sequence[Figure]
) -> dict[str, Any]:
    """The content of ``bench.json``."""
    return {
        "machine": machine,
        "settings": settings,
        "rows": [each.as_json() for each in rows],
        "footprint": [each.as_json() for each in figures],
    }
