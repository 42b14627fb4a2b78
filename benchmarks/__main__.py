"""``python -m benchmarks``: both sides in turn in one run, a table, and ``bench.json``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import footprint, loads, peers
from benchmarks.parsing import UnreadableOutput
from benchmarks.report import Comparison, Figure, document, footprint_table, speed_table
from benchmarks.rows import LIMITS, MIB, ROWS, Load, Row, chosen
from benchmarks.targets import TargetFailed, iscsim_target, tgtd_target

IMAGE_LENGTH = 256 * MIB
_TABLE_WIDTH = 138
_FAILURES = (UnreadableOutput, TargetFailed, OSError, RuntimeError, subprocess.SubprocessError)
Measure = Callable[[Row, int, int], float]

# What makes the load on our side and on the other.
LOADS: dict[Load, tuple[Measure, Measure]] = {
    Load.READ: (loads.read_with_iscsi_perf, loads.read_with_iscsi_perf),
    Load.WRITE: (loads.write_with_qemu, loads.write_with_qemu),
    Load.INITIATOR: (loads.read_with_our_initiator, loads.read_with_iscsi_perf),
    Load.CAPTURE: (loads.read_with_iscsi_perf, loads.read_with_iscsi_perf),
}


class Progress:
    """A line for every step, on stderr: a whole run takes minutes."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._start = time.monotonic()

    def __call__(self, text: str) -> None:
        """Show one step."""
        self._console.print(f"{time.monotonic() - self._start:6.1f} s  {text}", markup=False, soft_wrap=True)


def make_image(path: Path) -> Path:
    """Random bytes, on the disk and in the page cache."""
    with path.open("wb") as image:
        for _ in range(IMAGE_LENGTH // MIB):
            image.write(os.urandom(MIB))
        image.flush()
        os.fsync(image.fileno())
    return path


def options() -> argparse.Namespace:
    """The command line."""
    names = ", ".join([row.name for row in ROWS] + [limit.name for limit in LIMITS])
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help=f"a measurement, or how several begin: {names}",
    )
    parser.add_argument("--seconds", type=int, default=3, help="how long one measurement takes")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is measured")
    parser.add_argument("--quick", action="store_true", help="measurements of one second")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), metavar="FILE")
    found = parser.parse_args()
    found.seconds = 1 if found.quick else found.seconds
    if not chosen([row.name for row in ROWS] + [limit.name for limit in LIMITS], found.only):
        parser.error(f"no measurement begins with {' or '.join(found.only)} (known: {names})")
    if found.seconds < 1 or found.rounds < 1:
        parser.error("seconds and rounds must be 1 or more")
    return found


@contextmanager
def both_targets(rows: list[Row], directory: Path) -> Iterator[dict[str, int]]:
    """The ports of the targets that these rows need, by side."""
    image = make_image(directory / "disk.img")
    with ExitStack() as stack:
        ours, _ = stack.enter_context(iscsim_target(str(image), directory))
        ports = {"iscsim": ours, "iscsim initiator": ours, "libiscsi": ours}
        kinds = {row.load for row in rows}
        if Load.CAPTURE in kinds:
            capture = ("--pcap", str(directory / "bench.pcapng"))
            ports["iscsim --pcap"], _ = stack.enter_context(iscsim_target(str(image), directory, *capture))
        if kinds & {Load.READ, Load.WRITE}:
            ports["tgtd"] = stack.enter_context(tgtd_target(image, directory))
        yield ports


def compare(row: Row, ports: dict[str, int], rounds: int, seconds: int, progress: Progress) -> Comparison:
    """Measure ours and theirs in turn."""
    result = Comparison(row)
    for number in range(1, rounds + 1):
        for side, measure, values in zip(
            row.sides, LOADS[row.load], (result.ours, result.theirs), strict=True
        ):
            try:
                rate = measure(row, ports[side], seconds)
            except _FAILURES as error:
                progress(f"{row.title}: {side}: {error}")
                return Comparison(row, skipped=f"{side} failed")
            values.append(rate)
            progress(f"{row.title}, round {number}: {side} {rate:,.0f}/s")
    return result


def compare_all(names: list[str], rounds: int, seconds: int, progress: Progress) -> list[Comparison]:
    """All the rows of these names; a row whose peer is missing says so."""
    rows = [row for row in ROWS if row.name in names]
    lacking = {row.name: package for row in rows if (package := peers.missing(row.load))}
    present = [row for row in rows if row.name not in lacking]
    for row in rows:
        if row.name in lacking:
            progress(f"{row.title}: left out, apt install {lacking[row.name]}")
    compared: dict[str, Comparison] = {}
    if present:
        with tempfile.TemporaryDirectory(prefix="iscsim-bench-") as directory:
            progress("making the image, starting the targets")
            with both_targets(present, Path(directory)) as ports:
                for row in present:
                    compared[row.name] = compare(row, ports, rounds, seconds, progress)
    return [
        compared.get(row.name) or Comparison(row, skipped=f"apt install {lacking[row.name]}") for row in rows
    ]


def weigh(names: list[str], rounds: int, progress: Progress) -> list[Figure]:
    """All the figures of these names."""
    figures = [Figure(limit) for limit in LIMITS if limit.name in names]
    with tempfile.TemporaryDirectory(prefix="iscsim-bench-") as directory:
        for figure in figures:
            limit = figure.limit
            try:
                for _ in range(rounds):
                    figure.values.append(footprint.MEASURES[limit.name](Path(directory)))
            except _FAILURES as error:
                figure.skipped = str(error).partition("\n")[0][:120]
            values = ", ".join(f"{value:.1f}" for value in figure.values)
            progress(f"{limit.title}: {figure.skipped or f'{values} {limit.unit}'}")
    return figures


def write_json(path: Path, content: dict[str, Any]) -> None:
    """All numbers, for machines."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Measure, show, write."""
    chosen_options, progress = options(), Progress()
    names = chosen([row.name for row in ROWS] + [limit.name for limit in LIMITS], chosen_options.only)
    facts = peers.machine()
    rounds, seconds = chosen_options.rounds, chosen_options.seconds
    try:
        rows = compare_all(names, rounds, seconds, progress)
    except _FAILURES as error:
        raise SystemExit(f"benchmarks: a target could not be set up: {error}") from None
    figures = weigh(names, rounds, progress)
    console = Console()
    console.width = max(console.width, _TABLE_WIDTH)
    console.print(f"{facts['cpu']}, {facts['cores']} cores, Python {facts['python']}, tgtd {facts['tgtd']}")
    if rows:
        console.print(speed_table(rows))
    if figures:
        console.print(footprint_table(figures))
    facts["load average at end"] = [round(value, 2) for value in os.getloadavg()]
    settings = {"rounds": rounds, "seconds": seconds, "image_length": IMAGE_LENGTH}
    write_json(chosen_options.json, document(facts, settings, rows, figures))
    progress(f"all numbers are in {chosen_options.json}")


if __name__ == "__main__":
    main()
