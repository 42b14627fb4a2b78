"""Why a fault has not fired: what came closest."""

from __future__ import annotations

from typing import Any

import pytest

from iscsim.faults.near_miss import NearMisses
from iscsim.faults.occasion import Hook, Occasion

CDBS = {
    "REPORT LUNS": bytes([0xA0]),
    "TEST UNIT READY": bytes([0]),
    "INQUIRY": bytes([0x12]),
    "WRITE (16)": bytes([0x8A]),
}


def command(lun: int, method: int = 0, portal: str = "a") -> Occasion:
    return Occasion(hook=Hook.START, now=0, lun=bytes([method << 6, lun]) + bytes(6), portal=portal)


@pytest.mark.parametrize(
    "occasion, wanted, said",
    [
        (command(6), 5, "3 occasions had LUN 0x0006 (peripheral), not LUN 5"),
        (command(6, 1), 5, "3 occasions had LUN 0x4006 (flat), not LUN 5"),
        (
            command(5),
            0x4005,
            "3 occasions had LUN 0x0005 (peripheral), not LUN 0x4005: the same logical unit",
        ),
    ],
)
def test_luns_are_told_with_their_addressing(occasion: Occasion, wanted: int, said: str) -> None:
    misses = NearMisses()
    for _ in range(3):
        misses.add(["lun"], occasion)
    assert misses.explain({"lun": wanted}, "") == said


def test_nearest_is_what_missed_on_fewest_names_and_then_most_often() -> None:
    misses = NearMisses()
    for _ in range(9):
        misses.add(["lun", "portal"], command(1, portal="b"))
    misses.add(["portal"], command(5, portal="c"))
    for _ in range(2):
        misses.add(["portal"], command(5, portal="d"))
    assert misses.explain({"lun": 5, "portal": "a"}, "") == (
        "2 occasions had portal='d', not 'a'; 1 occasion had portal='c', not 'a'; 9 others"
    )


def test_nearest_is_what_is_most_like_it_however_rare() -> None:
    misses = NearMisses()
    for name, count in (("REPORT LUNS", 9), ("TEST UNIT READY", 7), ("INQUIRY", 5), ("WRITE (16)", 1)):
        for _ in range(count):
            misses.add(["command"], Occasion(hook=Hook.START, now=0, cdb=CDBS[name]))
    said = misses.explain({"command": "WRITE (10)"}, "")
    assert said.startswith("1 occasion had command='WRITE (16)', not 'WRITE (10)'; ")
    assert said.endswith(" others")


@pytest.mark.parametrize(
    "expression, said",
    [
        ("lba > 3", "on 1 occasion 'lba > 3' did not hold; 1 other"),
        ("", "on 1 occasion its predicate did not hold; 1 other"),
    ],
)
def test_predicate_is_nearer_than_any_other(expression: str, said: str) -> None:
    misses = NearMisses()
    misses.add(["lun"], command(1))
    misses.add([], command(1))
    assert misses.explain({"lun": 5}, expression) == said


def test_few_kinds_are_kept_of_many() -> None:
    misses: Any = NearMisses()
    assert not misses
    assert misses.explain({}, "") == ""
    for number in range(200):
        misses.add(["portal"], command(1, portal=str(number)))
    assert misses
    assert len(misses._counts) == 64
    assert misses.explain({"portal": "0"}, "").endswith("; 197 others")
