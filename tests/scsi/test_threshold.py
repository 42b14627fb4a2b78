import pytest

from iscsim.scsi import cdb
from iscsim.scsi.mode_pages import ProvisioningPage
from iscsim.scsi.store import FileStore, MemoryStore
from iscsim.scsi.threshold import threshold_exponent
from iscsim.scsi.vpd import LogicalBlockProvisioning

CHUNK = 4  # MiB that MemoryStore allocates at once


def select(count, enabled=True):
    data = bytes(4) + ProvisioningPage(enabled=enabled, threshold_count=count).encode()
    return cdb.mode_select_6(data), data


@pytest.fixture
def thin(make_rig):
    return make_rig(MemoryStore(1 << 16), thin=True)


def write(rig, mebibyte):
    rig.good(cdb.write_10(mebibyte << 11, 1), b"x" * 512)


def test_every_nexus_hears_when_the_threshold_is_reached(thin):
    other = thin.other()
    thin.good(*select(CHUNK + 1))
    other.unit_attentions.clear()
    write(thin, 0)
    assert not thin.nexus.unit_attentions
    write(thin, 8)
    assert thin.fault(cdb.test_unit_ready()) == "06/38/07"
    assert thin.fault(cdb.test_unit_ready(), nexus=other) == "06/38/07"


def test_it_is_told_once_and_again_after_blocks_were_given_back(thin):
    thin.good(*select(CHUNK))
    write(thin, 0)
    assert thin.fault(cdb.test_unit_ready()) == "06/38/07"
    write(thin, 8)
    thin.good(cdb.test_unit_ready())
    thin.good(*cdb.unmap([(0, 1 << 14)]))
    thin.good(*cdb.unmap([(1 << 14, 1 << 14)]))
    assert thin.unit.store.allocated_size == 0
    write(thin, 0)
    assert thin.fault(cdb.test_unit_ready()) == "06/38/07"


def test_a_threshold_that_is_reached_already_is_told_at_once(thin):
    write(thin, 0)
    thin.good(*select(1))
    assert thin.fault(cdb.test_unit_ready()) == "06/38/07"
    thin.good(*select(1))
    thin.good(cdb.test_unit_ready())


def test_a_threshold_that_is_switched_off_is_silent(thin):
    thin.good(*select(1))
    thin.good(*select(1, enabled=False))
    write(thin, 0)
    thin.good(cdb.test_unit_ready())


def test_a_reset_switches_it_off(thin):
    thin.good(*select(1))
    thin.server.logical_unit_reset(thin.nexus, thin.lun)
    assert thin.unit.soft_threshold is None


@pytest.mark.parametrize("block_size, exponent", [(512, 11), (4096, 8)])
def test_a_threshold_counts_mebibytes_and_page_b2h_says_so(make_rig, block_size, exponent):
    rig = make_rig(MemoryStore(4096, block_size), thin=True)
    page = LogicalBlockProvisioning.parse(rig.good(cdb.inquiry(0xB2)))
    assert (page.threshold_exponent, threshold_exponent(rig.unit)) == (exponent, exponent)


def test_a_thick_unit_has_no_threshold(make_rig):
    rig = make_rig()
    assert threshold_exponent(rig.unit) == 0
    assert rig.fault(*select(1)) == "05/26/00"


def test_a_file_is_measured_too(make_rig, tmp_path):
    store = FileStore(tmp_path / "disk", size=32 << 20)
    rig = make_rig(store, thin=True)
    rig.good(*select(1))
    rig.good(cdb.test_unit_ready())
    rig.good(cdb.write_10(0, 2048), bytes(range(256)) * 4096)
    assert rig.fault(cdb.test_unit_ready()) == "06/38/07"
    store.close()
