import pytest

from iscsim.scsi import cdb, vpd
from iscsim.scsi.inquiry import DeviceType, StandardInquiry
from iscsim.scsi.lun import REPORT_LUNS_WELL_KNOWN_LUN, encode_lun, parse_lun_list
from iscsim.scsi.mode import ModeParameters
from iscsim.scsi.mode_pages import CachingPage, ControlPage
from iscsim.scsi.sense import FieldPointer, Sense
from iscsim.scsi.store import MemoryStore
from iscsim.scsi.unit_attention import UnitAttention
from iscsim.scsi.vpd import BlockLimits, DesignatorType

MISSING = encode_lun(9)


def test_test_unit_ready_is_good(rig):
    assert rig.good(cdb.test_unit_ready()) == b""


# INQUIRY


def test_standard_inquiry(rig):
    parsed = StandardInquiry.parse(rig.good(cdb.inquiry()))
    assert (parsed.vendor, parsed.product, parsed.revision) == ("ISCSIM", "VIRTUAL-DISK", "0001")
    assert (parsed.device_type, parsed.qualifier, parsed.removable) == (DeviceType.DISK, 0, False)
    assert (parsed.version, parsed.version_descriptors) == (6, (0xA0, 0x960, 0x460, 0x4C0))
    assert parsed.third_party_copy


def test_a_removable_unit_says_so(make_rig):
    assert StandardInquiry.parse(make_rig(removable=True).good(cdb.inquiry())).removable


@pytest.mark.parametrize("length", [0, 5, 36, 95, 96, 255, 512])
def test_inquiry_is_cut_to_the_allocation_length(rig, length):
    data = rig.good(cdb.inquiry(allocation_length=length))
    assert data == rig.good(cdb.inquiry())[:length]


def test_inquiry_takes_an_old_lun_in_byte_1(rig, recorded):
    """Linux sent 12 A0 to tgt: LUN 197 in bits 7:5, from SCSI-2's days."""
    assert rig.good(recorded("12a00000240")[0].cdb) == rig.good(cdb.inquiry(allocation_length=36))


@pytest.mark.parametrize(
    "command, pointer",
    [
        ("120083004000", FieldPointer(2)),  # page code without EVPD
        ("120200004000", FieldPointer(1, 1)),  # CMDDT
        ("1201c0004000", FieldPointer(2)),  # no such page
    ],
)
def test_inquiry_refuses(rig, command, pointer):
    sense = rig.sense(bytes.fromhex(command))
    assert (str(sense)[-9:-1], sense.field_pointer) == ("05/24/00", pointer)


def test_every_page_listed_is_readable_and_the_list_ascends(rig):
    pages = vpd.parse_supported_pages(rig.good(cdb.inquiry(0)))
    assert pages == [0x00, 0x80, 0x83, 0x86, 0x8F, 0xB0, 0xB1, 0xB2, 0xB3]
    for page in pages:
        data = rig.good(cdb.inquiry(page))
        assert (data[1], len(data) - 4) == (page, int.from_bytes(data[2:4], "big"))


@pytest.mark.parametrize("page", [None, 0x00, 0x80, 0x83, 0x86, 0xB0, 0xB1, 0xB2])
def test_an_answer_is_cut_to_every_allocation_length(rig, page):
    whole = rig.good(cdb.inquiry(page, allocation_length=0xFFFF))
    for length in (*range(len(whole) + 2), 0x0100, 0xFF00, 0xFFFE):
        assert rig.good(cdb.inquiry(page, allocation_length=length)) == whole[:length]


def test_extended_inquiry_says_what_is_true(rig):
    assert rig.good(cdb.inquiry(0x86)).hex() == "0086003c" + "00070101" + "0000" + "000100fc" + "00" * 50


def test_unit_serial_number(rig):
    assert vpd.parse_unit_serial_number(rig.good(cdb.inquiry(0x80))) == "FNM00150600260"


def test_device_identification_in_the_order_hosts_like(rig):
    found = vpd.parse_device_identification(rig.good(cdb.inquiry(0x83)))
    assert [(name.type, name.association, name.text) for name in found] == [
        (DesignatorType.NAA, 0, "6006016015e03a00ab2df25bb82d0ea9"),
        (DesignatorType.T10_VENDOR, 0, "ISCSIM  VIRTUAL-DISK:FNM00150600260"),
        (DesignatorType.RELATIVE_TARGET_PORT, 1, "00000001"),
        (DesignatorType.TARGET_PORT_GROUP, 1, "00000001"),
        (DesignatorType.SCSI_NAME, 1, "iqn.1992-04.com.emc:cx.a0,t,0x0001"),
        (DesignatorType.SCSI_NAME, 2, "iqn.1992-04.com.emc:cx.a0"),
    ]


def test_byte_6_of_device_identification_is_zero(rig):
    assert rig.good(cdb.inquiry(0x83))[6] == 0


def test_the_unit_has_one_name_through_every_port(rig):
    other = rig.connect("iqn.1993-08.org.debian:01:host", port=2)
    pages = [
        vpd.parse_device_identification(rig.good(cdb.inquiry(0x83), nexus=at)) for at in (rig.nexus, other)
    ]
    names = [name.text for page in pages for name in page if name.type == DesignatorType.NAA]
    assert names == ["6006016015e03a00ab2df25bb82d0ea9"] * 2
    ports = [
        next(name.text for name in page if name.type == DesignatorType.RELATIVE_TARGET_PORT) for page in pages
    ]
    assert ports == ["00000001", "00000002"]


def test_block_limits(rig):
    limits = BlockLimits.parse(rig.good(cdb.inquiry(0xB0)))
    assert (limits.maximum_transfer_blocks, limits.optimal_transfer_blocks) == (32768, 2048)


# REPORT LUNS


def test_report_luns_lists_the_map(rig):
    rig.add(197)
    assert parse_lun_list(rig.good(cdb.report_luns())) == ([encode_lun(0), encode_lun(197)], 24)


def test_report_luns_cut_short_keeps_its_length_field(rig):
    for number in range(1, 10):
        rig.add(number)
    luns, needed = parse_lun_list(rig.good(cdb.report_luns(allocation_length=24)))
    assert (len(luns), needed) == (2, 88)


@pytest.mark.parametrize(
    "select, luns",
    [(0, ["00"]), (1, ["c1"]), (2, ["00", "c1"]), (0x10, []), (0x11, ["00"]), (0x12, [])],
)
def test_report_luns_selects(rig, select, luns):
    found, _ = parse_lun_list(rig.good(cdb.report_luns(select)))
    assert [lun.hex()[:2] for lun in found] == luns


@pytest.mark.parametrize("select", [3, 0x0F, 0x13, 0xFF])
def test_report_luns_refuses_another_selection(rig, select):
    assert rig.sense(cdb.report_luns(select)).field_pointer == FieldPointer(2)


def test_report_luns_clears_reported_luns_changed_everywhere(rig):
    rig.add(1)
    rig.add(2)
    rig.good(cdb.report_luns())
    waiting = rig.nexus.unit_attentions.values()
    assert all(UnitAttention.REPORTED_LUNS_CHANGED not in pending for pending in waiting)


# REQUEST SENSE


def test_request_sense_without_news(rig):
    assert (
        str(Sense.parse(rig.good(cdb.request_sense())))
        == "NO SENSE: no additional sense information (00/00/00)"
    )


@pytest.mark.parametrize("descriptor, code", [(False, 0x70), (True, 0x72)])
def test_request_sense_tells_and_clears_a_unit_attention(rig, descriptor, code):
    rig.unit.resize(4096)
    data = rig.good(cdb.request_sense(descriptor=descriptor))
    assert (data[0], str(Sense.parse(data))[-9:-1]) == (code, "06/2a/09")
    rig.good(cdb.test_unit_ready())


def test_request_sense_of_a_unit_without_medium(make_rig):
    rig = make_rig(removable=True)
    rig.unit.eject()
    assert str(Sense.parse(rig.good(cdb.request_sense())))[-9:-1] == "02/3a/02"


def test_request_sense_is_cut_to_the_allocation_length(rig):
    assert len(rig.good(cdb.request_sense(allocation_length=4))) == 4


# MODE SENSE


def test_mode_sense_6_of_all_pages(rig):
    parsed = ModeParameters.parse_6(rig.good(cdb.mode_sense_6(0x3F)))
    assert (parsed.write_protected, parsed.dpo_fua, parsed.blocks, parsed.block_size) == (
        False,
        True,
        2048,
        512,
    )
    assert [page[0] for page in parsed.pages] == [0x01, 0x08, 0x0A, 0x1C]


def test_mode_sense_10_of_all_pages_and_subpages(rig):
    parsed = ModeParameters.parse_10(rig.good(cdb.mode_sense_10(0x3F, 0xFF)))
    assert [page[:2].hex() for page in parsed.pages] == ["010a", "0812", "0a0a", "4a01", "1c0a"]


@pytest.mark.parametrize("subpage, heads", [(0, ["0a0a"]), (1, ["4a01"]), (0xFF, ["0a0a", "4a01"])])
def test_mode_sense_of_a_page_of_its_subpage_and_of_both(rig, subpage, heads):
    parsed = ModeParameters.parse_6(rig.good(cdb.mode_sense_6(0x0A, subpage)))
    assert [page[:2].hex() for page in parsed.pages] == heads


def test_a_page_alone_is_the_page_inside_all(rig):
    alone = ModeParameters.parse_6(rig.good(cdb.mode_sense_6(0x0A)))
    together = ModeParameters.parse_6(rig.good(cdb.mode_sense_6(0x3F)))
    assert alone.find(0x0A) == together.find(0x0A)


def test_mode_sense_as_linux_asks_it(rig, recorded):
    """4 bytes of all pages for the header, 4 then 32 bytes of the caching page."""
    answers = [rig.good(row.cdb) for row in recorded("1a", "tgt")[:3]]
    assert [len(answer) for answer in answers] == [4, 4, 32]
    assert CachingPage.parse(ModeParameters.parse_6(answers[2]).find(0x08)) == CachingPage()


def test_mode_sense_without_block_descriptor(rig):
    assert ModeParameters.parse_6(rig.good(cdb.mode_sense_6(0x3F, dbd=True))).blocks is None


def test_mode_sense_10_long_block_descriptor(make_rig):
    rig = make_rig(MemoryStore(1 << 40))
    assert ModeParameters.parse_10(rig.good(cdb.mode_sense_10(0x08, llbaa=True))).blocks == 1 << 40
    assert ModeParameters.parse_10(rig.good(cdb.mode_sense_10(0x08))).blocks == 0xFFFFFFFF


def test_changeable_values_are_masks(rig):
    parsed = ModeParameters.parse_6(rig.good(cdb.mode_sense_6(0x3F, control=1)))
    assert [page.hex() for page in parsed.pages] == [
        "010a" + "00" * 10,
        "0812" + "04" + "00" * 17,
        "0a0a" + "04060840" + "00" * 6,
        "1c0a" + "0c06" + "00" * 8,
    ]
    (extension,) = ModeParameters.parse_6(rig.good(cdb.mode_sense_6(0x0A, 1, control=1))).pages
    assert extension.hex() == "4a01001c" + "00" * 28


def test_default_values_are_the_current_ones(rig):
    assert rig.good(cdb.mode_sense_6(0x3F, control=2)) == rig.good(cdb.mode_sense_6(0x3F))


@pytest.mark.parametrize(
    "command, fault, pointer",
    [
        (cdb.mode_sense_6(0x3F, control=3), "05/39/00", FieldPointer(2, 7)),
        (cdb.mode_sense_6(0x02), "05/24/00", FieldPointer(2, 5)),
        (cdb.mode_sense_6(0x02, 0xFF), "05/24/00", FieldPointer(2, 5)),
        (cdb.mode_sense_6(0x08, 0x01), "05/24/00", FieldPointer(3)),
        (cdb.mode_sense_6(0x0A, 0x02), "05/24/00", FieldPointer(3)),
        (cdb.mode_sense_10(0x3F, 0x01), "05/24/00", FieldPointer(3)),
    ],
)
def test_mode_sense_refuses(rig, command, fault, pointer):
    sense = rig.sense(command)
    assert (str(sense)[-9:-1], sense.field_pointer) == (fault, pointer)


def test_mode_sense_is_cut_and_says_its_whole_length(rig):
    data = rig.good(cdb.mode_sense_6(0x3F, allocation_length=4))
    assert (len(data), data[0]) == (4, len(rig.good(cdb.mode_sense_6(0x3F))) - 1)


@pytest.mark.parametrize("where", ["unit", "map", "store"])
def test_write_protection_shows_in_mode_sense(make_rig, where):
    rig = make_rig(
        MemoryStore(8, read_only=where == "store"), read_only=where == "unit", read_only_map=where == "map"
    )
    assert ModeParameters.parse_6(rig.good(cdb.mode_sense_6(0x3F))).write_protected


def test_control_page_shows_the_sense_format(make_rig):
    page = ModeParameters.parse_6(make_rig(d_sense=True).good(cdb.mode_sense_6(0x0A))).find(0x0A)
    assert ControlPage.parse(page).descriptor_sense


# A LUN without a logical unit


def test_inquiry_of_a_missing_lun_says_so_and_does_not_fail(rig):
    data = rig.good(cdb.inquiry(), lun=MISSING)
    assert (data[0], len(data)) == (0x7F, 96)
    assert rig.good(cdb.inquiry(0x00), lun=MISSING).hex() == "7f00000100"


def test_a_missing_lun_has_no_other_page(rig):
    assert rig.fault(cdb.inquiry(0x83), lun=MISSING) == "05/24/00"


def test_report_luns_to_a_missing_lun_lists_the_map(rig):
    assert rig.good(cdb.report_luns(), lun=MISSING) == rig.good(cdb.report_luns())


def test_lun_0_answers_report_luns_when_it_is_not_mapped(make_rig):
    rig = make_rig(number=197)
    assert parse_lun_list(rig.good(cdb.report_luns(), lun=encode_lun(0)))[0] == [encode_lun(197)]
    assert rig.good(cdb.inquiry(), lun=encode_lun(0))[0] == 0x7F


def test_request_sense_to_a_missing_lun_tells_it_as_data(rig):
    assert str(Sense.parse(rig.good(cdb.request_sense(), lun=MISSING)))[-9:-1] == "05/25/00"


@pytest.mark.parametrize("command", [cdb.test_unit_ready(), cdb.read_10(0, 1), b"\xc0"])
def test_other_commands_to_a_missing_lun_are_refused(rig, command):
    assert rig.fault(command, lun=MISSING) == "05/25/00"


# The REPORT LUNS well-known logical unit


def test_the_well_known_unit_answers_its_four_commands(rig):
    at = {"lun": REPORT_LUNS_WELL_KNOWN_LUN}
    assert rig.good(cdb.inquiry(), **at)[0] == DeviceType.WELL_KNOWN_LOGICAL_UNIT
    assert rig.good(cdb.report_luns(), **at) == rig.good(cdb.report_luns())
    assert rig.good(cdb.test_unit_ready(), **at) == b""
    assert str(Sense.parse(rig.good(cdb.request_sense(), **at)))[-9:-1] == "00/00/00"


def test_the_well_known_unit_has_no_medium_to_read(rig):
    assert rig.fault(cdb.read_10(0, 1), lun=REPORT_LUNS_WELL_KNOWN_LUN) == "05/20/00"
