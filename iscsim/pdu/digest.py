"""CRC32C, the digest of RFC 7143 section 13.1: ``crc32c`` in hardware, ``crcmod`` where that is missing."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import cast

Buffer = bytes | bytearray | memoryview


def _crcmod_crc32c() -> Callable[[Buffer, int], int]:
    """The portable fallback, and the second opinion of the tests."""
    from crcmod.predefined import mkPredefinedCrcFun

    function = mkPredefinedCrcFun("crc-32c")

    def crc32c(data: Buffer, value: int = 0) -> int:
        return cast(int, function(bytes(data), value))

    return crc32c


def _pick() -> Callable[[Buffer, int], int]:
    try:
        from crc32c import crc32c
    except ImportError:
        return _crcmod_crc32c()
    return cast(Callable[[Buffer, int], int], crc32c)


@cache
def _engine() -> Callable[[Buffer, int], int]:
    """Picked at the first digest, because most sessions have none and the import takes its time."""
    return _pick()


def crc32c(data: Buffer, value: int = 0) -> int:
    """The CRC of ``data``, carried on from ``value`` (0 to begin with)."""
    return _engine()(data, value)


def digest(*parts: Buffer) -> bytes:
    """The four digest bytes over ``parts`` in the order of the wire (RFC 7143 section 13.1).

    The least significant byte of the CRC travels first, as in the examples of RFC 7143 Appendix A.4.
    """
    value = 0
    for part in parts:
        value = crc32c(part, value)
    return value.to_bytes(4, "little")
