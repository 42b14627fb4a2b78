import pytest

from iscsim.scsi import cdb
from iscsim.scsi.device_server import COMMANDS
from iscsim.scsi.reservations import ReservationRule
from iscsim.scsi.sense import FieldPointer

RESERVE_6, RELEASE_6 = bytes.fromhex("160000000000"), bytes.fromhex("170000000000")
RESERVE_10, RELEASE_10 = bytes.fromhex("56000000000000000000"), bytes.fromhex("57000000000000000000")
START, STOP = cdb.start_stop_unit(start=True), cdb.start_stop_unit(start=False)
ALLOW, PREVENT = bytes.fromhex("1e0000000000"), bytes.fromhex("1e0000000100")
PAIRS = [(RESERVE_6, RELEASE_6), (RESERVE_10, RELEASE_10), (RESERVE_6, RELEASE_10)]


@pytest.fixture
def other(rig):
    return rig.other()


@pytest.mark.parametrize("reserve, release", PAIRS)
def test_release_ends_what_reserve_began(rig, other, reserve, release):
    rig.good(reserve)
    assert rig.conflicts(cdb.read_10(0, 1), nexus=other)
    rig.good(release)
    assert not rig.conflicts(cdb.read_10(0, 1), nexus=other)


def test_reserve_twice_is_good_and_one_release_ends_it(rig, other):
    rig.good(RESERVE_6)
    rig.good(RESERVE_6)
    rig.good(RELEASE_6)
    assert not rig.conflicts(RESERVE_6, nexus=other)


def test_the_holder_may_do_everything(rig):
    rig.good(RESERVE_6)
    rig.good(cdb.write_10(0, 1), b"x" * 512)
    assert rig.good(cdb.read_10(0, 1)) == b"x" * 512


def test_a_write_that_conflicts_is_asked_for_no_data_and_changes_nothing(rig, other):
    rig.good(RESERVE_6)
    assert rig.server.data_out_length(other, rig.lun, cdb.write_10(0, 1)) == 0
    assert rig.conflicts(cdb.write_10(0, 1), b"x" * 512, nexus=other)
    assert rig.good(cdb.read_10(0, 1)) == bytes(512)


@pytest.mark.parametrize(
    "command",
    [RESERVE_6, RESERVE_10, cdb.test_unit_ready(), cdb.read_16(0, 1), cdb.mode_sense_6(8), STOP, PREVENT],
)
def test_what_conflicts_with_anothers_reserve(rig, other, command):
    rig.good(RESERVE_6)
    assert rig.conflicts(command, nexus=other)


@pytest.mark.parametrize(
    "command",
    [
        cdb.inquiry(),
        cdb.inquiry(0x83),
        cdb.report_luns(),
        cdb.request_sense(),
        cdb.read_capacity_10(),
        cdb.read_capacity_16(),
        RELEASE_6,
        RELEASE_10,
        START,
        ALLOW,
    ],
)
def test_what_is_allowed_under_anothers_reserve(rig, other, command):
    rig.good(RESERVE_6)
    assert not rig.conflicts(command, nexus=other)
    assert rig.conflicts(cdb.test_unit_ready(), nexus=other)


def test_a_release_by_another_has_no_effect(rig, other):
    rig.good(RESERVE_6)
    rig.good(RELEASE_6, nexus=other)
    assert rig.conflicts(cdb.test_unit_ready(), nexus=other)


def test_the_same_initiator_through_another_port_is_another_nexus(rig):
    rig.good(RESERVE_6)
    assert rig.conflicts(cdb.test_unit_ready(), nexus=rig.other("iqn.1993-08.org.debian:01:host", port=2))


@pytest.mark.parametrize("reset", ["logical_unit_reset", "target_reset", "nexus_lost"])
def test_what_ends_a_reserve(rig, other, reset):
    rig.good(RESERVE_6)
    if reset == "logical_unit_reset":
        rig.server.logical_unit_reset(other, rig.lun)
    else:
        getattr(rig.server, reset)(rig.nexus)
    other.take(rig.unit)
    assert not rig.conflicts(RESERVE_6, nexus=other)


def test_a_reset_of_one_unit_keeps_the_reserve_of_another(rig, other):
    rig.add(1)
    other.unit_attentions.clear()
    rig.nexus.unit_attentions.clear()
    lun = bytes.fromhex("0001000000000000")
    rig.good(RESERVE_6, lun=lun)
    rig.server.logical_unit_reset(other, rig.lun)
    assert rig.conflicts(cdb.test_unit_ready(), nexus=other, lun=lun)


def test_a_nexus_that_leaves_takes_no_reserve_of_another_with_it(rig, other):
    rig.good(RESERVE_6)
    rig.server.nexus_lost(other)
    assert rig.conflicts(cdb.test_unit_ready(), nexus=rig.other("iqn.third"))


def test_a_unit_attention_waits_while_a_command_conflicts(rig, other):
    rig.good(RESERVE_6)
    rig.unit.resize(4096)
    assert rig.conflicts(cdb.read_10(0, 1), nexus=other)
    assert rig.fault(RELEASE_6) == "06/2a/09"
    rig.good(RELEASE_6)
    assert rig.fault(cdb.read_10(0, 1), nexus=other) == "06/2a/09"


@pytest.mark.parametrize("opcode", ["16", "17", "56", "57"])
@pytest.mark.parametrize("flags, bit", [("10", 4), ("01", 0), ("02", 1)])
def test_third_parties_and_extents_are_refused(rig, other, opcode, flags, bit):
    sense = rig.sense(bytes.fromhex(opcode + flags + "00" * 8))
    assert (str(sense)[-9:-1], sense.field_pointer) == ("05/24/00", FieldPointer(1, bit))
    assert not rig.conflicts(cdb.test_unit_ready(), nexus=other)


def test_a_tray_that_opens_and_closes_does_not_end_a_reserve(make_rig):
    rig = make_rig(removable=True)
    other = rig.other()
    rig.good(RESERVE_6)
    rig.unit.eject()
    rig.unit.load(by=rig.nexus)
    assert rig.conflicts(cdb.read_10(0, 1), nexus=other)
    rig.good(RELEASE_6)
    assert not rig.unit.restricted


def test_a_command_that_writes_is_never_allowed_under_a_reservation():
    for command in COMMANDS.values():
        if command.data_out_length is not None and command.layout is not None:
            assert command.reservation in (ReservationRule.CONFLICT, ReservationRule.UNDER_WRITE_EXCLUSIVE)
