"""Hardware handlers: trespass and SET TARGET PORT GROUPS, when and how."""

from __future__ import annotations

from typing import Any

import pytest
from initiator.multipath.straw import ATTENTION, Array

from iscsim.errors import SessionFailed
from iscsim.initiator.device_state import DeviceOffline
from iscsim.initiator.multipath.handlers import Activation, activate
from iscsim.scsi.asc import ASC
from iscsim.scsi.asymmetric_access import AccessState
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.scsi.status import Status

TRESPASS = "trespass to 1: 0000000000000000220981ffff000000000000"


async def test_trespass_goes_to_the_service_processor_that_does_not_own_the_unit() -> None:
    array = Array()
    owner, other = array.paths("2:0:0:1 sda", "3:0:0:1 sdb")
    assert await activate(owner, "emc") is Activation.READY
    assert array.log == []
    assert await activate(other, "emc") is Activation.READY
    assert (array.log, array.owner) == ([TRESPASS], 1)


@pytest.mark.parametrize(
    "answers,outcome",
    [
        ([ATTENTION], Activation.READY),
        ([Sense.of(SenseKey.ILLEGAL_REQUEST, ASC.LOGICAL_UNIT_NOT_READY)], Activation.BYPASS),
        ([Sense.of(SenseKey.NOT_READY, ASC.MANUAL_INTERVENTION_REQUIRED)], Activation.BYPASS),
        ([Sense.of(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_FIELD_IN_CDB)], Activation.FAILED),
        ([Status.BUSY], Activation.FAILED),
    ],
)
async def test_trespass_that_is_refused(answers: list[Any], outcome: Activation) -> None:
    _, path = Array().paths("2:0:0:1 sda", "3:0:0:1 sdb")
    path.session.answers, path.session.only = list(answers), Opcode.MODE_SELECT_10
    assert await activate(path, "emc") is outcome


async def test_nothing_is_moved_while_the_array_s_software_is_upgraded() -> None:
    array = Array(report={48: 1})
    _, path = array.paths("2:0:0:1 sda", "3:0:0:1 sdb")
    assert await activate(path, "emc") is Activation.BYPASS
    assert array.log == []


@pytest.mark.parametrize(
    "tpgs,state,outcome,log",
    [
        (3, AccessState.ACTIVE_OPTIMIZED, Activation.READY, []),
        (3, AccessState.ACTIVE_NON_OPTIMIZED, Activation.READY, ["group 2 is to be active/optimized"]),
        (3, AccessState.STANDBY, Activation.READY, ["group 2 is to be active/optimized"]),
        (2, AccessState.UNAVAILABLE, Activation.READY, ["group 2 is to be active/optimized"]),
        (1, AccessState.ACTIVE_NON_OPTIMIZED, Activation.READY, []),
        (1, AccessState.STANDBY, Activation.FAILED, []),
        (1, AccessState.TRANSITIONING, Activation.AGAIN, []),
        (3, AccessState.OFFLINE, Activation.FAILED, []),
    ],
)
async def test_alua_asks_where_it_may_and_waits_where_it_must(
    tpgs: int, state: AccessState, outcome: Activation, log: list[str]
) -> None:
    array = Array(tpgs=tpgs, states={2: state})
    _, path = array.paths("2:0:0:1 sda", "3:0:0:1 sdb")
    assert await activate(path, "alua") is outcome
    assert array.log == log


async def test_unit_without_port_groups_needs_nothing() -> None:
    (path,) = Array().paths("2:0:0:1 sda")
    assert await activate(path, "alua") is Activation.READY


@pytest.mark.parametrize("error", [SessionFailed("gone"), DeviceOffline("given up")], ids=type)
async def test_path_that_does_not_answer_has_failed(error: Exception) -> None:
    (path,) = Array().paths("2:0:0:1 sda")
    path.session.error = error
    assert await activate(path, "emc") is Activation.FAILED
