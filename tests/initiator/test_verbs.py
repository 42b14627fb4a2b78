"""The verbs, over a run() that repeats what is lost: what it returns counts, not what it was given."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from iscsim.errors import LocalProtocolError
from iscsim.initiator.task import CommandTask, TransferIncomplete
from iscsim.initiator.verbs import SCSIVerbs
from iscsim.scsi import cdb
from iscsim.scsi.lun import encode_lun
from iscsim.scsi.sense import CommandFailed, Sense, SenseKey
from iscsim.scsi.status import Status

UNIT_ATTENTION = Sense(SenseKey.UNIT_ATTENTION, 0x29, 0).encode()


class Disk(SCSIVerbs):
    """Answers by ``answer(task)``; every command is lost once, so an ``again()`` is what ends."""

    def __init__(self, answer: Callable[[CommandTask], None]) -> None:
        super().__init__()
        self._answer = answer
        self.sent: list[CommandTask] = []
        self._block_sizes[encode_lun(1)] = 512

    async def run(self, task: CommandTask, timeout_s: float | None = None) -> CommandTask:
        repeated = task.again()
        self.sent.append(repeated)
        await asyncio.sleep(0)
        self._answer(repeated)
        return repeated


def zeros(task: CommandTask) -> None:
    task.data_in = bytes(task.data_in_length)


async def test_what_run_returns_is_the_answer() -> None:
    assert await Disk(zeros).read(1, 0, 2) == bytes(1024)


async def test_a_unit_attention_is_passed_and_a_second_error_is_raised() -> None:
    def attention_then(task: CommandTask) -> None:
        task.status = Status.CHECK_CONDITION
        if len(disk.sent) == 1:
            task.sense_data = UNIT_ATTENTION

    disk = Disk(attention_then)
    with pytest.raises(CommandFailed):
        await disk.write(1, 0, bytes(512))
    assert [task.cdb[0] for task in disk.sent] == [0x2A, 0x2A]


async def test_less_than_was_asked_for_is_no_success() -> None:
    def short(task: CommandTask) -> None:
        task.data_in = bytes(task.data_in_length - 1)

    with pytest.raises(TransferIncomplete, match="moved 511 of 512"):
        await Disk(short).read(1, 0, 1)


async def test_a_lun_is_a_number_or_bytes_or_has_them() -> None:
    @dataclass
    class Unit:
        lun: bytes

    disk = Disk(zeros)
    named: list[Any] = [1, encode_lun(1), Unit(encode_lun(1))]
    for lun in named:
        await disk.flush(lun)
    assert {task.lun for task in disk.sent} == {encode_lun(1)}
    with pytest.raises(LocalProtocolError, match="8 bytes"):
        await disk.flush(b"1")


async def test_into_is_kept_when_a_read_is_repeated() -> None:
    def fill(task: CommandTask) -> None:
        assert task.into is not None
        task.into[:] = b"x" * task.data_in_length
        task.data_in = task.into

    buffer = bytearray(512)
    await Disk(fill).read_into(1, 0, buffer)
    assert buffer == b"x" * 512


async def test_execute_gives_the_result_of_what_ended() -> None:
    result = await Disk(zeros).execute(1, cdb.inquiry(), data_in_length=255)
    assert (result.status, len(result.data_in)) == (Status.GOOD, 255)


async def test_a_write_the_target_did_not_ask_for_cannot_have_been_written() -> None:
    def half(task: CommandTask) -> None:
        task.asked = 512

    with pytest.raises(TransferIncomplete, match="moved 512 of 1024"):
        await Disk(half).write(1, 0, bytes(1024))
