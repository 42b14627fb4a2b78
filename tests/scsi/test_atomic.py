import errno

import pytest

from iscsim.scsi import cdb
from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.sense import FieldPointer
from iscsim.scsi.store import MemoryStore
from iscsim.scsi.vpd import BlockLimits


def write_atomic(lba, blocks, boundary=0, access=0):
    return layouts.WRITE_ATOMIC_16.build(
        opcode=0x9C, access=access, lba=lba, boundary=boundary, blocks=blocks
    )


def data(blocks, seed=1):
    return bytes((seed + i) % 251 for i in range(blocks * 512))


@pytest.fixture
def coarse(make_rig):
    """Physical blocks of 8 logical ones."""
    return make_rig(MemoryStore(1 << 20), physical_block_exponent=3)


def pointer(sense):
    return str(sense)[-9:-1], sense.field_pointer


@pytest.mark.parametrize("boundary", [0, 1, 2])
def test_it_writes(rig, boundary):
    assert rig.server.data_out_length(rig.nexus, rig.lun, write_atomic(3, 4, boundary)) == 2048
    rig.good(write_atomic(3, 4, boundary, access=0x08), data(4))
    assert rig.good(cdb.read_10(2, 6)) == bytes(512) + data(4) + bytes(512)
    rig.good(write_atomic(2048, 0))


def test_the_limits_are_those_of_page_b0(rig, coarse):
    fine, limits = (BlockLimits.parse(each.good(cdb.inquiry(0xB0))) for each in (rig, coarse))
    assert (fine.atomic_alignment_blocks, fine.atomic_granularity_blocks) == (0, 0)
    assert (limits.atomic_alignment_blocks, limits.atomic_granularity_blocks) == (8, 8)
    assert limits.maximum_atomic_blocks == limits.maximum_transfer_blocks == 32768
    assert limits.maximum_atomic_with_boundary_blocks == limits.maximum_atomic_boundary_blocks == 32768


def test_granularity_is_never_more_than_can_be_written(make_rig):
    rig = make_rig(MemoryStore(1 << 20, 4096), physical_block_exponent=15)
    assert rig.unit.atomic_granularity_blocks == rig.unit.maximum_atomic_blocks == 4096


@pytest.mark.parametrize(
    "command, expected",
    [
        (write_atomic(0, 8, access=0x20), ("05/24/00", FieldPointer(1, 7))),
        (write_atomic(1 << 20, 8), ("05/21/00", None)),
        (write_atomic((1 << 20) - 1, 8), ("05/21/00", None)),
        (write_atomic(0, 32776), ("05/24/00", FieldPointer(12))),
        (write_atomic(0, 8, boundary=32776), ("05/24/00", FieldPointer(10))),
        (write_atomic(4, 8), ("05/24/00", FieldPointer(2))),
        (write_atomic(8, 4), ("05/24/00", FieldPointer(12))),
        (write_atomic(8, 16, boundary=12), ("05/24/00", FieldPointer(10))),
    ],
)
def test_what_is_beyond_them_is_refused_and_asks_for_no_data(coarse, command, expected):
    assert pointer(coarse.sense(command, bytes(8 * 512))) == expected
    assert coarse.server.data_out_length(coarse.nexus, coarse.lun, command) == 0


@pytest.mark.parametrize("length", [0, 512, 1023, 1536])
def test_anything_but_all_of_the_data_writes_nothing(rig, length):
    assert rig.fault(write_atomic(0, 2), b"x" * length, offered=length) == "05/24/00"
    assert rig.good(cdb.read_10(0, 2)) == bytes(1024)


def test_write_protection_is_looked_at_after_the_cdb(make_rig):
    rig = make_rig(read_only=True)
    assert rig.fault(write_atomic(0, 1), data(1)) == "07/27/00"
    assert rig.fault(write_atomic(2048, 1), data(1)) == "05/21/00"


def test_a_store_that_fails_half_way_has_its_old_blocks_afterwards(make_rig):
    class Failing(MemoryStore):
        fails = False

        def write(self, lba, data):
            if self.fails:
                self.fails = False
                super().write(lba, bytes(data)[:512])
                raise OSError(errno.ENOSPC, "full")
            super().write(lba, data)

    rig = make_rig(Failing(2048))
    rig.good(cdb.write_10(0, 2), data(2))
    rig.unit.store.fails = True
    assert rig.fault(write_atomic(0, 2), data(2, seed=9)) == "07/27/07"
    assert rig.good(cdb.read_10(0, 2)) == data(2)
