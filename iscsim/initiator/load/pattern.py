"""What a verified write puts into each block, and what a block turns out to be when it is read.

A block is one unit of 32 bytes again and again: a magic number, the block's LBA, the number of the write and
the seed of the run. Its last four bytes are the CRC32C of all before them.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from iscsim.pdu.digest import crc32c

_UNIT = struct.Struct(">8sQQQ")
_MAGIC = b"iscsim\x01\n"
UNIT_LENGTH = _UNIT.size
_CRC_LENGTH = 4


@dataclass(frozen=True, slots=True)
class Tag:
    """What a block says of itself: where it belongs, which write of which run it is of (from 1)."""

    lba: int
    sequence: int
    seed: int


def render(tag: Tag, block_size: int) -> bytes:
    """The block of ``tag``."""
    body = _UNIT.pack(_MAGIC, tag.lba, tag.sequence, tag.seed) * (block_size // UNIT_LENGTH)
    body = body[:-_CRC_LENGTH]
    return body + crc32c(body).to_bytes(_CRC_LENGTH, "big")


def render_blocks(lba: int, blocks: int, sequence: int, seed: int, block_size: int) -> bytes:
    """``blocks`` blocks of one write from ``lba`` on."""
    pack, repeat, body_length = _UNIT.pack, block_size // UNIT_LENGTH, block_size - _CRC_LENGTH
    pieces = []
    for number in range(lba, lba + blocks):
        body = (pack(_MAGIC, number, sequence, seed) * repeat)[:body_length]
        pieces.append(body)
        pieces.append(crc32c(body).to_bytes(_CRC_LENGTH, "big"))
    return b"".join(pieces)


def parse(block: bytes) -> Tag | None:
    """What a whole, sound block says of itself; None when it is none of ours."""
    tag = _tag(block[:UNIT_LENGTH])
    return tag if tag is not None and render(tag, len(block)) == block else None


def repeated_tags(block: bytes) -> list[Tag]:
    """What at least two units of a block say: one alone may be a slip of a bit. In order of appearance."""
    counts = Counter(block[at : at + UNIT_LENGTH] for at in range(0, len(block), UNIT_LENGTH))
    return [tag for unit, count in counts.items() if count > 1 and (tag := _tag(unit)) is not None]


def _tag(unit: bytes) -> Tag | None:
    magic, lba, sequence, seed = _UNIT.unpack(unit)
    return Tag(lba, sequence, seed) if magic == _MAGIC else None


@dataclass(frozen=True, slots=True)
class Tear:
    """A block of two parts: ``boundary`` bytes of ``first``, the rest of ``second``; None is zeros."""

    boundary: int
    first: Tag | None
    second: Tag | None


def find_tear(block: bytes, candidates: Iterable[Tag | None]) -> Tear | None:
    """The two of ``candidates`` whose beginning and end make the block; None when it is whole."""
    rendered = {tag: render(tag, len(block)) if tag else bytes(len(block)) for tag in candidates}
    if block in rendered.values():
        return None
    for first, beginning in rendered.items():
        boundary = _first_difference(block, beginning)
        for second, whole in rendered.items():
            if second != first and 0 < boundary < len(block) and whole[boundary:] == block[boundary:]:
                return Tear(boundary, first, second)
    return None


def _first_difference(one: bytes, other: bytes) -> int:
    pairs = enumerate(zip(one, other, strict=True))
    return next((at for at, (left, right) in pairs if left != right), len(one))


@dataclass(frozen=True, slots=True)
class Flips:
    """How a block differs from what it should be: how many bits, and where the first is."""

    bits: int
    byte: int
    bit: int
    """From 0, the least significant."""


def flips(block: bytes, expected: bytes) -> Flips:
    """The bits that differ; the two must not be equal."""
    byte = _first_difference(block, expected)
    difference = int.from_bytes(block, "big") ^ int.from_bytes(expected, "big")
    changed = block[byte] ^ expected[byte]
    return Flips(difference.bit_count(), byte, (changed & -changed).bit_length() - 1)
