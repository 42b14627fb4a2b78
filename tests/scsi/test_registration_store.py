import json

import pytest

from iscsim.scsi.registration import PersistentReservation, Registration, ReservationType
from iscsim.scsi.registration_store import Kept, decode, encode

ONE = Registration("iqn.a,i,0x000000000001", "iqn.t,t,0x0001", 1, 0xABC, "iqn.t")
OTHER = Registration("iqn.b,i,0x000000000001", "iqn.t,t,0x0002", 2, (1 << 64) - 1, "iqn.t", True)
WE, WEAR = ReservationType.WRITE_EXCLUSIVE, ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS


@pytest.mark.parametrize(
    "kept",
    [
        Kept(),
        Kept(True),
        Kept(True, (ONE, OTHER)),
        Kept(True, (ONE, OTHER), PersistentReservation(WE, OTHER.identity)),
        Kept(True, (OTHER,), PersistentReservation(WEAR, None)),
    ],
)
def test_round_trip_through_json(kept):
    assert decode(json.loads(json.dumps(encode(kept))), maximum=2) == kept


def test_the_form():
    held = PersistentReservation(WE, ONE.identity)
    assert encode(Kept(True, (ONE,), held)) == {
        "version": 1,
        "activated": True,
        "registrations": [
            {
                "initiator_port": "iqn.a,i,0x000000000001",
                "target_name": "iqn.t",
                "target_port": "iqn.t,t,0x0001",
                "relative_target_port": 1,
                "key": "0x0000000000000abc",
                "all_target_ports": False,
            }
        ],
        "reservation": {"type": 1, "holder": 0},
    }


GOOD = encode(Kept(True, (ONE,), PersistentReservation(WE, ONE.identity)))
ROW = GOOD["registrations"][0]


@pytest.mark.parametrize(
    "state",
    [
        {},
        [],
        GOOD | {"more": 1},
        GOOD | {"version": 2},
        GOOD | {"version": True},
        GOOD | {"activated": 1},
        GOOD | {"activated": False},
        GOOD | {"registrations": None},
        GOOD | {"registrations": [None]},
        GOOD | {"registrations": [ROW, ROW]},
        GOOD | {"registrations": [ROW | {"initiator_port": str(number)} for number in range(3)]},
        GOOD | {"registrations": [ROW | {"key": "0x0"}]},
        GOOD | {"registrations": [ROW | {"key": "0x10000000000000000"}]},
        GOOD | {"registrations": [ROW | {"key": "key"}]},
        GOOD | {"registrations": [ROW | {"key": 7}]},
        GOOD | {"registrations": [ROW | {"relative_target_port": 0}]},
        GOOD | {"registrations": [ROW | {"relative_target_port": 1.0}]},
        GOOD | {"registrations": [ROW | {"initiator_port": "\ud800,i,0x00023d000001"}]},
        GOOD | {"registrations": [ROW | {"initiator_port": "x" * 256}]},
        GOOD | {"registrations": [ROW | {"target_port": ""}]},
        GOOD | {"registrations": [{"key": "0x1"}]},
        GOOD | {"registrations": []},
        GOOD | {"reservation": {}},
        GOOD | {"reservation": {"type": 2, "holder": 0}},
        GOOD | {"reservation": {"type": 1, "holder": None}},
        GOOD | {"reservation": {"type": 1, "holder": 1}},
        GOOD | {"reservation": {"type": 1, "holder": -1}},
        GOOD | {"reservation": {"type": 1, "holder": False}},
        GOOD | {"reservation": {"type": 7, "holder": 0}},
        GOOD | {"registrations": [], "reservation": {"type": 7, "holder": None}},
    ],
)
def test_what_was_never_written_is_refused(state):
    with pytest.raises(ValueError, match=r".") as caught:
        decode(state, maximum=2)
    assert "\n" not in str(caught.value)
