"""Faults of a host's clock: its time of day is set, as by an administrator or a hasty NTP."""

from __future__ import annotations

from typing import Any

from iscsim.errors import ConfigError, FaultError
from iscsim.faults.kinds import FaultKind, Parameter, add_kind
from iscsim.faults.occasion import Hook
from iscsim.faults.rule import FaultRule
from iscsim.faults.world import Undo, World

__all__: list[str] = []


def _set_clock(rule: FaultRule, world: World) -> Undo:
    name, offset_s = rule.parameters["host"], rule.parameters["offset"]
    host = world.hosts.get(name)
    if host is None:
        raise FaultError(f"{rule.id}: there is no host {name}")
    host.clock_offset_s += offset_s

    def undo() -> None:
        host.clock_offset_s -= offset_s

    return undo


def _check_moves(given: Any) -> None:
    if not given["offset"]:
        raise ConfigError("clock.skew: offset is 0, and nothing would happen")


add_kind(
    FaultKind(
        name="clock.skew",
        hooks=(Hook.TIMER,),
        summary="A host's time of day is set forward or back; its timers go on as before.",
        observable="open-iscsi counts the patience of its first login by the time of day: it gives up too"
        " early by as much, or too late; sessions, pings and command timeouts go on",
        action=_set_clock,
        parameters=(
            Parameter("host", str, "whose clock", required=True, known="clock"),
            Parameter("offset", float, "seconds it is set forward; back, when less than 0", required=True),
        ),
        check=_check_moves,
    )
)
