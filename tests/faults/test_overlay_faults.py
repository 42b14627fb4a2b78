"""What our initiator sees when a unit says something else about itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from faults.world import SmallWorld

from iscsim.errors import ConfigError
from iscsim.scsi.lun import REPORT_LUNS_WELL_KNOWN_LUN, encode_lun
from iscsim.scsi.sense import CommandFailed

OTHER_WWN = bytes.fromhex("6abcdef0000000000000000000000001")


async def vendor(session: Any) -> Any:
    return (await session.inquiry(1)).vendor


async def wwn(session: Any) -> Any:
    return (await session.scan())[0].wwn


async def read_only(session: Any) -> Any:
    return await session.is_read_only(1)


async def capacity(session: Any) -> Any:
    found = await session.read_capacity(1)
    return found.blocks, found.block_size


OVERLAYS: list[tuple[str, dict[str, Any], Callable[[Any], Awaitable[Any]], Any]] = [
    ("scsi.inquiry", {"offset": 8, "bytes": b"PURE    "}, vendor, "PURE"),
    ("scsi.vpd", {"page": 0x83, "offset": 8, "bytes": OTHER_WWN}, wwn, f"3{OTHER_WWN.hex()}"),
    ("scsi.mode", {"offset": 2, "bytes": b"\x80"}, read_only, True),
    ("scsi.capacity", {"offset": 8, "bytes": "00001000"}, capacity, (2048, 4096)),
]


@pytest.mark.parametrize(("name", "given", "look", "seen"), OVERLAYS)
async def test_bytes_are_laid_over_the_data(
    world: SmallWorld, name: str, given: dict[str, Any], look: Callable[[Any], Awaitable[Any]], seen: Any
) -> None:
    async with world.connect() as session:
        before = await look(session)
        world.fault(name, **given)
        assert await look(session) == seen != before


@pytest.mark.parametrize(("name", "given", "look", "seen"), OVERLAYS)
async def test_delay_makes_them_late(
    world: SmallWorld, name: str, given: dict[str, Any], look: Callable[[Any], Awaitable[Any]], seen: Any
) -> None:
    async with world.connect() as session:
        await session.test_unit_ready(1)
        world.fault(name, delay=3.0, **{key: given[key] for key in given if key == "page"}).times(1)
        with world.taking(3.0):
            assert await look(session) != seen


async def test_page_that_fails_is_missing(world: SmallWorld) -> None:
    async with world.connect() as session:
        world.fault("scsi.vpd", page=0x83, fail=True)
        with pytest.raises(CommandFailed, match="05/24/00"):
            await session.inquiry(1, 0x83)
        assert (await session.inquiry(1, 0x80))[1] == 0x80
        assert not await wwn(session) or not (await wwn(session)).startswith("36024953")


LISTS = {
    "truncated": [1, 2],
    "order": [3, 2, 1],
}


@pytest.mark.parametrize(("mode", "numbers"), LISTS.items())
async def test_report_luns_is_wrong(mode: str, numbers: list[int]) -> None:
    async with SmallWorld(luns={1: "1M", 2: "1M", 3: "1M"}) as world, world.connect() as session:
        world.fault("lun.report_luns", mode=mode)
        assert await session.report_luns() == [encode_lun(number) for number in numbers]


async def test_well_known_unit_is_listed_and_not_attached(world: SmallWorld) -> None:
    async with world.connect() as session:
        world.fault("lun.report_luns", mode="wlun")
        assert await session.report_luns() == [REPORT_LUNS_WELL_KNOWN_LUN, encode_lun(1)]
        assert [unit.number for unit in await session.scan()] == [1]


async def test_stale_list_lacks_what_has_come_since(world: SmallWorld) -> None:
    async with world.connect() as session:
        rule = world.fault("lun.report_luns", mode="stale")
        await session.report_luns()
        world.target.add_lun(2, "1M")
        assert await session.report_luns() == [encode_lun(1)]
        world.engine.remove(rule.id)
        assert await session.report_luns() == [encode_lun(1), encode_lun(2)]


async def test_overlay_that_does_nothing_is_refused(world: SmallWorld) -> None:
    with pytest.raises(ConfigError, match="one of bytes, delay and fail"):
        world.fault("scsi.inquiry", offset=4)
