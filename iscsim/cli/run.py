"""``iscsim run``: play a scenario, and say how to play it again."""

from __future__ import annotations

import json as json_module
import logging
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iscsim.cli.arguments import JSONOption
from iscsim.cli.errors import ExitCode
from iscsim.cli.output import print_json, printable

if TYPE_CHECKING:
    from iscsim.faults.engine import Firing
    from iscsim.lab.play import Outcome, Played
    from iscsim.lab.scenario import Scenario

_MOST_SHOWN = 3
"""Firings of one fault that are shown; the summary has their number."""


def run(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO.toml", help="What to play.")],
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Another seed than the file's.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(metavar="NAME", help="memory (virtual time) or tcp (real sockets).")
    ] = None,
    pcap: Annotated[Path | None, typer.Option(metavar="FILE", help="Capture to a pcapng file.")] = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl", help="Write every event and every decision.")
    ] = None,
    expect_trace: Annotated[
        str | None,
        typer.Option(metavar="SHA256", help="Fail with 5 when the trace is not that of an earlier run."),
    ] = None,
    shrink: Annotated[
        bool, typer.Option("--shrink", help="When it fails, find the fewest faults with which it does.")
    ] = False,
    json: JSONOption = False,
) -> None:
    """Play a scenario: a world, faults in it, steps, and what must hold at the end.

    Exits with 1 when a step or an invariant fails, 4 when a fault was armed and never fired.

    \b
    Examples:
      iscsim run docs/examples/silent-portal.toml --pcap silent.pcapng
      iscsim run docs/examples/silent-portal.toml --seed 17 --trace silent.jsonl
      iscsim run docs/examples/lun-swap.toml --network tcp --json
    """
    from iscsim.lab.play import play
    from iscsim.lab.scenario import read_scenario

    logging.basicConfig(level=logging.ERROR, format="iscsim: %(message)s")
    plan = read_scenario(scenario).with_options(seed=seed, network=network)
    screen = _Screen(quiet=json)
    screen.plan(plan)
    outcome = play(plan, pcap=pcap, trace=trace, progress=screen.progress)
    replay = _replay(scenario, plan)
    shrunk = _shrunk(plan) if shrink and outcome.problems else None
    if json:
        print_json(_document(outcome, replay, shrunk))
    else:
        screen.end(outcome, replay, shrunk)
    raise typer.Exit(_status(outcome, expect_trace))


def _replay(path: Path, plan: Scenario) -> str:
    network = f" --network {plan.network}" if plan.network != "memory" else ""
    return f"iscsim run {shlex.quote(str(path))} --seed {plan.seed}{network}"


def _shrunk(plan: Scenario) -> list[dict[str, Any]]:
    from iscsim.lab.play import shrink_faults

    return [dict(each) for each in shrink_faults(plan).faults]


def _status(outcome: Outcome, expect_trace: str | None) -> int:
    if outcome.problems:
        return ExitCode.FAILED
    if outcome.unfired:
        return ExitCode.FAULT_NOT_FIRED
    if expect_trace is not None and expect_trace.lower() != outcome.sha256:
        print(f"iscsim: error: the trace is {outcome.sha256}, expected {expect_trace}", file=sys.stderr)
        return ExitCode.TRACE_DIFFERS
    return ExitCode.OK


def _document(outcome: Outcome, replay: str, shrunk: list[dict[str, Any]] | None) -> dict[str, Any]:
    document = asdict(outcome) | {"replay": replay}
    found: dict[str, Any] = json_module.loads(json_module.dumps(document, default=_plain))
    return found | ({"shrunk": shrunk} if shrunk is not None else {})


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)


class _Screen:
    """What people see."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._fired: dict[str, int] = {}

    def _print(self, text: str) -> None:
        if not self._quiet:
            print(printable(text), flush=True)

    def plan(self, plan: Scenario) -> None:
        """The expanded plan."""
        if plan.title:
            self._print(f"title    {plan.title}")
        self._print(f"network  {plan.network}")
        self._print(f"seed     {plan.seed}")
        for host in plan.hosts:
            self._print(f"host     {host['name']}  {' '.join(host.get('addresses', []))}".rstrip())
        for target in plan.targets:
            portals = target.get("portals", 1)
            shown = " ".join(portals) if isinstance(portals, list) else f"portals: {portals}"
            luns = " ".join(target.get("luns", ["1=64M"]))
            self._print(f"target   {target.get('name', 'iqn.2026-11.org.iscsim:disk')}  {shown}  LUNs {luns}")
        for fault in plan.faults:
            details = {name: value for name, value in fault.items() if name not in ("id", "name")}
            shown = json_module.dumps(details, default=str) if details else ""
            self._print(f"fault    {fault['id']}  {fault['name']}  {shown}".rstrip())
        for number, step in enumerate(plan.steps, 1):
            self._print(f"step {number:<4}{_shown(step)}")
        self._print("")

    def progress(self, event: Played | Firing) -> None:
        """A step was done, or a fault fired."""
        from iscsim.faults.engine import Firing

        if isinstance(event, Firing):
            self._fired[event.rule] = count = self._fired.get(event.rule, 0) + 1
            if count <= _MOST_SHOWN:
                last = " ..." if count == _MOST_SHOWN else ""
                self._print(f"{event.at:12.4f} s  {event.comment}{last}")
            return
        what = f"failed: {event.problem}" if event.problem else event.result
        self._print(f"{event.ended:12.4f} s  {_shown(event.step)}: {what}".rstrip(": "))

    def end(self, outcome: Outcome, replay: str, shrunk: list[dict[str, Any]] | None) -> None:
        """The judgement, and how to come here again."""
        self._print("")
        for rule, count in self._fired.items():
            self._print(f"fired    {rule}, {count} time{'s' if count > 1 else ''}")
        for line in outcome.problems:
            self._print(f"failed   {line}")
        for line in outcome.unfired:
            self._print(f"unfired  {line}")
        for fault in shrunk or []:
            self._print(f"shrunk   {json_module.dumps(fault, default=str)}")
        if shrunk == []:
            self._print("shrunk   it fails in the same way without any fault")
        self._print(
            f"time     {outcome.duration_s:.4f} s{' (virtual)' if outcome.network == 'memory' else ''}"
        )
        self._print(f"trace    {outcome.sha256} ({outcome.trace_lines} lines)")
        self._print(f"replay   {replay}")


def _shown(step: dict[str, Any]) -> str:
    hidden = ("do", "password")
    details = " ".join(f"{name}={value}" for name, value in step.items() if name not in hidden)
    return f"{step['do']} {details}".rstrip()
