"""Times as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from iscsim.errors import ConfigError
from iscsim.faults.seconds import parse_seconds


@pytest.mark.parametrize(
    "text, seconds",
    [
        (0, 0.0),
        (1.5, 1.5),
        ("70s", 70.0),
        ("250ms", 0.25),
        ("50us", 5e-5),
        ("2m", 120.0),
        ("1h", 3600.0),
        (" 3 ", 3),
    ],
)
def test_time_is_understood(text: Any, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "s", "-1", -1, "1 s", "1d", "1e3", "\u0663", True, None, float("inf"), "9" * 99]
)
def test_what_is_no_time_is_refused(text: Any) -> None:
    with pytest.raises(ConfigError, match="not a time"):
        parse_seconds(text)
