"""Path checkers: what they make of what a path answers."""

from __future__ import annotations

from typing import Any

import pytest
from initiator.multipath.straw import ATTENTION, STANDBY, Array

from iscsim.errors import ConnectionFailed, SessionFailed
from iscsim.initiator.multipath.checkers import CHECKERS, check_path
from iscsim.initiator.multipath.path import Path
from iscsim.initiator.multipath.states import CheckerState
from iscsim.initiator.task import CommandTimedOut
from iscsim.scsi.asc import ASC
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.scsi.status import Status

UNAVAILABLE = Sense.of(SenseKey.NOT_READY, ASC.TARGET_PORT_UNAVAILABLE)
INACTIVE_SNAPSHOT = Sense(SenseKey.ILLEGAL_REQUEST, 0x25, 0x01)


def path_of(array: Array | None = None) -> Path:
    (path,) = (array or Array()).paths("2:0:0:1 sda")
    return path


@pytest.mark.parametrize("checker", CHECKERS)
async def test_path_that_works_is_up(checker: str) -> None:
    assert await check_path(path_of(), checker, 30) is CheckerState.UP


@pytest.mark.parametrize("checker", CHECKERS)
@pytest.mark.parametrize(
    "error,state",
    [
        (SessionFailed("gone"), CheckerState.DOWN),
        (ConnectionFailed("gone"), CheckerState.DOWN),
        (CommandTimedOut("late"), CheckerState.TIMEOUT),
    ],
    ids=["session", "connection", "time"],
)
async def test_path_that_does_not_answer(checker: str, error: Exception, state: CheckerState) -> None:
    path = path_of()
    path.session.error = error
    assert await check_path(path, checker, 30) is state


@pytest.mark.parametrize(
    "answers,state",
    [
        ([STANDBY], CheckerState.GHOST),
        ([UNAVAILABLE], CheckerState.DOWN),
        ([Status.RESERVATION_CONFLICT], CheckerState.UP),
        ([Status.BUSY], CheckerState.DOWN),
        ([ATTENTION] * 4, CheckerState.UP),
        ([ATTENTION] * 5, CheckerState.DOWN),
    ],
)
async def test_tur(answers: list[Any], state: CheckerState) -> None:
    path = path_of()
    path.session.answers = list(answers)
    assert await check_path(path, "tur", 30) is state


@pytest.mark.parametrize("checker", ["directio", "readsector0"])
@pytest.mark.parametrize(
    "answers,state",
    [
        ([STANDBY], CheckerState.DOWN),
        ([ATTENTION] * 2, CheckerState.UP),
        ([ATTENTION] * 3, CheckerState.DOWN),
        ([Sense.of(SenseKey.MEDIUM_ERROR, ASC.UNRECOVERED_READ_ERROR)], CheckerState.DOWN),
    ],
)
async def test_reading(checker: str, answers: list[Any], state: CheckerState) -> None:
    path = path_of()
    path.session.answers = list(answers)
    assert await check_path(path, checker, 30) is state


@pytest.mark.parametrize(
    "report,state",
    [
        ({27: 0}, CheckerState.DOWN),
        ({28: 0}, CheckerState.DOWN),
        ({30: 0}, CheckerState.DOWN),
        ({48: 1}, CheckerState.SHAKY),
        ({4: 0}, CheckerState.DOWN),
        ({9: 1}, CheckerState.DOWN),
    ],
)
async def test_emc_clariion_reads_the_unit_report(report: dict[int, int], state: CheckerState) -> None:
    assert await check_path(path_of(Array(report=report)), "emc_clariion", 30) is state


async def test_passive_service_processor_is_up_without_a_read() -> None:
    array = Array(owner=1)
    assert await check_path(path_of(array), "emc_clariion", 30) is CheckerState.UP
    assert array.log == []


async def test_path_that_leads_to_another_unit_now_is_down() -> None:
    array = Array()
    path = path_of(array)
    assert await check_path(path, "emc_clariion", 30) is CheckerState.UP
    array.report[12] = 0xFF
    assert await check_path(path, "emc_clariion", 30) is CheckerState.DOWN


async def test_inactive_snapshot_is_down_on_every_path_until_it_is_active() -> None:
    owner, other = Array().paths("2:0:0:1 sda", "3:0:0:1 sdb")
    owner.memory["unit"] = other.memory["unit"] = {}
    owner.session.answers, owner.session.only = [INACTIVE_SNAPSHOT], Opcode.READ_10
    states = [await check_path(path, "emc_clariion", 30) for path in (other, owner, other, owner, other)]
    assert [state.value for state in states] == ["up", "down", "down", "up", "up"]


@pytest.mark.parametrize(
    "device_state,state",
    [
        ("running", CheckerState.UP),
        ("blocked", CheckerState.PENDING),
        ("offline", CheckerState.DOWN),
        ("transport-offline", CheckerState.DOWN),
    ],
)
async def test_device_that_takes_nothing_is_not_asked(device_state: str, state: CheckerState) -> None:
    path = path_of()
    path.session.state = device_state
    assert await check_path(path, "tur", 30) is state
    assert path.device_state == ("offline" if device_state == "offline" else "running")


async def test_size_that_is_not_known_is_asked_for() -> None:
    (path,) = Array(block_size=4096).paths("2:0:0:1 sda", block_size=0, blocks=0)
    assert await check_path(path, "directio", 30) is CheckerState.UP
