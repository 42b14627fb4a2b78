import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.scsi import cdb
from iscsim.scsi import cdb_layouts as layouts

U32 = st.integers(0, (1 << 32) - 1)

# What Linux sent in the captures, and how we build the same command.
LINUX = [
    (cdb.inquiry(allocation_length=36), "120000002400"),
    (cdb.inquiry(0x83, allocation_length=76), "120183004c00"),
    (cdb.inquiry(0x00, allocation_length=4), "120100000400"),
    (cdb.report_luns(allocation_length=4096), "a00000000000000010000000"),
    (cdb.test_unit_ready(), "000000000000"),
    (cdb.read_capacity_16(), "9e100000000000000000000000200000"),
    (cdb.mode_sense_6(0x3F, allocation_length=4), "1a003f000400"),
    (cdb.mode_sense_6(0x08, allocation_length=32), "1a0008002000"),
    (cdb.synchronize_cache_10(), "35000000000000000000"),
]


@pytest.mark.parametrize("built, sent", LINUX)
def test_built_as_linux_sends_it(built, sent, recorded):
    assert built.hex() == sent
    assert recorded(sent.ljust(32, "0"))


@pytest.mark.parametrize(
    "built, expected",
    [
        (cdb.read_6(0x1FFFFF, 256), "081fffff0000"),
        (cdb.write_6(1, 255), "0a000001ff00"),
        (cdb.read_10(0x01020304, 0x0506), "28000102030400050600"),
        (cdb.write_10(1, 2, fua=True, dpo=True), "2a180000000100000200"),
        (cdb.read_10(0, 1, protect=1), "28200000000000000100"),
        (cdb.read_12(1, 2), "a80000000001000000020000"),
        (cdb.write_12(1, 2, fua=True), "aa0800000001000000020000"),
        (cdb.read_16(1 << 40, 2), "88000000010000000000000000020000"),
        (cdb.write_16(3, 4, dpo=True), "8a100000000000000003000000040000"),
        (cdb.request_sense(), "03000000fc00"),
        (cdb.request_sense(descriptor=True, allocation_length=18), "030100001200"),
        (cdb.mode_sense_10(0x0A, 0xFF, control=2, dbd=True, llbaa=True), "5a188aff000000100000"),
        (cdb.start_stop_unit(start=False, load_eject=True), "1b0000000200"),
        (cdb.start_stop_unit(start=True, immediate=True, condition=2), "1b0100002100"),
        (cdb.read_capacity_10(), "25000000000000000000"),
        (cdb.synchronize_cache_16(1, 2, immediate=True), "91020000000000000001000000020000"),
        (cdb.report_luns(2, allocation_length=16), "a00002000000000000100000"),
    ],
)
def test_builders(built, expected):
    assert built.hex() == expected
    assert len(built) == cdb.cdb_length(built[0])


def test_unmap_builds_its_parameter_list():
    command, parameters = cdb.unmap([(0x10, 8), (1 << 33, 1)])
    assert command.hex() == "42000000000000002800"
    assert parameters.hex() == (
        "0026002000000000"
        + "0000000000000010"
        + "00000008"
        + "00000000"
        + "0000000200000000"
        + "00000001"
        + "00000000"
    )


@pytest.mark.parametrize("lba, blocks", [(1 << 21, 1), (0, 257), (0, 0), (-1, 1)])
def test_read_6_refuses_what_does_not_fit(lba, blocks):
    with pytest.raises(ValueError, match="6-byte CDB"):
        cdb.read_6(lba, blocks)


def test_read_10_refuses_an_address_beyond_32_bits():
    with pytest.raises(struct.error):
        cdb.read_10(1 << 32, 1)


@given(U32, st.integers(0, 0xFFFF), st.booleans(), st.booleans(), st.integers(0, 7))
def test_transfer_10_reads_back(lba, blocks, fua, dpo, protect):
    parsed = layouts.TRANSFER_10.construct.parse(cdb.read_10(lba, blocks, fua=fua, dpo=dpo, protect=protect))
    assert (parsed.lba, parsed.blocks) == (lba, blocks)
    assert (parsed.access.protect, parsed.access.dpo, parsed.access.fua) == (protect, dpo, fua)


@given(st.integers(0, (1 << 64) - 1), U32)
def test_transfer_16_reads_back(lba, blocks):
    parsed = layouts.TRANSFER_16.construct.parse(cdb.write_16(lba, blocks))
    assert (parsed.opcode, parsed.lba, parsed.blocks) == (0x8A, lba, blocks)
