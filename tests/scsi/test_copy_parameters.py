from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scsi import copies

from iscsim.scsi.copy_parameters import (
    MAXIMUM_CSCD_DESCRIPTORS,
    MAXIMUM_DESCRIPTORS_LENGTH,
    MAXIMUM_LIST_LENGTH,
    MAXIMUM_SEGMENT_DESCRIPTORS,
    CopyParameters,
    DescriptorType,
    ListIdUsage,
)
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.sense import CheckCondition
from iscsim.scsi.store import MemoryStore

UNIT = LogicalUnit(MemoryStore(64), serial="1")
CSCD = copies.cscd(UNIT)
SEGMENT = copies.blocks(1)


def refused(data):
    """``"26/06"`` and the byte that is pointed at."""
    with pytest.raises(CheckCondition) as caught:
        CopyParameters.parse(data)
    sense = caught.value.sense
    assert sense.key == 5
    pointer = sense.field_pointer
    assert pointer is None or not pointer.in_cdb
    return f"{sense.asc:02x}/{sense.ascq:02x}", pointer and (pointer.byte, pointer.bit)


def test_parse_a_list():
    segments = [copies.blocks(5, 1, 2, destination=1, flags=3), copies.offsets(7, (3, 4), (5, 6), flags=3)]
    found = CopyParameters.parse(
        copies.parameters([CSCD, copies.cscd(UNIT, pad=True)], segments, identifier=9, usage=2)
    )
    assert (found.list_identifier, found.usage) == (9, ListIdUsage.MAY_DISCARD)
    assert [(one.at, one.pad, one.block_length) for one in found.cscds] == [(16, False, 512), (48, True, 512)]
    first, second = found.segments
    assert (first.type, first.count, first.dc, first.cat) == (DescriptorType.BLOCK_TO_BLOCK, 5, True, True)
    assert (first.source, first.destination, first.source_lba, first.destination_lba) == (0, 1, 1, 2)
    assert (second.source_offset, second.destination_offset, second.count) == (4, 6, 7)
    assert (second.dc, second.cat) == (False, True)  # DC is of type 02h only


def test_what_follows_the_segments_is_nobodys():
    assert CopyParameters.parse(copies.parameters([CSCD], [SEGMENT]) + bytes(8)).segments


@pytest.mark.parametrize("length", [1, 15, 16, 16 + 31, 16 + 32, 16 + 32 + 27])
def test_a_list_that_is_cut_is_too_short(length):
    assert refused(copies.parameters([CSCD], [SEGMENT])[:length]) == ("1a/00", None)


def test_descriptors_that_are_too_many():
    assert refused(copies.parameters([CSCD] * (MAXIMUM_CSCD_DESCRIPTORS + 1), [])) == ("26/06", (2, None))
    segments = [SEGMENT] * (MAXIMUM_SEGMENT_DESCRIPTORS + 1)
    assert refused(copies.parameters([CSCD], segments)) == ("26/08", (8, None))
    most = copies.parameters(
        [CSCD] * MAXIMUM_CSCD_DESCRIPTORS, [copies.offsets(1)] * MAXIMUM_SEGMENT_DESCRIPTORS
    )
    assert len(most) == MAXIMUM_LIST_LENGTH == 16 + MAXIMUM_DESCRIPTORS_LENGTH
    assert len(CopyParameters.parse(most).segments) == MAXIMUM_SEGMENT_DESCRIPTORS


def test_descriptors_that_are_too_long_together():
    count = MAXIMUM_DESCRIPTORS_LENGTH // 32 + 1
    assert refused(copies.parameters([CSCD] * count, [])) == ("1a/00", None)


@pytest.mark.parametrize("kind", [0x00, 0xE0, 0xE5, 0xFF])
def test_other_cscd_types(kind):
    bad = copies.cscd(UNIT, type=kind)
    assert refused(copies.parameters([CSCD, bad], [SEGMENT])) == ("26/07", (48, None))


@pytest.mark.parametrize("kind", [0x00, 0x03, 0x0D, 0xBE, 0xE4])
def test_other_segment_types(kind):
    bad = copies.blocks(1, type=kind)
    assert refused(copies.parameters([CSCD], [SEGMENT, bad])) == ("26/09", (76, None))


@pytest.mark.parametrize(
    "data, pointer",
    [
        (copies.parameters([CSCD], [SEGMENT], usage=1), (1, 4)),
        (copies.parameters([CSCD], [SEGMENT], usage=3), (0, None)),  # 11b goes with identifier 0
        (copies.parameters([CSCD + b"\0"], [SEGMENT]), (2, None)),
        (copies.parameters([CSCD], [copies.blocks(1, length=0x17)]), (50, None)),
        (copies.parameters([CSCD[:7] + b"\x15" + CSCD[8:]], [SEGMENT]), (23, None)),
    ],
)
def test_fields_that_are_wrong_are_pointed_at(data, pointer):
    assert refused(data) == ("26/00", pointer)


def test_inline_data_is_never_used():
    data = copies.parameters([CSCD], [SEGMENT], inline_length=4) + b"data"
    assert refused(data) == ("26/0b", (12, None))


@given(st.binary(max_size=700), st.integers(0, 600), st.integers(0, 600))
def test_whatever_comes_is_parsed_or_refused(body, cscd_length, segment_length):
    lengths = {"cscd_length": cscd_length, "segment_length": segment_length}
    for head in (b"", copies.parameters([], [], **lengths), copies.parameters([CSCD], [], **lengths)):
        with suppress(CheckCondition):
            CopyParameters.parse(head + body)
