import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.scsi import cdb
from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.sense import FieldPointer
from iscsim.scsi.store import MemoryStore
from iscsim.scsi.verify import _first_difference

VERIFY = {0x2F: layouts.VERIFY_10, 0xAF: layouts.VERIFY_12, 0x8F: layouts.VERIFY_16}
WRITE_AND_VERIFY = {0x2E: layouts.VERIFY_10, 0xAE: layouts.VERIFY_12, 0x8E: layouts.VERIFY_16}
each_verify = pytest.mark.parametrize("opcode", VERIFY)
each_write_and_verify = pytest.mark.parametrize("opcode", WRITE_AND_VERIFY)


def data(blocks, seed=1):
    return bytes((seed + i) % 251 for i in range(blocks * 512))


def verify(opcode, lba, blocks, bytchk=0, protect=0):
    return VERIFY[opcode].build(opcode=opcode, check=protect << 5 | bytchk << 1, lba=lba, blocks=blocks)


def write_and_verify(opcode, lba, blocks, protect=0):
    return WRITE_AND_VERIFY[opcode].build(opcode=opcode, check=protect << 5, lba=lba, blocks=blocks)


def compare_and_write(lba, blocks, access=0):
    return layouts.COMPARE_AND_WRITE.build(opcode=0x89, access=access, lba=lba, blocks=blocks)


def orwrite(lba, blocks, access=0):
    return layouts.TRANSFER_16.build(opcode=0x8B, access=access, lba=lba, blocks=blocks)


@pytest.fixture
def written(make_rig):
    rig = make_rig()
    rig.good(cdb.write_10(0, 8), data(8))
    return rig


@given(st.binary(min_size=1, max_size=300), st.integers(0, 299), st.integers(1, 255))
def test_first_difference_is_found_at_its_offset(left, offset, change):
    offset %= len(left)
    right = bytearray(left)
    right[offset] ^= change
    right[offset + 1 :] = bytes(len(left) - offset - 1)
    assert _first_difference(left, right) == offset
    assert _first_difference(left, left) is None


# VERIFY


@each_verify
def test_verify_without_bytchk_wants_no_data(written, opcode):
    assert written.server.data_out_length(written.nexus, written.lun, verify(opcode, 0, 8)) == 0
    written.good(verify(opcode, 0, 8))


@each_verify
def test_verify_compares_every_block(written, opcode):
    assert written.server.data_out_length(written.nexus, written.lun, verify(opcode, 2, 3, 1)) == 1536
    written.good(verify(opcode, 2, 3, 1), data(8)[1024:2560])
    written.good(verify(opcode, 2, 0, 1))


@each_verify
def test_verify_finds_a_mismatch(written, opcode):
    wrong = bytearray(data(3))
    wrong[700] ^= 1
    sense = written.sense(verify(opcode, 0, 3, 1), wrong)
    assert (str(sense)[-9:-1], sense.information) == ("0e/1d/00", 700)


@each_verify
def test_verify_against_one_block(written, opcode):
    written.good(verify(opcode, 100, 50, 3), bytes(512))
    assert written.server.data_out_length(written.nexus, written.lun, verify(opcode, 100, 50, 3)) == 512
    assert written.fault(verify(opcode, 0, 50, 3), bytes(512)) == "0e/1d/00"


@each_verify
def test_verify_refuses(written, opcode):
    assert written.fault(verify(opcode, 2047, 2)) == "05/21/00"
    assert written.sense(verify(opcode, 0, 1, protect=1)).field_pointer == FieldPointer(1, 7)
    assert written.sense(verify(opcode, 0, 1, bytchk=2)).field_pointer == FieldPointer(1, 2)
    assert written.fault(verify(opcode, 0, 2, 1), bytes(512)) == "05/24/00"


# WRITE AND VERIFY


@each_write_and_verify
def test_write_and_verify_writes(written, opcode):
    assert written.server.data_out_length(written.nexus, written.lun, write_and_verify(opcode, 1, 2)) == 1024
    assert written.good(write_and_verify(opcode, 1, 0)) == b""
    written.good(write_and_verify(opcode, 1, 2), data(2, seed=9))
    assert written.good(cdb.read_10(1, 2)) == data(2, seed=9)


@each_write_and_verify
def test_write_and_verify_reads_back(make_rig, opcode):
    class Forgetful(MemoryStore):
        def write(self, lba, written):
            super().write(lba, bytes(len(written)))

    assert make_rig(Forgetful(8)).fault(write_and_verify(opcode, 0, 1), data(1)) == "0e/1d/00"


@each_write_and_verify
def test_write_and_verify_refuses(written, make_rig, opcode):
    assert written.fault(write_and_verify(opcode, 2047, 2), data(2)) == "05/21/00"
    assert written.fault(write_and_verify(opcode, 0, 1, protect=1), data(1)) == "05/24/00"
    assert make_rig(read_only=True).fault(write_and_verify(opcode, 0, 1), data(1)) == "07/27/00"


@each_write_and_verify
def test_write_and_verify_takes_the_whole_blocks_that_came(written, opcode):
    written.good(write_and_verify(opcode, 0, 2), data(1, seed=9))
    assert written.good(cdb.read_10(0, 2)) == data(1, seed=9) + data(8)[512:1024]


# COMPARE AND WRITE


def test_compare_and_write_swaps_what_matches(written):
    command = compare_and_write(1, 2, access=0x08)
    assert written.server.data_out_length(written.nexus, written.lun, command) == 2048
    written.good(command, data(8)[512:1536] + data(2, seed=9))
    assert written.good(cdb.read_10(1, 2)) == data(2, seed=9)


@pytest.mark.parametrize("offset", [0, 1, 511, 512, 1023])
def test_compare_and_write_reports_the_first_mismatch_and_changes_nothing(written, offset):
    expected = bytearray(data(2))
    expected[offset] ^= 0x80
    expected[-1] ^= 0x01
    sense = written.sense(compare_and_write(0, 2), bytes(expected) + bytes(1024))
    assert (str(sense)[-9:-1], sense.information) == ("0e/1d/00", offset)
    assert written.good(cdb.read_10(0, 8)) == data(8)


@pytest.mark.parametrize("length", [0, 512, 1536, 2048])
def test_compare_and_write_takes_exactly_two_halves(written, length):
    assert written.sense(compare_and_write(0, 1), bytes(length)).field_pointer == FieldPointer(13)


def test_write_and_verify_has_no_comparison_with_one_block(written):
    for bytchk in (2, 3):
        command = layouts.VERIFY_10.build(opcode=0x2E, check=bytchk << 1, lba=0, blocks=1)
        assert written.sense(command, data(1)).field_pointer == FieldPointer(1, 2)
        assert written.server.data_out_length(written.nexus, written.lun, command) == 0


@pytest.mark.parametrize(
    "command, byte",
    [
        (verify(0x2F, 0, 32769), 7),
        (verify(0xAF, 0, 32769), 6),
        (verify(0x8F, 0, 32769), 10),
        (write_and_verify(0x8E, 0, 32769), 10),
        (orwrite(0, 32769), 10),
        (compare_and_write(0, 129), 13),
    ],
)
def test_a_bad_length_is_pointed_at_before_write_protection(make_rig, command, byte):
    rig = make_rig(MemoryStore(1 << 20), read_only=True)
    assert rig.sense(command).field_pointer == FieldPointer(byte)


@pytest.mark.parametrize("command", [verify(0x2F, 2040, 9), orwrite(2040, 9), compare_and_write(2040, 9)])
def test_out_of_range_tells_the_first_address_that_is_not_there(written, command):
    assert written.sense(command).information == 2048


def test_compare_and_write_of_nothing(written):
    assert written.good(compare_and_write(0, 0)) == b""


def test_compare_and_write_above_the_limit_of_page_b0_is_refused(written):
    written.good(compare_and_write(500, 128), bytes(128 * 1024))
    assert written.sense(compare_and_write(500, 129), bytes(129 * 1024)).field_pointer == FieldPointer(13)


def test_compare_and_write_refuses(written, make_rig):
    assert written.fault(compare_and_write(2048, 1), data(2)) == "05/21/00"
    assert written.fault(compare_and_write(0, 1, access=0x20), data(2)) == "05/24/00"
    assert make_rig(read_only=True).fault(compare_and_write(0, 1), data(2)) == "07/27/00"


# ORWRITE and PRE-FETCH


def test_orwrite_sets_bits(written):
    assert written.server.data_out_length(written.nexus, written.lun, orwrite(0, 2)) == 1024
    written.good(orwrite(0, 2, access=0x08), b"\xf0" * 1024)
    assert written.good(cdb.read_10(0, 3)) == bytes(b | 0xF0 for b in data(8)[:1024]) + data(8)[1024:1536]


def test_orwrite_refuses(written, make_rig):
    assert written.good(orwrite(0, 0)) == b""
    assert written.fault(orwrite(2048, 1), data(1)) == "05/21/00"
    assert make_rig(read_only=True).fault(orwrite(0, 1), data(1)) == "07/27/00"


@pytest.mark.parametrize("layout, opcode", [(layouts.PRE_FETCH_10, 0x34), (layouts.PRE_FETCH_16, 0x90)])
def test_pre_fetch_checks_its_range(rig, layout, opcode):
    assert rig.good(layout.build(opcode=opcode, lba=0, blocks=0)) == b""
    assert rig.good(layout.build(opcode=opcode, flags=2, lba=0, blocks=2048)) == b""
    assert rig.fault(layout.build(opcode=opcode, lba=2048, blocks=1)) == "05/21/00"
