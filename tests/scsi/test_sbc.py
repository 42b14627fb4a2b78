import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.scsi import cdb
from iscsim.scsi.capacity import Capacity
from iscsim.scsi.sense import FieldPointer
from iscsim.scsi.store import MemoryStore

READS = [cdb.read_6, cdb.read_10, cdb.read_12, cdb.read_16]
WRITES = [cdb.write_6, cdb.write_10, cdb.write_12, cdb.write_16]
LONG_READS, LONG_WRITES = READS[1:], WRITES[1:]


def data(blocks, seed=1):
    return bytes((seed + i) % 251 for i in range(blocks * 512))


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


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("read", READS)
def test_what_one_form_writes_every_form_reads(rig, write, read):
    rig.good(write(5, 3), data(3))
    assert rig.good(read(5, 3)) == data(3)


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 40)), max_size=10))
def test_a_unit_is_a_byte_array(make_rig, writes):
    rig, model = make_rig(), bytearray(2048 * 512)
    for seed, (lba, blocks) in enumerate(writes):
        rig.good(cdb.write_16(lba, blocks), data(blocks, seed))
        model[lba * 512 : (lba + blocks) * 512] = data(blocks, seed)
    assert rig.good(cdb.read_16(0, 2048)) == model


@pytest.mark.parametrize("access", [*READS, *WRITES])
@pytest.mark.parametrize("lba, blocks", [(2048, 1), (2047, 2), (2000, 49)])
def test_a_range_beyond_the_end_is_out_of_range(rig, access, lba, blocks):
    assert rig.fault(access(lba, blocks), data(blocks)) == "05/21/00"


@pytest.mark.parametrize("access", [cdb.read_16, cdb.write_16])
def test_the_highest_address_is_out_of_range(rig, access):
    assert rig.fault(access((1 << 64) - 1, 1), data(1)) == "05/21/00"


@pytest.mark.parametrize("access", [*LONG_READS, *LONG_WRITES])
def test_zero_blocks_do_nothing(rig, access):
    assert rig.good(access(0, 0)) == b""
    assert rig.good(access(2048, 0)) == b""
    assert rig.fault(access(2049, 0)) == "05/21/00"


def test_the_6_byte_forms_reach_all_21_bits_of_address(make_rig):
    rig = make_rig(MemoryStore(1 << 21))
    rig.good(cdb.write_6((1 << 21) - 1, 1), data(1))
    assert rig.good(cdb.read_6((1 << 21) - 1, 1)) == rig.good(cdb.read_16((1 << 21) - 1, 1)) == data(1)


def test_read_6_of_zero_blocks_means_256(rig):
    assert len(rig.good(bytes.fromhex("080000000000"))) == 256 * 512


@pytest.mark.parametrize("access", [*LONG_READS, *LONG_WRITES])
@pytest.mark.parametrize("protect", [1, 5, 7])
def test_protection_information_is_refused(rig, access, protect):
    sense = rig.sense(access(0, 1, protect=protect), data(1))
    assert (str(sense)[-9:-1], sense.field_pointer) == ("05/24/00", FieldPointer(1, 7))


@pytest.mark.parametrize("access", [*LONG_READS, *LONG_WRITES])
def test_dpo_and_fua_are_taken(rig, access):
    rig.good(access(0, 1, dpo=True, fua=True), data(1))


@pytest.mark.parametrize("block_size, limit", [(512, 32768), (4096, 4096)])
def test_a_transfer_above_the_maximum_is_refused(make_rig, block_size, limit):
    rig = make_rig(MemoryStore(1 << 20, block_size))
    assert len(rig.good(cdb.read_16(0, limit))) == 16 << 20
    length_bytes = {cdb.read_10: 7, cdb.write_10: 7, cdb.read_12: 6, cdb.write_12: 6, cdb.read_16: 10}
    for access, byte in (length_bytes | {cdb.write_16: 10}).items():
        sense = rig.sense(access(0, limit + 1))
        assert (str(sense)[-9:-1], sense.field_pointer) == ("05/24/00", FieldPointer(byte))


@pytest.mark.parametrize("access", [*READS, *WRITES, cdb.synchronize_cache_10, cdb.synchronize_cache_16])
def test_out_of_range_tells_the_first_address_that_is_not_there(rig, access):
    assert rig.sense(access(2000, 49), data(49)).information == 2048
    assert rig.sense(access(4000, 1), data(1)).information == 4000


@pytest.mark.parametrize("write", LONG_WRITES)
def test_only_fua_flushes_a_write(make_rig, write):
    rig = make_rig(Watched(2048))
    rig.good(write(0, 1), data(1))
    assert rig.unit.store.flushes == 0
    rig.good(write(0, 1, fua=True), data(1))
    assert rig.unit.store.flushes == 1


@pytest.mark.parametrize("write", WRITES)
def test_a_write_protected_unit_refuses_and_changes_nothing(make_rig, write):
    rig = make_rig(read_only=True)
    assert rig.fault(write(0, 1), data(1)) == "07/27/00"
    assert rig.good(cdb.read_10(0, 1)) == bytes(512)
    assert rig.server.data_out_length(rig.nexus, rig.lun, write(0, 1)) == 0


@pytest.mark.parametrize("write", LONG_WRITES)
def test_a_bad_cdb_is_told_before_write_protection(make_rig, write):
    rig = make_rig(MemoryStore(1 << 20), read_only=True)
    assert rig.sense(write(0, 1, protect=1), data(1)).field_pointer == FieldPointer(1, 7)
    assert rig.fault(write(1 << 20, 1), data(1)) == "05/21/00"
    assert rig.fault(write(0, 32769), data(1)) == "05/24/00"


@pytest.mark.parametrize("arrived, written", [(512, 1), (700, 1), (200, 0), (0, 0), (1536, 2)])
def test_a_write_takes_the_whole_blocks_that_came(rig, arrived, written):
    rig.good(cdb.write_10(0, 2), data(3)[:arrived])
    assert rig.good(cdb.read_10(0, 3)) == data(3)[: written * 512] + bytes((3 - written) * 512)


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_a_write_takes_any_buffer(rig, buffer):
    rig.good(cdb.write_10(0, 1), buffer(data(2)))
    assert rig.good(cdb.read_10(0, 1)) == data(1)


def test_a_read_is_a_view_of_the_store(rig):
    assert isinstance(rig.execute(cdb.read_10(0, 8)).data_in, memoryview)


@pytest.mark.parametrize(
    "command, error, fault",
    [
        (cdb.read_10(0, 1), errno.EIO, "03/11/00"),
        (cdb.write_10(0, 1), errno.EIO, "03/0c/00"),
        (cdb.write_10(0, 1), errno.ENOSPC, "07/27/07"),
        (cdb.synchronize_cache_10(), errno.EIO, "03/0c/00"),
    ],
)
def test_a_store_that_fails_is_a_medium_error(make_rig, command, error, fault):
    store = Watched(2048)
    rig = make_rig(store)
    store.error = error
    assert rig.fault(command, data(1)) == fault


# READ CAPACITY


def test_read_capacity_of_a_small_unit(make_rig):
    rig = make_rig(MemoryStore(2048, 4096), physical_block_exponent=0)
    expected = Capacity(blocks=2048, block_size=4096)
    assert Capacity.parse_10(rig.good(cdb.read_capacity_10())) == expected
    assert Capacity.parse_16(rig.good(cdb.read_capacity_16())) == expected


@pytest.mark.parametrize("blocks", [(1 << 32) + 1, 1 << 63])
def test_read_capacity_10_of_a_large_unit_sends_to_16(make_rig, blocks):
    rig = make_rig(MemoryStore(blocks))
    assert Capacity.parse_10(rig.good(cdb.read_capacity_10())) is None
    assert Capacity.parse_16(rig.good(cdb.read_capacity_16())).blocks == blocks
    assert rig.good(cdb.read_16(blocks - 8, 8)) == bytes(4096)


def test_read_capacity_10_with_an_address_needs_pmi(rig):
    sense = rig.sense(bytes.fromhex("25000000000100000000"))
    assert (str(sense)[-9:-1], sense.field_pointer) == ("05/24/00", FieldPointer(2))
    assert rig.good(bytes.fromhex("25000000000100000100")) == rig.good(cdb.read_capacity_10())


@pytest.mark.parametrize("length", [0, 8, 15, 32, 64])
def test_read_capacity_16_is_cut_to_the_allocation_length(rig, length):
    assert len(rig.good(cdb.read_capacity_16(allocation_length=length))) == min(length, 32)


def test_read_capacity_16_of_a_thin_unit(make_rig):
    rig = make_rig(thin=True, physical_block_exponent=3)
    capacity = Capacity.parse_16(rig.good(cdb.read_capacity_16()))
    assert (capacity.provisioning_managed, capacity.reads_zeros, capacity.physical_block_exponent) == (
        True,
        True,
        3,
    )


@pytest.mark.parametrize("action", ["9e11", "9e1f", "9e00"])
def test_an_unknown_service_action_is_an_invalid_field(rig, action):
    sense = rig.sense(bytes.fromhex(action).ljust(16, b"\0"))
    assert (str(sense)[-9:-1], sense.field_pointer) == ("05/24/00", FieldPointer(1, 4))


# SYNCHRONIZE CACHE


@pytest.mark.parametrize("synchronize", [cdb.synchronize_cache_10, cdb.synchronize_cache_16])
def test_synchronize_cache_flushes(make_rig, synchronize):
    rig = make_rig(Watched(2048))
    for command in (synchronize(), synchronize(0, 2048), synchronize(10, 1, immediate=True)):
        rig.good(command)
    assert rig.unit.store.flushes == 3
    assert rig.fault(synchronize(2000, 49)) == "05/21/00"


# START STOP UNIT


def test_eject_and_load(make_rig):
    rig = make_rig(Watched(2048), removable=True)
    rig.good(cdb.start_stop_unit(start=False, load_eject=True))
    assert rig.unit.store.flushes == 1
    assert rig.fault(cdb.test_unit_ready()) == "02/3a/02"
    rig.good(cdb.start_stop_unit(start=True, load_eject=True))
    rig.good(cdb.test_unit_ready())


@pytest.mark.parametrize(
    "command",
    [
        *(read(0, 1) for read in READS),
        *(write(0, 1) for write in WRITES),
        cdb.synchronize_cache_10(),
        cdb.synchronize_cache_16(),
        cdb.read_capacity_10(),
        cdb.read_capacity_16(),
        cdb.unmap([(0, 1)])[0],
    ],
    ids=lambda command: cdb.cdb_name(command),
)
def test_no_command_reaches_a_medium_that_is_not_there(make_rig, command):
    rig = make_rig(removable=True, thin=True)
    rig.unit.eject()
    assert rig.fault(command, data(1)) == "02/3a/02"
    assert rig.server.data_out_length(rig.nexus, rig.lun, command) == 0
