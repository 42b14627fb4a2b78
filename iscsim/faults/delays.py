"""Times that are drawn: a delay, how much it varies, and how."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from iscsim.faults.kinds import Parameter
from iscsim.faults.rule import FaultRule
from iscsim.faults.seconds import Seconds

__all__ = ["DELAY_PARAMETERS", "draw_delay"]

_SPREADS: dict[str, Callable[[random.Random, float, float], float]] = {
    "const": lambda dice, delay, jitter: delay,
    "uniform": lambda dice, delay, jitter: dice.uniform(delay - jitter, delay + jitter),
    # the median is the delay, and one standard deviation above it delay + jitter
    "lognormal": lambda dice, delay, jitter: (
        delay * math.exp(dice.gauss(0.0, math.log1p(jitter / delay))) if delay else 0.0
    ),
}
DELAY_PARAMETERS = (
    Parameter("delay", Seconds, "how much later", required=True),
    Parameter("jitter", Seconds, "how much that varies", default=0.0),
    Parameter("dist", str, "how it varies", default="uniform", choices=tuple(_SPREADS)),
)


def draw_delay(rule: FaultRule, stream: str = "delay") -> float:
    """Seconds for one firing of a rule with `DELAY_PARAMETERS`, from a stream of its own."""
    given = rule.parameters
    return max(0.0, _SPREADS[given["dist"]](rule.stream(stream), given["delay"], given["jitter"]))
