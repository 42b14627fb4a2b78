"""Path groups: how policies divide paths, and which group is the best."""

from __future__ import annotations

from dataclasses import replace

import pytest
from initiator.multipath.straw import Array

from iscsim.initiator.multipath.grouping import PathGroup, best_group, form_groups
from iscsim.initiator.multipath.path import Path
from iscsim.initiator.multipath.states import CheckerState, PathState


def four_paths() -> list[Path]:
    """sda and sdc go to SP A, sdb and sdd to SP B."""
    paths = Array().paths("2:0:0:1 sda", "3:0:0:1 sdb", "4:0:0:1 sdc", "5:0:0:1 sdd")
    for path, priority, serial in zip(paths, (10, 50, 10, 50), "xxyy", strict=True):
        path.priority = priority
        path.unit = replace(path.unit, serial=serial)
    return paths


@pytest.mark.parametrize(
    "policy,groups",
    [
        ("failover", ["b", "d", "a", "c"]),
        ("multibus", ["abcd"]),
        ("group_by_prio", ["bd", "ac"]),
        ("group_by_serial", ["ab", "cd"]),
        ("group_by_node_name", ["b", "d", "a", "c"]),
    ],
)
def test_policy_divides_paths_and_the_best_group_is_first(policy: str, groups: list[str]) -> None:
    formed = form_groups(policy, four_paths(), "round-robin 0")
    assert ["".join(path.name[-1] for path in group.paths) for group in formed] == groups


def test_priority_of_a_group_is_the_average_of_what_works() -> None:
    group = PathGroup(four_paths())
    assert group.priority == 30
    group.paths[0].checker_state = CheckerState.DOWN
    group.paths[1].checker_state = CheckerState.GHOST
    assert group.priority == (50 + 10 + 50) // 3
    for path in group.paths:
        path.checker_state = CheckerState.DOWN
    assert group.priority == 0


def test_best_group_has_the_priority_then_the_number_then_the_place() -> None:
    a, b, c, d = four_paths()
    assert best_group(groups := [PathGroup([a, c]), PathGroup([b])]) is groups[1]
    assert best_group(groups := [PathGroup([a]), PathGroup([c])]) is groups[0]
    assert best_group(groups := [PathGroup([d]), PathGroup([b, d])]) is groups[1]
    b.checker_state = CheckerState.DOWN
    assert best_group(groups := [PathGroup([a]), PathGroup([b])]) is groups[0]
    assert best_group([PathGroup([b])]) is None


def test_group_selects_among_its_active_paths() -> None:
    a, b, *_ = four_paths()
    group = PathGroup([a, b])
    a.state = PathState.FAILED
    assert [group.select(512) for _ in range(3)] == [b, b, b]
    b.state = PathState.FAILED
    assert group.select(512) is None
