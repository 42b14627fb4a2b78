"""A host in a lab, for the tests of this room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from iscsim.host.model import Host
from iscsim.host.settings import HostSettings
from iscsim.lab import Lab

ARRAY = "iqn.2026-11.org.iscsim:array"
PORTALS = ["10.245.47.95:3260", "10.245.47.96:3260"]
WWN = "36006016015e03a00ab2df25bb82d0ea9"
LUN = f"64M,wwn={WWN[1:]},serial=FNM00150600267"
_PLAIN = HostSettings()


async def make_host(lab: Lab, settings: HostSettings = _PLAIN, **target: Any) -> Host:
    """A host and a target with two portals; ``target`` is as for `Lab.target`."""
    await lab.target(ARRAY, **({"portals": PORTALS, "luns": {1: LUN}} | target))
    place = lab.host("compute", "10.245.47.10")
    host = Host(place.network, settings=settings, rng=place.rng)
    lab.closing(host.close)
    return host


async def log_in(lab: Lab, settings: HostSettings = _PLAIN, **target: Any) -> Host:
    """The same, logged in at both portals, and settled."""
    host = await make_host(lab, settings, **target)
    await host.execute("iscsiadm", "-m", "discovery", "-t", "st", "-p", PORTALS[0])
    await host.execute("iscsiadm", "-m", "node", "--login")
    await host.settle()
    return host


def play(story: Callable[[Lab], Awaitable[Any]], **options: Any) -> Any:
    """Run a story in virtual time; what it returned comes back."""
    return Lab.run(story, **options)
