import pytest

from iscsim.scsi import cdb
from iscsim.scsi.sense import FieldPointer, Sense
from iscsim.scsi.store import MemoryStore
from iscsim.scsi.unit_attention import UnitAttention


class Watched(MemoryStore):
    """Counts flushes; fails with ``error`` when there is one."""

    flushes = 0
    error = None

    def flush(self):
        self.flushes += 1
        if self.error:
            raise OSError(self.error, "no")

    def read(self, lba, blocks):
        if self.error:
            raise OSError(self.error, "no")
        return super().read(lba, blocks)

    def write(self, lba, written):
        if self.error:
            raise OSError(self.error, "no")
        super().write(lba, written)


# LOEJ


def test_loading_is_news_to_the_others_only(make_rig):
    rig = make_rig(removable=True)
    other = rig.connect("iqn.other")
    other.take(rig.unit)
    rig.good(cdb.start_stop_unit(start=False, load_eject=True))
    rig.good(cdb.start_stop_unit(start=True, load_eject=True))
    assert not rig.nexus.unit_attentions
    assert other.take(rig.unit) is UnitAttention.MEDIUM_MAY_HAVE_CHANGED


@pytest.mark.parametrize("start", [False, True])
def test_a_fixed_disk_has_no_tray(rig, start):
    sense = rig.sense(cdb.start_stop_unit(start=start, load_eject=True))
    assert (str(sense)[-9:-1], sense.field_pointer) == ("05/24/00", FieldPointer(4, 1))


@pytest.mark.parametrize("no_flush, flushes", [(False, 1), (True, 0)])
@pytest.mark.parametrize("eject", [False, True])
def test_stopping_and_ejecting_flush_unless_told_not_to(make_rig, eject, no_flush, flushes):
    rig = make_rig(Watched(2048), removable=eject)
    rig.good(cdb.start_stop_unit(start=False, load_eject=eject, no_flush=no_flush))
    assert rig.unit.store.flushes == flushes


# START and STOP


@pytest.mark.parametrize("immediate", [False, True])
def test_a_stopped_unit_is_not_ready_until_it_is_started(rig, immediate):
    rig.good(cdb.start_stop_unit(start=False, immediate=immediate))
    for command in (cdb.test_unit_ready(), cdb.read_10(0, 1), cdb.write_10(0, 1), cdb.synchronize_cache_10()):
        assert rig.fault(command, nexus=rig.nexus) == "02/04/02"
    assert rig.server.data_out_length(rig.nexus, rig.lun, cdb.write_10(0, 1)) == 0
    rig.good(cdb.inquiry())
    rig.good(cdb.mode_sense_6(0x3F))
    rig.good(cdb.start_stop_unit(start=True, immediate=immediate))
    assert rig.good(cdb.read_10(0, 1)) == bytes(512)
    assert not rig.unit.restricted


def test_a_unit_is_stopped_for_every_nexus(rig):
    other = rig.other()
    rig.good(cdb.start_stop_unit(start=False))
    assert rig.fault(cdb.test_unit_ready(), nexus=other) == "02/04/02"


def test_a_reset_starts_a_stopped_unit(rig):
    rig.good(cdb.start_stop_unit(start=False))
    rig.server.logical_unit_reset(rig.nexus, rig.lun)
    assert rig.fault(cdb.test_unit_ready()) == "06/29/03"
    rig.good(cdb.test_unit_ready())


def test_a_removable_unit_stays_ready_without_loej(make_rig):
    rig = make_rig(removable=True)
    rig.good(cdb.start_stop_unit(start=False))
    rig.good(cdb.test_unit_ready())


# Power conditions

ACTIVE, IDLE, STANDBY, LU_CONTROL, FORCE_IDLE, FORCE_STANDBY = 0x1, 0x2, 0x3, 0x7, 0xA, 0xB


def power(condition, modifier=0, load_eject=False):
    command = bytearray(cdb.start_stop_unit(start=False, load_eject=load_eject, condition=condition))
    command[3] = modifier
    return bytes(command)


def asked(rig):
    return str(Sense.parse(rig.good(cdb.request_sense())))[-9:-1]


@pytest.mark.parametrize(
    "condition, said",
    [(IDLE, "00/5e/03"), (STANDBY, "00/5e/04"), (FORCE_IDLE, "00/5e/03"), (FORCE_STANDBY, "00/5e/04")],
)
def test_a_unit_that_saves_power_says_so_and_wakes_for_the_medium(rig, condition, said):
    rig.good(power(condition))
    rig.good(cdb.test_unit_ready())
    assert asked(rig) == said
    rig.good(cdb.read_10(0, 1))
    assert (asked(rig), rig.unit.restricted) == ("00/00/00", False)


def test_active_ends_every_other_condition(rig):
    rig.good(cdb.start_stop_unit(start=False))
    assert asked(rig) == "02/04/02"
    rig.good(power(ACTIVE))
    assert asked(rig) == "00/00/00"


def test_lu_control_has_no_timers_to_start(rig):
    rig.good(power(STANDBY))
    rig.good(power(LU_CONTROL))
    assert asked(rig) == "00/5e/04"


@pytest.mark.parametrize("condition", [0x4, 0x5, 0x6, 0x8, 0x9, 0xC, 0xD, 0xE, 0xF])
def test_a_condition_there_is_not_is_refused(rig, condition):
    assert rig.sense(power(condition)).field_pointer == FieldPointer(4, 7)
    rig.good(cdb.test_unit_ready())


@pytest.mark.parametrize("condition", [IDLE, STANDBY])
def test_there_is_one_kind_of_idle_and_of_standby(rig, condition):
    assert rig.sense(power(condition, modifier=1)).field_pointer == FieldPointer(3, 3)
    assert asked(rig) == "00/00/00"


@pytest.mark.parametrize("condition", range(1, 16))
def test_a_removable_unit_ignores_power_conditions(make_rig, condition):
    rig = make_rig(removable=True)
    rig.good(power(condition, load_eject=True))
    rig.good(cdb.test_unit_ready())
    assert asked(rig) == "00/00/00"


# PREVENT ALLOW MEDIUM REMOVAL

PREVENT, ALLOW = bytes.fromhex("1e0000000100"), bytes.fromhex("1e0000000000")
EJECT = cdb.start_stop_unit(start=False, load_eject=True)


def test_a_prevented_medium_stays_until_it_is_allowed_to_leave(make_rig):
    rig = make_rig(removable=True)
    rig.good(PREVENT)
    assert rig.fault(EJECT) == "05/53/02"
    rig.good(ALLOW)
    rig.good(EJECT)


def test_a_locked_tray_does_not_close_either(make_rig):
    rig = make_rig(removable=True)
    rig.good(EJECT)
    rig.good(PREVENT)
    assert rig.fault(cdb.start_stop_unit(start=True, load_eject=True)) == "05/53/02"
    rig.good(ALLOW)
    rig.good(cdb.start_stop_unit(start=True, load_eject=True))


@pytest.mark.parametrize("leave", ["nexus loss", "reset"])
def test_prevention_ends_with_the_nexus_and_with_a_reset(make_rig, leave):
    rig = make_rig(removable=True)
    other = rig.connect("iqn.other")
    other.take(rig.unit)
    rig.good(PREVENT, nexus=other)
    assert rig.fault(EJECT) == "05/53/02"
    if leave == "reset":
        rig.server.logical_unit_reset(rig.nexus, rig.lun)
        rig.nexus.take(rig.unit)
    else:
        rig.server.nexus_lost(other)
    rig.good(EJECT)


def test_a_fixed_disk_has_nothing_to_prevent(rig):
    assert rig.sense(PREVENT).field_pointer == FieldPointer(4, 1)
    assert rig.good(ALLOW) == b""
