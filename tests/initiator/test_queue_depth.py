"""scsi_track_queue_full and scsi_handle_queue_ramp_up."""

from iscsim.initiator.queue_depth import QueueDepth


def full(depth: QueueDepth, times: int, begin: float = 1.0, step: float = 0.1) -> float:
    for number in range(times):
        depth.full(begin + number * step)
    return begin + (times - 1) * step


def test_ten_times_change_nothing() -> None:
    depth = QueueDepth(32)
    full(depth, 10)
    assert depth.depth == 32


def test_the_eleventh_lowers_it_by_one() -> None:
    depth = QueueDepth(32)
    full(depth, 11)
    assert depth.depth == 31


def test_every_further_step_takes_eleven() -> None:
    depth = QueueDepth(32)
    full(depth, 33)
    assert depth.depth == 29


def test_what_comes_at_once_counts_once() -> None:
    depth = QueueDepth(32)
    full(depth, 1000, step=0.000001)
    assert depth.depth == 32


def test_it_stays_above_zero() -> None:
    depth = QueueDepth(2)
    full(depth, 100)
    assert depth.depth == 1


def test_it_rises_when_it_was_quiet_for_the_period() -> None:
    depth = QueueDepth(32, ramp_up_period_s=120)
    last = full(depth, 11)
    assert not depth.may_rise(last + 119.9)
    assert depth.may_rise(last + 120)
    depth.has_risen(last + 120)
    depth.rise()
    assert depth.depth == 32


def test_it_rises_once_a_period() -> None:
    depth = QueueDepth(32)
    last = full(depth, 22)
    depth.has_risen(last + 120)
    depth.rise()
    assert not depth.may_rise(last + 130)
    assert depth.may_rise(last + 240)


def test_it_never_rises_above_where_it_began() -> None:
    depth = QueueDepth(4)
    assert not depth.may_rise(1e6)
    depth.rise()
    assert depth.depth == 4
