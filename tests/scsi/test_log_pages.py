import errno

import pytest

from iscsim.scsi import cdb
from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.asymmetric_access import AccessState
from iscsim.scsi.log_pages import HEADER, PARAMETER
from iscsim.scsi.sense import FieldPointer
from iscsim.scsi.store import FileStore, MemoryStore
from iscsim.scsi.unit_attention import UnitAttention

WRITES, READS, PROVISIONING, EXCEPTIONS = 0x02, 0x03, 0x0C, 0x2F


class BrokenStore(MemoryStore):
    """Fails with ``error`` whatever is asked of it, once there is one."""

    error = None

    def read(self, lba, blocks):
        if self.error:
            raise OSError(self.error, "broken")
        return super().read(lba, blocks)

    def write(self, lba, data):
        if self.error:
            raise OSError(self.error, "broken")
        super().write(lba, data)


@pytest.fixture
def broken(make_rig):
    """One READ and two WRITEs have failed."""
    rig = make_rig(BrokenStore(64))
    rig.unit.store.error = errno.EIO
    assert rig.fault(cdb.read_10(0, 1)) == "03/11/00"
    assert rig.fault(cdb.write_10(0, 1), bytes(512)) == "03/0c/00"
    assert rig.fault(cdb.write_16(0, 1), bytes(512)) == "03/0c/00"
    return rig


def page(rig, code, **options):
    """Parameter code -> value of a page, and the header's flags with the control bytes."""
    data = rig.good(cdb.log_sense(code, **options))
    header = HEADER.parse(data)
    assert (header["page"], header["subpage"], header["length"]) == (0x80 | code, 0, len(data) - 4)
    found, position = {}, 4
    while position < len(data):
        fields = PARAMETER.parse(data, position)
        position += 4 + fields["length"]
        found[fields["code"]] = fields["control"], data[position - fields["length"] : position]
    return found


def errors(rig, code, **options):
    control, value = page(rig, code, **options)[6]
    assert (control, len(value)) == (0x20, 8)
    return int.from_bytes(value, "big")


def pointer(rig, command, data_out=b""):
    sense = rig.sense(command, data_out)
    assert str(sense)[-9:-1] == "05/24/00"
    return sense.field_pointer


def test_the_supported_pages_are_those_that_answer(make_rig):
    for thin, codes in ((False, [0, 2, 3, 0x2F]), (True, [0, 2, 3, 0x0C, 0x2F])):
        rig = make_rig(thin=thin)
        assert rig.good(cdb.log_sense(0)) == bytes((0, 0, 0, len(codes), *codes))
        for code in codes:
            assert rig.good(cdb.log_sense(code))[0] & 0x3F == code


def test_supported_subpages(rig):
    data = rig.good(cdb.log_sense(0, 0xFF))
    assert data.hex(" ", 2) == "40ff 000a 0000 00ff 0200 0300 2f00"


def test_failures_of_the_store_are_counted(broken):
    assert (errors(broken, READS), errors(broken, WRITES)) == (1, 2)


def test_a_full_disk_is_no_medium_error(broken):
    broken.unit.store.error = errno.ENOSPC
    assert broken.fault(cdb.write_10(0, 1), bytes(512)) == "07/27/07"
    assert errors(broken, WRITES) == 2


def test_default_values_of_counters_are_zero(broken):
    assert (errors(broken, READS, control=3), errors(broken, READS, control=1)) == (0, 1)


@pytest.mark.parametrize("control", [0, 2])
def test_counters_have_no_thresholds_and_lists_ignore_pc(rig, control):
    assert pointer(rig, cdb.log_sense(READS, control=control)) == FieldPointer(2, 7)
    assert page(rig, EXCEPTIONS, control=control) == page(rig, EXCEPTIONS)


def test_no_unit_predicts_its_failure(rig):
    assert page(rig, EXCEPTIONS) == {0: (0x23, bytes((0, 0, 0xFF)))}


def test_blocks_in_use_of_a_thin_unit(make_rig, tmp_path):
    rig = make_rig(MemoryStore(1 << 20), thin=True)
    assert page(rig, PROVISIONING) == {2: (0x23, bytes(4) + b"\x01" + bytes(3))}
    rig.good(cdb.write_10(0, 1), bytes(512))
    chunk = 8192  # a store in memory takes 4 MiB at once
    assert page(rig, PROVISIONING)[2][1][:4] == chunk.to_bytes(4, "big")
    small = make_rig(FileStore(tmp_path / "disk", size=1 << 20), thin=True)
    assert page(small, PROVISIONING)[2][1][:4] == bytes(4)
    small.good(cdb.write_10(8, 16), b"x" * 8192)
    small.unit.store.flush()
    assert 16 <= int.from_bytes(page(small, PROVISIONING)[2][1][:4], "big") <= 2048


def test_a_unit_with_more_blocks_than_the_field_holds_leaves_the_page_out(make_rig):
    rig = make_rig(MemoryStore(1 << 32), thin=True)
    assert pointer(rig, cdb.log_sense(PROVISIONING)) == FieldPointer(2, 5)


@pytest.mark.parametrize(
    "command, where",
    [
        (layouts.LOG_SENSE.build(opcode=0x4D, flags=2, page=0x42), FieldPointer(1, 1)),  # PPC
        (layouts.LOG_SENSE.build(opcode=0x4D, flags=1, page=0x42), FieldPointer(1, 0)),  # SP
        (cdb.log_sense(0x0D), FieldPointer(2, 5)),
        (cdb.log_sense(PROVISIONING), FieldPointer(2, 5)),  # the unit is not thin
        (cdb.log_sense(READS, 1), FieldPointer(3)),
        (cdb.log_sense(0, 1), FieldPointer(3)),
        (cdb.log_sense(READS, 0xFF), FieldPointer(3)),
        (cdb.log_sense(READS, pointer=7), FieldPointer(5)),
        (cdb.log_sense(0, pointer=1), FieldPointer(5)),
    ],
)
def test_log_sense_points_at_what_is_wrong(rig, command, where):
    assert pointer(rig, command) == where


def test_parameter_pointer_and_allocation_length(rig):
    whole = rig.good(cdb.log_sense(READS))
    assert rig.good(cdb.log_sense(READS, pointer=6)) == whole
    assert rig.good(cdb.log_sense(READS, allocation_length=7)) == whole[:7]
    assert rig.good(cdb.log_sense(READS, allocation_length=0)) == b""


def test_log_select_sets_counters_back_and_tells_the_others(broken):
    other = broken.other()
    broken.good(cdb.log_select())
    assert (errors(broken, READS), errors(broken, WRITES)) == (0, 0)
    assert broken.fault(cdb.test_unit_ready(), nexus=other) == "06/2a/02"
    assert not broken.nexus.unit_attentions
    broken.good(cdb.log_select())  # nothing changes any more
    assert not other.unit_attentions


def test_log_select_of_one_page(broken):
    broken.good(cdb.log_select(READS))
    assert (errors(broken, READS), errors(broken, WRITES)) == (0, 2)
    broken.good(cdb.log_select(EXCEPTIONS))
    assert errors(broken, WRITES) == 2


@pytest.mark.parametrize("control, left", [(0, 2), (1, 2), (2, 2), (3, 0)])
def test_log_select_without_pcr_goes_by_pc(broken, control, left):
    broken.good(cdb.log_select(control=control, reset=False))
    assert errors(broken, WRITES) == left


@pytest.mark.parametrize(
    "fields, where",
    [
        ({"flags": 1}, FieldPointer(1, 0)),
        ({"flags": 2, "parameter_list_length": 4}, FieldPointer(1, 1)),
        ({"parameter_list_length": 4}, FieldPointer(7)),
        ({"flags": 2, "page": 0x0D}, FieldPointer(2, 5)),
        ({"flags": 2, "page": READS, "subpage": 1}, FieldPointer(3)),
    ],
)
def test_log_select_points_at_what_is_wrong_and_changes_nothing(broken, fields, where):
    command = layouts.LOG_SELECT.build(opcode=0x4C, **fields)
    assert broken.server.data_out_length(broken.nexus, broken.lun, command) == 0
    assert pointer(broken, command) == where
    assert (errors(broken, READS), errors(broken, WRITES)) == (1, 2)


def test_a_reset_sets_counters_back(broken):
    broken.unit.reset(UnitAttention.BUS_DEVICE_RESET)
    broken.nexus.unit_attentions.clear()
    assert (errors(broken, READS), errors(broken, WRITES)) == (0, 0)


def test_log_pages_are_there_in_standby(broken):
    broken.unit.access.set_state(broken.nexus.target_port_group, AccessState.STANDBY)
    broken.nexus.unit_attentions.clear()
    assert errors(broken, WRITES) == 2
    broken.good(cdb.log_select())
    assert errors(broken, WRITES) == 0


def test_anybody_may_look_but_not_set_back_under_a_reservation(broken):
    other = broken.other()
    broken.unit.reservations.reserve(other)
    assert errors(broken, WRITES) == 2
    assert broken.conflicts(cdb.log_select())
