"""Faults of one path: of everything that goes through one portal."""

from __future__ import annotations

from typing import Any

from iscsim.faults.conditions import Pieces
from iscsim.faults.kinds import FaultKind, Parameter, add_kind
from iscsim.faults.network_faults import delayed, lose
from iscsim.faults.occasion import Hook, Occasion
from iscsim.faults.rule import FaultRule
from iscsim.faults.seconds import Seconds
from iscsim.net.conditions import Flow

_PATH = (Hook.CONNECT, Hook.SEGMENT)
_PORTAL = ("portal",)

add_kind(
    FaultKind(
        name="path.down",
        hooks=_PATH,
        summary="one path is dead, as with its cable pulled",
        observable="its session loses its pings: SessionFailed; I/O goes on over the other paths",
        action=lose,
        needs=_PORTAL,
    )
)


def _is_down(rule: FaultRule, occasion: Occasion) -> bool:
    """Down in the first half of every period, from when the fault begins."""
    period = rule.parameters["period"]
    return bool((occasion.now - rule.since) % period < period / 2 and occasion.now >= rule.since)


add_kind(
    FaultKind(
        name="path.flap",
        hooks=_PATH,
        summary="one path is dead for half of each period, and well for the other half",
        observable="short periods delay commands, long ones end the session again and again: SessionFailed",
        action=lose,
        parameters=(
            Parameter("period", Seconds, "seconds of down and up together", required=True, minimum=0.001),
        ),
        applies=_is_down,
        needs=_PORTAL,
    )
)


def _slow(rule: FaultRule, flow: Flow, hook: Hook, now: float, pieces: Pieces) -> Any:
    delay = rule.parameters["delay"]
    return 2 * delay if hook is Hook.CONNECT else delayed(pieces, delay)


add_kind(
    FaultKind(
        name="path.slow",
        hooks=_PATH,
        summary="everything on one path takes longer on its way",
        observable="commands on this path take twice as much longer; no error before a timeout",
        action=_slow,
        parameters=(Parameter("delay", Seconds, "seconds of one way", required=True),),
        needs=_PORTAL,
    )
)
