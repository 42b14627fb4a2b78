"""Maps as text: byte for byte what multipath-tools printed on real hosts."""

from __future__ import annotations

import pytest
from initiator.multipath.straw import Array, device

from iscsim.initiator.multipath.daemon import MultipathDaemon
from iscsim.initiator.multipath.device import MultipathDevice
from iscsim.initiator.multipath.hardware import settings_for
from iscsim.initiator.multipath.show import (
    MAP_STATISTICS,
    MAP_STATUS,
    format_size,
    show_maps,
    show_paths,
    show_status,
    show_topology,
    topology,
)
from iscsim.initiator.multipath.states import CheckerState

# ../shared/golden/os-brick-7.1.1-two-paths-then-silent-portal.log: multipath-tools 0.9.4, tgt
TWO_PATHS = """\
36006016015e03a00ab2df25bb82d0ea9 dm-0 IET,VIRTUAL-DISK
size=64M features='0' hwhandler='0' wp=rw
|-+- policy='service-time 0' prio=1 status=active
| `- 6:0:0:197 sda 8:0  active ready running
`-+- policy='service-time 0' prio=1 status=enabled
  `- 7:0:0:197 sdb 8:16 active ready running
"""
ONE_PATH = """\
36006016015e03a00ab2df25bb82d0ea9 dm-0 IET,VIRTUAL-DISK
size=64M features='0' hwhandler='0' wp=rw
`-+- policy='service-time 0' prio=1 status=active
  `- 6:0:0:197 sda 8:0 active ready running
"""
# ../shared/seeds/000: Newton's multipath-tools, a VNX
RELOADED = """\
reload: 36006016015e03a00ab2df25bb82d0ea9 undef DGC,VRAID
size=3.0G features='1 queue_if_no_path' hwhandler='1 emc' wp=undef
|-+- policy='round-robin 0' prio=50 status=undef
| `- 2:0:0:197 sdd 8:48 active ready running
`-+- policy='round-robin 0' prio=10 status=undef
  `- 3:0:0:197 sdc 8:32 active ready running
"""
UNCHECKED = """\
36006016015e03a00ab2df25bb82d0ea9 dm-0 DGC,VRAID
size=3.0G features='2 queue_if_no_path retain_attached_hw_handler' hwhandler='1 emc' wp=rw
|-+- policy='round-robin 0' prio=0 status=active
| `- 2:0:0:197 sdd 8:48 active undef running
`-+- policy='round-robin 0' prio=0 status=enabled
  `- 3:0:0:197 sdc 8:32 active undef running
"""
STATUS = """\
path checker states:
up                  3

paths: 3
busy: False
"""


async def vnx(release: str) -> MultipathDevice:
    """Two service processors in failover mode 4, which has target port groups, as the seeds' array had."""
    daemon = MultipathDaemon(release=release)
    for path in Array(tpgs=3).paths("2:0:0:197 sdd", "3:0:0:197 sdc"):
        made = await daemon.add_path(path)
    assert made is not None
    return made


def tgt(*names: str) -> MultipathDevice:
    array = Array(blocks=131072)
    paths = array.paths(*names, vendor="IET", product="VIRTUAL-DISK")
    return MultipathDevice(paths, settings=settings_for("IET", "VIRTUAL-DISK"), minor=0)


def test_two_paths_of_tgt_are_shown_as_in_the_recording() -> None:
    assert topology(tgt("6:0:0:197 sda", "7:0:0:197 sdb")) == TWO_PATHS
    assert topology(tgt("6:0:0:197 sda")) == ONE_PATH


async def test_vnx_yields_the_map_of_the_seeds() -> None:
    device = await vnx("0.4.9")
    assert topology(device, action="reload", applied=False) == RELOADED
    assert topology(device, checked=False) == UNCHECKED


async def test_later_kernel_attaches_alua_to_the_same_array() -> None:
    lines = topology(await vnx("0.9.4")).splitlines()
    assert lines[1:3] == [
        "size=3.0G features='1 queue_if_no_path' hwhandler='1 alua' wp=rw",
        "|-+- policy='service-time 0' prio=50 status=active",
    ]


async def test_passive_array_without_port_groups_has_the_prioritizer_s_own_numbers() -> None:
    daemon = MultipathDaemon()
    for path in Array().paths("4:0:0:0 sdb", "4:0:1:0 sdc"):
        made = await daemon.add_path(path)
    assert made is not None
    assert [line.split("prio=")[1] for line in topology(made).splitlines() if "prio=" in line] == [
        "4 status=active",
        "1 status=enabled",
    ]


def test_status_counts_checker_states() -> None:
    three = tgt("2:0:0:1 sda", "3:0:0:1 sdb", "4:0:0:1 sdc")
    assert show_status([three]) == STATUS
    three.paths[0].checker_state = CheckerState.GHOST
    three.paths[2].checker_state = CheckerState.DOWN
    assert show_status([three], busy=True).splitlines() == [
        "path checker states:",
        "down                1",
        "up                  1",
        "ghost               1",
        "",
        "paths: 3",
        "busy: True",
    ]


def test_paths_have_a_header_and_every_column_is_as_wide_as_it_must() -> None:
    two = tgt("6:0:0:197 sda", "7:0:0:197 sdb")
    two.paths[0].tick, two.paths[0].check_interval = 4, 10
    two.fail_path(two.paths[1], "a test")
    two.paths[1].tick, two.paths[1].check_interval = 5, 5
    assert show_paths([two]).splitlines() == [
        "hcil      dev dev_t pri dm_st  chk_st dev_st  next_check     ",
        "6:0:0:197 sda 8:0   1   active ready  running XXXX...... 4/10",
        "7:0:0:197 sdb 8:16  1   failed faulty running XXXXXXXXXX 5/5 ",
    ]


def test_raw_paths_have_neither() -> None:
    assert show_paths([tgt("6:0:0:197 sda", "7:0:0:197 sdb")], "%d %m", raw=True).splitlines() == [
        "sda 36006016015e03a00ab2df25bb82d0ea9",
        "sdb 36006016015e03a00ab2df25bb82d0ea9",
    ]


def test_every_path_wildcard_says_something() -> None:
    two = tgt("6:0:0:197 sda")
    assert show_paths([two], "%w|%s|%c|%S|%M|%N|%n|%a|%G|%g|%0|%P|%I|%L|%?", raw=True) == (
        "36006016015e03a00ab2df25bb82d0ea9|IET,VIRTUAL-DISK,0533|tur|64M|normal|[undef]|"
        "iqn.1992-04.com.emc:cx.test.a0|10.0.0.1|--|[undef]|0|scsi:iscsi|ok|0x00c5000000000000|\n"
    )


def test_maps_in_the_forms_multipathd_has() -> None:
    two = tgt("6:0:0:197 sda", "7:0:0:197 sdb")
    assert show_maps([two]).splitlines()[0].split() == ["name", "sysfs", "uuid"]
    assert show_maps([two], MAP_STATUS, raw=True) == f"{two.wwn} - - 2 active rw\n"
    assert show_maps([two], MAP_STATISTICS, raw=True) == f"{two.wwn} 0 0 1 0 0\n"


@pytest.mark.parametrize(
    "settings,queueing",
    [
        ({"no_path_retry": "fail"}, "off"),
        ({"no_path_retry": "queue"}, "on"),
        ({"no_path_retry": 12}, "12 chk"),
        ({}, "-"),
    ],
)
def test_queueing_is_shown(settings: dict[str, object], queueing: str) -> None:
    assert show_maps([device(Array(), "2:0:0:1 sda", **settings)], "%Q", raw=True) == f"{queueing}\n"


def test_countdowns_are_shown() -> None:
    counting = device(Array(), "2:0:0:1 sda", no_path_retry=12, failback=10)
    counting.fail_path(counting.paths[0], "a test")
    counting.failback_tick = 5
    assert show_maps([counting], "%Q, %F", raw=True) == "61 sec, XXXXX..... 5/10\n"
    assert show_maps([device(Array(), "2:0:0:1 sda", failback="immediate")], "%F", raw=True) == "immediate\n"


def test_columns_of_several_maps_were_as_wide_as_the_widest() -> None:
    maps = [tgt("2:0:0:197 sdd"), tgt("12:0:0:197 sdaa")]
    assert "`- 2:0:0:197  sdd  8:48   active" in show_topology(maps, style="0.4.9")
    assert "`- 2:0:0:197 sdd 8:48 active" in show_topology(maps)


def test_alias_is_shown_with_the_wwn() -> None:
    named = tgt("2:0:0:197 sdd")
    named.alias = "mpatha"
    first = topology(named).splitlines()[0]
    assert first == "mpatha (36006016015e03a00ab2df25bb82d0ea9) dm-0 IET,VIRTUAL-DISK"


@pytest.mark.parametrize(
    "size,text",
    [
        (512, "0.0K"),
        (524288, "512K"),
        (64 << 20, "64M"),
        (3 << 30, "3.0G"),
        (200 << 40, "200T"),
        (9 << 60, "9216P"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert format_size(size) == text
