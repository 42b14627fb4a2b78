"""A host with os-brick, whichever is installed, and an array: where the bugs of the catalogue are played."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("greenlet", reason="greenlet is missing (iscsim[osbrick] or iscsim[newton])")
os_brick = pytest.importorskip("os_brick", reason="os-brick is missing (iscsim[osbrick] or iscsim[newton])")

from os_brick import exception  # noqa: E402
from os_brick.initiator import connector  # noqa: E402
from oslo_concurrency import processutils  # noqa: E402

from iscsim.host.model import Host  # noqa: E402
from iscsim.host.sandbox.sandbox import HostSandbox  # noqa: E402
from iscsim.host.settings import HostSettings  # noqa: E402
from iscsim.lab import Lab  # noqa: E402
from iscsim.lab.serving import LiveTarget  # noqa: E402

__all__ = ["exception", "processutils"]

NEWTON = not hasattr(os_brick, "setup")
newton = pytest.mark.skipif(not NEWTON, reason="needs os-brick 1.6.2 (iscsim[newton])")
modern = pytest.mark.skipif(NEWTON, reason="needs os-brick 7.1.1 (iscsim[osbrick])")
ARRAY = "iqn.2026-11.org.iscsim:array"
PORTALS = ["10.245.47.95:3260", "10.245.47.96:3260"]
A, B = "36006016015e03a00ab2df25bb82d0ea9", "36006016074e03a008d3cf25b04e2daae"
"""What two volumes are called."""
OF_TODAY = HostSettings(find_multipaths="no", udev_delay_s=0.3, multipathd_delay_s=0.1)
OF_NEWTON = HostSettings(
    open_iscsi_version="2.0-873",
    multipath_tools_version="0.4.9",
    manual_scan=False,
    find_multipaths="yes",
    udev_delay_s=0.3,
    multipathd_delay_s=0.1,
)
KEPT = ("discovery", "wwid")
"""What os-brick leaves by design: where it asked for targets, and which units are multipathed."""


def unit(wwn: str, size: str = "64M") -> str:
    """A LUN as `LiveTarget.add_lun` wants it."""
    return f"{size},wwn={wwn[1:]},serial={wwn[-8:]}"


def properties(
    lun: int = 1, *, portals: list[str] = PORTALS, name: str = ARRAY, **more: Any
) -> dict[str, Any]:
    """What cinder would return of the volume at a LUN."""
    count = len(portals)
    found = {
        "target_discovered": True,
        "target_iqn": name,
        "target_portal": portals[0],
        "target_lun": lun,
        "target_iqns": [name] * count,
        "target_portals": list(portals),
        "target_luns": [lun] * count,
        "volume_id": "5ed0cc5c-158c-4857-9bd5-3556884a23f0",
        "access_mode": "rw",
    }
    return found | more


def to_discover(lun: int = 1) -> dict[str, Any]:
    """The same of a backend that tells one portal only."""
    return {key: value for key, value in properties(lun).items() if not key.endswith("s")}


class Story:
    """The host, the array, and what was run."""

    def __init__(self, lab: Lab, array: LiveTarget, host: Host, box: HostSandbox, *, multipath: bool) -> None:
        self.lab, self.array, self.host, self.box = lab, array, host, box
        self.connector = self.make_connector(multipath=multipath)

    def make_connector(self, *, multipath: bool) -> Any:
        """os-brick's."""
        return connector.InitiatorConnector.factory("ISCSI", "", use_multipath=multipath)

    async def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """What a method of the connector returns."""
        return await self.box.call(getattr(self.connector, method), *arguments, **options)

    async def attach(self, lun: int = 1, **more: Any) -> Any:
        """``connect_volume``."""
        return await self.call("connect_volume", properties(lun, **more))

    async def detach(self, device: Any, lun: int = 1, **more: Any) -> None:
        """``disconnect_volume``, and what the daemons make of it."""
        await self.call("disconnect_volume", properties(lun), device, **more)
        await self.host.settle()

    async def shell(self, line: str, stdin: bytes = b"") -> str:
        """What a command of the host prints, on both its streams."""
        result = await self.host.execute(*line.split(), stdin=stdin)
        return result.text + result.error

    def ran(self, *words: str) -> int:
        """How often a command with these words was run."""
        return sum(all(word in run.argv for word in words) for run in self.host.history)

    def left(self) -> list[str]:
        """What is left on the host but what os-brick leaves by design, and what of its threads."""
        found = [each for each in self.host.leftovers() if not each.startswith(KEPT)]
        return found + [f"{self.box.threads} threads"] * bool(self.box.threads)

    def disks(self) -> list[str]:
        """Their names."""
        return list(self.host.kernel.disks)


def play(
    story: Callable[[Story], Awaitable[Any]],
    *,
    multipath: bool = True,
    seed: int = 1,
    luns: Mapping[int, str] | None = None,
    array: Mapping[str, Any] | None = None,
    address: str = "10.245.47.10",
    **settings: Any,
) -> Any:
    """Tell a story in virtual time; what it returned comes back. ``settings`` are the host's."""

    async def main(lab: Lab) -> Any:
        served = await lab.target(
            ARRAY, **({"portals": PORTALS, "luns": dict(luns or {1: unit(A)})} | dict(array or {}))
        )
        place = lab.host("compute", address)
        own = replace(OF_NEWTON if NEWTON else OF_TODAY, **settings)
        host = Host(place.network, settings=own, name="compute", address=address, rng=place.rng)
        try:
            async with HostSandbox(host, seed=seed) as box:
                return await story(Story(lab, served, host, box, multipath=multipath))
        finally:
            await host.close()

    return Lab.run(main, seed=seed)
