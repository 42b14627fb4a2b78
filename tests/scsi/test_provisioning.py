import pytest

from iscsim.scsi import cdb
from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.sense import FieldPointer
from iscsim.scsi.store import CHUNK_SIZE, MemoryStore
from iscsim.scsi.vpd import BlockLimits, LogicalBlockProvisioning


def data(blocks, seed=1):
    return bytes((seed + i) % 251 for i in range(blocks * 512))


def same_10(lba, blocks, flags=0):
    return layouts.WRITE_SAME_10.build(opcode=0x41, flags=flags, lba=lba, blocks=blocks)


def same_16(lba, blocks, flags=0):
    return layouts.WRITE_SAME_16.build(opcode=0x93, flags=flags, lba=lba, blocks=blocks)


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


def test_unmap_points_at_the_descriptor_that_is_too_much(make_rig):
    rig = make_rig(MemoryStore(1 << 30), thin=True)
    sense = rig.sense(*cdb.unmap([(0, 1), (1, 1 << 20)]))
    assert sense.field_pointer == FieldPointer(8 + 16 + 8, in_cdb=False)
    assert rig.sense(*cdb.unmap([((1 << 30) - 1, 2)])).information == 1 << 30
    assert rig.sense(*cdb.unmap([(0, 1)] * 257)).field_pointer == FieldPointer(2, in_cdb=False)


def test_unmap_ignores_a_descriptor_that_is_cut(make_rig):
    rig = make_rig(thin=True)
    rig.good(cdb.write_10(0, 2), data(2))
    _, parameters = cdb.unmap([(0, 1), (1, 1)])
    for cut, descriptors in ((parameters[:-1], 32), (parameters, 31)):
        rig.good(cdb.write_10(0, 2), data(2))
        rig.good(cdb.unmap([])[0], cut[:2] + descriptors.to_bytes(2, "big") + cut[4:])
        assert rig.good(cdb.read_10(0, 2)) == bytes(512) + data(2)[512:]


@pytest.mark.parametrize("length", [1, 7])
def test_unmap_of_less_than_a_header_asks_for_no_data(make_rig, length):
    rig = make_rig(thin=True)
    command = layouts.UNMAP.build(opcode=0x42, parameter_list_length=length)
    assert rig.server.data_out_length(rig.nexus, rig.lun, command) == 0
    assert rig.fault(command) == "05/1a/00"


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
    rig = make_rig(read_only=True)
    assert rig.fault(same_16(0, 1), data(1)) == "07/27/00"
    assert rig.fault(same_16(0, 0), data(1)) == "05/24/00"


def same_32(lba, blocks, flags=0, additional=0x18):
    return layouts.WRITE_SAME_32.build(
        opcode=0x7F,
        additional_cdb_length=additional,
        service_action=0x0D,
        flags=flags,
        lba=lba,
        blocks=blocks,
    )


SAMES = [(same_10, 1, 7), (same_16, 1, 10), (same_32, 10, 28)]


@pytest.mark.parametrize("same, flags_byte, length_byte", SAMES)
def test_write_same_points_at_what_is_wrong(make_rig, same, flags_byte, length_byte):
    rig = make_rig(MemoryStore(1 << 20), long_cdbs=True)
    assert rig.sense(same(0, 1, flags=0x08), data(1)).field_pointer == FieldPointer(flags_byte, 3)
    assert rig.sense(same(0, 0), data(1)).field_pointer == FieldPointer(length_byte)
    assert rig.sense(same(0, 32769), data(1)).field_pointer == FieldPointer(length_byte)
    assert rig.sense(same((1 << 20) - 1, 2), data(1)).information == 1 << 20


@pytest.mark.parametrize("same, flags_byte, length_byte", SAMES)
@pytest.mark.parametrize("thin", [False, True])
def test_without_wsnz_0_blocks_means_to_the_end_as_far_as_page_b0_allows(
    make_rig, same, flags_byte, length_byte, thin
):
    rig = make_rig(MemoryStore(40000), write_same_non_zero=False, thin=thin, long_cdbs=True)
    rig.good(same(39000, 0), data(1))
    assert rig.good(cdb.read_16(38999, 1001)) == bytes(512) + data(1) * 1000
    assert rig.sense(same(40000 - 32769, 0), data(1)).field_pointer == FieldPointer(length_byte)
    assert rig.fault(same(40000, 0), data(1)) == "05/21/00"
    assert not BlockLimits.parse(rig.good(cdb.inquiry(0xB0))).write_same_non_zero


@pytest.mark.parametrize("same", [same_16, same_32])
@pytest.mark.parametrize("thin", [False, True])
def test_write_same_without_a_data_out_buffer_writes_zeros(make_rig, same, thin):
    rig = make_rig(thin=thin, long_cdbs=True)
    rig.good(cdb.write_10(0, 4), data(4))
    assert rig.server.data_out_length(rig.nexus, rig.lun, same(1, 2, flags=0x01)) == 0
    rig.good(same(1, 2, flags=0x01), offered=0)
    assert rig.good(cdb.read_10(0, 4)) == data(4)[:512] + bytes(1024) + data(4)[1536:]
    assert rig.fault(same(1, 2, flags=0x01), data(1), offered=512) == "05/24/00"


def test_write_same_32_writes(make_rig):
    rig = make_rig(long_cdbs=True)
    assert rig.server.data_out_length(rig.nexus, rig.lun, same_32(5, 3)) == 512
    rig.good(same_32(5, 3), data(1), offered=512)
    assert rig.good(cdb.read_10(4, 5)) == bytes(512) + data(1) * 3 + bytes(512)


@pytest.mark.parametrize(
    "command",
    [
        same_32(0, 1, additional=0x17),
        same_32(0, 1, additional=0),
        same_32(0, 1)[:16],
        same_32(0, 1) + bytes(4),
    ],
)
def test_a_variable_length_cdb_is_as_long_as_it_says(make_rig, command):
    rig = make_rig(long_cdbs=True)
    sense = rig.sense(command, data(1))
    assert (str(sense)[-9:-1], sense.field_pointer) == ("05/24/00", FieldPointer(7))


def test_a_variable_length_cdb_needs_a_unit_that_takes_them(rig):
    assert rig.sense(same_32(0, 1), data(1)).field_pointer == FieldPointer(0)
    assert rig.fault(bytes((0x7F,))) == "05/20/00"
    assert rig.server.data_out_length(rig.nexus, rig.lun, same_32(0, 1)) == 0


def test_a_variable_length_cdb_with_an_unknown_service_action(make_rig):
    rig = make_rig(long_cdbs=True)
    assert rig.sense(bytes.fromhex("7f00000000000018000b").ljust(32, b"\0")).field_pointer == FieldPointer(8)


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
    return layouts.SERVICE_ACTION_IN_16.build(
        opcode=0x9E, service_action=0x12, lba=lba, allocation_length=length
    )


def extent(rig, lba):
    fields = layouts.LBA_STATUS.parse(rig.good(get_lba_status(lba)))
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


def test_get_lba_status_passes_over_what_was_never_written(make_rig):
    rig = make_rig(MemoryStore(1 << 50), thin=True)
    assert extent(rig, 1 << 40) == (0xFFFF_FFFF, 1)
    assert extent(rig, (1 << 50) - 3) == (3, 1)
    rig.good(cdb.write_16(1 << 40, 1), data(1))
    assert extent(rig, (1 << 40) - 5000) == (5000, 1)


def test_get_lba_status_looks_only_so_far_into_what_was_written(make_rig):
    rig = make_rig(MemoryStore(1 << 20), thin=True)
    rig.good(cdb.write_16(0, 20000), data(20000))
    assert extent(rig, 0) == (8192, 0)


@pytest.mark.parametrize("lba", [2048, 2049, (1 << 64) - 1])
def test_get_lba_status_beyond_the_end(make_rig, lba):
    assert make_rig(thin=True).fault(get_lba_status(lba)) == "05/21/00"


def test_get_lba_status_is_cut_to_the_allocation_length(make_rig):
    assert len(make_rig(thin=True).good(get_lba_status(0, 12))) == 12


def test_get_lba_status_is_for_thin_units(rig):
    assert rig.fault(get_lba_status(0)) == "05/24/00"
