"""Aborts by another nexus and by CHECK CONDITION: with or without a status, and who is told."""

from dataclasses import replace

import pytest
from exchanges.ladder import (
    ISID,
    Exchange,
    command,
    data_out,
    like,
    log_in,
    lun,
    make_entity,
    nop_out,
    read_10,
    task_management,
    test_unit_ready,
    unit_of,
    write_10,
)
from exchanges.open_tasks import ON_A_UNIT, R2T_ONLY, Function, attentions, done, writing

from iscsim.pdu import (
    RESERVED_TAG,
    AsyncEvent,
    AsyncMessage,
    SCSIResponse,
)
from iscsim.scsi.mode_pages import ControlPage
from iscsim.scsi.status import Status
from iscsim.scsi.unit_attention import UnitAttention
from iscsim.target.policy import RFC
from iscsim.target.task_management import abort_tasks_of

# -- aborts of another nexus (SAM-5, TAS and QERR of the Control mode page) ------------------------


def aborted_status(tag: int = 1) -> object:
    return like(SCSIResponse, status=Status.TASK_ABORTED, initiator_task_tag=tag, data=b"")


@pytest.fixture
def entity():
    """A target whose first unit has TAS set."""
    entity = make_entity()
    unit_of(entity).task_aborted_status = True
    return entity


@pytest.mark.parametrize("function", [Function.CLEAR_TASK_SET, Function.LOGICAL_UNIT_RESET])
def test_with_tas_tasks_that_another_nexus_aborts_end_with_task_aborted(entity, function):
    other, (tag,) = writing(entity, isid=bytes(6))
    assert log_in(entity) >> task_management(function) << done()
    assert other.collect()
    assert other >> data_out(1, 0, bytes(1024), target_transfer_tag=tag) << aborted_status()
    assert UnitAttention.COMMANDS_CLEARED not in attentions(other)
    window = other.session.window
    assert (len(other.session.tasks), window.max_cmd_sn - window.exp_cmd_sn + 1) == (0, window.size)


def test_with_tas_one_s_own_tasks_end_without_a_status(entity):
    exchange, (tag,) = writing(entity)
    assert exchange >> task_management(Function.LOGICAL_UNIT_RESET) << done()
    assert exchange >> data_out(1, 0, bytes(1024), target_transfer_tag=tag)


def test_with_tas_a_task_without_data_on_its_way_is_answered_at_once(entity):
    other, _ = writing(entity, isid=bytes(6))
    assert other >> read_10(initiator_task_tag=2, task_attribute=2)
    woken = []
    other.connection.wake = lambda: woken.append(True)
    assert log_in(entity) >> task_management(Function.CLEAR_TASK_SET) << done()
    assert woken
    assert other.collect() << aborted_status(2)
    assert not entity.task_sets.restricted


def test_with_tas_a_task_aborted_twice_is_answered_once(entity):
    other, (tag,) = writing(entity, isid=bytes(6))
    exchange = log_in(entity)
    for _ in range(2):
        exchange >> task_management(Function.CLEAR_TASK_SET) << done()
    assert other.collect() >> data_out(1, 0, bytes(1024), target_transfer_tag=tag) << aborted_status()


def test_with_tas_a_command_that_was_refused_keeps_its_status():
    entity = make_entity(replace(RFC, task_set_size=1))
    unit_of(entity).task_aborted_status = True
    other = log_in(entity, {"InitialR2T": "No"}, isid=bytes(6)) >> write_10(final=False)
    assert other >> write_10(final=False, initiator_task_tag=2)
    assert log_in(entity) >> task_management(Function.CLEAR_TASK_SET) << done()
    assert other.collect() >> data_out(2, 0, bytes(512)) << like(SCSIResponse, status=Status.TASK_SET_FULL)


def test_with_tas_its_own_nexus_can_still_abort_it(entity):
    other, (tag,) = writing(entity, isid=bytes(6))
    log_in(entity) >> task_management(Function.CLEAR_TASK_SET) << done()
    other >> task_management(Function.ABORT_TASK, referenced_task_tag=1) << done()
    assert other >> data_out(1, 0, bytes(1024), target_transfer_tag=tag)


def test_preempt_and_abort_ends_the_tasks_of_the_nexuses_it_names(entity):
    first, (tag,) = writing(entity, isid=bytes(6))
    second, _ = writing(entity, isid=bytes(5) + b"\1")
    exchange = log_in(entity)
    abort_tasks_of(entity, unit_of(entity), [first.session.nexus], exchange.connection)
    assert first >> data_out(1, 0, bytes(1024), target_transfer_tag=tag) << aborted_status()
    assert not second.session.tasks[1].status
    assert attentions(first) == []


@pytest.mark.parametrize("error_management, ends", [(0, []), (1, ["own", "other"]), (3, ["own"])])
def test_a_check_condition_aborts_what_qerr_says(error_management, ends):
    entity = make_entity()
    unit_of(entity).queue_error_management = error_management
    other, _ = writing(entity, isid=bytes(6))
    exchange, _ = writing(entity)
    bad = command(b"\xff")
    assert exchange >> bad << like(SCSIResponse, status=Status.CHECK_CONDITION)
    found = {"own": exchange.session.tasks[1].aborted, "other": other.session.tasks[1].aborted}
    assert [name for name, aborted in found.items() if aborted] == ends
    assert attentions(other) == ([UnitAttention.COMMANDS_CLEARED] if "other" in ends else [])


def test_a_check_condition_of_an_unknown_lun_aborts_nothing():
    exchange, _ = writing()
    unit_of(exchange.session.entity).queue_error_management = 1
    assert exchange >> test_unit_ready(lun=lun(9)) << like(SCSIResponse, status=Status.CHECK_CONDITION)
    assert not exchange.session.tasks[1].aborted


# -- FastAbort (RFC 7143 section 4.2.3.4) ----------------------------------------------------------

FAST_ABORT = R2T_ONLY | {"TaskReporting": "FastAbort"}


def terminated(**fields: object) -> object:
    return like(AsyncMessage, async_event=AsyncEvent.ALL_TASKS_TERMINATED, **fields)


def fast_writing(entity=None, isid: bytes = ISID) -> tuple[Exchange, int]:
    exchange = log_in(entity, FAST_ABORT, isid=isid)
    return exchange, (exchange >> write_10(blocks=2)).next().target_transfer_tag


@pytest.mark.parametrize("function", ON_A_UNIT)
def test_with_fast_abort_no_function_waits_for_data(function):
    exchange, tag = fast_writing()
    assert exchange >> task_management(function) << done()
    assert exchange >> data_out(1, 0, bytes(1024), target_transfer_tag=tag)  # its tag stays valid


def test_with_fast_abort_other_sessions_hear_of_it_and_say_when_no_data_comes_any_more():
    entity = make_entity()
    other, _ = fast_writing(entity, bytes(6))
    assert log_in(entity) >> task_management(Function.LOGICAL_UNIT_RESET) << done()
    stat_sn = other.connection.stat_sn - 1
    assert other.collect() << terminated(lun=lun(0), stat_sn=stat_sn)
    ping = {"initiator_task_tag": RESERVED_TAG, "immediate": True}
    assert other >> nop_out(lun=lun(0), exp_stat_sn=stat_sn, **ping)  # older
    assert other >> nop_out(lun=lun(1), exp_stat_sn=stat_sn + 1, **ping)  # another LUN
    assert other.session.tasks
    assert other >> nop_out(lun=lun(0), exp_stat_sn=stat_sn + 1, **ping)
    assert not any((other.session.tasks, other.session.terminations))


def test_with_fast_abort_and_tas_the_status_does_not_wait_for_data(entity):
    other, tag = fast_writing(entity, bytes(6))
    assert log_in(entity) >> task_management(Function.CLEAR_TASK_SET) << done()
    assert other.collect() << aborted_status() << terminated()
    assert other >> data_out(1, 0, bytes(1024), target_transfer_tag=tag)


def test_sessions_without_fast_abort_get_no_such_message():
    """RFC 7143 section 4.2.3.5."""
    entity = make_entity()
    other, _ = writing(entity, isid=bytes(6))
    exchange, _ = fast_writing(entity)
    assert exchange >> task_management(Function.LOGICAL_UNIT_RESET) << done()
    assert other.collect()


def test_what_nobody_acknowledges_does_not_pile_up():
    entity = make_entity()
    other, tag = fast_writing(entity, bytes(6))
    exchange = log_in(entity)
    for number in range(2, 6):
        exchange >> task_management(Function.CLEAR_TASK_SET) << done()
        other.collect() >> data_out(number - 1, 0, bytes(1024), target_transfer_tag=tag)
        other.session.nexus.unit_attentions.clear()
        other.answers.clear()
        tag = (other >> write_10(blocks=2, initiator_task_tag=number)).next().target_transfer_tag
    assert len(other.session.terminations) <= 1


# -- as hosts set it ---------------------------------------------------------------------------------


def mode_select(page: bytes):
    data = bytes(4) + page
    cdb = bytes([0x15, 0x10, 0, 0, len(data), 0])
    return command(cdb, write=True, expected_data_transfer_length=len(data), data=data)


def test_mode_select_turns_tas_and_qerr_on():
    entity = make_entity()
    exchange = log_in(entity)
    page = ControlPage(task_aborted_status=True, queue_error_management=1).encode()
    assert exchange >> mode_select(page) << like(SCSIResponse, status=0)
    other = log_in(entity, isid=bytes(6)) >> write_10(lun=lun(0), task_attribute=2, final=False)
    assert other >> read_10(initiator_task_tag=2)
    assert exchange >> command(b"\xff", task_attribute=3) << like(SCSIResponse, status=Status.CHECK_CONDITION)
    assert other.collect() << aborted_status(2)
    assert other >> data_out(1, 0, bytes(512)) << aborted_status(1)
