from __future__ import annotations

from iscsim.capture.allowance import Allowance


def test_a_burst_may_be_taken_at_once_and_no_more() -> None:
    allowance = Allowance(rate=10, burst=100)
    assert allowance.take(60, 5.0)
    assert allowance.take(40, 5.0)
    assert not allowance.take(1, 5.0)


def test_the_rate_flows_in_until_it_is_full() -> None:
    allowance = Allowance(rate=10, burst=100)
    assert allowance.take(100, 5.0)
    assert not allowance.take(11, 6.0)
    assert allowance.take(10, 6.0)
    assert not allowance.take(101, 1000.0)
    assert allowance.take(100, 1000.0)


def test_what_is_too_much_takes_nothing() -> None:
    allowance = Allowance(rate=10, burst=100)
    assert not allowance.take(101, 0.0)
    assert allowance.take(100, 0.0)
