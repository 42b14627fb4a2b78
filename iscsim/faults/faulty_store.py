"""The store seam: a filter over a `BlockStore` that asks the engine at every verb."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from iscsim.errors import FaultError
from iscsim.faults.engine import FaultEngine
from iscsim.faults.occasion import Hook, Occasion
from iscsim.faults.rule import FaultRule
from iscsim.faults.write_model import ModelledStore
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.store import BlockStore, Buffer

__all__ = ["FaultyStore", "StoreAccess", "StoreClock", "faulty_store_of", "put_beneath"]

_MOST_REMEMBERED = 1 << 16
"""Blocks of which a store remembers what they were, for faults that bring it back."""


class StoreClock:
    """A clock, and the time until which the stores of the command being executed have to wait.

    A `BlockStore` cannot say "later": the filter notes it here, and the device server, which executes one
    command at a time, puts it into the completion.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self._ready_at: float | None = None

    def wait_until(self, when: float) -> None:
        """The command is not answered before ``when``; several waits are over when the last one is."""
        self._ready_at = when if self._ready_at is None else max(when, self._ready_at)

    def take(self) -> float | None:
        """That time, which is thereby forgotten."""
        ready_at, self._ready_at = self._ready_at, None
        return ready_at


@dataclass(slots=True, kw_only=True)
class StoreAccess:
    """One verb of a store, on its way through: actions change it, or raise `OSError`.

    ``operation`` is read, write, unmap or flush. ``skip``: nothing is done, and all seems well. ``alter`` are
    called with what was read and the first block of it. ``random`` is the stream of chance of a rule.
    """

    store: FaultyStore
    operation: str
    lba: int = 0
    blocks: int = 0
    data: Buffer = b""
    skip: bool = False
    alter: list[Callable[[bytearray, int], None]] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Bytes that are moved."""
        return self.blocks * self.store.block_size if self.operation in ("read", "write") else 0

    def wait_until(self, when: float) -> None:
        """Answer no sooner."""
        self.store.clock.wait_until(when)

    def wait(self, seconds: float) -> None:
        """Answer ``seconds`` later."""
        self.store.clock.wait_until(self.store.clock.now() + seconds)

    def random(self, rule: FaultRule) -> random.Random:
        """The chance of this rule and unit."""
        return rule.stream(f"store {self.store.unit.wwn}")


class FaultyStore:
    """A `BlockStore` over another; filters may be stacked. Actions get ``(rule, access)``.

    It remembers what written blocks were before, as far as a fault is armed that wants it back: `previous`
    since the last write, `unflushed` since the last flush.
    """

    __slots__ = (
        "_engine",
        "block_size",
        "blocks",
        "clock",
        "inner",
        "previous",
        "read_only",
        "unflushed",
        "unit",
    )

    def __init__(self, inner: BlockStore, engine: FaultEngine, clock: StoreClock, unit: LogicalUnit) -> None:
        self.inner, self._engine, self.clock, self.unit = inner, engine, clock, unit
        self.block_size, self.blocks, self.read_only = inner.block_size, inner.blocks, inner.read_only
        self.previous: dict[int, bytes] = {}
        self.unflushed: list[tuple[int, bytes]] = []

    @property
    def size(self) -> int:
        """In bytes."""
        return self.inner.size

    @property
    def allocated_size(self) -> int:
        """See `BlockStore.allocated_size`."""
        return self.inner.allocated_size

    def _asked(self, operation: str, lba: int = 0, blocks: int = 0, data: Buffer = b"") -> StoreAccess:
        access = StoreAccess(store=self, operation=operation, lba=lba, blocks=blocks, data=data)
        if self._engine.expects(Hook.STORE):
            occasion = Occasion(
                hook=Hook.STORE,
                now=self.clock.now(),
                unit=self.unit.wwn,
                operation=operation,
                lba=lba,
                blocks=blocks,
                length=access.length,
                subject=access,
            )
            for rule in self._engine.firing(occasion):
                rule.kind.action(rule, access)
        return access

    def read(self, lba: int, blocks: int) -> memoryview:
        """See `BlockStore.read`. A view of the store beneath, unless a fault changes what is read."""
        access = self._asked("read", lba, blocks)
        found = self.inner.read(access.lba, access.blocks)
        if not access.alter:
            return found
        data = bytearray(found)
        for alter in access.alter:
            alter(data, lba)
        return memoryview(data).toreadonly()

    def write(self, lba: int, data: Buffer) -> None:
        """See `BlockStore.write`."""
        access = self._asked("write", lba, len(data) // self.block_size, data)
        if not access.skip:
            self._remember(access.lba, len(access.data) // self.block_size)
            self.inner.write(access.lba, access.data)

    def unmap(self, lba: int, blocks: int) -> None:
        """See `BlockStore.unmap`."""
        access = self._asked("unmap", lba, blocks)
        if not access.skip:
            self._remember(access.lba, access.blocks)
            self.inner.unmap(access.lba, access.blocks)

    def next_written(self, lba: int) -> int:
        """See `BlockStore.next_written`."""
        return self.inner.next_written(lba)

    def flush(self) -> None:
        """See `BlockStore.flush`."""
        if not self._asked("flush").skip:
            self.unflushed.clear()
            self.inner.flush()

    def resize(self, blocks: int) -> None:
        """See `BlockStore.resize`."""
        self.inner.resize(blocks)
        self.blocks = self.inner.blocks
        self.previous = {lba: data for lba, data in self.previous.items() if lba < blocks}
        self.unflushed.clear()

    def close(self) -> None:
        """See `BlockStore.close`."""
        self.inner.close()

    # What was before.

    def _remember(self, lba: int, blocks: int) -> None:
        wanted = {rule.kind.name for rule in self._engine.rules.values()} & {"disk.stale_read", "disk.crash"}
        if not wanted or blocks > _MOST_REMEMBERED:
            return
        if "disk.stale_read" in wanted:
            for number in range(lba, lba + blocks):
                self.previous.pop(number, None)
                self.previous[number] = bytes(self.inner.read(number, 1))
            while len(self.previous) > _MOST_REMEMBERED:
                del self.previous[next(iter(self.previous))]
        if "disk.crash" in wanted:
            self.unflushed.append((lba, bytes(self.inner.read(lba, blocks))))

    def crash(self, keep: int) -> int:
        """Lose what was written since the last flush, but for the first ``keep`` writes; says how many."""
        lost = self.unflushed[keep:]
        for lba, before in reversed(lost):
            self.inner.write(lba, before)
        self.unflushed.clear()
        return len(lost)


def put_beneath(unit: LogicalUnit, make: Callable[[BlockStore], BlockStore]) -> None:
    """Wrap the store of ``unit``, unless that is done; a filter that has to see everything stays on top."""
    store = unit.store
    if isinstance(store, ModelledStore):
        if not isinstance(store.inner, FaultyStore):
            store.inner = make(store.inner)
    elif not isinstance(store, FaultyStore):
        unit.use_store(make(store))


def faulty_store_of(unit: LogicalUnit) -> FaultyStore:
    """The filter `put_beneath` has put in. Raises `FaultError` when there is none."""
    store = unit.store.inner if isinstance(unit.store, ModelledStore) else unit.store
    if not isinstance(store, FaultyStore):
        raise FaultError(f"{unit} has no store that faults can reach")
    return store
