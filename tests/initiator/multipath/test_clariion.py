"""VPD page C0h."""

from __future__ import annotations

import pytest
from initiator.multipath.straw import WWN, Array

from iscsim.initiator.multipath.clariion import LUNState, UnitReport


def test_page_says_who_owns_the_unit() -> None:
    array = Array(owner=1, default_owner=0)
    assert UnitReport.parse(array.unit_report(1)) == UnitReport(
        lun_state=LUNState.OWNED,
        default_owner=0,
        port=0,
        service_processor=1,
        wwn=bytes.fromhex(WWN[1:]),
        initiator_type=3,
        failover_mode=4,
        array_comm_path=True,
        is_normal=True,
    )
    assert UnitReport.parse(array.unit_report(0)).lun_state == LUNState.BOUND


@pytest.mark.parametrize("mode,may", [(4, True), (6, True), (0, False), (2, False), (0xFC, True)])
def test_failover_mode_must_be_one_that_linux_knows(mode: int, may: bool) -> None:
    assert UnitReport.parse(Array(report={28: mode}).unit_report(0)).may_fail_over is may


@pytest.mark.parametrize("report", [{1: 0x83}, {9: 1}])
def test_another_page_is_refused(report: dict[int, int]) -> None:
    with pytest.raises(ValueError, match="no unit report page"):
        UnitReport.parse(Array(report=report).unit_report(0))


def test_page_that_is_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="48 bytes"):
        UnitReport.parse(Array().unit_report(0)[:48])
