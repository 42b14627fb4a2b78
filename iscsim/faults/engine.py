"""The faults of one lab: armed, asked at every hook, fired, counted, written down."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from iscsim.errors import ConfigError, FaultError
from iscsim.faults.kinds import catalogue, find_kind
from iscsim.faults.match import check_known, checked_match
from iscsim.faults.names import checked_name
from iscsim.faults.occasion import Hook, Occasion
from iscsim.faults.rule import FaultRule
from iscsim.faults.trace import Trace

__all__ = ["FaultEngine", "Firing"]

logger = logging.getLogger("iscsim.faults")
_MOST_FIRINGS = 10000
_MOST_LOGGED = 16
"""Firings of one rule that the log names: a fault of every segment has far more than a log has room for."""


@dataclass(frozen=True, slots=True)
class Firing:
    """One time a fault fired."""

    at: float
    rule: str
    name: str
    comment: str


class FaultEngine:
    """Holds the rules. ``seed`` gives every rule its own stream of chance; ``trace`` gets each decision.

    Hooks ask `firing`; a hook without rules costs a look into a dictionary. ``clock`` is the loop's, that of
    the trace unless given.
    """

    def __init__(
        self, seed: int = 0, trace: Trace | None = None, *, clock: Callable[[], float] | None = None
    ) -> None:
        self.seed = seed
        self.trace = trace
        self.clock = clock or (trace.clock if trace is not None else lambda: 0.0)
        self.rules: dict[str, FaultRule] = {}
        self.firings: list[Firing] = []
        self.flags: set[str] = set()
        self.known: dict[str, Callable[[], Iterable[Any]]] = {}
        """What there is in this lab of ``"portal"``, ``"initiator"``, ``"target"``, ``"lun"``, ``"unit"``,
        ``"host"``, ``"nic"``, ``"address"``, ``"mapped_lun"`` and ``"clock"`` (hosts with one): a fault of
        another is refused. Not told, all are taken."""
        self.file_exists: Callable[[str], bool] = lambda path: False
        """How a gate ``file:PATH`` looks; a lab that may touch files says how."""
        self.listeners: list[Callable[[FaultRule], None]] = []
        """Told of every rule that is added; taps are put in only where there is something to do."""
        self.removal_listeners: list[Callable[[FaultRule], None]] = []
        """Told of every rule that is removed."""
        self.watchers: list[Callable[[Firing], None]] = []
        """Told of every time a fault fires."""
        self.network = ""
        """``"memory"`` or ``"tcp"``, when faults that do not work on it are to be refused."""
        self.connection_numbers = itertools.count(1)
        """For real connections, which have no numbers of their own."""
        self._by_hook: dict[Hook, list[FaultRule]] = {hook: [] for hook in Hook}
        self._failed: dict[str, str] = {}

    # -- arming ------------------------------------------------------------------------------------

    def add(self, name: str, /, *, id: str = "", **given: Any) -> FaultRule:
        """Arm a fault. ``given`` are its parameters and what it has to match.

        Raises `ConfigError` for an unknown fault, parameter or match, with the nearest valid name.
        """
        kind = find_kind(name)
        given = {key.removesuffix("_"): value for key, value in given.items()}  # class_, as class is Python's
        own, matchable = kind.open_parameters, kind.fields
        for key in given:
            checked_name(f"parameter or match of {kind.name}", key, sorted({*own, *matchable}))
        match = checked_match(kind, {key: value for key, value in given.items() if key not in own})
        parameters = kind.parameters_of({key: value for key, value in given.items() if key in own})
        return self.arm(FaultRule(kind, id or self._new_id(name), parameters, match))

    def add_description(self, description: Mapping[str, Any]) -> FaultRule:
        """Arm the fault of a ``[[fault]]`` table. Raises `ConfigError`."""
        name = description.get("name") if isinstance(description, Mapping) else None
        return self.arm(FaultRule.from_description(description, default_id=self._new_id(str(name))))

    def _new_id(self, name: str) -> str:
        """Numbered by name: a fault of another name leaves the ids, and with them all chance, as they are."""
        numbers = itertools.count(1)
        return next(id for number in numbers if (id := f"{name}-{number}") not in self.rules)

    def arm(self, rule: FaultRule) -> FaultRule:
        """Arm a rule that was made elsewhere.

        Raises `ConfigError` when its id is taken, or it is about what this lab does not have.
        """
        if rule.id in self.rules:
            raise ConfigError(f"there is a fault {rule.id!r} already")
        if self.network and self.network not in rule.kind.networks:
            raise ConfigError(f"{rule.kind.name} needs the {' or '.join(rule.kind.networks)} network")
        check_known(rule.kind, rule.match, rule.parameters, self.known)
        rule.seed, rule.armed_at = self.seed, self.clock()
        self.rules[rule.id] = rule
        for hook in rule.hooks:
            self._by_hook[hook].append(rule)
        if self.trace is not None:
            self.trace.add_later("armed", rule.describe)
        for listener in self.listeners:
            listener(rule)
        return rule

    def remove(self, id: str) -> FaultRule:
        """Disarm and forget a rule. Raises `ConfigError` for one there is not."""
        rule = self.rules.pop(checked_name("fault rule", id, self.rules))
        for hook in rule.hooks:
            self._by_hook[hook].remove(rule)
        rule.armed = False
        for listener in self.removal_listeners:
            listener(rule)
        return rule

    def reset(self) -> None:
        """Forget every rule: from now on all is well."""
        for id in list(self.rules):
            self.remove(id)
        self.flags.clear()
        self._failed.clear()

    def expects(self, hook: Hook) -> bool:
        """Whether any rule waits at ``hook``."""
        return bool(self._by_hook[hook])

    # -- firing ------------------------------------------------------------------------------------

    def firing(self, occasion: Occasion) -> list[FaultRule]:
        """The rules that fire now, in the order in which they were armed."""
        return [rule for rule in list(self._by_hook[occasion.hook]) if self.fires(rule, occasion)]

    def fires(self, rule: FaultRule, occasion: Occasion) -> bool:
        """Whether this rule fires now."""
        if not (rule.armed and rule.considers(occasion)):
            return False
        fires, reason = rule.decide(occasion, self._is_up)
        if self.trace is not None:
            self.trace.add("fault", rule=rule.id, fired=fires, reason=reason, **occasion.describe())
        if fires:
            self._note(rule, occasion)
        return fires

    def _note(self, rule: FaultRule, occasion: Occasion) -> None:
        comment = rule.comment
        if rule.fired <= _MOST_LOGGED:
            last = "; further ones are not logged" if rule.fired == _MOST_LOGGED else ""
            where = occasion.portal or occasion.unit or occasion.hook.value
            logger.warning("%s (%s)%s", comment, where, last)
        firing = Firing(occasion.now, rule.id, rule.kind.name, comment)
        if len(self.firings) < _MOST_FIRINGS:
            self.firings.append(firing)
        for watcher in self.watchers:
            watcher(firing)

    def _is_up(self, gate: str) -> bool:
        kind, _, name = gate.partition(":")
        if kind == "file":
            return self.file_exists(name)
        return gate.removeprefix("flag:") in self.flags

    def fail(self, rule: FaultRule, why: str) -> None:
        """``rule`` has fired, and could do nothing: what it is about is not there (any more)."""
        logger.error("%s", why)
        self._failed[rule.id] = why

    # -- judging -----------------------------------------------------------------------------------

    def unfired(self) -> list[FaultRule]:
        """Rules that had to fire and never did."""
        return [rule for rule in self.rules.values() if rule.must_fire and not rule.fired]

    def check(self) -> None:
        """Raises `FaultError` when a rule that had to fire has not, or had nothing to befall: such a test
        proves nothing."""
        missed = [*self._failed.values(), *(self._explain(rule) for rule in self.unfired())]
        if missed:
            raise FaultError("; ".join(missed))

    def _explain(self, rule: FaultRule) -> str:
        came = sum(rule.seen.values())
        if came:
            why = f"{came} occasion{'s' if came > 1 else ''} came by, none was what it waits for"
        elif rule.near_misses:
            why = f"nothing matched; {rule.near_misses.explain(rule.match, rule.expression)}"
        else:
            why = f"nothing came by at {' or '.join(hook.value for hook in rule.hooks)}"
        return f"fault {rule.id} ({rule.kind.name}) never fired: {why}"

    def describe(self) -> list[dict[str, Any]]:
        """Every rule, with how often it has fired."""
        return [{**rule.describe(), "fired": rule.fired, "armed": rule.armed} for rule in self.rules.values()]

    @staticmethod
    def names() -> list[str]:
        """Every fault there is."""
        return sorted(catalogue())
