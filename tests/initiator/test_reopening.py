"""When iscsid tries the next login: the policy alone, without a loop."""

import pytest

from iscsim.initiator.reopening import Reopen, Reopening


def test_time2wait_is_waited_once_after_each_connection_that_came_up() -> None:
    policy = Reopening(2, 0)
    policy.began(0)
    assert policy.lost(100, time2wait=5) == Reopen(105)
    policy.began(105)
    assert policy.failed(120) == Reopen(120)  # timed out without TCP: at once
    policy.began(120)
    policy.connected()
    assert policy.failed(121) == Reopen(123)  # TCP was there: our own Time2Wait
    policy.began(123)
    assert policy.not_connected(123) == Reopen(126)


def test_attempts_are_a_second_apart_at_least() -> None:
    policy = Reopening(0, 0)
    policy.began(10)
    assert policy.lost(10.2, time2wait=0) == Reopen(11)
    policy.began(11)
    policy.connected()
    assert policy.failed(11.1) == Reopen(12)


@pytest.mark.parametrize("reopen_max", [1, 3])
def test_reopen_max_failures_may_be_followed_by_another_attempt(reopen_max: int) -> None:
    policy = Reopening(2, reopen_max)
    policy.lost(0, time2wait=2)
    for number in range(reopen_max):
        policy.began(number)
        assert not policy.failed(number).give_up
    policy.began(50)
    assert policy.failed(50) == Reopen(50, give_up=True)
    assert policy.not_connected(50) == Reopen(53, give_up=True)


def test_attempts_count_from_the_loss_of_the_session() -> None:
    policy = Reopening(2, 1)
    for now in range(0, 50, 10):
        policy.lost(now, time2wait=2)
        policy.began(now)
        assert not policy.failed(now).give_up
