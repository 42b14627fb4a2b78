"""Commands as coroutines, against our own target."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from iscsim.errors import LocalProtocolError, SessionFailed
from iscsim.initiator.client import connect
from iscsim.initiator.session import MAX_TRANSFER_LENGTH, Session
from iscsim.initiator.task import (
    CommandAborted,
    CommandTask,
    CommandTimedOut,
    MalformedData,
    TransferIncomplete,
)
from iscsim.pdu import TaskManagementFunction, TaskManagementResponseCode
from iscsim.scsi import cdb
from iscsim.scsi.command import Command
from iscsim.scsi.completion import Completion
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.lun import InvalidLUN
from iscsim.scsi.sense import ASC, CommandFailed, Sense, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.store import MemoryStore


@pytest.fixture
async def session(target: Any) -> AsyncIterator[Session]:
    async with connect(target.portal, target.name) as session:
        yield session


# -- execute ---------------------------------------------------------------------------------------


async def test_execute_brings_status_data_and_residual(session: Session) -> None:
    result = await session.execute(1, cdb.inquiry(), data_in_length=255)
    assert (result.status, len(result.data_in) + result.residual, result.sense) == (Status.GOOD, 255, None)


async def test_execute_does_not_raise_for_a_check_condition(session: Session) -> None:
    await session.test_unit_ready(1)
    result = await session.execute(1, cdb.read_10(16384, 1), data_in_length=512)
    assert result.status == Status.CHECK_CONDITION
    assert result.sense is not None
    assert result.sense.code == ASC.LBA_OUT_OF_RANGE
    assert (result.data_in, result.residual) == (b"", 512)


async def test_execute_with_check_raises(session: Session) -> None:
    await session.test_unit_ready(1)
    with pytest.raises(CommandFailed, match=r"READ \(10\) ended with CHECK CONDITION") as caught:
        await session.execute(1, cdb.read_10(16384, 1), data_in_length=512, check=True)
    assert caught.value.sense is not None


async def test_execute_sends_data(session: Session, target: Any) -> None:
    await session.test_unit_ready(1)
    result = await session.execute(1, cdb.write_10(3, 1), data_out=b"x" * 512)
    assert (result.status, bytes(target.store.read(3, 1))) == (Status.GOOD, b"x" * 512)


async def test_overflow_is_a_negative_residual(session: Session) -> None:
    await session.test_unit_ready(1)
    result = await session.execute(1, cdb.read_10(0, 2), data_in_length=512)
    assert (len(result.data_in), result.residual) == (512, -512)


# -- LUNs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lun", [1, bytes.fromhex("0001000000000000"), bytes.fromhex("4001000000000000")])
async def test_lun_as_number_or_bytes(session: Session, lun: int | bytes) -> None:
    await session.test_unit_ready(lun)


async def test_scanned_unit_is_a_lun_and_keeps_its_bytes(session: Session) -> None:
    (unit,) = await session.scan()
    assert len(await session.read(unit, 0, 1)) == 512
    raw = bytes.fromhex("4001000000000000")
    session._luns[1] = raw  # as if the target had reported flat addressing
    assert session.lun_of(1) == raw


@pytest.mark.parametrize("lun,error", [(-1, InvalidLUN), (1 << 24, InvalidLUN), (b"\1", LocalProtocolError)])
async def test_lun_that_cannot_be(session: Session, lun: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        await session.test_unit_ready(lun)


async def test_lun_that_is_not_there(session: Session) -> None:
    with pytest.raises(CommandFailed, match="logical unit not supported"):
        await session.test_unit_ready(7)


# -- reading and writing ---------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [1, 8, 511, 2048])
async def test_what_is_written_is_read_back(session: Session, target: Any, blocks: int) -> None:
    data = random.Random(blocks).randbytes(blocks * 512)
    await session.write(1, 9, data)
    assert bytes(target.store.read(9, blocks)) == data
    assert await session.read(1, 9, blocks) == data


async def test_reads_at_once_come_back_to_whom_they_belong(session: Session, target: Any) -> None:
    for block in range(300):
        target.store.write(block, block.to_bytes(2, "big") * 256)
    parts = await asyncio.gather(*(session.read(1, block, 1) for block in range(300)))
    assert [int.from_bytes(part[:2], "big") for part in parts] == list(range(300))


async def test_longer_than_one_command_may_be(target: Any) -> None:
    store = MemoryStore(40000)
    target.node.add_lun(2, LogicalUnit(store, serial="two"))
    data = random.Random(3).randbytes(MAX_TRANSFER_LENGTH + 3 * 512)
    async with connect(target.portal, target.name) as session:
        await session.write(2, 1, data)
        assert await session.read(2, 1, len(data) // 512) == data


@pytest.mark.parametrize("blocks", [1, 512, 4096])
async def test_buffer_of_the_caller_is_filled(session: Session, target: Any, blocks: int) -> None:
    data = random.Random(blocks).randbytes(blocks * 512)
    target.store.write(3, data)
    buffer = bytearray(len(data))
    await session.read_into(1, 3, buffer)
    assert buffer == data
    with pytest.raises(ValueError, match="no whole number of blocks"):
        await session.read_into(1, 3, bytearray(100))
    await session.read_into(1, 3, bytearray())


async def test_large_addresses_need_a_longer_cdb(session: Session) -> None:
    with pytest.raises(CommandFailed, match=r"READ \(16\) to LUN 1 .* out of range"):
        await session.read(1, 1 << 40, 1)


async def test_nothing_is_read_or_written_without_blocks(session: Session) -> None:
    assert await session.read(1, 0, 0) == b""
    await session.write(1, 0, b"")


async def test_part_of_a_block_is_not_written(session: Session) -> None:
    with pytest.raises(ValueError, match="513 bytes are no whole number of blocks of 512"):
        await session.write(1, 0, bytes(513))


async def test_blocks_of_another_size(target: Any) -> None:
    target.node.add_lun(4, LogicalUnit(MemoryStore(100, 4096), serial="four"))
    async with connect(target.portal, target.name) as session:
        await session.write(4, 99, b"4" * 4096)
        assert await session.read(4, 99, 1) == b"4" * 4096


async def test_out_of_range_is_told_with_its_sense(session: Session) -> None:
    with pytest.raises(
        CommandFailed, match=r"READ \(10\) to LUN 1 ended with CHECK CONDITION: ILLEGAL REQUEST"
    ):
        await session.read(1, 16384, 1)


def answer(monkeypatch: pytest.MonkeyPatch, target: Any, *completions: Completion) -> None:
    """Let the device server answer READ and WRITE with these first."""
    server, left = type(target.entity.device_server), list(completions)
    execute = server.execute

    def first_these(self: Any, nexus: Any, lun: bytes, cdb: bytes, *more: Any) -> Completion:
        return left.pop(0) if left and cdb[0] in (0x28, 0x2A) else execute(self, nexus, lun, cdb, *more)

    monkeypatch.setattr(server, "execute", first_these)


def check_condition(key: SenseKey, code: ASC) -> Completion:
    return Completion(Status.CHECK_CONDITION, b"", Sense.of(key, code).encode())


UNIT_ATTENTION = check_condition(SenseKey.UNIT_ATTENTION, ASC.POWER_ON_OCCURRED)


async def test_unit_attention_is_passed(
    session: Session, target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, target, UNIT_ATTENTION, UNIT_ATTENTION)
    await session.write(1, 0, b"u" * 512)
    assert await session.read(1, 0, 1) == b"u" * 512


async def test_endless_unit_attentions_are_an_error(
    session: Session, target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, target, *[UNIT_ATTENTION] * 10)
    with pytest.raises(CommandFailed, match="UNIT ATTENTION"):
        await session.read(1, 0, 1)


async def test_medium_error_is_not_tried_again(
    session: Session, target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, target, check_condition(SenseKey.MEDIUM_ERROR, ASC.UNRECOVERED_READ_ERROR))
    with pytest.raises(CommandFailed, match="MEDIUM ERROR"):
        await session.read(1, 0, 1)
    assert len(await session.read(1, 0, 1)) == 512


async def test_good_with_less_than_asked_for_is_no_success(
    session: Session, target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, target, Completion(Status.GOOD, b"x" * 100, b""))
    with pytest.raises(TransferIncomplete, match="moved 100 of 512 bytes"):
        await session.read(1, 0, 1)


async def test_good_with_less_taken_than_was_offered_is_no_success(session: Session) -> None:
    session._block_sizes[session.lun_of(1)] = 1024  # what it was before the target changed it
    with pytest.raises(TransferIncomplete, match="moved 512 of 1024 bytes"):
        await session.write(1, 0, b"x" * 1024)


# -- questions -------------------------------------------------------------------------------------


async def test_inquiry_and_pages(session: Session) -> None:
    assert (await session.inquiry(1)).vendor == "ISCSIM"
    page = await session.inquiry(1, 0x80)
    assert page[1] == 0x80
    assert b"one" in page
    with pytest.raises(CommandFailed):
        await session.inquiry(1, 0x7F)


async def test_capacity(session: Session) -> None:
    capacity = await session.read_capacity(1)
    assert (capacity.blocks, capacity.block_size) == (16384, 512)


class ScriptedSession(Session):
    """Commands are answered from a table: CDB prefix in hex -> data, or what is raised."""

    def __init__(self, script: dict[str, bytes | Exception]) -> None:
        self.script, self.asked = script, list[tuple[str, int]]()
        self._luns, self._block_sizes = {}, {}

    async def _checked(self, lun: Any, cdb: bytes, *, data_out: Any = b"", data_in_length: int = 0) -> bytes:
        self.asked.append((cdb.hex(), data_in_length))
        for prefix, reply in self.script.items():
            if cdb.hex().startswith(prefix):
                if isinstance(reply, Exception):
                    raise reply
                return reply[:data_in_length]
        raise illegal_request()


def illegal_request() -> CommandFailed:
    return CommandFailed(2, Sense.of(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_COMMAND_OPERATION_CODE))


async def test_short_capacity_where_the_long_one_is_unknown() -> None:
    capacity = await ScriptedSession({"25": bytes.fromhex("000003ff00000200")}).read_capacity(1)
    assert (capacity.blocks, capacity.block_size) == (1024, 512)


@pytest.mark.parametrize(
    "reply", ["", "000003ff", "000003ff00000000", "000003ffffffffff", "ffffffff00000200"]
)
async def test_capacity_that_cannot_be(reply: str) -> None:
    with pytest.raises(MalformedData):
        await ScriptedSession({"25": bytes.fromhex(reply)}).read_capacity(1)


async def test_no_capacity_without_a_medium() -> None:
    error = CommandFailed(2, Sense(SenseKey.NOT_READY, 0x3A, 0))
    session = ScriptedSession({"9e": error, "25": bytes(8)})
    with pytest.raises(CommandFailed):
        await session.read_capacity(1)
    assert len(session.asked) == 1


async def test_long_lun_list_is_asked_for_again() -> None:
    luns = [number.to_bytes(2, "big") + bytes(6) for number in range(1000)]
    session = ScriptedSession({"a0": (8000).to_bytes(4, "big") + bytes(4) + b"".join(luns)})
    assert await session.report_luns() == luns
    assert [length for _, length in session.asked] == [4096, 8008]


async def test_lun_list_of_a_liar_is_not_waited_for() -> None:
    session = ScriptedSession({"a0": b"\xff\xff\xff\xff" + bytes(100)})
    assert len(await session.report_luns()) == 12
    assert [length for _, length in session.asked] == [4096, 8 + 8 * 16384]


async def test_long_page_is_asked_for_again() -> None:
    session = ScriptedSession({"1201": bytes.fromhex("00830200") + bytes(512)})
    assert len(await session.inquiry(1, 0x83)) == 516
    assert [length for _, length in session.asked] == [255, 516]


# -- the session itself ----------------------------------------------------------------------------


async def test_ping(session: Session) -> None:
    assert await session.ping(b"are you there") == b"are you there"


async def test_rescan_tells_what_came_and_went(session: Session, target: Any) -> None:
    await session.scan()
    target.node.add_lun(9, LogicalUnit(MemoryStore(64), serial="nine"))
    added, removed = await session.rescan()
    assert ([unit.number for unit in added], removed) == ([9], [])
    target.node.lun_map.remove(9)
    added, removed = await session.rescan()
    assert (added, [unit.number for unit in removed]) == ([], [9])


@pytest.fixture
def silent(target: Any, monkeypatch: pytest.MonkeyPatch) -> list[Command]:
    """A target that takes READ (10) and never answers."""
    from iscsim.target.commands import CommandService

    swallowed: list[Any] = []
    begin, receive = CommandService._begin, CommandService.receive

    def swallow(self: Any, pdu: Any) -> None:
        if pdu.cdb[0] != 0x28:
            receive(self, pdu)
            return
        swallowed.append(pdu)
        self._connection.take_turn(pdu)
        pdu.write, pdu.expected_data_transfer_length, pdu.final = True, 512, True
        pdu.cdb = b"\x2a" + pdu.cdb[1:]
        begin(self, pdu)  # it now waits for data nobody will send

    monkeypatch.setattr(CommandService, "receive", swallow)
    monkeypatch.setattr(CommandService, "_ask", lambda self, task: None)
    return swallowed


async def test_command_that_is_not_answered_is_aborted(target: Any, silent: Any) -> None:
    async with connect(target.portal, target.name, command_timeout_s=0.05) as session:
        with pytest.raises(CommandTimedOut, match=r"READ \(10\) to LUN 1 was not answered in time"):
            await session.read(1, 0, 1)
        await session.test_unit_ready(1)
    assert len(silent) == 1


async def test_cancelled_command_is_aborted(session: Session, silent: Any) -> None:
    await session.read_capacity(1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await session.read(1, 0, 1)
    await session.ping()
    assert session._core.commands.tasks == {}


async def test_logical_unit_reset_ends_what_waits(session: Session, silent: Any) -> None:
    await session.read_capacity(1)
    waiting = asyncio.ensure_future(session.read(1, 0, 1))
    await session.ping()
    response = await session.task_management(TaskManagementFunction.LOGICAL_UNIT_RESET, 1)
    assert response == TaskManagementResponseCode.FUNCTION_COMPLETE
    with pytest.raises(CommandAborted, match="ended by LOGICAL UNIT RESET"):
        await waiting


async def test_abort_task_by_hand(session: Session, silent: Any) -> None:
    await session.test_unit_ready(1)
    task = CommandTask(session.lun_of(1), cdb.read_10(0, 1), data_in_length=512)
    waiting = asyncio.ensure_future(session.run(task))
    await session.ping()
    assert await session.task_management(TaskManagementFunction.ABORT_TASK, task=task) == 0
    with pytest.raises(CommandAborted):
        await waiting


async def test_text_in_a_normal_session(session: Session, target: Any) -> None:
    answers = await session.text([("SendTargets", "")])
    assert answers[0] == ("TargetName", target.name)


async def test_logout_twice_is_no_error(session: Session) -> None:
    await session.logout()
    await session.close()
    with pytest.raises(SessionFailed):
        await session.ping()


# -- for who recovers ------------------------------------------------------------------------------


async def test_a_session_that_is_dropped_says_why_to_what_was_under_way(session: Session) -> None:
    await session.test_unit_ready(1)
    read = asyncio.ensure_future(session.read(1, 0, 8))
    await asyncio.sleep(0)
    session.drop("enough of it")
    with pytest.raises(SessionFailed, match="enough of it"):
        await read
    assert session.has_ended
    assert str(session.failure) == "enough of it"


async def test_abort_of_a_task_that_is_not_under_way_needs_no_target(session: Session) -> None:
    abort = TaskManagementFunction.ABORT_TASK
    task = CommandTask(bytes(8), cdb.test_unit_ready())
    assert session.abort_locally(abort, task) == TaskManagementResponseCode.TASK_DOES_NOT_EXIST
    assert session.abort_locally(TaskManagementFunction.LOGICAL_UNIT_RESET, task) is None
    window = session._core.numbers.max_cmd_sn - session._core.numbers.cmd_sn + 1
    await session.test_unit_ready(1)
    tasks = [CommandTask(bytes(8), cdb.test_unit_ready()) for _ in range(window + 1)]
    runs = [asyncio.ensure_future(session.run(each)) for each in tasks]
    await asyncio.sleep(0)
    assert session.abort_locally(abort, tasks[0]) is None
    assert session.abort_locally(abort, tasks[-1]) == TaskManagementResponseCode.FUNCTION_COMPLETE
    done = await asyncio.gather(*runs, return_exceptions=True)
    assert [type(each) for each in done] == [CommandTask] * window + [CommandAborted]
