"""A scenario file (TOML): a world, what goes wrong in it, what is done."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from iscsim.errors import ConfigError
from iscsim.faults.names import checked_name
from iscsim.faults.rule import FaultRule
from iscsim.faults.seconds import parse_seconds
from iscsim.lab.tables import FILE, HOST, LAB, STEPS, TARGET, checked_table, step_keys

__all__ = ["Scenario", "read_scenario"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What a file says, checked: ``faults`` as `FaultRule.from_description` takes them, each with its id."""

    title: str = ""
    network: str = "memory"
    seed: int = 0
    latency_s: float | None = None
    hosts: list[dict[str, Any]] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)

    def with_options(self, *, seed: int | None = None, network: str | None = None) -> Scenario:
        """The same with another seed, on another network. Raises `ConfigError`."""
        if network is not None:
            checked_table("--network", {"network": network}, LAB)
        return replace(self, seed=self.seed if seed is None else seed, network=network or self.network)

    def with_faults(self, faults: list[dict[str, Any]]) -> Scenario:
        """The same with these faults only."""
        return replace(self, faults=faults)


def read_scenario(path: Path) -> Scenario:
    """Read a file. Raises `ConfigError` in one line that says where and what."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        return parse_scenario(document)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse_scenario(document: dict[str, Any]) -> Scenario:
    """The scenario of what TOML gave. Raises `ConfigError`."""
    checked_table("scenario", document, FILE)
    lab = checked_table("[lab]", document.get("lab", {}), LAB)
    steps = document.get("step", [])
    return Scenario(
        title=document.get("title", ""),
        network=lab.get("network", "memory"),
        seed=lab.get("seed", 0),
        latency_s=parse_seconds(lab["latency"]) if "latency" in lab else None,
        hosts=_tables(document, "host", HOST),
        targets=_tables(document, "target", TARGET),
        faults=_faults(document.get("fault", [])),
        steps=[_step(number, table) for number, table in enumerate(steps, 1)],
    )


def _tables(document: dict[str, Any], name: str, keys: dict[str, Any]) -> list[dict[str, Any]]:
    tables = document.get(name, [])
    return [checked_table(f"[[{name}]] {number}", table, keys) for number, table in enumerate(tables, 1)]


def _faults(tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With ids, that are the same when a fault before them goes: chance comes from them."""
    found, taken = [], [table.get("id") for table in tables]
    for number, table in enumerate(tables, 1):
        try:
            rule = FaultRule.from_description(table, default_id=f"{table.get('name')}-{number}")
        except ConfigError as error:
            raise ConfigError(f"[[fault]] {number}: {error}") from None
        if taken.count(rule.id) > 1:
            raise ConfigError(f"[[fault]] {number}: two faults have the id {rule.id!r}")
        found.append(table | {"id": rule.id})
    return found


def _step(number: int, table: dict[str, Any]) -> dict[str, Any]:
    where = f"[[step]] {number}"
    try:
        do = checked_name("step", table.get("do", ""), STEPS)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return checked_table(f"{where} ({do})", table, step_keys(do))
