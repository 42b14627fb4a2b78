"""SCSI commands on the wire: what is sent when, what comes back, and what must not."""

from collections.abc import Callable
from typing import Any

import pytest
from marks import rfc

from iscsim.errors import LocalProtocolError
from iscsim.initiator.task import CommandAborted, CommandTask, TargetFailure
from iscsim.pdu import (
    RESERVED_TAG,
    BidirectionalReadLength,
    ExtendedCDB,
    ReadyToTransfer,
    SCSICommand,
    SCSIDataIn,
    SCSIDataOut,
    SCSIResponse,
)
from iscsim.scsi.sense import Sense, SenseKey

LUN = bytes.fromhex("0001000000000000")
DATA = bytes(range(256)) * 16


def read(ladder: Any, length: int = 4096, **fields: Any) -> tuple[CommandTask, Callable[..., SCSIDataIn]]:
    """A read under way, and a maker of Data-In PDUs for it."""
    task = ladder.submit(data_in_length=length, **fields)
    tag = ladder.sent()[-1].initiator_task_tag

    def data_in(**more: Any) -> SCSIDataIn:
        return SCSIDataIn(initiator_task_tag=tag, **more)

    return task, data_in


def write(ladder: Any, data: bytes) -> tuple[CommandTask, list[Any], Callable[..., ReadyToTransfer]]:
    """A write under way, what was sent of it, and a maker of R2Ts for it."""
    task = ladder.write(data)
    sent = ladder.sent()
    tag = sent[0].initiator_task_tag

    def r2t(offset: int, length: int, r2t_sn: int = 0, tag: int = tag, **more: Any) -> ReadyToTransfer:
        more = {"target_transfer_tag": 7, "lun": LUN} | more
        return ReadyToTransfer(
            initiator_task_tag=tag,
            r2t_sn=r2t_sn,
            buffer_offset=offset,
            desired_data_transfer_length=length,
            **more,
        )

    return task, sent, r2t


# -- requests --------------------------------------------------------------------------------------


@pytest.mark.parametrize("digests", [("None",), ("CRC32C",)], ids=["quick", "with digest"])
def test_read_says_what_it_expects(new_ladder: Any, digests: tuple[str, ...]) -> None:
    ladder = new_ladder(header_digest=digests)
    ladder.submit(cdb=bytes.fromhex("28000000000700000800"), data_in_length=4096, task_attribute=2)
    (command,) = ladder.sent()
    assert command == SCSICommand(
        read=True,
        task_attribute=2,
        lun=LUN,
        initiator_task_tag=command.initiator_task_tag,
        expected_data_transfer_length=4096,
        cmd_sn=ladder.exp_cmd_sn,
        exp_stat_sn=ladder.stat_sn,
        cdb=bytes.fromhex("28000000000700000800").ljust(16, b"\0"),
    )


def test_a_data_in_that_only_raises_max_cmd_sn_lets_a_waiting_command_go(new_ladder: Any) -> None:
    ladder = new_ladder(window=1)
    _, data_in = read(ladder)
    ladder.submit()
    assert ladder.sent() == []
    ladder.window = 2
    ladder >> data_in(data=DATA[:1024])
    assert len(ladder.sent()) == 1


def test_command_without_data_has_neither_direction(ladder: Any) -> None:
    ladder.submit(cdb=bytes(6), data_in_length=0)
    (command,) = ladder.sent()
    assert (command.read, command.write, command.final, command.expected_data_transfer_length) == (
        False,
        False,
        True,
        0,
    )


def test_long_cdb_goes_on_in_a_header_segment(ladder: Any) -> None:
    cdb = b"\x7f" + bytes(range(31))
    ladder.submit(cdb=cdb)
    (command,) = ladder.sent()
    assert (command.cdb, command.ahs) == (cdb[:16], (ExtendedCDB(cdb[16:]),))


def test_bidirectional_command_says_both_lengths(ladder: Any) -> None:
    task = ladder.submit(data_out=b"x" * 512, data_in_length=1024)
    (command,) = ladder.sent()
    assert (command.read, command.write, command.expected_data_transfer_length) == (True, True, 512)
    assert command.ahs == (BidirectionalReadLength(1024),)
    tag = command.initiator_task_tag
    ladder >> SCSIDataIn(initiator_task_tag=tag, final=True, data=bytes(1024))
    ladder >> SCSIResponse(initiator_task_tag=tag)
    assert task.data_in == bytes(1024)


@pytest.mark.parametrize("cdb", [b"", bytes(261)])
def test_impossible_cdb_is_not_sent(ladder: Any, cdb: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        ladder.submit(cdb=cdb)
    assert ladder.sent() == []


# -- Data-In ---------------------------------------------------------------------------------------


def test_data_and_status_in_one_pdu(ladder: Any) -> None:
    task, data_in = read(ladder)
    ladder >> data_in(final=True, status_present=True, data=DATA)
    assert ladder.ended == [task]
    assert (task.status, task.data_in, task.residual) == (0, DATA, 0)


def test_data_do_not_keep_the_receive_buffer(ladder: Any) -> None:
    task, data_in = read(ladder)
    wire = bytearray(ladder.wire(data_in(final=True, status_present=True, data=DATA)))
    ladder.core.receive_data(wire, 0.0)
    wire[:] = bytes(len(wire))
    assert task.data_in == DATA


def test_data_in_pieces_then_response(ladder: Any) -> None:
    task, data_in = read(ladder)
    ladder >> data_in(data_sn=0, data=DATA[:512])
    ladder >> data_in(data_sn=1, buffer_offset=512, data=DATA[512:], final=True)
    assert ladder.ended == []
    ladder >> SCSIResponse(initiator_task_tag=data_in().initiator_task_tag, exp_data_sn=2)
    assert ladder.ended == [task]
    assert task.data_in == DATA


@rfc("7143", "11.4.5", row="I12")
def test_less_data_is_an_underflow_and_no_error(ladder: Any) -> None:
    task, data_in = read(ladder)
    ladder >> data_in(final=True, status_present=True, data=DATA[:36], underflow=True, residual_count=4060)
    assert (task.data_in, task.residual, task.error) == (DATA[:36], 4060, None)


@rfc("7143", "11.4.5", row="I12")
def test_overflow_is_a_negative_residual(ladder: Any) -> None:
    task, data_in = read(ladder)
    ladder >> data_in(final=True, status_present=True, data=DATA, overflow=True, residual_count=100)
    assert (len(task.data_in), task.residual) == (4096, -100)


def test_data_land_in_the_room_the_caller_gave(ladder: Any) -> None:
    room = bytearray(4096)
    _, data_in = read(ladder, into=memoryview(room))
    ladder >> data_in(final=True, status_present=True, data=DATA)
    assert room == DATA


def test_commands_may_end_in_any_order(ladder: Any) -> None:
    first, first_in = read(ladder)
    second, second_in = read(ladder)
    ladder >> first_in(data=DATA[:512])
    ladder >> second_in(final=True, status_present=True, data=DATA)
    ladder >> first_in(data_sn=1, buffer_offset=512, final=True, status_present=True, data=DATA[512:])
    assert ladder.ended == [second, first]
    assert first.data_in == second.data_in == DATA


@rfc("7143", "4.2.2.4", "13.18", row=(9, 19))
@pytest.mark.parametrize(
    "fields,message",
    [
        pytest.param({"data_sn": 1}, "DataSN 1, expected 0", id="DataSN"),
        pytest.param({"buffer_offset": 512}, "offset 512, expected 0", id="gap"),
        pytest.param({"data": bytes(4100)}, "4096 were expected", id="too long"),
        pytest.param({"buffer_offset": 4096}, "4096 were expected", id="behind the end"),
        pytest.param({"buffer_offset": 0xFFFFFFFF}, "4096 were expected", id="offset at the end of 32 bits"),
        pytest.param({"status_present": True}, "S, F 0", id="status without F"),
        pytest.param(
            {"status_present": True, "final": True, "status": 2}, "status 0x02", id="status needs a response"
        ),
        pytest.param(
            {"status_present": True, "final": True, "overflow": True, "underflow": True},
            "overflow and underflow",
            id="both residuals",
        ),
    ],
)
def test_data_in_that_breaks_a_rule_ends_the_connection(ladder: Any, fields: Any, message: str) -> None:
    _, data_in = read(ladder)
    ladder >> data_in(**({"data": bytes(512)} | fields))
    assert message in ladder.failure


@rfc("7143", "13.18", row=19)
def test_data_in_that_overlaps_ends_the_connection(ladder: Any) -> None:
    _, data_in = read(ladder)
    ladder >> data_in(data=bytes(512))
    ladder >> data_in(data_sn=1, buffer_offset=256, data=bytes(512))
    assert "offset 256, expected 512" in ladder.failure


def test_data_in_for_a_write_ends_the_connection(ladder: Any) -> None:
    _, sent, _ = write(ladder, DATA)
    ladder >> SCSIDataIn(initiator_task_tag=sent[0].initiator_task_tag, data=bytes(512))
    assert "0 were expected" in ladder.failure


def test_status_twice_ends_the_connection(ladder: Any) -> None:
    _, data_in = read(ladder)
    ladder >> data_in(final=True, status_present=True, data=DATA)
    ladder >> SCSIResponse(initiator_task_tag=data_in().initiator_task_tag)
    assert "unknown task tag" in ladder.failure


@pytest.fixture
def unordered(new_ladder: Any) -> Any:
    return new_ladder(data_pdu_in_order=False, data_sequence_in_order=False)


def test_data_out_of_order_where_that_was_agreed(unordered: Any) -> None:
    task, data_in = read(unordered)
    unordered >> data_in(data_sn=0, buffer_offset=512, data=DATA[512:])
    unordered >> data_in(data_sn=1, data=DATA[:512], final=True, status_present=True)
    assert task.data_in == DATA


def test_data_out_of_order_must_not_overlap_either(unordered: Any) -> None:
    _, data_in = read(unordered)
    unordered >> data_in(data_sn=0, buffer_offset=512, data=bytes(1024))
    unordered >> data_in(data_sn=1, buffer_offset=0, data=bytes(1024))
    assert "overlaps" in unordered.failure


def test_data_with_holes_are_not_handed_over(unordered: Any) -> None:
    task, data_in = read(unordered)
    unordered >> data_in(data_sn=0, buffer_offset=512, data=DATA[512:], final=True, status_present=True)
    assert task.data_in == b""


# -- responses -------------------------------------------------------------------------------------


def test_check_condition_brings_its_sense_data(ladder: Any) -> None:
    task, data_in = read(ladder)
    sense = Sense(SenseKey.ILLEGAL_REQUEST, 0x21, 0).encode()
    tag = data_in().initiator_task_tag
    ladder >> SCSIResponse(
        initiator_task_tag=tag,
        status=2,
        underflow=True,
        residual_count=4096,
        data=SCSIResponse.sense_segment(sense),
    )
    assert (task.status, task.sense_data, task.data_in, task.residual) == (2, sense, b"", 4096)


def test_sense_length_that_lies_ends_the_connection(ladder: Any) -> None:
    _, data_in = read(ladder)
    tag = data_in().initiator_task_tag
    ladder >> SCSIResponse(initiator_task_tag=tag, status=2, data=b"\xff\xff\x70\x00")
    assert "SenseLength 65535" in ladder.failure


def test_target_failure_is_an_error_of_its_own(ladder: Any) -> None:
    task, data_in = read(ladder)
    ladder >> SCSIResponse(initiator_task_tag=data_in().initiator_task_tag, response=1)
    assert isinstance(task.error, TargetFailure)
    assert str(task.error) == "READ (10) to LUN 1: target failure, response code 0x01"


@rfc("7143", "11.4.5", row=21)
def test_response_with_both_residuals_ends_the_connection(ladder: Any) -> None:
    _, data_in = read(ladder)
    tag = data_in().initiator_task_tag
    ladder >> SCSIResponse(initiator_task_tag=tag, overflow=True, underflow=True)
    assert "overflow and underflow" in ladder.failure


# -- writes ----------------------------------------------------------------------------------------

# InitialR2T, ImmediateData -> bytes in the command, bytes in unsolicited Data-Out; FirstBurstLength 2048
COMBINATIONS = [
    (True, True, 1024, 0),
    (True, False, 0, 0),
    (False, True, 1024, 1024),
    (False, False, 0, 2048),
]


@rfc("7143", "4.2.5.2", "11.3.1", "13.10", "13.11", row=(13, 14))
@pytest.mark.parametrize("initial_r2t,immediate_data,immediate,unsolicited", COMBINATIONS)
def test_what_is_sent_unasked(
    new_ladder: Any, initial_r2t: bool, immediate_data: bool, immediate: int, unsolicited: int
) -> None:
    ladder = new_ladder(
        {"MaxRecvDataSegmentLength": "1024"},
        initial_r2t=initial_r2t,
        immediate_data=immediate_data,
        first_burst_length=2048,
    )
    task, (command, *data_out), r2t = write(ladder, DATA)
    assert len(command.data) == immediate
    assert command.final == (unsolicited == 0)
    assert command.expected_data_transfer_length == len(DATA)
    assert [pdu.data_sn for pdu in data_out] == list(range(len(data_out)))
    assert [pdu.final for pdu in data_out] == [False] * (len(data_out) - 1) + [True] * bool(data_out)
    assert {(pdu.target_transfer_tag, pdu.lun) for pdu in data_out} <= {(RESERVED_TAG, bytes(8))}
    assert command.data + b"".join(pdu.data for pdu in data_out) == DATA[: immediate + unsolicited]
    rest = immediate + unsolicited
    ladder >> r2t(rest, len(DATA) - rest)
    assert b"".join(pdu.data for pdu in ladder.sent()) == DATA[rest:]
    ladder >> SCSIResponse(initiator_task_tag=command.initiator_task_tag)
    assert (ladder.ended, task.error) == ([task], None)


@pytest.fixture
def solicited(new_ladder: Any) -> Any:
    """Nothing is sent unasked, in segments of 1024 bytes and bursts of 2048."""
    return new_ladder(
        {"MaxRecvDataSegmentLength": "1024"},
        initial_r2t=True,
        immediate_data=False,
        max_burst_length=2048,
        first_burst_length=2048,
    )


@rfc("7143", "11.8", row=(16, "I8"))
def test_r2t_is_answered_with_exactly_what_it_asks_for(solicited: Any) -> None:
    _, _, r2t = write(solicited, DATA)
    solicited >> r2t(0, 1536, target_transfer_tag=0xABCD, lun=LUN)
    data_out = solicited.sent()
    assert [(type(pdu), pdu.data_sn, pdu.buffer_offset, len(pdu.data), pdu.final) for pdu in data_out] == [
        (SCSIDataOut, 0, 0, 1024, False),
        (SCSIDataOut, 1, 1024, 512, True),
    ]
    assert {(pdu.target_transfer_tag, pdu.lun) for pdu in data_out} == {(0xABCD, LUN)}


@rfc("7143", "4.2.2.4", row=9)
def test_each_r2t_starts_data_sn_again(solicited: Any) -> None:
    _, _, r2t = write(solicited, DATA)
    solicited >> r2t(0, 2048) >> r2t(2048, 2048, r2t_sn=1)
    assert [pdu.data_sn for pdu in solicited.sent()] == [0, 1, 0, 1]


@rfc("7143", "4.2.2.2", row=7)
def test_r2t_does_not_use_stat_sn_up(solicited: Any) -> None:
    _, _, r2t = write(solicited, DATA)
    solicited >> r2t(0, 2048, stat_sn=solicited.stat_sn)
    assert solicited.core.exp_stat_sn == solicited.stat_sn


@rfc("7143", "11.8.4", "13.13", row=(16, 19))
@pytest.mark.parametrize(
    "offset,length,fields,message",
    [
        pytest.param(0, 0, {}, "bytes 0 to 0", id="nothing"),
        pytest.param(0, 2049, {}, "bursts of 2048", id="longer than a burst"),
        pytest.param(3072, 2048, {}, "which sends 4096", id="beyond the end"),
        pytest.param(0xFFFFFFFF, 1024, {}, "which sends 4096", id="offset at the end of 32 bits"),
        pytest.param(1024, 1024, {}, "offset 1024, expected 0", id="gap"),
        pytest.param(0, 1024, {"r2t_sn": 1}, "R2TSN 1, expected 0", id="R2TSN"),
        pytest.param(0, 1024, {"target_transfer_tag": RESERVED_TAG}, "reserved", id="reserved tag"),
        pytest.param(0, 1024, {"lun": bytes(8)}, "R2T for LUN 0000000000000000", id="another LUN"),
        pytest.param(0, 1024, {"tag": 99}, "unknown task tag 0x63", id="unknown task"),
    ],
)
def test_bad_r2t_ends_the_connection(
    solicited: Any, offset: int, length: int, fields: Any, message: str
) -> None:
    _, _, r2t = write(solicited, DATA)
    solicited >> r2t(offset, length, **fields)
    assert solicited.sent() == []
    assert message in solicited.failure


def test_r2t_for_what_was_sent_ends_the_connection(solicited: Any) -> None:
    _, _, r2t = write(solicited, DATA)
    solicited >> r2t(0, 2048) >> r2t(0, 2048, r2t_sn=1)
    assert "offset 0, expected 2048" in solicited.failure


def test_r2t_for_a_read_ends_the_connection(solicited: Any) -> None:
    task, data_in = read(solicited)
    solicited >> ReadyToTransfer(
        lun=task.lun,
        initiator_task_tag=data_in().initiator_task_tag,
        target_transfer_tag=1,
        desired_data_transfer_length=512,
    )
    assert "which sends 0" in solicited.failure


def test_r2ts_out_of_order_where_that_was_agreed(new_ladder: Any) -> None:
    ladder = new_ladder(
        initial_r2t=True, immediate_data=True, first_burst_length=512, data_sequence_in_order=False
    )
    _, _, r2t = write(ladder, DATA)
    ladder >> r2t(2048, 2048) >> r2t(512, 1536, r2t_sn=1)
    assert b"".join(pdu.data for pdu in ladder.sent()) == DATA[2048:] + DATA[512:2048]
    ladder >> r2t(256, 512, r2t_sn=2)
    assert "a part of which was sent" in ladder.failure


# -- giving up -------------------------------------------------------------------------------------


def test_abandoned_command_is_aborted_once(ladder: Any) -> None:
    task, _ = read(ladder)
    for _ in range(2):
        ladder.core.commands.abort(task, CommandAborted("cancelled"))
    assert len(ladder.sent()) == 1


def test_abandoned_command_still_takes_its_data(ladder: Any) -> None:
    task, data_in = read(ladder)
    ladder.core.commands.abort(task, CommandAborted("cancelled"))
    ladder >> data_in(final=True, status_present=True, data=DATA)
    assert (task.data_in, task.error) == (DATA, None)


def test_abandoned_command_that_has_ended_is_left_alone(ladder: Any) -> None:
    task, data_in = read(ladder)
    ladder >> data_in(final=True, status_present=True, data=DATA)
    ladder.core.commands.abort(task, CommandAborted("cancelled"))
    assert ladder.sent() == []


# -- data that go straight home --------------------------------------------------------------------


def test_a_long_data_segment_of_several_is_received_into_the_commands_buffer(ladder: Any) -> None:
    data = bytes(range(256)) * 256
    task = ladder.submit(data_in_length=2 * len(data))
    (command,) = ladder.sent()
    tag = command.initiator_task_tag
    wire = ladder.wire(SCSIDataIn(initiator_task_tag=tag, final=False, data=data))
    core = ladder.core
    assert core.framer.room() is None
    core.receive_data(wire[:1048], 0.0)
    for start, end in ((1048, 3000), (3000, len(wire))):
        room = core.framer.room()
        assert room is not None
        assert len(room) == len(wire) - start
        room[: end - start] = wire[start:end]
        core.receive_in_room(end - start, 0.0)
    assert core.framer.room() is None
    assert ladder.ended == []
    last = SCSIDataIn(
        initiator_task_tag=tag, final=True, status_present=True, data_sn=1, buffer_offset=len(data), data=data
    )
    core.receive_data(ladder.wire(last), 0.0)
    assert ladder.ended == [task]
    assert task.data_in is task.buffer
    assert task.data_in == data + data


def test_a_long_data_segment_that_is_all_of_a_read_is_handed_over_as_it_came(ladder: Any) -> None:
    data = bytes(range(256)) * 256
    task = ladder.submit(data_in_length=len(data))
    (command,) = ladder.sent()
    tag = command.initiator_task_tag
    chunk = ladder.wire(SCSIDataIn(initiator_task_tag=tag, final=True, status_present=True, data=data))
    core = ladder.core
    core.framer.leaves_partial = True
    core.receive_data(chunk[:3000], 0.0)
    assert (core.framer.room(), core.framer.left) == (None, 3000)
    assert core.framer.left_wants == len(chunk)
    core.receive_data(chunk, 0.0)
    assert core.framer.left == 0
    assert ladder.ended == [task]
    assert isinstance(task.data_in, memoryview)
    assert task.data_in.obj is chunk
    assert task.data_in == data
    assert core.commands.lent


def test_data_nobody_asked_for_find_no_home(ladder: Any) -> None:
    task = ladder.submit(data_in_length=4096)
    (command,) = ladder.sent()
    tag = command.initiator_task_tag
    wire = ladder.wire(SCSIDataIn(initiator_task_tag=tag, final=True, data=bytes(65536)))
    ladder.core.receive_data(wire[:100], 0.0)
    assert task.buffer is None
    ladder.core.receive_data(wire[100:], 0.0)
    assert "4096 were expected" in ladder.failure


# -- what a response says of the whole -------------------------------------------------------------


def test_response_that_counts_more_data_than_came_ends_the_connection(ladder: Any) -> None:
    _, data_in = read(ladder)
    ladder >> data_in(data=bytes(512))
    ladder >> SCSIResponse(initiator_task_tag=data_in().initiator_task_tag, exp_data_sn=2)
    assert "ExpDataSN 2 after 1 PDUs" in ladder.failure


@pytest.mark.parametrize("exp_data_sn", [0, 1])
def test_response_may_count_what_came_or_nothing(ladder: Any, exp_data_sn: int) -> None:
    task, data_in = read(ladder)
    ladder >> data_in(data=DATA, final=True)
    ladder >> SCSIResponse(initiator_task_tag=data_in().initiator_task_tag, exp_data_sn=exp_data_sn)
    assert task.data_in == DATA


def test_response_may_count_r2ts_too(solicited: Any) -> None:
    task, sent, r2t = write(solicited, DATA)
    solicited >> r2t(0, 2048) >> r2t(2048, 2048, r2t_sn=1)
    solicited >> SCSIResponse(initiator_task_tag=sent[0].initiator_task_tag, exp_data_sn=2)
    assert (task.error, task.asked) == (None, 4096)


def test_status_of_a_bidirectional_command_comes_in_a_response(ladder: Any) -> None:
    ladder.submit(data_out=b"x" * 512, data_in_length=1024)
    (command,) = ladder.sent()
    tag = command.initiator_task_tag
    ladder >> SCSIDataIn(initiator_task_tag=tag, final=True, status_present=True, data=bytes(1024))
    assert "which sends data too" in ladder.failure
