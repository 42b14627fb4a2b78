import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.scsi import cdb
from iscsim.scsi.mode import ModeParameters
from iscsim.scsi.mode_pages import (
    CachingPage,
    ControlExtensionPage,
    ControlPage,
    InformationalExceptionsPage,
    ReadWriteErrorRecoveryPage,
)
from iscsim.scsi.sense import FieldPointer, Sense
from iscsim.scsi.store import MemoryStore
from iscsim.scsi.unit_attention import UnitAttention

NO_CACHE = CachingPage(write_cache=False).encode()
D_SENSE = ControlPage(descriptor_sense=True).encode()
SWP = ControlPage(software_write_protect=True).encode()
EXCEPTIONS = InformationalExceptionsPage(disabled=False, method=6).encode()
TASKS = ControlPage(task_aborted_status=True, queue_error_management=3).encode()
EXTENSION = ControlExtensionPage(implicit_access=True).encode()


class CountingStore(MemoryStore):
    flushes = 0

    def flush(self):
        self.flushes += 1
        super().flush()


def select_6(*pages, header="00000000", descriptor=b""):
    data = bytes.fromhex(header) + descriptor + b"".join(pages)
    return cdb.mode_select_6(data), data


def select_10(*pages, header="0000000000000000", descriptor=b""):
    data = bytes.fromhex(header) + descriptor + b"".join(pages)
    return cdb.mode_select_10(data), data


def pages(rig, control=0):
    return ModeParameters.parse_6(rig.good(cdb.mode_sense_6(0x3F, control=control))).pages


@pytest.mark.parametrize("select", [select_6, select_10])
@pytest.mark.parametrize("page", [NO_CACHE, D_SENSE, EXCEPTIONS, SWP, TASKS])
def test_a_page_is_current_once_selected_and_default_until_then(rig, select, page):
    rig.good(*select(page))
    assert page in pages(rig)
    assert page not in pages(rig, control=2)


def test_several_pages_at_once(rig):
    rig.good(*select_6(NO_CACHE, D_SENSE, EXCEPTIONS))
    assert pages(rig)[1:] == (NO_CACHE, D_SENSE, EXCEPTIONS)


def test_ps_and_the_device_specific_byte_are_not_looked_at(rig):
    """A host sends back what MODE SENSE gave it, the data length zeroed or not."""
    rig.good(*select_6(bytes([NO_CACHE[0] | 0x80]) + NO_CACHE[1:], header="1b009000"))
    assert pages(rig)[1] == NO_CACHE


@pytest.mark.parametrize("long", [False, True])
def test_what_mode_sense_gave_is_accepted_whole(rig, long):
    whole = rig.good(cdb.mode_sense_10(0x3F, llbaa=long))
    rig.good(cdb.mode_select_10(whole), whole)
    whole = rig.good(cdb.mode_sense_6(0x3F))
    rig.good(cdb.mode_select_6(whole), whole)


def test_an_empty_list_changes_nothing(rig):
    rig.good(*select_6(header=""))
    rig.good(*select_6())


# What the parameters do


def test_swp_protects_from_writes_and_shows_as_wp(rig):
    rig.good(*select_6(SWP))
    assert rig.fault(cdb.write_10(0, 1), b"x" * 512) == "07/27/00"
    assert rig.server.data_out_length(rig.nexus, rig.lun, cdb.write_10(0, 1)) == 0
    assert ModeParameters.parse_6(rig.good(cdb.mode_sense_6(0x08))).write_protected
    assert rig.good(cdb.read_10(0, 1)) == bytes(512)
    rig.good(*select_6(ControlPage().encode()))
    rig.good(cdb.write_10(0, 1), b"x" * 512)


@pytest.mark.parametrize(
    "command",
    [
        cdb.write_6(0, 1),
        cdb.write_16(0, 1),
        bytes.fromhex("2e000000000000000100"),  # WRITE AND VERIFY
        bytes.fromhex("41000000000000000100"),  # WRITE SAME
        bytes.fromhex("8b00000000000000000000000001" + "0000"),  # ORWRITE
        cdb.unmap([(0, 1)])[0],
    ],
)
def test_swp_stops_everything_that_writes(make_rig, command):
    rig = make_rig(thin=True)
    rig.good(*select_6(SWP))
    assert rig.fault(command, bytes(512), offered=512) == "07/27/00"


def test_d_sense_changes_the_sense_format(rig):
    rig.good(*select_6(D_SENSE))
    assert rig.execute(b"\xc0").sense[0] == 0x72
    rig.good(*select_6(ControlPage().encode()))
    assert rig.execute(b"\xc0").sense[0] == 0x70


def test_what_becomes_of_other_tasks_is_an_attribute_of_the_unit(rig):
    assert (rig.unit.task_aborted_status, rig.unit.queue_error_management) == (False, 0)
    rig.good(*select_6(TASKS))
    assert (rig.unit.task_aborted_status, rig.unit.queue_error_management) == (True, 3)


def test_a_subpage_comes_back_as_it_was(rig):
    rig.good(*select_6(EXTENSION, SWP))
    assert rig.unit.software_write_protect


# Informational exceptions


def exception_test(method):
    return select_6(InformationalExceptionsPage(disabled=False, test=True, method=method).encode())


def asked(rig):
    return str(Sense.parse(rig.good(cdb.request_sense())))[-9:-1]


def test_a_test_of_informational_exceptions_is_heard_by_all_as_a_unit_attention(rig):
    other = rig.other()
    rig.good(*exception_test(method=2))
    assert rig.fault(cdb.test_unit_ready()) == "06/5d/ff"
    assert [rig.fault(cdb.test_unit_ready(), nexus=other) for _ in range(2)] == ["06/2a/01", "06/5d/ff"]
    rig.good(*exception_test(method=2))
    assert rig.fault(cdb.test_unit_ready()) == "06/5d/ff"


def test_a_test_of_informational_exceptions_is_told_on_request_until_it_ends(rig):
    rig.good(*exception_test(method=6))
    rig.good(cdb.test_unit_ready())
    assert [asked(rig), asked(rig)] == ["00/5d/ff"] * 2
    rig.good(*select_6(EXCEPTIONS))
    assert asked(rig) == "00/00/00"


def test_a_test_that_is_not_to_be_reported_is_not(rig):
    rig.good(*exception_test(method=0))
    rig.good(cdb.test_unit_ready())
    assert asked(rig) == "00/00/00"


def test_without_a_write_cache_every_write_is_flushed(make_rig):
    store = CountingStore(2048)
    rig = make_rig(store, thin=True)
    rig.good(cdb.write_10(0, 1), bytes(512))
    assert store.flushes == 0
    rig.good(*select_6(NO_CACHE))
    assert store.flushes == 1  # what the cache held
    rig.good(cdb.write_10(0, 1), bytes(512))
    rig.good(*cdb.unmap([(0, 1)]))
    assert store.flushes == 3


def test_a_reset_restores_the_defaults(rig):
    before = pages(rig)
    rig.good(*select_6(NO_CACHE, SWP, EXCEPTIONS))
    rig.unit.reset(UnitAttention.BUS_DEVICE_RESET)
    rig.nexus.take(rig.unit)
    assert pages(rig) == before


# Who hears of it


def test_every_other_nexus_hears_that_parameters_changed(rig):
    others = [rig.other("iqn.a"), rig.other("iqn.b")]
    rig.good(*select_6(D_SENSE))
    rig.good(cdb.test_unit_ready())
    assert [rig.fault(cdb.test_unit_ready(), nexus=other) for other in others] == ["06/2a/01"] * 2


@pytest.mark.parametrize("select", [select_6(), select_6(ControlPage().encode(), CachingPage().encode())])
def test_nobody_hears_of_what_did_not_change(rig, select):
    other = rig.other()
    rig.good(*select)
    assert not other.unit_attentions


# What is refused


@pytest.mark.parametrize("flags, bit", [("00", 4), ("12", 1), ("11", 0)])
@pytest.mark.parametrize("opcode", ["15", "55"])
def test_cdb_flags_that_are_refused(rig, opcode, flags, bit):
    sense = rig.sense(bytes.fromhex(opcode + flags + "00" * 8))
    assert (str(sense)[-9:-1], sense.field_pointer) == ("05/24/00", FieldPointer(1, bit))


READ_ERRORS = ReadWriteErrorRecoveryPage().encode()


@pytest.mark.parametrize(
    "select, byte",
    [
        (select_6(header="00010000"), 1),
        (select_10(header="0000010000000000"), 2),
        (select_6(header="00000004", descriptor=bytes(4)), 3),
        (select_10(header="0000000000000004", descriptor=bytes(4)), 6),
        (select_10(header="0000000001000008", descriptor=bytes(8)), 6),
        (select_6(header="00000008", descriptor=bytes.fromhex("0000000100000200")), 4),
        (select_6(header="00000008", descriptor=bytes.fromhex("fffffffe00000200")), 4),
        (select_6(header="00000008", descriptor=bytes.fromhex("0000000000001000")), 9),
        (
            select_10(
                header="0000000001000010", descriptor=bytes.fromhex("00000000ffffffff0000000000000200")
            ),
            8,
        ),
        (select_10(header="0000000001000010", descriptor=bytes.fromhex("00" * 14 + "1000")), 20),
        (select_6(b"\x08\x0a" + bytes(10)), 5),
        (select_6(READ_ERRORS[:2] + b"\x80" + READ_ERRORS[3:]), 6),
        (select_6(NO_CACHE[:2] + b"\x05" + NO_CACHE[3:]), 6),
        (select_6(D_SENSE[:3] + b"\x00" + D_SENSE[4:]), 7),
        (select_6(EXCEPTIONS[:2] + b"\x80" + EXCEPTIONS[3:]), 6),
        (select_6(EXCEPTIONS[:3] + b"\x07" + EXCEPTIONS[4:]), 7),
        (select_6(EXCEPTIONS[:11] + b"\x01"), 15),
        (select_6(EXTENSION[:3] + b"\x1b" + EXTENSION[4:]), 6),
        (select_6(EXTENSION[:4] + b"\x04" + EXTENSION[5:]), 8),
        (select_6(b"\x4a\x02" + EXTENSION[2:]), 5),
        (select_6(D_SENSE, NO_CACHE[:10] + b"\x01" + NO_CACHE[11:]), 26),
    ],
)
def test_a_parameter_that_cannot_be_is_pointed_at_and_nothing_changes(rig, select, byte):
    before, other = pages(rig), rig.other()
    sense = rig.sense(*select)
    assert (str(sense)[-9:-1], sense.field_pointer) == ("05/26/00", FieldPointer(byte, None, in_cdb=False))
    assert (pages(rig), other.unit_attentions) == (before, {})


@pytest.mark.parametrize(
    "select, byte, bit",
    [
        (select_6(b"\x02\x0a" + bytes(10)), 4, 5),  # no such page
        (select_6(b"\x48\x00\x00\x12" + bytes(18)), 4, 6),  # SPF of a page that has no subpage
        (select_6(D_SENSE, ControlPage(queue_error_management=2).encode()), 19, 2),
        (select_6(InformationalExceptionsPage(test=True).encode()), 6, 2),  # DEXCPT and TEST
        (select_6(InformationalExceptionsPage(method=4).encode()), 7, 3),
    ],
)
def test_a_field_that_is_less_than_a_byte_is_pointed_at(rig, select, byte, bit):
    before = pages(rig)
    assert rig.sense(*select).field_pointer == FieldPointer(byte, bit, in_cdb=False)
    assert pages(rig) == before


@pytest.mark.parametrize(
    "select",
    [
        select_6(b"\x4a"),
        select_6(EXTENSION[:-1]),
        select_6(EXTENSION[:3]),
        select_6(header="000000"),
        select_10(header="00000000000000"),
        select_6(header="00000008"),
        select_6(NO_CACHE[:-1]),
        select_6(NO_CACHE, D_SENSE[:1]),
        (cdb.mode_select_6(bytes(24)), bytes(4) + NO_CACHE[:-1]),
        (cdb.mode_select_6(bytes(4)), bytes(4) + NO_CACHE),
    ],
)
def test_a_list_that_is_cut_is_an_error_of_its_length(rig, select):
    before = pages(rig)
    assert rig.fault(*select) == "05/1a/00"
    assert pages(rig) == before


@pytest.mark.parametrize(
    "select",
    [
        select_6(header="00000008", descriptor=bytes.fromhex("0000080000000200")),
        select_6(header="00000008", descriptor=bytes.fromhex("ffffffff00000200")),
        select_10(header="0000000001000010", descriptor=bytes.fromhex("ff" * 8 + "0000000000000200")),
    ],
)
def test_a_descriptor_that_says_all_there_is_changes_nothing(rig, select):
    other = rig.other()
    rig.good(*select)
    assert (rig.unit.blocks, other.unit_attentions) == (2048, {})


def test_the_blocks_of_a_large_unit_are_all_ones_in_a_short_descriptor(make_rig):
    rig = make_rig(MemoryStore(1 << 40))
    rig.good(*select_6(header="00000008", descriptor=bytes.fromhex("ffffffff00000200")))


@given(st.sampled_from([cdb.mode_select_6, cdb.mode_select_10]), st.binary(max_size=100))
def test_no_list_breaks_the_device_server(make_rig, select, data):
    assert make_rig().execute(select(data), data).status in (0x00, 0x02)


@given(
    st.lists(st.sampled_from([NO_CACHE, D_SENSE, SWP, EXCEPTIONS, EXTENSION]), max_size=4), st.integers(4, 80)
)
def test_a_list_is_taken_whole_or_not_at_all(make_rig, chosen, length):
    rig = make_rig()
    before = pages(rig)
    data = (bytes(4) + b"".join(chosen))[:length]
    if rig.execute(cdb.mode_select_6(data), data).status:
        assert pages(rig) == before
