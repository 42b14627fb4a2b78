import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.scsi.mode import (
    CachingPage,
    ControlPage,
    InformationalExceptionsPage,
    ModePage,
    ModeParameters,
    changeable_bits,
)

pages = st.builds(ModePage, st.integers(0, 0x3E), st.just(0), st.binary(max_size=30)) | st.builds(
    ModePage, st.integers(0, 0x3E), st.integers(1, 254), st.binary(max_size=300)
)


@pytest.mark.parametrize("peer, write_protected", [("tgt", False), ("LIO", False)])
def test_headers_of_the_captures(recorded, peer, write_protected):
    for row in recorded("1a003f00", peer):
        parsed = ModeParameters.parse_6(row.data)
        assert (parsed.write_protected, parsed.dpo_fua) == (write_protected, True)


def test_caching_page_of_tgt(recorded):
    parsed = ModeParameters.parse_6(recorded("1a00080020", "tgt")[0].data)
    assert (parsed.blocks, parsed.block_size) == (0, 512)
    assert CachingPage.parse(parsed.find(0x08)) == CachingPage(write_cache=True, read_cache=True)


def test_caching_page_of_lio(recorded):
    row = recorded("1a00080020", "LIO")[0]
    parsed = ModeParameters.parse_6(row.data)
    assert (parsed.blocks, parsed.block_size) == (0x1FFFF, 512)
    assert CachingPage.parse(parsed.find(0x08)).write_cache


def test_mode_sense_6_data():
    parameters = ModeParameters(
        write_protected=True, dpo_fua=True, blocks=2048, block_size=512, pages=(CachingPage().encode(),)
    )
    assert parameters.encode_6().hex() == "1f009008" + "0000080000000200" + "0812" + "04" + "00" * 17
    assert ModeParameters.parse_6(parameters.encode_6()) == parameters


def test_mode_sense_10_data_with_long_descriptor():
    parameters = ModeParameters(dpo_fua=True, blocks=1 << 40, block_size=4096)
    assert parameters.encode_10(long_lba=True).hex() == (
        "0016" + "0010" + "01000010" + "0000010000000000" + "00000000" + "00001000"
    )
    assert ModeParameters.parse_10(parameters.encode_10(long_lba=True)) == parameters


def test_short_descriptor_of_a_large_unit_is_all_ones():
    data = ModeParameters(blocks=1 << 40, block_size=512).encode_10()
    assert ModeParameters.parse_10(data).blocks == 0xFFFFFFFF


@pytest.mark.parametrize(
    "page, changed",
    [
        (ControlPage(descriptor_sense=True), "0a0a0610000000" + "00ffff0000"),
        (ControlPage(software_write_protect=True, task_aborted_status=True), "0a0a02100840" + "0000ffff0000"),
    ],
)
def test_control_page(page, changed):
    assert page.encode().hex() == changed
    (parsed,) = ModePage.parse_all(page.encode())
    assert ControlPage.parse(parsed) == page


@given(st.booleans(), st.booleans())
def test_caching_page_round_trip(write_cache, read_cache):
    page = CachingPage(write_cache=write_cache, read_cache=read_cache)
    assert CachingPage.parse(ModePage.parse_all(page.encode())[0]) == page


@given(st.lists(pages, max_size=5))
def test_pages_round_trip(found):
    assert ModePage.parse_all(b"".join(page.encode() for page in found)) == found


def test_parse_refuses_another_page():
    with pytest.raises(ValueError, match="mode page 0Ah/00h arrived, expected 08h"):
        CachingPage.parse(ModePage.parse_all(ControlPage().encode())[0])


def test_find_of_a_page_that_is_not_there():
    assert ModeParameters().find(0x08) is None


@given(st.binary(max_size=300))
def test_parsers_survive_anything(data):
    for parse, size in ((ModeParameters.parse_6, 4), (ModeParameters.parse_10, 8)):
        if len(data) < size:
            with pytest.raises(ValueError, match="were expected"):
                parse(data)
        else:
            parse(data).find(0x08)


def test_a_subpage_that_is_cut_in_its_header_is_left_out():
    whole = ControlPage().encode()
    assert [page.code for page in ModePage.parse_all(whole + bytes.fromhex("4a01"))] == [0x0A]


@given(st.booleans(), st.integers(0, 15), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_informational_exceptions_page_round_trip(disabled, method, interval, count):
    page = InformationalExceptionsPage(
        disabled=disabled, method=method, interval_timer_100ms=interval, report_count=count
    )
    assert InformationalExceptionsPage.parse(ModePage.parse_all(page.encode())[0]) == page


def test_changeable_bits_are_as_long_as_the_page_and_never_its_header():
    for page in (CachingPage().encode(), ControlPage().encode(), InformationalExceptionsPage().encode()):
        assert (len(changeable_bits(page)), changeable_bits(page)[:2]) == (len(page), bytes(2))
    assert changeable_bits(b"\x01\x0a" + bytes(10)) == bytes(12)
