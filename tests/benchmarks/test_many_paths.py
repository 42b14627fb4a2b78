"""The host full of multipath maps, at a size for tests: what must hold while a path flaps."""

from __future__ import annotations

from benchmarks.many_paths import Cost, Watch, measure


def test_maps_stay_right_and_every_path_comes_back() -> None:
    cost = measure(3, 1)
    assert (cost.luns, cost.paths, cost.problems) == (3, 12, ())
    assert cost.faults >= 3
    assert cost.io > 30


def test_what_must_not_be_is_noted() -> None:
    watch = Watch()
    watch.expect(True, "fine")
    watch.expect(False, "a path that is well is not used")
    assert watch.problems == ["a path that is well is not used"]


def test_cost_is_shown_in_one_line() -> None:
    assert str(Cost(105, 420, 5.94, 663.2, 134.1, 1575, 21794, ())) == (
        "105 LUNs, 420 paths: 5.9 s of wall time, 663 s of virtual time, peak of 134 MiB; "
        "1575 path faults, 21794 commands, 0 problems"
    )
