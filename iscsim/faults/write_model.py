"""What a disk must hold after all that was acknowledged: the oracle for faults that lose or change data.

Fed by a filter over the store (`ModelledStore`) or by whoever writes (`WriteModel.wrote`, `failed`). It knows
no session, no path and no target: a write counts once somebody was told that it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from iscsim.scsi.store import BlockStore, Buffer, MemoryStore

__all__ = ["Difference", "ModelledStore", "WriteModel"]

Read = Callable[[int, int], Buffer]


@dataclass(frozen=True, slots=True)
class Difference:
    """A block that holds neither what it must nor, after writes that failed, anything it may."""

    lba: int
    expected: tuple[bytes, ...]
    found: bytes

    def __str__(self) -> str:
        wanted = " or ".join(_shown(each) for each in self.expected)
        return f"block {self.lba} holds {_shown(self.found)}, expected {wanted}"


def _shown(block: bytes) -> str:
    return f"{block[:8].hex()}...{block[-8:].hex()}" if any(block) else "zeros"


class WriteModel:
    """The blocks somebody has written, with what they hold now.

    A write that failed leaves its blocks in doubt: each may hold the old or the new, until the next write
    that is acknowledged.
    """

    def __init__(self, blocks: int, block_size: int = 512) -> None:
        self.block_size = block_size
        self._content = MemoryStore(blocks, block_size)
        self._doubts: dict[int, tuple[bytes, ...]] = {}
        self._written: dict[int, None] = {}

    def wrote(self, lba: int, data: Buffer) -> None:
        """``data``, whole blocks, was acknowledged at ``lba``."""
        self._content.write(lba, data)
        self._settled(lba, len(data) // self.block_size)

    def unmapped(self, lba: int, blocks: int) -> None:
        """The blocks read as zeros, it was acknowledged."""
        self._content.unmap(lba, blocks)
        self._settled(lba, blocks)

    def failed(self, lba: int, data: Buffer) -> None:
        """A write ended with an error, or nobody knows how: its blocks may hold either."""
        size = self.block_size
        for index in range(len(data) // size):
            number, new = lba + index, bytes(data[index * size : (index + 1) * size])
            self._doubts[number] = (*self._doubts.get(number, ()), new)
            self._written[number] = None

    def resized(self, blocks: int) -> None:
        """The disk has that many blocks now; what lay beyond is gone."""
        self._content.resize(blocks)
        self._written = {lba: None for lba in self._written if lba < blocks}
        self._doubts = {lba: doubts for lba, doubts in self._doubts.items() if lba < blocks}

    def _settled(self, lba: int, blocks: int) -> None:
        for number in range(lba, lba + blocks):
            self._doubts.pop(number, None)
            self._written[number] = None

    @property
    def written(self) -> list[int]:
        """The blocks somebody has written, ascending."""
        return sorted(self._written)

    def expected(self, lba: int) -> tuple[bytes, ...]:
        """What the block may hold; one thing where there is no doubt."""
        return (bytes(self._content.read(lba, 1)), *self._doubts.get(lba, ()))

    def differences(self, read: Read) -> list[Difference]:
        """Blocks that were written and are not as they must be, ascending; ``read(lba, blocks)`` reads."""
        found = []
        for lba in sorted(self._written):
            block, expected = bytes(read(lba, 1)), self.expected(lba)
            if block not in expected:
                found.append(Difference(lba, expected, block))
        return found

    def compare(self, lba: int, data: Buffer) -> list[Difference]:
        """The same for what a read at ``lba`` brought, blocks that were never written included."""
        size = self.block_size
        blocks: Sequence[bytes] = [bytes(data[at : at + size]) for at in range(0, len(data), size)]
        pairs = ((lba + index, block, self.expected(lba + index)) for index, block in enumerate(blocks))
        return [Difference(number, wanted, block) for number, block, wanted in pairs if block not in wanted]


class ModelledStore:
    """A `BlockStore` over another that tells a `WriteModel` of every change; faults belong beneath it."""

    __slots__ = ("block_size", "blocks", "inner", "model", "read_only")

    def __init__(self, inner: BlockStore, model: WriteModel | None = None) -> None:
        self.inner = inner
        self.block_size, self.blocks, self.read_only = inner.block_size, inner.blocks, inner.read_only
        self.model = model if model is not None else WriteModel(inner.blocks, inner.block_size)

    @property
    def size(self) -> int:
        """In bytes."""
        return self.inner.size

    @property
    def allocated_size(self) -> int:
        """See `BlockStore.allocated_size`."""
        return self.inner.allocated_size

    def read(self, lba: int, blocks: int) -> memoryview:
        """See `BlockStore.read`."""
        return self.inner.read(lba, blocks)

    def write(self, lba: int, data: Buffer) -> None:
        """See `BlockStore.write`."""
        try:
            self.inner.write(lba, data)
        except OSError:
            self.model.failed(lba, data)
            raise
        self.model.wrote(lba, data)

    def unmap(self, lba: int, blocks: int) -> None:
        """See `BlockStore.unmap`."""
        try:
            self.inner.unmap(lba, blocks)
        except OSError:
            self.model.failed(lba, bytes(blocks * self.block_size))
            raise
        self.model.unmapped(lba, blocks)

    def next_written(self, lba: int) -> int:
        """See `BlockStore.next_written`."""
        return self.inner.next_written(lba)

    def flush(self) -> None:
        """See `BlockStore.flush`."""
        self.inner.flush()

    def resize(self, blocks: int) -> None:
        """See `BlockStore.resize`."""
        self.inner.resize(blocks)
        self.blocks = self.inner.blocks
        self.model.resized(blocks)

    def close(self) -> None:
        """See `BlockStore.close`."""
        self.inner.close()

    def differences(self) -> list[Difference]:
        """The blocks of the store that are not as the model has them."""
        return self.model.differences(self.inner.read)
