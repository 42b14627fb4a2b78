"""The device a load is put on, and a path that is measured."""

import asyncio
from typing import Any

import pytest

from iscsim.errors import ConnectionFailed
from iscsim.initiator.load.paths import MeasuredPath, UnitOfPath, UnitOfRecoveringSession
from iscsim.initiator.load.statistics import PathStatistics
from iscsim.initiator.recovering_session import log_in
from iscsim.initiator.settings import NodeSettings
from iscsim.lab import Lab
from iscsim.lab.addresses import run_virtual


class Verbs:
    """Reads take 2 s, writes 3 s; LUN 9 is out of reach."""

    portal = "10.0.0.1:3260"

    async def read(self, lun: int, lba: int, blocks: int) -> bytes:
        await asyncio.sleep(2)
        if lun == 9:
            raise ConnectionFailed("gone")
        return bytes([lun]) * blocks * 512

    async def write(self, lun: int, lba: int, data: bytes) -> None:
        await asyncio.sleep(3)

    async def flush(self, lun: int) -> str:
        return f"flushed {lun}"


def measured(lun: int) -> tuple[MeasuredPath, list[Any]]:
    served: list[Any] = []
    clock = asyncio.get_running_loop().time
    path = MeasuredPath(Verbs(), PathStatistics("sda", 1), clock, lambda *args: served.append(args))
    return path, served


def test_reads_and_writes_are_counted_with_their_latencies() -> None:
    async def main() -> None:
        path, served = measured(1)
        assert await path.read(1, 8, 2) == b"\1" * 1024
        await path.write(1, 16, bytes(512))
        path.statistics.roll()
        read, write = path.statistics.read.total, path.statistics.write.total
        assert (read.data_length, read.latencies.max_s) == (1024, 2)
        assert (write.data_length, write.latencies.max_s) == (512, 3)
        assert served == [(8, "sda"), (16, "sda")]

    run_virtual(main())


def test_failure_is_counted_and_passed_on() -> None:
    async def main() -> None:
        path, served = measured(9)
        with pytest.raises(ConnectionFailed):
            await path.read(9, 8, 1)
        path.statistics.roll()
        assert (path.statistics.read.total.errors, path.statistics.read.total.operations) == (1, 0)
        assert served == []

    run_virtual(main())


def test_all_else_is_the_sessions() -> None:
    async def main() -> None:
        path, _ = measured(1)
        assert (path.portal, await path.flush(3)) == ("10.0.0.1:3260", "flushed 3")

    run_virtual(main())


def test_unit_of_a_session_is_a_device() -> None:
    async def main() -> None:
        device = UnitOfPath(Verbs(), 4)
        assert await device.read(0, 1) == b"\4" * 512
        await device.write(0, bytes(512))
        await device.flush()

    run_virtual(main())


def test_unit_of_a_session_that_lives_reads_through_each_of_its_sessions() -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target(luns={1: "1M"})
        settings = NodeSettings(default_time2wait=0)
        network = lab.host("compute").network
        async with await log_in(target.portal, target.name, settings=settings, network=network) as session:
            unit = UnitOfRecoveringSession(session, 1, 512)
            await unit.write(0, b"w" * 1024)
            assert bytes(await unit.read(0, 2)) == b"w" * 1024
            reading = asyncio.ensure_future(unit.read(0, 2))
            await asyncio.sleep(0)
            session.drop("by the test")  # under the command
            assert bytes(await reading) == b"w" * 1024
            assert bytes(await unit.read(1, 1)) == b"w" * 512
            session.drop("by the test")
            assert bytes(await unit.read(1, 1)) == b"w" * 512  # while there is none

    Lab.run(main, judge=False)
