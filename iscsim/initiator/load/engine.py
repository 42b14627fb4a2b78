"""A load on a device: so many requests at once, each by a coroutine, on the clock of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from iscsim.initiator.load.outcome import ERRORS, MAX_EVENTS, LoadEvent, LoadOutcome, Troubles
from iscsim.initiator.load.paths import LoadDevice
from iscsim.initiator.load.statistics import Direction, PathStatistics
from iscsim.initiator.load.verification import DataError, DataErrorKind, Verifier
from iscsim.initiator.load.workload import Dice, Slots, Workload, extent_of

DRAIN_S = 30.0
"""How long after the end of a load its last requests may take."""
INTERRUPTED_DRAIN_S = 2.0
_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 1.0
"""After a request that failed: twice as long each time, until one ends well."""


class Load:
    """A load on ``device``, of which ``blocks`` blocks of ``block_size`` bytes are there.

    ``paths`` are the statistics of the device's paths, which a ``MeasuredPath`` each fills; without any, the
    device is one path of that ``name``. ``dice`` are a ``random.Random``. Latencies are taken with ``clock``
    (seconds), the loop's own unless given: that of uvloop only knows milliseconds.

    Raises:
        ConfigError: the workload does not fit the device.
    """

    def __init__(
        self,
        device: LoadDevice,
        workload: Workload,
        *,
        blocks: int,
        block_size: int,
        dice: Dice,
        paths: Sequence[PathStatistics] = (),
        name: str = "all",
        clock: Callable[[], float] | None = None,
        on_interval: Callable[[Load], object] | None = None,
    ) -> None:
        self.workload = workload
        self.extent = extent = extent_of(workload, blocks=blocks, block_size=block_size)
        self.all = PathStatistics(name if not paths else "all", workload.interval_s)
        self.paths = list(paths) or [self.all]
        self.troubles = Troubles()
        self.events: list[LoadEvent] = []
        self.verified = 0
        """Slots that were compared after the load."""
        self.to_verify = 0
        self.is_verifying = False
        self.on_interval = on_interval
        """Called whenever an interval is over."""
        self._device, self._dice, self._clock = device, dice, clock
        self._slots = Slots(extent.slots, dice, sequential=workload.sequential, claims=workload.verify)
        self._verifier = self._make_verifier() if workload.verify else None
        self._served: dict[int, str] = {}
        self._payload = b""
        self._issued = self._failures_in_a_row = 0
        self._start = self._due = self._end = self.elapsed_s = 0.0
        self._interrupted = self._drained = False

    def _make_verifier(self) -> Verifier:
        extent = self.extent
        return Verifier(
            seed=self.workload.seed,
            block_size=extent.block_size,
            first_lba=extent.first_lba,
            slots=extent.slots,
            slot_blocks=extent.slot_blocks,
        )

    # -- for whoever runs it -------------------------------------------------------------------------

    async def run(self) -> LoadOutcome:
        """Put the load on, to its end; with ``verify`` all that was written is then read once more."""
        self._begin()
        await self._put_on()
        self.elapsed_s = self.time_s
        self._roll()
        if self.workload.read_share < 100 and not self._interrupted:
            await self._flush()
        if self._verifier is not None:
            await self._verify_all(self._verifier)
        return self._outcome()

    def stop(self) -> None:
        """End it before its time; what is under way gets two seconds."""
        self._interrupted = True
        self._stop()

    def note(self, kind: str, text: str) -> None:
        """Something happened that belongs into the report: ``path lost``, ``path back`` or ``fault``."""
        if len(self.events) < MAX_EVENTS:
            self.events.append(LoadEvent(self.time_s, kind, text))

    def served(self, lba: int, path: str) -> None:
        """The path that brought what a request got: a wrong block is told with its path."""
        if self._verifier is not None:
            self._served[lba] = path

    @property
    def time_s(self) -> float:
        """Seconds since it began."""
        return self._time() - self._start

    # -- putting it on -------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._time = asyncio.get_running_loop().time
        self._precise = self._clock or self._time
        self._start = self._due = self._time()
        duration = self.workload.duration_s
        self._end = float("inf") if duration is None else self._start + duration
        self._over = asyncio.Event()
        if self._verifier is None and self.workload.read_share < 100:
            self._payload = self._dice.randbytes(self.workload.request_length)

    async def _put_on(self) -> None:
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(self._work()) for _ in range(self.workload.depth)]
            beside = [group.create_task(self._tick()), group.create_task(self._drain(workers))]
            await asyncio.wait(workers)
            for task in beside:
                task.cancel()

    async def _tick(self) -> None:
        """Close an interval whenever one is over."""
        due = self._start
        while True:
            due += self.workload.interval_s
            await asyncio.sleep(max(due - self._time(), 0))
            self._roll()

    def _roll(self) -> None:
        for statistics in dict.fromkeys((self.all, *self.paths)):
            statistics.roll()
        if self.on_interval is not None:
            self.on_interval(self)

    async def _drain(self, workers: list[asyncio.Task[None]]) -> None:
        """When the load is over, end what then takes too long."""
        try:
            async with asyncio.timeout_at(self._end if self._end < float("inf") else None):
                await self._over.wait()
        except TimeoutError:
            self._stop()
        await asyncio.sleep(INTERRUPTED_DRAIN_S if self._interrupted else DRAIN_S)
        self._drained = True
        for worker in workers:
            worker.cancel()

    def _stop(self) -> None:
        self._end = min(self._end, self._time())
        self._over.set()

    # -- one of so many at once ----------------------------------------------------------------------

    async def _work(self) -> None:
        share, dice, slots = self.workload.read_share, self._dice, self._slots
        while self._may_issue():
            if self.workload.rate is not None and not await self._turn(self.workload.rate):
                return
            self._issued += 1
            reads = share == 100 or (share > 0 and dice.random() * 100 < share)
            slot = slots.take()
            try:
                await (self._read(slot) if reads else self._write(slot))
                self._failures_in_a_row = 0
            except asyncio.CancelledError:
                if not self._drained:
                    raise
                self._unanswered(reads)
                return
            except ERRORS as error:
                self._failed(error, reads)
                await self._pause()
            finally:
                slots.give_back(slot)

    def _may_issue(self) -> bool:
        count = self.workload.count
        return self._time() < self._end and (count is None or self._issued < count)

    async def _turn(self, rate: float) -> bool:
        """Wait until the next request may go; False when the load is over before."""
        now = self._time()
        due = self._due = max(self._due, now - 1 / rate)
        self._due += 1 / rate
        await self._sleep(due - now)
        return self._may_issue()

    async def _sleep(self, seconds: float) -> None:
        """At most until the load is over."""
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._over.wait()
            except TimeoutError:
                return

    async def _pause(self) -> None:
        """After a failure, so that a device that refuses everything is not asked without pause."""
        self._failures_in_a_row += 1
        await self._sleep(min(_PAUSE_S * 2 ** min(self._failures_in_a_row - 1, 10), _LONGEST_PAUSE_S))

    def _failed(self, error: BaseException | str, reads: bool) -> None:
        self.all.meters[Direction.READ if reads else Direction.WRITE].count_error()
        self.troubles.add_request(self.time_s, error)
        if self.troubles.failed_requests == self.workload.max_errors:
            self._stop()

    def _unanswered(self, reads: bool) -> None:
        if not self._interrupted:
            self._failed(f"no answer {DRAIN_S:g} s after the end of the load", reads)

    async def _read(self, slot: int) -> None:
        extent, time = self.extent, self._precise
        lba = extent.first_lba + slot * extent.slot_blocks
        start = time()
        data = await self._device.read(lba, extent.slot_blocks)
        self.all.read.count(time() - start, self.workload.request_length)
        if self._verifier is not None:
            await self._check(self._verifier, slot, data)

    async def _write(self, slot: int) -> None:
        lba = self.extent.first_lba + slot * self.extent.slot_blocks
        verifier, sequence, data = self._verifier, 0, self._payload
        if verifier is not None:
            sequence, data = verifier.next_write(slot)
        start = self._precise()
        try:
            await self._device.write(lba, data)
        except BaseException:
            if verifier is not None:
                verifier.failed(slot, sequence)
            raise
        self.all.write.count(self._precise() - start, len(data))
        if verifier is not None:
            verifier.acknowledged(slot, sequence)
            self._served.pop(lba, None)

    # -- verifying -----------------------------------------------------------------------------------

    async def _check(self, verifier: Verifier, slot: int, data: bytes | bytearray | memoryview) -> None:
        path = self._served.pop(verifier.lba_of(slot), "")
        errors = verifier.check(slot, data)
        if not errors:
            return
        again = await self._read_again(verifier, slot)
        verifier.reported(slot)
        for error in errors:
            now = replace(_with_second_look(error, again), time_s=self.time_s, path=path)
            self.troubles.add_data(now)

    async def _read_again(self, verifier: Verifier, slot: int) -> dict[int, DataError] | str:
        """The errors of a second read by LBA, or why there was none."""
        try:
            data = await self._device.read(verifier.lba_of(slot), self.extent.slot_blocks)
        except ERRORS as error:
            return f"it cannot be read again: {error}"
        return {error.lba: error for error in verifier.check(slot, data)}

    async def _flush(self) -> None:
        try:
            await self._device.flush()
        except ERRORS as error:
            self.troubles.add_request(self.time_s, error)

    async def _verify_all(self, verifier: Verifier) -> None:
        """Read what was written once more, so that every acknowledged write is compared at least once."""
        written = list(verifier.written())
        self.to_verify, self.is_verifying = len(written), True
        rest = iter(written)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.workload.depth, len(written))):
                group.create_task(self._verify_some(verifier, rest))

    async def _verify_some(self, verifier: Verifier, slots: Iterator[int]) -> None:
        for slot in slots:
            if self._interrupted:
                return
            try:
                data = await self._device.read(verifier.lba_of(slot), self.extent.slot_blocks)
            except ERRORS as error:
                self.troubles.add_request(self.time_s, error)
                await asyncio.sleep(_PAUSE_S)
            else:
                await self._check(verifier, slot, data)
                self.verified += 1

    def _outcome(self) -> LoadOutcome:
        each, verifier = self.extent.slot_blocks, self._verifier
        return LoadOutcome(
            workload=self.workload,
            extent=self.extent,
            elapsed_s=self.elapsed_s,
            all=self.all,
            paths=self.paths,
            troubles=self.troubles,
            events=self.events,
            interrupted=self._interrupted,
            verified_blocks=self.verified * each,
            unverified_blocks=(self.to_verify - self.verified) * each,
            blocks_in_doubt=verifier.in_doubt * each if verifier is not None else 0,
        )


def _with_second_look(error: DataError, again: dict[int, DataError] | str) -> DataError:
    """An error with what a second read says: a write that is there after all was not lost."""
    if isinstance(again, str):
        return replace(error, again=again)
    second = again.get(error.lba)
    if second is None:
        kind = DataErrorKind.STALE if error.kind is DataErrorKind.LOST else error.kind
        return replace(error, kind=kind, again="read again, it is right")
    same = second.detail == error.detail
    return replace(error, again="read again, it is the same" if same else f"read again, {second.detail}")
