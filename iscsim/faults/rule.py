"""One armed fault: what it befalls, when it fires, how often."""

from __future__ import annotations

import fnmatch
import hashlib
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from iscsim.errors import ConfigError
from iscsim.faults.expression import compile_expression
from iscsim.faults.kinds import FaultKind, find_kind
from iscsim.faults.names import checked_name
from iscsim.faults.occasion import SCOPES, Occasion

__all__ = ["FaultRule", "parse_seconds"]

Gate = Callable[[str], bool]
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?\Z")
_UNITS = {None: 1.0, "s": 1.0, "ms": 0.001, "m": 60.0, "h": 3600.0}
_WHEN = ("nth", "every", "first", "after_bytes", "after", "until", "p", "gate", "expr")


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
    scope: str = "global"
    must_fire: bool = True
    limit: int | None = None
    numbers: frozenset[int] = frozenset()
    period: int = 0
    first_numbers: int = 0
    bytes_needed: int = 0
    begins: float = 0.0
    ends: float = float("inf")
    probability: float | None = None
    gate_name: str = ""
    predicates: list[Callable[[Occasion], bool]] = field(default_factory=list)
    expression: str = ""
    fired: int = 0
    armed: bool = True
    seen: dict[str, int] = field(default_factory=dict)
    bytes_seen: dict[str, int] = field(default_factory=dict)
    near_miss: str = ""
    """The last occasion at its hook that did not match, and on what."""
    _streams: dict[str, random.Random] = field(default_factory=dict)

    # -- saying when -------------------------------------------------------------------------------

    def nth(self, *numbers: int) -> Self:
        """Fire on these occasions of its scope, counted from 1."""
        if not numbers or min(numbers) < 1:
            raise ConfigError(f"{self.id}: occasions are counted from 1")
        self.numbers |= frozenset(numbers)
        return self

    def every(self, period: int) -> Self:
        """Fire on every ``period``-th occasion."""
        if period < 1:
            raise ConfigError(f"{self.id}: every {period} makes no sense")
        self.period = period
        return self

    def first(self, count: int) -> Self:
        """Fire on the first ``count`` occasions."""
        if count < 1:
            raise ConfigError(f"{self.id}: the first {count} makes no sense")
        self.first_numbers = count
        return self

    def after_bytes(self, count: int) -> Self:
        """Fire once ``count`` bytes have come by in its scope."""
        self.bytes_needed = count
        return self

    def after(self, seconds: float | str) -> Self:
        """Not before this time of the loop's clock."""
        self.begins = parse_seconds(seconds)
        return self

    def until(self, seconds: float | str) -> Self:
        """Not from this time on."""
        self.ends = parse_seconds(seconds)
        return self

    def with_probability(self, probability: float) -> Self:
        """Fire on each occasion with this probability, from a stream that the lab's seed gives."""
        if not 0 < probability <= 1:
            raise ConfigError(f"{self.id}: p is {probability}, expected more than 0 and at most 1")
        self.probability = probability
        return self

    def gate(self, name: str) -> Self:
        """Only while the lab's flag ``name`` is up; ``file:PATH`` is up while there is such a file."""
        self.gate_name = name
        return self

    def when(self, predicate: Callable[[Occasion], bool] | str) -> Self:
        """Only where this holds: a function of the occasion, or an expression."""
        if isinstance(predicate, str):
            self.expression = predicate
            predicate = compile_expression(predicate)
        self.predicates.append(predicate)
        return self

    def times(self, limit: int) -> Self:
        """Disarm after so many firings."""
        if limit < 1:
            raise ConfigError(f"{self.id}: {limit} times makes no sense")
        self.limit = limit
        return self

    def per(self, scope: str) -> Self:
        """Count for each connection, session, target or host apart; else globally."""
        self.scope = checked_name("scope", scope, SCOPES)
        return self

    def may_not_fire(self) -> Self:
        """It is no mistake when this fault never fires."""
        self.must_fire = False
        return self

    # -- deciding ----------------------------------------------------------------------------------

    def considers(self, occasion: Occasion) -> bool:
        """Whether this occasion is one the rule counts."""
        if self.kind.opcodes and occasion.opcode not in self.kind.opcodes:
            return False
        for name, wanted in self.match.items():
            found = getattr(occasion, name)
            if not _matches(wanted, found):
                self.near_miss = f"{name} was {found!r}, not {wanted!r}"
                return False
        return self._holds(occasion)

    def _holds(self, occasion: Occasion) -> bool:
        if all(predicate(occasion) for predicate in self.predicates):
            return True
        self.near_miss = f"{self.expression or 'its predicate'} did not hold"
        return False

    def decide(self, occasion: Occasion, seed: int, is_up: Gate) -> tuple[bool, str]:
        """Count ``occasion``; whether to fire, and why or why not."""
        key = occasion.scope_key(self.scope)
        number = self.seen[key] = self.seen.get(key, 0) + 1
        count = self.bytes_seen[key] = self.bytes_seen.get(key, 0) + occasion.length
        reason = self._refusal(number, count, occasion.now, key, seed, is_up)
        if reason:
            return False, reason
        self.fired += 1
        if self.limit is not None and self.fired >= self.limit:
            self.armed = False
        return True, f"occasion {number}"

    def _refusal(self, number: int, count: int, now: float, key: str, seed: int, is_up: Gate) -> str:
        if not self.begins <= now < self.ends:
            return "outside its time"
        if self.gate_name and not is_up(self.gate_name):
            return f"gate {self.gate_name} is down"
        if not self._counts(number):
            return f"occasion {number}"
        if count < self.bytes_needed:
            return f"{count} bytes so far"
        if self.probability is not None and self._draw(key, seed) >= self.probability:
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

    def _draw(self, key: str, seed: int) -> float:
        if key not in self._streams:
            digest = hashlib.blake2b(f"{seed}\0{self.id}\0{key}".encode(), digest_size=16).digest()
            self._streams[key] = random.Random(int.from_bytes(digest, "big"))
        return self._streams[key].random()

    # -- showing -----------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """The rule as TOML and JSON have it; `from_description` reads it again."""
        when = {
            "nth": sorted(self.numbers),
            "every": self.period,
            "first": self.first_numbers,
            "after_bytes": self.bytes_needed,
            "after": self.begins,
            "until": None if self.ends == float("inf") else self.ends,
            "p": self.probability,
            "gate": self.gate_name,
            "expr": self.expression,
        }
        parameters = {
            name: value.hex() if isinstance(value, bytes) else value
            for name, value in self.parameters.items()
            if value is not None and name not in self.kind.presets
        }
        found: dict[str, Any] = {"id": self.id, "name": self.kind.name, "scope": self.scope}
        found |= {"parameters": parameters, "match": self.match}
        found |= {"when": {name: value for name, value in when.items() if value}}
        return found | {"times": self.limit, "must_fire": self.must_fire}

    @classmethod
    def from_description(cls, description: Mapping[str, Any], *, default_id: str) -> FaultRule:
        """The rule of a ``[[fault]]`` table. Raises `ConfigError` for what it does not know."""
        known = ("id", "name", "match", "when", "times", "scope", "must_fire", "parameters", "at")
        if "name" not in description:
            raise ConfigError("a fault needs a name")
        kind = find_kind(description["name"])
        own = {parameter.name for parameter in kind.parameters}
        for name in description:
            if name not in own:
                checked_name(f"key of the fault {kind.name}", name, (*known, *own))
        given = {name: description[name] for name in description if name in own and name not in known}
        rule = cls(
            kind,
            str(description.get("id") or default_id),
            kind.parameters_of({**given, **description.get("parameters", {})}),
            checked_match(kind, description.get("match", {})),
        )
        rule._take_when(description.get("when", {}))
        if description.get("times") is not None:
            rule.times(int(description["times"]))
        rule.per(description.get("scope", "global"))
        rule.must_fire = bool(description.get("must_fire", True))
        return rule

    def _take_when(self, when: Mapping[str, Any]) -> None:
        setters: dict[str, Callable[[Any], Any]] = {
            "nth": lambda value: self.nth(*(value if isinstance(value, Sequence) else [value])),
            "every": self.every,
            "first": self.first,
            "after_bytes": self.after_bytes,
            "after": self.after,
            "until": self.until,
            "p": self.with_probability,
            "gate": self.gate,
            "expr": self.when,
        }
        for name, value in when.items():
            setters[checked_name("trigger", name, _WHEN)](value)


def checked_match(kind: FaultKind, match: Mapping[str, Any]) -> dict[str, Any]:
    """``match`` when it can be true at the hooks of ``kind``. Raises `ConfigError`."""
    for name in match:
        checked_name(f"match of {kind.name}", name, kind.fields)
    wanted = match.get("opcode")
    if wanted is not None and kind.opcodes and not any(_matches(wanted, each) for each in kind.opcodes):
        raise ConfigError(
            f"{kind.name} befalls {' and '.join(kind.opcodes)}: opcode={wanted!r} can never be true"
        )
    return dict(match)


def _matches(wanted: Any, found: Any) -> bool:
    """Texts by pattern (``iqn.1993-08.*``), lists by any of theirs, numbers as they are."""
    if isinstance(wanted, list | tuple | set | frozenset):
        return any(_matches(each, found) for each in wanted)
    if isinstance(wanted, str):
        return fnmatch.fnmatchcase(str(found).lower(), wanted.lower())
    return bool(wanted == found)


def parse_seconds(text: float | str) -> float:
    """Seconds from a number or ``"70s"``, ``"250ms"``, ``"2m"``. Raises `ConfigError`."""
    if isinstance(text, int | float) and not isinstance(text, bool) and text >= 0:
        return float(text)
    found = _SECONDS.match(str(text).strip())
    if found is None:
        raise ConfigError(f"not a time: {text!r} (expected seconds, or 250ms, 70s, 2m, 1h)")
    return float(found[1]) * _UNITS[found[2]]
