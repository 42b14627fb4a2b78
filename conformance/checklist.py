"""The rows of ``checklist.toml``: what RFC 7143 asks of a target, of an initiator, or of both."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("checklist.toml")
SIDES = {"target": ("target",), "initiator": ("initiator",), "both": ("target", "initiator")}


@dataclass(frozen=True, slots=True)
class Row:
    """One rule: its number, whose it is, the sections it comes from, and what it asks for."""

    number: str
    side: str
    sections: tuple[str, ...]
    requirement: str

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides that need a test of their own: ``target``, ``initiator`` or both of them."""
        return SIDES[self.side]


def load(path: Path = FILE) -> list[Row]:
    """All rows in the order of the file."""
    rows = tomllib.loads(path.read_text(encoding="utf-8"))["row"]
    return [Row(row["number"], row["side"], tuple(row["sections"]), row["requirement"]) for row in rows]
