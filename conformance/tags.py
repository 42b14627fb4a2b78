"""The tags ``@rfc("7143", "4.2.2.1", row=2)`` of the tests, read from their sources without running any.

Every positional argument behind the RFC's number is a section; ``row`` is a row of the checklist, or several.
Which side a test proves something of is said by ``side``; without it, by the room it is in.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag of one test; ``test`` is ``tests/room/test_x.py::test_name``."""

    test: str
    rfc: str
    sections: tuple[str, ...]
    rows: tuple[str, ...]
    side: str

    def proves(self, row: str, side: str) -> bool:
        """Whether the tag names ``row`` for ``side`` (``target`` or ``initiator``)."""
        return row in self.rows and self.side in (side, "both")


def collect(root: Path = ROOT) -> list[Tag]:
    """The tags of all tests below ``root/tests``, in the order of files and lines."""
    return [
        tag
        for path in sorted((root / "tests").rglob("test_*.py"))
        for tag in tags(path.read_text(encoding="utf-8"), path.relative_to(root).as_posix())
    ]


def tags(source: str, path: str) -> Iterator[Tag]:
    """The tags in one source. Raises ValueError for one that is not made of constants."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from (_tag(call, f"{path}::{node.name}") for call in node.decorator_list if is_tag(call))


def is_tag(node: ast.AST) -> bool:
    """Whether this is ``rfc(...)``."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "rfc"


def _tag(call: ast.expr, test: str) -> Tag:
    assert isinstance(call, ast.Call)
    rfc, *sections = (_constant(each) for each in call.args)
    options = {each.arg: _constant(each.value) for each in call.keywords}
    rows = options.get("row", ())
    return Tag(
        test=test,
        rfc=str(rfc),
        sections=tuple(str(section) for section in sections),
        rows=tuple(str(row) for row in (rows if isinstance(rows, tuple) else (rows,))),
        side=str(options.get("side", "initiator" if "initiator" in test.partition("::")[0] else "target")),
    )


def _constant(node: ast.expr) -> object:
    return ast.literal_eval(node)
