"""Room for write data: first come, first served; one write always has room."""

from types import SimpleNamespace

import pytest

from iscsim.target.room import WriteRoom


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
