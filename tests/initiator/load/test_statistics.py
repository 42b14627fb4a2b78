"""What is counted: per path and direction, in intervals that become coarser when there are many."""

from iscsim.initiator.load.statistics import Direction, Interval, Meter, PathStatistics, Series


def interval(operations: int, latency_s: float = 0.001) -> Interval:
    made = Interval()
    for _ in range(operations):
        made.latencies.record(latency_s)
    made.data_length = operations * 512
    return made


def shown(series: Series) -> list[tuple[float, int]]:
    return [(start, each.operations) for start, each in series]


def test_series_has_an_interval_for_each() -> None:
    series = Series(0.5)
    for count in (1, 0, 3):
        series.append(interval(count))
    assert shown(series) == [(0.0, 1), (0.5, 0), (1.0, 3)]


def test_two_intervals_become_one_when_there_are_too_many() -> None:
    series = Series(1, limit=4)
    for count in range(1, 6):
        series.append(interval(count))
    assert (series.interval_s, shown(series)) == (2, [(0, 3), (2, 7), (4, 5)])
    series.append(interval(6))
    assert shown(series) == [(0, 3), (2, 7), (4, 11)]
    series.append(interval(7))
    assert shown(series) == [(0, 3), (2, 7), (4, 11), (6, 7)]


def test_long_series_loses_nothing_and_stays_short() -> None:
    series = Series(1, limit=8)
    for count in range(1000):
        series.append(interval(count % 3))
    assert len(series) <= 8
    assert sum(count for _, count in shown(series)) == sum(count % 3 for count in range(1000))
    assert series.interval_s == 128


def test_even_limit_halves_to_whole_pairs() -> None:
    series = Series(1, limit=3)
    for count in range(1, 10):
        series.append(interval(count))
    assert shown(series) == [(0, 1 + 2 + 3 + 4), (4, 5 + 6 + 7 + 8), (8, 9)]


def test_meter_counts_into_the_interval_that_is_open() -> None:
    meter = Meter(1)
    meter.count(0.001, 512)
    meter.roll()
    meter.count(0.002, 512)
    meter.count(0.004, 512)
    meter.count_error()
    assert meter.total.operations == 1
    meter.roll()
    assert (meter.last.operations, meter.last.data_length, meter.last.errors) == (2, 1024, 1)
    assert (meter.total.operations, meter.total.latencies.max_s) == (3, 0.004)
    assert shown(meter.series) == [(0, 1), (1, 2)]


def test_path_adds_its_directions() -> None:
    path = PathStatistics("10.0.0.1:3260", 1)
    path.read.count(0.001, 512)
    path.meters[Direction.WRITE].count(0.003, 4096)
    path.roll()
    assert (path.total().operations, path.total().data_length, path.last().operations) == (2, 4608, 2)
    assert [(start, each.data_length) for start, each in path.series()] == [(0, 4608)]
