"""The pages of the faults are what the catalogue says, and their programs print what stands below them."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from iscsim.errors import FaultError
from iscsim.faults.kinds import catalogue

TOOL = Path(__file__).parents[1] / "tools" / "fault-pages"


def load() -> Any:
    loader = importlib.machinery.SourceFileLoader("fault_pages", str(TOOL))
    spec = importlib.util.spec_from_loader("fault_pages", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


tool = load()
KINDS = [kind for _, kind in sorted(catalogue().items())]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_page_is_up_to_date_and_its_example_prints_what_it_says(kind: Any) -> None:
    example = tool.example_of(kind)
    assert example is not None, f"write an example into {tool.page_of(kind)}, then run tools/fault-pages"
    assert re.search(rf'"{re.escape(kind.name)}"', example)
    assert tool.page_of(kind).read_text(encoding="utf-8") == tool.page(kind, example)


def test_index_names_every_fault_and_no_page_is_of_none() -> None:
    assert (tool.FAULTS / "README.md").read_text(encoding="utf-8") == tool.index(KINDS)
    assert {path.stem for path in tool.FAULTS.glob("*.md")} == {"README", *(kind.name for kind in KINDS)}


def test_example_that_does_not_show_its_fault_is_found_out() -> None:
    example = tool.example_of(catalogue()["net.refuse"])
    with pytest.raises(FaultError, match="never fired"):
        tool.output_of(example.replace("portal=target.portal", 'portal=target.portal, host="array"'), "it")
