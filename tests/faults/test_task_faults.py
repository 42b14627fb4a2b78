"""Each fault of a command at the PDU seam, and what our initiator makes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from faults.world import SmallWorld

import iscsim.faults.task_faults  # noqa: F401 - its faults are in the catalogue then
from iscsim.errors import SessionFailed
from iscsim.initiator.session import Session
from iscsim.initiator.task import TransferIncomplete
from iscsim.pdu import TaskManagementFunction
from iscsim.scsi import cdb

DATA = bytes(range(256)) * 2048
"""512 KiB: more than may come unsolicited."""


async def read(session: Session) -> None:
    await session.read(1, lba=0, blocks=8)


async def read_on(session: Session) -> None:
    """Two Data-In PDUs, of 256 KiB each."""
    await session.read(1, lba=0, blocks=1024)


async def write(session: Session) -> None:
    await session.write(1, lba=0, data=DATA)


async def ready(session: Session) -> None:
    await session.test_unit_ready(1)


async def use_twice(session: Session, use: Any) -> None:
    await use(session)
    await use(session)


ENDS: list[tuple[str, dict[str, Any], Any, str]] = [
    ("task.duplicate_response", {}, ready, "SCSIResponse for unknown task tag"),
    ("task.duplicate_response", {}, read, "SCSIDataIn for unknown task tag"),
    ("task.wrong_itt", {}, ready, "SCSIResponse for unknown task tag 0x4"),
    ("task.wrong_itt", {}, read, "SCSIDataIn for unknown task tag 0x4"),
    ("task.data_in_overlap", {}, read, "Data-In at offset 1536, expected 2048"),
    ("task.data_in_overlap", {"n": 1}, read_on, "Data-In at offset 131071, expected 131072"),
    ("task.bad_r2t", {"offset": 512}, write, "R2T at offset 262656, expected 262144|R2T for bytes"),
    ("task.bad_r2t", {"offset": 0x100000}, write, "R2T for bytes"),
    ("task.bad_r2t", {"len": 0}, write, "R2T for bytes 262144 to 262144"),
    ("task.bad_r2t", {"len": 0x7FFFFFFF}, write, "R2T for bytes 262144 to 2147745791"),
    ("task.bad_r2t", {"count": 2}, write, "R2T at offset 262144, expected 524288"),
    ("task.status_in_data_in", {}, read, "Data-In with S, F 1 and status 0x02"),
]


@pytest.mark.parametrize(("name", "given", "use", "message"), ENDS)
async def test_session_ends_and_a_new_one_is_well(
    world: SmallWorld, name: str, given: dict[str, Any], use: Any, message: str
) -> None:
    session = await world.connect()
    await session.read_capacity(1)
    rule = world.fault(name, **given).times(1)
    with world.taking(0.0), pytest.raises(SessionFailed, match=message):
        await use_twice(session, use)  # what comes behind a good answer is seen at the next one
    (frame,) = world.commented(rule)
    assert not frame.by_client
    async with world.connect() as again:
        await use(again)


INCOMPLETE = [
    ("task.wrong_residual", read, "moved 3584 of 4096 bytes"),
    ("task.wrong_residual", read_on, "moved 523776 of 524288 bytes"),
    ("task.wrong_residual", write, "moved 523776 of 524288 bytes"),
    ("task.underflow", read, "moved 3584 of 4096 bytes"),
    ("task.underflow", write, "moved 523776 of 524288 bytes"),
    ("task.truncate_data_in", read, "moved 3584 of 4096 bytes"),
]


@pytest.mark.parametrize(("name", "use", "message"), INCOMPLETE)
async def test_missing_bytes_are_noticed_and_the_session_goes_on(
    world: SmallWorld, name: str, use: Any, message: str
) -> None:
    async with world.connect() as session:
        await session.read_capacity(1)
        world.fault(name, n=512).times(1)
        with pytest.raises(TransferIncomplete, match=message):
            await use(session)
        await use(session)


@pytest.mark.parametrize(("name", "residual"), [("task.underflow", 96), ("task.overflow", -96)])
async def test_a_residual_is_in_the_result(world: SmallWorld, name: str, residual: int) -> None:
    async with world.connect() as session:
        await session.read_capacity(1)
        world.fault(name, n=96).times(1)
        result = await session.execute(1, cdb.read_10(0, 1), data_in_length=512)
    assert result.residual == residual
    assert len(result.data_in) == 512 - max(residual, 0)


async def test_responses_in_another_order_end_both_commands_well(world: SmallWorld) -> None:
    async with world.connect() as session:
        await session.write(1, lba=8, data=b"8" * 512)
        await session.write(1, lba=9, data=b"9" * 512)
        rule = world.fault("task.reorder").times(1)
        ended: list[int] = []

        async def read_one(lba: int) -> None:
            assert await session.read(1, lba=lba, blocks=1) == str(lba).encode() * 512
            ended.append(lba)

        with world.taking(0.0):
            await asyncio.gather(read_one(8), read_one(9))
        assert ended == [9, 8]
        await session.ping()
    assert rule.fired == 1


async def test_a_response_that_nothing_overtakes_goes_out_in_the_end(world: SmallWorld) -> None:
    async with world.connect() as session:
        await session.test_unit_ready(1)
        world.fault("task.reorder", wait=2).times(1)
        with world.taking(2.0):
            await session.test_unit_ready(1)
        await session.test_unit_ready(1)


# -- task management -------------------------------------------------------------------------------

RESET = TaskManagementFunction.LOGICAL_UNIT_RESET


@pytest.mark.parametrize("response", [1, 2, 3, 4, 5, 6, 7, 255])
async def test_a_function_fails_with_any_response(world: SmallWorld, response: int) -> None:
    async with world.connect() as session:
        await session.test_unit_ready(1)
        rule = world.fault("task.abort_response", response=response).times(1)
        assert await session.task_management(RESET, 1) == response
        result = await session.execute(1, bytes(6))
        assert result.status == 0  # it was not reset
    assert world.commented(rule)


async def test_a_late_function_is_waited_for(world: SmallWorld) -> None:
    async with world.connect() as session:
        world.fault("task.abort_response", late=9)
        with world.taking(9.0):
            assert await session.task_management(RESET, 1) == 0


async def test_a_function_without_an_answer_ends_the_session(world: SmallWorld) -> None:
    session = await world.connect()
    world.fault("task.abort_response", none=True)
    with world.taking(15.0), pytest.raises(SessionFailed, match="no answer to LOGICAL UNIT RESET in time"):
        await session.task_management(RESET, 1)
    await session.close()
