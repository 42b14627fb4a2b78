"""Receive buffers that are used again once nobody looks at them.

Data that a target sends is received into one of these and handed on as a view, without a copy. A fresh
buffer of a megabyte costs more page faults than receiving into it, so they are kept: a buffer is free
again when its last view is gone, which a ``bytearray`` tells by letting itself be resized.
"""

from __future__ import annotations

BUFFER_LENGTH = 1 << 20
_MAX_KEPT = 8


class ReceiveBuffers:
    """A pool for the connections of one process; sessions that are idle hold none of it."""

    def __init__(self) -> None:
        self._free: list[bytearray] = []
        self._lent: list[bytearray] = []

    def take(self, length: int = 0) -> bytearray:
        """A buffer nobody looks at, of at least ``length`` bytes."""
        if length > BUFFER_LENGTH:
            return bytearray(length)
        if self._free:
            return self._free.pop()
        for index, buffer in enumerate(self._lent):
            if _is_free(buffer):
                return self._lent.pop(index)
        return bytearray(BUFFER_LENGTH)

    def give_back(self, buffer: bytearray, *, lent: bool) -> None:
        """The connection is done with ``buffer``; ``lent`` says that others may still have views of it."""
        kept = self._lent if lent else self._free
        if len(buffer) == BUFFER_LENGTH and len(kept) < _MAX_KEPT:
            kept.append(buffer)


def _is_free(buffer: bytearray) -> bool:
    try:
        buffer.pop()
    except BufferError:  # somebody has a view of it
        return False
    buffer.append(0)
    return True
