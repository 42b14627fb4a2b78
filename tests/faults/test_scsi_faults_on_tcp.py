"""The seams of SCSI and stores know no network: the same on real TCP and a real clock."""

from __future__ import annotations

import asyncio

import pytest

import iscsim
from iscsim.faults.engine import FaultEngine
from iscsim.faults.faulty_device_server import FaultyDeviceServer
from iscsim.initiator.task import CommandTimedOut
from iscsim.scsi.sense import CommandFailed

REAL_TIME = True


async def test_faults_are_seen_through_a_socket() -> None:
    async with iscsim.serve() as target:
        engine = FaultEngine(clock=asyncio.get_running_loop().time)
        FaultyDeviceServer.install(target.server.entity, engine)
        async with iscsim.connect(target.portal, target.name, command_timeout_s=0.2) as session:
            await session.test_unit_ready(1)
            engine.add("task.no_response", command="READ (10)").times(1)
            with pytest.raises(CommandTimedOut):
                await session.read(1, 0, 1)
            engine.add("disk.delay", delay=0.01, op="read")
            assert await session.read(1, 0, 1) == bytes(512)
            engine.add("medium.write")
            with pytest.raises(CommandFailed, match="03/0c/00"):
                await session.write(1, 0, bytes(512))
            engine.check()
