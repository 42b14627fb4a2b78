"""105 LUNs over four paths, one of which flaps for ten minutes: the set of maps stays right."""

from __future__ import annotations

import asyncio

from iscsim.initiator.multipath import MultipathDaemon, Path
from iscsim.initiator.multipath.show import show_paths
from iscsim.initiator.settings import NodeSettings
from iscsim.lab import Lab

PORTALS = [f"10.245.47.{number}:3260" for number in range(93, 97)]
LUNS = dict.fromkeys(range(1, 106), "1M")


def test_maps_stay_right_while_a_path_flaps_for_ten_minutes() -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target(portals=PORTALS, luns=LUNS)
        settings, sessions = NodeSettings(replacement_timeout=5), []
        async with MultipathDaemon() as daemon:
            for portal in PORTALS:
                sessions.append(await lab.host("compute").log_in(target, portal, settings=settings))
                for unit in await sessions[-1].scan():
                    await daemon.add_path(Path(sessions[-1], unit))
            maps = dict(daemon.maps)
            rule = lab.fault("path.flap", portal=PORTALS[0], period=23)
            seen_down = False
            for _ in range(120):
                await asyncio.sleep(5)
                assert daemon.maps == maps
                states = [[path.is_active for path in device.paths] for device in maps.values()]
                assert all(others == [True] * 3 for _, *others in states)
                seen_down |= not all(flapping for flapping, *_ in states)
            assert seen_down
            rule.until(lab.now)
            await asyncio.sleep(60)
            assert [len(device.active_paths) for device in maps.values()] == [4] * 105
            assert len(show_paths(maps.values()).splitlines()) == 1 + 4 * 105
        for session in sessions:
            await session.close()

    Lab.run(main, seed=6)
