"""Each fault of discovery, and what `discover` and a login to what it found make of it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from faults.world import INITIATOR, TARGET, SmallWorld

import iscsim.faults.discovery_faults  # noqa: F401 - its faults are in the catalogue then
from iscsim.errors import ConnectionFailed
from iscsim.initiator.discovery import DiscoveredTarget, discover


async def found(world: SmallWorld) -> list[DiscoveredTarget]:
    """What compute discovers."""
    return await discover(
        world.portals[0], initiator_name=INITIATOR, network=world.compute, rng=random.Random(3)
    )


ANSWERS: list[tuple[str, dict[str, Any], list[tuple[str, list[str]]]]] = [
    ("discovery.empty", {}, []),
    ("discovery.hidden", {}, []),
    ("discovery.hidden", {"targets": "*:other"}, [(TARGET, ["10.245.47.95:3260,1", "10.245.47.96:3260,2"])]),
    ("discovery.wrong_address", {}, [(TARGET, ["10.245.47.95:1,1", "10.245.47.95:1,2"])]),
    ("discovery.wrong_address", {"address": "10.0.0.9:7"}, [(TARGET, ["10.0.0.9:7,1", "10.0.0.9:7,2"])]),
    ("discovery.unroutable", {}, [(TARGET, ["198.51.100.1:3260,1", "198.51.100.1:3260,2"])]),
    ("discovery.ipv6_only", {}, [(TARGET, ["[2001:db8::3260]:3260,1", "[2001:db8::3260]:3260,2"])]),
    ("discovery.wrong_tpgt", {"value": 7}, [(TARGET, ["10.245.47.95:3260,7", "10.245.47.96:3260,7"])]),
    ("discovery.duplicate", {}, [(TARGET, ["10.245.47.95:3260,1", "10.245.47.96:3260,2"])]),
]


@pytest.mark.parametrize(("name", "given", "answer"), ANSWERS)
async def test_discovery_shows(
    world: SmallWorld, name: str, given: dict[str, Any], answer: list[tuple[str, list[str]]]
) -> None:
    rule = world.fault(name, **given).times(1)
    shown = [
        (each.name, [f"{portal},{portal.tag}" for portal in each.portals]) for each in await found(world)
    ]
    assert shown == answer
    assert world.commented(rule)
    assert [each.name for each in await found(world)] == [TARGET]


async def test_a_target_told_twice_is_found_once(world: SmallWorld) -> None:
    rule = world.fault("discovery.duplicate")
    assert len(await found(world)) == 1
    (frame,) = world.commented(rule)
    assert frame.data.count(b"TargetName=") == 2


UNREACHABLE = [
    ("discovery.wrong_address", {}, "refused", 0.0),
    ("discovery.unroutable", {}, "", None),
    ("discovery.ipv6_only", {}, "", None),
]


@pytest.mark.parametrize(("name", "given", "message", "seconds"), UNREACHABLE)
async def test_what_was_found_cannot_be_reached(
    world: SmallWorld, name: str, given: dict[str, Any], message: str, seconds: float | None
) -> None:
    world.fault(name, **given)
    (target,) = await found(world)
    begun = world.time()
    with pytest.raises(ConnectionFailed, match=f"cannot connect.*{message}"):
        await world.connect(str(target.portals[0]))
    assert seconds is None or world.time() - begun == pytest.approx(seconds, abs=0.05)


async def test_a_hidden_target_can_be_used(world: SmallWorld) -> None:
    world.fault("discovery.hidden")
    assert await found(world) == []
    async with world.connect() as session:
        assert session.is_open


async def test_a_wrong_tag_is_seen_at_the_login(world: SmallWorld) -> None:
    world.fault("discovery.wrong_tpgt", value=7)
    (target,) = await found(world)
    with pytest.raises(ConnectionFailed, match="portal group 1 instead of 7"):
        await world.connect(str(target.portals[0]), portal_group_tag=target.portals[0].tag)


async def test_a_truncated_answer_is_none(world: SmallWorld) -> None:
    rule = world.fault("discovery.truncated").times(1)
    with pytest.raises(ConnectionFailed, match="not followed by a NUL"):
        await found(world)
    assert [frame.by_client for frame in world.commented(rule)] == [False]
    assert len(await found(world)) == 1


async def test_ten_thousand_targets_are_all_found(world: SmallWorld) -> None:
    world.fault("discovery.many")
    targets = await found(world)
    assert len(targets) == 10000
    assert targets[0].name == TARGET
    assert str(targets[-1].portals[0]) == world.portals[0]
