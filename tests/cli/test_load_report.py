"""What a load shows while it runs, and its summary."""

from __future__ import annotations

import asyncio
import io
import random
from typing import Any

import pytest

from iscsim.cli.load_report import Progress, print_summary, shown_latency, shown_rate, workload_line
from iscsim.errors import SCSIError
from iscsim.initiator.load.engine import Load
from iscsim.initiator.load.outcome import LoadEvent, LoadOutcome
from iscsim.initiator.load.statistics import PathStatistics
from iscsim.initiator.load.workload import Extent, Workload
from iscsim.lab.addresses import run_virtual


class Disk:
    """Answers in 1 ms; every hundredth request fails."""

    def __init__(self, paths: list[PathStatistics]) -> None:
        self.paths = paths
        self.count = 0

    async def read(self, lba: int, blocks: int) -> bytes:
        self.count += 1
        number = self.count
        await asyncio.sleep(0.001)
        if number % 100 == 0:
            raise SCSIError("the test says no")
        for path in self.paths[number % 2 : number % 2 + 1]:
            path.read.count(0.001, blocks * 512)
        return bytes(blocks * 512)

    async def write(self, lba: int, data: Any) -> None:
        await asyncio.sleep(0.002)

    async def flush(self) -> None:
        await asyncio.sleep(0)


class Terminal(io.StringIO):
    """A stream that says that it is one."""

    def isatty(self) -> bool:
        return True


def run(stream: io.StringIO, every_s: float, *, paths: tuple[str, ...] = (), **options: Any) -> LoadOutcome:
    async def main() -> LoadOutcome:
        statistics = [PathStatistics(name, 1.0) for name in paths]
        workload = Workload(**{"depth": 2, "duration_s": 10, **options})
        load = Load(
            Disk(statistics),
            workload,
            blocks=64,
            block_size=512,
            dice=random.Random(1),
            paths=statistics,
            name="a",
        )
        with Progress(every_s, lambda: {"b": False}, stream) as progress:
            load.on_interval = progress
            return await load.run()

    return run_virtual(main())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 us"),
        (0.000712, "712 us"),
        (0.00121, "1.21 ms"),
        (0.9994, "999 ms"),
        (3.4, "3.4 s"),
        (120.0, "120 s"),
    ],
)
def test_latency_has_three_digits_and_a_unit(seconds: float, text: str) -> None:
    assert shown_latency(seconds) == text


def test_rates_are_of_the_seconds_they_took() -> None:
    assert shown_rate(5000, 20_480_000, 2) == ("2,500", "10.2")
    assert shown_rate(50_000, 5_000_000_000, 2)[1] == "2,500"
    assert shown_rate(1, 1, 0) == ("0", "0")


def test_plain_lines_come_every_so_many_seconds() -> None:
    stream = io.StringIO()
    run(stream, 5)
    lines = stream.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["5.0", "10.0"]
    assert "IOPS" in lines[0]
    assert "MB/s p50 1 ms p99 1 ms errors" in lines[0]
    assert "[I/O errors: " in lines[0]


def test_plain_line_has_every_path_and_says_which_is_down() -> None:
    stream = io.StringIO()
    run(stream, 5, paths=("a", "b"))
    first = stream.getvalue().splitlines()[0]
    assert [part.split(":")[0].split()[-1] for part in first.split("  |  ")] == ["all", "a", "b"]
    assert " DOWN" in first.split("  |  ")[2]
    assert " DOWN" not in first.split("  |  ")[1]


def test_terminal_gets_a_table_that_stays_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    run(stream, 1, paths=("a", "b"))
    shown = stream.getvalue()
    for text in ("IOPS", "MB/s", "p99", "DOWN", "5 s of 10 s", "Ctrl-C"):
        assert text in shown
    assert "\x1b[" in shown


def test_summary_has_paths_directions_percentiles_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run(io.StringIO(), 5, paths=("a", "b"), read_share=50)
    outcome.interrupted = True
    print_summary(outcome)
    shown = capsys.readouterr().out
    header, _, *rows = shown.splitlines()
    assert header.split()[:5] == ["path", "direction", "requests", "IOPS", "MB/s"]
    assert [row.split()[:2] for row in rows[:4]] == [
        ["all", "read"],
        ["all", "write"],
        ["a", "read"],
        ["b", "read"],
    ]
    assert "interrupted after 10.00 s" in shown
    assert "x SCSIError" in shown
    assert "the test says no" in shown


def test_many_events_are_not_all_shown(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run(io.StringIO(), 5)
    outcome.events = [LoadEvent(float(number), "fault", "task.busy") for number in range(25)]
    print_summary(outcome)
    shown = capsys.readouterr().out
    assert shown.count("fault: task.busy") == 20
    assert "and 5 more events" in shown


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "4 KiB random reads, depth 32, blocks 8 to 87"),
        ({"read_share": 0, "sequential": True}, "4 KiB sequential writes, depth 32, blocks 8 to 87"),
        ({"read_share": 70, "rate": 50}, "70 % reads, 30 % writes, depth 32, at most 50 a second"),
        ({"verify": True, "seed": 9}, "verified with seed 9"),
    ],
)
def test_workload_is_one_line(options: dict[str, Any], text: str) -> None:
    assert text in workload_line(Workload(count=1, **options), Extent(8, 10, 8, 512))
