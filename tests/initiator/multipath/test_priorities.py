"""Prioritizers: the numbers multipath-tools' modules give."""

from __future__ import annotations

import pytest
from initiator.multipath.straw import Array

from iscsim.initiator.multipath.path import Path
from iscsim.initiator.multipath.priorities import PRIORITIES
from iscsim.scsi.asymmetric_access import AccessState
from iscsim.scsi.sense import CommandFailed
from iscsim.scsi.status import Status


async def priority(name: str, path: Path, arguments: str = "") -> int:
    return await PRIORITIES[name](path, 30.0, arguments)


async def test_const_is_one() -> None:
    (path,) = Array().paths("2:0:0:1 sda")
    assert await priority("const", path) == 1


@pytest.mark.parametrize(
    "state,number",
    [
        (AccessState.ACTIVE_OPTIMIZED, 50),
        (AccessState.ACTIVE_NON_OPTIMIZED, 10),
        (AccessState.LOGICAL_BLOCK_DEPENDENT, 5),
        (AccessState.STANDBY, 1),
        (AccessState.UNAVAILABLE, 0),
        (AccessState.OFFLINE, 0),
        (AccessState.TRANSITIONING, 0),
    ],
)
async def test_alua_is_that_of_the_path_s_own_group(state: AccessState, number: int) -> None:
    _, path = Array(tpgs=1, states={2: state}).paths("2:0:0:1 sda", "3:0:0:1 sdb")
    assert await priority("alua", path) == number


async def test_preferred_adds_eighty_and_to_the_best_only_when_asked() -> None:
    array = Array(tpgs=1, preferred=2)
    best, other = array.paths("2:0:0:1 sda", "3:0:0:1 sdb")
    assert await priority("alua", other) == 90
    array.preferred = 1
    assert await priority("alua", best) == 50
    assert await priority("alua", best, "exclusive_pref_bit") == 130


async def test_alua_cannot_tell_without_port_groups() -> None:
    (path,) = Array().paths("2:0:0:1 sda")
    with pytest.raises(ValueError, match="no target port group"):
        await priority("alua", path)


@pytest.mark.parametrize(
    "owner,default_owner,numbers", [(0, 0, [4, 1]), (1, 0, [3, 2]), (1, 1, [1, 4]), (0, 1, [2, 3])]
)
async def test_emc_counts_ownership_and_default_ownership(
    owner: int, default_owner: int, numbers: list[int]
) -> None:
    paths = Array(owner=owner, default_owner=default_owner).paths("2:0:0:1 sda", "3:0:0:1 sdb")
    assert [await priority("emc", path) for path in paths] == numbers


@pytest.mark.parametrize("offset,value", [(27, 0x02), (28, 0x02), (30, 0x00), (48, 0x01)])
async def test_emc_is_zero_when_the_path_is_not_set_up_or_busy(offset: int, value: int) -> None:
    (path,) = Array(report={offset: value}).paths("2:0:0:1 sda")
    assert await priority("emc", path) == 0


async def test_emc_cannot_tell_from_another_page_or_an_error() -> None:
    (path,) = Array(report={9: 1}).paths("2:0:0:1 sda")
    with pytest.raises(ValueError, match="revision 1"):
        await priority("emc", path)
    path.session.answers = [Status.BUSY]
    with pytest.raises(CommandFailed, match="INQUIRY of page C0h ended with BUSY"):
        await priority("emc", path)
