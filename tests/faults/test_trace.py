"""The trace: the same run gives the same bytes."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

from faults.world import SmallWorld

from iscsim.errors import ISCSIError
from iscsim.faults.trace import Trace
from iscsim.net.virtual_loop import VirtualLoop


def test_lines_are_json_with_sorted_keys_and_hashed(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    trace, heard = Trace(lambda: 0.1 + 0.2, path=path, keep=1), []
    trace.listeners.append(heard.append)
    trace.add("b", z=1, a="x")
    trace.add("c")
    trace.close()
    assert trace.lines == ['{"a":"x","at":0.3,"event":"b","z":1}']
    assert (trace.count, [each["event"] for each in heard]) == (2, ["b", "c"])
    written = path.read_bytes()
    assert [json.loads(line)["event"] for line in written.splitlines()] == ["b", "c"]
    assert trace.sha256 == hashlib.sha256(written).hexdigest()


def test_line_for_later_has_its_own_time_and_the_details_of_the_next_line_s() -> None:
    now, details = [1.0], {"n": 1}
    trace = Trace(lambda: now[0])
    trace.add_later("armed", lambda: details)
    now[0], details["n"] = 2.0, 2
    trace.add("b")
    trace.add_later("armed", lambda: details)
    assert trace.sha256 == hashlib.sha256("".join(f"{line}\n" for line in trace.lines).encode()).hexdigest()
    assert trace.lines == [
        '{"at":1.0,"event":"armed","n":2}',
        '{"at":2.0,"event":"b"}',
        '{"at":2.0,"event":"armed","n":2}',
    ]


async def run(seed: int) -> str:
    """Something with much chance in it; the hash of its trace."""
    async with SmallWorld(seed) as world:
        world.fault("net.loss", p=0.1).may_not_fire()
        world.fault("net.latency", delay=0.01, jitter=0.01, dist="lognormal")
        world.fault("tcp.slicer", avg=300, var=200).with_probability(0.3).may_not_fire()
        for _ in range(3):
            try:
                async with world.connect() as session:
                    await session.read(1, lba=0, blocks=64)
            except ISCSIError as error:
                world.trace.add("failed", message=str(error))
        return world.trace.sha256


async def test_same_seed_gives_the_same_trace_and_another_another() -> None:
    assert await run(1) != await run(2)


def test_trace_of_a_seed_is_the_same_on_another_loop() -> None:
    def fresh() -> str:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(run(3))

    assert fresh() == fresh()
