"""Task management functions: what each one ends, what it waits for, whom it tells."""

from dataclasses import replace

import pytest
from exchanges.ladder import (
    data_out,
    ended,
    like,
    log_in,
    lun,
    make_entity,
    nop_out,
    read_10,
    rejected,
    task_management,
    test_unit_ready,
    unit_of,
    write_10,
)
from exchanges.open_tasks import ON_A_UNIT, R2T_ONLY, RESETS, SETS, Code, Function, attentions, done, writing
from marks import rfc

from iscsim.pdu import (
    NOPIn,
    ReadyToTransfer,
    RejectReason,
    SCSIDataIn,
    SCSIResponse,
    TaskAttribute,
)
from iscsim.scsi.status import Status
from iscsim.scsi.unit_attention import UnitAttention
from iscsim.target.policy import RFC
from iscsim.target.task_management import _SCSI_NAMES, SUPPORTED

# -- ABORT TASK (RFC 7143 section 11.6.1) ----------------------------------------------------------


def test_abort_task_ends_a_write_without_a_response_and_swallows_its_data():
    exchange, (tag,) = writing()
    assert exchange >> task_management(Function.ABORT_TASK, referenced_task_tag=1) << done()
    assert exchange >> data_out(1, 0, bytes(1024), target_transfer_tag=tag)
    assert not exchange.session.tasks


def test_abort_task_on_another_unit_finds_nothing():
    exchange, _ = writing()
    abort = task_management(Function.ABORT_TASK, referenced_task_tag=1, lun=lun(1))
    assert exchange >> abort << done(Code.TASK_DOES_NOT_EXIST)
    assert exchange.session.tasks


def test_abort_task_of_a_command_that_is_done_finds_nothing():
    exchange = log_in() >> read_10() << like(SCSIDataIn)
    abort = task_management(Function.ABORT_TASK, referenced_task_tag=1, ref_cmd_sn=1)
    assert exchange >> abort << done(Code.TASK_DOES_NOT_EXIST)


def test_abort_task_twice_finds_nothing_the_second_time():
    exchange, _ = writing()
    exchange >> task_management(Function.ABORT_TASK, referenced_task_tag=1) << done()
    assert (
        exchange
        >> task_management(Function.ABORT_TASK, referenced_task_tag=1, ref_cmd_sn=1)
        << done(Code.TASK_DOES_NOT_EXIST)
    )


@rfc("7143", "11.6.1", row=51)
def test_abort_task_of_a_command_that_waits_takes_its_number_as_received():
    exchange = log_in() >> write_10(cmd_sn=2, initiator_task_tag=9, final=False) >> data_out(9, data=b"x")
    exchange >> read_10(cmd_sn=3)
    exchange.cmd_sn = 4
    assert (
        exchange
        >> task_management(Function.ABORT_TASK, referenced_task_tag=9, ref_cmd_sn=2)
        << done(exp_cmd_sn=1)
    )
    assert exchange >> nop_out(cmd_sn=1) << like(NOPIn, exp_cmd_sn=2) << like(SCSIDataIn, exp_cmd_sn=4)


@rfc("7143", "11.6.1", row=51)
def test_abort_task_of_a_command_that_never_came_fills_its_place():
    exchange = log_in() >> read_10(cmd_sn=2)
    exchange.cmd_sn = 3
    abort = task_management(Function.ABORT_TASK, referenced_task_tag=77, ref_cmd_sn=1)
    assert exchange >> abort << like(SCSIDataIn, exp_cmd_sn=3) << done(exp_cmd_sn=3, max_cmd_sn=130)


def test_abort_task_of_any_request_that_waits_takes_its_number_as_received():
    """RFC 7143 section 11.5.1: functions apply to tasks whether they are SCSI's or iSCSI's."""
    exchange = log_in() >> nop_out(cmd_sn=2, initiator_task_tag=9)
    exchange.cmd_sn = 3
    abort = task_management(Function.ABORT_TASK, referenced_task_tag=9, ref_cmd_sn=2)
    assert exchange >> abort << done(exp_cmd_sn=1)
    assert exchange >> read_10(cmd_sn=1) << like(SCSIDataIn, exp_cmd_sn=2)
    assert exchange.session.window.exp_cmd_sn == 3


def test_abort_task_of_an_immediate_command():
    """RFC 7143 section 11.5.5: RefCmdSN is then the CmdSN of the request itself."""
    exchange = log_in(keys=R2T_ONLY) >> write_10(immediate=True, initiator_task_tag=9)
    exchange << like(ReadyToTransfer)
    abort = task_management(Function.ABORT_TASK, referenced_task_tag=9, ref_cmd_sn=1, cmd_sn=1)
    assert exchange >> abort << done()
    assert exchange.session.tasks[9].aborted


@pytest.mark.parametrize("function", [Function.ABORT_TASK, Function.TASK_REASSIGN])
def test_a_function_that_waits_for_commands_cannot_be_aborted(function):
    """RFC 7143 section 11.5.1: such a request MUST be answered Function rejected."""
    exchange = log_in()
    exchange.cmd_sn = 2
    exchange >> task_management(Function.ABORT_TASK_SET, initiator_task_tag=50)
    assert exchange >> task_management(function, referenced_task_tag=50) << done(Code.FUNCTION_REJECTED)
    assert exchange >> nop_out(cmd_sn=1) << like(NOPIn) << done(initiator_task_tag=50)


def test_a_function_that_waits_for_its_turn_cannot_be_aborted():
    exchange = log_in()
    exchange >> task_management(Function.ABORT_TASK_SET, initiator_task_tag=50, immediate=False, cmd_sn=2)
    abort = task_management(Function.ABORT_TASK, referenced_task_tag=50, ref_cmd_sn=2, cmd_sn=3)
    assert exchange >> abort << done(Code.FUNCTION_REJECTED)


def test_a_function_that_waits_for_data_cannot_be_aborted():
    exchange, _ = writing()
    exchange >> task_management(Function.ABORT_TASK_SET, initiator_task_tag=50)
    abort = task_management(Function.ABORT_TASK, referenced_task_tag=50)
    assert exchange >> abort << done(Code.FUNCTION_REJECTED)


def test_abort_task_knows_the_unit_under_another_spelling_of_its_lun():
    exchange, _ = writing(units=(1,))
    flat = b"\x40\x01" + bytes(6)
    assert exchange >> task_management(Function.ABORT_TASK, referenced_task_tag=1, lun=flat) << done()


def test_abort_task_on_a_lun_that_is_not_there():
    abort = task_management(Function.ABORT_TASK, referenced_task_tag=77, lun=lun(9), ref_cmd_sn=500)
    assert log_in() >> abort << done(Code.LUN_DOES_NOT_EXIST)


@rfc("7143", "11.6.1", row=51)
@pytest.mark.parametrize("ref_cmd_sn", [0, 3, 4, 500])
def test_abort_task_of_a_number_outside_the_window_or_not_before_it_finds_nothing(ref_cmd_sn):
    exchange = log_in()
    exchange.cmd_sn = 3
    assert (
        exchange
        >> task_management(Function.ABORT_TASK, referenced_task_tag=77, ref_cmd_sn=ref_cmd_sn)
        << done(Code.TASK_DOES_NOT_EXIST)
    )


def test_abort_task_and_data_pass_over_places_that_are_plugged():
    """A plugged place has no command in it: neither a search by tag nor late data may trip over it."""
    exchange = log_in()
    exchange.cmd_sn = 9
    exchange >> task_management(Function.ABORT_TASK, referenced_task_tag=77, ref_cmd_sn=5) << done()
    exchange >> task_management(Function.ABORT_TASK, referenced_task_tag=78, ref_cmd_sn=6) << done()
    assert exchange >> data_out(77) << rejected(RejectReason.INVALID_PDU_FIELD)
    assert exchange >> read_10(cmd_sn=5)  # comes too late
    for number in range(1, 5):
        exchange >> nop_out(cmd_sn=number) << like(NOPIn)
    assert exchange.session.window.exp_cmd_sn == 7


def test_a_plug_does_not_widen_what_one_piece_may_do():
    exchange = log_in()
    exchange.cmd_sn = 200
    beyond = task_management(Function.ABORT_TASK, referenced_task_tag=77, ref_cmd_sn=129)
    exchange.send(*(nop_out(cmd_sn=number) for number in range(1, 129)), beyond, nop_out(cmd_sn=130))
    assert [type(answer).__name__ for answer in exchange.answers][-2:] == ["NOPIn", "TaskManagementResponse"]
    assert exchange.answers.pop().response == Code.TASK_DOES_NOT_EXIST


# -- functions on a unit ---------------------------------------------------------------------------


@pytest.mark.parametrize("function", ON_A_UNIT)
def test_a_unit_that_is_not_there(function):
    assert log_in() >> task_management(function, lun=lun(9)) << done(Code.LUN_DOES_NOT_EXIST)


@rfc("7143", "E.1", row=62)
@pytest.mark.parametrize("function", ON_A_UNIT)
def test_only_the_tasks_of_the_unit_end(function):
    exchange, (first, second) = writing(units=(0, 1))
    exchange >> task_management(function, lun=lun(0))
    exchange >> data_out(1, 0, bytes(1024), target_transfer_tag=first)
    assert exchange << done()
    late = data_out(2, 0, bytes(1024), target_transfer_tag=second, lun=lun(1))
    assert exchange >> late << like(SCSIResponse, status=0)


@rfc("7143", "4.2.3.3", row=(50, 53))
@pytest.mark.parametrize("function", SETS)
def test_abort_and_clear_task_set_wait_for_the_data_that_was_asked_for(function):
    """RFC 7143 section 11.5.1: the target MUST wait for responses on all affected transfer tags."""
    exchange, (first, second) = writing(units=(0, 0))
    assert exchange >> task_management(function, initiator_task_tag=50)
    assert exchange >> data_out(1, 0, bytes(512), target_transfer_tag=first, final=False)
    assert exchange >> data_out(2, 0, bytes(8), target_transfer_tag=second)
    assert exchange >> read_10() << like(SCSIDataIn)
    exchange >> data_out(1, 512, b"", target_transfer_tag=first, data_sn=1)
    assert exchange << done(initiator_task_tag=50)
    assert not exchange.session.fences


def test_a_second_function_does_not_wait_for_the_tasks_of_the_first():
    exchange, (tag,) = writing()
    assert exchange >> task_management(Function.ABORT_TASK_SET, initiator_task_tag=50)
    assert (
        exchange
        >> task_management(Function.ABORT_TASK_SET, initiator_task_tag=51)
        << done(initiator_task_tag=51)
    )
    assert exchange >> data_out(1, 0, bytes(1024), target_transfer_tag=tag) << done(initiator_task_tag=50)


def test_a_new_command_with_the_tag_of_an_aborted_one_ends_the_wait_for_it():
    exchange, _ = writing()
    assert exchange >> task_management(Function.ABORT_TASK_SET, initiator_task_tag=50)
    assert exchange >> read_10(initiator_task_tag=1) << done(initiator_task_tag=50) << like(SCSIDataIn)


def test_aborted_tasks_whose_data_never_comes_are_forgotten_in_the_end():
    exchange = log_in(keys=R2T_ONLY)
    size = exchange.session.window.size
    for number in range(size + 20):
        exchange >> write_10(initiator_task_tag=1000 + number)
        exchange >> task_management(Function.ABORT_TASK, referenced_task_tag=1000 + number)
        exchange << like(ReadyToTransfer) << done()
    assert exchange
    assert len(exchange.session.tasks) == size


def test_aborted_immediate_writes_do_not_count_as_immediate_tasks():
    exchange = log_in(keys=R2T_ONLY)
    for number in range(20):
        exchange >> write_10(immediate=True, initiator_task_tag=number) << like(ReadyToTransfer)
        exchange >> task_management(Function.ABORT_TASK, referenced_task_tag=number) << done()
    assert exchange


@pytest.mark.parametrize("function", [Function.LOGICAL_UNIT_RESET, Function.TARGET_WARM_RESET])
def test_a_reset_does_not_wait_for_data(function):
    """Linux stops sending data when it resets (FastAbort=Yes in iscsid.conf)."""
    exchange, (tag,) = writing()
    assert exchange >> task_management(function) << done()
    assert exchange >> data_out(1, 0, bytes(1024), target_transfer_tag=tag)


# -- functions and the order of commands (RFC 7143 section 4.2.3.3) --------------------------------


@rfc("7143", "4.2.3.3", row=53)
@pytest.mark.parametrize("function", ON_A_UNIT)
def test_an_immediate_function_waits_for_the_commands_before_it(function):
    exchange = log_in(keys=R2T_ONLY)
    exchange.cmd_sn = 3
    assert exchange >> task_management(function, initiator_task_tag=50)
    assert exchange >> write_10(cmd_sn=2, initiator_task_tag=5)
    exchange >> nop_out(cmd_sn=1) << like(NOPIn)
    tag = exchange.next().target_transfer_tag
    if function in SETS:
        exchange >> data_out(5, 0, bytes(512), target_transfer_tag=tag)
    assert exchange << done(exp_cmd_sn=3, initiator_task_tag=50)


def test_a_function_that_waits_acts_before_the_command_of_its_own_number():
    exchange = log_in()
    exchange.cmd_sn = 2
    exchange >> task_management(Function.CLEAR_TASK_SET) >> read_10(cmd_sn=2)
    assert exchange >> nop_out(cmd_sn=1) << like(NOPIn) << done(exp_cmd_sn=2) << like(SCSIDataIn)


def test_a_function_may_wait_at_the_very_end_of_the_window():
    exchange = log_in()
    exchange.cmd_sn = 129
    assert exchange >> task_management(Function.LOGICAL_UNIT_RESET)
    for number in range(1, 128):
        exchange >> nop_out(cmd_sn=number) << like(NOPIn)
    assert exchange >> nop_out(cmd_sn=128) << like(NOPIn) << done()


@pytest.mark.parametrize("cmd_sn", [0, 130, 0x80000000])
def test_a_function_with_a_number_nothing_can_lead_to_acts_at_once(cmd_sn):
    assert log_in() >> task_management(Function.LOGICAL_UNIT_RESET, cmd_sn=cmd_sn) << done()


def test_functions_that_wait_are_bounded():
    exchange = log_in()
    exchange.cmd_sn = 5
    for _ in range(8):
        assert exchange >> task_management(Function.ABORT_TASK_SET)
    assert (
        exchange
        >> task_management(Function.ABORT_TASK_SET)
        << rejected(RejectReason.IMMEDIATE_COMMAND_REJECT)
    )


def test_a_function_in_its_turn_acts_at_once():
    exchange, _ = writing()
    assert exchange >> task_management(Function.LOGICAL_UNIT_RESET, immediate=False) << done(exp_cmd_sn=3)


def test_a_target_reset_takes_what_has_not_come_as_received():
    exchange = log_in() >> write_10(cmd_sn=2, data=b"x" * 512)
    exchange.cmd_sn = 4
    assert exchange >> task_management(Function.TARGET_WARM_RESET) << done(exp_cmd_sn=4)
    assert bytes(unit_of(exchange.session.entity).read(0, 1)) == bytes(512)
    assert exchange >> nop_out() << like(NOPIn, exp_cmd_sn=5, max_cmd_sn=132)


# -- other sessions --------------------------------------------------------------------------------


@rfc("7143", "4.2.3.3", row=50)
@pytest.mark.parametrize("function", [Function.CLEAR_TASK_SET, Function.LOGICAL_UNIT_RESET, *RESETS])
def test_tasks_of_other_initiators_on_the_unit_end_too(function):
    entity = make_entity()
    other, _ = writing(entity, isid=bytes(6))
    exchange = log_in(entity)
    assert exchange >> task_management(function) << done()
    assert all(task.aborted for task in other.session.tasks.values())


@rfc("7143", "4.2.3.3", row=50)
def test_abort_task_set_leaves_other_initiators_alone():
    entity = make_entity()
    other, (tag,) = writing(entity, isid=bytes(6))
    assert log_in(entity) >> task_management(Function.ABORT_TASK_SET) << done()
    assert other >> data_out(1, 0, bytes(1024), target_transfer_tag=tag) << like(SCSIResponse, status=0)


def test_who_loses_commands_to_clear_task_set_hears_of_it():
    entity = make_entity()
    other, _ = writing(entity, isid=bytes(6))
    idle = log_in(entity, isid=bytes(5) + b"\1")
    assert log_in(entity) >> task_management(Function.CLEAR_TASK_SET) << done()
    assert (attentions(other), attentions(idle)) == ([UnitAttention.COMMANDS_CLEARED], [])
    other >> test_unit_ready()
    assert other.next().status == Status.CHECK_CONDITION


@pytest.mark.parametrize("function", [Function.LOGICAL_UNIT_RESET, Function.TARGET_WARM_RESET])
def test_everybody_hears_of_a_reset(function):
    entity = make_entity()
    other = log_in(entity, isid=bytes(6))
    exchange = log_in(entity)
    exchange >> task_management(function) << done()
    assert attentions(exchange) == attentions(other) == [UnitAttention.BUS_DEVICE_RESET]
    assert bool(attentions(other, 1)) == (function == Function.TARGET_WARM_RESET)


def test_room_that_an_abort_frees_in_another_session_is_used_there():
    entity = make_entity()
    other, _ = writing(entity, units=(0,), isid=bytes(6))
    other.connection.commands._room._size = 1
    assert other >> write_10(blocks=2, lun=lun(1))  # waits for room
    woken = []
    other.connection.wake = lambda: woken.append(True)
    assert log_in(entity) >> task_management(Function.LOGICAL_UNIT_RESET) << done()
    assert woken
    assert other.collect() << like(ReadyToTransfer, lun=lun(1))


# -- the rest --------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [0, Function.CLEAR_ACA, 9, 127])
def test_other_functions_are_not_supported(function):
    assert log_in() >> task_management(function) << done(Code.FUNCTION_NOT_SUPPORTED)


def test_a_task_cannot_be_reassigned():
    assert (
        log_in()
        >> task_management(Function.TASK_REASSIGN)
        << done(Code.TASK_ALLEGIANCE_REASSIGNMENT_NOT_SUPPORTED)
    )


def test_a_cold_reset_ends_the_sessions_of_its_node_only():
    entity = make_entity()
    entity.add_target("iqn.2026-11.org.iscsim:other").add_portal(entity.portals[0])
    other = log_in(entity, {"TargetName": "iqn.2026-11.org.iscsim:other"})
    exchange = log_in(entity) >> task_management(Function.TARGET_COLD_RESET)
    assert exchange << done() << ended("target cold reset")
    assert other >> nop_out() << like(NOPIn)


@pytest.mark.parametrize("function", Function)
def test_what_is_reported_as_supported_is_what_is_carried_out(function):
    """Of the functions SCSI has a name for, no more and no fewer than the table has."""
    name = _SCSI_NAMES.get(function)
    exchange = log_in() >> task_management(function, immediate=True)
    known = exchange.next().response != Code.FUNCTION_NOT_SUPPORTED
    assert name is None or bool(SUPPORTED & name) == known


def test_a_reset_in_a_small_window_ends_more_tasks_than_are_waited_for():
    """Found by make fuzz: a window of one waits for one aborted task; the other two are buried meanwhile."""
    entity = make_entity(replace(RFC, command_window=1))
    exchange = log_in(entity, R2T_ONLY)
    exchange >> write_10(lun=lun(1), immediate=True) << like(ReadyToTransfer)
    exchange >> read_10(lun=lun(1), immediate=True, task_attribute=TaskAttribute.ORDERED)
    exchange >> write_10(lun=lun(0), immediate=True) << like(ReadyToTransfer)
    assert len(exchange.session.tasks) == 3
    assert exchange >> task_management(Function.TARGET_WARM_RESET, immediate=True) << done()
    assert len(exchange.session.tasks) <= 1
