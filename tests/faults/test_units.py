"""Faults that happen by themselves, to what is not there when their time comes."""

from __future__ import annotations

from typing import Any

import pytest
from faults.world import SmallWorld

from iscsim.errors import FaultError
from iscsim.faults.faulty_store import FaultyStore, faulty_store_of

CASES: list[tuple[str, dict[str, Any], str]] = [
    ("lun.hide", {"lun": 9}, "there is no LUN 9"),
    ("lun.swap_identity", {"lun": 1, "other": 9}, "there is no LUN 9"),
    ("lun.duplicate_wwid", {"lun": 1, "of": 9}, "there is no LUN 9"),
    ("lun.renumber", {"lun": 1, "to": 2}, "LUN 2 is mapped already"),
    ("lun.resize", {"lun": 1, "bytes": 1000}, "1000 bytes are not whole blocks of 512"),
    ("path.asymmetric", {"portal_group": 9, "state": "standby"}, "there is no portal group 9"),
    ("path.asymmetric", {"portal_group": 1, "state": "standby", "lun": 9}, "there is no LUN 9"),
    ("disk.crash", {"lun": 9}, "there is no LUN 9"),
]


@pytest.mark.parametrize(("name", "given", "message"), CASES)
async def test_fault_of_what_is_not_there_says_so(name: str, given: dict[str, Any], message: str) -> None:
    async with SmallWorld(luns={1: "1M", 2: "1M"}) as world:
        rule = world.fault(name, **given)
        with pytest.raises(FaultError, match=f"{rule.id}: {message}"):
            rule.kind.action(rule, world)
        world.engine.remove(rule.id)


async def test_target_that_is_gone_is_named(world: SmallWorld) -> None:
    rule = world.fault("target.kill", target=world.target.name)
    rule.parameters["target"] = "iqn.gone"
    with pytest.raises(FaultError, match=r"there is no target iqn\.gone"):
        rule.kind.action(rule, world)
    world.engine.remove(rule.id)


async def test_crash_without_a_filter_is_refused(world: SmallWorld) -> None:
    (unit,) = world.target.node.units()
    with pytest.raises(FaultError, match="no store that faults can reach"):
        faulty_store_of(unit)
    rule = world.fault("disk.crash")
    assert isinstance(faulty_store_of(unit), FaultyStore)
    world.engine.remove(rule.id)


async def test_every_lun_map_is_reached(world: SmallWorld) -> None:
    node = world.target.node
    own = type(node.lun_map)()
    own.add(5, node.units(1)[0])
    node.add_acl("iqn.2026-11.test:compute", lun_map=own)
    rule = world.fault("lun.hide", lun=5)
    undo = rule.kind.action(rule, world)
    async with world.connect() as session:
        assert await session.report_luns() == []
    undo()
    async with world.connect() as session:
        assert len(await session.report_luns()) == 1
    world.engine.remove(rule.id)
