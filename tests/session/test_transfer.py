"""Cutting data and putting it together: bursts, what goes unasked, a target's account of a write."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iscsim.pdu import RESERVED_TAG, SCSIDataOut
from iscsim.session.parameters import Parameters
from iscsim.session.transfer import DataOutFailure, DataOutPlan, DataOutTransfer, bursts, segments

# four combinations of InitialR2T and ImmediateData
R2T_AND_IMMEDIATE = Parameters(first_burst_length=4096, max_burst_length=8192)
R2T_ONLY = replace(R2T_AND_IMMEDIATE, immediate_data=False)
ALL_UNSOLICITED = replace(R2T_AND_IMMEDIATE, initial_r2t=False)
DATA_OUT_ONLY = replace(ALL_UNSOLICITED, immediate_data=False)

UNEXPECTED, AMOUNT = DataOutFailure.UNEXPECTED_UNSOLICITED_DATA, DataOutFailure.INCORRECT_AMOUNT_OF_DATA
SEQUENCE, DIGEST = DataOutFailure.DATA_SEQUENCE_ERROR, DataOutFailure.DATA_DIGEST_ERROR


def pattern(length: int) -> bytes:
    return (bytes(range(251)) * (length // 251 + 1))[:length]


def data_out(offset: int, data: bytes, *, tag: int = RESERVED_TAG, data_sn: int = 0, final: bool = True):
    return SCSIDataOut(
        final=final, target_transfer_tag=tag, data_sn=data_sn, buffer_offset=offset, data=memoryview(data)
    )


def transfer(parameters: Parameters, length: int = 8192, wanted: int | None = None) -> DataOutTransfer:
    return DataOutTransfer(length, length if wanted is None else wanted, parameters)


# -- cutting ---------------------------------------------------------------------------------------


def test_segments_are_full_but_the_last():
    assert list(segments(100, 2500, 1024)) == [(100, 1024, False), (1124, 1024, False), (2148, 452, True)]


def test_no_data_has_no_segments():
    assert list(segments(0, 0, 512)) == []
    assert list(bursts(0, 512, 512)) == []


def test_final_ends_every_burst():
    assert list(bursts(2500, 1024, 700)) == [
        (0, 700, False),
        (700, 324, True),
        (1024, 700, False),
        (1724, 324, True),
        (2048, 452, True),
    ]


@settings(deadline=None)
@given(st.integers(0, 1 << 20), st.integers(512, 1 << 18), st.integers(512, 1 << 18))
def test_bursts_cover_everything_once_within_both_limits(length, burst, segment):
    position, in_burst = 0, 0
    for offset, size, final in bursts(length, burst, segment):
        assert offset == position
        assert 0 < size <= segment
        position, in_burst = position + size, in_burst + size
        assert in_burst <= burst
        assert final == (in_burst == burst or position == length)
        in_burst = 0 if final else in_burst
    assert position == length


# -- what an initiator sends unasked ---------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters, immediate, unsolicited",
    [(R2T_AND_IMMEDIATE, 4096, 0), (R2T_ONLY, 0, 0), (ALL_UNSOLICITED, 4096, 0), (DATA_OUT_ONLY, 0, 4096)],
    ids=["R2T+immediate", "R2T", "immediate+unsolicited", "unsolicited"],
)
def test_plan_of_the_four_combinations(parameters, immediate, unsolicited):
    plan = DataOutPlan.of(100_000, parameters)
    assert (plan.immediate_length, plan.unsolicited_length, plan.final) == (
        immediate,
        unsolicited,
        unsolicited == 0,
    )


def test_plan_sends_what_the_command_has_no_room_for_in_data_out():
    parameters = replace(ALL_UNSOLICITED, max_send_data_segment_length=1024)
    assert DataOutPlan.of(100_000, parameters) == DataOutPlan(1024, 3072)
    assert DataOutPlan.of(1500, parameters) == DataOutPlan(1024, 476)
    assert DataOutPlan.of(1000, parameters) == DataOutPlan(1000, 0)


# -- a target's account ----------------------------------------------------------------------------


def test_immediate_data_that_is_everything_is_not_copied():
    data = pattern(4096)
    write = transfer(R2T_AND_IMMEDIATE, 4096)
    write.begin(memoryview(data), True)
    assert write.complete
    assert write.data.obj is data


def test_a_write_of_nothing_is_complete_at_once():
    write = transfer(R2T_AND_IMMEDIATE, 0)
    write.begin(b"", True)
    assert (write.complete, bytes(write.data), write.failure) == (True, b"", None)


def test_the_rest_is_asked_for_burst_by_burst():
    write = transfer(R2T_AND_IMMEDIATE, 20000)
    data = pattern(20000)
    write.begin(data[:4096], True)
    assert write.next_burst(1) == (4096, 8192)
    assert write.next_burst(2) is None  # MaxOutstandingR2T is 1
    write.receive(data_out(4096, data[4096:8192], tag=1, final=False))
    assert not write.complete
    write.receive(data_out(8192, data[8192:12288], tag=1, data_sn=1))
    assert write.next_burst(2) == (12288, 7712)
    write.receive(data_out(12288, data[12288:], tag=2))
    assert (write.complete, write.failure, bytes(write.data)) == (True, None, data)
    assert not write.may_ask


def test_several_r2ts_may_be_out_and_answered_in_any_order():
    write = transfer(replace(R2T_ONLY, max_outstanding_r2t=2), 16384)
    data = pattern(16384)
    write.begin(b"", True)
    assert [write.next_burst(tag) for tag in (1, 2, 3)] == [(0, 8192), (8192, 8192), None]
    write.receive(data_out(8192, data[8192:], tag=2))
    write.receive(data_out(0, data[:8192], tag=1))
    assert (write.complete, bytes(write.data)) == (True, data)


def test_immediate_and_unsolicited_data_together_are_one_first_burst():
    write = transfer(ALL_UNSOLICITED, 6000)
    data = pattern(6000)
    write.begin(data[:1000], False)
    assert write.next_burst(1) is None  # nothing is asked for before the unsolicited data has ended
    write.receive(data_out(1000, data[1000:2000], final=False))
    write.receive(data_out(2000, data[2000:4096], data_sn=1))
    assert write.next_burst(1) == (4096, 1904)
    write.receive(data_out(4096, data[4096:], tag=1))
    assert (write.complete, bytes(write.data)) == (True, data)


def test_first_burst_length_beyond_the_transfer_is_bounded_by_it():
    write = transfer(DATA_OUT_ONLY, 1000)
    write.begin(b"", False)
    write.receive(data_out(0, pattern(1000)))
    assert (write.complete, write.failure, bytes(write.data)) == (True, None, pattern(1000))


def test_what_the_device_does_not_want_is_swallowed_and_not_asked_for():
    write = transfer(ALL_UNSOLICITED, 4096, wanted=512)
    write.begin(pattern(256), False)
    write.receive(data_out(256, pattern(4096)[256:1024], final=False))
    write.receive(data_out(1024, pattern(4096)[1024:], data_sn=1))
    assert (write.complete, write.failure, bytes(write.data)) == (True, None, pattern(512))


def test_an_empty_data_out_may_end_a_burst():
    write = transfer(ALL_UNSOLICITED, 4096)
    write.begin(pattern(4096), False)
    assert not write.complete
    write.receive(data_out(4096, b""))
    assert (write.complete, write.failure) == (True, None)


def test_no_memory_is_taken_for_data_that_was_not_asked_for():
    write = DataOutTransfer(1 << 24, 1 << 24, ALL_UNSOLICITED)
    write.begin(pattern(10), False)
    assert len(write.data) == 4096  # FirstBurstLength, of 16 MiB
    write.receive(data_out(10, pattern(4096)[10:]))
    write.next_burst(1)
    write.receive(data_out(4096, b"x", tag=1, final=False))
    assert len(write.data) == 1 << 24
    assert bytes(write.data[:4097]) == pattern(10) + pattern(4096)[10:] + b"x"


# -- broken rules ----------------------------------------------------------------------------------


def failed(write: DataOutTransfer, failure: DataOutFailure) -> bool:
    return (write.complete, write.failure, bytes(write.data)) == (True, failure, b"")


@pytest.mark.parametrize("parameters", [R2T_ONLY, DATA_OUT_ONLY])
def test_immediate_data_without_immediate_data_is_unexpected(parameters):
    write = transfer(parameters)
    write.begin(b"data", True)
    assert failed(write, UNEXPECTED)


@pytest.mark.parametrize("parameters", [R2T_ONLY, R2T_AND_IMMEDIATE])
def test_unsolicited_data_with_initial_r2t_is_unexpected_and_swallowed_to_its_end(parameters):
    write = transfer(parameters)
    write.begin(b"", False)
    assert (write.complete, write.failure) == (False, UNEXPECTED)
    write.receive(data_out(0, pattern(4096)))
    assert failed(write, UNEXPECTED)


def test_immediate_data_beyond_first_burst_length_is_too_much():
    write = transfer(R2T_AND_IMMEDIATE)
    write.begin(pattern(4097), True)
    assert failed(write, AMOUNT)


def test_immediate_data_beyond_the_transfer_is_too_much():
    write = transfer(R2T_AND_IMMEDIATE, 100)
    write.begin(pattern(101), True)
    assert failed(write, AMOUNT)


def test_unsolicited_data_beyond_first_burst_length_is_too_much():
    write = transfer(DATA_OUT_ONLY)
    write.begin(b"", False)
    write.receive(data_out(0, pattern(4097)))
    assert failed(write, AMOUNT)


def test_unsolicited_data_short_of_first_burst_length_is_too_little():
    write = transfer(DATA_OUT_ONLY)
    write.begin(b"", False)
    write.receive(data_out(0, pattern(4095)))
    assert failed(write, AMOUNT)


@pytest.mark.parametrize("length", [8191, 8193])
def test_an_r2t_must_be_answered_to_the_byte(length):
    write = transfer(R2T_ONLY, 16384)
    write.begin(b"", True)
    write.next_burst(1)
    write.receive(data_out(0, pattern(length), tag=1))
    assert failed(write, AMOUNT)


@pytest.mark.parametrize("offset, data_sn", [(0, 1), (1, 0), (8192, 0)])
def test_a_gap_in_data_sn_or_offset_fails_the_write(offset, data_sn):
    write = transfer(R2T_ONLY)
    write.begin(b"", True)
    write.next_burst(1)
    write.receive(data_out(offset, b"x", tag=1, data_sn=data_sn))
    assert failed(write, SEQUENCE)


def test_the_first_failure_stays():
    write = transfer(R2T_ONLY)
    write.begin(b"", True)
    write.next_burst(1)
    write.receive(data_out(0, b"x", tag=1, data_sn=7, final=False))
    write.receive(data_out(0, pattern(9000), tag=1, data_sn=9))
    assert failed(write, SEQUENCE)


def test_a_failed_write_asks_for_nothing_more():
    write = transfer(R2T_ONLY, 16384)
    write.begin(b"", True)
    write.next_burst(1)
    write.receive(data_out(4, b"x", tag=1, final=False))
    assert (write.complete, write.next_burst(2)) == (False, None)


@pytest.mark.parametrize("final", [True, False])
def test_a_lost_data_out_fails_the_write_when_its_burst_has_ended(final):
    write = transfer(R2T_ONLY)
    write.begin(b"", True)
    write.next_burst(1)
    write.lose(data_out(0, b"", tag=1, final=final))
    assert write.complete is final
    assert write.failure is DIGEST


def test_only_tags_that_were_given_out_are_expected():
    write = transfer(R2T_ONLY)
    write.begin(b"", True)
    write.next_burst(5)
    assert write.expects(data_out(0, b"", tag=5))
    assert not write.expects(data_out(0, b"", tag=6))
    assert not write.expects(data_out(0, b""))


@settings(deadline=None)
@given(st.integers(1, 40000), st.integers(1, 9000), st.sampled_from([R2T_AND_IMMEDIATE, R2T_ONLY,
       ALL_UNSOLICITED, DATA_OUT_ONLY]))  # fmt: skip
def test_plan_and_transfer_agree(length, segment, parameters):
    """What an initiator sends by plan and by R2T is what the target ends up with."""
    parameters = replace(parameters, max_send_data_segment_length=max(512, segment))
    data, plan = pattern(length), DataOutPlan.of(length, parameters)
    write = transfer(parameters, length)
    write.begin(data[: plan.immediate_length], plan.final)

    def send(offset: int, size: int, tag: int) -> None:
        for number, (start, count, final) in enumerate(segments(offset, size, segment)):
            write.receive(data_out(start, data[start : start + count], tag=tag, data_sn=number, final=final))

    send(plan.immediate_length, plan.unsolicited_length, RESERVED_TAG)
    tag = 0
    while (burst := write.next_burst(tag)) is not None:
        send(*burst, tag)
        tag += 1
    assert (write.complete, write.failure, bytes(write.data)) == (True, None, data)
