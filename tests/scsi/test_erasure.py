import pytest

from iscsim.scsi import cdb
from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.asc import ASC
from iscsim.scsi.erasure import MAXIMUM_FILL_LENGTH, Erasure, fill, repeated
from iscsim.scsi.store import MemoryStore

ALLOWED = [
    cdb.inquiry(),
    cdb.report_luns(),
    cdb.read_capacity_10(),
    cdb.read_capacity_16(),
    cdb.mode_sense_6(0x1C),
    cdb.mode_sense_10(0x08),
    cdb.mode_sense_10(0x0A),
    layouts.REPORT_SUPPORTED_OPERATION_CODES.build(opcode=0xA3, service_action=0x0C, allocation_length=64),
]
REFUSED = [
    cdb.test_unit_ready(),
    cdb.start_stop_unit(start=True),
    cdb.read_16(0, 1),
    cdb.write_10(0, 1),
    cdb.mode_sense_6(0x3F),
    cdb.persistent_reserve_in(0),
    layouts.SANITIZE.build(opcode=0x48, options=0x03),
    layouts.SERVICE_ACTION_IN_16.build(opcode=0x9E, service_action=0x12),
]


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def busy(make_rig, clock):
    """A unit that will be busy for 8 seconds once something begins."""
    rig = make_rig(MemoryStore(2048), erase_time_s=8.0, thin=True)
    rig.nexus.clock = clock
    return rig


def test_while_a_sanitize_operation_is_under_way_few_commands_run(busy):
    busy.unit.erasure.begin(ASC.SANITIZE_IN_PROGRESS, busy.nexus)
    for command in ALLOWED:
        busy.good(command)
    assert {busy.fault(command) for command in REFUSED} == {"02/04/1b"}


def test_while_a_format_operation_is_under_way_fewer_do(busy):
    busy.unit.erasure.begin(ASC.FORMAT_IN_PROGRESS, busy.nexus)
    for command in ALLOWED[:2]:
        busy.good(command)
    assert {busy.fault(command) for command in (*ALLOWED[2:], *REFUSED)} == {"02/04/04"}


@pytest.mark.parametrize("seconds, progress", [(0, 0), (2, 0x4000), (4, 0x8000), (7.9999, 0xFFFF)])
def test_the_progress_is_told_with_the_refusal_and_in_request_sense(busy, clock, seconds, progress):
    busy.unit.erasure.begin(ASC.SANITIZE_IN_PROGRESS, busy.nexus)
    clock.now += seconds
    assert busy.sense(cdb.read_10(0, 1)).progress == progress
    data = busy.good(cdb.request_sense())
    assert data[2:3] + data[12:14] + data[15:18] == bytes((2, 0x04, 0x1B, 0x80)) + progress.to_bytes(2, "big")


def test_it_ends_by_itself(busy, clock):
    assert busy.unit.erasure.begin(ASC.SANITIZE_IN_PROGRESS, busy.nexus) == 108.0
    clock.now = 108.0
    assert busy.unit.restricted
    busy.good(cdb.test_unit_ready())
    assert not busy.unit.restricted
    assert busy.good(cdb.request_sense())[2] == 0


def test_resets_and_the_loss_of_the_nexus_do_not_end_it(busy, clock):
    busy.unit.erasure.begin(ASC.SANITIZE_IN_PROGRESS, busy.nexus)
    busy.server.logical_unit_reset(busy.nexus, busy.lun)
    busy.server.target_reset(busy.nexus)
    busy.server.nexus_lost(busy.nexus)
    nexus = busy.other()
    nexus.clock = clock
    assert busy.fault(cdb.test_unit_ready(), nexus=nexus) == "02/04/1b"
    clock.now += 8
    busy.good(cdb.test_unit_ready(), nexus=nexus)


def test_a_unit_attention_is_told_first(busy, clock):
    busy.unit.erasure.begin(ASC.SANITIZE_IN_PROGRESS, busy.nexus)
    nexus = busy.connect("iqn.other")
    nexus.clock = clock
    assert [busy.fault(cdb.test_unit_ready(), nexus=nexus) for _ in range(2)] == ["06/29/00", "02/04/1b"]


def test_a_nexus_without_a_clock_sees_no_progress_and_begins_nothing_long(busy):
    busy.unit.erasure.begin(ASC.SANITIZE_IN_PROGRESS, busy.nexus)
    stopped = busy.other()
    assert busy.sense(cdb.test_unit_ready(), nexus=stopped).progress == 0
    other = Erasure(busy.unit, 8.0)
    assert (other.begin(ASC.SANITIZE_IN_PROGRESS, stopped), other.in_force) == (None, False)


def test_without_a_duration_it_is_over_at_once(rig, clock):
    rig.nexus.clock = clock
    assert rig.unit.erasure.begin(ASC.FORMAT_IN_PROGRESS, rig.nexus) is None
    rig.good(cdb.test_unit_ready())


def test_after_a_failure_the_medium_is_not_touched(rig):
    rig.unit.erasure.settle(failed=True)
    for command in ALLOWED:
        rig.good(command)
    commands = [command for command in REFUSED if command[0] != 0x48]
    assert {rig.fault(command) for command in commands} == {"03/31/03"}
    rig.unit.erasure.settle(failed=False)
    rig.good(cdb.test_unit_ready())


@pytest.mark.parametrize("block", [b"ab" * 256, bytes(512)])
def test_fill_reaches_every_block(make_rig, block):
    rig = make_rig(MemoryStore(5000))
    rig.good(cdb.write_10(0, 5000), b"x" * 5000 * 512)
    fill(rig.unit, block)
    assert rig.good(cdb.read_10(0, 5000)) == block * 5000


def test_zeros_take_no_memory(make_rig):
    rig = make_rig(MemoryStore(1 << 40))
    rig.good(cdb.write_16(1 << 39, 1), b"x" * 512)
    fill(rig.unit, bytes(512))
    assert rig.unit.store.allocated_size == 0


@pytest.mark.parametrize(
    "command, parameters",
    [
        (
            layouts.SANITIZE.build(opcode=0x48, options=1, parameter_list_length=5),
            bytes.fromhex("01000001"),
        ),
        (layouts.FORMAT_UNIT.build(opcode=0x04, options=0x10), bytes.fromhex("0088000000010001")),
    ],
)
def test_a_large_unit_is_filled_with_zeros_only(make_rig, command, parameters):
    rig = make_rig(MemoryStore((MAXIMUM_FILL_LENGTH >> 9) + 1))
    rig.good(cdb.write_16(0, 1), b"x" * 512)
    assert rig.fault(command, parameters + b"z") == "05/55/03"
    assert rig.good(cdb.read_10(0, 1)) == b"x" * 512
    rig.good(command, parameters + bytes(1))
    assert rig.good(cdb.read_10(0, 1)) == bytes(512)


def test_a_pattern_begins_with_the_block():
    assert repeated(b"abc", 8) == b"abcabcab"
    assert repeated(b"abc", 2) == b"ab"
