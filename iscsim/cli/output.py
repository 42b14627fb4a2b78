"""What commands print: a table for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

NO_LIMIT = 10_000
"""Columns: more than any table has (iSCSI names have up to 223)."""


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=2))


def print_rows(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, empty: str
) -> None:
    """``rows`` as a table of ``columns``, or whole as JSON; ``empty`` goes to stderr when there are none."""
    if as_json:
        print_json(list(rows))
    elif not rows:
        print(f"iscsim: {empty}", file=sys.stderr)
    else:
        _print_table(rows, columns)


def _print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    from rich import box  # it takes a tenth of a second to import
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), no_wrap=True, overflow="fold")
    for row in rows:
        table.add_row(*(cell(row[column]) for column in columns))
    # names are there to be copied: a line too long is the terminal's to wrap, nothing is to be cut
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=NO_LIMIT)
    console.print(table)


def cell(value: Any) -> str:
    """``value`` as people read it."""
    if isinstance(value, list):
        return ", ".join(cell(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else printable(str(value))


def printable(text: str) -> str:
    """``text`` with what would steer a terminal, or begin a line, written as Python does: targets say what
    they like."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def human_size(size: int) -> str:
    """Bytes with a binary unit: ``64 MiB``."""
    value, units = float(size), ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.4g} {units[0]}"


def hexdump(data: bytes, offset: int = 0) -> str:
    """Sixteen bytes a line, with their offset and their printable characters; ``*`` for lines repeated."""
    return "\n".join(Hexdump().lines(data, offset))


class Hexdump:
    """A hex dump of what comes piece by piece: lines that only repeat the one before are one ``*``."""

    def __init__(self) -> None:
        self._last = b""
        self._starred = False

    def put(self, offset: int, data: bytes) -> None:
        """Print a piece."""
        for line in self.lines(data, offset):
            print(line)

    def lines(self, data: bytes, offset: int) -> Iterator[str]:
        """The lines of a piece, which begins at ``offset``."""
        for start in range(0, len(data), 16):
            piece = data[start : start + 16]
            if piece != self._last:
                self._last, self._starred = piece, False
                text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
                yield f"{offset + start:08x}  {piece.hex(' '):<47}  {text}"
            elif not self._starred:
                self._starred = True
                yield "*"
