"""Room for write data: first come, first served; one write always has room."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from exchanges.ladder import data_out, discover, like, log_in, logout, lun, make_entity, write_10
from exchanges.open_tasks import R2T_ONLY

from iscsim.pdu import LogoutResponse, ReadyToTransfer, SCSIResponse
from iscsim.scsi.status import Status
from iscsim.target.policy import RFC
from iscsim.target.room import WriteRoom, _rounded_up


def task(length: int) -> SimpleNamespace:
    return SimpleNamespace(transfer=SimpleNamespace(length=length), has_room=False)


@pytest.fixture
def room() -> WriteRoom:
    return WriteRoom(100)


def test_tasks_have_room_until_it_is_full(room):
    tasks = [task(40), task(60), task(1)]
    assert [room.take(each) for each in tasks] == [True, True, False]
    assert [each.has_room for each in tasks] == [True, True, False]


def test_a_task_takes_room_once(room):
    first, second = task(60), task(40)
    assert room.take(first)
    assert room.take(first)
    assert room.take(second)


def test_one_task_has_room_however_long_it_is(room):
    assert room.take(task(1000))
    assert not room.take(task(1))


def test_who_waits_is_served_in_order(room):
    first, second, third = task(100), task(60), task(40)
    assert [room.take(each) for each in (first, second, third, second)] == [True, False, False, False]
    assert room.next() is None
    room.give_back(first)
    assert [room.next(), room.next(), room.next()] == [second, third, None]


def test_nobody_overtakes(room):
    first, second, third = task(90), task(20), task(5)
    assert [room.take(each) for each in (first, second, third)] == [True, False, False]


def test_who_gives_up_waits_no_longer(room):
    first, second = task(100), task(20)
    room.take(first)
    room.take(second)
    room.give_back(second)
    room.give_back(second)
    room.give_back(first)
    assert room.next() is None


# -- the room of all -------------------------------------------------------------------------------

SHARED = replace(RFC, all_write_room=4096, write_room=3072, all_read_room=4000, read_room=3000)


def test_one_session_has_what_the_policy_gives_to_one():
    exchange = log_in(make_entity(SHARED), R2T_ONLY)
    assert exchange.connection.most_owed == 3000
    exchange >> write_10(blocks=3) >> write_10(blocks=3) >> write_10(blocks=3)
    assert exchange << like(ReadyToTransfer) << like(ReadyToTransfer)


def test_two_sessions_have_half_of_the_room_each_until_one_leaves():
    entity = make_entity(SHARED)
    first, second = log_in(entity, R2T_ONLY), log_in(entity, R2T_ONLY, isid=bytes(6))
    assert first.connection.most_owed == second.connection.most_owed == 2000
    for exchange in (first, second):
        assert exchange >> write_10(blocks=3) >> write_10(blocks=3) << like(ReadyToTransfer)
    woken = []
    second.connection.wake = lambda: woken.append(True)
    assert first >> logout() << like(LogoutResponse)
    assert woken
    assert second.connection.most_owed == 3000
    assert second.collect() << like(ReadyToTransfer)


def test_a_reinstated_session_gives_its_room_back_at_once():
    entity = make_entity(SHARED)
    old = log_in(entity, R2T_ONLY) >> write_10(blocks=3)
    new = log_in(entity, R2T_ONLY)
    assert not old.session.tasks
    assert new.connection.most_owed == 3000


def test_a_discovery_session_takes_no_share():
    entity = make_entity(SHARED)
    exchange = log_in(entity)
    discover(entity)
    assert exchange.connection.most_owed == 3000


UNSOLICITED = {"InitialR2T": "No", "FirstBurstLength": "1024"}


def test_data_that_nobody_asked_for_is_shared_too():
    entity = make_entity(replace(RFC, all_unsolicited_room=4096))
    first, second = log_in(entity, UNSOLICITED), log_in(entity, UNSOLICITED, isid=bytes(6))
    for exchange in (first, second):
        for tag in (1, 2):
            assert exchange >> write_10(blocks=4, final=False, initiator_task_tag=tag)
        assert exchange >> write_10(blocks=4, final=False, initiator_task_tag=3)
        assert exchange >> data_out(3, 0, bytes(1024)) << like(SCSIResponse, status=Status.TASK_SET_FULL)
        assert exchange >> write_10(final=False, lun=lun(1), initiator_task_tag=4)
        assert exchange >> data_out(4, 0, bytes(512)) << like(SCSIResponse, status=Status.BUSY)
    first >> logout()
    assert first.session.kept_length == 0
    assert second >> write_10(blocks=4, final=False, initiator_task_tag=5)
    assert second >> data_out(5, 0, bytes(1024)) << like(ReadyToTransfer)


def test_one_command_always_has_room_for_its_data():
    exchange = log_in(make_entity(replace(RFC, all_unsolicited_room=1)), UNSOLICITED)
    assert exchange >> write_10(final=False) >> data_out(1, 0, bytes(512)) << like(SCSIResponse, status=0)


def test_nothing_is_kept_for_a_lun_that_is_not_there():
    exchange = log_in(keys=UNSOLICITED) >> write_10(final=False, lun=lun(9))
    exchange >> data_out(1, 0, bytes(512), final=False)
    assert len(exchange.session.tasks[1].transfer.data) == 0
    exchange >> data_out(1, 512, b"", data_sn=1)
    assert exchange << like(SCSIResponse, status=Status.CHECK_CONDITION)


def test_shares_of_many_change_in_steps_and_are_never_too_large():
    parts = [_rounded_up(count) for count in range(1, 5000)]
    assert parts[:16] == list(range(1, 17))
    assert all(count <= part <= count * 1.15 for count, part in enumerate(parts, 1))
    assert len(set(parts)) < 100
