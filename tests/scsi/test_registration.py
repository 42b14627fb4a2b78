import pytest

from iscsim.scsi.registration import Registration, ReservationRule, ReservationType

WE, EA, WERO, EARO, WEAR, EAAR = ReservationType


@pytest.mark.parametrize("kind", ReservationType)
def test_what_a_type_means(kind):
    assert kind.favours_registrants == (kind in (WERO, EARO, WEAR, EAAR))
    assert kind.held_by_all == (kind in (WEAR, EAAR))
    writes_only = kind in (WE, WERO, WEAR)
    expected = (
        ReservationRule.UNDER_WRITE_EXCLUSIVE if writes_only else ReservationRule.UNDER_EXCLUSIVE_ACCESS
    )
    assert kind.rule is expected


def test_a_registration_is_known_by_both_ports_and_not_by_its_key():
    one, other = Registration("i", "t", 1, 7), Registration("i", "t", 1, 8)
    assert one.identity == other.identity == ("i", "t")
