from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.errors import SCSIError
from iscsim.scsi.sense import (
    ASC,
    CheckCondition,
    CommandFailed,
    FieldPointer,
    ForwardedSense,
    SegmentPointer,
    Sense,
    SenseKey,
)

U64 = st.integers(0, (1 << 64) - 1)
pointers = st.builds(FieldPointer, st.integers(0, 0xFFFF), st.none() | st.integers(0, 7), st.booleans())
senses = st.builds(
    Sense,
    key=st.integers(0, 15),
    asc=st.integers(0, 255),
    ascq=st.integers(0, 255),
    information=st.none() | U64,
    command_specific=st.none() | U64.filter(bool),
    sense_key_specific=st.none() | pointers.map(FieldPointer.encode),
    incorrect_length=st.booleans(),
    deferred=st.booleans(),
    field_replaceable_unit=st.integers(0, 255),
)


@pytest.mark.parametrize(
    "peer, cdb, text",
    [
        ("tgt", "00", "UNIT ATTENTION: power on, reset, or bus device reset occurred (06/29/00)"),
        ("tgt", "1201c0", "ILLEGAL REQUEST: invalid field in CDB (05/24/00)"),
        ("LIO", "a30c", "ILLEGAL REQUEST: invalid command operation code (05/20/00)"),
        ("LIO", "5f", "NOT READY: logical unit communication failure (02/08/00)"),
    ],
)
def test_parse_reads_the_targets_of_the_captures(recorded, peer, cdb, text):
    failed = [row for row in recorded(cdb, peer) if row.sense]
    assert [str(Sense.parse(row.sense)) for row in failed] == [text]


def test_fixed_sense_is_tgts_byte_for_byte(recorded):
    attention = next(row for row in recorded("00", "tgt") if row.sense)
    ours = Sense.of(SenseKey.UNIT_ATTENTION, ASC.POWER_ON_RESET_OR_BUS_DEVICE_RESET)
    assert ours.encode() == attention.sense


def test_fixed_sense_with_field_pointer():
    sense = CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_FIELD_IN_CDB, field=(2, 5)).sense
    assert sense.encode().hex() == "70000500000000" + "0a" + "00000000" + "2400" + "00" + "cd0002"


@pytest.mark.parametrize("descriptor", [False, True])
def test_progress_is_in_the_sense_key_specific_field(descriptor):
    sense = CheckCondition(SenseKey.NOT_READY, ASC.SANITIZE_IN_PROGRESS, progress=0x1234).sense
    assert sense.sense_key_specific == bytes.fromhex("801234")
    assert Sense.parse(sense.encode(descriptor)).progress == 0x1234
    assert sense.field_pointer is None


def test_other_sense_has_no_progress():
    assert (
        CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_FIELD_IN_CDB, field=(2, 5)).sense.progress
        is None
    )
    assert CheckCondition(SenseKey.NOT_READY, ASC.MEDIUM_NOT_PRESENT).sense.progress is None


def test_descriptor_sense_with_information():
    sense = Sense.of(SenseKey.MISCOMPARE, ASC.MISCOMPARE_DURING_VERIFY, information=0x1234)
    assert sense.encode(descriptor=True).hex() == "720e1d000000000c" + "000a8000" + "0000000000001234"


segment_pointers = st.builds(
    SegmentPointer, st.integers(0, 0xFFFF), st.none() | st.integers(0, 7), st.booleans()
)
aborted_copies = st.builds(
    Sense,
    key=st.just(SenseKey.COPY_ABORTED),
    asc=st.integers(0, 255),
    ascq=st.integers(0, 255),
    information=st.none() | st.integers(0, 0xFFFF_FFFF),
    command_specific=st.none() | st.integers(1, 0xFFFF),
    sense_key_specific=segment_pointers.map(SegmentPointer.encode),
    forwarded=st.builds(
        ForwardedSense, st.sampled_from([1, 2]), st.integers(0, 255), st.binary(max_size=200)
    ),
)


@given(aborted_copies, st.booleans())
def test_a_copy_that_was_aborted_tells_the_other_units_sense_in_both_formats(sense, descriptor):
    assert Sense.parse(sense.encode(descriptor)) == sense
    assert len(sense.encode(descriptor)) <= 252


def test_forwarded_sense_in_fixed_format():
    pointer = SegmentPointer(4, 0, in_segment=True)
    sense = Sense.of(
        SenseKey.COPY_ABORTED,
        ASC.THIRD_PARTY_DEVICE_FAILURE,
        command_specific=3,
        sense_key_specific=pointer.encode(),
        forwarded=ForwardedSense(2, 0x18),
    )
    assert sense.encode().hex() == "70000a00000000" + "0b" + "00120003" + "0d01" + "00" + "a80004" + "18"
    assert sense.encode(descriptor=True).hex().endswith("0c020218")
    assert (sense.segment_pointer, sense.field_pointer) == (pointer, None)


def test_a_part_that_failed_is_named_in_either_format():
    sense = Sense.of(SenseKey.HARDWARE_ERROR, ASC.INTERNAL_TARGET_FAILURE, field_replaceable_unit=7)
    assert sense.encode()[14] == 7
    assert sense.encode(descriptor=True).hex() == "7204440000000004" + "03020007"


@given(senses)
def test_descriptor_format_round_trip(sense):
    assert Sense.parse(sense.encode(descriptor=True)) == sense


@given(senses)
def test_fixed_format_loses_only_what_needs_more_than_32_bits(sense):
    again = Sense.parse(sense.encode())
    for name in (
        "key",
        "asc",
        "ascq",
        "sense_key_specific",
        "incorrect_length",
        "deferred",
        "field_replaceable_unit",
    ):
        assert getattr(again, name) == getattr(sense, name)
    small = sense.information is not None and sense.information < 1 << 32
    assert again.information == (sense.information if small else None)


@given(pointers)
def test_field_pointer_round_trip(pointer):
    assert FieldPointer.parse(pointer.encode()) == pointer


@given(
    st.binary(max_size=300)
    | st.builds(lambda code, rest: bytes((code,)) + rest, st.integers(0x70, 0x73), st.binary(max_size=40))
)
def test_parse_survives_anything(data):
    with suppress(ValueError):
        sense = Sense.parse(data)
        assert str(sense)
        assert sense.field_pointer is None or sense.key == SenseKey.ILLEGAL_REQUEST


@pytest.mark.parametrize("data", ["", "70", "7000", "0006", "7f06290000"])
def test_parse_refuses_what_has_no_sense_key(data):
    with pytest.raises(ValueError, match="sense data"):
        Sense.parse(bytes.fromhex(data))


def test_parse_of_sense_cut_after_the_key():
    assert (
        str(Sense.parse(bytes.fromhex("700002"))) == "NOT READY: no additional sense information (02/00/00)"
    )


def test_field_pointer_belongs_to_illegal_request_only():
    pointer = FieldPointer(2).encode()
    assert Sense(SenseKey.NOT_READY, 4, 1, sense_key_specific=pointer).field_pointer is None
    assert Sense(SenseKey.ILLEGAL_REQUEST, 0x24, 0, sense_key_specific=pointer).field_pointer == FieldPointer(
        2
    )


def test_check_condition_is_a_scsi_error_that_says_what_is_wrong():
    error = CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.LBA_OUT_OF_RANGE)
    assert isinstance(error, SCSIError)
    assert str(error) == "ILLEGAL REQUEST: logical block address out of range (05/21/00)"
    assert error.sense.code == ASC.LBA_OUT_OF_RANGE


def test_command_failed_names_command_status_and_sense():
    sense = Sense.of(SenseKey.DATA_PROTECT, ASC.WRITE_PROTECTED)
    error = CommandFailed(2, sense, "WRITE (10)")
    assert str(error) == "WRITE (10) ended with CHECK CONDITION: DATA PROTECT: write protected (07/27/00)"
    assert not error.is_unit_attention


def test_command_failed_without_sense():
    assert str(CommandFailed(0x18)) == "SCSI command ended with RESERVATION CONFLICT"


def test_command_failed_by_a_unit_attention_may_be_repeated():
    assert CommandFailed(2, Sense(SenseKey.UNIT_ATTENTION, 0x29, 0)).is_unit_attention
