"""Wrong names and the right ones."""

from __future__ import annotations

from typing import Any

import pytest

from iscsim.errors import ConfigError
from iscsim.faults.names import checked_name, hint


def test_known_name_comes_back() -> None:
    assert checked_name("fault", "a", ["a", "b"]) == "a"


@pytest.mark.parametrize(
    "name, known, said",
    [
        ("net.refsue", ["net.refuse", "tcp.reset"], "did you mean 'net.refuse'?"),
        ("NET.REFUSE", ["net.refuse", "tcp.reset"], "did you mean 'net.refuse'?"),
        ("zzz", ["net.refuse", "tcp.reset"], "known: net.refuse, tcp.reset"),
        ("zzz", [], "known: none"),
        ("delay", ["seconds", "stage"], "did you mean 'seconds'?"),
        ("seconds", ["target", "s"], "did you mean 's'?"),
        ("delay", ["delay_s"], "did you mean 'delay_s'?"),
        ("zzz", [f"name{number}" for number in range(50)] + ["z"], "did you mean 'z'?"),
    ],
)
def test_nearest_is_named_or_all_if_few(name: str, known: list[str], said: str) -> None:
    assert hint(name, known) == said
    with pytest.raises(ConfigError) as caught:
        checked_name("fault", name, known)
    assert str(caught.value) == f"unknown fault {name!r} ({said})"


@pytest.mark.timeout(5)
@pytest.mark.parametrize("name", [None, 3, ["a"], {"a": 1}, "x" * 1_000_000])
def test_anything_is_refused_in_one_short_line(name: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        checked_name("fault", name, ["net.refuse"])
    assert len(str(caught.value)) < 300
