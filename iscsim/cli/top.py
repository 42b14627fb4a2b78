"""``iscsim top``: a running target's sessions, LUNs, requests a second and faults, in the terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iscsim.cli.arguments import JSONOption
from iscsim.cli.control import ControlOption, ask
from iscsim.cli.output import NO_LIMIT, print_json, printable

if TYPE_CHECKING:
    from rich.console import RenderableType

_MOST_ROWS = 20


def top(
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end.")] = False,
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, max=3600.0, help="Time between frames.")
    ] = 1.0,
    control: ControlOption = None,
    json: JSONOption = False,
) -> None:
    """Watch a running target: sessions, LUNs, requests a second, faults. q or Ctrl-C ends it.

    \b
    Examples:
      iscsim top
      iscsim top --once --json
    """
    watch = Watch()

    def look() -> Frame:
        return watch.frame(
            {
                "counters": ask(control, "counters"),
                "sessions": ask(control, "session.list"),
                "faults": ask(control, "fault.list"),
                "targets": ask(control, "target.list"),
            }
        )

    look()
    if once:
        time.sleep(interval)
        frame = look()
        if json:
            print_json(frame.as_json)
        else:
            _print(frame)
        return
    _watch(look, interval)


@dataclass(slots=True)
class Frame:
    """What is shown: ``answers`` by what was asked, and rates in requests a second."""

    answers: dict[str, Any]
    rate: float
    rates: dict[int, float] = field(default_factory=dict)
    """By the session's handle."""

    @property
    def as_json(self) -> dict[str, Any]:
        """For programs."""
        sessions = [
            {**row, "requests_per_s": round(self.rates.get(row["tsih"], 0.0), 1)}
            for row in self.answers["sessions"]
        ]
        return {**self.answers, "requests_per_s": round(self.rate, 1), "sessions": sessions}


class Watch:
    """Makes rates of counts: each frame knows the one before."""

    def __init__(self) -> None:
        self._uptime_s = 0.0
        self._requests = 0
        self._of_sessions: dict[int, int] = {}

    def frame(self, answers: dict[str, Any]) -> Frame:
        """The next frame; the first one has no rates."""
        counters, sessions = answers["counters"], answers["sessions"]
        passed_s = counters["uptime_s"] - self._uptime_s
        known, self._of_sessions = self._of_sessions, {row["tsih"]: row["requests"] for row in sessions}
        rate = (counters["requests"] - self._requests) / passed_s if passed_s > 0 else 0.0
        self._uptime_s, self._requests = counters["uptime_s"], counters["requests"]
        rates = {
            row["tsih"]: ((row["requests"] - known[row["tsih"]]) & 0xFFFFFFFF) / passed_s
            for row in sessions
            if row["tsih"] in known and passed_s > 0
        }
        return Frame(answers, max(rate, 0.0), rates)


def _print(frame: Frame) -> None:
    from rich.console import Console

    # a pipe is as wide as it takes: what reads it looks for whole names
    width = None if sys.stdout.isatty() else NO_LIMIT
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=width is not None, width=width)
    console.print(draw(frame))


def draw(frame: Frame) -> RenderableType:
    """A frame for people."""
    from rich.console import Group
    from rich.text import Text

    counters, answers = frame.answers["counters"], frame.answers
    logins = "  ".join(f"{status} {count}" for status, count in counters["logins"].items()) or "none"
    head = (
        f"up {counters['uptime_s']:.0f} s   targets {counters['targets']}   sessions {counters['sessions']}"
        f" (+{counters['discovery_sessions']} discovering)   requests/s {frame.rate:,.0f}\nlogins {logins}\n"
    )
    sessions = sorted(answers["sessions"], key=lambda row: -frame.rates.get(row["tsih"], 0.0))
    return Group(
        Text(head),
        _table(
            ("tsih", "initiator", "target", "from", "requests/s"),
            [
                (
                    str(row["tsih"]),
                    row["initiator"],
                    row["target"] or "(discovers)",
                    " ".join(row["addresses"]),
                    f"{frame.rates.get(row['tsih'], 0.0):,.0f}",
                )
                for row in sessions
            ],
        ),
        _table(
            ("backstore", "blocks", "sessions", "open", "errors"),
            [
                (
                    name,
                    f"{row['blocks']:,}",
                    str(row["sessions"]),
                    str(row["open_commands"]),
                    str(row["read_errors"] + row["write_errors"]),
                )
                for name, row in counters["luns"].items()
            ],
        ),
        _table(
            ("fault", "fired", "armed"),
            [(row["id"], str(row["fired"]), "yes" if row["armed"] else "no") for row in answers["faults"]],
        ),
    )


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> RenderableType:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True, min_width=len(column))
    for row in rows[:_MOST_ROWS]:
        table.add_row(*(printable(cell) for cell in row))
    if len(rows) > _MOST_ROWS:
        table.add_row(f"and {len(rows) - _MOST_ROWS} more")
    return table


def _watch(look: Any, interval: float) -> None:
    from rich.live import Live

    with _keys() as pressed, Live(draw(look()), screen=sys.stdout.isatty(), auto_refresh=False) as live:
        while not pressed(interval):
            live.update(draw(look()), refresh=True)


@contextmanager
def _keys() -> Iterator[Any]:
    """Waits for q as long as it is told to; without a terminal it just waits."""
    import select

    if not sys.stdin.isatty():
        yield time.sleep
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def pressed(timeout_s: float) -> bool:
        ready, _, _ = select.select([descriptor], [], [], timeout_s)
        return bool(ready) and os.read(descriptor, 16).lower().startswith(b"q")

    tty.setcbreak(descriptor)
    try:
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
