"""The large world, at a size for tests: everybody is there at the same time."""

from __future__ import annotations

from benchmarks.thousand_hosts import Cost, measure


def test_every_host_has_a_session_through_each_portal() -> None:
    cost = measure(3)
    assert (cost.hosts, cost.sessions) == (3, 6)
    assert 0 < cost.virtual_s < 1


def test_cost_is_shown_in_one_line() -> None:
    assert str(Cost(3, 6, 0.51, 0.0049, 36.2)) == (
        "3 hosts, 6 sessions: 0.5 s of wall time, 0.005 s of virtual time, peak of 36 MiB"
    )
