"""Whatever befalls a path, its map loses nothing: see ``simulation.soak``.

``ISCSIM_SEEDS=100`` tries as many seeds.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

import pytest
from simulation.soak import FAULTS, NOT_HARMLESS, kinds, run

from iscsim.errors import ISCSIError

SEEDS = range(int(os.environ.get("ISCSIM_SEEDS", "2")))
PAGE = Path(__file__).parents[2] / "docs" / "howto" / "soak.md"

pytestmark = pytest.mark.timeout(120 + 3 * len(SEEDS))


def test_there_is_one_of_every_kind() -> None:
    assert sorted(FAULTS) == sorted(kinds())
    assert NOT_HARMLESS.keys() <= FAULTS.keys()


def test_page_says_what_needs_more_than_two_paths() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert re.findall(r"^\| `([^`]*)` \|", text, re.MULTILINE) == sorted(NOT_HARMLESS)
    assert f"Of the {len(FAULTS)} faults of 2, {len(FAULTS) - len(NOT_HARMLESS)} need nothing" in text


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
