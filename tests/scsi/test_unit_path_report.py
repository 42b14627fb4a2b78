"""EMC's VPD page C0h."""

import pytest

from iscsim.scsi.unit_path_report import LUNState, UnitPathReport

WHOLE = UnitPathReport(
    lun_state=LUNState.OWNED,
    default_owner=1,
    processor=1,
    port=3,
    wwn="6006016015e03a00ab2df25bb82d0ea9",
    failover_mode=6,
    array_commpath=False,
    busy=True,
    serial="FNM00150600267",
)


@pytest.mark.parametrize("report", [WHOLE, UnitPathReport()], ids=["whole", "lunz"])
def test_what_is_built_is_parsed(report):
    assert UnitPathReport.parse(report.encode()) == report


def test_lunz_is_unbound():
    page = UnitPathReport().encode()
    assert (page[4], page[10:26]) == (0, bytes(16))


def test_short_page_has_zeros():
    page = WHOLE.encode()[:30]
    assert UnitPathReport.parse(page).serial == ""


def test_other_revision_is_not_understood():
    page = bytearray(WHOLE.encode())
    page[9] = 1
    with pytest.raises(ValueError, match="revision 1"):
        UnitPathReport.parse(page)


@pytest.mark.parametrize(
    "changes, may",
    [
        ({}, True),
        ({"failover_mode": 6}, True),
        ({"failover_mode": 2}, False),
        ({"initiator_type": 0x02}, False),
        ({"array_commpath": False}, False),
    ],
)
def test_host_must_be_set_up_to_fail_over(changes, may):
    assert UnitPathReport(**changes).may_fail_over is may
