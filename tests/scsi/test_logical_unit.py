import pytest

from iscsim.errors import ConfigError
from iscsim.scsi.capacity import Capacity
from iscsim.scsi.logical_unit import LogicalUnit, derive_wwn
from iscsim.scsi.sense import CheckCondition
from iscsim.scsi.store import MemoryStore
from iscsim.scsi.unit_attention import UnitAttention


def disk(store=None, **options):
    return LogicalUnit(store or MemoryStore(2048), **{"serial": "S1"} | options)


def test_a_wwn_derived_from_the_serial_number_is_stable_and_naa_6():
    assert disk().wwn == disk().wwn == derive_wwn("S1")
    assert disk().wwn.startswith("6024953")
    assert len(disk().wwn) == 32
    assert disk(serial="S2").wwn != disk().wwn


def test_a_given_wwn_is_kept_in_lower_case():
    assert disk(wwn="6006016015E03A00AB2DF25BB82D0EA9").wwn == "6006016015e03a00ab2df25bb82d0ea9"


@pytest.mark.parametrize("wwn", ["", "36006016015e03a00ab2df25bb82d0ea9", "5" * 32, "6" * 31, "6" * 31 + "g"])
def test_a_wwn_that_is_no_naa_6_is_a_config_error(wwn):
    with pytest.raises(ConfigError, match="32 hexadecimal digits"):
        disk(wwn=wwn)


@pytest.mark.parametrize(
    "options",
    [
        {"vendor": "TOOLONG99"},
        {"product": "x" * 17},
        {"revision": "12345"},
        {"serial": "é"},
        {"serial": "a\n"},
    ],
)
def test_a_text_scsi_cannot_carry_is_a_config_error(options):
    with pytest.raises(ConfigError, match="printable ASCII"):
        disk(**options)


def test_an_impossible_exponent_is_a_config_error():
    with pytest.raises(ConfigError, match="expected 0 to 15"):
        disk(physical_block_exponent=16)


def test_limits_follow_the_block_size():
    assert disk(MemoryStore(8)).block_limits.maximum_transfer_blocks == 32768
    assert disk(MemoryStore(8, 4096)).block_limits.maximum_transfer_blocks == 4096
    assert disk().block_limits.optimal_transfer_blocks == 2048


def test_thin_shows_in_capacity_limits_and_provisioning_alike():
    thin, thick = disk(thin=True), disk()
    assert (thin.capacity.provisioning_managed, thin.provisioning.unmap) == (True, True)
    assert thin.block_limits.maximum_unmap_descriptors > 0
    assert (thick.capacity.provisioning_managed, thick.provisioning.unmap) == (False, False)
    assert thick.block_limits.maximum_unmap_descriptors == 0


def test_capacity():
    expected = Capacity(blocks=2048, block_size=512, physical_block_exponent=3)
    assert disk(physical_block_exponent=3).capacity == expected


def test_a_read_only_store_makes_a_read_only_unit():
    assert disk(MemoryStore(8, read_only=True)).read_only


def test_resize_is_heard_by_every_nexus(rig):
    rig.unit.resize(4096)
    assert rig.unit.capacity.blocks == rig.unit.blocks == 4096
    assert rig.nexus.take(rig.unit) is UnitAttention.CAPACITY_CHANGED


def test_establish_spares_the_nexus_that_knows(rig):
    other = rig.connect("iqn.other")
    other.unit_attentions.clear()
    rig.unit.establish(UnitAttention.MODE_PARAMETERS_CHANGED, except_for=rig.nexus)
    assert (len(rig.nexus.unit_attentions), len(other.unit_attentions)) == (0, 1)


def test_eject_and_load():
    unit = disk(removable=True)
    unit.eject()
    assert (unit.restricted, unit.medium_present) == (True, False)
    with pytest.raises(CheckCondition, match="tray open"):
        unit.check_medium()
    unit.load()
    unit.check_medium()
    assert (unit.restricted, unit.medium_present) == (False, True)


def test_load_of_a_loaded_medium_is_not_news(rig):
    rig.unit.load()
    assert not rig.nexus.unit_attentions


def test_use_store_takes_a_store_around_the_store():
    unit = disk()

    class Slow(MemoryStore):
        pass

    wrapped = Slow(16)
    unit.use_store(wrapped)
    assert (unit.blocks, unit.store) == (16, wrapped)
    assert unit.read(0, 1) == bytes(512)


def test_repr_names_the_unit():
    assert repr(disk(wwn="6" * 32)) == f"LogicalUnit({'6' * 32}, 2048 x 512)"
