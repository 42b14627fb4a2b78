import pytest

from iscsim.errors import ConfigError
from iscsim.scsi import cdb
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.lun import encode_lun
from iscsim.scsi.nexus import LUNMap
from iscsim.scsi.store import MemoryStore
from iscsim.scsi.unit_attention import UnitAttention

CHANGED = UnitAttention.REPORTED_LUNS_CHANGED
POWER_ON = UnitAttention.POWER_ON_RESET


def disk(serial="x"):
    return LogicalUnit(MemoryStore(8), serial=serial)


def test_unit_attentions_come_by_precedence_and_once(rig):
    for attention in (
        UnitAttention.MODE_PARAMETERS_CHANGED,
        UnitAttention.BUS_DEVICE_RESET,
        POWER_ON,
        POWER_ON,
    ):
        rig.nexus.establish(rig.unit, attention)
    told = [rig.nexus.take(rig.unit) for _ in range(4)]
    assert told == [POWER_ON, UnitAttention.BUS_DEVICE_RESET, UnitAttention.MODE_PARAMETERS_CHANGED, None]


def test_nothing_to_tell_leaves_no_trace(rig):
    rig.nexus.establish(rig.unit, POWER_ON)
    rig.nexus.take(rig.unit)
    assert not rig.nexus.unit_attentions


def test_clear_forgets_a_condition_on_every_unit(rig):
    other = rig.add(1)
    rig.nexus.establish(rig.unit, CHANGED)
    rig.nexus.establish(other, CHANGED)
    rig.nexus.clear(CHANGED)
    assert rig.nexus.unit_attentions == {other: [POWER_ON]}


def test_a_nexus_hears_power_on_once_on_every_unit(make_rig):
    rig = make_rig()
    rig.add(1)
    nexus = rig.connect("iqn.other")
    assert {tuple(pending) for pending in nexus.unit_attentions.values()} == {(POWER_ON,)}
    assert len(nexus.unit_attentions) == 2


def test_a_unit_mapped_twice_is_told_once(make_rig):
    rig = make_rig()
    rig.lun_map.add(7, rig.unit)
    assert rig.connect("iqn.other").unit_attentions == {rig.unit: [POWER_ON]}


def test_adding_a_unit_is_heard_on_the_old_ones_and_on_the_new_one(rig):
    new = rig.add(5)
    assert rig.nexus.unit_attentions == {rig.unit: [CHANGED], new: [POWER_ON]}


def test_removing_a_unit_is_heard_on_those_that_stay(rig):
    rig.add(5)
    rig.nexus.unit_attentions.clear()
    rig.lun_map.remove(5)
    assert rig.nexus.unit_attentions == {rig.unit: [CHANGED]}


def test_a_removed_unit_has_nothing_more_to_tell(rig):
    removed = rig.lun_map.remove(0)
    removed.establish(UnitAttention.CAPACITY_CHANGED)
    assert not rig.nexus.unit_attentions


def test_a_unit_removed_under_one_number_is_still_seen_under_the_other(rig):
    rig.lun_map.add(7, rig.unit)
    rig.lun_map.remove(7)
    assert rig.nexus in rig.unit.nexuses


def test_nexuses_of_another_map_hear_nothing(rig, make_rig):
    other = make_rig()
    rig.add(5)
    assert not other.nexus.unit_attentions


@pytest.mark.parametrize("lun", ["0005", "4005", "d2000005", "e20000000005"])
def test_lookup_knows_every_spelling(lun):
    lun_map = LUNMap()
    mapped = lun_map.add(5, disk())
    assert lun_map.lookup(bytes.fromhex(lun.ljust(16, "0"))) is mapped


@pytest.mark.parametrize("lun", ["0006", "00050001", "8005", "c101", ""])
def test_lookup_of_what_is_not_mapped(lun):
    lun_map = LUNMap()
    lun_map.add(5, disk())
    assert lun_map.lookup(bytes.fromhex(lun.ljust(16, "0"))) is None


def test_a_removed_lun_is_not_found_in_any_spelling(rig):
    rig.lun_map.remove(0)
    assert not rig.lun_map.by_lun
    assert rig.lun_map.lookup(encode_lun(0)) is None


def test_add_refuses_a_number_that_is_taken(rig):
    with pytest.raises(ConfigError, match="LUN 0 is mapped already"):
        rig.add(0)


@pytest.mark.parametrize("number", [-1, 1 << 24])
def test_add_refuses_a_number_that_cannot_be(number):
    with pytest.raises(ConfigError, match="expected 0 to 16777215"):
        LUNMap().add(number, disk())


def test_remove_refuses_a_free_number():
    with pytest.raises(ConfigError, match="LUN 3 is not mapped"):
        LUNMap().remove(3)


def test_a_map_lists_its_luns_ascending():
    lun_map = LUNMap()
    for number in (300, 2, 0):
        lun_map.add(number, disk())
    assert [mapped.number for mapped in lun_map] == [0, 2, 300]
    assert [lun.hex()[:4] for lun in lun_map.luns()] == ["0000", "0002", "412c"]
    assert (len(lun_map), 2 in lun_map, 3 in lun_map) == (3, True, False)


def test_a_map_may_show_flat_addressing_throughout():
    lun_map = LUNMap("flat")
    lun_map.add(192, disk())
    lun_map.add(20000, disk())
    assert [lun.hex()[:8] for lun in lun_map.luns()] == ["40c00000", "d2004e20"]


def test_a_lost_nexus_is_forgotten_everywhere(rig):
    rig.server.nexus_lost(rig.nexus)
    rig.unit.establish(UnitAttention.CAPACITY_CHANGED)
    assert rig.nexus not in rig.lun_map.nexuses
    assert not rig.nexus.unit_attentions


def test_read_only_protects_through_this_map_only(rig):
    protected = LUNMap()
    protected.add(0, rig.unit, read_only=True)
    nexus = rig.connect("iqn.other")
    nexus.lun_map = protected
    rig.server.nexus_established(nexus)
    nexus.take(rig.unit)
    assert rig.fault(cdb.write_10(0, 1), bytes(512), nexus=nexus) == "07/27/00"
    assert rig.good(cdb.write_10(0, 1), bytes(512)) == b""


def test_a_nexus_shows_its_two_ends(rig):
    expected = (
        "ITNexus(iqn.1993-08.org.debian:01:host,i,0x00023d000001 -> iqn.1992-04.com.emc:cx.a0,t,0x0001)"
    )
    assert repr(rig.nexus) == expected


def test_no_nexus_has_more_to_hear_than_there_are_conditions(rig):
    for attention in [*UnitAttention] * 3:
        rig.nexus.establish(rig.unit, attention)
    assert len(rig.nexus.unit_attentions[rig.unit]) == len(UnitAttention)


def test_another_unit_answers_under_a_number_and_nobody_is_told(rig):
    stranger = disk()
    before = rig.lun_map.replace(0, stranger)
    assert (before, rig.lun_map.lookup(encode_lun(0)).logical_unit) == (rig.unit, stranger)
    assert (list(before.nexuses), list(stranger.nexuses)) == ([], [rig.nexus])
    assert not rig.nexus.unit_attentions
    with pytest.raises(ConfigError, match="LUN 7 is not mapped"):
        rig.lun_map.replace(7, stranger)


def test_a_unit_that_is_seen_under_another_number_too_is_not_forgotten(rig):
    rig.lun_map.add(5, rig.unit)
    rig.lun_map.replace(0, disk())
    assert rig.nexus in rig.unit.nexuses
