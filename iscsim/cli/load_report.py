"""What ``iscsim io`` shows: a line or table while it runs, a summary at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

from iscsim.cli.output import human_size

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from iscsim.initiator.load.engine import Load
    from iscsim.initiator.load.outcome import LoadOutcome
    from iscsim.initiator.load.statistics import Interval, PathStatistics

_WIDTH = 200
States = Callable[[], dict[str, bool]]
_COLUMNS = (
    "path",
    "direction",
    "requests",
    "IOPS",
    "MB/s",
    "mean",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "max",
    "errors",
)


def shown_latency(seconds: float) -> str:
    """Three digits and a unit: ``712 us``, ``1.21 ms``, ``3.4 s``."""
    for unit, factor in (("us", 1e6), ("ms", 1e3)):
        if seconds * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.4g} s"


def shown_rate(operations: int, data_length: int, seconds: float) -> tuple[str, str]:
    """IOPS and MB/s."""
    if seconds <= 0:
        return "0", "0"
    megabytes = data_length / seconds / 1e6
    return f"{operations / seconds:,.0f}", f"{megabytes:,.{1 if megabytes < 1000 else 0}f}"


class Progress:
    """Collects intervals and shows them every ``every_s``: a table that stays in place, or plain lines."""

    def __init__(self, every_s: float, states: States, stream: TextIO | None = None) -> None:
        self._every_s, self._states = every_s, states
        self._stream = sys.stdout if stream is None else stream
        self._live: Live | None = None
        self._since = 0.0
        self._collected: dict[str, Interval] = {}

    def __enter__(self) -> Progress:
        if self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(file=self._stream), auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, load: Load) -> None:
        """An interval is over."""
        from iscsim.initiator.load.statistics import Interval

        for path in _shown_paths(load.all, load.paths):
            self._collected.setdefault(path.name, Interval()).add(path.last())
        elapsed = load.time_s - self._since
        if elapsed >= self._every_s * 0.99:
            self._show(load, elapsed)
            self._collected = {}
            self._since = load.time_s

    def _show(self, load: Load, elapsed: float) -> None:
        if self._live is not None:
            self._live.update(self._table(load, elapsed), refresh=True)
            return
        self._stream.write(self._line(load, elapsed) + "\n")
        self._stream.flush()

    def _line(self, load: Load, elapsed: float) -> str:
        parts = [
            f"{name}: {' '.join(_now(interval, elapsed))}{'' if self._is_up(name) else ' DOWN'}"
            for name, interval in self._collected.items()
        ]
        return f"{load.time_s:7.1f} s  {'  |  '.join(parts)}{_trouble(load)}"

    def _is_up(self, name: str) -> bool:
        return self._states().get(name, True)

    def _table(self, load: Load, elapsed: float) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
        for name in ("path", "IOPS", "MB/s", "p50", "p99", "errors", "state"):
            table.add_column(name, justify="left" if name in ("path", "state") else "right")
        for name, interval in self._collected.items():
            iops, megabytes = shown_rate(interval.operations, interval.data_length, elapsed)
            latencies = interval.latencies
            up = self._is_up(name)
            table.add_row(
                name,
                iops,
                megabytes,
                shown_latency(latencies.percentile(50)),
                shown_latency(latencies.percentile(99)),
                str(interval.errors),
                Text("up" if up else "DOWN", style="green" if up else "bold red"),
            )
        of = f" of {load.workload.duration_s:g} s" if load.workload.duration_s else ""
        table.caption = f"{load.time_s:.0f} s{of}{_trouble(load)}, Ctrl-C ends it"
        table.caption_justify = "left"
        return table


def _now(interval: Interval, elapsed: float) -> Iterator[str]:
    iops, megabytes = shown_rate(interval.operations, interval.data_length, elapsed)
    latencies = interval.latencies
    yield f"{iops} IOPS {megabytes} MB/s"
    if interval.operations:
        yield f"p50 {shown_latency(latencies.percentile(50))} p99 {shown_latency(latencies.percentile(99))}"
    if interval.errors:
        yield f"errors {interval.errors}"


def _trouble(load: Load) -> str:
    troubles = load.troubles
    parts = []
    if troubles.failed_requests:
        parts.append(f"I/O errors: {troubles.failed_requests}")
    if troubles.bad_blocks:
        parts.append(f"wrong blocks: {troubles.bad_blocks}")
    return f"  [{', '.join(parts)}]" if parts else ""


def _shown_paths(together: PathStatistics, paths: list[PathStatistics]) -> list[PathStatistics]:
    """All together, then each; of one path just that."""
    return list(dict.fromkeys((together, *paths)))


# -- the end ---------------------------------------------------------------------------------------


def print_summary(outcome: LoadOutcome) -> None:
    """The table of paths and directions, what happened, what is wrong."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in _COLUMNS:
        table.add_column(column, no_wrap=True, justify="left" if column in ("path", "direction") else "right")
    for path in _shown_paths(outcome.all, outcome.paths):
        for row in _rows(path, outcome.elapsed_s):
            table.add_row(*row)
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=_WIDTH)
    console.print(table)
    for line in _remarks(outcome):
        print(line)


def _rows(path: PathStatistics, elapsed_s: float) -> Iterator[list[str]]:
    for direction, meter in path.meters.items():
        total = meter.total
        if not total.operations and not total.errors:
            continue
        latencies = total.latencies
        percentiles = latencies.percentiles()
        times = [latencies.mean_s, *percentiles.values(), latencies.max_s]
        yield [
            path.name,
            direction.value,
            f"{total.operations:,}",
            *shown_rate(total.operations, total.data_length, elapsed_s),
            *map(shown_latency, times),
            str(total.errors),
        ]


def _remarks(outcome: LoadOutcome) -> Iterator[str]:
    yield f"{'interrupted after' if outcome.interrupted else 'ran for'} {outcome.elapsed_s:.2f} s"
    if outcome.workload.verify:
        yield _verified(outcome)
    for event in outcome.events[:_MOST_EVENTS]:
        yield f"{event.time_s:9.3f} s  {event.kind}: {event.text}"
    if len(outcome.events) > _MOST_EVENTS:
        yield f"and {len(outcome.events) - _MOST_EVENTS} more events (--json has them)"
    yield from _what_is_wrong(outcome)


_MOST_EVENTS = 20


def _verified(outcome: LoadOutcome) -> str:
    parts = [f"{outcome.verified_blocks} blocks that were written were read again and compared"]
    if outcome.unverified_blocks:
        parts.append(f"{outcome.unverified_blocks} were not")
    if outcome.blocks_in_doubt:
        parts.append(f"{outcome.blocks_in_doubt} may hold the old or the new after writes that failed")
    return f"{', '.join(parts)} (seed {outcome.workload.seed})"


def _what_is_wrong(outcome: LoadOutcome) -> Iterator[str]:
    troubles = outcome.troubles
    for kind, count in troubles.requests.items():
        yield f"I/O errors: {count} x {kind}"
    for error in troubles.first_requests[:_MOST_ERRORS]:
        yield f"    {error}"
    for data_kind, count in troubles.data.items():
        yield f"data errors: {count} x {data_kind.value}"
    for data_error in troubles.first_data[:_MOST_ERRORS]:
        yield f"    {data_error.time_s:.3f} s: {data_error}"


_MOST_ERRORS = 10


def workload_line(workload: Any, extent: Any) -> str:
    """What is done, for people."""
    reads = workload.read_share
    mix = "reads" if reads == 100 else "writes" if reads == 0 else f"{reads} % reads, {100 - reads} % writes"
    order = "sequential" if workload.sequential else "random"
    parts = [f"{human_size(workload.request_length)} {order} {mix}", f"depth {workload.depth}"]
    if workload.rate:
        parts.append(f"at most {workload.rate:g} a second")
    if workload.verify:
        parts.append(f"verified with seed {workload.seed}")
    return f"{', '.join(parts)}, blocks {extent.first_lba} to {extent.last_lba}"
