"""One session that lives under one fault: everything is written and read back, nothing is lost."""

from __future__ import annotations

import asyncio
from typing import Any

from iscsim.faults.seeds import stream_of
from iscsim.faults.write_model import WriteModel
from iscsim.initiator.recovering_session import RecoveringSession
from iscsim.initiator.settings import NodeSettings
from iscsim.lab import Lab

__all__ = ["FAULTS", "run"]

PORTAL = "10.245.47.95:3260"
HERE = {"portal": PORTAL}
WORKERS, ROUNDS, BLOCKS = 4, 12, 8
ENDS_WITHIN_S = 400.0

FAULTS: dict[str, tuple[dict[str, Any], int]] = {
    "net.blackhole": (HERE, 0),
    "net.refuse": (HERE, 0),
    "net.unreachable": (HERE, 0),
    "net.latency": (HERE | {"delay": 0.4, "jitter": 0.2, "dist": "uniform"}, 0),
    "net.loss": (HERE | {"p": 0.2}, 0),
    "net.reorder": (HERE | {"p": 0.3}, 0),
    "net.dup": (HERE | {"p": 0.3}, 0),
    "net.bandwidth": (HERE | {"rate": 8000}, 0),
    "net.mtu_blackhole": (HERE | {"mtu": 600}, 0),
    "net.nic_down": ({"nic": "array/eth0"}, 0),
    "net.partition": ({"groups": [["array"], ["compute"]]}, 0),
    "tcp.reset": (HERE | {"after_bytes": 3000}, 5),
    "tcp.fin": (HERE | {"after_bytes": 3000}, 5),
    "tcp.half_close": (HERE, 3),
    "tcp.stall": (HERE, 0),
    "tcp.rcvbuf_zero": (HERE, 0),
    "tcp.slicer": (HERE | {"avg": 40}, 0),
    "tcp.limit_data": (HERE | {"bytes": 20000}, 0),
    "tcp.slow_close": (HERE | {"delay": 3}, 0),
    "tcp.garbage": (HERE, 3),
    "tcp.accept_stall": (HERE | {"delay": 4}, 0),
    "tcp.backlog_full": (HERE, 0),
    "login.delay": (HERE | {"seconds": 3}, 4),
    "login.no_response": (HERE, 2),
    "login.drop_at": (HERE, 4),
    "login.partial_pdu": (HERE, 4),
    "login.status": (HERE | {"class_": 2, "detail": 1}, 4),
    "login.c_bit_forever": (HERE, 2),
    "login.never_transit": (HERE, 2),
    "session.async": ({"event": 1, "p3": 4, "period": 5.0}, 0),
    "session.drop": ({"period": 4.0, "time2wait": 1}, 0),
    "session.nop_ignore": (HERE, 0),
    "session.nop_in_flood": ({"n": 1000}, 1),
    "session.nop_bad_ttt": (HERE, 2),
    "session.statsn_gap": (HERE, 2),
    "session.datasn_gap": (HERE, 2),
    "session.r2tsn_dup": (HERE, 2),
    "session.data_digest": (HERE, 2),
    "session.header_digest": (HERE, 2),
    "session.cmdsn_window": (HERE, 0),
    "session.expcmdsn_stuck": (HERE, 0),
    "session.reinstate_foreign": ({}, 1),
    "target.restart": ({"after": 3}, 1),
    "target.pause": ({"s": 9}, 1),
    "path.down": (HERE, 0),
    "path.flap": (HERE | {"period": 3}, 0),
    "path.slow": (HERE | {"delay": 0.3}, 0),
}
"""What it is given, and how often it fires at most (0: as long as it is there)."""
BREAKS = {"net.refuse", "net.unreachable"}
"""These befall new connections alone: the one there is dropped."""
BREAKS |= {name for name in FAULTS if name.startswith("login.")}
BREAKS |= {"tcp.accept_stall", "tcp.backlog_full", "tcp.slow_close"}
QUIET = {"session.nop_ignore", "session.nop_bad_ttt"}
"""These befall pings, for which it must be quiet for a while."""
SETTINGS: dict[str, dict[str, Any]] = {
    "session.data_digest": {"data_digest": "CRC32C"},
    "session.header_digest": {"header_digest": "CRC32C"},
    "session.r2tsn_dup": {"initial_r2t": True, "immediate_data": False},
}


class Worker:
    """Writes blocks of its own, each once, and reads them back."""

    def __init__(self, session: RecoveringSession, number: int, dice: Any, pause_s: float) -> None:
        self.session, self.dice, self.pause_s = session, dice, pause_s
        self.model = WriteModel(2048)
        self.mine = range(number * ROUNDS * BLOCKS, (number + 1) * ROUNDS * BLOCKS, BLOCKS)

    async def work(self) -> None:
        for lba in self.mine:
            data = self.dice.randbytes(BLOCKS * 512)
            await self.session.write(1, lba, data)
            self.model.wrote(lba, data)
            assert self.model.compare(lba, await self.session.read(1, lba, BLOCKS)) == []
            await asyncio.sleep(self.dice.uniform(0, self.pause_s))


async def scenario(lab: Lab, name: str) -> bool:
    """Whether the fault fired."""
    settings = NodeSettings(**SETTINGS.get(name, {}))
    target = await lab.target(portals=[PORTAL], luns={1: "1M"})
    session = await lab.host("compute").log_in(target, settings=settings)
    dice = stream_of(lab.seed, name)
    pause_s = 40.0 if name in QUIET else 3.0
    workers = [Worker(session, number, dice, pause_s) for number in range(WORKERS)]
    given, times = FAULTS[name]
    begins = dice.uniform(0, 5)
    rule = lab.fault(name, **given).may_not_fire().after(begins).until(begins + dice.uniform(5, 20))
    if times:
        rule.times(times)
    if name in BREAKS:
        lab.loop.call_later(begins + 1, session.drop, "the scenario wants it")
    async with asyncio.timeout(ENDS_WITHIN_S):
        await asyncio.gather(*(worker.work() for worker in workers))
        lab.heal()
        assert await session.recovered()
    for worker in workers:
        for lba in worker.mine:
            assert worker.model.compare(lba, await session.read(1, lba, BLOCKS)) == []
    await session.close()
    return rule.fired > 0


def run(name: str, seed: int) -> tuple[bool, str]:
    """Play it: whether the fault fired, and the SHA-256 of its trace.

    Raises what a command ended with, when one did not end well.
    """

    async def main(lab: Lab) -> tuple[bool, str]:
        fired = await scenario(lab, name)
        await lab.settle()
        return fired, lab.trace.sha256

    return Lab.run(main, seed=seed)
