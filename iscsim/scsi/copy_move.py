"""Bytes on their way from one unit to another, or within one: the work of EXTENDED COPY, in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from iscsim.scsi.copy_parameters import CSCD
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.nexus import MappedLUN

__all__ = ["DESTINATION", "PIECE_LENGTH", "SOURCE", "End", "Move", "read_bytes", "write_bytes"]

PIECE_LENGTH = 1 << 20  # what a copy holds in memory, twice at the most
SOURCE, DESTINATION = 1, 2  # SENSE DATA SOURCE of what such a unit answered


@dataclass(frozen=True, slots=True)
class End:
    """A copy source or copy destination that was found."""

    role: int
    cscd: CSCD
    mapped: MappedLUN

    @property
    def unit(self) -> LogicalUnit:
        """The logical unit."""
        return self.mapped.logical_unit


@dataclass(slots=True)
class Move:
    """Bytes to be moved: offsets from the beginning of either unit.

    ``padding`` zeros are written behind them. ``moved`` grows with what is written without a gap.
    """

    source: End
    destination: End
    source_start: int
    destination_start: int
    length: int
    padding: int = 0
    moved: int = 0

    def pieces(self) -> Iterator[tuple[int, int]]:
        """(offset, size), cut so that all but the first begin with a block of the destination.

        The last comes first where the source would be overwritten before it is read.
        """
        first = PIECE_LENGTH - self.destination_start % self.destination.unit.block_size
        starts = [0, *range(first, self.length, PIECE_LENGTH)]
        ends = [*starts[1:], self.length]
        found = [(start, end - start) for start, end in zip(starts, ends, strict=True) if end > start]
        return reversed(found) if self.is_backwards else iter(found)

    @property
    def is_backwards(self) -> bool:
        """Within one unit, towards its end, onto itself."""
        distance = self.destination_start - self.source_start
        return self.source.unit is self.destination.unit and 0 < distance < self.length

    @property
    def residual_blocks(self) -> int:
        """Of the destination, those that are not whole and in place."""
        size = self.destination.unit.block_size
        first, end = self.destination_start // size, -(-(self.destination_start + self.length) // size)
        return end - first - ((self.destination_start + self.moved) // size - first)


def read_bytes(unit: LogicalUnit, start: int, size: int) -> bytes:
    """Bytes that need not be whole blocks. A copy, since source and destination may share their store."""
    first, skip = divmod(start, unit.block_size)
    blocks = -(-(skip + size) // unit.block_size)
    return bytes(unit.read(first, blocks)[skip : skip + size])


def write_bytes(unit: LogicalUnit, start: int, data: bytes, padding: int) -> None:
    """What else is in the first and the last block stays, or is zero where there is ``padding``."""
    size = unit.block_size
    first, skip = divmod(start, size)
    before = bytes(unit.read(first, 1)[:skip]) if skip else b""
    rest = -(skip + len(data)) % size
    if rest:
        last = first + (skip + len(data)) // size
        after = bytes(padding) if padding else bytes(unit.read(last, 1)[size - rest :])
        data = before + data + after
    elif before:
        data = before + data
    unit.store.write(first, data)
