"""Whatever befalls a path, its map loses nothing: see ``simulation.soak``.

``ISCSIM_SEEDS=100`` tries as many seeds.
"""

from __future__ import annotations

import os
from contextlib import suppress

import pytest
from simulation.soak import FAULTS, NOT_HARMLESS, kinds, run

from iscsim.errors import ISCSIError

SEEDS = range(int(os.environ.get("ISCSIM_SEEDS", "2")))


def test_there_is_one_of_every_kind() -> None:
    assert sorted(FAULTS) == sorted(kinds())
    assert NOT_HARMLESS.keys() <= FAULTS.keys()


@pytest.mark.parametrize("name", FAULTS)
def test_no_data_error_no_io_error_every_path_back_and_the_same_again(name: str) -> None:
    outcomes = {seed: run(name, seed) for seed in SEEDS}
    assert any(fired for fired, *_ in outcomes.values())
    assert {seed: run(name, seed) for seed in SEEDS} == outcomes


def test_the_judge_sees_bytes_that_no_digest_guards() -> None:
    found = []
    for seed in range(10):
        with suppress(ISCSIError):  # a length that was changed is seen by everybody
            found.append(run("tcp.corrupt", seed, settings={}, judge=False)[1])
    assert any(found)
