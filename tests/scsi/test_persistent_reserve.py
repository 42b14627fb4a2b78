import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.errors import ConfigError
from iscsim.scsi import cdb
from iscsim.scsi.reservations import MAXIMUM_REGISTRATIONS, Registration, ReservationType
from iscsim.scsi.sense import FieldPointer
from iscsim.scsi.transport_id import encode_transport_id

REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, REGISTER_AND_IGNORE, MOVE = range(8)
KEYS, RESERVATION, CAPABILITIES, FULL_STATUS = range(4)
WE, EA, WERO, WEAR = 1, 3, 5, 7
PORT = "iqn.1993-08.org.debian:01:host,i,0x00023d000001"
POINTS_AT_IDS = FieldPointer(28, None, in_cdb=False)
PORT_ID = encode_transport_id(PORT)
RECEIVER = "iqn.other,i,0x00023d000001"


def parameters(key=0, action_key=0, flags=0, more=b""):
    return key.to_bytes(8, "big") + action_key.to_bytes(8, "big") + bytes([0, 0, 0, 0, flags, 0, 0, 0]) + more


def move_parameters(key, action_key, port=RECEIVER, flags=0, number=1):
    transport_id = encode_transport_id(port) if port else b""
    head = key.to_bytes(8, "big") + action_key.to_bytes(8, "big") + bytes([0, flags])
    return head + number.to_bytes(2, "big") + len(transport_id).to_bytes(4, "big") + transport_id


def specified(*ports):
    ids = b"".join(map(encode_transport_id, ports))
    return len(ids).to_bytes(4, "big") + ids


def out(action, kind=0, data=None):
    data = parameters() if data is None else data
    return cdb.persistent_reserve_out(action, reservation_type=kind, parameter_list_length=len(data)), data


def keys(rig):
    data = rig.good(cdb.persistent_reserve_in(KEYS))
    assert int.from_bytes(data[4:8], "big") == len(data) - 8
    return [int.from_bytes(data[start : start + 8], "big") for start in range(8, len(data), 8)]


def generation(rig):
    return int.from_bytes(rig.good(cdb.persistent_reserve_in(KEYS))[:4], "big")


@pytest.fixture
def registered(rig):
    rig.good(*out(REGISTER, data=parameters(0, 0xABC)))
    return rig


@pytest.fixture
def held(registered):
    registered.good(*out(RESERVE, WE, parameters(0xABC)))
    return registered


# REGISTER


def test_register_and_read_keys_as_sg_persist_did_with_lio(rig, recorded):
    (register,), (read_keys,) = recorded("5f", "LIO"), recorded("5e", "LIO")
    rig.good(register.cdb, parameters(0, 0xABC))
    assert rig.good(read_keys.cdb) == read_keys.data


def test_register_changes_and_removes_a_key(registered):
    registered.good(*out(REGISTER, data=parameters(0xABC, 0xDEF)))
    assert keys(registered) == [0xDEF]
    registered.good(*out(REGISTER, data=parameters(0xDEF, 0)))
    assert keys(registered) == []


def test_register_with_a_wrong_key_conflicts(registered):
    assert registered.conflicts(*out(REGISTER, data=parameters(0, 1)))
    assert registered.conflicts(*out(REGISTER, data=parameters(1, 2)))
    assert registered.conflicts(*out(REGISTER, data=parameters(1, 2)), nexus=registered.other())
    assert keys(registered) == [0xABC]


def test_register_and_ignore_existing_key(registered):
    registered.good(*out(REGISTER_AND_IGNORE, data=parameters(99, 1)))
    registered.good(*out(REGISTER_AND_IGNORE, data=parameters(99, 2)), nexus=registered.other())
    assert keys(registered) == [1, 2]
    registered.good(*out(REGISTER_AND_IGNORE, data=parameters(99, 0)))
    assert keys(registered) == [2]


@pytest.mark.parametrize("action", [REGISTER, REGISTER_AND_IGNORE])
def test_removing_what_is_not_registered_is_good(rig, action):
    rig.good(*out(action))
    assert keys(rig) == []


def test_the_holder_may_change_its_key_and_stays_the_holder(held):
    held.good(*out(REGISTER, data=parameters(0xABC, 0xDEF)))
    assert held.good(cdb.persistent_reserve_in(RESERVATION))[8:16].hex() == "0000000000000def"


def test_the_generation_counts_changes_of_registrations_that_succeed(held):
    assert generation(held) == 1
    held.good(*out(RELEASE, WE, parameters(0xABC)))
    held.conflicts(*out(REGISTER, data=parameters(1, 1)))
    assert generation(held) == 1
    held.good(*out(CLEAR, data=parameters(0xABC)))
    assert generation(held) == 2


def test_register_for_other_initiator_ports(rig):
    rig.good(*out(REGISTER, data=parameters(0, 7, 0x08, specified(RECEIVER, "iqn.c,i,0x000000000001"))))
    assert keys(rig) == [7, 7, 7]
    rig.good(*out(RESERVE, WERO, parameters(7)), nexus=rig.other())


def test_register_for_others_leaves_those_that_are_registered(rig):
    rig.good(*out(REGISTER, data=parameters(0, 5)), nexus=rig.other())
    rig.good(*out(REGISTER, data=parameters(0, 7, 0x08, specified(RECEIVER))))
    assert keys(rig) == [5, 7]


def test_register_for_all_known_ports_of_an_initiator(rig):
    """SPC-4: a TransportID without an ISID; a port through another target port is known, too."""
    for number in (1, 2):
        rig.other("iqn.c", port=number)
    rig.good(*out(REGISTER, data=parameters(0, 7, 0x08, specified("iqn.c", "iqn.nobody"))))
    assert [one.initiator_port for one in rig.unit.reservations.registrations] == [
        PORT,
        "iqn.c,i,0x00023d000001",
    ]


def test_register_for_all_known_ports_knows_registered_ones(registered):
    registered.good(*out(REGISTER, data=parameters(0, 5)), nexus=registered.other(port=2))
    third = registered.other("iqn.third")
    registered.server.nexus_lost(next(nexus for nexus in registered.unit.nexuses if "other" in str(nexus)))
    registered.good(*out(REGISTER, data=parameters(0, 7, 0x08, specified("iqn.other"))), nexus=third)
    assert keys(registered) == [0xABC, 5, 7, 7]


def test_register_for_other_ports_without_a_key_registers_nobody(rig):
    rig.good(*out(REGISTER, data=parameters(0, 0, 0x08, specified(RECEIVER))))
    assert keys(rig) == []


def test_register_for_others_is_all_or_nothing(rig):
    room = MAXIMUM_REGISTRATIONS - 2
    rig.unit.reservations.register([Registration(f"iqn.{n}", "t", 1, 1) for n in range(room)])
    data = parameters(0, 7, 0x08, specified(RECEIVER, "iqn.c,i,0x000000000001"))
    assert rig.fault(*out(REGISTER, data=data)) == "05/55/04"
    assert len(rig.unit.reservations.registrations) == room


# ALL_TG_PT


def test_a_registration_through_all_target_ports(rig):
    rig.good(*out(REGISTER, data=parameters(0, 7, 0x04)))
    assert keys(rig) == [7, 7]
    second_path = rig.other(rig.nexus.initiator_name, port=2)
    rig.good(*out(RESERVE, WE, parameters(7)), nexus=second_path)
    assert rig.conflicts(cdb.write_10(0, 1), bytes(512))
    rig.good(*out(REGISTER, data=parameters(7, 0, 0x04)))
    assert (keys(rig), rig.unit.reservations.reservation) == ([], None)


def test_others_may_be_registered_through_all_target_ports(rig):
    rig.good(*out(REGISTER, data=parameters(0, 7, 0x0C, specified(RECEIVER))))
    assert keys(rig) == [7] * 4


@pytest.mark.parametrize("key, action_key", [(0, 5), (7, 5), (7, 0)])
def test_register_through_all_ports_conflicts_as_it_would_through_one_of_them(rig, key, action_key):
    """Here through port 2, whose nexus has another key."""
    rig.good(*out(REGISTER, data=parameters(0, 9)), nexus=rig.other(rig.nexus.initiator_name, port=2))
    if key:
        rig.good(*out(REGISTER, data=parameters(0, 7)))
    before = keys(rig)
    assert rig.conflicts(*out(REGISTER, data=parameters(key, action_key, 0x04)))
    assert keys(rig) == before


def test_register_and_ignore_works_through_all_ports_whatever_was_there(rig):
    rig.good(*out(REGISTER, data=parameters(0, 9)), nexus=rig.other(rig.nexus.initiator_name, port=2))
    rig.good(*out(REGISTER_AND_IGNORE, data=parameters(0, 5, 0x04)))
    assert keys(rig) == [5, 5]
    rig.good(*out(REGISTER_AND_IGNORE, data=parameters(0, 0, 0x04)))
    assert keys(rig) == []


@pytest.mark.parametrize("action", [RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT])
def test_other_actions_ignore_all_tg_pt_and_aptpl(held, action):
    held.good(*out(action, WE, parameters(0xABC, 0xABC, 0x05)))


# APTPL


class Memory:
    """A `RegistrationStore` that forgets with the process; ``fails`` is raised instead of saving."""

    def __init__(self):
        self.state, self.fails, self.saved = None, None, 0

    def load(self):
        return self.state

    def save(self, state):
        if self.fails:
            raise self.fails
        self.state, self.saved = state, self.saved + 1

    def __str__(self):
        return "registrations in memory"


@pytest.fixture
def store(rig):
    store = Memory()
    rig.unit.keep_registrations(store)
    return store


def power_cycle(make_rig, store):
    rig = make_rig()
    rig.unit.keep_registrations(store)
    return rig


@pytest.mark.parametrize("kind", ReservationType)
def test_registrations_and_the_reservation_survive_a_power_loss(rig, make_rig, store, kind):
    rig.good(*out(REGISTER, data=parameters(0, 7, 0x01)), nexus=rig.other())
    rig.good(*out(REGISTER, data=parameters(0, 0xABC, 0x05)))
    rig.good(*out(RESERVE, kind, parameters(0xABC)))
    again = power_cycle(make_rig, store)
    assert again.unit.reservations.registrations == rig.unit.reservations.registrations
    assert again.unit.reservations.reservation == rig.unit.reservations.reservation
    assert again.conflicts(cdb.write_10(0, 1), bytes(512), nexus=again.other("iqn.stranger"))
    again.good(cdb.write_10(0, 1), bytes(512))


def test_a_power_on_sets_the_generation_to_zero(rig, make_rig, store):
    rig.good(*out(REGISTER, data=parameters(0, 7, 0x01)))
    assert (generation(rig), generation(power_cycle(make_rig, store))) == (1, 0)


def test_without_aptpl_nothing_survives_and_nothing_is_saved(rig, make_rig, store):
    rig.good(*out(REGISTER, data=parameters(0, 7)))
    rig.good(*out(RESERVE, WE, parameters(7)))
    assert store.saved == 0
    assert keys(power_cycle(make_rig, store)) == []


def test_the_last_registration_decides_for_all(rig, make_rig, store):
    rig.good(*out(REGISTER, data=parameters(0, 7, 0x01)))
    rig.good(*out(REGISTER, data=parameters(0, 8)), nexus=rig.other())
    assert keys(power_cycle(make_rig, store)) == []
    rig.good(*out(REGISTER_AND_IGNORE, data=parameters(0, 9, 0x01)))
    assert keys(power_cycle(make_rig, store)) == [9, 8]


def test_a_registration_that_does_nothing_decides_nothing(rig, make_rig, store):
    rig.good(*out(REGISTER, data=parameters(0, 7, 0x01)))
    rig.good(*out(REGISTER), nexus=rig.other())
    assert keys(power_cycle(make_rig, store)) == [7]


def test_a_moved_reservation_survives(rig, make_rig, store):
    rig.good(*out(REGISTER, data=parameters(0, 7, 0x01)))
    rig.good(*out(RESERVE, EA, parameters(7)))
    rig.good(*out(MOVE, data=move_parameters(7, 9, flags=0x03)))
    again = power_cycle(make_rig, store)
    assert keys(again) == [9]
    assert again.conflicts(cdb.read_10(0, 1))
    again.good(cdb.read_10(0, 1), nexus=again.other())


@pytest.mark.parametrize(
    "action, kind, data",
    [
        (REGISTER, 0, parameters(7, 8, 0x01)),
        (REGISTER, 0, parameters(7, 0, 0x01)),
        (REGISTER, 0, parameters(7, 8)),
        (REGISTER_AND_IGNORE, 0, parameters(0, 8, 0x05)),
        (RESERVE, WERO, parameters(7)),
        (CLEAR, 0, parameters(7)),
        (PREEMPT, 0, parameters(7, 9)),
        (PREEMPT_AND_ABORT, 0, parameters(7, 9)),
    ],
)
def test_what_cannot_be_saved_does_not_happen(rig, make_rig, store, action, kind, data):
    other = rig.other()
    rig.good(*out(REGISTER, data=parameters(0, 9, 0x01)), nexus=other)
    rig.good(*out(REGISTER, data=parameters(0, 7, 0x01)))
    store.fails = OSError(errno.EIO, "I/O error")
    assert rig.fault(*out(action, kind, data)) == "04/44/00"
    store.fails = OSError(errno.ENOSPC, "No space left on device")
    assert rig.fault(*out(action, kind, data)) == "05/55/04"
    assert (keys(rig), generation(rig), rig.unit.reservations.reservation) == ([9, 7], 2, None)
    assert (rig.unit.restricted, other.unit_attentions) == (False, {})
    store.fails = None
    rig.good(*out(action, kind, data))
    assert keys(power_cycle(make_rig, store)) == (keys(rig) if rig.unit.reservations.activated else [])


def test_a_release_that_cannot_be_saved_leaves_the_reservation(rig, store):
    rig.good(*out(REGISTER, data=parameters(0, 7, 0x01)))
    rig.good(*out(RESERVE, WERO, parameters(7)))
    store.fails = OSError(errno.EIO, "I/O error")
    assert rig.fault(*out(RELEASE, WERO, parameters(7))) == "04/44/00"
    assert rig.conflicts(cdb.write_10(0, 1), bytes(512), nexus=rig.other())


def test_after_a_failure_the_state_before_is_saved_again(rig, store):
    """A store that failed may have kept what was refused."""
    rig.good(*out(REGISTER, data=parameters(0, 7, 0x01)))
    store.fails = OSError(errno.EIO, "I/O error")
    rig.fault(*out(RESERVE, WE, parameters(7)))
    store.fails, store.state = None, "not that"
    rig.good(*out(RELEASE, WE, parameters(7)))
    assert store.state["reservation"] is None


def test_what_changes_nothing_is_not_saved(rig, store):
    rig.good(*out(REGISTER, data=parameters(0, 7, 0x01)))
    rig.good(*out(RELEASE, WE, parameters(7)))
    rig.conflicts(*out(RESERVE, WE, parameters(8)))
    assert store.saved == 1


def test_a_damaged_state_is_refused(rig):
    store = Memory()
    store.state = {"version": 1}
    with pytest.raises(ConfigError, match="registrations in memory: not the registrations of a logical unit"):
        rig.unit.keep_registrations(store)


# REGISTER refuses


@pytest.mark.parametrize(
    "data, fault, pointer",
    [
        (parameters(0, 7, 0x01), "05/26/00", FieldPointer(20, 0, in_cdb=False)),
        (parameters(0, 7, 0x09, specified(RECEIVER)), "05/26/00", FieldPointer(20, 0, in_cdb=False)),
        (parameters(0, 7, 0x08, bytes(4) + b"\x45"), "05/1a/00", None),
        (parameters(0, 7, 0x08), "05/1a/00", None),
        (parameters(0, 7, 0x08, bytes.fromhex("0000000445000000")), "05/26/00", POINTS_AT_IDS),
        (
            parameters(0, 7, 0x08, bytes.fromhex("00000018") + b"\x46" + PORT_ID[1:24]),
            "05/26/00",
            POINTS_AT_IDS,
        ),
        (parameters(0, 7, 0x08, bytes.fromhex("00000018") + PORT_ID[:24]), "05/1a/00", None),
        (parameters(0, 7, 0x08, specified(RECEIVER)[:-4]), "05/1a/00", None),
        (parameters(0, 7, 0x08, specified(RECEIVER) + bytes(4)), "05/1a/00", None),
        (parameters(0, 7, 0x00, bytes(4)), "05/1a/00", None),
        (parameters()[:23], "05/1a/00", None),
        (b"", "05/1a/00", None),
    ],
)
def test_register_refuses(rig, data, fault, pointer):
    sense = rig.sense(*out(REGISTER, data=data))
    assert (str(sense)[-9:-1], sense.field_pointer) == (fault, pointer)
    assert (keys(rig), generation(rig)) == ([], 0)


def test_a_list_that_does_not_come_whole_is_no_list(rig):
    command = cdb.persistent_reserve_out(REGISTER)
    assert rig.fault(command, parameters(0, 7)[:20]) == "05/1a/00"
    assert rig.fault(command, parameters(0, 7) + b"x") == "05/1a/00"
    long = cdb.persistent_reserve_out(REGISTER, parameter_list_length=1 << 31)
    assert rig.server.data_out_length(rig.nexus, rig.lun, long) == 0
    assert rig.fault(long) == "05/1a/00"


def test_a_registered_nexus_registers_nobody_else(registered):
    sense = registered.sense(*out(REGISTER, data=parameters(0xABC, 7, 0x08, specified(RECEIVER))))
    assert sense.field_pointer == FieldPointer(20, 3, in_cdb=False)


@pytest.mark.parametrize("action", [RESERVE, RELEASE, CLEAR, PREEMPT, REGISTER_AND_IGNORE])
def test_transport_ids_are_for_register_alone(registered, action):
    assert registered.fault(*out(action, WE, parameters(0xABC, 1, 0x08))) == "05/26/00"


# RESERVE and RELEASE


@pytest.mark.parametrize("action", [RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, MOVE])
def test_who_is_not_registered_under_its_key_conflicts(registered, action):
    data = move_parameters(1, 2) if action == MOVE else parameters(1, 0xABC)
    assert registered.conflicts(*out(action, WE, data))
    assert registered.conflicts(*out(action, WE, data), nexus=registered.other("iqn.third"))


def test_reserve_again_is_good_and_with_another_type_conflicts(held):
    held.good(*out(RESERVE, WE, parameters(0xABC)))
    assert held.conflicts(*out(RESERVE, EA, parameters(0xABC)))


def test_a_second_registrant_cannot_reserve(held):
    other = held.other()
    held.good(*out(REGISTER, data=parameters(0, 2)), nexus=other)
    assert held.conflicts(*out(RESERVE, WE, parameters(2)), nexus=other)


@pytest.mark.parametrize("kind, pointer", [(0, 3), (2, 3), (4, 3), (9, 3), (0x11, 7)])
def test_reserve_refuses_another_type_or_scope(registered, kind, pointer):
    sense = registered.sense(*out(RESERVE, kind, parameters(0xABC)))
    assert (str(sense)[-9:-1], sense.field_pointer) == ("05/24/00", FieldPointer(2, pointer))


@pytest.mark.parametrize("kind", [EA, 0x11])
def test_release_of_another_type_is_an_invalid_release(held, kind):
    assert held.fault(*out(RELEASE, kind, parameters(0xABC))) == "05/26/04"


def test_release_by_who_holds_nothing_is_good_without_effect(held):
    other = held.other()
    held.good(*out(REGISTER, data=parameters(0, 2)), nexus=other)
    held.good(*out(RELEASE, EA, parameters(2)), nexus=other)
    assert held.conflicts(cdb.write_10(0, 1), bytes(512), nexus=other)


# PREEMPT


@pytest.mark.parametrize("action", [PREEMPT, PREEMPT_AND_ABORT])
def test_preempt_of_a_key_nobody_has_conflicts(held, action):
    assert held.conflicts(*out(action, WE, parameters(0xABC, 99)))


@pytest.mark.parametrize("action", [PREEMPT, PREEMPT_AND_ABORT])
def test_preempt_of_key_0_is_for_all_registrants_only(held, action):
    sense = held.sense(*out(action, WE, parameters(0xABC, 0)))
    assert (str(sense)[-9:-1], sense.field_pointer) == ("05/26/00", FieldPointer(8, None, in_cdb=False))


@pytest.mark.parametrize("action", [PREEMPT, PREEMPT_AND_ABORT])
def test_preempt_takes_the_reservation(held, action):
    other = held.other()
    held.good(*out(REGISTER, data=parameters(0, 2)), nexus=other)
    held.good(*out(action, EA, parameters(2, 0xABC)), nexus=other)
    assert held.conflicts(cdb.read_10(0, 1))
    assert held.fault(cdb.test_unit_ready()) == "06/2a/05"
    assert held.good(cdb.read_10(0, 1), nexus=other) == bytes(512)


# REGISTER AND MOVE


def test_move_makes_another_nexus_the_holder(held):
    held.good(*out(MOVE, data=move_parameters(0xABC, 9)))
    assert keys(held) == [0xABC, 9]
    assert held.good(cdb.persistent_reserve_in(RESERVATION))[8:16].hex() == "0000000000000009"
    assert held.conflicts(cdb.write_10(0, 1), bytes(512))
    held.good(cdb.write_10(0, 1), bytes(512), nexus=held.other())


def test_move_may_unregister_the_sender(held):
    held.good(*out(MOVE, data=move_parameters(0xABC, 9, flags=0x02)))
    assert keys(held) == [9]
    assert held.unit.restricted


def test_move_to_another_port_of_the_target(held):
    other = held.other(port=2)
    held.good(*out(MOVE, data=move_parameters(0xABC, 9, number=2)))
    assert held.conflicts(cdb.write_10(0, 1), bytes(512), nexus=held.other())
    held.good(cdb.write_10(0, 1), bytes(512), nexus=other)


@pytest.mark.parametrize(
    "data, fault",
    [
        (move_parameters(0xABC, 0), "05/26/00 8"),
        (move_parameters(0xABC, 9, flags=0x01), "05/26/00 17"),
        (move_parameters(0xABC, 9, number=77), "05/26/00 18"),
        (move_parameters(0xABC, 9, port=PORT), "05/26/00 24"),
        (move_parameters(0xABC, 9, port=PORT, number=2), "05/26/00 24"),
        (move_parameters(0xABC, 9, port="iqn.other"), "05/26/00 24"),
        (move_parameters(0xABC, 9, port=""), "05/26/00 24"),
        (move_parameters(0xABC, 9)[:-4], "05/1a/00"),
        (move_parameters(0xABC, 9) + bytes(4), "05/1a/00"),
        (move_parameters(0xABC, 9)[:23] + b"\x18" + PORT_ID[:24], "05/1a/00"),
    ],
)
def test_move_refuses(held, data, fault):
    """The last number is the byte the field pointer points at."""
    sense = held.sense(*out(MOVE, data=data))
    pointer = f" {sense.field_pointer.byte}" if sense.field_pointer else ""
    assert str(sense)[-9:-1] + pointer == fault
    assert (keys(held), generation(held)) == ([0xABC], 1)
    held.good(cdb.write_10(0, 1), bytes(512))


def test_move_without_a_reservation_is_an_invalid_action(registered):
    sense = registered.sense(*out(MOVE, data=move_parameters(0xABC, 9)))
    assert (str(sense)[-9:-1], sense.field_pointer) == ("05/24/00", FieldPointer(1, 4))


def test_move_is_for_the_one_holder(held):
    other = held.other()
    held.good(*out(REGISTER, data=parameters(0, 2)), nexus=other)
    assert held.conflicts(*out(MOVE, data=move_parameters(2, 9, port=PORT)), nexus=other)


def test_move_is_not_for_all_registrants(registered):
    registered.good(*out(RESERVE, WEAR, parameters(0xABC)))
    assert registered.conflicts(*out(MOVE, data=move_parameters(0xABC, 9)))


@pytest.mark.parametrize("opcode, first", [("5e", 4), ("5f", 8)])
def test_other_service_actions_are_an_invalid_field(rig, opcode, first):
    for action in range(first, 32):
        sense = rig.sense(bytes([int(opcode, 16), action]) + bytes(8))
        assert (str(sense)[-9:-1], sense.field_pointer) == ("05/24/00", FieldPointer(1, 4))


@pytest.mark.parametrize("action", [RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, REGISTER])
@pytest.mark.parametrize("length", [23, 25, 28])
def test_a_plain_list_has_exactly_24_bytes(held, action, length):
    data = (parameters(0xABC, 0xABC) + bytes(4))[:length]
    assert held.fault(*out(action, WE, data)) == "05/1a/00"


@pytest.mark.parametrize("kind", [WERO, WEAR])
def test_reserve_and_release_of_who_is_favoured_are_good_and_do_nothing(registered, kind):
    """SPC-4, compatible reservation handling (CRH)."""
    registered.good(*out(RESERVE, kind, parameters(0xABC)))
    other = registered.other()
    registered.good(*out(REGISTER, data=parameters(0, 2)), nexus=other)
    for command in ("160000000000", "56" + "00" * 9, "170000000000", "57" + "00" * 9):
        registered.good(bytes.fromhex(command), nexus=other)
        assert registered.conflicts(bytes.fromhex(command), nexus=registered.other("iqn.third"))
    assert registered.unit.reservations.reserved_by is None
    assert registered.conflicts(cdb.write_10(0, 1), bytes(512), nexus=registered.other("iqn.third"))


def test_reserve_of_the_holder_is_good_and_of_another_registrant_conflicts(held):
    held.good(bytes.fromhex("160000000000"))
    other = held.other()
    held.good(*out(REGISTER, data=parameters(0, 2)), nexus=other)
    assert held.conflicts(bytes.fromhex("160000000000"), nexus=other)


# SPC-2's RESERVE


def test_registrations_and_reserve_do_not_mix(registered):
    for command in ("160000000000", "170000000000", "56" + "00" * 9, "57" + "00" * 9):
        assert registered.conflicts(bytes.fromhex(command))
        assert registered.conflicts(bytes.fromhex(command), nexus=registered.other())


def test_persistent_reserve_conflicts_with_any_reserve(rig):
    rig.good(bytes.fromhex("160000000000"))
    for nexus in (rig.nexus, rig.other()):
        assert rig.conflicts(*out(REGISTER, data=parameters(0, 1)), nexus=nexus)
        assert rig.conflicts(cdb.persistent_reserve_in(KEYS), nexus=nexus)


@given(st.integers(0, 31), st.integers(0, 255), st.binary(max_size=80))
def test_no_list_breaks_the_device_server(make_rig, action, scope_type, data):
    rig = make_rig()
    command = cdb.persistent_reserve_out(action, reservation_type=scope_type, parameter_list_length=len(data))
    assert rig.execute(command, data).status in (0x00, 0x02, 0x18)
