"""What our initiator sees of a disk that fails, waits, or is wrong and says nothing; what the oracle says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from faults.world import SmallWorld

from iscsim.faults.faulty_store import FaultyStore, faulty_store_of
from iscsim.faults.write_model import ModelledStore
from iscsim.initiator.task import CommandTimedOut
from iscsim.net.virtual_loop import VirtualLoop
from iscsim.scsi import cdb
from iscsim.scsi.sense import CommandFailed

OLD, NEW = b"\x55" * 512, b"\xaa" * 512
UNIT = 1


def unit_of(world: SmallWorld) -> Any:
    return world.target.node.units(UNIT)[0]


@pytest.fixture
async def session(world: SmallWorld) -> AsyncIterator[Any]:
    """One that has written OLD to the blocks 0 to 7, and an oracle at work."""
    unit = unit_of(world)
    unit.use_store(ModelledStore(unit.store))
    async with world.connect() as one:
        await one.write(UNIT, 0, OLD * 8)
        yield one


def differing(world: SmallWorld) -> list[int]:
    """The blocks the oracle complains about."""
    store = unit_of(world).store
    assert isinstance(store, ModelledStore)
    return [each.lba for each in store.differences()]


ERRORS: list[tuple[str, dict[str, Any], str, str]] = [
    ("disk.error", {}, "read", "03/11/00"),
    ("disk.error", {}, "write", "03/0c/00"),
    ("disk.error", {}, "flush", "03/0c/00"),
    ("disk.error", {"op": "write", "errno": "ENOSPC"}, "write", "07/27/07"),
    ("disk.error", {"lba": 1}, "read", "03/11/00"),
    ("disk.full", {}, "write", "07/27/07"),
    ("disk.truncate", {"bytes": 512}, "read", "03/11/00"),
    ("disk.truncate", {"bytes": 512}, "write", "03/0c/00"),
]


@pytest.mark.parametrize(("name", "given", "operation", "sense"), ERRORS)
async def test_store_that_fails_is_a_sense(
    world: SmallWorld, session: Any, name: str, given: dict[str, Any], operation: str, sense: str
) -> None:
    verbs = {
        "read": lambda: session.read(UNIT, 0, 2),
        "write": lambda: session.write(UNIT, 0, NEW * 2),
        "flush": lambda: session.flush(UNIT),
    }
    world.fault(name, **given).times(1)
    with pytest.raises(CommandFailed, match=sense):
        await verbs[operation]()
    await verbs[operation]()
    assert differing(world) == []


@pytest.mark.parametrize("given", [{"op": "write"}, {"lba": 4}, {"operation": "flush"}])
async def test_error_elsewhere_hurts_nobody(world: SmallWorld, session: Any, given: dict[str, Any]) -> None:
    world.fault("disk.error", **given).may_not_fire()
    assert await session.read(UNIT, 0, 2) == OLD * 2


async def test_one_operation_in_so_many_fails(world: SmallWorld, session: Any) -> None:
    world.fault("disk.error", rate=0.5)
    failed = 0
    for _ in range(40):
        try:
            await session.read(UNIT, 0, 1)
        except CommandFailed:
            failed += 1
    assert 10 < failed < 30


async def test_delay_of_the_store_is_seen_where_the_medium_is_used(world: SmallWorld, session: Any) -> None:
    world.fault("disk.delay", delay=2.0, op="read")
    with world.taking(2.0):
        assert await session.read(UNIT, 0, 1) == OLD
    with world.taking(0.0):
        await session.inquiry(UNIT)
        await session.write(UNIT, 0, OLD)


async def test_rate_makes_commands_queue_up(world: SmallWorld, session: Any) -> None:
    world.fault("disk.rate", rate=1024)
    with world.taking(4.0):
        await asyncio.gather(*(session.read(UNIT, 0, 2) for _ in range(4)))


async def test_paused_store_answers_everything_when_it_goes_on(world: SmallWorld, session: Any) -> None:
    world.fault("disk.pause", seconds=10)
    with world.taking(10.0):
        first = asyncio.ensure_future(session.read(UNIT, 0, 1))
        await asyncio.sleep(4)
        assert await session.read(UNIT, 1, 1) == await first == OLD
    with world.taking(0.0):
        await session.read(UNIT, 0, 1)


async def test_paused_store_goes_on_at_until(world: SmallWorld, session: Any) -> None:
    now = world.time()
    world.fault("disk.pause").until(now + 7)
    with world.taking(7.0):
        await session.read(UNIT, 0, 1)


async def test_paused_store_that_never_goes_on_is_a_timeout(world: SmallWorld, session: Any) -> None:
    world.fault("disk.pause")
    with world.taking(30.0, within=1.0), pytest.raises(CommandTimedOut):
        await session.read(UNIT, 0, 1)


async def test_paused_store_goes_on_when_it_is_told_to(world: SmallWorld, session: Any) -> None:
    world.fault("disk.pause")
    world.fault("task.no_response", command="READ (16)").may_not_fire()
    world.fault("disk.resume").after(world.time() + 6)
    with world.taking(6.0):
        found = await asyncio.gather(*(session.read(UNIT, lba, 1) for lba in range(3)))
    assert found == [OLD] * 3
    with world.taking(0.0):
        await session.read(UNIT, 0, 1)


async def test_paused_store_goes_on_when_the_fault_is_removed(world: SmallWorld, session: Any) -> None:
    rule = world.fault("disk.pause")
    reading = asyncio.ensure_future(session.read(UNIT, 0, 1))
    await asyncio.sleep(3)
    assert not reading.done()
    world.engine.remove(rule.id)
    with world.taking(0.0):
        assert await reading == OLD


async def test_resume_answers_nothing_that_is_never_answered(world: SmallWorld, session: Any) -> None:
    world.fault("task.no_response", command="READ (10)").times(1)
    world.fault("disk.resume").after(world.time() + 6)
    with world.taking(30.0, within=1.0), pytest.raises(CommandTimedOut):
        await session.read(UNIT, 0, 1)


# name, parameters, a write of NEW to blocks 2 and 3: what blocks 0 to 7 then hold, blocks the oracle names
SILENT: list[tuple[str, dict[str, Any], bytes, list[int]]] = [
    ("disk.lost_write", {}, OLD * 8, [2, 3]),
    ("disk.misdirected_write", {"delta": 3}, OLD * 5 + NEW * 2 + OLD, [2, 3, 5, 6]),
    ("disk.misdirected_write", {"delta": -3}, OLD * 8, [2, 3]),
    ("disk.torn_write", {"bytes": 0}, OLD * 8, [2, 3]),
    ("disk.torn_write", {"bytes": 512}, OLD * 2 + NEW + OLD * 5, [3]),
    ("disk.torn_write", {"bytes": 612}, OLD * 2 + NEW + NEW[:100] + OLD[100:] + OLD * 4, [3]),
]


@pytest.mark.parametrize(("name", "given", "held", "named"), SILENT)
async def test_write_that_went_wrong_is_answered_with_good(
    world: SmallWorld, session: Any, name: str, given: dict[str, Any], held: bytes, named: list[int]
) -> None:
    world.fault(name, **given).times(1)
    await session.write(UNIT, 2, NEW * 2)
    assert await session.read(UNIT, 0, 8) == held
    assert differing(world) == named


@pytest.mark.parametrize("bits", [1, 9])
async def test_bits_are_flipped_in_what_is_read_and_not_on_the_medium(
    world: SmallWorld, session: Any, bits: int
) -> None:
    world.fault("disk.bitflip", n=bits).times(1)
    found = int.from_bytes(await session.read(UNIT, 0, 2), "big")
    assert (found ^ int.from_bytes(OLD * 2, "big")).bit_count() == bits
    assert await session.read(UNIT, 0, 2) == OLD * 2
    assert differing(world) == []


async def test_bits_flipped_in_what_is_written_stay(world: SmallWorld, session: Any) -> None:
    world.fault("disk.bitflip", op="write").times(1)
    await session.write(UNIT, 2, NEW)
    found = await session.read(UNIT, 2, 1)
    assert (int.from_bytes(found, "big") ^ int.from_bytes(NEW, "big")).bit_count() == 1
    assert differing(world) == [2]


async def test_stale_read_brings_what_was_before(world: SmallWorld, session: Any) -> None:
    world.fault("disk.stale_read").times(1)
    await session.write(UNIT, 2, NEW)
    stale = await session.read(UNIT, 1, 3)
    assert stale == OLD * 3
    model = unit_of(world).store.model
    assert [each.lba for each in model.compare(1, stale)] == [2]
    assert await session.read(UNIT, 1, 3) == OLD + NEW + OLD


@pytest.mark.parametrize(
    ("keep", "held"), [(0, OLD * 3), (1, NEW + OLD * 2), (2, NEW * 2 + OLD), (9, NEW * 3)]
)
async def test_crash_loses_what_was_not_flushed_but_for_a_prefix(
    world: SmallWorld, session: Any, keep: int, held: bytes
) -> None:
    world.fault("disk.crash", keep=keep).after(world.time() + 5)
    for lba in range(3):
        await session.write(UNIT, lba, NEW)
    await asyncio.sleep(6)
    found = await session.execute(UNIT, cdb.test_unit_ready())
    assert found.sense.code == 0x2900
    assert await session.read(UNIT, 0, 3) == held
    assert differing(world) == [lba for lba in range(3) if lba >= keep]


async def test_flushed_writes_survive_a_crash(world: SmallWorld, session: Any) -> None:
    world.fault("disk.crash").after(world.time() + 5)
    await session.write(UNIT, 0, NEW)
    await session.flush(UNIT)
    await asyncio.sleep(6)
    assert await session.read(UNIT, 0, 1) == NEW


@pytest.mark.parametrize("flush", [cdb.synchronize_cache_10(), cdb.write_10(0, 1, fua=True)])
async def test_ignored_flush_shows_after_a_crash(world: SmallWorld, session: Any, flush: bytes) -> None:
    world.fault("disk.fua_ignored")
    world.fault("disk.crash").after(world.time() + 5)
    await session.write(UNIT, 0, NEW)
    data_out = NEW if flush[0] == 0x2A else b""
    assert (await session.execute(UNIT, flush, data_out=data_out)).status == 0
    await asyncio.sleep(6)
    assert await session.read(UNIT, 0, 1) == OLD


async def test_store_of_a_unit_mapped_later_is_reached_too(world: SmallWorld, session: Any) -> None:
    world.fault("disk.error", op="read")
    world.target.add_lun(2, "1M")
    with pytest.raises(CommandFailed, match="03/11/00"):
        await session.read(2, 0, 1)


async def test_stores_are_left_alone_until_a_fault_wants_them(world: SmallWorld) -> None:
    rule = world.fault("task.busy").may_not_fire()
    assert not isinstance(unit_of(world).store, FaultyStore)
    world.engine.remove(rule.id)
    world.fault("disk.full").may_not_fire()
    assert faulty_store_of(unit_of(world)).unit is unit_of(world)


async def test_resize_goes_through_the_filters(world: SmallWorld, session: Any) -> None:
    world.fault("disk.lost_write").may_not_fire().nth(99)
    unit_of(world).resize(4096)
    assert (await session.read_capacity(UNIT)).blocks == 4096
    await session.write(UNIT, 4095, NEW)
    assert differing(world) == []


async def _run(seed: int) -> tuple[str, bytes]:
    """The trace's hash, and what was read."""
    async with SmallWorld(seed=seed) as small, small.connect() as session:
        small.fault("disk.bitflip", n=3)
        small.fault("disk.error", rate=0.3, op="write")
        small.fault("disk.delay", delay=1.0, jitter=0.5, dist="lognormal", op="read")
        small.fault("task.busy", command="TEST UNIT READY").with_probability(0.5)
        found = b""
        for lba in range(20):
            await session.execute(UNIT, cdb.test_unit_ready())
            await session.execute(UNIT, cdb.write_10(lba, 1), data_out=OLD)
            found += bytes(await session.read(UNIT, lba, 1))
        return small.trace.sha256, found


def test_same_seed_is_the_same_run_and_another_seed_is_another() -> None:
    def run(seed: int) -> tuple[str, bytes]:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(_run(seed))

    first = run(1)
    assert run(1) == first
    assert run(2)[1] != first[1]
