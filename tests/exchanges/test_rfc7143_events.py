"""What RFC 7143 asks of a target that speaks unasked, takes a connection again, or aborts fast."""

from __future__ import annotations

from typing import Any

import pytest
from exchanges.ladder import (
    Exchange,
    connect,
    data_out,
    ended,
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
    write_10,
)
from marks import rfc

from iscsim.pdu import (
    AsyncEvent,
    AsyncMessage,
    LoginResponse,
    LogoutResponse,
    NOPIn,
    ReadyToTransfer,
    RejectReason,
    SCSIDataIn,
    SCSIResponse,
    TaskManagementFunction,
    TaskManagementResponse,
)
from iscsim.scsi.sense import Sense, SenseKey

Function = TaskManagementFunction
R2T_ONLY = {"InitialR2T": "Yes", "ImmediateData": "No"}


def message(event: int, **fields: Any) -> Any:
    return like(AsyncMessage, async_event=event, **fields)


# -- Asynchronous Messages -------------------------------------------------------------------------


@rfc("7143", "11.9.1", "11.9.4", row=56)
def test_a_scsi_event_has_its_lun_and_sense_data_and_uses_stat_sn_up():
    exchange = log_in()
    stat_sn = exchange.connection.stat_sn
    sense = Sense(SenseKey.UNIT_ATTENTION, 0x3F, 0x0E).encode()
    exchange.connection.notices.send(AsyncEvent.SCSI_EVENT, lun=lun(1), sense=sense)
    told = message(0, lun=lun(1), stat_sn=stat_sn, data=SCSIResponse.sense_segment(sense))
    assert exchange.collect() << told
    assert exchange >> nop_out() << like(NOPIn, stat_sn=stat_sn + 1)


@rfc("7143", "11.9.1", "11.17.1", row=(27, 56))
def test_behind_a_request_for_a_logout_commands_are_rejected():
    exchange = log_in()
    exchange.connection.notices.request_logout(10, exchange.now)
    assert exchange.collect() << message(1, parameter_3=10)
    assert exchange >> read_10() << rejected(RejectReason.WAITING_FOR_LOGOUT)
    assert exchange >> logout() << like(LogoutResponse, response=0) << ended("^$")


@rfc("7143", "11.9.1", row=56)
def test_a_logout_that_does_not_come_in_time_drops_the_connection():
    exchange = log_in()
    exchange.connection.notices.request_logout(10, exchange.now)
    exchange.collect() << message(1)
    assert exchange.wait(9.5).ended is None
    assert exchange.wait(1) << message(2, parameter_1=0, parameter_2=2) << ended("no logout within 10 s")


@rfc("7143", "11.9.1", row=56)
def test_a_session_that_is_dropped_is_told_so():
    exchange = log_in()
    exchange.session.drop("maintenance")
    assert exchange.collect() << message(3, parameter_2=2, parameter_3=0) << ended("maintenance")


@rfc("7143", "11.9.1", row=56)
def test_a_request_to_negotiate_says_how_long():
    exchange = log_in()
    exchange.connection.notices.request_negotiation(3)
    assert exchange.collect() << message(4, parameter_3=3)


@rfc("7143", "11.9.1", row=56)
def test_a_vendor_event_has_its_code_and_parameters():
    exchange = log_in()
    exchange.connection.notices.send(255, vendor_code=7, parameter_1=1, parameter_2=2, parameter_3=3)
    assert exchange.collect() << message(255, async_vcode=7, parameter_1=1, parameter_2=2, parameter_3=3)


# -- connection reinstatement ----------------------------------------------------------------------


def again(exchange: Exchange, **fields: Any) -> Exchange:
    """The same connection of the same session logs in again, over a new TCP connection."""
    old, entity = exchange.session, exchange.session.entity
    keys = {"SessionType": "Normal"}
    new = connect(entity, seed=2) >> login_request(
        keys, **({"tsih": old.tsih, "cid": 0, "cmd_sn": exchange.cmd_sn} | fields)
    )
    new.cmd_sn = exchange.cmd_sn
    return new


@rfc("7143", "6.3.1", "6.3.4", "E.1", row=(38, 62))
def test_a_connection_that_comes_again_takes_its_session_over():
    exchange = log_in(make_entity(), R2T_ONLY) >> write_10() << like(ReadyToTransfer)
    new = again(exchange) << like(LoginResponse, status_class=0, tsih=exchange.session.tsih)
    assert exchange << ended("reinstated")
    assert new.session is exchange.session
    assert not new.session.tasks
    new.session.nexus.unit_attentions.clear()
    assert new >> read_10() << like(SCSIDataIn, exp_cmd_sn=3)  # CmdSN goes on


@rfc("7143", "6.3.1", row=38)
@pytest.mark.parametrize("fields", [{"isid": bytes(6)}, {"tsih": 1}])
def test_another_isid_or_handle_names_no_session(fields: dict[str, Any]):
    exchange = log_in()
    refused = like(LoginResponse, status_class=2, status_detail=0x0A)
    assert again(exchange, **fields) << refused
    assert exchange >> read_10() << like(SCSIDataIn)


# -- FastAbort -------------------------------------------------------------------------------------


@rfc("7143", "4.2.3.4", "13.23", row=50)
def test_a_fast_abort_waits_for_no_data_and_leaves_the_transfer_tags_valid():
    offer = {"TaskReporting": "FastAbort,ResponseFence,RFC3720"}
    exchange = log_in(keys=R2T_ONLY | offer) >> write_10()
    tag = exchange.next().target_transfer_tag
    assert exchange >> task_management(Function.ABORT_TASK_SET) << like(TaskManagementResponse, response=0)
    assert exchange >> data_out(1, 0, bytes(512), target_transfer_tag=tag)


@rfc("7143", "4.2.3.4", "11.9.1", row=(50, 56))
def test_a_third_party_with_fast_abort_is_told_what_ended():
    entity = make_entity()
    offer = {"TaskReporting": "FastAbort,ResponseFence,RFC3720"}
    other = log_in(entity, R2T_ONLY | offer, isid=bytes(6)) >> write_10(lun=lun(1)) << like(ReadyToTransfer)
    reset = task_management(Function.LOGICAL_UNIT_RESET, lun=lun(1))
    assert log_in(entity) >> reset << like(TaskManagementResponse, response=0)
    assert other.collect() << message(5, lun=lun(1))


@rfc("7143", "11.6.1", row=51)
def test_a_function_that_waits_cannot_be_aborted():
    exchange = log_in()
    exchange.cmd_sn = 2
    exchange >> task_management(Function.ABORT_TASK_SET, initiator_task_tag=50)
    abort = task_management(Function.ABORT_TASK, referenced_task_tag=50)
    assert exchange >> abort << like(TaskManagementResponse, response=255)
