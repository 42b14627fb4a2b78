"""What a verified block holds, and how a damaged one is taken apart."""

import pytest

from iscsim.initiator.load.pattern import (
    Flips,
    Tag,
    Tear,
    find_tear,
    flips,
    parse,
    render,
    render_blocks,
    repeated_tags,
)
from iscsim.pdu.digest import crc32c

OLD, NEW = Tag(7, 3, 42), Tag(7, 9, 42)
SIZES = pytest.mark.parametrize("block_size", [512, 4096])


@SIZES
def test_block_says_where_and_when_it_was_written(block_size: int) -> None:
    block = render(NEW, block_size)
    assert (len(block), parse(block)) == (block_size, NEW)
    assert crc32c(block[:-4]) == int.from_bytes(block[-4:], "big")


@SIZES
def test_blocks_of_one_write_follow_each_other(block_size: int) -> None:
    data = render_blocks(7, 3, 9, 42, block_size)
    assert data == b"".join(render(Tag(lba, 9, 42), block_size) for lba in (7, 8, 9))


@pytest.mark.parametrize("other", [Tag(8, 9, 42), Tag(7, 10, 42), Tag(7, 9, 43)])
def test_every_part_of_the_tag_changes_the_block(other: Tag) -> None:
    assert render(other, 512) != render(NEW, 512)


@pytest.mark.parametrize("block", [bytes(512), b"x" * 512, render(NEW, 512)[:-1] + b"\0"])
def test_what_is_not_whole_is_no_block_of_ours(block: bytes) -> None:
    assert parse(block) is None


@pytest.mark.parametrize("boundary", [32, 100, 256, 479])
def test_tear_is_found_with_its_two_parts(boundary: int) -> None:
    block = render(NEW, 512)[:boundary] + render(OLD, 512)[boundary:]
    tear = find_tear(block, [NEW, OLD, None])
    assert tear is not None
    assert (tear.first, tear.second) == (NEW, OLD)
    assert boundary <= tear.boundary < boundary + 32  # both may have the same bytes from there on


def test_tear_into_zeros_is_one() -> None:
    assert find_tear(render(NEW, 512)[:256] + bytes(256), [NEW, None]) == Tear(256, NEW, None)


@pytest.mark.parametrize("block", [render(NEW, 512), bytes(512), b"x" * 512])
def test_whole_block_has_no_tear(block: bytes) -> None:
    assert find_tear(block, [NEW, OLD, None]) is None


def test_tag_of_one_unit_alone_is_not_believed() -> None:
    block = bytearray(render(NEW, 512))
    block[23] ^= 1
    assert repeated_tags(bytes(block)) == [NEW]
    assert repeated_tags(render(NEW, 512)[:256] + render(OLD, 512)[256:]) == [NEW, OLD]


def test_flipped_bits_are_counted_and_placed() -> None:
    block = bytearray(render(NEW, 512))
    block[117] ^= 0b1000
    assert flips(bytes(block), render(NEW, 512)) == Flips(bits=1, byte=117, bit=3)
    block[400] ^= 0b11
    assert flips(bytes(block), render(NEW, 512)) == Flips(bits=3, byte=117, bit=3)
