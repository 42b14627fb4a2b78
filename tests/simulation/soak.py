"""A disk with two paths, one of which meets a fault: everything is written and read back, no I/O fails.

The disk is what a Linux host has: a multipath map of SCSI devices over sessions that live.
`NOT_HARMLESS` says which faults need more than that, and what.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

from simulation.multipath_world import PORTALS, Load, all_paths_are_back, multipath

from iscsim.faults.kinds import catalogue
from iscsim.faults.rule import FaultRule
from iscsim.faults.seeds import stream_of
from iscsim.initiator.multipath import MultipathDevice
from iscsim.lab import Lab

__all__ = ["FAULTS", "LAYERS", "NOT_HARMLESS", "kinds", "run"]

LAYERS = ("net", "tcp", "session")
SETTINGS = {"failback": "immediate", "path_grouping_policy": "multibus"}
BLOCKS = 5  # a write of more than one segment
Dice = random.Random

HERE = {"portal": PORTALS[0]}
COMMANDS = HERE | {"opcode": "SCSICommand"}
NAME = "array.test:3260"
TO_OR_FROM = ["both", "to_target", "to_initiator"]


def _here(**given: Any) -> Callable[[Dice], dict[str, Any]]:
    return lambda dice: HERE | given


def _direction(dice: Dice) -> dict[str, Any]:
    return HERE | {"dir": dice.choice(TO_OR_FROM)}


def _after_bytes(dice: Dice) -> dict[str, Any]:
    return HERE | {"after_bytes": dice.randrange(6000)}


def _digest(dice: Dice) -> dict[str, Any]:
    return HERE | {"direction": dice.choice(["tx", "rx"])}


def _async(dice: Dice) -> dict[str, Any]:
    return {"event": dice.choice([0, 1, 2, 3, 4, 255]), "p2": dice.randrange(4), "p3": 5, "period": 4.0}


def _dns(dice: Dice) -> dict[str, Any]:
    return {"rcode": dice.choice(["NXDOMAIN", "SERVFAIL", "TIMEOUT"]), "delay": dice.choice([0, 2, 20])}


def _window(dice: Dice) -> dict[str, Any]:
    return HERE | {"mode": dice.choice(["close", "shrink", "jump"]), "n": dice.choice([1, 127])}


def _logout(dice: Dice) -> dict[str, Any]:
    given: list[dict[str, Any]] = [{"response": dice.randrange(4)}, {"delay": 3}, {"none": True}]
    return HERE | dice.choice(given)


FAULTS: dict[str, tuple[Callable[[Dice], dict[str, Any]], int]] = {
    "net.bandwidth": (lambda dice: HERE | {"rate": dice.choice([500, 8000, 50000])}, 0),
    "net.blackhole": (_direction, 0),
    "net.dns": (_dns, 0),
    "net.dup": (lambda dice: HERE | {"p": dice.uniform(0.05, 0.5)}, 0),
    "net.ip_move": (lambda dice: {"ip": PORTALS[0].partition(":")[0], "to": "spare"}, 0),
    "net.latency": (
        lambda dice: (
            HERE
            | {"delay": dice.uniform(0.05, 3), "jitter": 0.04, "dist": dice.choice(["uniform", "lognormal"])}
        ),
        0,
    ),
    "net.loss": (lambda dice: HERE | {"p": dice.uniform(0.05, 0.5)}, 0),
    "net.mtu_blackhole": (lambda dice: HERE | {"mtu": dice.choice([300, 600, 1000])}, 0),
    "net.nic_down": (lambda dice: {"nic": "array/eth0"}, 0),
    "net.partition": (lambda dice: {"groups": [["array"], ["compute"]]}, 0),
    "net.refuse": (_here(), 0),
    "net.reorder": (lambda dice: HERE | {"p": dice.uniform(0.05, 0.5), "delay": dice.choice([0.01, 0.5])}, 0),
    "net.unreachable": (lambda dice: HERE | {"code": dice.choice(["host", "net", "prohibited"])}, 0),
    "tcp.accept_stall": (lambda dice: HERE | {"delay": dice.choice([1, 5, 30])}, 0),
    "tcp.backlog_full": (lambda dice: HERE | {"n": dice.choice([0, 1, 3])}, 0),
    "tcp.corrupt": (lambda dice: HERE | {"offset": dice.randrange(200), "xor": dice.randrange(1, 256)}, 8),
    "tcp.fin": (_after_bytes, 5),
    "tcp.garbage": (lambda dice: HERE | {"then": dice.choice(["close", "continue"])}, 4),
    "tcp.half_close": (_after_bytes, 4),
    "tcp.limit_data": (lambda dice: HERE | {"bytes": dice.randrange(1000, 30000)}, 0),
    "tcp.rcvbuf_zero": (_direction, 0),
    "tcp.reset": (_after_bytes, 5),
    "tcp.slicer": (lambda dice: HERE | {"avg": dice.choice([5, 40, 200]), "delay": 0.001}, 0),
    "tcp.slow_close": (lambda dice: HERE | {"delay": dice.choice([1, 5, 30])}, 0),
    "tcp.stall": (_direction, 0),
    "session.async": (_async, 0),
    "session.cmdsn_window": (_window, 0),
    "session.data_digest": (_digest, 5),
    "session.datasn_gap": (lambda dice: HERE | {"n": dice.randrange(1, 4)}, 5),
    "session.drop": (lambda dice: {"period": dice.choice([2.0, 7.0]), "time2wait": dice.randrange(4)}, 0),
    "session.expcmdsn_stuck": (_here(), 0),
    "session.header_digest": (_digest, 5),
    "session.limit": (_here(n=1), 0),
    "session.logout": (_logout, 0),
    "session.max_conn": (_here(n=1), 0),
    "session.nop_bad_ttt": (_here(), 3),
    "session.nop_ignore": (_here(), 0),
    "session.nop_in_flood": (lambda dice: {"n": dice.choice([10, 1000]), "period": 3.0}, 0),
    "session.r2tsn_dup": (_here(), 5),
    "session.reinstate_foreign": (lambda dice: {"period": dice.choice([2.0, 6.0])}, 0),
    "session.reject": (
        lambda dice: (
            HERE | {"reason": dice.choice([2, 3, 4, 5, 7, 8, 9, 10, 11, 12]), "opcode": "SCSICommand"}
        ),
        5,
    ),
    "session.statsn_gap": (lambda dice: HERE | {"n": dice.randrange(1, 4)}, 5),
}
"""Every kind of `LAYERS`: its parameters by chance; how often it fires at most, 0: as long as it is there."""

DIGESTS = {"header_digest": "CRC32C", "data_digest": "CRC32C"}
NODES: dict[str, dict[str, Any]] = {
    "session.data_digest": DIGESTS,
    "session.header_digest": DIGESTS,
    "tcp.corrupt": DIGESTS,
    "tcp.garbage": DIGESTS,
    "session.r2tsn_dup": {"initial_r2t": True, "immediate_data": False},
}
"""Settings of the nodes."""
QUEUE = "no_path_retry queue: it ends both paths, for longer than replacement_timeout"
NOT_HARMLESS = {
    "tcp.corrupt": "HeaderDigest and DataDigest: nobody else can tell a byte that was changed from another",
    "tcp.garbage": "HeaderDigest and DataDigest: it may fall into the data of a PDU",
    "net.partition": QUEUE,
}
"""What it takes that nothing is lost and no I/O fails, where two paths alone do not do it."""

BREAKS = {"net.refuse", "net.unreachable", "net.dns", "session.limit", "session.max_conn"}
"""These befall new connections alone: the one there is dropped."""
BREAKS |= {"tcp.accept_stall", "tcp.backlog_full", "tcp.slow_close"}
QUIET = {"session.nop_ignore", "session.nop_bad_ttt"}
"""These befall pings, for which it must be quiet for a while."""


def kinds() -> list[str]:
    """The faults of the catalogue there must be one of each."""
    return [name for name in catalogue() if name.partition(".")[0] in LAYERS]


async def prepare(lab: Lab, name: str) -> tuple[str, ...]:
    """What a fault needs besides two portals; how the portals are called."""
    if name == "net.ip_move":
        lab.host("spare", "10.245.47.99")
    if name != "net.dns":
        return ()
    assert lab.network is not None
    lab.network.names["array.test"] = [PORTALS[0].partition(":")[0]]
    return (NAME, PORTALS[1])


def arm(lab: Lab, name: str, device: MultipathDevice) -> FaultRule:
    """The fault, for some time, and what brings it about."""
    dice = stream_of(lab.seed, name)
    make, times = FAULTS[name]
    begins = lab.now + dice.uniform(0, 5)
    ends = begins + (20 if name in QUIET else dice.uniform(5, 20))
    rule = lab.fault(name, **make(dice)).may_not_fire().after(begins).until(ends)
    if times:
        rule.times(times)
    if name in BREAKS:
        lab.loop.call_at(begins + 1, device.paths[0].session.transport.drop, "the scenario wants it")
    if name == "session.logout":
        lab.fault("session.async", event=1, p3=4, period=4.0).may_not_fire().after(begins).until(ends)
    return rule


async def scenario(lab: Lab, name: str, settings: Mapping[str, Any], judge: bool) -> tuple[int, int]:
    """How often the fault fired, and how many blocks were not as they must be at some time."""
    target = await lab.target(portals=PORTALS, luns={1: "1M"})
    options = {"disks": True, "replacement_timeout": 5, "settings": settings} | SETTINGS
    options["portals"] = await prepare(lab, name)
    options["no_path_retry"] = "queue" if NOT_HARMLESS.get(name) == QUEUE else "fail"
    async with multipath(lab, target, 1, **options) as (_, device):
        rule = arm(lab, name, device)
        async with Load(lab, device, pause_s=30.0 if name in QUIET else 1.5, blocks=BLOCKS) as load:
            await asyncio.sleep(30)
            lab.heal()
            await all_paths_are_back(device)
        await load.verify()
        assert load.writes >= 4
        assert not judge or (load.errors, load.differences) == (0, [])
    return rule.fired, len(load.differences)


def run(
    name: str, seed: int, *, settings: Mapping[str, Any] | None = None, judge: bool = True
) -> tuple[int, int, str]:
    """Play it: what `scenario` found, and the SHA-256 of the trace.

    ``settings`` of the nodes are those of `NODES` unless given. Raises AssertionError when data or I/O were
    not well, unless ``judge`` is False.
    """

    async def main(lab: Lab) -> tuple[int, int, str]:
        found = await scenario(lab, name, NODES.get(name, {}) if settings is None else settings, judge)
        await lab.settle()
        return (*found, lab.trace.sha256)

    return Lab.run(main, seed=seed, judge=judge)
