import errno

import pytest

from iscsim.scsi import cdb
from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.sense import FieldPointer
from iscsim.scsi.store import MemoryStore

FMTDATA, LONGLIST = 0x10, 0x20
FOV, DPRY, DCRT, STPF, IP, IMMED = 0x80, 0x40, 0x20, 0x10, 0x08, 0x02


def format_unit(options=0, fast=0):
    return layouts.FORMAT_UNIT.build(opcode=0x04, options=options, fast=fast)


def short(flags=0, **fields):
    return layouts.FORMAT_SHORT_HEADER.build(flags=flags, **fields)


def long(flags=0, **fields):
    return layouts.FORMAT_LONG_HEADER.build(flags=flags, **fields)


def pattern(data, kind=1, modifier=0, length=None):
    size = len(data) if length is None else length
    return layouts.FORMAT_PATTERN.build(modifier=modifier, pattern_type=kind, pattern_length=size) + data


def wanted(rig, command, offered=None):
    return rig.server.data_out_length(rig.nexus, rig.lun, command, offered)


@pytest.fixture
def written(make_rig):
    rig = make_rig()
    rig.good(cdb.write_10(0, 2048), b"x" * 2048 * 512)
    return rig


@pytest.mark.parametrize(
    "command, parameters",
    [
        (format_unit(), b""),
        (format_unit(0x08), b""),  # CMPLST means nothing without a list
        (format_unit(FMTDATA), short()),
        (format_unit(FMTDATA | 0x0D), short(FOV | DPRY | DCRT | STPF)),
        (format_unit(FMTDATA | LONGLIST), long(FOV | DCRT)),
        (format_unit(FMTDATA), short(FOV | IP) + pattern(b"", kind=0)),
    ],
)
def test_after_it_all_blocks_are_zeros(written, command, parameters):
    written.good(command, parameters)
    assert written.good(cdb.read_10(0, 2048)) == bytes(2048 * 512)


@pytest.mark.parametrize("header, options", [(short, 0), (long, LONGLIST)])
def test_an_initialization_pattern_fills_every_block(written, header, options):
    written.good(format_unit(FMTDATA | options), header(FOV | IP) + pattern(b"abc"))
    assert written.good(cdb.read_10(2046, 2)) == (b"abc" * 171)[:512] * 2


def test_it_takes_as_much_data_as_there_is_up_to_a_header_and_a_block(rig):
    assert [wanted(rig, format_unit(FMTDATA), offered) for offered in (None, 4, 100, 1 << 20)] == [
        520,
        4,
        100,
        520,
    ]
    assert wanted(rig, format_unit(FMTDATA | LONGLIST), 1 << 20) == 524
    assert wanted(rig, format_unit(), 512) == 0


@pytest.mark.parametrize(
    "command, byte, bit",
    [
        (format_unit(0x40), 1, 7),
        (format_unit(0x80 | FMTDATA), 1, 7),
        (format_unit(0x01), 1, 2),
        (format_unit(FMTDATA | 0x06), 1, 2),
        (format_unit(fast=1), 4, 1),
        (format_unit(fast=3), 4, 1),
    ],
)
def test_what_the_cdb_cannot_ask_for(written, command, byte, bit):
    sense = written.sense(command, short())
    assert (str(sense)[-9:-1], sense.field_pointer) == ("05/24/00", FieldPointer(byte, bit))
    assert wanted(written, command, 4) == 0
    assert written.good(cdb.read_10(0, 1)) == b"x" * 512


@pytest.mark.parametrize(
    "options, parameters, byte, bit",
    [
        (0, short(protection=1), 0, 2),
        (0, short(DPRY), 1, 6),
        (0, short(IP) + pattern(b"z"), 1, 3),
        (0, short(FOV | 0x04), 1, 2),
        (0, short(FOV | 0x01), 1, 0),
        (0, short(defect_list_length=4) + bytes(4), 2, None),
        (LONGLIST, long(defect_list_length=8) + bytes(8), 4, None),
        (LONGLIST, long(interval=0x10), 3, 7),
        (LONGLIST, long(interval=0x01), 3, 3),
        (0, short(FOV | IP) + pattern(b"z", modifier=0x40), 4, 7),
        (0, short(FOV | IP) + pattern(b"z", modifier=0x20), 4, 5),
        (0, short(FOV | IP) + pattern(b"z", kind=2), 5, None),
        (0, short(FOV | IP) + pattern(b"z", kind=0), 6, None),
        (0, short(FOV | IP) + pattern(b"", kind=1), 6, None),
        (LONGLIST, long(FOV | IP) + pattern(b"z" * 512, length=513), 10, None),
    ],
)
def test_what_the_parameter_list_cannot_ask_for(written, options, parameters, byte, bit):
    sense = written.sense(format_unit(FMTDATA | options), parameters)
    expected = ("05/26/00", FieldPointer(byte, bit, in_cdb=False))
    assert (str(sense)[-9:-1], sense.field_pointer) == expected
    assert written.good(cdb.read_10(0, 1)) == b"x" * 512


@pytest.mark.parametrize(
    "options, parameters",
    [
        (0, b""),
        (0, short()[:3]),
        (LONGLIST, short()),
        (0, short(FOV | IP)),
        (0, short(FOV | IP) + pattern(b"zzz", length=4)),
    ],
)
def test_a_parameter_list_that_is_cut_changes_nothing(written, options, parameters):
    assert written.fault(format_unit(FMTDATA | options), parameters) == "05/1a/00"
    assert written.good(cdb.read_10(0, 1)) == b"x" * 512


def test_write_protection_is_looked_at_after_the_cdb(make_rig):
    rig = make_rig(read_only=True)
    assert rig.fault(format_unit()) == "07/27/00"
    assert rig.fault(format_unit(0x40)) == "05/24/00"
    assert wanted(rig, format_unit(FMTDATA), 4) == 0


@pytest.mark.parametrize("flags, ready_at", [(0, 4.0), (IMMED, None)])
def test_it_may_take_its_time(make_rig, flags, ready_at):
    rig = make_rig(erase_time_s=3.0)
    rig.nexus.clock = lambda: 1.0
    assert rig.execute(format_unit(FMTDATA), short(flags)).ready_at == ready_at
    assert rig.fault(cdb.test_unit_ready()) == "02/04/04"


def test_a_store_that_fails_is_told_as_a_failed_format(make_rig):
    class Failing(MemoryStore):
        def unmap(self, lba, blocks):
            raise OSError(errno.EIO, "broken")

    rig = make_rig(Failing(2048))
    assert rig.fault(format_unit()) == "03/31/01"
    rig.good(cdb.test_unit_ready())
