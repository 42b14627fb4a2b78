"""The picture of a load: throughput and latency over time per path, with what happened meanwhile.

matplotlib draws it, which ``pip install 'iscsim[plot]'`` brings; nothing else needs it.
"""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iscsim.cli.errors import EnvironmentFailure
from iscsim.errors import ConfigError

if TYPE_CHECKING:
    from iscsim.initiator.load.outcome import LoadEvent, LoadOutcome
    from iscsim.initiator.load.statistics import Interval, PathStatistics

SUFFIXES = (".svg", ".png", ".pdf")
# Okabe and Ito's colours, which people tell apart who do not see all colours
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D31", "#666666")
_TOGETHER, _FAULT, _DOWN, _UP = "#222222", "#7B3294", "#C62828", "#9CCC9C"
_LOST, _BACK, _ARMED, _REMOVED = "path lost", "path back", " armed", " removed"
_WIDTH_IN, _PANEL_IN, _LANE_IN = 10.0, 2.5, 0.24
_MOST_LANES = 8
_TITLE_WIDTH = 110
_DASHES = (0, (3, 1.5))
_SHORTEST_SHARE = 0.2
"""A last interval shorter than this is left out: its rates would be chance."""


def prepare(path: Path) -> None:
    """See to it, before a load runs, that its picture can be drawn.

    Raises:
        ConfigError: the file cannot be one.
        EnvironmentFailure: there is no matplotlib, or the file cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"--plot {path}: the name must end in {', '.join(SUFFIXES)}")
    if find_spec("matplotlib") is None:
        raise EnvironmentFailure("--plot needs matplotlib: pip install 'iscsim[plot]'")
    folder = path.absolute().parent
    if not os.access(path if path.exists() else folder, os.W_OK) or path.is_dir():
        raise EnvironmentFailure(f"--plot {path}: it cannot be written")


def draw(outcome: LoadOutcome, title: str, path: Path) -> None:
    """Draw it. Raises EnvironmentFailure when the file cannot be written."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lanes = _lanes(outcome)
    heights = [max(len(lanes), 1) * _LANE_IN, _PANEL_IN, _PANEL_IN] if lanes else [_PANEL_IN, _PANEL_IN]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, sum(heights) + 1.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
        throughput, latency = axes[-2:]
        _draw_throughput(throughput, outcome)
        _draw_latency(latency, outcome)
        if lanes:
            _draw_lanes(axes[0], lanes, outcome.elapsed_s)
        for each in (throughput, latency):
            _mark(each, outcome)
        latency.set_xlabel("seconds since the load began")
        latency.set_xlim(0, outcome.elapsed_s or 1)
        figure.suptitle("\n".join(textwrap.wrap(title, _TITLE_WIDTH)), fontsize=10)
        try:
            figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)
        except OSError as error:
            raise EnvironmentFailure(f"--plot {path}: {error.strerror}") from error


_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",
    "svg.hashsalt": "iscsim",
}


def _paths(outcome: LoadOutcome) -> Iterator[tuple[PathStatistics, str, float]]:
    """What is drawn as a line: statistics, colour, width; all together last, on top."""
    if len(outcome.paths) > 1:
        for index, path in enumerate(outcome.paths):
            yield path, _COLOURS[index % len(_COLOURS)], 1.4
    yield outcome.all, _TOGETHER, 1.1


def _points(path: PathStatistics, elapsed_s: float) -> Iterator[tuple[float, float, Any]]:
    """Middle and length of each interval, and what happened in it."""
    width = path.read.series.interval_s
    for start, interval in path.series():
        length = min(width, elapsed_s - start)
        if length > _SHORTEST_SHARE * width or start == 0:
            yield start + length / 2, max(length, 1e-9), interval


def _draw_throughput(axes: Any, outcome: LoadOutcome) -> None:
    for path, colour, width in _paths(outcome):
        points = list(_points(path, outcome.elapsed_s))
        megabytes = [interval.data_length / length / 1e6 for _, length, interval in points]
        times = [at for at, _, _ in points]
        axes.plot(times, megabytes, color=colour, linewidth=width, label=path.name)
        failed = [at for at, _, interval in points if interval.errors]
        if failed:
            axes.plot(failed, [0] * len(failed), "x", color=_DOWN, markersize=6, clip_on=False, zorder=5)
    axes.set_ylabel("throughput in MB/s")
    axes.set_ylim(bottom=0)
    each = outcome.workload.request_length / 1e6
    right = axes.twinx()  # requests are equally long: the same line, read on another scale
    right.set_ylim(0, axes.get_ylim()[1] / each)
    right.set_ylabel("IOPS")
    right.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    right.grid(visible=False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=6, borderaxespad=0.2)


def _draw_latency(axes: Any, outcome: LoadOutcome) -> None:
    from matplotlib.lines import Line2D

    shown: list[float] = []
    for path, colour, width in _paths(outcome):
        if len(outcome.paths) > 1 and path is outcome.all:
            continue  # three lines on top of each other say less than two
        points = list(_points(path, outcome.elapsed_s))
        times = [at for at, _, _ in points]
        for percent, style, alpha in ((50, "-", 1.0), (99, _DASHES, 0.85)):
            values = [_latency_ms(interval, percent) for _, _, interval in points]
            axes.plot(times, values, color=colour, linewidth=width, linestyle=style, alpha=alpha)
            shown += [value for value in values if value == value]
    _scale_latency(axes, shown)
    handles = [
        Line2D([], [], color="#555555", linestyle="-", label="median (p50)"),
        Line2D([], [], color="#555555", linestyle=_DASHES, label="99th percentile (p99)"),
    ]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0.2)


def _latency_ms(interval: Interval, percent: float) -> float:
    """NaN, which leaves a gap, when nothing ended well."""
    return interval.latencies.percentile(percent) * 1e3 if interval.operations else math.nan


def _scale_latency(axes: Any, shown: list[float]) -> None:
    """Logarithmic, over a factor of ten at least, with 1, 2 and 5 as its figures."""
    from matplotlib.ticker import LogLocator, NullFormatter

    least, most = min(shown, default=1.0), max(shown, default=1.0)
    middle = math.sqrt(least * most) or 1.0
    axes.set_yscale("log")
    axes.set_ylim(min(least / 1.3, middle / 3.2), max(most * 1.3, middle * 3.2))
    axes.set_ylabel("latency in ms")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if most < least * 300 else (1,)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


# -- what happened ---------------------------------------------------------------------------------


def _lanes(outcome: LoadOutcome) -> dict[str, list[LoadEvent]]:
    """Events by what they are about: paths that were lost or came back, then faults by name."""
    lanes: dict[str, list[LoadEvent]] = {}
    on_paths = [event for event in outcome.events if event.kind.startswith("path")]
    if on_paths:
        lanes = {path.name: [] for path in outcome.paths}
    for event in sorted(outcome.events, key=lambda event: not event.kind.startswith("path")):
        name = event.text if event.kind.startswith("path") else event.text.split(" ")[0]
        if name not in lanes and len(lanes) >= _MOST_LANES:
            name = "other faults"
        lanes.setdefault(name, []).append(event)
    return lanes


def _spans(events: list[LoadEvent], begin: str, stop: str, end: float) -> Iterator[tuple[float, float]]:
    """From when to when something held: from an event that ends with ``begin`` to one with ``stop``."""
    since = None
    for event in events:
        what = f"{event.kind} {event.text}" if event.kind == "fault" else event.kind
        if what.endswith(begin) and since is None:
            since = event.time_s
        elif what.endswith(stop) and since is not None:
            yield since, event.time_s
            since = None
    if since is not None:
        yield since, end


def _draw_lanes(axes: Any, lanes: dict[str, list[LoadEvent]], end: float) -> None:
    names = list(lanes)
    for row, name in enumerate(names):
        events = lanes[name]
        if not events or events[0].kind.startswith("path"):
            axes.barh(row, end, height=0.5, color=_UP, zorder=2)
            for start, stop in _spans(events, _LOST, _BACK, end):
                axes.barh(row, stop - start, left=start, height=0.5, color=_DOWN, zorder=3)
            continue
        for start, stop in _spans(events, _ARMED, _REMOVED, end):
            axes.barh(row, stop - start, left=start, height=0.5, color=_FAULT, alpha=0.25, zorder=2)
        fires = [event.time_s for event in events if not event.text.endswith((_ARMED, _REMOVED))]
        if fires:
            axes.plot(fires, [row] * len(fires), "D", color=_FAULT, markersize=4, zorder=3, clip_on=False)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", length=0, labelbottom=False)
    axes.grid(visible=False, axis="y")
    for spine in axes.spines.values():
        spine.set_visible(False)
    _lane_legend(axes, lanes)


def _lane_legend(axes: Any, lanes: dict[str, list[LoadEvent]]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    events = [event for each in lanes.values() for event in each]
    handles: list[Any] = []
    if any(event.kind.startswith("path") for event in events):
        handles += [Patch(color=_UP, label="path up"), Patch(color=_DOWN, label="path down")]
    faults = [event.text for event in events if not event.kind.startswith("path")]
    if any(text.endswith(_ARMED) for text in faults):
        handles.append(Patch(color=_FAULT, alpha=0.25, label="fault armed"))
    if any(not text.endswith((_ARMED, _REMOVED)) for text in faults):
        handles.append(
            Line2D([], [], color=_FAULT, marker="D", markersize=4, linestyle="", label="fault fires")
        )
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5, borderaxespad=0.2)


def _mark(axes: Any, outcome: LoadOutcome) -> None:
    """Red where a path was down; a thin line where a fault was armed, or fires that was armed before."""
    for events in _lanes(outcome).values():
        for start, stop in _spans(events, _LOST, _BACK, outcome.elapsed_s):
            axes.axvspan(start, stop, color=_DOWN, alpha=0.07, linewidth=0, zorder=0)
        armed = {event.text.removesuffix(_ARMED) for event in events if event.text.endswith(_ARMED)}
        for event in events:
            if event.kind == "fault" and event.text not in armed:
                axes.axvline(event.time_s, color=_FAULT, linewidth=0.8, linestyle=":", zorder=1)
