"""What a load may be, and which blocks it touches."""

import random
from typing import Any

import pytest

from iscsim.errors import ConfigError
from iscsim.initiator.load.workload import Slots, Workload, extent_of


@pytest.mark.parametrize(
    "wrong",
    [
        {"request_length": 0},
        {"request_length": 9 << 20},
        {"depth": 0},
        {"depth": 5000},
        {"read_share": 101},
        {"read_share": -1},
        {"first_lba": -1},
        {"blocks": 0},
        {"duration_s": 0},
        {"duration_s": float("inf")},
        {"count": 0},
        {"duration_s": None, "count": None},
        {"rate": 0},
        {"seed": -1},
        {"seed": 1 << 64},
        {"interval_s": 0},
        {"max_errors": 0},
    ],
    ids=str,
)
def test_value_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Workload(**{"duration_s": 1, **wrong})


def test_range_is_cut_into_slots_of_one_request() -> None:
    extent = extent_of(Workload(duration_s=1, first_lba=100, blocks=50), blocks=1000, block_size=512)
    assert (extent.first_lba, extent.slots, extent.slot_blocks) == (100, 6, 8)
    assert (extent.blocks, extent.last_lba) == (48, 147)


def test_range_goes_to_the_end_unless_it_says_otherwise() -> None:
    assert extent_of(Workload(duration_s=1, first_lba=992), blocks=1000, block_size=512).last_lba == 999


@pytest.mark.parametrize(
    "options,why",
    [
        ({"request_length": 700}, "no whole number of blocks"),
        ({"first_lba": 1000}, "beyond the end"),
        ({"first_lba": 900, "blocks": 101}, "beyond the end"),
        ({"blocks": 7}, "too few"),
        ({"blocks": 80, "verify": True}, "one for each under way"),
    ],
    ids=str,
)
def test_range_that_does_not_fit_is_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        extent_of(Workload(duration_s=1, **options), blocks=1000, block_size=512)


def test_sequential_slots_begin_again_at_the_end() -> None:
    slots = Slots(3, random.Random(1), sequential=True, claims=False)
    assert [slots.take() for _ in range(5)] == [0, 1, 2, 0, 1]


def test_random_slots_are_those_of_the_dice() -> None:
    taken = [Slots(1000, random.Random(7), sequential=False, claims=False).take() for _ in range(3)]
    assert taken == [random.Random(7).randrange(1000)] * 3


@pytest.mark.parametrize("sequential", [True, False])
def test_claimed_slot_is_nobody_elses_until_it_is_given_back(sequential: bool) -> None:
    slots = Slots(8, random.Random(1), sequential=sequential, claims=True)
    taken = [slots.take() for _ in range(8)]
    assert sorted(taken) == list(range(8))
    slots.give_back(5)
    assert slots.take() == 5
