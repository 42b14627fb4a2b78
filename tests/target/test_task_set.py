"""Task sets: the order that task attributes ask for, and how many commands may be open (SAM-5)."""

import random
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
from exchanges.ladder import (
    Exchange,
    data_out,
    like,
    log_in,
    logout,
    lun,
    make_entity,
    read_10,
    rejected,
    task_management,
    test_unit_ready,
    unit_of,
    write_10,
)

from iscsim.pdu import (
    LogoutResponse,
    ReadyToTransfer,
    RejectReason,
    SCSIDataIn,
    SCSIResponse,
    TaskAttribute,
    TaskManagementFunction,
    TaskManagementResponse,
)
from iscsim.scsi.asc import ASC
from iscsim.scsi.completion import Completion
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.unit_attention import UnitAttention
from iscsim.target.policy import RFC
from iscsim.target.task_set import TaskSet

R2T_ONLY = {"InitialR2T": "Yes", "ImmediateData": "No"}
UNSOLICITED = {"InitialR2T": "No", "ImmediateData": "Yes", "FirstBurstLength": "1024"}
SIMPLE = {"task_attribute": TaskAttribute.SIMPLE}
UNTAGGED = {"task_attribute": TaskAttribute.UNTAGGED}
ORDERED = {"task_attribute": TaskAttribute.ORDERED}
HEAD = {"task_attribute": TaskAttribute.HEAD_OF_QUEUE}
X, Y = b"x" * 512, b"y" * 512


def open_write(exchange: Exchange, tag: int = 1, **fields: object) -> int:
    """Begin a write of one block that waits for its data; the transfer tag of its R2T."""
    exchange >> write_10(initiator_task_tag=tag, **fields)
    return exchange.next().target_transfer_tag


def send_data(
    exchange: Exchange, transfer_tag: int, tag: int = 1, data: bytes = X, number: int = 0
) -> Exchange:
    return exchange >> data_out(tag, 0, data, target_transfer_tag=transfer_tag, lun=lun(number))


def sets(exchange: Exchange):
    return exchange.session.entity.task_sets


@pytest.fixture
def exchange() -> Exchange:
    return log_in(keys=R2T_ONLY)


# -- ORDERED ---------------------------------------------------------------------------------------


def test_an_ordered_command_runs_at_once_when_nothing_is_open(exchange):
    assert exchange >> read_10(**ORDERED) << like(SCSIDataIn)
    assert len(sets(exchange)) == 0


def test_an_ordered_command_waits_for_every_older_one(exchange):
    tag = open_write(exchange)
    assert exchange >> read_10(initiator_task_tag=2, **ORDERED)
    send_data(exchange, tag) << like(SCSIResponse, initiator_task_tag=1)
    assert exchange << like(SCSIDataIn, initiator_task_tag=2, data=X)
    assert len(sets(exchange)) == 0


def test_an_ordered_command_waits_until_the_last_older_one_has_ended(exchange):
    first, second = open_write(exchange), open_write(exchange, 2)
    exchange >> read_10(initiator_task_tag=3, **ORDERED)
    assert send_data(exchange, first) << like(SCSIResponse, initiator_task_tag=1)
    send_data(exchange, second, 2) << like(SCSIResponse, initiator_task_tag=2)
    assert exchange << like(SCSIDataIn, initiator_task_tag=3)


@pytest.mark.parametrize("newer", [SIMPLE, UNTAGGED, ORDERED], ids=["simple", "untagged", "ordered"])
def test_what_comes_behind_a_waiting_ordered_command_waits_too(exchange, newer):
    tag = open_write(exchange)
    exchange >> read_10(initiator_task_tag=2, **ORDERED)
    assert exchange >> read_10(initiator_task_tag=3, **newer)
    send_data(exchange, tag) << like(SCSIResponse, initiator_task_tag=1)
    assert exchange << like(SCSIDataIn, initiator_task_tag=2) << like(SCSIDataIn, initiator_task_tag=3)


def test_a_newer_command_waits_until_an_ordered_one_has_ended(exchange):
    tag = open_write(exchange, **ORDERED)
    assert exchange >> read_10(initiator_task_tag=2)
    send_data(exchange, tag) << like(SCSIResponse, initiator_task_tag=1)
    assert exchange << like(SCSIDataIn, initiator_task_tag=2, data=X)


def test_simple_commands_run_beside_an_open_one(exchange):
    tag = open_write(exchange)
    assert exchange >> read_10(initiator_task_tag=2) << like(SCSIDataIn, initiator_task_tag=2)
    assert send_data(exchange, tag) << like(SCSIResponse)


def test_an_ordered_write_asks_for_its_data_when_its_turn_has_come(exchange):
    tag = open_write(exchange)
    assert exchange >> write_10(initiator_task_tag=2, **ORDERED)
    send_data(exchange, tag) << like(SCSIResponse, initiator_task_tag=1)
    second = exchange.next().target_transfer_tag
    assert send_data(exchange, second, 2, Y) << like(SCSIResponse, initiator_task_tag=2, status=0)
    assert bytes(unit_of(exchange.session.entity).read(0, 1)) == Y


def test_the_order_holds_for_all_nexuses_of_a_unit():
    entity = make_entity()
    other, exchange = log_in(entity, R2T_ONLY, isid=bytes(6)), log_in(entity)
    woken = []
    exchange.connection.wake = lambda: woken.append(True)
    tag = open_write(other)
    assert exchange >> read_10(**ORDERED)
    assert send_data(other, tag) << like(SCSIResponse)
    assert woken
    assert exchange.collect() << like(SCSIDataIn, data=X)


def test_another_unit_has_a_task_set_of_its_own(exchange):
    tag = open_write(exchange, **ORDERED)
    assert exchange >> read_10(lun=lun(1), initiator_task_tag=2) << like(SCSIDataIn, initiator_task_tag=2)
    assert exchange >> read_10(lun=lun(1), initiator_task_tag=3, **ORDERED) << like(SCSIDataIn)
    assert send_data(exchange, tag) << like(SCSIResponse)


def test_a_lun_that_is_not_there_has_no_task_set(exchange):
    open_write(exchange)
    assert (
        exchange
        >> test_unit_ready(lun=lun(9), initiator_task_tag=2, **ORDERED)
        << like(SCSIResponse, status=Status.CHECK_CONDITION)
    )


def test_many_ordered_commands_run_one_after_the_other(exchange):
    tag = open_write(exchange)
    for number in range(2, 120):
        assert exchange >> read_10(initiator_task_tag=number, **ORDERED)
    send_data(exchange, tag) << like(SCSIResponse)
    assert [answer.initiator_task_tag for answer in exchange.answers] == list(range(2, 120))


def test_an_ordered_command_waits_for_a_slow_store(exchange, monkeypatch):
    unit = unit_of(exchange.session.entity)
    slow = Completion(0, b"slow" * 128, ready_at=5.0)
    execute = exchange.session.entity.device_server.execute
    answers = iter([slow])
    commands = exchange.connection.commands
    monkeypatch.setattr(commands, "_device_server", Slow(exchange, execute, answers))
    assert exchange >> read_10(initiator_task_tag=1)
    assert exchange >> read_10(initiator_task_tag=2, **ORDERED)
    exchange.wait(6.0)
    assert exchange << like(SCSIDataIn, initiator_task_tag=1) << like(SCSIDataIn, initiator_task_tag=2)
    assert unit not in sets(exchange).restricted


class Slow:
    """A device server whose first answers are slow."""

    def __init__(self, exchange, execute, answers) -> None:
        self.execute = lambda *arguments: next(answers, None) or execute(*arguments)
        self.data_out_length = exchange.session.entity.device_server.data_out_length


def test_a_slow_ordered_command_keeps_newer_ones_back(exchange, monkeypatch):
    execute = exchange.session.entity.device_server.execute
    answers = iter([Completion(0, b"slow" * 128, ready_at=5.0)])
    monkeypatch.setattr(exchange.connection.commands, "_device_server", Slow(exchange, execute, answers))
    assert exchange >> read_10(initiator_task_tag=1, **ORDERED)
    assert exchange >> read_10(initiator_task_tag=2)
    exchange.wait(6.0)
    assert exchange << like(SCSIDataIn, initiator_task_tag=1) << like(SCSIDataIn, initiator_task_tag=2)


# -- HEAD OF QUEUE ---------------------------------------------------------------------------------


def test_head_of_queue_goes_before_what_waits(exchange):
    tag = open_write(exchange)
    exchange >> read_10(initiator_task_tag=2, **ORDERED)
    assert exchange >> read_10(initiator_task_tag=3, **HEAD) << like(SCSIDataIn, initiator_task_tag=3)
    send_data(exchange, tag) << like(SCSIResponse)
    assert exchange << like(SCSIDataIn, initiator_task_tag=2)


@pytest.mark.parametrize("newer", [SIMPLE, ORDERED], ids=["simple", "ordered"])
def test_others_wait_while_a_head_of_queue_command_is_open(exchange, newer):
    tag = open_write(exchange, **HEAD)
    assert exchange >> read_10(initiator_task_tag=2, **newer)
    send_data(exchange, tag) << like(SCSIResponse)
    assert exchange << like(SCSIDataIn, initiator_task_tag=2, data=X)


def test_the_end_of_a_head_of_queue_command_does_not_let_others_pass_an_ordered_one(exchange):
    first = open_write(exchange, **ORDERED)
    exchange >> read_10(initiator_task_tag=2)
    second = open_write(exchange, 3, **HEAD)
    assert send_data(exchange, second, 3, Y) << like(SCSIResponse, initiator_task_tag=3)
    send_data(exchange, first) << like(SCSIResponse, initiator_task_tag=1)
    assert exchange << like(SCSIDataIn, initiator_task_tag=2, data=X)


def test_head_of_queue_goes_before_an_older_command_that_waits(exchange):
    first = open_write(exchange)
    assert exchange >> read_10(initiator_task_tag=2, **ORDERED)
    second = open_write(exchange, 3, **HEAD)
    send_data(exchange, first) << like(SCSIResponse, initiator_task_tag=1)
    assert exchange
    send_data(exchange, second, 3, Y) << like(SCSIResponse, initiator_task_tag=3)
    assert exchange << like(SCSIDataIn, initiator_task_tag=2, data=Y)


# -- ACA and reserved values -----------------------------------------------------------------------


def refused_attribute() -> object:
    sense = Sense.of(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_MESSAGE_ERROR).encode()
    return like(SCSIResponse, status=Status.CHECK_CONDITION, data=SCSIResponse.sense_segment(sense))


def test_aca_has_no_meaning_without_an_aca_condition(exchange):
    assert exchange >> read_10(task_attribute=TaskAttribute.ACA) << refused_attribute()
    assert not exchange.session.tasks


def test_a_write_with_aca_is_refused_after_its_last_data_out():
    """RFC 7143 section 11.4.2."""
    exchange = log_in(keys=UNSOLICITED)
    assert exchange >> write_10(final=False, task_attribute=TaskAttribute.ACA)
    assert exchange >> data_out(1, 0, X) << refused_attribute()
    assert bytes(unit_of(exchange.session.entity).read(0, 1)) == bytes(512)


@pytest.mark.parametrize("attribute", [5, 6, 7])
def test_a_reserved_attribute_is_rejected_and_its_number_is_free(exchange, attribute):
    assert (
        exchange
        >> read_10(task_attribute=attribute)
        << rejected(RejectReason.INVALID_PDU_FIELD, exp_cmd_sn=1)
    )


# -- waiting commands --------------------------------------------------------------------------------


def test_a_waiting_command_keeps_its_place_in_the_window(exchange):
    open_write(exchange)
    exchange >> read_10(initiator_task_tag=2, **ORDERED)
    window = exchange.session.window
    assert window.max_cmd_sn - window.exp_cmd_sn + 1 == window.size - 2


def test_unsolicited_data_of_a_waiting_command_is_kept():
    exchange = log_in(keys=UNSOLICITED)
    tag = open_write(exchange)
    assert exchange >> write_10(lba=1, blocks=3, final=False, data=X, initiator_task_tag=2, **ORDERED)
    assert exchange >> data_out(2, 512, Y)
    send_data(exchange, tag) << like(SCSIResponse, initiator_task_tag=1)
    r2t = exchange.next()
    assert (r2t.buffer_offset, r2t.desired_data_transfer_length) == (1024, 512)
    exchange >> data_out(2, 1024, b"z" * 512, target_transfer_tag=r2t.target_transfer_tag)
    assert exchange << like(SCSIResponse, initiator_task_tag=2, status=0)
    assert bytes(unit_of(exchange.session.entity).read(1, 3)) == X + Y + b"z" * 512


def test_a_write_with_unsolicited_data_is_not_asked_for_more_than_it_wants():
    exchange = log_in(keys=UNSOLICITED) >> write_10(final=False, expected_data_transfer_length=4096, data=X)
    exchange >> data_out(1, 512, Y)
    assert exchange << like(SCSIResponse, status=0, underflow=True, residual_count=4096 - 512)
    assert bytes(unit_of(exchange.session.entity).read(0, 2)) == X + bytes(512)


def test_the_turn_comes_while_unsolicited_data_is_still_on_its_way():
    exchange = log_in(keys=UNSOLICITED)
    tag = open_write(exchange)
    exchange >> write_10(lba=1, final=False, initiator_task_tag=2, **ORDERED)
    assert send_data(exchange, tag) << like(SCSIResponse, initiator_task_tag=1)
    assert exchange >> data_out(2, 0, Y) << like(SCSIResponse, initiator_task_tag=2, status=0)


def test_what_a_waiting_write_wants_is_asked_when_it_begins(exchange):
    """What the unit says while others go first does not count: here a unit attention they take."""
    exchange.session.nexus.establish(unit_of(exchange.session.entity), UnitAttention.CAPACITY_CHANGED)
    other = log_in(exchange.session.entity, R2T_ONLY, isid=bytes(6))
    tag = open_write(other)
    assert exchange >> test_unit_ready(initiator_task_tag=1, **ORDERED)
    assert exchange >> write_10(initiator_task_tag=2)
    send_data(other, tag)
    exchange.collect() << like(SCSIResponse, status=Status.CHECK_CONDITION) << like(ReadyToTransfer)
    assert exchange


def test_a_write_is_not_lost_when_another_command_takes_the_unit_attention():
    exchange = log_in(keys=UNSOLICITED)
    exchange.session.nexus.establish(unit_of(exchange.session.entity), UnitAttention.CAPACITY_CHANGED)
    assert exchange >> write_10(final=False, initiator_task_tag=1)
    exchange >> test_unit_ready(initiator_task_tag=2) << like(SCSIResponse, status=Status.CHECK_CONDITION)
    assert exchange >> data_out(1, 0, X) << like(SCSIResponse, status=0, underflow=False)
    assert bytes(unit_of(exchange.session.entity).read(0, 1)) == X


def test_tasks_wait_while_too_much_is_owed():
    entity = make_entity(replace(RFC, read_room=1000))
    other, exchange = log_in(entity, R2T_ONLY, isid=bytes(6)), log_in(entity)
    tag = open_write(other)
    for number in (1, 2, 3):
        exchange >> read_10(initiator_task_tag=number, blocks=2, **ORDERED)
    send_data(other, tag)
    assert exchange.connection.has_more
    assert exchange.collect() << like(SCSIDataIn, initiator_task_tag=1)
    exchange.connection.go_on(0.0)
    assert exchange.collect() << like(SCSIDataIn, initiator_task_tag=2)
    exchange.connection.go_on(0.0)
    assert exchange.collect() << like(SCSIDataIn, initiator_task_tag=3)
    assert not exchange.connection.has_more


def test_a_task_that_waits_for_less_to_be_owed_can_be_aborted():
    entity = make_entity(replace(RFC, read_room=1000))
    other, exchange = log_in(entity, R2T_ONLY, isid=bytes(6)), log_in(entity)
    tag = open_write(other)
    exchange >> read_10(initiator_task_tag=1, blocks=2, **ORDERED) >> read_10(initiator_task_tag=2)
    send_data(other, tag)
    exchange >> task_management(TaskManagementFunction.ABORT_TASK, referenced_task_tag=2)
    assert exchange << like(SCSIDataIn) << like(TaskManagementResponse, response=0)
    exchange.connection.go_on(0.0)
    assert exchange.collect()
    assert len(sets(exchange)) == 0


# -- the end of tasks ------------------------------------------------------------------------------


def test_an_aborted_task_lets_the_next_begin(exchange):
    open_write(exchange)
    exchange >> read_10(initiator_task_tag=2, **ORDERED)
    exchange >> task_management(TaskManagementFunction.ABORT_TASK, referenced_task_tag=1)
    assert exchange << like(SCSIDataIn, initiator_task_tag=2) << like(TaskManagementResponse, response=0)


def test_a_waiting_task_can_be_aborted(exchange):
    tag = open_write(exchange)
    exchange >> read_10(initiator_task_tag=2, **ORDERED) >> read_10(initiator_task_tag=3)
    exchange >> task_management(TaskManagementFunction.ABORT_TASK, referenced_task_tag=2)
    assert exchange << like(SCSIDataIn, initiator_task_tag=3) << like(TaskManagementResponse, response=0)
    assert send_data(exchange, tag) << like(SCSIResponse)


def test_of_a_task_set_that_is_cleared_nothing_begins(exchange):
    tag = open_write(exchange)
    exchange >> read_10(initiator_task_tag=2, **ORDERED) >> read_10(initiator_task_tag=3)
    assert exchange >> task_management(TaskManagementFunction.ABORT_TASK_SET)
    assert send_data(exchange, tag) << like(TaskManagementResponse, response=0)
    assert len(sets(exchange)) == 0


def test_the_end_of_a_session_lets_others_begin():
    entity = make_entity()
    other, exchange = log_in(entity, R2T_ONLY, isid=bytes(6)), log_in(entity)
    open_write(other)
    other >> read_10(initiator_task_tag=2, **ORDERED)
    assert exchange >> read_10()
    assert other >> logout() << like(LogoutResponse)
    assert exchange.collect() << like(SCSIDataIn)
    assert len(sets(exchange)) == 0


# -- how many --------------------------------------------------------------------------------------


def test_the_default_is_more_than_a_window():
    assert RFC.task_set_size >= RFC.nexus_task_set_size > RFC.command_window + 8


@pytest.mark.parametrize("immediate", [False, True])
def test_a_nexus_with_too_many_tasks_gets_task_set_full(immediate):
    exchange = log_in(make_entity(replace(RFC, nexus_task_set_size=2)), R2T_ONLY)
    tag = open_write(exchange)
    open_write(exchange, 2)
    full = write_10(immediate=immediate, initiator_task_tag=3)
    assert exchange >> full << like(SCSIResponse, status=Status.TASK_SET_FULL)
    assert exchange >> write_10(lun=lun(1), initiator_task_tag=9) << like(ReadyToTransfer)
    assert send_data(exchange, tag) << like(SCSIResponse)
    assert exchange >> write_10(immediate=immediate, initiator_task_tag=4) << like(ReadyToTransfer)


def test_a_nexus_without_a_task_gets_busy():
    """SAM-5, "Status codes": TASK SET FULL is for who has tasks to wait for."""
    entity = make_entity(replace(RFC, task_set_size=1))
    other, exchange = log_in(entity, R2T_ONLY, isid=bytes(6)), log_in(entity, R2T_ONLY)
    open_write(other)
    assert other >> write_10(initiator_task_tag=2) << like(SCSIResponse, status=Status.TASK_SET_FULL)
    assert exchange >> write_10() << like(SCSIResponse, status=Status.BUSY, data=b"")


def test_what_ends_at_once_needs_no_place():
    exchange = log_in(make_entity(replace(RFC, task_set_size=1)))
    open_write(exchange)
    assert exchange >> read_10(initiator_task_tag=2) << like(SCSIDataIn)
    assert exchange >> write_10(initiator_task_tag=3, data=X) << like(SCSIResponse, status=0)


def test_task_set_full_comes_after_the_last_data_out():
    """RFC 7143 section 11.4.2."""
    exchange = log_in(make_entity(replace(RFC, task_set_size=1)), UNSOLICITED)
    open_write(exchange)
    assert exchange >> write_10(initiator_task_tag=2, final=False)
    assert exchange >> data_out(2, 0, Y) << like(SCSIResponse, status=Status.TASK_SET_FULL)
    assert bytes(unit_of(exchange.session.entity).read(0, 1)) == bytes(512)


def test_a_waiting_command_needs_a_place_too():
    exchange = log_in(make_entity(replace(RFC, task_set_size=2)), R2T_ONLY)
    open_write(exchange)
    assert exchange >> read_10(initiator_task_tag=2, **ORDERED)
    assert exchange >> read_10(initiator_task_tag=3) << like(SCSIResponse, status=Status.TASK_SET_FULL)
    assert exchange >> read_10(initiator_task_tag=4, **HEAD) << like(SCSIDataIn)


# -- against a model ---------------------------------------------------------------------------------


@dataclass(eq=False)
class OpenTask:
    command: SimpleNamespace
    connection: SimpleNamespace


class Model:
    """The rules of SAM-5, looked at one by one for every task."""

    def __init__(self) -> None:
        self.tasks: list[tuple[object, int]] = []
        self.enabled: set[object] = set()

    def settle(self) -> None:
        changed = True
        while changed:
            found = {task for place, (task, kind) in enumerate(self.tasks) if self.may_run(place, kind)}
            changed = not found <= self.enabled
            self.enabled |= found

    def may_run(self, place: int, kind: int) -> bool:
        older, heads = (
            self.tasks[:place],
            [1 for _, each in self.tasks if each == TaskAttribute.HEAD_OF_QUEUE],
        )
        if kind == TaskAttribute.HEAD_OF_QUEUE:
            return True
        if kind == TaskAttribute.ORDERED:
            return not (heads or older)
        return not heads and all(each != TaskAttribute.ORDERED for _, each in older)


@pytest.mark.parametrize("seed", range(20))
def test_a_task_set_enables_what_the_rules_allow(seed):
    rng, tasks, model = random.Random(seed), TaskSet(), Model()
    session = object()
    for _ in range(300):
        if model.tasks and rng.random() < 0.5:
            gone = rng.choice(model.tasks)
            model.tasks.remove(gone)
            model.enabled.discard(gone[0])
            tasks.leave(gone[0])
            while tasks.next() is not None:
                pass
        else:
            kind = rng.choice([*TaskAttribute][:4])
            command = SimpleNamespace(task_attribute=kind)
            task = OpenTask(command, SimpleNamespace(session=session))
            tasks.enter(task, enabled=not tasks.holds_back(kind))
            model.tasks.append((task, kind))
        model.settle()
        assert set(tasks._enabled) == model.enabled
        assert len(tasks) == tasks.count(session) == len(model.tasks)
