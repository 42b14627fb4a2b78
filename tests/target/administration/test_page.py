"""The page about the control socket is made of its table."""

from __future__ import annotations

from pathlib import Path

from iscsim.target.administration.methods import METHODS
from iscsim.target.administration.page import methods_page

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "control-socket.md"


def test_page_is_that_of_the_table() -> None:
    """What `methods_page()` prints has to be put there again when a method changes."""
    assert PAGE.read_text(encoding="utf-8") == methods_page()


def test_every_parameter_says_what_it_may_be() -> None:
    page = methods_page()
    for method in METHODS.values():
        assert f"| `{method.name}` |" in page
        for parameter in method.parameters:
            assert f"`{parameter.name}`" in page
            assert parameter.summary
