import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.scsi.inquiry import DeviceType, Qualifier, StandardInquiry, VersionDescriptor

text = st.text(st.characters(min_codepoint=33, max_codepoint=126))
inquiries = st.builds(
    StandardInquiry,
    vendor=text.map(lambda value: value[:8]),
    product=text.map(lambda value: value[:16]),
    revision=text.map(lambda value: value[:4]),
    device_type=st.integers(0, 31),
    qualifier=st.integers(0, 7),
    removable=st.booleans(),
    version=st.integers(0, 255),
    hierarchical=st.booleans(),
    tpgs=st.integers(0, 3),
    third_party_copy=st.booleans(),
    multiple_ports=st.booleans(),
    command_queuing=st.booleans(),
    version_descriptors=st.lists(st.sampled_from(list(VersionDescriptor)), max_size=8).map(tuple),
)


def test_parse_reads_tgts_disk(recorded):
    (row,) = {row.data: row for row in recorded("120000004200", "tgt", "00c5") if b"DGC" in row.data}.values()
    parsed = StandardInquiry.parse(row.data)
    assert (parsed.vendor, parsed.product, parsed.revision) == ("DGC", "VRAID", "4200")
    assert (parsed.version, parsed.device_type, parsed.command_queuing) == (5, DeviceType.DISK, True)
    assert parsed.version_descriptors == (0x04C0, VersionDescriptor.ISCSI, VersionDescriptor.SPC_3)


def test_parse_reads_tgts_controller(recorded):
    parsed = StandardInquiry.parse(recorded("120000004200", "tgt", "0000")[0].data)
    assert (parsed.device_type, parsed.product) == (DeviceType.STORAGE_ARRAY_CONTROLLER, "Controller")


def test_parse_reads_lios_disk(recorded):
    parsed = StandardInquiry.parse(recorded("120000006000", "LIO", "00c5")[0].data)
    assert (parsed.vendor, parsed.product, parsed.revision) == ("LIO-ORG", "f1", "4.0")
    assert (parsed.version, parsed.tpgs, parsed.third_party_copy) == (6, 3, True)
    assert parsed.version_descriptors == (0x00A0, 0x0960, 0x0460, 0x04C0)


def test_parse_reads_lios_missing_lun_0(recorded):
    parsed = StandardInquiry.parse(recorded("120000006000", "LIO", "0000")[0].data)
    assert (parsed.qualifier, parsed.device_type) == (Qualifier.NOT_CONNECTED, DeviceType.UNKNOWN)


def test_our_disk_is_lios_byte_for_byte_where_we_say_the_same(recorded):
    row = recorded("120000006000", "LIO", "00c5")[0]
    ours = StandardInquiry(
        vendor="LIO-ORG",
        product="f1",
        revision="4.0",
        tpgs=3,
        third_party_copy=True,
        hierarchical=False,
        version_descriptors=tuple(VersionDescriptor(code) for code in (0xA0, 0x960, 0x460, 0x4C0)),
    ).encode()
    assert len(ours) == len(row.data)
    # LIO sets SCCS in byte 5 too: it claims to have a storage array controller inside.
    assert [i for i in range(96) if ours[i] != row.data[i]] == [5]
    assert ours[5] | 0x80 == row.data[5]


@given(inquiries)
def test_round_trip(inquiry):
    assert StandardInquiry.parse(inquiry.encode()) == inquiry


def test_encode_is_96_bytes_and_says_so():
    data = StandardInquiry().encode()
    assert (len(data), data[4]) == (96, 91)


@given(st.binary(max_size=300))
def test_parse_survives_anything(data):
    if len(data) < 5:
        with pytest.raises(ValueError, match="at least 5"):
            StandardInquiry.parse(data)
    else:
        assert StandardInquiry.parse(data).vendor.isascii()


def test_parse_shows_bytes_that_are_not_ascii_as_question_marks():
    data = bytearray(StandardInquiry(vendor="ABC").encode())
    data[9] = 0xFF
    assert StandardInquiry.parse(data).vendor == "A?C"
