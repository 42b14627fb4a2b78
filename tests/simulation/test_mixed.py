"""What must hold whatever goes wrong: see ``simulation.mixed``. ``ISCSIM_SEEDS=200`` tries as many seeds."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulation.mixed import run

SEEDS = range(int(os.environ.get("ISCSIM_SEEDS", "10")))
_PROGRAM = (
    "import sys\nfrom simulation.mixed import run\nfor seed in sys.argv[1:]:\n    print(seed, run(int(seed)))"
)

first_run = functools.cache(run)


@pytest.mark.parametrize("seed", SEEDS)
def test_invariants_hold_all_converges_and_it_is_the_same_again(seed: int) -> None:
    assert run(seed) == first_run(seed)


@pytest.mark.timeout(600)
def test_another_process_sees_the_same_traces_for_every_seed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *map(str, SEEDS)],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        capture_output=True,
        text=True,
        timeout=30 + 3 * len(SEEDS),
        check=True,
    )
    assert done.stdout.splitlines() == [f"{seed} {first_run(seed)}" for seed in SEEDS]
