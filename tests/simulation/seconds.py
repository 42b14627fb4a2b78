"""Recovery and error handling at open-iscsi's seconds, for whoever reads the capture.

A step is (second, what). ``"connect 1"`` is the first SYN of a connection with the first portal,
``"login 1"`` a Login Request, ``"ping 1"`` a NOP-Out, ``"READ 2"`` a command to the second portal,
``"ABORT TASK 1"`` task management.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from simulation.multipath_world import PORTALS, multipath

from iscsim.lab import Lab

__all__ = ["PLAYS", "Step", "compare"]

Step = tuple[float, str]
FIRST = "READ 1"
"""The step each of the tables below begins with; what comes before is left out."""
TOLERANCE_S = 0.5

SILENCE: list[Step] = [
    (0, "READ 1"),
    (5, "ping 1"),  # noop_out_interval
    (10 + 2, "connect 1"),  # noop_out_timeout, then DefaultTime2Wait
    (10 + 2 + 15, "connect 1"),  # login_timeout, and again until the portal is back
    (42, "connect 1"),
    (57, "connect 1"),
    (72, "connect 1"),
    (87, "connect 1"),
    (102, "connect 1"),
    (117, "connect 1"),
    (10 + 120, "READ 2"),  # replacement_timeout: what was given to the first path takes the second
    (132, "connect 1"),
    (147, "connect 1"),
    (150, "login 1"),  # the third SYN is answered
    (151, "READ 1"),  # the checker's word for it
]
"""The first portal is silent from second 0.1 to 149.5; a read is given to its path at second 20."""

LADDER: list[Step] = [
    (0, "READ 1"),
    (30, "ABORT TASK 1"),
    (30 + 15, "LOGICAL UNIT RESET 1"),
    (45 + 30, "TARGET WARM RESET 1"),
    (75 + 30 + 2, "connect 1"),  # the session is dropped, then DefaultTime2Wait
    (107, "login 1"),
    (107, "READ 1"),
]
"""A read is not answered, and no task management either. Without ``iscsi_eh_cmd_timed_out``, which would wait
for two more pings: see docs/reference/error-handling.md."""


def play_silence(pcap: Path) -> None:
    """A path whose portal does not answer any more."""

    async def main(lab: Lab) -> None:
        target = await lab.target(portals=PORTALS, luns={1: "1M"})
        settings = {"path_grouping_policy": "failover", "failback": "immediate", "no_path_retry": "queue"}
        # the checker says nothing until the session is lost for good
        settings |= {"polling_interval": 1000, "max_polling_interval": 1000}
        async with multipath(lab, target, 1, disks=True, replacement_timeout=120, **settings) as (_, device):
            await device.read(0, 1)
            began = lab.now
            lab.fault("net.blackhole", portal=PORTALS[0]).after(began + 0.1).until(began + 149.5)
            await asyncio.sleep(20)
            await device.read(0, 1)
            await asyncio.sleep(began + 151 - lab.now)
            await device.check()
            await device.read(0, 1)

    Lab.run(main, pcap=pcap)


def play_ladder(pcap: Path) -> None:
    """A disk that says nothing to a read, nor to what is done about it."""

    async def main(lab: Lab) -> None:
        target = await lab.target(portals=PORTALS[:1], luns={1: "1M"})
        async with multipath(lab, target, 1, disks=True, polling_interval=1000) as (_, device):
            lab.fault("task.no_response", command="READ (10)").first(1)
            lab.fault("task.abort_response", none=True)
            await device.read(0, 1)

    Lab.run(main, pcap=pcap)


PLAYS: dict[str, Callable[[Path], None]] = {"silence": play_silence, "ladder": play_ladder}
EXPECTED = {"silence": SILENCE, "ladder": LADDER}
LEFT_OUT = {"silence": "ping 2", "ladder": "ping 1"}
"""Pings of a session that is well."""


def compare(name: str, seen: list[Step]) -> None:
    """Raises AssertionError when a step is missing, is one too many, or is not at its second."""
    begins = next(index for index, (_, what) in enumerate(seen) if what == FIRST)
    zero = seen[begins][0]
    found = [(second - zero, what) for second, what in seen[begins:] if what != LEFT_OUT[name]]
    assert [what for _, what in found] == [what for _, what in EXPECTED[name]], found
    for (second, what), (expected, _) in zip(found, EXPECTED[name], strict=True):
        assert abs(second - expected) <= TOLERANCE_S, f"{what} at {second:.1f} s, expected at {expected:g} s"
