"""Asynchronous Messages: what may be sent, and what the target does about them (RFC 7143 section 11.9)."""

import pytest
from exchanges.ladder import (
    connect,
    discover,
    ended,
    like,
    log_in,
    logout,
    lun,
    make_entity,
    nop_out,
    read_10,
    rejected,
    task_management,
    text,
    write_10,
)

from iscsim.errors import LocalProtocolError
from iscsim.pdu import (
    RESERVED_TAG,
    AsyncEvent,
    AsyncMessage,
    LogoutResponse,
    NOPIn,
    ReadyToTransfer,
    RejectReason,
    SCSIDataIn,
    SCSIDataOut,
    SCSIResponse,
    TaskManagementResponse,
    TextResponse,
)
from iscsim.scsi.asc import ASC
from iscsim.scsi.sense import Sense, SenseKey

SENSE = Sense.of(SenseKey.UNIT_ATTENTION, ASC.REPORTED_LUNS_DATA_HAS_CHANGED).encode()
WAITING = RejectReason.WAITING_FOR_LOGOUT


def notices(exchange):
    return exchange.connection.notices


# -- messages --------------------------------------------------------------------------------------


def test_a_message_uses_a_stat_sn_and_carries_the_window():
    exchange = log_in()
    stat_sn = exchange.connection.stat_sn
    notices(exchange).send(AsyncEvent.NEGOTIATION_REQUESTED, parameter_3=9)
    expected = like(AsyncMessage, stat_sn=stat_sn, exp_cmd_sn=1, initiator_task_tag=RESERVED_TAG, final=True)
    assert exchange.collect() << expected
    assert exchange >> nop_out() << like(NOPIn, stat_sn=stat_sn + 1)


def test_a_scsi_event_brings_the_lun_and_its_sense_data():
    exchange = log_in()
    notices(exchange).send(AsyncEvent.SCSI_EVENT, lun=lun(1), sense=SENSE)
    data = len(SENSE).to_bytes(2, "big") + SENSE
    assert exchange.collect() << like(AsyncMessage, async_event=0, lun=lun(1), data=data, async_vcode=0)


@pytest.mark.parametrize("event", [248, 255])
def test_a_vendor_event_brings_a_code_and_data_behind_empty_sense(event):
    exchange = log_in()
    notices(exchange).send(event, vendor_code=7, parameter_1=1, parameter_2=2, parameter_3=3, data=b"news")
    fields = {"async_event": event, "async_vcode": 7, "parameter_1": 1, "parameter_2": 2, "parameter_3": 3}
    assert exchange.collect() << like(AsyncMessage, data=b"\0\0news", **fields)


@pytest.mark.parametrize(
    "event, fields, section",
    [
        (6, {}, "11.9.1"),
        (247, {}, "11.9.1"),
        (AsyncEvent.ALL_TASKS_TERMINATED, {}, "11.9.1"),
        (AsyncEvent.NEGOTIATION_REQUESTED, {"vendor_code": 1}, "11.9.2"),
        (AsyncEvent.SCSI_EVENT, {}, "11.9.4"),
        (AsyncEvent.VENDOR_SPECIFIC, {"sense": SENSE}, "11.9.4"),
        (AsyncEvent.VENDOR_SPECIFIC, {"data": bytes(8191)}, "13.12"),
    ],
)
def test_what_the_rfc_does_not_allow_is_not_sent(event, fields, section):
    exchange = log_in()
    with pytest.raises(LocalProtocolError) as caught:
        notices(exchange).send(event, **fields)
    assert caught.value.section == section
    assert exchange.collect()


@pytest.mark.parametrize("start", [connect, discover, lambda: log_in() >> logout()])
def test_only_a_normal_session_in_its_full_feature_phase_is_told(start):
    exchange = start()
    exchange.answers.clear()
    with pytest.raises(LocalProtocolError, match=r"RFC 7143 section 7\.4\.3"):
        notices(exchange).send(AsyncEvent.NEGOTIATION_REQUESTED)
    assert exchange.collect()


def test_a_negotiation_request_is_answered_by_a_text_request():
    exchange = log_in()
    notices(exchange).request_negotiation(30)
    exchange.collect() << like(AsyncMessage, async_event=4, parameter_3=30)
    assert exchange >> text(("MaxRecvDataSegmentLength", "4096")) << like(TextResponse, final=True)


def test_a_message_wakes_the_shell():
    exchange, woken = log_in(), []
    exchange.connection.wake = lambda: woken.append(True)
    notices(exchange).send(AsyncEvent.NEGOTIATION_REQUESTED)
    assert woken


# -- logout requests -------------------------------------------------------------------------------


def leaving(time_s: int = 10):
    exchange = log_in()
    notices(exchange).request_logout(time_s, exchange.now)
    return exchange.collect() << like(
        AsyncMessage, async_event=1, parameter_1=0, parameter_2=0, parameter_3=time_s
    )


def test_a_logout_in_time_ends_it_well():
    exchange = leaving().wait(9)
    assert exchange >> logout(immediate=True) << like(LogoutResponse, response=0) << ended("^$")
    assert exchange.wait(100)


def test_the_connection_is_dropped_when_the_time_is_over():
    exchange = leaving().wait(9.9)
    assert not exchange.connection.closing
    exchange.wait(0.2) << like(AsyncMessage, async_event=2, parameter_1=0, parameter_2=2, parameter_3=0)
    assert exchange << ended(r"no logout within 10 s of being asked for one \(RFC 7143 section 11\.9\.1\)")
    assert not exchange.session.entity.sessions


@pytest.mark.parametrize("immediate", [True, False])
@pytest.mark.parametrize("request_of", [read_10, write_10, text])
def test_new_requests_are_rejected_while_a_logout_is_waited_for(request_of, immediate):
    exchange = leaving()
    assert exchange >> request_of(immediate=immediate) << rejected(WAITING, exp_cmd_sn=1)
    assert exchange.rejections[0].endswith("after a logout was asked for")


def test_a_rejected_command_leaves_a_gap_that_a_ping_may_fill():
    """RFC 7143 section 7.3."""
    exchange = leaving() >> read_10() << rejected(WAITING)
    assert exchange >> logout(immediate=False)  # waits for CmdSN 1
    assert exchange >> nop_out(cmd_sn=1) << like(NOPIn) << like(LogoutResponse, response=0)


def test_outside_the_window_even_then_nothing_is_said():
    assert leaving() >> read_10(cmd_sn=5000)


def test_what_is_under_way_may_end():
    exchange = log_in() >> write_10(blocks=8)
    tag = exchange._tag
    transfer = exchange.next()
    assert isinstance(transfer, ReadyToTransfer)
    notices(exchange).request_logout(10, exchange.now)
    exchange.collect() << like(AsyncMessage)
    exchange >> SCSIDataOut(
        initiator_task_tag=tag, target_transfer_tag=transfer.target_transfer_tag, final=True, data=bytes(4096)
    )
    assert exchange << like(SCSIResponse, status=0)
    assert exchange >> task_management(5, immediate=True) << like(TaskManagementResponse, response=0)


def test_a_held_command_is_rejected_when_its_turn_comes():
    exchange = log_in() >> read_10(cmd_sn=2)
    notices(exchange).request_logout(10, exchange.now)
    exchange.collect() << like(AsyncMessage)
    assert exchange >> nop_out(cmd_sn=1) << like(NOPIn) << rejected(WAITING, exp_cmd_sn=2)


def test_asking_again_moves_the_time():
    exchange = leaving()
    notices(exchange).request_logout(14, exchange.now)
    exchange.collect() << like(AsyncMessage, parameter_3=14)
    assert not exchange.wait(13).connection.closing
    assert exchange.wait(1) << like(AsyncMessage, async_event=2) << ended("no logout within 14 s")


@pytest.mark.parametrize("time_s", [-1, 65536])
def test_a_time_that_no_field_holds_is_refused(time_s):
    exchange = log_in()
    with pytest.raises(LocalProtocolError, match="not 0 to 65535"):
        notices(exchange).request_logout(time_s, exchange.now)
    assert exchange.collect() >> read_10() << like(SCSIDataIn)


def test_dropping_says_which_connection_and_ends_the_session():
    entity = make_entity()
    exchange = log_in(entity)
    notices(exchange).drop("enough")
    assert exchange.collect() << like(AsyncMessage, async_event=2, parameter_1=0) << ended("enough")
    assert not entity.sessions
