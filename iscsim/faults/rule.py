"""One armed fault: what it befalls, when it fires, how often."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from iscsim.errors import ConfigError
from iscsim.faults.expression import compile_expression
from iscsim.faults.kinds import FaultKind
from iscsim.faults.match import Tests, checked_match, compile_match
from iscsim.faults.names import checked_name
from iscsim.faults.near_miss import NearMisses
from iscsim.faults.occasion import SCOPES, Hook, Occasion
from iscsim.faults.seconds import parse_seconds
from iscsim.faults.seeds import stream_of

__all__ = ["FaultRule", "checked_match", "parse_seconds"]

Gate = Callable[[str], bool]
_FOR_EVER = float("inf")

_MOST_SHOWN = 32
"""Bytes of a parameter that a comment shows."""


@dataclass(eq=False, slots=True)
class FaultRule:
    """A fault that is armed; its methods say more precisely when, and give it back::

        lab.fault("task.no_response", command="WRITE (10)").nth(3).times(1)

    Counters are one for each scope ("the 3rd WRITE on session 2"), in the order of the trace. Probability is
    drawn from a stream of its own for each rule and scope, so another rule changes nothing.
    """

    kind: FaultKind
    id: str
    parameters: dict[str, Any]
    match: dict[str, Any]
    hooks: tuple[Hook, ...] = ()
    """Where it is asked for; all of its kind's, unless it was told ``at`` which."""
    scope: str = "global"
    must_fire: bool = True
    limit: int | None = None
    numbers: frozenset[int] = frozenset()
    period: int = 0
    first_numbers: int = 0
    bytes_needed: int = 0
    begins: float = 0.0
    ends: float = _FOR_EVER
    probability: float | None = None
    gate_name: str = ""
    predicates: list[Callable[[Occasion], bool]] = field(default_factory=list)
    expression: str = ""
    fired: int = 0
    armed: bool = True
    seed: int = 0
    armed_at: float = 0.0
    seen: dict[str, int] = field(default_factory=dict)
    bytes_seen: dict[str, int] = field(default_factory=dict)
    state: dict[Any, Any] = field(default_factory=dict)
    """For actions that have to remember something, as what has become of a connection."""
    near_misses: NearMisses = field(default_factory=NearMisses)
    _tests: Tests = field(default_factory=dict)
    _streams: dict[str, random.Random] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.hooks = self.hooks or self.kind.hooks
        self._tests = compile_match(self.match)
        if self.probability is None:
            self.probability = self.parameters.get("p")  # net.loss and its like have it as their own

    # -- saying when -------------------------------------------------------------------------------

    def nth(self, *numbers: int) -> Self:
        """Fire on these occasions of its scope, counted from 1."""
        if not numbers:
            raise ConfigError(f"{self.id}: nth needs a number, counted from 1")
        self.numbers |= frozenset(self._count("nth", number) for number in numbers)
        return self

    def every(self, period: int) -> Self:
        """Fire on every ``period``-th occasion."""
        self.period = self._count("every", period)
        return self

    def first(self, count: int) -> Self:
        """Fire on the first ``count`` occasions."""
        self.first_numbers = self._count("first", count)
        return self

    def after_bytes(self, count: int) -> Self:
        """Fire once ``count`` bytes have come by in its scope."""
        self.bytes_needed = self._count("after_bytes", count)
        return self

    def after(self, seconds: float | str) -> Self:
        """Not before this time of the loop's clock."""
        self.begins = parse_seconds(seconds)
        return self._with_window()

    def until(self, seconds: float | str) -> Self:
        """Not from this time on."""
        self.ends = parse_seconds(seconds)
        return self._with_window()

    def _with_window(self) -> Self:
        if self.begins >= self.ends:
            raise ConfigError(f"{self.id}: after {self.begins:g} s and until {self.ends:g} s can never be")
        return self

    def with_probability(self, probability: float) -> Self:
        """Fire on each occasion with this probability, from a stream that the lab's seed gives."""
        if isinstance(probability, bool) or not isinstance(probability, int | float):
            raise ConfigError(f"{self.id}: p is {str(probability)[:60]!r}, expected a number")
        if not 0 < probability <= 1:
            raise ConfigError(f"{self.id}: p is {probability}, expected more than 0 and at most 1")
        self.probability = float(probability)
        return self

    def gate(self, name: str) -> Self:
        """Only while the lab's flag ``name`` is up; ``file:PATH`` is up while there is such a file."""
        if not isinstance(name, str) or not name.removeprefix("flag:").removeprefix("file:"):
            raise ConfigError(f"{self.id}: gate is {str(name)[:60]!r}, expected flag:NAME or file:PATH")
        self.gate_name = name
        return self

    def when(self, predicate: Callable[[Occasion], bool] | str) -> Self:
        """Only where this holds: a function of the occasion, or an expression."""
        if callable(predicate):
            self.predicates.append(predicate)
            return self
        self.predicates.append(compile_expression(predicate))
        self.expression = f"({self.expression}) and ({predicate})" if self.expression else predicate
        return self

    def times(self, limit: int) -> Self:
        """Disarm after so many firings."""
        self.limit = self._count("times", limit)
        return self

    def per(self, scope: str) -> Self:
        """Count for each connection, session, target or host apart; else globally."""
        self.scope = checked_name("scope", scope, SCOPES)
        return self

    def may_not_fire(self) -> Self:
        """It is no mistake when this fault never fires."""
        self.must_fire = False
        return self

    def _count(self, what: str, number: Any) -> int:
        if type(number) is not int or number < 1:
            raise ConfigError(f"{self.id}: {what} is {str(number)[:60]!r}, expected a whole number from 1")
        return number

    # -- deciding ----------------------------------------------------------------------------------

    def considers(self, occasion: Occasion) -> bool:
        """Whether this occasion is one the rule counts."""
        if self.kind.opcodes and occasion.opcode not in self.kind.opcodes:
            return False
        missed = [name for name, test in self._tests.items() if not test(occasion)]
        if missed:
            self.near_misses.add(missed, occasion)
            return False
        if not self.kind.applies(self, occasion):
            return False
        if all(predicate(occasion) for predicate in self.predicates):
            return True
        self.near_misses.add([], occasion)
        return False

    def decide(self, occasion: Occasion, is_up: Gate) -> tuple[bool, str]:
        """Count ``occasion``; whether to fire, and why or why not."""
        key = occasion.scope_key(self.scope)
        number = self.seen[key] = self.seen.get(key, 0) + 1
        count = self.bytes_seen[key] = self.bytes_seen.get(key, 0) + occasion.length
        reason = self._refusal(number, count, occasion.now, key, is_up)
        if reason:
            return False, reason
        self.fired += 1
        if self.limit is not None and self.fired >= self.limit:
            self.armed = False
        return True, f"occasion {number}"

    def _refusal(self, number: int, count: int, now: float, key: str, is_up: Gate) -> str:
        if not self.begins <= now < self.ends:
            return "outside its time"
        if self.gate_name and not is_up(self.gate_name):
            return f"gate {self.gate_name} is down"
        if not self._counts(number):
            return f"occasion {number}"
        if count < self.bytes_needed:
            return f"{count} bytes so far"
        if self.probability is not None and self.stream(key).random() >= self.probability:
            return "by chance"
        return ""

    def _counts(self, number: int) -> bool:
        asked = [
            number in self.numbers if self.numbers else None,
            number % self.period == 0 if self.period else None,
            number <= self.first_numbers if self.first_numbers else None,
        ]
        said = [each for each in asked if each is not None]
        return any(said) if said else True

    def stream(self, key: str) -> random.Random:
        """The chance of this rule and ``key`` alone, which the lab's seed gives."""
        if key not in self._streams:
            self._streams[key] = stream_of(self.seed, self.id, key)
        return self._streams[key]

    @property
    def comment(self) -> str:
        """What a capture shows on the frame, and the log in its line."""
        values = {name: value for name, value in self.parameters.items() if value is not None}
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in values.items())
        return f"fault {self.kind.name}{f'({shown})' if shown else ''} [{self.id} #{self.fired}]"

    @property
    def since(self) -> float:
        """From when on it can fire, in seconds of the loop's clock."""
        return max(self.begins, self.armed_at)

    # -- showing -----------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """The rule as TOML and JSON have it; `from_description` reads it again.

        A function given to `when` cannot be written: its name is there, and is refused when read.
        """
        from iscsim.faults.description import describe

        return describe(self)

    @classmethod
    def from_description(cls, description: Mapping[str, Any], *, default_id: str) -> FaultRule:
        """The rule of a ``[[fault]]`` table. Raises `ConfigError` for what it does not know."""
        from iscsim.faults.description import parse

        return parse(description, default_id)


def _shown(value: Any) -> str:
    if not isinstance(value, bytes):
        return str(value)
    return value[:_MOST_SHOWN].hex() + ("..." if len(value) > _MOST_SHOWN else "")
