import pytest

from iscsim.scsi import cdb
from iscsim.scsi.sense import FieldPointer
from iscsim.scsi.store import CHUNK_SIZE, MemoryStore
from iscsim.scsi.vpd import BlockLimits, LogicalBlockProvisioning


def data(blocks, seed=1):
    return bytes((seed + i) % 251 for i in range(blocks * 512))


def same_10(lba, blocks, flags=0):
    return cdb.WRITE_SAME_10.build(opcode=0x41, flags=flags, lba=lba, blocks=blocks)


def same_16(lba, blocks, flags=0):
    return cdb.WRITE_SAME_16.build(opcode=0x93, flags=flags, lba=lba, blocks=blocks)


# UNMAP


def test_unmap_frees(make_rig):
    rig = make_rig(thin=True)
    rig.good(cdb.write_10(0, 100), data(100))
    rig.good(*cdb.unmap([(10, 20), (50, 1), (0, 0), (2048, 0)]))
    zeroed = [lba for lba in range(100) if rig.good(cdb.read_10(lba, 1)) == bytes(512)]
    assert zeroed == [*range(10, 30), 50]


def test_unmap_checks_everything_before_it_frees_anything(make_rig):
    rig = make_rig(thin=True)
    rig.good(cdb.write_10(0, 1), data(1))
    assert rig.fault(*cdb.unmap([(0, 1), (2048, 1)])) == "05/21/00"
    assert rig.good(cdb.read_10(0, 1)) == data(1)


@pytest.mark.parametrize("parameters", [b"", bytes(8), bytes.fromhex("0006000800000000") + bytes(8)])
def test_unmap_without_a_whole_descriptor_does_nothing(make_rig, parameters):
    rig = make_rig(thin=True)
    assert rig.good(cdb.unmap([])[0], parameters) == b""


@pytest.mark.parametrize(
    "options, fault", [({"thin": False}, "05/20/00"), ({"thin": True, "read_only": True}, "07/27/00")]
)
def test_unmap_refused(make_rig, options, fault):
    assert make_rig(**options).fault(*cdb.unmap([(0, 1)])) == fault


def test_unmap_of_a_header_that_is_cut_or_too_many_descriptors(make_rig):
    rig = make_rig(thin=True)
    assert rig.fault(cdb.unmap([])[0], bytes(7)) == "05/1a/00"
    assert rig.fault(*cdb.unmap([(0, 1)] * 257)) == "05/26/00"


def test_unmap_above_the_limit_of_page_b0_is_refused(make_rig):
    rig = make_rig(MemoryStore(1 << 40), thin=True)
    limit = BlockLimits.parse(rig.good(cdb.inquiry(0xB0))).maximum_unmap_blocks
    rig.good(*cdb.unmap([(0, limit - 1), (1 << 30, 1)]))
    assert rig.fault(*cdb.unmap([(0, limit), (1 << 30, 1)])) == "05/26/00"


def test_unmap_cannot_anchor(make_rig):
    assert make_rig(thin=True).sense(bytes.fromhex("42010000000000000000")).field_pointer == FieldPointer(
        1, 0
    )


def test_unmap_frees_memory(make_rig):
    rig = make_rig(thin=True)
    store = MemoryStore(CHUNK_SIZE // 512)
    rig.unit.use_store(store)
    rig.good(cdb.write_10(0, 1), data(1))
    rig.good(*cdb.unmap([(0, store.blocks)]))
    assert store.allocated_size == 0


# WRITE SAME


@pytest.mark.parametrize("same", [same_10, same_16])
@pytest.mark.parametrize("thin", [False, True])
def test_write_same_fills_a_range_and_no_more(make_rig, same, thin):
    rig = make_rig(MemoryStore(8192), thin=thin)
    rig.good(same(10, 5000), data(1))
    assert rig.good(cdb.read_16(9, 5002)) == bytes(512) + data(1) * 5000 + bytes(512)
    rig.good(same(11, 2), bytes(512))
    assert rig.good(cdb.read_16(10, 4)) == data(1) + bytes(1024) + data(1)


@pytest.mark.parametrize("same", [same_10, same_16])
def test_write_same_with_unmap_on_a_thin_unit(make_rig, same):
    rig = make_rig(thin=True)
    rig.good(cdb.write_10(0, 8), data(8))
    rig.good(same(2, 3, flags=0x08), bytes(512))
    assert rig.good(cdb.read_10(0, 8)) == data(8)[:1024] + bytes(1536) + data(8)[2560:]


@pytest.mark.parametrize("same", [same_10, same_16])
@pytest.mark.parametrize("length", [0, 511, 513, 1024])
def test_write_same_takes_exactly_one_block(rig, same, length):
    assert rig.fault(same(0, 2), bytes(length)) == "05/24/00"


@pytest.mark.parametrize("same", [same_10, same_16])
@pytest.mark.parametrize("flags, bit", [(0x20, 7), (0x10, 4), (0x08, 3), (0x04, 2), (0x02, 1)])
def test_write_same_refuses_what_it_does_not_do(rig, same, flags, bit):
    sense = rig.sense(same(0, 1, flags=flags), data(1))
    assert (str(sense)[-9:-1], sense.field_pointer) == ("05/24/00", FieldPointer(1, bit))


@pytest.mark.parametrize("same", [same_10, same_16])
@pytest.mark.parametrize(
    "lba, blocks, fault", [(2048, 1, "05/21/00"), (2000, 49, "05/21/00"), (0, 0, "05/24/00")]
)
def test_write_same_beyond_the_end_and_of_nothing(rig, same, lba, blocks, fault):
    assert rig.fault(same(lba, blocks), data(1)) == fault
    assert rig.server.data_out_length(rig.nexus, rig.lun, same(lba, blocks)) == 0


def test_write_same_above_the_limit_of_page_b0_is_refused(make_rig):
    rig = make_rig(MemoryStore(1 << 40), thin=True)
    limits = BlockLimits.parse(rig.good(cdb.inquiry(0xB0)))
    assert limits.write_same_non_zero
    rig.good(same_16(0, limits.maximum_write_same_blocks), bytes(512))
    assert rig.fault(same_16(0, limits.maximum_write_same_blocks + 1), bytes(512)) == "05/24/00"


def test_write_same_on_a_write_protected_unit(make_rig):
    assert make_rig(read_only=True).fault(same_16(0, 1), data(1)) == "07/27/00"


@pytest.mark.parametrize("same", [same_10, same_16])
def test_write_same_wants_one_block(rig, same):
    assert rig.server.data_out_length(rig.nexus, rig.lun, same(0, 1000)) == 512


def test_page_b2_says_what_there_is(make_rig):
    page = LogicalBlockProvisioning.parse(make_rig(thin=True).good(cdb.inquiry(0xB2)))
    expected = LogicalBlockProvisioning(
        unmap=True,
        write_same_16=True,
        write_same_10=True,
        reads_zeros=True,
        provisioning_type=2,
        threshold_exponent=11,
    )
    assert page == expected


# GET LBA STATUS


def get_lba_status(lba, length=24):
    return cdb.SERVICE_ACTION_IN_16.build(opcode=0x9E, service_action=0x12, lba=lba, allocation_length=length)


def extent(rig, lba):
    fields = cdb.LBA_STATUS.parse(rig.good(get_lba_status(lba)))
    assert (fields["data_length"], fields["lba"]) == (20, lba)
    return fields["blocks"], fields["status"]


@pytest.mark.parametrize("block_size", [512, 4096])
def test_get_lba_status_walks_the_extents(make_rig, block_size):
    rig = make_rig(MemoryStore(2048, block_size), thin=True)
    rig.good(cdb.write_10(100, 50), b"x" * 50 * block_size)
    assert extent(rig, 0) == (100, 1)
    assert extent(rig, 100) == (50, 0)
    assert extent(rig, 120) == (30, 0)
    assert extent(rig, 150)[1] == 1


def test_get_lba_status_after_unmap(make_rig):
    rig = make_rig(thin=True)
    rig.good(cdb.write_10(0, 64), data(64))
    rig.good(*cdb.unmap([(8, 1)]))
    assert extent(rig, 8) == (1, 1)
    assert extent(rig, 9) == (55, 0)


def test_get_lba_status_looks_only_so_far(make_rig):
    rig = make_rig(MemoryStore(1 << 50), thin=True)
    assert extent(rig, 1 << 40) == (8192, 1)
    assert extent(rig, (1 << 50) - 3) == (3, 1)


@pytest.mark.parametrize("lba", [2048, 2049, (1 << 64) - 1])
def test_get_lba_status_beyond_the_end(make_rig, lba):
    assert make_rig(thin=True).fault(get_lba_status(lba)) == "05/21/00"


def test_get_lba_status_is_cut_to_the_allocation_length(make_rig):
    assert len(make_rig(thin=True).good(get_lba_status(0, 12))) == 12


def test_get_lba_status_is_for_thin_units(rig):
    assert rig.fault(get_lba_status(0)) == "05/24/00"
