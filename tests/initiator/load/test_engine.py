"""A load in virtual time: how much, how deep, where; and every planted data error is named."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from iscsim.errors import ConfigError, SCSIError, SessionFailed
from iscsim.initiator.load.engine import DRAIN_S, Load
from iscsim.initiator.load.outcome import LoadOutcome
from iscsim.initiator.load.verification import DataErrorKind
from iscsim.initiator.load.workload import Workload
from iscsim.lab.addresses import run_virtual
from iscsim.scsi.store import MemoryStore

BLOCKS = 1024


class Disk:
    """A disk in memory whose requests take 1 ms; ``plant`` may do something to each write instead."""

    def __init__(self) -> None:
        self.store = MemoryStore(BLOCKS)
        self.requests: list[tuple[str, int, int]] = []
        self.under_way = self.deepest = 0
        self.latency_s = 0.001
        self.plant: Callable[[int, bytes], bool] | None = None
        self.read_plant: Callable[[int, bytes], bytes] | None = None
        self.flushed = 0

    async def _wait(self, what: str, lba: int, blocks: int) -> None:
        self.requests.append((what, lba, blocks))
        self.under_way += 1
        self.deepest = max(self.deepest, self.under_way)
        try:
            await asyncio.sleep(self.latency_s)
        finally:
            self.under_way -= 1

    async def read(self, lba: int, blocks: int) -> bytes:
        await self._wait("read", lba, blocks)
        data = bytes(self.store.read(lba, blocks))
        return data if self.read_plant is None else self.read_plant(lba, data)

    async def write(self, lba: int, data: Any) -> None:
        await self._wait("write", lba, len(data) // 512)
        if self.plant is None or self.plant(lba, data):
            self.store.write(lba, data)

    async def flush(self) -> None:
        self.flushed += 1


def run(disk: Disk, during: Callable[[Load], Any] | None = None, **options: Any) -> LoadOutcome:
    """A load in virtual time; ``during`` is awaited beside it."""

    async def main() -> LoadOutcome:
        workload = Workload(**{"seed": 5, **options})
        load = Load(disk, workload, blocks=BLOCKS, block_size=512, dice=random.Random(workload.seed))
        if during is None:
            return await load.run()
        outcome, _ = await asyncio.gather(load.run(), during(load))
        return outcome

    return run_virtual(main())


# -- how much, how deep, where ---------------------------------------------------------------------


def test_depth_requests_are_under_way_for_the_duration() -> None:
    disk = Disk()
    outcome = run(disk, depth=4, duration_s=2)
    assert disk.deepest == 4
    assert outcome.elapsed_s == pytest.approx(2, abs=0.002)
    assert outcome.all.read.total.operations == pytest.approx(8000, abs=8)
    assert outcome.all.read.total.latencies.percentile(99) == pytest.approx(0.001, rel=0.01)
    assert outcome.is_good


def test_count_is_met_exactly() -> None:
    disk = Disk()
    outcome = run(disk, depth=7, count=100)
    assert (len(disk.requests), outcome.all.read.total.operations) == (100, 100)


def test_share_of_reads_is_kept() -> None:
    disk = Disk()
    outcome = run(disk, depth=4, count=2000, read_share=70)
    reads = outcome.all.read.total.operations
    assert (reads + outcome.all.write.total.operations, disk.flushed) == (2000, 1)
    assert reads == pytest.approx(1400, abs=80)


def test_reads_alone_write_and_flush_nothing() -> None:
    disk = Disk()
    run(disk, count=500)
    assert ({what for what, _, _ in disk.requests}, disk.flushed) == ({"read"}, 0)


def test_sequential_requests_follow_each_other_within_the_range() -> None:
    disk = Disk()
    run(disk, depth=1, count=5, sequential=True, first_lba=100, blocks=24)
    assert disk.requests == [("read", lba, 8) for lba in (100, 108, 116, 100, 108)]


def test_random_requests_stay_within_the_range() -> None:
    disk = Disk()
    run(disk, count=500, first_lba=100, blocks=80)
    assert {lba for _, lba, _ in disk.requests} == set(range(100, 180, 8))


def test_same_seed_makes_the_same_requests() -> None:
    disks = [Disk(), Disk(), Disk()]
    for disk, seed in zip(disks, (5, 5, 6), strict=True):
        run(disk, count=50, read_share=50, seed=seed)
    assert disks[0].requests == disks[1].requests != disks[2].requests


def test_rate_is_not_exceeded() -> None:
    outcome = run(Disk(), depth=8, duration_s=10, rate=50)
    assert outcome.all.read.total.operations == pytest.approx(500, abs=1)


def test_rate_that_could_not_be_kept_is_not_made_up_for() -> None:
    disk = Disk()

    async def slow_then_quick(load: Load) -> None:
        disk.latency_s = 1
        await asyncio.sleep(5)
        disk.latency_s = 0.001

    outcome = run(disk, slow_then_quick, depth=1, duration_s=10, rate=10)
    assert outcome.all.read.total.operations < 60


def test_what_happened_is_known_over_time() -> None:
    outcome = run(Disk(), depth=2, duration_s=3, interval_s=1)
    counts = [each.operations for _, each in outcome.all.read.series]
    assert counts[:3] == pytest.approx([2000] * 3, abs=5)
    assert sum(counts) == outcome.all.read.total.operations


def test_somebody_may_watch_every_interval() -> None:
    seen: list[int] = []

    async def main() -> None:
        load = Load(
            Disk(),
            Workload(depth=1, duration_s=3.5),
            blocks=BLOCKS,
            block_size=512,
            dice=random.Random(1),
            on_interval=lambda load: seen.append(load.all.last().operations),
        )
        await load.run()

    run_virtual(main())
    assert seen == pytest.approx([1000, 1000, 1000, 500], abs=3)


def test_workload_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="beyond the end"):
        run(Disk(), count=1, first_lba=BLOCKS)


# -- what goes wrong -------------------------------------------------------------------------------


def failing(disk: Disk, error: Exception, *, every: int = 1) -> Disk:
    inner, count = disk.read, 0

    async def read(lba: int, blocks: int) -> bytes:
        nonlocal count
        count += 1
        number = count
        data = await inner(lba, blocks)
        if number % every == 0:
            raise error
        return data

    disk.read = read  # type: ignore[method-assign]
    return disk


def test_failed_requests_are_counted_by_kind_and_the_first_are_kept() -> None:
    outcome = run(failing(Disk(), SCSIError("no"), every=10), depth=2, count=400)
    assert outcome.troubles.requests == {"SCSIError": 40}
    assert (len(outcome.troubles.first_requests), outcome.all.read.total.errors) == (20, 40)
    assert outcome.all.read.total.operations == 360
    assert not outcome.is_good


def test_device_that_refuses_everything_is_asked_with_pauses() -> None:
    disk = failing(Disk(), SessionFailed("gone"))
    run(disk, depth=1, duration_s=60)
    assert 50 < len(disk.requests) < 80


def test_load_ends_after_so_many_errors() -> None:
    disk = failing(Disk(), SessionFailed("gone"))
    outcome = run(disk, depth=1, duration_s=60, max_errors=3)
    assert (outcome.troubles.failed_requests, len(disk.requests)) == (3, 3)
    assert not outcome.interrupted


def test_request_without_an_answer_ends_the_load_in_time() -> None:
    disk = Disk()
    disk.latency_s = 1e6
    outcome = run(disk, depth=2, duration_s=5, read_share=50, verify=True)
    assert outcome.elapsed_s == pytest.approx(5 + DRAIN_S, abs=0.01)
    assert outcome.troubles.failed_requests == 2
    assert outcome.blocks_in_doubt == 8 * sum(what == "write" for what, _, _ in disk.requests)


def test_load_that_is_stopped_ends_soon_and_says_so() -> None:
    disk = Disk()

    async def stop(load: Load) -> None:
        await asyncio.sleep(3)
        disk.latency_s = 1e6
        await asyncio.sleep(0.5)
        load.stop()

    outcome = run(disk, stop, depth=2, duration_s=60)
    assert outcome.elapsed_s == pytest.approx(5.5, abs=0.01)
    assert (outcome.interrupted, outcome.is_good) == (True, True)
    assert outcome.all.read.total.operations == pytest.approx(6000, abs=10)


def test_load_that_is_cancelled_leaves_no_task() -> None:
    async def main() -> None:
        load = Load(Disk(), Workload(duration_s=60), blocks=BLOCKS, block_size=512, dice=random.Random(1))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await load.run()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(main())


def test_events_are_noted_with_their_second() -> None:
    async def note(load: Load) -> None:
        await asyncio.sleep(1.5)
        load.note("path lost", "10.0.0.1:3260")

    outcome = run(Disk(), note, duration_s=2)
    assert [(event.time_s, event.kind) for event in outcome.events] == [(1.5, "path lost")]


# -- data errors -----------------------------------------------------------------------------------


def kinds(outcome: LoadOutcome) -> set[DataErrorKind]:
    return set(outcome.troubles.data)


VERIFY = {"depth": 4, "count": 2000, "read_share": 50, "verify": True, "blocks": 512}


def test_honest_disk_has_no_data_errors_and_everything_is_compared() -> None:
    disk = Disk()
    outcome = run(disk, **VERIFY)
    assert outcome.is_good
    written = {lba for what, lba, _ in disk.requests if what == "write"}
    assert (outcome.verified_blocks, outcome.unverified_blocks) == (8 * len(written), 0)


TWICE = {"depth": 1, "count": 128, "read_share": 0, "sequential": True, "verify": True, "blocks": 512}
"""Every block is written twice, and compared at the end."""


def once(nth: int, act: Callable[[int, bytes], bool]) -> Callable[[int, bytes], bool]:
    """Do ``act`` to one write, the others arrive."""
    count = 0

    def plant(lba: int, data: bytes) -> bool:
        nonlocal count
        count += 1
        return act(lba, data) if count == nth else True

    return plant


def test_lost_write_is_found() -> None:
    disk = Disk()
    disk.plant = once(100, lambda lba, data: False)
    outcome = run(disk, **TWICE)
    assert outcome.troubles.data == {DataErrorKind.LOST: 8}
    assert "read again, it is the same" in str(outcome.troubles.first_data[0])


def test_block_that_is_right_the_second_time_was_stale() -> None:
    disk = Disk()
    old: dict[int, bytes] = {}

    def remember(lba: int, data: bytes) -> bool:
        old[lba] = bytes(disk.store.read(lba, 8))
        return True

    def stale_once(lba: int, data: bytes) -> bytes:
        if lba in old and any(old[lba]) and not disk.read_plant_done:  # type: ignore[attr-defined]
            disk.read_plant_done = True  # type: ignore[attr-defined]
            return old[lba]
        return data

    disk.read_plant_done = False  # type: ignore[attr-defined]
    disk.plant, disk.read_plant = remember, stale_once
    outcome = run(disk, **VERIFY)
    assert outcome.troubles.data == {DataErrorKind.STALE: 8}
    assert "read again, it is right" in str(outcome.troubles.first_data[0])


def test_misplaced_write_is_found_where_it_went_and_where_it_is_missing() -> None:
    disk = Disk()

    def misplace(lba: int, data: bytes) -> bool:
        disk.store.write(lba - 64, data)
        return False

    disk.plant = once(100, misplace)
    outcome = run(disk, **TWICE)
    assert outcome.troubles.data == {DataErrorKind.MISPLACED: 8, DataErrorKind.LOST: 8}


def test_torn_block_is_found() -> None:
    disk = Disk()

    def tear(lba: int, data: bytes) -> bool:
        old = bytes(disk.store.read(lba, 8))
        disk.store.write(lba, data[:1280] + old[1280:])  # in the middle of the third block
        return False

    disk.plant = once(100, tear)
    outcome = run(disk, **TWICE)
    assert outcome.troubles.data == {DataErrorKind.TORN: 1, DataErrorKind.LOST: 5}


def test_flipped_bit_is_found() -> None:
    disk = Disk()

    def flip(lba: int, data: bytes) -> bool:
        wrong = bytearray(data)
        wrong[700] ^= 4
        disk.store.write(lba, wrong)
        return False

    disk.plant = once(100, flip)
    outcome = run(disk, **TWICE)
    (error,) = outcome.troubles.first_data
    assert (error.kind, "1 bit differs" in error.detail) == (DataErrorKind.CORRUPT, True)
    assert "at byte 188, bit 2" in error.detail


def test_last_write_of_all_is_compared_too() -> None:
    disk = Disk()
    disk.plant = once(300, lambda lba, data: False)
    outcome = run(disk, count=300, depth=1, read_share=0, verify=True)
    assert kinds(outcome) == {DataErrorKind.LOST}


def test_write_that_failed_is_in_doubt_and_no_data_error() -> None:
    disk = Disk()
    inner = disk.write
    numbers = iter(range(10**6))

    async def write(lba: int, data: Any) -> None:
        number = next(numbers)
        if number % 50 < 2:
            if number % 50:
                await inner(lba, data)
            raise SCSIError("who knows")
        await inner(lba, data)

    disk.write = write  # type: ignore[method-assign]
    outcome = run(disk, **VERIFY)
    assert outcome.troubles.bad_blocks == 0
    assert outcome.troubles.failed_requests > 20


def test_two_requests_never_meet_in_a_slot() -> None:
    disk = Disk()
    assert run(disk, depth=16, count=3000, read_share=50, verify=True, blocks=128).is_good


def test_load_that_is_stopped_says_what_it_has_not_compared() -> None:
    async def stop(load: Load) -> None:
        await asyncio.sleep(0.5)
        load.stop()

    outcome = run(Disk(), stop, depth=4, duration_s=60, read_share=0, verify=True)
    assert outcome.verified_blocks == 0
    assert outcome.unverified_blocks > 0
