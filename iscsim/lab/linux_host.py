"""Emulated Linux hosts in a lab: as a scenario describes them, and the one of the seeds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from iscsim.errors import ConfigError
from iscsim.faults.names import checked_name
from iscsim.faults.seconds import parse_seconds
from iscsim.host.model import Host
from iscsim.host.settings import HostSettings
from iscsim.lab.play import build

if TYPE_CHECKING:
    from iscsim.lab.scenario import Scenario
    from iscsim.lab.world import Lab

__all__ = ["SEEDS", "build_host", "host_of_table", "host_settings", "linux_host"]

logger = logging.getLogger("iscsim.host")

_CLOSE_S = 5.0
"""How long the end may take."""
SEEDS: dict[str, Any] = {
    "title": "the seeds' lab",
    "host": [
        {
            "name": "newton",
            "addresses": ["10.245.47.10"],
            "initiator_name": "iqn.1993-08.org.debian:01:7cc8838d1c0",
            "settings": {"find_multipaths": "yes"},
        }
    ],
    "target": [
        {
            "name": "iqn.1992-04.com.emc:cx.fnm00150600267",
            "portals": ["10.245.47.95:3260", "10.245.47.96:3260"],
            "luns": ["197=64M,wwn=6006016015e03a00ab2df25bb82d0ea9,serial=FNM00150600267"],
            "personality": "vnx",
        }
    ],
}
"""The world of the seeds' logs, as the tables of a scenario file: ``parse_scenario(SEEDS)``."""


def linux_host(
    lab: Lab, name: str, *addresses: str, settings: Mapping[str, Any] | HostSettings | None = None
) -> Host:
    """The host of that name in ``lab`` as an emulated Linux host; it ends with the lab.

    Raises:
        ConfigError: a setting there is not, or of the wrong kind.
    """
    there = lab.host(name, *addresses) if name not in lab.hosts or addresses else lab.hosts[name]
    own = settings if isinstance(settings, HostSettings) else host_settings(settings or {})
    address = addresses[0] if addresses else next(iter(getattr(there.network, "addresses", ())), "127.0.0.1")
    host = Host(there.network, settings=own, name=name, address=address, rng=there.rng, recorder=lab.recorder)
    lab.closing(lambda: _close(host))
    return host


async def _close(host: Host) -> None:
    """End its sessions, unless one waits for a target that does not answer."""
    try:
        async with asyncio.timeout(_CLOSE_S):
            await host.close()
    except TimeoutError:
        logger.warning("%s: not logged out within %g s", host.name, _CLOSE_S)


def host_settings(table: Mapping[str, Any]) -> HostSettings:
    """The settings of a table of a scenario: `HostSettings` by name, times as 50ms or 2s.

    Raises:
        ConfigError: one there is not, or of the wrong kind.
    """
    known = {each.name: each for each in fields(HostSettings) if each.name != "local_disks"}
    values: dict[str, Any] = {}
    for name, value in table.items():
        default = getattr(_DEFAULTS, checked_name("setting", name, known))
        values[name] = _value(name, value, default)
    return HostSettings(**values)


_DEFAULTS = HostSettings()


def _value(name: str, value: Any, default: Any) -> Any:
    if name.endswith("_s"):
        return parse_seconds(value)
    if isinstance(default, Mapping):
        if not isinstance(value, dict):
            raise ConfigError(f"{name} is {value!r:.60}, expected a table")
        if name == "command_costs":
            return {command: parse_seconds(cost) for command, cost in value.items()}
        return {key: str(each) for key, each in value.items()}
    if type(value) is not type(default):
        raise ConfigError(f"{name} is {value!r:.60}, expected something like {default!r}")
    return value


async def build_host(lab: Lab, scenario: Scenario, name: str | None = None) -> Host:
    """The world of ``scenario``, and in it the host of that name (the first, without) as a Linux host.

    Raises:
        ConfigError: there is no such host; something is described wrongly.
    """
    tables = {each["name"]: each for each in scenario.hosts}
    if name is not None and name not in tables:
        raise ConfigError(f"there is no host {name!r} (there are: {', '.join(tables) or 'none'})")
    if not tables:
        raise ConfigError("the scenario has no [[host]]")
    table = tables[name or next(iter(tables))]
    await build(lab, scenario)
    return host_of_table(lab, table)


def host_of_table(lab: Lab, table: Mapping[str, Any]) -> Host:
    """The Linux host of a ``[[host]]`` of a scenario. Raises ConfigError."""
    settings = dict(table.get("settings", {}))
    if "initiator_name" in table:
        settings.setdefault("initiator_name", table["initiator_name"])
    return linux_host(lab, table["name"], settings=settings)
