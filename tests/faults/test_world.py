"""The small world itself."""

from __future__ import annotations

import asyncio

from faults.world import SmallWorld


async def test_compute_reads_through_both_portals_in_virtual_time(world: SmallWorld) -> None:
    assert world.portals == ["10.245.47.95:3260", "10.245.47.96:3260"]
    async with world.connect(0) as one, world.connect(1) as other:
        assert await one.read(1, lba=0, blocks=8) == await other.read(1, lba=0, blocks=8) == bytes(4096)
        with world.taking(3600.0):
            await asyncio.sleep(3600)
        assert one.is_open


async def test_frames_show_what_was_on_the_wire(world: SmallWorld) -> None:
    async with world.connect():
        pass
    kinds = [frame.kind for frame in world.frames]
    assert kinds[:3] == ["syn", "syn-ack", "data"]
    assert kinds[-1] == "fin"
