"""SCSI commands on a connection: reads in one PDU and in many, writes, residuals, refusals, slow stores."""

from dataclasses import replace
from itertools import pairwise

import pytest
from exchanges.ladder import (
    Exchange,
    command,
    connect,
    data_out,
    ended,
    inquiry,
    like,
    log_in,
    login_request,
    logout,
    lun,
    make_entity,
    nop_out,
    read_10,
    rejected,
    task_management,
    test_unit_ready,
    text,
    unit_of,
    write_10,
)
from marks import rfc

from iscsim.pdu import (
    RESERVED_TAG,
    BidirectionalReadLength,
    ExtendedCDB,
    LogoutResponse,
    NOPIn,
    ReadyToTransfer,
    RejectReason,
    SCSICommand,
    SCSIDataIn,
    SCSIResponse,
    TaskManagementFunction,
    TaskManagementResponse,
    UnknownAHS,
)
from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.asc import ASC
from iscsim.scsi.completion import Completion
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.scsi.status import Status
from iscsim.session.parameters import Wishes
from iscsim.target.policy import RFC

DIGESTS = {"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}
WINDOW = RFC.command_window
# four combinations of InitialR2T and ImmediateData
R2T_AND_IMMEDIATE = {"InitialR2T": "Yes", "ImmediateData": "Yes", "FirstBurstLength": "1024"}
R2T_ONLY = {"InitialR2T": "Yes", "ImmediateData": "No"}
ALL_UNSOLICITED = {"InitialR2T": "No", "ImmediateData": "Yes", "FirstBurstLength": "1024"}
DATA_OUT_ONLY = {"InitialR2T": "No", "ImmediateData": "No", "FirstBurstLength": "1024"}


def pattern(length: int) -> bytes:
    return (bytes(range(251)) * (length // 251 + 1))[:length]


def stored(exchange: Exchange, blocks: int, number: int = 0) -> bytes:
    return bytes(unit_of(exchange.session.entity, number).read(0, blocks))


def failed(key: SenseKey, asc: ASC) -> object:
    return like(
        SCSIResponse,
        status=Status.CHECK_CONDITION,
        data=SCSIResponse.sense_segment(Sense.of(key, asc).encode()),
    )


# -- reads -----------------------------------------------------------------------------------------


@rfc("7143", "11.7.3", row=20)
def test_a_read_that_fits_is_one_data_in_with_status():
    exchange = log_in()
    unit_of(exchange.session.entity).store.write(1, pattern(1024))
    assert (
        exchange
        >> read_10(lba=1, blocks=2, initiator_task_tag=9)
        << like(
            SCSIDataIn,
            final=True,
            status_present=True,
            status=0,
            initiator_task_tag=9,
            data_sn=0,
            buffer_offset=0,
            overflow=False,
            underflow=False,
            residual_count=0,
            data=pattern(1024),
        )
    )


@rfc("7143", "4.2.2.4", "11.7.1", "11.7.3", "13.18", row=(9, 16, 19, 20))
@pytest.mark.parametrize("keys", [{}, DIGESTS], ids=["plain", "digests"])
def test_a_read_is_cut_by_segment_and_burst_and_ends_with_status(keys):
    limits = {"MaxRecvDataSegmentLength": "1024", "MaxBurstLength": "2048", "FirstBurstLength": "1024"}
    exchange = log_in(keys=limits | keys)
    unit_of(exchange.session.entity).store.write(0, pattern(4608))
    exchange >> read_10(blocks=9)
    pdus = list(exchange.answers)
    assert [(pdu.data_sn, pdu.buffer_offset, len(pdu.data)) for pdu in pdus] == [
        (0, 0, 1024),
        (1, 1024, 1024),
        (2, 2048, 1024),
        (3, 3072, 1024),
        (4, 4096, 512),
    ]
    assert [pdu.final for pdu in pdus] == [False, True, False, True, True]
    assert [pdu.status_present for pdu in pdus] == [False] * 4 + [True]
    assert [pdu.stat_sn for pdu in pdus[:-1]] == [0] * 4  # reserved without status
    assert b"".join(pdu.data for pdu in pdus) == pattern(4608)


@rfc("7143", "13.13", row=16)
def test_no_sequence_of_data_in_is_longer_than_max_burst_length():
    limits = {"MaxRecvDataSegmentLength": "65536", "MaxBurstLength": "2048", "FirstBurstLength": "1024"}
    exchange = log_in(keys=limits) >> read_10(blocks=9)
    pdus = list(exchange.answers)
    assert [(pdu.buffer_offset, len(pdu.data), pdu.final) for pdu in pdus] == [
        (0, 2048, True),
        (2048, 2048, True),
        (4096, 512, True),
    ]


def test_the_data_digest_is_that_of_what_is_sent_though_the_store_changes_meanwhile():
    exchange = log_in(keys=DIGESTS)
    store = unit_of(exchange.session.entity).store
    store.write(0, pattern(512))
    exchange.connection.receive_data(exchange.wire(read_10()), 0.0)
    store.write(0, bytes(512))
    assert exchange.collect() << like(SCSIDataIn, data=pattern(512))


def test_a_length_that_is_no_multiple_of_four_is_padded():
    exchange = log_in() >> inquiry(5) << like(SCSIDataIn, underflow=False, status_present=True)
    assert exchange >> nop_out() << like(NOPIn)


@rfc("7143", "11.4.5", row=21)
def test_less_data_than_expected_is_underflow():
    exchange = log_in() >> read_10(expected_data_transfer_length=2048)
    assert exchange << like(SCSIDataIn, underflow=True, overflow=False, residual_count=1536)


@rfc("7143", "11.4.5", row=21)
def test_more_data_than_expected_is_overflow_and_cut():
    exchange = log_in() >> read_10(blocks=2, expected_data_transfer_length=100)
    assert exchange << like(
        SCSIDataIn, overflow=True, underflow=False, residual_count=924, data=bytes(100), status_present=True
    )


@pytest.mark.parametrize("read", [True, False])
def test_data_without_any_room_for_it_is_overflow_in_a_response(read):
    exchange = log_in() >> inquiry(read=read, expected_data_transfer_length=0)
    assert exchange << like(SCSIResponse, status=0, overflow=True, residual_count=36, exp_data_sn=0)


@rfc("7143", "11.4.7", "11.7.3", row=(20, 22))
def test_a_failed_read_has_its_sense_in_a_response():
    exchange = (
        log_in()
        >> read_10(lba=0xFFFFFFFF)
        << like(
            SCSIResponse, status=Status.CHECK_CONDITION, underflow=True, residual_count=512, exp_data_sn=0
        )
    )
    exchange >> read_10(lba=0xFFFFFFFF)
    assert exchange.next().sense[2] & 0xF == SenseKey.ILLEGAL_REQUEST


def test_a_command_without_data_has_a_response_without_residual():
    assert (
        log_in()
        >> test_unit_ready()
        << like(SCSIResponse, status=0, data=b"", residual_count=0, underflow=False, overflow=False)
    )


def test_the_first_command_hears_the_unit_attention():
    exchange = log_in(attentions=True) >> test_unit_ready()
    assert exchange.next().status == Status.CHECK_CONDITION
    assert exchange >> test_unit_ready() << like(SCSIResponse, status=0)


def test_a_unit_that_is_not_there_is_not_supported():
    exchange = log_in() >> test_unit_ready(lun=lun(9))
    assert exchange << failed(SenseKey.ILLEGAL_REQUEST, ASC.LOGICAL_UNIT_NOT_SUPPORTED)


def test_a_read_while_a_write_is_under_way_is_answered():
    exchange = log_in() >> write_10(blocks=2) << like(ReadyToTransfer)
    assert exchange >> read_10() << like(SCSIDataIn, max_cmd_sn=WINDOW + 1)  # the write keeps its place


@rfc("7143", "11.4.8", row=10)
def test_a_bidirectional_command_has_both_residuals():
    both = inquiry(
        write=True,
        expected_data_transfer_length=8,
        ahs=(BidirectionalReadLength(40),),
    )
    assert (
        log_in()
        >> both
        << like(SCSIDataIn, status_present=False, data_sn=0, final=True)
        << like(
            SCSIResponse,
            status=0,
            exp_data_sn=1,
            underflow=True,
            residual_count=8,
            bidirectional_read_underflow=True,
            bidirectional_read_residual_count=4,
        )
    )


def test_a_bidirectional_command_without_a_read_length_expects_nothing():
    assert (
        log_in()
        >> inquiry(write=True, expected_data_transfer_length=0)
        << like(SCSIResponse, bidirectional_read_overflow=True, bidirectional_read_residual_count=36)
    )


# -- writes ----------------------------------------------------------------------------------------


def test_a_write_with_all_its_data_is_answered_at_once():
    exchange = log_in() >> write_10(blocks=2, data=pattern(1024))
    assert exchange << like(SCSIResponse, status=0, residual_count=0, exp_data_sn=0, max_cmd_sn=WINDOW + 1)
    assert stored(exchange, 2) == pattern(1024)


@rfc("7143", "11.8.3", "11.8.4", row=(8, 17))
def test_the_rest_of_a_write_is_asked_for():
    exchange = log_in(keys=R2T_AND_IMMEDIATE) >> write_10(blocks=4, data=pattern(1024), initiator_task_tag=9)
    stat_sn = exchange.connection.stat_sn
    r2t = exchange.answers[0]
    assert exchange << like(
        ReadyToTransfer,
        initiator_task_tag=9,
        lun=lun(0),
        r2t_sn=0,
        buffer_offset=1024,
        desired_data_transfer_length=1024,
        stat_sn=stat_sn,
        max_cmd_sn=WINDOW,
    )
    rest = data_out(9, 1024, pattern(2048)[1024:], target_transfer_tag=r2t.target_transfer_tag)
    assert exchange >> rest << like(SCSIResponse, status=0, stat_sn=stat_sn, max_cmd_sn=WINDOW + 1)
    assert stored(exchange, 4) == pattern(2048)


@rfc("7143", "4.2.2.4", "11.8.4", row=(9, 16, 17))
def test_no_r2t_asks_for_more_than_max_burst_length():
    exchange = log_in(keys=R2T_ONLY | {"MaxBurstLength": "1024"}) >> write_10(blocks=5)
    for number, (offset, length) in enumerate([(0, 1024), (1024, 1024), (2048, 512)]):
        r2t = exchange.next()
        assert (r2t.r2t_sn, r2t.buffer_offset, r2t.desired_data_transfer_length) == (number, offset, length)
        exchange >> data_out(1, offset, bytes(length), target_transfer_tag=r2t.target_transfer_tag)
    assert exchange << like(SCSIResponse, status=0)


@rfc("7143", "13.17", row=18)
def test_max_outstanding_r2t_are_sent_at_once():
    policy = replace(RFC, wishes=Wishes(max_outstanding_r2t=3))
    keys = R2T_ONLY | {"MaxBurstLength": "512", "FirstBurstLength": "512", "MaxOutstandingR2T": "2"}
    exchange = log_in(make_entity(policy), keys) >> write_10(blocks=3)
    first, second = exchange.next(), exchange.next()
    assert not exchange.answers
    exchange >> data_out(1, 512, bytes(512), target_transfer_tag=second.target_transfer_tag)
    third = exchange.next()
    assert (third.r2t_sn, third.buffer_offset) == (2, 1024)
    assert exchange >> data_out(1, 0, bytes(512), target_transfer_tag=first.target_transfer_tag)
    exchange >> data_out(1, 1024, bytes(512), target_transfer_tag=third.target_transfer_tag)
    assert exchange << like(SCSIResponse, status=0)


@rfc("7143", "4.2.5.2", "13.10", "13.11", row=13)
@pytest.mark.parametrize("keys", [ALL_UNSOLICITED, DATA_OUT_ONLY])
def test_unsolicited_data_out_comes_before_any_r2t(keys):
    exchange = log_in(keys=keys) >> write_10(blocks=3, final=False)
    assert exchange
    exchange >> data_out(1, 0, pattern(1024))
    r2t = exchange.next()
    assert (r2t.buffer_offset, r2t.desired_data_transfer_length) == (1024, 512)
    rest = data_out(1, 1024, pattern(1536)[1024:], target_transfer_tag=r2t.target_transfer_tag)
    assert exchange >> rest << like(SCSIResponse, status=0)
    assert stored(exchange, 3) == pattern(1536)


@rfc("7143", "4.2.5.2", "11.4.2", "11.4.7.2", row=(12, 13, 15, 22))
@pytest.mark.parametrize(
    "keys, fields, data, asc",
    [
        (R2T_ONLY, {"data": b"x" * 512}, None, ASC.WRITE_ERROR_UNEXPECTED_UNSOLICITED_DATA),
        (R2T_AND_IMMEDIATE, {"final": False}, b"x" * 512, ASC.WRITE_ERROR_UNEXPECTED_UNSOLICITED_DATA),
        (ALL_UNSOLICITED, {"data": b"x" * 1028}, None, ASC.WRITE_ERROR_NOT_ENOUGH_UNSOLICITED_DATA),
        (ALL_UNSOLICITED, {"final": False}, b"x" * 1028, ASC.WRITE_ERROR_NOT_ENOUGH_UNSOLICITED_DATA),
        (ALL_UNSOLICITED, {"final": False}, b"x" * 1020, ASC.WRITE_ERROR_NOT_ENOUGH_UNSOLICITED_DATA),
    ],
    ids=["immediate", "unsolicited", "immediate too long", "unsolicited too long", "unsolicited too short"],
)
def test_bad_unsolicited_data_fails_the_write_after_its_last_data_out(keys, fields, data, asc):
    exchange = log_in(keys=keys) >> write_10(blocks=4, **fields)
    if data is not None:
        assert not exchange.answers
        exchange >> data_out(1, 0, data)
    assert exchange << failed(SenseKey.ABORTED_COMMAND, asc)
    assert stored(exchange, 4) == bytes(2048)


@rfc("7143", "4.2.2.4", "11.4.2", row=(9, 12))
def test_a_data_out_out_of_sequence_fails_the_write_at_its_end():
    exchange = log_in(keys=R2T_ONLY) >> write_10(blocks=2)
    tag = exchange.next().target_transfer_tag
    assert exchange >> data_out(1, 0, bytes(512), target_transfer_tag=tag, data_sn=5, final=False)
    exchange >> data_out(1, 512, bytes(512), target_transfer_tag=tag, data_sn=6)
    assert exchange << failed(SenseKey.ABORTED_COMMAND, ASC.PROTOCOL_SERVICE_CRC_ERROR)


@rfc("7143", "7.8", "11.4.7.2", row=(12, 15, 26))
@pytest.mark.parametrize("final", [True, False])
def test_a_damaged_data_out_fails_the_write_at_its_end(final):
    exchange = log_in(keys=R2T_ONLY | DIGESTS) >> write_10(blocks=2)
    tag = exchange.next().target_transfer_tag
    wire = exchange.wire(data_out(1, 0, bytes(512), target_transfer_tag=tag, final=final))
    exchange >> wire[:-1] + b"?" << rejected(RejectReason.DATA_DIGEST_ERROR)
    if not final:
        assert not exchange.answers
        exchange >> data_out(1, 512, bytes(512), target_transfer_tag=tag, data_sn=1)
    assert exchange << failed(SenseKey.ABORTED_COMMAND, ASC.PROTOCOL_SERVICE_CRC_ERROR)


def test_a_write_that_is_going_to_fail_is_not_asked_for():
    exchange = log_in(keys=R2T_ONLY) >> write_10(lba=0xFFFFFFFF, blocks=2)
    assert exchange << like(SCSIResponse, status=Status.CHECK_CONDITION, underflow=True, residual_count=1024)


@rfc("7143", "11.4.5", row=21)
@pytest.mark.parametrize(
    "expected, flag, residual", [(2048, "underflow", 1024), (512, "overflow", 512), (1024, None, 0)]
)
def test_residual_of_a_write(expected, flag, residual):
    data = bytes(expected)
    exchange = log_in() >> write_10(blocks=2, data=data, expected_data_transfer_length=expected)
    response = exchange.next()
    assert (response.underflow, response.overflow) == (flag == "underflow", flag == "overflow")
    assert response.residual_count == residual


def test_data_without_the_w_bit_is_ignored():
    assert log_in() >> read_10(data=b"what?") << like(SCSIDataIn)


def test_an_extended_cdb_is_handed_on_whole():
    exchange = log_in() >> test_unit_ready(ahs=(ExtendedCDB(b"x" * 4),))
    assert exchange << like(SCSIResponse, status=0)


# -- refusals --------------------------------------------------------------------------------------


@rfc("7143", "11.17.1", row=27)
def test_a_data_out_for_no_task_is_rejected():
    pdu = data_out(77, data=b"x")
    exchange = log_in() >> pdu << rejected(RejectReason.INVALID_PDU_FIELD, data=pdu.header())
    assert exchange.rejections == ["Data-Out for unknown task tag 0x4d"]


@rfc("7143", "7.3", row=28)
@pytest.mark.parametrize("tag", [0xFFFFFFFF, 99])
def test_a_data_out_with_a_tag_that_was_not_given_out_is_rejected_and_the_write_goes_on(tag):
    exchange = log_in(keys=R2T_ONLY) >> write_10()
    r2t = exchange.next()
    exchange >> data_out(1, 0, bytes(512), target_transfer_tag=tag)
    assert exchange << rejected(RejectReason.INVALID_PDU_FIELD)
    exchange >> data_out(1, 0, bytes(512), target_transfer_tag=r2t.target_transfer_tag)
    assert exchange << like(SCSIResponse, status=0)


def test_a_data_out_for_another_unit_than_its_command_is_rejected():
    exchange = log_in(keys=R2T_ONLY) >> write_10(lun=lun(1))
    tag = exchange.next().target_transfer_tag
    assert (
        exchange
        >> data_out(1, 0, bytes(512), target_transfer_tag=tag)
        << rejected(RejectReason.INVALID_PDU_FIELD)
    )
    assert exchange >> data_out(1, 0, bytes(512), target_transfer_tag=tag, lun=lun(1)) << like(SCSIResponse)


@rfc("7143", "11.2.1.8", "7.3", row=(23, 27, 28))
def test_a_task_tag_in_use_is_rejected_and_its_cmd_sn_not_received():
    exchange = log_in(keys=R2T_ONLY) >> write_10(initiator_task_tag=5)
    exchange.next()
    assert exchange >> read_10(initiator_task_tag=5) << rejected(RejectReason.TASK_IN_PROGRESS, exp_cmd_sn=2)
    assert exchange >> read_10(initiator_task_tag=6, cmd_sn=2) << like(SCSIDataIn, exp_cmd_sn=3)


def test_an_immediate_command_with_a_tag_in_use_is_rejected():
    exchange = log_in(keys=R2T_ONLY) >> write_10(initiator_task_tag=5)
    exchange.next()
    assert (
        exchange
        >> read_10(initiator_task_tag=5, immediate=True)
        << rejected(RejectReason.TASK_IN_PROGRESS, exp_cmd_sn=2)
    )


def test_an_ahs_of_unknown_type_is_rejected():
    exchange = log_in() >> read_10(ahs=(UnknownAHS(7, 0, b"abc"),))
    assert exchange << rejected(RejectReason.INVALID_PDU_FIELD, exp_cmd_sn=1)
    assert exchange.rejections == ["SCSICommand with an AHS of unknown type"]


def test_immediate_writes_under_way_are_bounded():
    exchange = log_in(keys=R2T_ONLY)
    for _ in range(8):
        exchange >> write_10(immediate=True) << like(ReadyToTransfer)
    assert exchange >> write_10(immediate=True) << rejected(RejectReason.IMMEDIATE_COMMAND_REJECT)
    assert exchange >> write_10() << like(ReadyToTransfer)


# -- commands and data that wait for their turn ----------------------------------------------------


def test_data_behind_a_command_that_waits_is_kept():
    exchange = log_in(keys=ALL_UNSOLICITED)
    exchange >> write_10(blocks=2, final=False, cmd_sn=2, initiator_task_tag=5)
    exchange >> data_out(5, 0, pattern(512), final=False)
    assert exchange >> data_out(5, 512, pattern(1024)[512:], data_sn=1)
    assert exchange >> nop_out(cmd_sn=1) << like(NOPIn) << like(SCSIResponse, status=0)
    assert stored(exchange, 2) == pattern(1024)


def test_data_behind_a_command_that_waits_is_bounded():
    exchange = log_in(keys=ALL_UNSOLICITED) >> write_10(final=False, cmd_sn=2, initiator_task_tag=5)
    assert exchange >> data_out(5, 0, bytes(1025)) << rejected(RejectReason.INVALID_PDU_FIELD)


def test_empty_data_behind_a_command_that_waits_is_bounded():
    exchange = log_in(keys=ALL_UNSOLICITED) >> write_10(final=False, cmd_sn=2, initiator_task_tag=5)
    exchange.send(*(data_out(5, final=False) for _ in range(100)))
    assert sum(len(place.data_out) for place in exchange.session.held.values()) <= 3
    assert len(exchange.answers) >= 97


# -- room for write data ---------------------------------------------------------------------------


def with_room(size: int, **keys: str) -> Exchange:
    return log_in(make_entity(replace(RFC, write_room=size)), R2T_ONLY | keys)


def test_a_write_beyond_the_room_waits_for_its_r2t():
    exchange = with_room(1024) >> write_10(blocks=2) >> write_10(blocks=1) >> write_10(blocks=1)
    first = exchange.next()
    assert not exchange.answers
    exchange >> data_out(1, 0, bytes(1024), target_transfer_tag=first.target_transfer_tag)
    exchange << like(SCSIResponse, initiator_task_tag=1)
    assert (
        exchange
        << like(ReadyToTransfer, initiator_task_tag=2, r2t_sn=0)
        << like(ReadyToTransfer, initiator_task_tag=3)
    )


def test_one_write_always_has_room():
    exchange = with_room(512) >> write_10(blocks=100)
    assert exchange << like(ReadyToTransfer, desired_data_transfer_length=51200)


def test_a_short_write_does_not_overtake_one_that_waits():
    exchange = with_room(1024) >> write_10(blocks=1) >> write_10(blocks=2) >> write_10(blocks=1)
    assert exchange << like(ReadyToTransfer, initiator_task_tag=1)


@pytest.mark.parametrize("aborted, next_tag", [(1, 2), (2, None)])
def test_an_aborted_write_gives_its_room_or_its_place_in_the_queue_back(aborted, next_tag):
    exchange = with_room(1024) >> write_10(blocks=2) >> write_10(blocks=2) >> write_10(blocks=2)
    exchange.next()
    abort = task_management(TaskManagementFunction.ABORT_TASK, referenced_task_tag=aborted)
    exchange >> abort
    if next_tag:
        exchange << like(ReadyToTransfer, initiator_task_tag=next_tag)
    assert exchange << like(TaskManagementResponse, response=0)


def test_data_that_comes_unasked_needs_no_room():
    policy = replace(RFC, write_room=1)
    exchange = log_in(make_entity(policy)) >> write_10(data=bytes(512)) << like(SCSIResponse, status=0)
    assert exchange


def test_bursts_of_one_write_take_room_once():
    exchange = with_room(2048, MaxBurstLength="512", FirstBurstLength="512") >> write_10(blocks=4)
    for offset in range(0, 2048, 512):
        tag = exchange.next().target_transfer_tag
        exchange >> data_out(1, offset, bytes(512), target_transfer_tag=tag)
    assert exchange << like(SCSIResponse, status=0) >> write_10(blocks=4) << like(ReadyToTransfer)


# -- stores that must wait -------------------------------------------------------------------------


class SlowServer:
    """A device server whose answers are ready ``delay`` seconds after the command, by LBA."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.server = exchange.session.entity.device_server

    def execute(self, nexus, lun, cdb, data_out=b"", *more):
        completion = self.server.execute(nexus, lun, cdb, data_out, *more)
        delay = cdb[5]
        ready_at = self.exchange.now + delay if delay else None
        return Completion(completion.status, completion.data_in, completion.sense, ready_at)

    def data_out_length(self, *what):
        return self.server.data_out_length(*what)


@pytest.fixture
def slow() -> Exchange:
    exchange = log_in()
    exchange.connection.commands._device_server = SlowServer(exchange)
    return exchange


def test_answers_leave_when_they_are_ready(slow):
    assert slow >> read_10(lba=3) >> read_10(lba=1) >> read_10(lba=2)
    assert slow.wait(1) << like(SCSIDataIn, initiator_task_tag=2)
    assert slow.wait(2) << like(SCSIDataIn, initiator_task_tag=3) << like(SCSIDataIn, initiator_task_tag=1)
    assert not slow.session.tasks


def test_a_command_that_waits_keeps_its_place_in_the_window(slow):
    slow >> read_10(lba=1) >> nop_out() << like(NOPIn, exp_cmd_sn=3, max_cmd_sn=WINDOW + 1)
    slow >> read_10(lba=1, immediate=True)
    assert slow.wait(1) << like(SCSIDataIn, max_cmd_sn=WINDOW + 2) << like(SCSIDataIn, max_cmd_sn=WINDOW + 2)


def test_the_window_bounds_the_commands_that_wait(slow):
    for _ in range(WINDOW + 10):
        slow >> read_10(lba=1)
    assert slow
    assert len(slow.session.tasks) == WINDOW
    slow.wait(1)
    assert len(slow.answers) == WINDOW


def test_a_write_may_wait_too(slow):
    assert slow >> write_10(lba=1, data=bytes(512))
    assert slow.wait(1) << like(SCSIResponse, status=0)


def test_a_command_that_waits_can_be_aborted(slow):
    slow >> read_10(lba=1) >> read_10(lba=2)
    abort = task_management(TaskManagementFunction.ABORT_TASK, referenced_task_tag=1)
    assert slow >> abort << like(TaskManagementResponse, response=0, max_cmd_sn=WINDOW + 1)
    assert slow.wait(5) << like(SCSIDataIn, initiator_task_tag=2)


def test_an_answer_may_be_hastened_and_the_others_wait_on(slow):
    slow >> read_10(lba=5) >> read_10(lba=7)
    commands = slow.connection.commands
    first = min(commands._delayed)[3]
    commands.hasten(first, slow.now)
    commands.hasten(Completion(), slow.now)
    assert slow.wait(0) << like(SCSIDataIn, initiator_task_tag=1)
    assert slow.wait(6)
    assert slow.wait(1) << like(SCSIDataIn, initiator_task_tag=2)


def test_a_tag_that_waits_is_in_use(slow):
    slow >> read_10(lba=1, initiator_task_tag=4)
    assert slow >> read_10(initiator_task_tag=4) << rejected(RejectReason.TASK_IN_PROGRESS)


def test_nothing_is_answered_after_the_session(slow):
    slow >> read_10(lba=1) >> logout() << like(LogoutResponse) << ended()
    assert slow.wait(5)


# -- operations that take their time ---------------------------------------------------------------


def sanitize(action: int = 0x03, options: int = 0, data: bytes = b"", **fields: object) -> SCSICommand:
    cdb = layouts.SANITIZE.build(opcode=0x48, options=options | action, parameter_list_length=len(data))
    return command(cdb, write=bool(data), expected_data_transfer_length=len(data), data=data, **fields)


def fault(exchange: Exchange) -> str:
    """Of the next answer: ``"02/04/1b"``."""
    return str(Sense.parse(exchange.next().data[2:]))[-9:-1]


@pytest.fixture
def erasing() -> Exchange:
    exchange = log_in()
    unit = unit_of(exchange.session.entity)
    unit.thin, unit.erasure.duration_s = True, 5.0
    unit.store.write(0, pattern(512))
    return exchange


def test_sanitize_is_answered_when_it_is_done_and_others_hear_of_it_meanwhile(erasing):
    erasing >> sanitize(0x01, data=b"\x01\0\0\x01z") >> read_10()
    assert fault(erasing) == "02/04/1b"
    assert fault(erasing.wait(4.9) >> test_unit_ready()) == "02/04/1b"
    assert erasing.wait(0.1) << like(SCSIResponse, initiator_task_tag=1, status=0)
    assert erasing >> read_10() << like(SCSIDataIn, data=b"z" * 512)


def test_an_aborted_sanitize_goes_on_and_is_not_answered(erasing):
    abort = task_management(TaskManagementFunction.ABORT_TASK, referenced_task_tag=1)
    assert erasing >> sanitize() >> abort << like(TaskManagementResponse, response=0)
    assert fault(erasing >> test_unit_ready()) == "02/04/1b"
    assert erasing.wait(5) >> test_unit_ready() << like(SCSIResponse, status=0)


def test_sanitize_outlives_a_reset_and_its_session(erasing):
    reset = task_management(TaskManagementFunction.LOGICAL_UNIT_RESET)
    assert erasing >> sanitize(options=0x80) << like(SCSIResponse, status=0)
    assert erasing >> reset << like(TaskManagementResponse, response=0)
    assert [fault(erasing >> test_unit_ready()) for _ in range(2)] == ["06/29/03", "02/04/1b"]
    again = log_in(erasing.session.entity)
    assert fault(again.wait(4) >> test_unit_ready()) == "02/04/1b"
    assert again.wait(1) >> test_unit_ready() << like(SCSIResponse, status=0)


@pytest.mark.parametrize("offered, underflow, residual", [(4, False, 0), (600, True, 80)])
def test_format_unit_takes_what_its_cdb_does_not_tell_the_length_of(offered, underflow, residual):
    exchange = log_in()
    unit_of(exchange.session.entity).store.write(0, pattern(512))
    data = bytes(offered)
    exchange >> command(b"\x04\x10", write=True, expected_data_transfer_length=offered, data=data)
    assert exchange << like(SCSIResponse, status=0, underflow=underflow, residual_count=residual)
    assert exchange >> read_10() << like(SCSIDataIn, data=bytes(512))


def test_write_same_32_comes_in_an_extended_cdb():
    cdb = layouts.WRITE_SAME_32.build(
        opcode=0x7F, additional_cdb_length=0x18, service_action=0x0D, lba=1, blocks=2
    )
    exchange = log_in(keys=R2T_ONLY)
    unit_of(exchange.session.entity).long_cdbs = True
    extended = (ExtendedCDB(cdb[16:]),)
    exchange >> command(cdb[:16], ahs=extended, write=True, expected_data_transfer_length=512)
    r2t = exchange.next()
    assert r2t.desired_data_transfer_length == 512
    exchange >> data_out(1, 0, pattern(512), target_transfer_tag=r2t.target_transfer_tag)
    assert exchange << like(SCSIResponse, status=0)
    assert stored(exchange, 4) == bytes(512) + pattern(512) * 2 + bytes(512)
    assert fault(exchange >> command(cdb[:16])) == "05/24/00"


# -- transfer tags ---------------------------------------------------------------------------------


@rfc("7143", "11.8.5", row=17)
def test_transfer_tags_are_never_the_reserved_one():
    exchange = log_in(keys=R2T_ONLY)
    exchange.connection.commands._next_tag = 0xFFFFFFFC
    tags = [(exchange >> write_10()).next().target_transfer_tag for _ in range(5)]
    assert tags == [0xFFFFFFFD, 0xFFFFFFFE, 1, 2, 3]
    exchange >> data_out(2, 0, bytes(512), target_transfer_tag=0xFFFFFFFE) << like(SCSIResponse, status=0)
    assert all(first != second for first, second in pairwise(tags))


def test_commands_of_a_login_that_is_not_through_are_refused():
    exchange = connect() >> login_request({"MaxRecvDataSegmentLength": "8192"}, transit=False)
    exchange.answers.clear()
    exchange >> command(bytes(6))
    assert exchange.refusal == 0x020B


@rfc("7143", "11.2.1.8", row=23)
@pytest.mark.parametrize(
    "make",
    [read_10, write_10, lambda **fields: text(**fields), lambda **fields: task_management(5, **fields)],
)
def test_the_reserved_task_tag_is_no_tag(make):
    """RFC 7143 section 11.2.1.8."""
    exchange = log_in()
    assert exchange >> make(initiator_task_tag=RESERVED_TAG) << rejected(RejectReason.INVALID_PDU_FIELD)
    assert exchange >> read_10(cmd_sn=1) << like(SCSIDataIn, status_present=True)
