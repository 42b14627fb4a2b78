"""Path selectors: which path takes the next command."""

from __future__ import annotations

import pytest
from initiator.multipath.straw import Array

from iscsim.initiator.multipath.path import Path
from iscsim.initiator.multipath.selectors import SELECTORS, selector_of


def names(selector: str, paths: list[Path], count: int, min_io: int = 1) -> str:
    chooses = selector_of(selector, min_io)
    return "".join(chooses.select(paths, 4096).name[-1] for _ in range(count))


def three_paths() -> list[Path]:
    return Array().paths("2:0:0:1 sda", "3:0:0:1 sdb", "4:0:0:1 sdc")


@pytest.mark.parametrize("name", SELECTORS)
def test_idle_paths_take_turns(name: str) -> None:
    assert names(f"{name} 0", three_paths(), 7) == "abcabca"


def test_round_robin_stays_for_rr_min_io() -> None:
    assert names("round-robin 0", three_paths(), 8, min_io=3) == "aaabbbcc"


def test_round_robin_goes_on_without_a_path_that_has_failed() -> None:
    a, b, c = three_paths()
    chooses = selector_of("round-robin 0")
    chosen = [chooses.select(active, 512) for active in ([a, b, c], [b, c], [b, c], [a, b, c])]
    assert chosen == [a, b, c, a]


def test_queue_length_counts_commands_and_service_time_bytes() -> None:
    a, b, c = three_paths()
    a.in_flight, a.in_flight_length = 1, 1 << 20
    b.in_flight, b.in_flight_length = 3, 4096
    c.in_flight, c.in_flight_length = 2, 8192
    assert selector_of("queue-length 0").select([a, b, c], 512) is a
    assert selector_of("service-time 0").select([a, b, c], 512) is b
