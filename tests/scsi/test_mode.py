import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.scsi.mode import ModePage, ModeParameters
from iscsim.scsi.mode_pages import CachingPage, ControlPage

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


@given(st.lists(pages, max_size=5))
def test_pages_round_trip(found):
    assert ModePage.parse_all(b"".join(page.encode() for page in found)) == found


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
