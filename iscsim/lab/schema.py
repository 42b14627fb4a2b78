"""The JSON Schema of scenario files, for editors: made of the very tables that check them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from iscsim.faults.kinds import catalogue
from iscsim.faults.occasion import SCOPES
from iscsim.host.settings import FIND_MULTIPATHS, OPEN_ISCSI_VERSIONS, HostSettings
from iscsim.lab.play import error_names
from iscsim.lab.tables import FILE, HOST, LAB, STEPS, TARGET, Key, step_keys

__all__ = ["scenario_schema"]

_TEXTS = {"type": "array", "items": {"type": "string"}}
_COUNT = {"type": "integer", "minimum": 0}
_TIME = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^\s*[0-9]{1,12}(\.[0-9]{1,12})?(us|ms|s|m|h)?\s*$"},
    ]
}
_KINDS: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "count": _COUNT,
    "truth": {"type": "boolean"},
    "time": _TIME,
    "texts": _TEXTS,
    "numbers": {"type": "array", "items": _COUNT},
    "portals": {"anyOf": [_TEXTS, {"type": "integer", "minimum": 1}]},
    "portal": {"anyOf": [{"type": "string"}, _COUNT]},
    "table": {"type": "object"},
}


def scenario_schema() -> dict[str, Any]:
    """The whole schema (JSON Schema 2020-12)."""
    tables = {"host": _host(), "target": _object(TARGET), "fault": _fault(), "step": _step()}
    properties: dict[str, Any] = {"title": _value(FILE["title"]), "lab": _object(LAB)}
    for name, table in tables.items():
        properties[name] = {"description": FILE[name].summary, "type": "array", "items": table}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A scenario of iscsim run",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def _value(key: Key) -> dict[str, Any]:
    found = {"description": key.summary} | _KINDS[key.kind]
    return found | {"enum": list(key.choices)} if key.choices else found


def _object(keys: Mapping[str, Key]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _value(key) for name, key in keys.items()},
    }
    required = [name for name, key in keys.items() if key.required]
    return found | {"required": required} if required else found


def _host() -> dict[str, Any]:
    """With the settings of `HostSettings`, their kinds by their defaults."""
    found = _object(HOST)
    default = HostSettings()
    names = [each.name for each in fields(HostSettings) if each.name != "local_disks"]
    settings = {name: _setting(name, getattr(default, name)) for name in names}
    settings["find_multipaths"]["enum"] = list(FIND_MULTIPATHS)
    settings["open_iscsi_version"]["enum"] = list(OPEN_ISCSI_VERSIONS)
    found["properties"]["settings"] |= {"additionalProperties": False, "properties": settings}
    return found


def _setting(name: str, default: object) -> dict[str, Any]:
    if name.endswith("_s"):
        return dict(_TIME)
    if isinstance(default, Mapping):
        return {"type": "object", "additionalProperties": _TIME if name == "command_costs" else {}}
    return dict(_KINDS[_KIND_OF[type(default)]])


_KIND_OF: dict[type, str] = {bool: "truth", int: "count", str: "text"}


def _step() -> dict[str, Any]:
    steps = []
    for do, (summary, _) in STEPS.items():
        step = _object(step_keys(do))
        step["properties"]["do"] = {"const": do}
        step["properties"]["expect"] |= {"enum": error_names()}
        steps.append({"description": summary} | step)
    return {"oneOf": steps}


def _fault() -> dict[str, Any]:
    """A fault may have its parameters in a table of their own, or beside its name."""
    when = {
        "nth": {
            "anyOf": [{"type": "integer", "minimum": 1}, {"type": "array", "items": {"type": "integer"}}]
        },
        "every": {"type": "integer", "minimum": 1},
        "first": {"type": "integer", "minimum": 1},
        "after_bytes": {"type": "integer", "minimum": 1},
        "after": _TIME,
        "until": _TIME,
        "p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "gate": {"type": "string"},
        "expr": {"type": "string"},
    }
    return {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"enum": sorted(catalogue())},
            "id": {"type": "string"},
            "at": {"anyOf": [{"type": "string"}, _TEXTS]},
            "match": {"type": "object"},
            "parameters": {"type": "object"},
            "when": {"type": "object", "additionalProperties": False, "properties": when},
            "times": {"type": "integer", "minimum": 1},
            "scope": {"enum": list(SCOPES)},
            "must_fire": {"type": "boolean"},
        },
    }
