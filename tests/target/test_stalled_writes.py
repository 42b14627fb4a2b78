"""Writes whose data does not come, or not all of it: they change nothing and keep nobody waiting."""

from dataclasses import replace

import pytest
from exchanges.ladder import (
    Exchange,
    data_out,
    ended,
    like,
    log_in,
    make_entity,
    read_10,
    task_management,
    unit_of,
    write_10,
)

from iscsim.pdu import (
    ReadyToTransfer,
    SCSIDataIn,
    SCSIResponse,
    TaskManagementFunction,
    TaskManagementResponse,
)
from iscsim.target.policy import RFC

R2T_ONLY = {"InitialR2T": "Yes", "ImmediateData": "No"}
ALL_UNSOLICITED = {"InitialR2T": "No", "ImmediateData": "Yes", "FirstBurstLength": "1024"}


def stored(exchange: Exchange, blocks: int) -> bytes:
    return bytes(unit_of(exchange.session.entity).read(0, blocks))


# -- connections that die --------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", range(4))
def test_a_write_whose_connection_dies_before_its_data_is_complete_changes_no_byte(pieces):
    exchange = log_in(keys=R2T_ONLY) >> write_10(blocks=4)
    tag = exchange.next().target_transfer_tag
    for number in range(pieces + 1):
        pdu = data_out(
            1, number * 512, b"x" * 512, target_transfer_tag=tag, data_sn=number, final=number == 3
        )
        wire = exchange.wire(pdu)
        exchange >> (wire if number < pieces else wire[:-1])
    exchange.connection.connection_lost()
    assert not exchange.session.tasks
    assert stored(exchange, 4) == bytes(2048)


def test_a_write_that_was_answered_is_in_the_store_when_the_connection_dies_at_once():
    exchange = log_in(keys=R2T_ONLY) >> write_10(blocks=2)
    tag = exchange.next().target_transfer_tag
    exchange.connection.receive_data(
        exchange.wire(data_out(1, 0, b"x" * 1024, target_transfer_tag=tag)), exchange.now
    )
    exchange.connection.connection_lost()
    assert exchange.collect() << like(SCSIResponse, status=0)
    assert stored(exchange, 2) == b"x" * 1024


# -- data that does not come -----------------------------------------------------------------------

PATIENT = replace(RFC, nop_in_interval_s=0.0)


@pytest.mark.parametrize("fields", [{}, {"final": False}], ids=["asked for", "unsolicited"])
def test_a_write_whose_data_does_not_come_ends_its_session_and_lets_others_go_on(fields):
    entity = make_entity(PATIENT)
    keys = R2T_ONLY if not fields else ALL_UNSOLICITED
    stalled, other = log_in(entity, keys, isid=bytes(6)), log_in(entity)
    stalled >> write_10(task_attribute=2, **fields)
    assert other >> read_10()
    stalled.answers.clear()
    assert stalled.wait(59.5)
    assert not stalled.connection.closing
    assert stalled.wait(1.0) << ended("a write without its data for 60 s")
    assert other.collect() << like(SCSIDataIn)


def test_a_slow_write_has_time_for_each_piece():
    exchange = log_in(make_entity(PATIENT), R2T_ONLY) >> write_10(blocks=4)
    tag = exchange.next().target_transfer_tag
    for number in range(3):
        assert exchange.wait(50.0)
        assert exchange >> data_out(
            1, number * 512, bytes(512), data_sn=number, target_transfer_tag=tag, final=False
        )
    exchange.wait(50.0) >> data_out(1, 1536, bytes(512), data_sn=3, target_transfer_tag=tag)
    assert exchange << like(SCSIResponse, status=0)
    assert exchange.wait(200.0)
    assert not exchange.connection.closing


def test_data_of_an_aborted_write_need_not_come():
    exchange = log_in(make_entity(PATIENT), R2T_ONLY) >> write_10() << like(ReadyToTransfer)
    abort = task_management(TaskManagementFunction.ABORT_TASK, referenced_task_tag=1)
    assert exchange >> abort << like(TaskManagementResponse)
    assert exchange.wait(100.0)
    assert not exchange.connection.closing


def test_data_may_be_waited_for_without_end():
    policy = replace(PATIENT, data_out_timeout_s=0.0)
    exchange = log_in(make_entity(policy), R2T_ONLY) >> write_10() << like(ReadyToTransfer)
    assert exchange.wait(10_000.0)
    assert not exchange.connection.closing
