"""What each event clears: RFC 7143 Appendix E, as far as its rows occur at ErrorRecoveryLevel 0."""

import pytest
from exchanges.ladder import (
    Exchange,
    command,
    data_out,
    ended,
    like,
    log_in,
    logout,
    lun,
    make_entity,
    node_of,
    nop_out,
    task_management,
    test_unit_ready,
    unit_of,
    write_10,
)
from exchanges.open_tasks import Function, attentions, done, writing

from iscsim.pdu import (
    LogoutResponse,
    NOPIn,
    ReadyToTransfer,
    SCSIResponse,
)
from iscsim.scsi.status import Status
from iscsim.scsi.unit_attention import UnitAttention
from iscsim.target.node import Portal

# -- clearing effects (RFC 7143 Appendix E) --------------------------------------------------------


def held_write(exchange: Exchange) -> Exchange:
    """A command that waits for its turn."""
    return exchange >> write_10(cmd_sn=(exchange.cmd_sn + 1), initiator_task_tag=9, data=b"x" * 512)


def test_a_logical_unit_reset_leaves_commands_that_wait_for_their_turn():
    """Discontiguous commands: N, StatSN: N, CmdSN: N."""
    entity = make_entity()
    other = held_write(log_in(entity, isid=bytes(6)))
    assert log_in(entity) >> task_management(Function.LOGICAL_UNIT_RESET) << done()
    other.session.nexus.unit_attentions.clear()
    assert other >> nop_out(cmd_sn=1) << like(NOPIn) << like(SCSIResponse, status=0, initiator_task_tag=9)


def test_a_warm_reset_discards_commands_that_wait_for_their_turn():
    """Discontiguous commands: Y for all initiators, StatSN: N, CmdSN: N."""
    entity = make_entity()
    other = held_write(log_in(entity, isid=bytes(6)))
    stat_sn = other.connection.stat_sn
    assert log_in(entity) >> task_management(Function.TARGET_WARM_RESET) << done()
    assert other >> nop_out(cmd_sn=1) << like(NOPIn, exp_cmd_sn=2, stat_sn=stat_sn)
    assert other.session.window.exp_cmd_sn == 3
    assert bytes(unit_of(entity).read(0, 1)) == bytes(512)


@pytest.mark.parametrize("function", [Function.LOGICAL_UNIT_RESET, Function.TARGET_WARM_RESET])
def test_a_reset_clears_tasks_and_transfer_tags_of_all_initiators(function):
    """Incomplete transfer tags, immediate commands, connection and session tasks, data: Y."""
    entity = make_entity()
    other, (tag,) = writing(entity, isid=bytes(6))
    other >> write_10(immediate=True, initiator_task_tag=5) << like(ReadyToTransfer)
    other >> data_out(1, 0, b"x" * 512, target_transfer_tag=tag, final=False)
    assert log_in(entity) >> task_management(function) << done()
    assert other >> data_out(1, 512, b"x" * 512, target_transfer_tag=tag, data_sn=1)
    assert [task.aborted for task in other.session.tasks.values()] == [True]  # tag 5, whose data may come
    assert bytes(unit_of(entity).read(0, 2)) == bytes(1024)


def test_a_cold_reset_ends_all_sessions_at_all_portal_groups():
    """All of it: Y. RFC 7143 section 11.5.1: like switching on."""
    entity = make_entity()
    node_of(entity).add_portal(Portal("192.0.2.2"))
    other, _ = writing(entity, isid=bytes(6), portal=entity.portals[1])
    held_write(other)
    assert other.session.portal_group_tag == 2
    assert log_in(entity) >> task_management(Function.TARGET_COLD_RESET) << done() << ended("cold reset")
    assert other << ended("cold reset")
    assert not any((other.session.tasks, other.session.held, node_of(entity).sessions))
    again = log_in(entity, attentions=True)
    assert attentions(again) == [UnitAttention.POWER_ON_RESET]


def test_a_cold_reset_is_a_power_on_for_who_sees_the_units_through_another_target():
    entity = make_entity()
    elsewhere = entity.add_target("iqn.2026-11.org.iscsim:other")
    elsewhere.add_portal(entity.portals[0])
    elsewhere.add_lun(0, unit_of(entity))
    other = log_in(entity, {"TargetName": "iqn.2026-11.org.iscsim:other"})
    assert log_in(entity) >> task_management(Function.TARGET_COLD_RESET) << done()
    assert attentions(other) == [UnitAttention.POWER_ON]


@pytest.mark.parametrize("how", ["closure", "reinstatement", "failure"])
def test_the_end_of_a_session_clears_everything(how):
    """At ErrorRecoveryLevel 0 a connection failure is the end of its session, too."""
    entity = make_entity()
    exchange, (tag,) = writing(entity)
    session = exchange.session
    exchange >> data_out(1, 0, b"x" * 512, target_transfer_tag=tag, final=False)
    held_write(exchange)
    exchange >> write_10(immediate=True, initiator_task_tag=5, lun=lun(1))
    if how == "closure":
        exchange >> logout()
    elif how == "reinstatement":
        again = log_in(entity)
        assert (again.session.window.exp_cmd_sn, again.session is session) == (1, False)
    else:
        exchange.connection.connection_lost()
    assert not any((session.tasks, session.held, session.fences, len(entity.task_sets)))
    assert exchange.connection.closing
    assert bytes(unit_of(entity).read(0, 2)) == bytes(1024)


def test_a_failed_logout_clears_nothing():
    exchange, (tag,) = writing()
    exchange >> logout(1, cid=77)
    assert exchange << like(LogoutResponse, response=1)
    assert exchange >> data_out(1, 0, bytes(1024), target_transfer_tag=tag) << like(SCSIResponse, status=0)


@pytest.mark.parametrize("function", [Function.LOGICAL_UNIT_RESET, Function.TARGET_WARM_RESET])
def test_a_reset_ends_a_reserve(function):
    """RFC 7143 Appendix E.2 leaves it to SCSI, and SPC-2 says so."""
    entity = make_entity()
    exchange = log_in(entity)
    assert exchange >> command(b"\x16") << like(SCSIResponse, status=0)
    other = log_in(entity, isid=bytes(6))
    assert other >> test_unit_ready() << like(SCSIResponse, status=Status.RESERVATION_CONFLICT)
    assert other >> task_management(function) << done()
    other.session.nexus.unit_attentions.clear()
    assert other >> test_unit_ready() << like(SCSIResponse, status=0)
