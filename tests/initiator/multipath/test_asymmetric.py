"""REPORT TARGET PORT GROUPS as the kernel's handler asks for it."""

from __future__ import annotations

import pytest
from initiator.multipath.straw import ATTENTION, Array

from iscsim.initiator.multipath.asymmetric import learn_port_group, report_target_port_groups
from iscsim.scsi.asc import ASC
from iscsim.scsi.asymmetric_access import AccessState
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.sense import CommandFailed, Sense, SenseKey
from iscsim.scsi.target_port_groups import TargetPortGroup


async def test_port_group_is_asked_for_once() -> None:
    _, path = Array(tpgs=1).paths("2:0:0:1 sda", "3:0:0:1 sdb")
    assert await learn_port_group(path) == 2
    path.session.error = AssertionError("it was asked again")
    assert await learn_port_group(path) == 2


async def test_attentions_and_arrays_that_know_only_the_short_header_are_borne() -> None:
    (path,) = Array(tpgs=1).paths("2:0:0:1 sda")
    path.session.only = Opcode.MAINTENANCE_IN
    path.session.answers = [ATTENTION, Sense.of(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_FIELD_IN_CDB)]
    groups, time_s = await report_target_port_groups(path, 30)
    assert [group.state for group in groups] == [
        AccessState.ACTIVE_OPTIMIZED,
        AccessState.ACTIVE_NON_OPTIMIZED,
    ]
    assert time_s == 0


async def test_report_that_is_longer_than_the_room_is_asked_for_again() -> None:
    class Many(Array):
        def port_groups(self) -> bytes:
            groups = b"".join(TargetPortGroup(group=n, ports=(n,)).encode() for n in range(1, 41))
            return len(groups).to_bytes(4, "big") + groups

    (path,) = Many(tpgs=1).paths("2:0:0:1 sda")
    groups, _ = await report_target_port_groups(path, 30)
    assert len(groups) == 40


async def test_refusal_is_raised() -> None:
    (path,) = Array(tpgs=1).paths("2:0:0:1 sda")
    path.session.only = Opcode.MAINTENANCE_IN
    path.session.answers = [Sense.of(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_COMMAND_OPERATION_CODE)] * 2
    with pytest.raises(CommandFailed, match="REPORT TARGET PORT GROUPS"):
        await report_target_port_groups(path, 30)
