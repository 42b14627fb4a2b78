"""Which nexus may do what under which persistent reservation, and who hears what when it ends."""

import pytest

from iscsim.scsi import cdb
from iscsim.scsi.reservations import MAXIMUM_REGISTRATIONS, Registration, ReservationType
from iscsim.scsi.sense import CheckCondition

WE, EA, WERO, EARO, WEAR, EAAR = ReservationType
REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT = range(5)
READ, WRITE = cdb.read_10(0, 1), cdb.write_10(0, 1)
PRELEASED, PPREEMPTED, RPREEMPTED = "06/2a/04", "06/2a/03", "06/2a/05"


class Trio:
    """A holder with key 1, a registrant with key 2, and a stranger."""

    def __init__(self, rig, kind=None):
        self.rig = rig
        self.holder, self.registrant, self.stranger = rig.nexus, rig.other("iqn.a"), rig.other("iqn.b")
        self.out(self.holder, REGISTER, 0, 1)
        self.out(self.registrant, REGISTER, 0, 2)
        if kind:
            self.out(self.holder, RESERVE, 1, kind=kind)

    def out(self, nexus, action, key, action_key=0, kind=0):
        parameters = key.to_bytes(8, "big") + action_key.to_bytes(8, "big") + bytes(8)
        self.rig.good(cdb.persistent_reserve_out(action, reservation_type=kind), parameters, nexus=nexus)

    def heard(self):
        """What waits for holder, registrant and stranger; '' for nothing."""
        return tuple(self.tell(nexus) for nexus in (self.holder, self.registrant, self.stranger))

    def tell(self, nexus):
        attention = nexus.take(self.rig.unit)
        return f"06/{attention.value >> 8:02x}/{attention.value & 0xFF:02x}" if attention else ""

    def may(self, nexus, command):
        data = b"x" * 512 if command == WRITE else b""
        return not self.rig.conflicts(command, data, nexus=nexus)


@pytest.fixture
def make_trio(make_rig):
    return lambda kind=None: Trio(make_rig(), kind)


@pytest.mark.parametrize(
    "kind, registrant, stranger",
    [
        (WE, "r-", "r-"),
        (EA, "--", "--"),
        (WERO, "rw", "r-"),
        (EARO, "rw", "--"),
        (WEAR, "rw", "r-"),
        (EAAR, "rw", "--"),
    ],
)
def test_who_may_read_and_write(make_trio, kind, registrant, stranger):
    trio = make_trio(kind)
    for nexus, may in ((trio.holder, "rw"), (trio.registrant, registrant), (trio.stranger, stranger)):
        assert (trio.may(nexus, READ), trio.may(nexus, WRITE)) == ("r" in may, "w" in may)


@pytest.mark.parametrize("kind", ReservationType)
@pytest.mark.parametrize(
    "command",
    [
        cdb.test_unit_ready(),
        cdb.inquiry(),
        cdb.request_sense(),
        cdb.report_luns(),
        cdb.read_capacity_10(),
        cdb.read_capacity_16(),
        cdb.persistent_reserve_in(0),
        cdb.start_stop_unit(start=True),
    ],
)
def test_what_a_stranger_may_do_under_every_type(make_trio, kind, command):
    trio = make_trio(kind)
    assert trio.may(trio.stranger, command)


@pytest.mark.parametrize("kind", ReservationType)
@pytest.mark.parametrize(
    "command", [cdb.start_stop_unit(start=False), cdb.synchronize_cache_10(), bytes.fromhex("1e0000000100")]
)
def test_what_a_stranger_may_do_under_none(make_trio, kind, command):
    trio = make_trio(kind)
    assert not trio.may(trio.stranger, command)


@pytest.mark.parametrize("command", [cdb.mode_sense_6(0x3F), cdb.mode_sense_10(0x3F)])
def test_mode_sense_reads(make_trio, command):
    assert make_trio(WE).may(make_trio(WE).stranger, command)
    trio = make_trio(EA)
    assert not trio.may(trio.stranger, command)


def test_registrations_alone_restrict_nobody(make_trio):
    trio = make_trio()
    assert trio.may(trio.stranger, WRITE)
    assert not trio.rig.unit.restricted


# RELEASE and unregistering


@pytest.mark.parametrize("kind", ReservationType)
def test_release_tells_the_other_registrants_that_lose_by_it(make_trio, kind):
    trio = make_trio(kind)
    trio.out(trio.holder, RELEASE, 1, kind=kind)
    assert trio.heard() == ("", PRELEASED if kind.favours_registrants else "", "")
    assert trio.may(trio.stranger, WRITE)


@pytest.mark.parametrize(
    "kind, heard", [(WE, ""), (EA, ""), (WERO, PRELEASED), (EARO, PRELEASED)], ids=lambda value: str(value)
)
def test_a_holder_that_unregisters_releases_and_hears_nothing_itself(make_trio, kind, heard):
    trio = make_trio(kind)
    trio.out(trio.holder, REGISTER, 1, 0)
    assert trio.heard() == ("", heard, "")
    assert trio.may(trio.stranger, WRITE)


@pytest.mark.parametrize("kind", [WEAR, EAAR])
def test_all_registrants_hold_it_until_the_last_has_gone(make_trio, kind):
    trio = make_trio(kind)
    trio.out(trio.holder, REGISTER, 1, 0)
    assert not trio.may(trio.holder, WRITE)
    trio.out(trio.registrant, REGISTER, 2, 0)
    assert trio.heard() == ("", "", "")
    assert trio.may(trio.stranger, WRITE)


def test_a_registrant_that_unregisters_leaves_the_reservation(make_trio):
    trio = make_trio(WERO)
    trio.out(trio.registrant, REGISTER, 2, 0)
    assert not trio.may(trio.registrant, WRITE)
    assert trio.heard() == ("", "", "")


# CLEAR and PREEMPT


def test_clear_tells_all_other_registrants(make_trio):
    trio = make_trio(EA)
    trio.out(trio.registrant, CLEAR, 2)
    assert trio.heard() == (PPREEMPTED, "", "")
    assert trio.may(trio.stranger, WRITE)
    assert trio.rig.unit.reservations.registrations == []


def test_preempting_the_holder_takes_the_reservation(make_trio):
    trio = make_trio(WE)
    trio.out(trio.registrant, PREEMPT, 2, 1, kind=WE)
    assert trio.heard() == (RPREEMPTED, "", "")
    assert (trio.may(trio.holder, WRITE), trio.may(trio.registrant, WRITE)) == (False, True)
    assert [one.key for one in trio.rig.unit.reservations.registrations] == [2]


@pytest.mark.parametrize("kind, heard", [(WERO, ""), (EA, PRELEASED)])
def test_those_that_stay_hear_of_a_new_type_only(make_trio, kind, heard):
    trio = make_trio(WERO)
    trio.out(trio.stranger, REGISTER, 0, 3)
    trio.out(trio.registrant, PREEMPT, 2, 1, kind=kind)
    assert trio.heard() == (RPREEMPTED, "", heard)


def test_preempting_a_registrant_leaves_the_reservation(make_trio):
    trio = make_trio(WERO)
    trio.out(trio.holder, PREEMPT, 1, 2, kind=EA)
    assert trio.heard() == ("", RPREEMPTED, "")
    assert trio.rig.unit.reservations.reservation.type is WERO
    assert not trio.may(trio.registrant, WRITE)


def test_a_holder_may_preempt_itself_to_change_the_type(make_trio):
    trio = make_trio(WE)
    trio.out(trio.holder, PREEMPT, 1, 1, kind=EA)
    assert trio.heard() == ("", PRELEASED, "")
    assert not trio.may(trio.stranger, READ)
    assert trio.may(trio.holder, WRITE)


def test_key_0_preempts_all_registrants_together(make_trio):
    trio = make_trio(WEAR)
    trio.out(trio.registrant, PREEMPT, 2, 0, kind=WE)
    assert trio.heard() == (RPREEMPTED, "", "")
    assert [one.key for one in trio.rig.unit.reservations.registrations] == [2]
    assert not trio.may(trio.holder, WRITE)


def test_all_registrants_that_preempt_themselves_away_free_the_unit(make_trio):
    trio = make_trio(WEAR)
    trio.out(trio.holder, PREEMPT, 1, 2, kind=WEAR)
    trio.out(trio.holder, PREEMPT, 1, 1, kind=WEAR)
    assert trio.may(trio.stranger, WRITE)


# What they outlive


@pytest.mark.parametrize("kind", ReservationType)
def test_a_reservation_survives_reset_and_nexus_loss(make_trio, kind):
    trio = make_trio(kind)
    trio.rig.server.logical_unit_reset(trio.stranger, trio.rig.lun)
    trio.rig.server.target_reset(trio.stranger)
    trio.rig.server.nexus_lost(trio.holder)
    trio.stranger.take(trio.rig.unit)
    assert not trio.may(trio.stranger, WRITE)
    again = trio.rig.other(trio.holder.initiator_name)
    assert trio.may(again, WRITE)


def test_a_nexus_that_is_away_hears_nothing_later(make_trio):
    trio = make_trio(WERO)
    trio.rig.server.nexus_lost(trio.registrant)
    trio.out(trio.holder, RELEASE, 1, kind=WERO)
    again = trio.rig.connect("iqn.a")
    assert [trio.tell(again), trio.tell(again)] == ["06/29/00", ""]


def test_the_registration_belongs_to_one_target_port(make_trio):
    trio = make_trio(WERO)
    second_path = trio.rig.other(trio.holder.initiator_name, port=2)
    assert not trio.may(second_path, WRITE)


def test_registrations_have_a_limit_and_a_list_over_it_adds_none(rig):
    reservations = rig.unit.reservations
    many = [Registration(f"iqn.{number}", "t", 1, 1) for number in range(MAXIMUM_REGISTRATIONS + 1)]
    with pytest.raises(CheckCondition, match="05/55/04"):
        reservations.register(many)
    assert reservations.registrations == []
    reservations.register(many[1:])
    assert len(reservations.registrations) == MAXIMUM_REGISTRATIONS


def test_what_is_lost_is_gone_and_nobody_hears_of_it(make_trio):
    trio = make_trio(WE)
    reservations = trio.rig.unit.reservations
    reservations.lose()
    assert (reservations.registrations, reservations.in_force) == ([], False)
    assert trio.heard() == ("", "", "")
    assert trio.may(trio.stranger, WRITE)


def test_a_loss_of_power_takes_what_nobody_keeps_and_begins_a_new_generation(make_trio):
    reservations = make_trio(WE).rig.unit.reservations
    assert reservations.generation
    reservations.lose_power()
    assert (reservations.registrations, reservations.in_force, reservations.generation) == ([], False, 0)
