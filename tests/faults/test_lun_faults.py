"""What our initiator sees of LUNs that go, come, move and are somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from faults.world import SmallWorld

from iscsim.errors import ConfigError
from iscsim.scsi import cdb
from iscsim.scsi.sense import CommandFailed

DATA = b"\xda" * 512


@pytest.fixture
async def pair() -> AsyncIterator[SmallWorld]:
    """LUN 1 and 2."""
    async with SmallWorld(luns={1: "1M", 2: "1M"}) as world:
        yield world


@pytest.fixture
async def session(pair: SmallWorld) -> AsyncIterator[Any]:
    """One that has scanned, and has written to LUN 1."""
    async with pair.connect() as one:
        await one.scan()
        await one.write(1, 0, DATA)
        yield one


async def numbers(session: Any) -> list[int]:
    return [unit.number for unit in await session.scan()]


async def heard(session: Any, lun: int) -> str:
    """The sense of TEST UNIT READY, "" for none."""
    found = await session.execute(lun, cdb.test_unit_ready())
    return (
        "" if found.sense is None else f"{found.sense.key:02x}/{found.sense.asc:02x}/{found.sense.ascq:02x}"
    )


async def fault(world: SmallWorld, name: str, **given: Any) -> Any:
    """Arm it, and let it happen."""
    rule = world.fault(name, **given)
    await asyncio.sleep(0.001)
    assert rule.fired == 1
    return rule


@pytest.mark.parametrize(
    ("name", "given", "on_the_other"),
    [
        ("lun.hide", {}, ""),
        ("lun.hide", {"notify": True}, "06/3f/0e"),
        ("lun.remove_in_use", {}, "06/3f/0e"),
        ("lun.remove_in_use", {"notify": False}, ""),
    ],
)
async def test_lun_is_gone(
    pair: SmallWorld, session: Any, name: str, given: dict[str, Any], on_the_other: str
) -> None:
    rule = await fault(pair, name, lun=1, **given)
    assert await heard(session, 1) == "05/25/00"
    assert await heard(session, 2) == on_the_other
    assert await numbers(session) == [2]
    pair.engine.remove(rule.id)
    assert await numbers(session) == [1, 2]
    assert await session.read(1, 0, 1) == DATA


async def test_change_that_waits_already_is_not_hushed_up(pair: SmallWorld, session: Any) -> None:
    pair.target.add_lun(3, "1M")
    await fault(pair, "lun.hide", lun=1)
    assert await heard(session, 2) == "06/3f/0e"


async def test_lun_that_appears_late_is_found_by_a_later_scan(pair: SmallWorld, session: Any) -> None:
    await fault(pair, "lun.appear_late", lun=1, delay=5)
    found = []
    for _ in range(4):
        found.append(await numbers(session))
        await asyncio.sleep(2)
    assert found == [[2], [2], [2], [1, 2]]


async def test_removed_rule_lets_the_lun_appear_once(pair: SmallWorld, session: Any) -> None:
    rule = await fault(pair, "lun.appear_late", lun=1, delay=5)
    pair.engine.remove(rule.id)
    assert await numbers(session) == [1, 2]
    await asyncio.sleep(10)
    assert await numbers(session) == [1, 2]


async def test_renumbered_lun_is_the_same_disk(pair: SmallWorld, session: Any) -> None:
    before = {unit.number: unit.wwn for unit in session.units}
    rule = await fault(pair, "lun.renumber", lun=1, to=7)
    assert await heard(session, 1) == "05/25/00"
    assert {unit.number: unit.wwn for unit in await session.scan()} == {2: before[2], 7: before[1]}
    assert await session.read(7, 0, 1) == DATA
    pair.engine.remove(rule.id)
    assert await numbers(session) == [1, 2]


@pytest.mark.parametrize(
    ("given", "data"),
    [({}, bytes(512)), ({"data": False}, DATA), ({"wwn": f"6{'0' * 30}1"}, bytes(512))],
)
async def test_other_unit_answers_and_nobody_is_told(
    pair: SmallWorld, session: Any, given: dict[str, Any], data: bytes
) -> None:
    before = session.units[0]
    rule = await fault(pair, "lun.swap_identity", lun=1, **given)
    assert await heard(session, 1) == ""
    assert await session.read(1, 0, 1) == data
    (now,) = [unit for unit in await session.scan() if unit.number == 1]
    assert now.wwn != before.wwn
    assert "wwn" not in given or now.wwn == f"3{given['wwn']}"
    assert now.size == before.size
    pair.engine.remove(rule.id)
    assert (await session.scan())[0] == before
    assert await session.read(1, 0, 1) == DATA


async def test_mapping_used_again_leads_to_somebody_elses_volume(pair: SmallWorld, session: Any) -> None:
    other = session.units[1].wwn
    await fault(pair, "lun.swap_identity", lun=1, other=2)
    await session.write(1, 5, DATA)
    assert await session.read(2, 5, 1) == DATA
    assert [unit.wwn for unit in await session.scan()] == [other, other]


async def test_swap_that_is_told_is_an_inquiry_change(pair: SmallWorld, session: Any) -> None:
    await fault(pair, "lun.swap_identity", lun=1, notify=True)
    assert await heard(session, 1) == "06/3f/03"


async def test_swapped_unit_knows_its_nexuses(pair: SmallWorld, session: Any) -> None:
    old = pair.target.node.units(1)[0]
    await fault(pair, "lun.swap_identity", lun=1)
    assert list(old.nexuses) == []
    assert len(pair.target.node.units(1)[0].nexuses) == 1


async def test_two_units_have_one_wwid(pair: SmallWorld, session: Any) -> None:
    before = [unit.wwn for unit in session.units]
    rule = await fault(pair, "lun.duplicate_wwid", lun=2, of=1)
    assert [unit.wwn for unit in await session.scan()] == [before[0], before[0]]
    assert await session.read(2, 0, 1) == bytes(512)
    pair.engine.remove(rule.id)
    assert [unit.wwn for unit in await session.scan()] == before


@pytest.mark.parametrize(("notify", "said"), [(True, "06/2a/09"), (False, "")])
@pytest.mark.parametrize("size", [2 << 20, 512 << 10])
async def test_resized_unit_has_another_capacity(
    pair: SmallWorld, session: Any, notify: bool, said: str, size: int
) -> None:
    await fault(pair, "lun.resize", lun=1, bytes=size, notify=notify)
    assert await heard(session, 1) == said
    assert (await session.read_capacity(1)).blocks * 512 == size
    with pytest.raises(CommandFailed, match="05/21/00"):
        await session.read(1, size // 512, 1)


@pytest.mark.parametrize(("notify", "said"), [(True, "06/2a/01"), (False, "")])
async def test_readonly_lun_refuses_writes(pair: SmallWorld, session: Any, notify: bool, said: str) -> None:
    rule = await fault(pair, "lun.readonly", lun=1, notify=notify)
    assert await heard(session, 1) == said
    with pytest.raises(CommandFailed, match="07/27/00"):
        await session.write(1, 0, DATA)
    assert await session.is_read_only(1)
    await session.write(2, 0, DATA)
    pair.engine.remove(rule.id)
    await session.write(1, 0, DATA)


@pytest.mark.parametrize(
    ("mode", "fields"),
    [("sam", ["0001", "0002"]), ("sam2", ["0001", "0002"]), ("flat", ["4001", "4002"])],
)
async def test_luns_are_written_in_another_way(
    pair: SmallWorld, session: Any, mode: str, fields: list[str]
) -> None:
    rule = await fault(pair, "lun.addressing", mode=mode)
    assert [lun[:2].hex() for lun in await session.report_luns()] == fields
    assert await numbers(session) == [1, 2]
    pair.engine.remove(rule.id)
    assert (await session.report_luns())[0][:2].hex() == "0001"


async def test_fault_ends_at_until(pair: SmallWorld, session: Any) -> None:
    now = pair.time()
    pair.fault("lun.hide", lun=1).after(now + 1).until(now + 5)
    found = []
    for _ in range(3):
        found.append(await numbers(session))
        await asyncio.sleep(3)
    assert found == [[1, 2], [2], [1, 2]]


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("lun.swap_identity", {"lun": 1, "other": 2, "data": False}, "own WWN and data"),
        ("lun.resize", {"lun": 1}, "needs bytes"),
        ("lun.hide", {}, "needs lun"),
        ("lun.addressing", {"mode": "sam3"}, "one of sam, sam2, flat"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    pair: SmallWorld, name: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        pair.fault(name, **given)
