"""The picture of a load."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from iscsim.cli.errors import EnvironmentFailure
from iscsim.cli.load_plot import draw, prepare
from iscsim.errors import ConfigError
from iscsim.initiator.load.outcome import LoadEvent, LoadOutcome, Troubles
from iscsim.initiator.load.statistics import PathStatistics
from iscsim.initiator.load.workload import Extent, Workload

EVENTS = [
    LoadEvent(2.0, "path lost", "10.0.0.2:3260"),
    LoadEvent(4.5, "path back", "10.0.0.2:3260"),
    LoadEvent(1.0, "fault", "net.latency armed"),
    LoadEvent(3.0, "fault", "task.busy"),
    LoadEvent(6.0, "fault", "net.latency removed"),
]


def outcome(names: tuple[str, ...], events: list[LoadEvent], *, seconds: int = 10) -> LoadOutcome:
    """Each path reads; the second does nothing while it is lost, and an error is met there."""
    dice = random.Random(1)
    paths, together = [PathStatistics(name, 1.0) for name in names], PathStatistics("all", 1.0)
    for second in range(seconds):
        for index, path in enumerate(paths):
            if index == 1 and 2 <= second < 4:
                path.read.count_error()
                continue
            for _ in range(50):
                latency = dice.uniform(0.0005, 0.005)
                path.read.count(latency, 4096)
                together.read.count(latency, 4096)
        for each in (together, *paths):
            each.roll()
    return LoadOutcome(
        workload=Workload(count=1),
        extent=Extent(0, 100, 8, 512),
        elapsed_s=float(seconds),
        all=together if len(paths) > 1 else paths[0],
        paths=paths,
        troubles=Troubles(),
        events=events,
        interrupted=False,
        verified_blocks=0,
        unverified_blocks=0,
        blocks_in_doubt=0,
    )


def texts(path: Path) -> list[str]:
    root = ElementTree.parse(path).getroot()
    return ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.fixture
def matplotlib() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'iscsim[plot]'")


@pytest.mark.usefixtures("matplotlib")
def test_picture_has_axes_with_units_a_legend_and_events(tmp_path: Path) -> None:
    path = tmp_path / "load.svg"
    prepare(path)
    draw(outcome(("10.0.0.1:3260", "10.0.0.2:3260"), EVENTS), "LUN 1: 4 KiB random reads", path)
    shown = texts(path)
    wanted = ["throughput in MB/s", "IOPS", "latency in ms", "seconds since the load began"]
    wanted += ["median (p50)", "99th percentile (p99)", "path up", "path down", "fault armed", "fault fires"]
    wanted += [
        "10.0.0.1:3260",
        "10.0.0.2:3260",
        "all",
        "net.latency",
        "task.busy",
        "LUN 1: 4 KiB random reads",
    ]
    assert [text for text in wanted if text not in shown] == []


@pytest.mark.usefixtures("matplotlib")
@pytest.mark.parametrize(
    ("names", "events", "seconds"),
    [
        (("a",), [], 1),
        (("a",), EVENTS, 10),
        (("a", "b"), [LoadEvent(1.0, "path lost", "b")], 600),
        (("a", "b"), [LoadEvent(float(n), "fault", f"task.kind{n}") for n in range(20)], 30),
        (tuple("abcdefghij"), [], 3),
        (("a",), [], 0),
    ],
)
def test_every_shape_can_be_drawn(
    tmp_path: Path, names: tuple[str, ...], events: list[LoadEvent], seconds: int
) -> None:
    for suffix in (".svg", ".png", ".pdf"):
        draw(outcome(names, events, seconds=seconds), "a title " * 40, tmp_path / f"load{suffix}")
        assert (tmp_path / f"load{suffix}").stat().st_size > 1000


@pytest.mark.usefixtures("matplotlib")
def test_same_load_is_the_same_picture(tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        draw(outcome(("a", "b"), EVENTS), "load", tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_name_must_say_what_picture_it_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in \.svg, \.png, \.pdf"):
        prepare(tmp_path / "a.gif")


def test_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("iscsim.cli.load_plot.find_spec", lambda name: None)
    with pytest.raises(EnvironmentFailure, match=r"pip install 'iscsim\[plot\]'"):
        prepare(tmp_path / "a.svg")


@pytest.mark.parametrize("place", ["nowhere/a.svg", "folder.svg"])
def test_file_that_cannot_be_written_is_told_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    found: Any = object()
    monkeypatch.setattr("iscsim.cli.load_plot.find_spec", lambda name: found)
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(EnvironmentFailure, match="cannot be written"):
        prepare(tmp_path / place)
