"""Controllers that fail over under load: the right path group at every instant, and nothing is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from simulation.multipath_world import PORTALS, Load, multipath

from iscsim.initiator.multipath import MultipathDevice
from iscsim.initiator.multipath.show import topology
from iscsim.lab import Lab, LiveTarget

ALUA = {
    "path_grouping_policy": "group_by_prio",
    "failback": "immediate",
    "no_path_retry": "queue",
    "hardware_handler": "1 alua",
}
OPTIMIZED, NON_OPTIMIZED, STANDBY = "active/optimized", "active/non-optimized", "standby"
FAILOVER = [
    (10.0, {1: STANDBY, 2: OPTIMIZED}),
    (40.0, {1: "unavailable"}),
    (70.0, {1: NON_OPTIMIZED}),
    (100.0, {1: OPTIMIZED, 2: NON_OPTIMIZED}),
    (130.0, {}),
]
"""When it happens, and what the groups become: optimised, standby, unavailable, and back."""
INTERVAL_S = 20.0
"""How long multipathd may take to see that another group is better: max_polling_interval."""
ACCESSIBLE = (OPTIMIZED, NON_OPTIMIZED)
BASE = "iqn.1992-04.com.emc:cx.fnm00150600267"
WWN = "36006016015e03a00ab2df25bb82d0ea9"
NAMES = ("2:0:0:197 sdd", "3:0:0:197 sdc")


def current(device: MultipathDevice) -> list[int]:
    """The portal groups through which the device is used now."""
    assert device.current_group is not None
    return [device.paths.index(path) + 1 for path in device.current_group.paths if path.is_active]


async def change(lab: Lab, target: LiveTarget, states: dict[int, str], transition_s: float) -> None:
    """Give portal groups their states, what is lost first; with a transition of so many seconds."""
    for group, state in states.items():
        if transition_s and state == STANDBY:
            target.set_access_state(group, "transitioning")
            await asyncio.sleep(transition_s)
        target.set_access_state(group, state)


@pytest.mark.parametrize("disks", [False, True], ids=["sessions", "disks"])
@pytest.mark.parametrize("transition_s", [0.0, 4.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_controller_failover_under_load_shows_the_right_group_and_loses_nothing(
    seed: int, transition_s: float, disks: bool
) -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target(portals=PORTALS, luns={1: "1M"})
        target.set_access_state(2, NON_OPTIMIZED)
        states = {1: OPTIMIZED, 2: NON_OPTIMIZED}
        async with multipath(lab, target, 1, disks=disks, **ALUA) as (_, device):
            assert [path.priority for path in device.paths] == [50, 10]
            async with Load(lab, device) as load:
                began = changed = lab.now
                for when, wanted in FAILOVER:
                    while lab.now - began < when:
                        await asyncio.sleep(0.1)
                        shown = [states[group] for group in current(device)]
                        since = lab.now - changed
                        assert all(each in ACCESSIBLE for each in shown) or since < 1.2, (lab.now, shown)
                        assert shown == [OPTIMIZED] or since < INTERVAL_S + 1, (lab.now, shown)
                    await change(lab, target, wanted, transition_s)
                    states |= wanted
                    changed = lab.now
            assert (load.errors, len(load.model.written) > 100) == (0, True)
            assert load.longest_s < transition_s + 2
            assert await load.verify() == []

    Lab.run(main, seed=seed)


def test_explicit_asymmetry_is_asked_for_by_the_host() -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target(portals=PORTALS, luns={1: "1M,tpgs=both"})
        target.set_access_state(2, STANDBY)
        async with multipath(lab, target, 1, **ALUA) as (_, device):
            async with Load(lab, device) as load:
                await asyncio.sleep(5)
                rule = lab.fault("path.down", portal=PORTALS[0])
                await asyncio.sleep(60)
                assert current(device) == [2]
                (unit,) = dict.fromkeys(target.node.units())
                assert unit.access.state(2, target.node.ports).text == OPTIMIZED
                rule.until(lab.now)
                await asyncio.sleep(60)
            assert load.errors == 0
            assert await load.verify() == []

    Lab.run(main, seed=4)


# -- the array with two storage processors ---------------------------------------------------------


async def vnx(lab: Lab, mode: int, size: str = "1M") -> LiveTarget:
    luns = {197: f"{size},wwn={WWN},failover_mode={mode}"}
    return await lab.target(BASE, personality="vnx", portals=PORTALS, luns=luns)


def test_two_storage_processors_yield_the_map_of_the_seeds() -> None:
    async def main(lab: Lab) -> list[str]:
        target = await vnx(lab, 4, "3G")
        async with multipath(lab, target, 197, release="0.4.9", names=NAMES) as (_, device):
            return [topology(device, action="reload", applied=False), topology(device, checked=False)]

    from initiator.multipath.test_show import RELOADED, UNCHECKED

    assert Lab.run(main) == [RELOADED, UNCHECKED]


@pytest.mark.parametrize("mode,release", [(1, "0.9.4"), (1, "0.4.9"), (4, "0.9.4"), (4, "0.4.9")])
def test_unit_follows_the_paths_and_goes_home_again(mode: int, release: str) -> None:
    async def main(lab: Lab) -> Any:
        target = await vnx(lab, mode)
        units = dict.fromkeys(unit for node in target.nodes for unit in node.units(197))
        (unit,) = units
        async with multipath(lab, target, 197, release=release, names=NAMES) as (_, device):
            owners = [unit.access.owner]
            async with Load(lab, device) as load:
                await asyncio.sleep(5)
                rule = lab.fault("path.down", portal=PORTALS[0])
                await asyncio.sleep(60)
                owners.append(unit.access.owner)
                rule.until(lab.now)
                await asyncio.sleep(60)
                owners.append(unit.access.owner)
            assert await load.verify() == []
            assert load.errors == 0
            return owners

    assert Lab.run(main, seed=5) == [0, 1, 0]
