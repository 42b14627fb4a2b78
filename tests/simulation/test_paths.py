"""Every acknowledged write is readable after any mix of path deaths, target restarts and reinstatements.

``ISCSIM_SEEDS=200`` tries as many seeds. A seed that fails is in the name of its test.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from simulation.multipath_world import PORTALS, Load, all_paths_are_back, multipath

from iscsim.faults.seeds import stream_of
from iscsim.faults.write_model import Difference
from iscsim.lab import Lab

SEEDS = range(int(os.environ.get("ISCSIM_SEEDS", "6")))
LASTS_S = 60.0
SETTINGS = {"no_path_retry": "queue", "failback": "immediate", "path_selector": "queue-length 0"}

Dice = random.Random
FAULTS: dict[str, tuple[Callable[[Dice], dict[str, Any]], int]] = {
    "path.down": (lambda dice: {"portal": dice.choice(PORTALS)}, 0),
    "path.flap": (lambda dice: {"portal": dice.choice(PORTALS), "period": dice.choice([3, 11])}, 0),
    "path.asymmetric": (lambda dice: {"portal_group": dice.choice([1, 2]), "state": "standby"}, 0),
    "target.restart": (lambda dice: {"after": dice.choice([1, 5, 20])}, 1),
    "target.kill": (lambda dice: {}, 1),
    "target.pause": (lambda dice: {"s": dice.choice([2, 8])}, 1),
    "session.drop": (lambda dice: {}, 1),
    "session.nop_ignore": (lambda dice: {"portal": dice.choice(PORTALS)}, 0),
    "tcp.reset": (lambda dice: {"portal": dice.choice(PORTALS), "after_bytes": 20000}, 3),
    "tcp.fin": (lambda dice: {"portal": dice.choice(PORTALS), "after_bytes": 20000}, 3),
    "tcp.stall": (lambda dice: {"portal": dice.choice(PORTALS)}, 0),
    "net.blackhole": (lambda dice: {"portal": dice.choice(PORTALS)}, 0),
    "net.loss": (lambda dice: {"portal": dice.choice(PORTALS), "p": 0.1}, 0),
    "net.reorder": (lambda dice: {"portal": dice.choice(PORTALS), "p": 0.2}, 0),
    "task.no_response": (lambda dice: {"portal": dice.choice(PORTALS)}, 2),
    "task.busy": (lambda dice: {"portal": dice.choice(PORTALS)}, 5),
    "ua.power_on": (lambda dice: {"portal": dice.choice(PORTALS)}, 2),
}
"""Faults of paths and of the target that keep what is on its disks; how often each fires, 0: while it is."""


def arm(lab: Lab) -> None:
    """Three to six faults, each for some time of the run."""
    dice = stream_of(lab.seed, "faults")
    for number in range(dice.randint(3, 6)):
        name = dice.choice(list(FAULTS))
        make, times = FAULTS[name]
        rule = lab.fault(name, id=f"{name}-{number}", **make(dice)).may_not_fire()
        begins = lab.now + dice.uniform(0, LASTS_S * 0.7)
        rule.after(begins).until(begins + dice.uniform(1, 25))
        if times:
            rule.times(times)


async def scenario(lab: Lab, policy: str, disks: bool) -> None:
    target = await lab.target(portals=PORTALS, luns={1: "1M"})
    options = {"path_grouping_policy": policy, "disks": disks} | SETTINGS
    async with multipath(lab, target, 1, **options) as (_, device):
        arm(lab)
        async with Load(lab, device) as load:
            await asyncio.sleep(LASTS_S)
            lab.heal()
            target.set_access_state(1, "active/optimized")
            target.set_access_state(2, "active/optimized")
            await all_paths_are_back(device)
        assert (load.errors, await load.verify()) == (0, [])
        assert len(load.model.written) > 50


@pytest.mark.parametrize("disks", [False, True], ids=["sessions", "disks"])
@pytest.mark.parametrize("policy", ["failover", "multibus"])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_acknowledged_write_is_readable(seed: int, policy: str, disks: bool) -> None:
    Lab.run(lambda lab: scenario(lab, policy, disks), seed=seed)


def test_same_seed_is_the_same_run() -> None:
    def run() -> str:
        async def main(lab: Lab) -> str:
            await scenario(lab, "multibus", True)
            return lab.trace.sha256

        return Lab.run(main, seed=1)

    assert run() == run()


# -- would it notice? ------------------------------------------------------------------------------


def differences(fault: str | None, *, at_once: bool = False, **given: Any) -> list[Difference]:
    """What the oracle has to say after a run in which one command, of hundreds, is not what it seems.

    With ``at_once`` it is what reads have shown as soon as something was written, else what the end shows.
    """

    async def main(lab: Lab) -> list[Difference]:
        target = await lab.target(portals=PORTALS, luns={1: "1M"})
        async with multipath(lab, target, 1, path_grouping_policy="multibus", **SETTINGS) as (_, device):
            if fault is not None:
                lab.fault(fault, **given).nth(40)
            lab.fault("session.drop").after(lab.now + 3).times(1)
            load = Load(lab, device, rewrites=False)
            async with load:
                await asyncio.sleep(10)
            assert load.writes > 100
            if at_once:
                return load.differences
            load.differences.clear()
            return await load.verify()

    return Lab.run(main, seed=11, judge=False)


def test_oracle_is_content_with_a_good_disk() -> None:
    assert differences(None) == []


def test_oracle_catches_one_lost_block() -> None:
    (lost,) = differences("disk.lost_write")
    assert lost.found == bytes(512)


def test_oracle_catches_one_misplaced_block() -> None:
    misplaced = differences("disk.misdirected_write", delta=1)
    assert bytes(512) in [each.found for each in misplaced]
    assert len(misplaced) in (1, 2)  # it is not where it should be, and may be where another should


def test_oracle_catches_one_stale_read() -> None:
    (stale,) = differences("disk.stale_read", at_once=True)
    assert stale.found == bytes(512)
    assert differences("disk.stale_read") == []  # the disk itself is well
