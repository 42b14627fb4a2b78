"""What a request is called, and byte ranges that must not overlap."""

import random
from typing import Any

import pytest

from iscsim.initiator.task import CommandTask, Extents, Management
from iscsim.pdu import TaskManagementFunction


def test_command_is_named_by_cdb_and_lun() -> None:
    assert CommandTask(bytes.fromhex("4101000000000000"), b"\x12").name == "INQUIRY to LUN 257"


def test_management_is_named_by_its_function() -> None:
    assert Management(TaskManagementFunction.LOGICAL_UNIT_RESET, bytes(8)).name == "LOGICAL UNIT RESET"


def test_unknown_function_is_refused() -> None:
    with pytest.raises(ValueError):
        Management(9, bytes(8))


@pytest.mark.parametrize(
    "start,end,free",
    [
        (0, 10, True),
        (20, 30, True),
        (10, 11, False),
        (9, 11, False),
        (19, 21, False),
        (5, 40, False),
        (12, 13, False),
    ],
)
def test_a_range_is_taken_once(start: int, end: int, free: bool) -> None:
    extents = Extents()
    assert extents.claim(10, 20)
    assert extents.claim(start, end) is free


def test_ranges_agree_with_a_set_of_bytes() -> None:
    dice = random.Random(7)
    extents, taken = Extents(), set[int]()
    for _ in range(500):
        start = dice.randrange(400)
        span = set(range(start, start + dice.randrange(1, 12)))
        assert extents.claim(start, start + len(span)) is taken.isdisjoint(span)
        if taken.isdisjoint(span):
            taken |= span


def test_again_asks_the_same_and_knows_nothing_of_what_came() -> None:
    room = memoryview(bytearray(512))
    asked: dict[str, Any] = {"data_in_length": 512, "into": room, "immediate": True, "task_attribute": 2}
    task = CommandTask(bytes(8), b"\x28", **asked)
    task.initiator_task_tag, task.received, task.status, task.sense_data = 7, 512, 2, b"?"
    again = task.again()
    assert vars(again) == vars(CommandTask(bytes(8), b"\x28", **asked))
    assert again.initiator_task_tag != 7


def test_again_does_not_take_over_a_buffer_of_our_own() -> None:
    task = CommandTask(bytes(8), b"\x28", data_in_length=512)
    task.buffer = bytearray(512)
    assert task.again().buffer is None
