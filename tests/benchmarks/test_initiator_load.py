from __future__ import annotations

from itertools import islice

from benchmarks.initiator_load import addresses


def test_sequential_reads_start_again_before_the_end_of_the_unit():
    assert list(islice(addresses(20, 8, at_random=False), 4)) == [0, 8, 0, 8]


def test_random_reads_stay_inside_the_unit():
    lbas = list(islice(addresses(100, 8, at_random=True), 1000))
    assert 0 <= min(lbas) < max(lbas) <= 92
    assert len(set(lbas)) > 50
