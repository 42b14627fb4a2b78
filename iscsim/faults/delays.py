"""Times that are drawn: a delay, how much it varies, and how."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

from iscsim.errors import ConfigError
from iscsim.faults.kinds import Parameter
from iscsim.faults.rule import FaultRule
from iscsim.faults.seconds import Seconds

__all__ = ["DELAY_PARAMETERS", "check_delay", "draw_delay"]

_SPREADS: dict[str, Callable[[random.Random, float, float], float]] = {
    "const": lambda dice, delay, jitter: delay,
    "uniform": lambda dice, delay, jitter: dice.uniform(delay - jitter, delay + jitter),
    # the median is the delay, sigma is jitter / delay: as net.latency has it
    "lognormal": lambda dice, delay, jitter: (
        delay * math.exp(dice.gauss(0.0, jitter / delay)) if delay else 0.0
    ),
}
DELAY_PARAMETERS = (
    Parameter("delay", Seconds, "how much later", required=True),
    Parameter("jitter", Seconds, "the spread: half its width, or sigma times delay", default=0.0),
    Parameter(
        "dist",
        str,
        "how delays are spread: not, evenly, or with a long tail",
        default="const",
        choices=tuple(_SPREADS),
    ),
)


def check_delay(given: Mapping[str, Any]) -> None:
    """Raises `ConfigError` for a jitter that has no spread."""
    if given["jitter"] and given["dist"] == "const":
        raise ConfigError("jitter needs dist = uniform or lognormal")


def draw_delay(rule: FaultRule, stream: str = "delay") -> float:
    """Seconds for one firing of a rule with `DELAY_PARAMETERS`, from a stream of its own."""
    given = rule.parameters
    return max(0.0, _SPREADS[given["dist"]](rule.stream(stream), given["delay"], given["jitter"]))
