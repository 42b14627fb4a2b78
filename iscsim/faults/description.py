"""Rules as ``[[fault]]`` tables have them, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from iscsim.errors import ConfigError
from iscsim.faults.kinds import FaultKind, find_kind
from iscsim.faults.match import checked_match
from iscsim.faults.names import checked_name, hint
from iscsim.faults.occasion import Hook
from iscsim.faults.rule import FaultRule
from iscsim.faults.seconds import parse_seconds

__all__ = ["describe", "parse", "shift_times"]

_KEYS = ("id", "name", "at", "match", "when", "times", "scope", "must_fire", "parameters")
_WHEN = ("nth", "every", "first", "after_bytes", "after", "until", "p", "gate", "expr")


def describe(rule: FaultRule) -> dict[str, Any]:
    """See `FaultRule.describe`. Only what was said: no trigger, no match, no limit is left out."""
    kind = rule.kind
    parameters = {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in rule.parameters.items()
        if value is not None and name not in kind.presets
    }
    when: dict[str, Any] = {
        "nth": sorted(rule.numbers),
        "every": rule.period,
        "first": rule.first_numbers,
        "after_bytes": rule.bytes_needed,
        "after": rule.begins,
        "until": None if rule.ends == float("inf") else rule.ends,
        "p": None if rule.probability == rule.parameters.get("p") else rule.probability,
        "gate": rule.gate_name,
        "expr": rule.expression,
        "predicate": ", ".join(_functions(rule)),
    }
    found: dict[str, Any] = {"id": rule.id, "name": kind.name, "scope": rule.scope}
    if rule.hooks != kind.hooks:
        found["at"] = [hook.value for hook in rule.hooks]
    found |= {"parameters": parameters, "match": rule.match}
    found |= {"when": {name: value for name, value in when.items() if value}}
    found |= {"times": rule.limit} if rule.limit is not None else {}
    return found | {"must_fire": rule.must_fire}


def _functions(rule: FaultRule) -> list[str]:
    own = "compile_expression.<locals>.holds"
    names = [getattr(each, "__qualname__", type(each).__name__) for each in rule.predicates]
    return [name for name in names if name != own]


def parse(description: Mapping[str, Any], default_id: str) -> FaultRule:
    """See `FaultRule.from_description`."""
    if not isinstance(description, Mapping) or "name" not in description:
        raise ConfigError("a fault needs a name")
    kind = find_kind(description["name"])
    own = kind.open_parameters
    for name in description:
        checked_name(f"key of the fault {kind.name}", name, (*_KEYS, *own))
    given = {name: description[name] for name in description if name in own and name not in _KEYS}
    hooks = _hooks(kind, description.get("at"))
    match = checked_match(kind, _table(kind, description, "match"), hooks)
    parameters = kind.parameters_of(given | dict(_table(kind, description, "parameters")))
    rule = FaultRule(kind, _id(kind, description, default_id), parameters, match, hooks)
    _take_when(rule, _table(kind, description, "when"))
    if description.get("times") is not None:
        rule.times(description["times"])
    rule.per(description.get("scope", "global"))
    rule.must_fire = description.get("must_fire", True)
    if not isinstance(rule.must_fire, bool):
        raise ConfigError(f"{rule.id}: must_fire is {str(rule.must_fire)[:60]!r}, expected true or false")
    return rule


def _table(kind: FaultKind, description: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = description.get(name, {})
    if not isinstance(found, Mapping):
        raise ConfigError(f"{kind.name}: {name} is {str(found)[:60]!r}, expected a table")
    return found


def _id(kind: FaultKind, description: Mapping[str, Any], default_id: str) -> str:
    found = description.get("id", default_id)
    if not isinstance(found, str) or not found or not found.isprintable() or len(found) > 200:
        raise ConfigError(f"{kind.name}: id is {str(found)[:60]!r}, expected a text")
    return found


def _hooks(kind: FaultKind, at: Any) -> tuple[Hook, ...]:
    """The hooks of ``kind`` that ``at`` names: ``"net.connect"``, or ``"net"`` for all of that layer."""
    if at is None:
        return kind.hooks
    asked = at if isinstance(at, list | tuple) else [at]
    found = [hook for hook in kind.hooks for each in asked if _is_at(hook, each)]
    if not found:
        names = [hook.value for hook in kind.hooks]
        raise ConfigError(f"{kind.name} never fires at {str(at)[:60]!r} ({hint(str(at), names)})")
    return tuple(dict.fromkeys(found))


def _is_at(hook: Hook, at: Any) -> bool:
    return hook.value == at or hook.value.startswith(f"{at}.")


def _take_when(rule: FaultRule, when: Mapping[str, Any]) -> None:
    setters: dict[str, Callable[[Any], Any]] = {
        "nth": lambda value: rule.nth(*(value if isinstance(value, list | tuple) else [value])),
        "every": rule.every,
        "first": rule.first,
        "after_bytes": rule.after_bytes,
        "after": rule.after,
        "until": rule.until,
        "p": rule.with_probability,
        "gate": rule.gate,
        "expr": lambda value: rule.when(_expression(rule, value)),
    }
    for name, value in when.items():
        setters[checked_name("trigger", name, _WHEN)](value)


def _expression(rule: FaultRule, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{rule.id}: expr is {str(value)[:60]!r}, expected a text")
    return value


def shift_times(description: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """``description`` with ``after`` and ``until`` so much later: a loop's clock need not begin at 0."""
    when = description.get("when") if isinstance(description, Mapping) else None
    if not isinstance(when, Mapping) or not seconds:
        return dict(description)
    later = {name: parse_seconds(when[name]) + seconds for name in ("after", "until") if name in when}
    return {**description, "when": {**when, **later}}
