"""The table: groups that become current, paths that fail and come back, what is counted."""

from __future__ import annotations

from typing import Any

import pytest
from initiator.multipath.straw import WWN, Array

from iscsim.errors import ConfigError
from iscsim.initiator.multipath.hardware import MapSettings
from iscsim.initiator.multipath.path import Path
from iscsim.initiator.multipath.states import CheckerState, GroupState
from iscsim.initiator.multipath.table import PathTable

NAMES = ("2:0:0:1 sda", "3:0:0:1 sdb", "4:0:0:1 sdc")


def table(*names: str, **settings: Any) -> PathTable:
    return PathTable(Array().paths(*(names or NAMES)), MapSettings(**settings))


def states(of: PathTable) -> list[str]:
    return [of.group_state(group).value for group in of.groups]


def test_first_group_is_current_until_its_last_path_fails() -> None:
    one = table(path_grouping_policy="group_by_serial")
    assert states(one) == ["active"]
    three = table()
    assert states(three) == ["active", "enabled", "enabled"]
    three.fail_path(three.paths[0], "a test")
    assert states(three) == ["enabled", "active", "enabled"]
    three.reinstate_path(three.paths[0])
    assert states(three) == ["enabled", "active", "enabled"]


def test_bypassed_group_is_used_when_there_is_no_other() -> None:
    three = table()
    three.groups[0].bypassed = True
    three.fail_path(three.paths[1], "a test")
    assert three.group_state(three.groups[0]) is GroupState.DISABLED
    assert three.current_group is three.groups[2]
    three.fail_path(three.paths[2], "a test")
    assert three.current_group is three.groups[0]


def test_failure_is_counted_once_and_the_next_check_comes_soon() -> None:
    three = table()
    path = three.paths[0]
    path.tick = 20
    for _ in range(2):
        three.fail_path(path, "a test")
    assert (path.failures, three.statistics["path_faults"], path.tick) == (1, 1, 5)
    assert path.checker_state is CheckerState.DOWN


def test_groups_that_stay_the_same_stay_as_they_are() -> None:
    three = table(path_grouping_policy="group_by_prio")
    three.regroup()
    assert three.statistics["map_loads"] == 1
    three.paths[2].priority = 50
    three.regroup()
    assert three.statistics["map_loads"] == 2
    assert [[path.name for path in group.paths] for group in three.groups] == [["sdc"], ["sda", "sdb"]]
    assert three.current_group is three.groups[0]


def test_better_group_is_seen_and_taken() -> None:
    three = table()
    assert not three.should_switch
    three.paths[1].priority = 50
    assert three.should_switch
    three.switch_to_best()
    assert states(three) == ["enabled", "active", "enabled"]
    assert three.statistics["switch_grp"] == 1


@pytest.mark.parametrize("retry,queues,tick", [("fail", False, 0), ("queue", True, 0), (3, True, 16)])
def test_last_path_begins_the_counting(retry: str | int, queues: bool, tick: int) -> None:
    one = table("2:0:0:1 sda", no_path_retry=retry)
    one.fail_path(one.paths[0], "a test")
    assert (one.queue_if_no_path, one.retry_tick) == (queues, tick)
    one.stop_queueing()
    one.reinstate_path(one.paths[0])
    assert (one.queue_if_no_path, one.retry_tick) == (queues, 0)


def test_features_say_whether_it_queues_now() -> None:
    one = table("2:0:0:1 sda", no_path_retry=3)
    assert one.features == "1 queue_if_no_path"
    one.stop_queueing()
    assert one.features == "0"


def test_last_path_takes_the_map_along_unless_it_queues() -> None:
    for retry, removed in (("fail", True), ("queue", False)):
        one = table("2:0:0:1 sda", no_path_retry=retry)
        one.remove_path(one.paths[0])
        assert (one.paths, one.is_removed, one.wwn) == ([], removed, WWN)


def test_path_is_added_to_its_group() -> None:
    array = Array()
    first, second = array.paths("2:0:0:1 sda", "3:0:0:1 sdb")
    one = PathTable([first], MapSettings(path_grouping_policy="multibus"))
    one.add_path(second)
    assert [group.paths for group in one.groups] == [[first, second]]
    with pytest.raises(ConfigError, match="differ in size"):
        one.add_path(*array.paths("4:0:0:1 sdc", blocks=1))
    with pytest.raises(ConfigError, match="differ in wwn"):
        one.add_path(*array.paths("4:0:0:1 sdc", wwn="3another"))


def test_path_in_standby_shows_no_size_and_is_no_other_unit() -> None:
    array = Array()
    standby: Path = array.paths("2:0:0:1 sda", blocks=0, block_size=0)[0]
    (other,) = array.paths("3:0:0:1 sdb")
    assert PathTable([standby, other], MapSettings()).size == 3 << 30


@pytest.mark.parametrize(
    "tpgs,settings,handler,checker,prioritizer",
    [
        (0, {}, "0", "tur", "const"),
        (3, {}, "1 alua", "tur", "alua"),
        (3, {"kernel_attaches_alua": False, "hardware_handler": "1 emc"}, "1 emc", "tur", "alua"),
        (3, {"detect_prio": False, "prio": "emc"}, "1 alua", "tur", "emc"),
        (3, {"detect_checker": False, "path_checker": "directio"}, "1 alua", "directio", "alua"),
        (0, {"hardware_handler": "1 emc", "prio": "emc"}, "1 emc", "tur", "emc"),
    ],
)
def test_what_is_detected_beats_what_is_set(
    tpgs: int, settings: dict[str, Any], handler: str, checker: str, prioritizer: str
) -> None:
    one = table("2:0:0:1 sda", **settings)
    path = one.paths[0]
    path.tpgs = tpgs
    assert (one.hardware_handler, one.checker_of(path), one.prioritizer_of(path)) == (
        handler,
        checker,
        prioritizer,
    )
