"""Logical unit numbers: the 8 bytes of SAM-5 section "Logical unit numbers", and the number behind them."""

from __future__ import annotations

from typing import Literal

from iscsim.errors import SCSIError

__all__ = [
    "REPORT_LUNS_WELL_KNOWN_LUN",
    "InvalidLUN",
    "decode_lun",
    "encode_lun",
    "encode_lun_list",
    "format_lun",
    "linux_lun",
    "lun_encodings",
    "lun_of_linux",
    "parse_lun_list",
]

AddressingMethod = Literal["peripheral", "flat", "extended"]

REPORT_LUNS_WELL_KNOWN_LUN = bytes.fromhex("c101000000000000")
MAXIMUM_LUN = (1 << 24) - 1
_LIST_HEADER_SIZE = 8
_PERIPHERAL, _FLAT, _EXTENDED = 0b00, 0b01, 0b11  # bits 7:6 of byte 0
_LIMITS: dict[AddressingMethod, int] = {"peripheral": 1 << 8, "flat": 1 << 14, "extended": 1 << 24}


class InvalidLUN(SCSIError, ValueError):
    """The 8 bytes (or the number) name no logical unit we could have."""


def encode_lun(number: int, method: AddressingMethod | None = None) -> bytes:
    """The 8 bytes of LUN ``number``; by default the shortest method: peripheral, flat from 256, extended flat
    from 16384.

    Raises `InvalidLUN` when the number does not fit the method (8, 14 or 24 bits).
    """
    if method is None:
        method = _shortest(number)
    limit = _LIMITS[method]
    if not 0 <= number < limit:
        raise InvalidLUN(f"LUN {number} does not fit {method} addressing (0 to {limit - 1})")
    if method == "extended":
        return bytes((0xD2,)) + number.to_bytes(3, "big") + bytes(4)
    prefix = _FLAT << 14 if method == "flat" else 0
    return (prefix | number).to_bytes(2, "big") + bytes(6)


def _shortest(number: int) -> AddressingMethod:
    for method, limit in _LIMITS.items():
        if number < limit:
            return method
    return "extended"


def decode_lun(lun: bytes) -> int:
    """The number behind 8 bytes, the same for every way to write it: ``00 05`` and ``40 05`` are both 5.

    A bus number in peripheral addressing is read as the high bits of the number, because LIO writes LUN 256
    as ``01 00``. Raises `InvalidLUN` for another length, a second level that is not zero, the logical unit
    method (10b) and well-known logical units.
    """
    if len(lun) != 8:
        raise InvalidLUN(f"a LUN has 8 bytes, not {len(lun)}")
    method = lun[0] >> 6
    if method == _EXTENDED:
        return _decode_extended(lun)
    if method not in (_PERIPHERAL, _FLAT):
        raise InvalidLUN(f"LUN {lun.hex()} uses logical unit addressing, which names no unit here")
    _require_zero(lun, 2)
    return (lun[0] & 0x3F) << 8 | lun[1]


def _decode_extended(lun: bytes) -> int:
    """Extended flat space addressing: D2h with a number of 24 bits, E2h with one of 40."""
    end = {0xD2: 4, 0xE2: 6}.get(lun[0])
    if end is None:
        raise InvalidLUN(f"LUN {lun.hex()} is well known or of an unknown extended kind")
    _require_zero(lun, end)
    return int.from_bytes(lun[1:end], "big")


def _require_zero(lun: bytes, start: int) -> None:
    if any(lun[start:]):
        raise InvalidLUN(f"LUN {lun.hex()} addresses a second level")


def lun_encodings(number: int) -> set[bytes]:
    """Every usual way to write LUN ``number``, LIO's included: what a target should recognise at once."""
    found = {encode_lun(number, "extended")}
    if number < _LIMITS["flat"]:
        found |= {encode_lun(number, "flat"), number.to_bytes(2, "big") + bytes(6)}
    return found


def format_lun(lun: bytes) -> str:
    """For messages: ``"LUN 5"``, or the bytes when they name no unit."""
    try:
        return f"LUN {decode_lun(lun)}"
    except InvalidLUN:
        return f"LUN {lun.hex()}"


def linux_lun(lun: bytes) -> int:
    """The number Linux shows: the 16-bit words of the 8 bytes, the first one lowest (``scsilun_to_int``).

    5 for peripheral addressing of 5, 16389 for flat addressing of it, 49409 for the REPORT LUNS well-known
    unit. Nothing is lost: `lun_of_linux` gives the same 8 bytes back. Raises `InvalidLUN` for another length.
    """
    if len(lun) != 8:
        raise InvalidLUN(f"a LUN has 8 bytes, not {len(lun)}")
    return sum(int.from_bytes(lun[i : i + 2], "big") << 8 * i for i in range(0, 8, 2))


def lun_of_linux(number: int) -> bytes:
    """The 8 bytes behind the number Linux shows (``int_to_scsilun``).

    Raises `InvalidLUN` for a number of more than 64 bits.
    """
    if not 0 <= number < 1 << 64:
        raise InvalidLUN(f"LUN {number} does not fit 8 bytes")
    return b"".join((number >> shift & 0xFFFF).to_bytes(2, "big") for shift in range(0, 64, 16))


def encode_lun_list(luns: list[bytes]) -> bytes:
    """The parameter data of REPORT LUNS (SPC-4): LUN LIST LENGTH in bytes, four reserved, the LUNs."""
    return (len(luns) * 8).to_bytes(4, "big") + bytes(4) + b"".join(luns)


def parse_lun_list(data: bytes | bytearray | memoryview) -> tuple[list[bytes], int]:
    """The LUNs that arrived and the data length in bytes the whole list needs, header included.

    When the second is larger than ``len(data)``, ask again with that allocation length. Raises `ValueError`
    when not even the header is there.
    """
    data = bytes(data)
    if len(data) < _LIST_HEADER_SIZE:
        raise ValueError(f"REPORT LUNS answered {len(data)} bytes, at least 8 were expected")
    list_length = int.from_bytes(data[:4], "big")
    end = min(len(data), _LIST_HEADER_SIZE + list_length)
    luns = [data[i : i + 8] for i in range(_LIST_HEADER_SIZE, end - 7, 8)]
    return luns, _LIST_HEADER_SIZE + list_length
