import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scsi import copies

from iscsim.scsi import cdb
from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.asymmetric_access import AccessState
from iscsim.scsi.copy_move import PIECE_LENGTH
from iscsim.scsi.copy_parameters import MAXIMUM_LIST_LENGTH, MAXIMUM_SEGMENT_LENGTH
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.lun import encode_lun
from iscsim.scsi.sense import ForwardedSense, SegmentPointer, Sense
from iscsim.scsi.store import MemoryStore
from iscsim.scsi.unit_attention import UnitAttention

OWN_WWN, OTHER_WWN = "6" + "0" * 31, "6" + "0" * 30 + "1"


def pattern(size, seed=1):
    return (bytes(range(251)) * (size // 251 + 2))[seed : seed + size]


@pytest.fixture
def pair(rig):
    """The rig with a second unit under LUN 1, its unit attention heard; both begin with a pattern."""
    rig.second = rig.add(1, wwn=OTHER_WWN)
    rig.nexus.unit_attentions.clear()
    rig.unit.store.write(0, pattern(64 * 512))
    rig.second.store.write(0, pattern(64 * 512, seed=99))
    return rig


def data_of(unit, lba, count):
    return bytes(unit.store.read(lba, count))


def aborted(rig, *args, **fields):
    """``"0d/01"``, the segment, the pointer, and what was forwarded."""
    sense = rig.sense(*copies.command(*args, **fields))
    assert sense.key == 0x0A
    code = f"{sense.asc:02x}/{sense.ascq:02x}"
    return code, sense.command_specific or 0, sense.segment_pointer, sense.forwarded


def in_segment(byte, bit=None):
    return SegmentPointer(byte, bit, in_segment=True)


# What is copied.


def test_blocks_within_a_unit(pair):
    pair.good(*copies.command([copies.cscd(pair.unit)], [copies.blocks(8, 0, 100)]))
    assert data_of(pair.unit, 100, 8) == data_of(pair.unit, 0, 8) == pattern(8 * 512)
    assert data_of(pair.unit, 108, 1) == bytes(512)


def test_blocks_from_one_unit_to_another_whoever_gets_the_command(pair):
    cscds = [copies.cscd(pair.unit), copies.cscd(pair.second)]
    for lun, lba in ((0, 200), (1, 300)):
        copy = copies.command(cscds, [copies.blocks(4, 2, lba, destination=1)])
        pair.good(*copy, lun=encode_lun(lun))
        assert data_of(pair.second, lba, 4) == data_of(pair.unit, 2, 4)


def test_segments_run_in_their_order(pair):
    segments = [copies.blocks(1, 0, 70), copies.blocks(2, 70, 71)]
    pair.good(*copies.command([copies.cscd(pair.unit)], segments))
    assert data_of(pair.unit, 71, 1) == data_of(pair.unit, 0, 1)


def test_no_list_no_segments_and_no_blocks_copy_nothing(pair):
    before = data_of(pair.unit, 0, 2048)
    assert pair.good(cdb.extended_copy(b"")) == b""
    pair.good(*copies.command([], []))
    pair.good(*copies.command([copies.cscd(pair.unit)], [copies.blocks(0, 5, 9), copies.offsets(0)]))
    assert data_of(pair.unit, 0, 2048) == before


@pytest.mark.parametrize("source, destination", [(0, 1), (1, 0), (0, 2050), (2050, 0), (3, 3)])
def test_ranges_that_overlap_arrive_whole(make_rig, source, destination):
    rig = make_rig(MemoryStore(16384))
    count = 3 * PIECE_LENGTH // 512 + 5
    rig.unit.store.write(source, pattern(count * 512))
    rig.good(*copies.command([copies.cscd(rig.unit)], [copies.blocks(count, source, destination)]))
    assert data_of(rig.unit, destination, count) == pattern(count * 512)


def test_bytes_from_within_a_block_to_within_a_block(pair):
    before = data_of(pair.second, 10, 4)
    cscds = [copies.cscd(pair.unit), copies.cscd(pair.second)]
    pair.good(*copies.command(cscds, [copies.offsets(1000, (3, 100), (10, 20), to=1)]))
    copied = pattern(64 * 512)[3 * 512 + 100 :][:1000]
    assert data_of(pair.second, 10, 4) == before[:20] + copied + before[1020:]


def test_a_few_bytes_inside_one_block(pair):
    pair.good(*copies.command([copies.cscd(pair.unit)], [copies.offsets(3, (0, 500), (40, 9))]))
    old = pattern(64 * 512)[40 * 512 : 41 * 512]
    assert data_of(pair.unit, 40, 1) == old[:9] + pattern(512)[500:503] + old[12:]


@pytest.mark.parametrize("shift", [3, 515])
def test_bytes_that_overlap_in_several_pieces_arrive_whole(make_rig, shift):
    rig = make_rig(MemoryStore(16384))
    size = 2 * PIECE_LENGTH + 77
    rig.unit.store.write(0, pattern(6000 * 512))
    segment = copies.offsets(size, (0, 7), divmod(7 + shift, 512))
    rig.good(*copies.command([copies.cscd(rig.unit)], [segment]))
    expected = bytearray(pattern(6000 * 512))
    expected[7 + shift : 7 + shift + size] = expected[7 : 7 + size]
    assert data_of(rig.unit, 0, 6000) == bytes(expected)


# Units with blocks of different sizes.


@pytest.fixture
def mixed(pair):
    """LUN 2 has blocks of 4096 bytes, all ones."""
    pair.large = pair.add(2, MemoryStore(64, 4096), wwn="6" + "0" * 30 + "2")
    pair.nexus.unit_attentions.clear()
    pair.large.store.write(0, b"\xff" * 64 * 4096)
    return pair


def to_large(rig, count, flags=0, pads=(False, False), more=()):
    cscds = [copies.cscd(rig.unit, pad=pads[0]), copies.cscd(rig.large, pad=pads[1])]
    return [cscds, [copies.blocks(count, 0, 1, destination=1, flags=flags), *more]]


def test_the_count_is_the_sources_or_the_destinations(mixed):
    mixed.good(*copies.command(*to_large(mixed, 16)))
    assert data_of(mixed.large, 0, 4) == b"\xff" * 4096 + pattern(8192) + b"\xff" * 4096
    mixed.good(*copies.command(*to_large(mixed, 3, flags=2)))
    assert data_of(mixed.large, 1, 4) == pattern(3 * 4096) + b"\xff" * 4096


@pytest.mark.parametrize(
    "flags, pads, last",
    [
        (0, (True, True), pattern(9 * 512)[4096:] + bytes(3584)),
        (0, (False, True), pattern(9 * 512)[4096:] + bytes(3584)),
        (0, (True, False), b"\xff" * 4096),
        (1, (False, False), b"\xff" * 4096),  # nothing comes after: the rest is given up
    ],
)
def test_the_rest_of_a_destination_block(mixed, flags, pads, last):
    mixed.good(*copies.command(*to_large(mixed, 9, flags, pads)))
    assert data_of(mixed.large, 1, 3) == pattern(4096) + last + b"\xff" * 4096


def test_the_rest_of_a_source_block_is_given_up(mixed):
    cscds = [copies.cscd(mixed.large, pad=True), copies.cscd(mixed.unit)]
    mixed.good(*copies.command(cscds, [copies.blocks(3, 0, 80, destination=1, flags=2)]))
    assert data_of(mixed.unit, 80, 4) == b"\xff" * 1536 + bytes(512)


@pytest.mark.parametrize("flags, more", [(0, []), (1, [copies.blocks(0)])])
def test_a_rest_that_would_have_to_be_kept_is_refused(mixed, flags, more):
    arguments = to_large(mixed, 9, flags, more=more)
    assert aborted(mixed, *arguments) == ("26/0a", 0, in_segment(1, 0), None)
    assert data_of(mixed.large, 0, 64) == b"\xff" * 64 * 4096


# What fails.


def test_a_failed_segment_leaves_those_before_it_done(pair):
    segments = [copies.blocks(1, 0, 100), copies.blocks(1, 0, 101, destination=1), copies.blocks(1, 0, 102)]
    code = aborted(pair, [copies.cscd(pair.unit)], segments)
    assert code == ("08/04", 1, in_segment(6), None)
    assert data_of(pair.unit, 100, 3) == pattern(512) + bytes(1024)


def test_a_unit_the_nexus_does_not_see_is_not_reached(pair):
    hidden = LogicalUnit(MemoryStore(64), serial="hidden")
    cscds = [copies.cscd(pair.unit), copies.cscd(hidden)]
    for segment in (copies.blocks(1, source=1), copies.blocks(1, destination=1)):
        assert aborted(pair, cscds, [segment]) == ("0d/02", 0, SegmentPointer(48), None)
    assert data_of(hidden, 0, 64) == bytes(64 * 512)


def test_a_name_of_the_port_is_no_name_of_a_unit(pair):
    name = pair.unit.designators(pair.nexus)[2].encode().ljust(24, b"\0")
    cscds = [copies.cscd(pair.unit, designator=name)]
    assert aborted(pair, cscds, [copies.blocks(1)]) == ("0d/02", 0, SegmentPointer(16), None)


@pytest.mark.parametrize(
    "fields, code, byte", [({"device": 0x01}, "0d/03", 16), ({"block_length_low": 4096}, "26/00", 45)]
)
def test_a_unit_that_is_not_what_its_descriptor_says(pair, fields, code, byte):
    found = aborted(pair, [copies.cscd(pair.unit, **fields)], [copies.blocks(1, 0, 9)])
    assert found == (code, 0, SegmentPointer(byte), None)


def test_what_spc_4_made_obsolete_is_not_looked_at(pair):
    cscds = [copies.cscd(pair.unit, device=0xE0, relative_initiator_port=5, block_length_low=0)]
    pair.good(*copies.command(cscds, [copies.blocks(1, 0, 90)]))


@pytest.mark.parametrize(
    "segment, pointer",
    [
        (copies.blocks(2, 2047, 0), 12),
        (copies.blocks(2, 0, 2047), 20),
        (copies.blocks(1, (1 << 64) - 1, 0), 12),
        (copies.offsets(513, (2047, 0), (0, 0)), 12),
        (copies.offsets(512, (0, 0), (2047, 1)), 20),
    ],
)
def test_a_range_outside_a_unit_is_seen_before_anything_is_written(pair, segment, pointer):
    before = data_of(pair.unit, 0, 2048)
    found = aborted(pair, [copies.cscd(pair.unit)], [segment])
    assert found == ("00/00", 0, in_segment(pointer), None)
    assert data_of(pair.unit, 0, 2048) == before


@pytest.mark.parametrize(
    "segment, pointer",
    [(copies.offsets(1, (0, 512)), 28), (copies.offsets(1, (0, 0), (0, 512)), 30)],
)
def test_an_offset_is_inside_its_block(pair, segment, pointer):
    assert aborted(pair, [copies.cscd(pair.unit)], [segment]) == ("26/00", 0, in_segment(pointer), None)


def test_a_segment_has_a_longest_length(make_rig):
    rig = make_rig(MemoryStore(1 << 20))
    half = MAXIMUM_SEGMENT_LENGTH // 512
    rig.good(*copies.command([copies.cscd(rig.unit)], [copies.offsets(MAXIMUM_SEGMENT_LENGTH, to=0)]))
    segment = copies.offsets(MAXIMUM_SEGMENT_LENGTH + 1, (0, 0), (2 * half, 0))
    assert aborted(rig, [copies.cscd(rig.unit)], [segment]) == ("26/00", 0, in_segment(8), None)


def test_a_longer_list_is_refused_before_it_is_sent(pair):
    command = layouts.EXTENDED_COPY.build(opcode=0x83, parameter_list_length=MAXIMUM_LIST_LENGTH + 1)
    assert pair.server.data_out_length(pair.nexus, pair.lun, command) == 0
    assert pair.fault(command) == "05/1a/00"
    assert pair.fault(cdb.extended_copy(bytes(32)), bytes(16)) == "05/1a/00"


# Rights.


def both(rig):
    return [copies.cscd(rig.unit), copies.cscd(rig.second)]


TO_SECOND, FROM_SECOND = copies.blocks(1, 0, 90, destination=1), copies.blocks(1, 0, 90, source=1)


def reserve(rig, unit_lun, kind):
    other = rig.other()
    key = (7).to_bytes(8, "big")
    for action, parameters in ((0, bytes(8) + key + bytes(8)), (1, key + bytes(16))):
        command = cdb.persistent_reserve_out(action, reservation_type=kind)
        rig.good(command, parameters, nexus=other, lun=encode_lun(unit_lun))
    return other


def test_a_reserved_source_may_be_read_under_write_exclusive_only(pair):
    other = reserve(pair, 1, kind=1)
    pair.good(*copies.command(both(pair), [FROM_SECOND]))
    found = aborted(pair, both(pair), [TO_SECOND])
    assert found == ("0d/01", 0, SegmentPointer(48), ForwardedSense(2, 0x18))
    assert data_of(pair.second, 90, 1) == bytes(512)
    pair.good(*copies.command(both(pair), [TO_SECOND]), nexus=other)


def test_a_source_under_exclusive_access_is_not_read(pair):
    reserve(pair, 1, kind=3)
    found = aborted(pair, both(pair), [FROM_SECOND])
    assert found == ("0d/01", 0, SegmentPointer(48), ForwardedSense(1, 0x18))


def test_the_reserved_unit_itself_takes_no_copy(pair):
    reserve(pair, 0, kind=1)
    assert pair.conflicts(*copies.command(both(pair), [FROM_SECOND]))


def test_a_protected_destination_is_not_written(pair):
    pair.second.software_write_protect = True
    *code, forwarded = aborted(pair, both(pair), [TO_SECOND])
    assert code == ["0d/01", 0, SegmentPointer(48)]
    assert (forwarded.source, forwarded.status) == (2, 2)
    assert str(Sense.parse(forwarded.sense))[-9:-1] == "07/27/00"
    pair.good(*copies.command(both(pair), [FROM_SECOND]))


def test_a_medium_that_is_out_is_neither_read_nor_written(pair):
    pair.second.removable = True
    pair.second.eject()
    for role, segment in ((1, FROM_SECOND), (2, TO_SECOND)):
        forwarded = aborted(pair, both(pair), [segment])[3]
        assert (forwarded.source, str(Sense.parse(forwarded.sense))[-9:-1]) == (role, "02/3a/02")


@pytest.mark.parametrize("role, segment", [(1, FROM_SECOND), (2, TO_SECOND)])
def test_a_unit_whose_sanitize_failed_takes_no_part(pair, role, segment):
    pair.second.erasure.settle(failed=True)
    forwarded = aborted(pair, both(pair), [segment])[3]
    assert (forwarded.source, str(Sense.parse(forwarded.sense))[-9:-1]) == (role, "03/31/03")


@pytest.mark.parametrize("role, segment", [(1, FROM_SECOND), (2, TO_SECOND)])
def test_a_unit_that_is_in_standby_on_this_way_takes_no_part(pair, role, segment):
    pair.second.access.set_state(pair.nexus.target_port_group, AccessState.STANDBY)
    pair.nexus.unit_attentions.clear()
    forwarded = aborted(pair, both(pair), [segment])[3]
    assert (forwarded.source, str(Sense.parse(forwarded.sense))[-9:-1]) == (role, "02/04/0b")


def test_a_unit_attention_of_the_other_unit_waits_for_its_own_command(pair):
    pair.nexus.establish(pair.second, UnitAttention.CAPACITY_CHANGED)
    pair.good(*copies.command(both(pair), [TO_SECOND]))
    assert pair.fault(cdb.test_unit_ready(), lun=encode_lun(1)) == "06/2a/09"
    pair.nexus.establish(pair.unit, UnitAttention.CAPACITY_CHANGED)
    assert pair.fault(*copies.command(both(pair), [TO_SECOND])) == "06/2a/09"


# Stores that fail.


class FailingStore(MemoryStore):
    """Raises from ``fail_read`` or ``fail_write``, which are block addresses, on."""

    fail_read = fail_write = 1 << 62
    error = errno.EIO

    def read(self, lba, blocks):
        if lba + blocks > self.fail_read:
            raise OSError(self.error, "broken")
        return super().read(lba, blocks)

    def write(self, lba, data):
        if lba + len(data) // self.block_size > self.fail_write:
            raise OSError(self.error, "broken")
        super().write(lba, data)


@pytest.fixture
def failing(make_rig):
    rig = make_rig(FailingStore(32768))
    rig.second = rig.add(1, FailingStore(32768), wwn=OTHER_WWN)
    rig.nexus.unit_attentions.clear()
    return rig


PIECE = PIECE_LENGTH // 512


def test_a_source_that_fails_in_the_middle_says_how_much_is_missing(failing):
    failing.unit.store.fail_read = failing.unit.read.__self__.fail_read = 2 * PIECE
    sense = failing.sense(*copies.command(both(failing), [copies.blocks(3 * PIECE, 0, 0, 0, 1)]))
    assert (sense.information, sense.segment_pointer) == (PIECE, SegmentPointer(16))
    assert (sense.forwarded.source, str(Sense.parse(sense.forwarded.sense))[-9:-1]) == (1, "03/11/00")
    assert (failing.unit.read_errors, failing.second.write_errors) == (1, 0)


def test_a_destination_that_is_full_at_once_has_no_residual(failing):
    failing.second.store.fail_write, failing.second.store.error = 0, errno.ENOSPC
    sense = failing.sense(*copies.command(both(failing), [copies.blocks(9, 0, 0, 0, 1)]))
    assert (sense.information, sense.segment_pointer) == (None, SegmentPointer(48))
    assert (sense.forwarded.source, str(Sense.parse(sense.forwarded.sense))[-9:-1]) == (2, "07/27/07")
    assert (failing.second.read_errors, failing.second.write_errors) == (0, 0)


def test_descriptor_format_forwards_too(failing):
    failing.unit.d_sense = True
    failing.second.store.fail_write = PIECE
    sense = failing.sense(*copies.command(both(failing), [copies.blocks(2 * PIECE, 0, 0, 0, 1)]))
    assert (sense.information, sense.forwarded.source) == (PIECE, 2)
    assert failing.second.write_errors == 1


def test_a_write_cache_that_is_off_is_flushed_to(failing, monkeypatch):
    flushed = []
    monkeypatch.setattr(FailingStore, "flush", lambda self: flushed.append(self))
    failing.good(*copies.command(both(failing), [copies.blocks(1, 0, 0, 0, 1)]))
    failing.second.write_cache = False
    failing.good(*copies.command(both(failing), [copies.blocks(1, 0, 0, 0, 1)]))
    assert flushed == [failing.second.store]


# Whatever comes.

WELL_FORMED = copies.parameters(
    [copies.cscd(LogicalUnit(MemoryStore(64), serial="0", wwn=wwn)) for wwn in (OWN_WWN, OTHER_WWN)],
    [copies.offsets(700, (1, 2), (3, 4)), copies.blocks(2, 0, 60, source=1)],
)


@given(
    st.lists(st.tuples(st.integers(0, len(WELL_FORMED) - 1), st.integers(0, 255)), max_size=6),
    st.integers(0, len(WELL_FORMED)),
)
def test_a_damaged_list_is_answered_and_leaves_other_units_alone(make_rig, changes, length):
    rig = make_rig(MemoryStore(64), wwn=OWN_WWN)
    hidden = LogicalUnit(MemoryStore(64), serial="hidden", wwn=OTHER_WWN)
    data = bytearray(WELL_FORMED)
    for position, value in changes:
        data[position] = value
    completion = rig.execute(cdb.extended_copy(data[:length]), bytes(data[:length]))
    assert completion.status in (0, 2)
    if completion.status:
        assert Sense.parse(completion.sense).key in (5, 0x0A)
    assert bytes(hidden.store.read(0, 64)) == bytes(64 * 512)
