"""Playing a scenario from its first step to the judgement."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from iscsim.errors import (
    ConfigError,
    ConnectionFailed,
    FaultError,
    ISCSIError,
    LoginFailed,
    SCSIError,
    SessionFailed,
)
from iscsim.faults.engine import Firing
from iscsim.faults.names import checked_name
from iscsim.faults.seconds import parse_seconds
from iscsim.faults.shrink import Shrunk, shrink
from iscsim.initiator.initial_login import InitialLoginFailed
from iscsim.initiator.task import CommandAborted, CommandTimedOut, TargetFailure, TransferIncomplete
from iscsim.lab.oracles import BrokenInvariant
from iscsim.lab.scenario import Scenario
from iscsim.lab.steps import Steps
from iscsim.lab.world import Lab
from iscsim.net.memory import DEFAULT_LATENCY_S
from iscsim.openstack.attach import NoPathWorks
from iscsim.scsi.sense import CommandFailed

__all__ = ["Outcome", "Played", "build", "error_names", "play", "shrink_faults"]

Progress = Callable[["Played | Firing"], None]
_TOLERANCE_S = 0.1
_NUMBERS = re.compile(r"\d[\d.:]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A step that was done: from when to when, what came of it; ``problem`` is not empty if that is wrong,
    and ``failure`` says in a word or two of what kind it is."""

    step: dict[str, Any]
    begun: float
    ended: float
    result: str
    problem: str = ""
    failure: str = ""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How a scenario ended. ``problems`` are steps and invariants that failed, ``unfired`` what never
    fired. Times are seconds since the beginning."""

    seed: int
    network: str
    steps: list[Played] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unfired: list[str] = field(default_factory=list)
    firings: list[Firing] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    duration_s: float = 0.0
    trace_lines: int = 0
    sha256: str = ""

    @property
    def failures(self) -> list[str]:
        """What failed, without the details that another fault may change: a step and its kind of error, or
        an invariant."""
        steps = [
            f"step {number} ({each.step['do']}): {each.failure}"
            for number, each in enumerate(self.steps, 1)
            if each.problem
        ]
        return steps or [_NUMBERS.sub("#", problem) for problem in self.problems]


def play(
    scenario: Scenario,
    *,
    pcap: Path | None = None,
    trace: Path | None = None,
    progress: Progress = lambda event: None,
) -> Outcome:
    """Play it to its end; ``progress`` is told of each step and each fault as it happens.

    Raises `ConfigError` for what only shows now: a host or target there is not, a file that cannot be
    written.
    """
    for step in scenario.steps:
        if "expect" in step:
            checked_name("error", step["expect"], error_names())
    lab = Lab(
        scenario.network,  # type: ignore[arg-type]  # it was checked
        seed=scenario.seed,
        pcap=pcap,
        trace=trace,
        latency_s=DEFAULT_LATENCY_S if scenario.latency_s is None else scenario.latency_s,
        judge=False,
    )
    return lab.run_with(lambda: _play(lab, scenario, progress))


async def _play(lab: Lab, scenario: Scenario, progress: Progress) -> Outcome:
    outcome = Outcome(seed=scenario.seed, network=scenario.network)
    begun = lab.now
    await build(lab, scenario)
    lab.faults.watchers.append(lambda firing: progress(replace(firing, at=firing.at - begun)))
    steps = Steps(lab, scenario.hosts)
    for step in scenario.steps:
        played = await _do(lab, steps, step, begun)
        outcome.steps.append(played)
        lab.trace.add("step", do=step["do"], result=played.result, problem=played.problem)
        progress(played)
        if played.problem:
            break
    await lab.end_programs()
    await lab.settle()
    _judge(lab, outcome, begun)
    outcome.duration_s = lab.now - begun
    return outcome


async def build(lab: Lab, scenario: Scenario) -> None:
    """Make the targets, hosts and faults of ``scenario`` in ``lab``. Raises `ConfigError`."""
    for each in scenario.targets:
        options = {
            name: each[name] for name in ("portals", "initiators", "personality", "host") if name in each
        }
        await lab.target(each.get("name"), luns=_luns(each.get("luns")), **options)
    for each in scenario.hosts:
        host = lab.host(each["name"], *each.get("addresses", []))
        host.initiator_name = each.get("initiator_name", host.initiator_name)
    for number, description in enumerate(scenario.faults, 1):
        try:
            lab.add_fault(description)
        except ConfigError as error:
            raise ConfigError(f"[[fault]] {number}: {error}") from None


def _luns(texts: list[str] | None) -> dict[int, str] | None:
    if texts is None:
        return None
    found = {}
    for text in texts:
        number, separator, spec = text.partition("=")
        if not separator or not number.isdecimal():
            raise ConfigError(f"not a LUN: {text!r} (expected N=SPEC, as in 1=64M)")
        found[int(number)] = spec
    return found


async def _do(lab: Lab, steps: Steps, step: dict[str, Any], start: float) -> Played:
    begun = lab.now
    due = max(
        start + parse_seconds(step["at"]) if "at" in step else begun,
        begun + parse_seconds(step["after"]) if "after" in step else begun,
    )
    if due > begun:
        await asyncio.sleep(due - begun)
    begun, errors, failure = lab.now, lab.oracles.errors, "it worked"
    try:
        result, problem = await steps.do(step), ""
        if "expect" in step:
            problem = f"it worked, expected {step['expect']}"
    except (ISCSIError, FaultError, BrokenInvariant, OSError, TimeoutError) as error:
        failure = type(error).__name__
        result = f"{failure}: {error}"
        problem = _unexpected(step, error)
    ended = lab.now
    if "expect" in step:
        await lab.settle()  # the target may be slower to notice
        lab.oracles.forgive_since(errors)
    if not problem:
        problem, failure = _too_long(step, ended - begun), "its time"
    return Played(
        step=step,
        begun=begun - start,
        ended=ended - start,
        result=result,
        problem=problem,
        failure=failure if problem else "",
    )


def _unexpected(step: dict[str, Any], error: Exception) -> str:
    """What is wrong with this error; nothing, if it is the one that was expected."""
    wanted, text = step.get("expect"), step.get("message", "")
    names = [each.__name__ for each in type(error).__mro__]
    if wanted is None and isinstance(error, BrokenInvariant):
        return str(error)
    if wanted is None:
        return f"{type(error).__name__}: {error}"
    if wanted not in names:
        return f"{type(error).__name__}: {error}, expected {wanted}"
    return "" if text in str(error) else f"{error}, expected {text!r} in it"


def _too_long(step: dict[str, Any], seconds: float) -> str:
    if "takes" not in step:
        return ""
    wanted, within = parse_seconds(step["takes"]), parse_seconds(step.get("within", _TOLERANCE_S))
    if abs(seconds - wanted) <= within:
        return ""
    return f"it took {seconds:.3f} s, expected {wanted:g} s, give or take {within:g} s"


def _judge(lab: Lab, outcome: Outcome, begun: float) -> None:
    outcome.problems += [
        f"step {number} ({each.step['do']}): {each.problem}"
        for number, each in enumerate(outcome.steps, 1)
        if each.problem
    ]
    if not outcome.problems:  # what was not done cannot be judged
        outcome.problems += lab.problems()
        outcome.unfired = lab.unfired()
    outcome.firings = [replace(each, at=each.at - begun) for each in lab.faults.firings]
    outcome.faults = lab.faults.describe()
    outcome.sha256, outcome.trace_lines = lab.trace.sha256, lab.trace.count


_ERRORS: tuple[type[Exception], ...] = (
    BrokenInvariant,
    CommandAborted,
    CommandFailed,
    CommandTimedOut,
    ConnectionFailed,
    FaultError,
    ISCSIError,
    InitialLoginFailed,
    LoginFailed,
    NoPathWorks,
    OSError,
    SCSIError,
    SessionFailed,
    TargetFailure,
    TransferIncomplete,
)


def error_names() -> list[str]:
    """Every error a step may expect."""
    return [each.__name__ for each in _ERRORS]


def shrink_faults(scenario: Scenario, *, most_runs: int = 100) -> Shrunk:
    """The fewest faults with which the scenario still fails at the same step and with the same kind of error,
    or breaks the same invariant. Raises `ConfigError` when it does not fail."""
    failures = play(scenario).failures

    def fails(faults: Any) -> bool:
        return bool(failures) and failures[0] in play(scenario.with_faults(list(faults))).failures

    return shrink(scenario.faults, fails, most_runs=most_runs)
