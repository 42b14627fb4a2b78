"""A session that lives loses nothing, whatever befalls it. ``ISCSIM_SEEDS=100`` tries as many seeds."""

from __future__ import annotations

import os

import pytest
from simulation.recovery import FAULTS, run

SEEDS = range(int(os.environ.get("ISCSIM_SEEDS", "2")))


@pytest.mark.parametrize("name", FAULTS)
def test_everything_is_read_back_as_it_was_written(name: str) -> None:
    fired = [run(name, seed)[0] for seed in SEEDS]
    assert any(fired)


@pytest.mark.parametrize("name", ["net.loss", "session.drop", "tcp.reset", "login.status"])
def test_the_same_seed_is_the_same_again(name: str) -> None:
    assert run(name, 7) == run(name, 7)
