from __future__ import annotations

import pytest

from benchmarks.footprint import MEASURES
from benchmarks.rows import LIMITS, ROWS, Load, chosen
from benchmarks.targets import BLOCK_SIZE

NAMES = ["read-4k-32", "read-1m-8", "import", "import-all"]


@pytest.mark.parametrize(
    "only, expected",
    [
        ([], NAMES),
        (["read"], ["read-4k-32", "read-1m-8"]),
        (["import-all", "read-1m"], ["read-1m-8", "import-all"]),
        (["nothing"], []),
    ],
)
def test_only_chooses_by_the_beginning_of_the_name(only, expected):
    assert chosen(NAMES, only) == expected


def test_every_name_is_there_once():
    names = [each.name for each in (*ROWS, *LIMITS)]
    assert len(names) == len(set(names))


def test_every_limit_has_its_measure():
    assert MEASURES.keys() == {limit.name for limit in LIMITS}


def test_requests_are_whole_blocks():
    assert not [row.name for row in ROWS if row.request_length % BLOCK_SIZE]


@pytest.mark.parametrize("load, sides", [(Load.READ, ("iscsim", "tgtd")), (Load.WRITE, ("iscsim", "tgtd"))])
def test_targets_are_compared_with_tgtd(load, sides):
    assert {row.sides for row in ROWS if row.load is load} == {sides}


def test_the_initiator_is_compared_with_libiscsi():
    assert {row.sides for row in ROWS if row.load is Load.INITIATOR} == {("iscsim initiator", "libiscsi")}


def test_a_capture_is_compared_with_none():
    assert {row.sides for row in ROWS if row.load is Load.CAPTURE} == {("iscsim --pcap", "iscsim")}
