"""What no initiator can rule out: a write that was given up on one path arrives behind a newer one.

Linux closes the socket of a lost connection; its kernel goes on sending what is in it, and so does ours.
"""

from __future__ import annotations

import asyncio

import pytest
from simulation.multipath_world import PORTALS, multipath

from iscsim.lab import Lab

OLD, NEW = b"1" * 512, b"2" * 512


@pytest.mark.parametrize("silent_until,found", [(20.5, NEW), (26.2, OLD)], ids=["login first", "write first"])
def test_whether_the_next_login_or_the_old_write_comes_first_decides(
    silent_until: float, found: bytes
) -> None:
    async def main(lab: Lab) -> bytes:
        target = await lab.target(portals=PORTALS, luns={1: "1M"})
        settings = {"path_grouping_policy": "failover", "replacement_timeout": 5}
        async with multipath(lab, target, 1, disks=True, **settings) as (_, device):
            await device.read(8, 1)
            began = lab.now
            lab.fault("net.blackhole", portal=PORTALS[0]).until(began + silent_until)
            await asyncio.sleep(1)
            await device.write(8, OLD)  # lost on its way, and done through the other portal
            assert 15 < lab.now - began < 17
            await device.write(8, NEW)
            assert bytes(await device.read(8, 1)) == NEW
            await asyncio.sleep(60)
            return bytes(await device.read(8, 1))

    assert Lab.run(main, judge=False) == found
