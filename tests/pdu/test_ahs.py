"""Additional header segments (RFC 7143 section 11.2.2), with hostile lengths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.errors import FormatError, LocalProtocolError
from iscsim.pdu.ahs import (
    AHS,
    BidirectionalReadLength,
    ExtendedCDB,
    UnknownAHS,
    decode_ahs,
    encode_ahs,
)

VECTORS = [
    ("00020100aa000000", ExtendedCDB(b"\xaa")),
    ("00050100aabbccdd", ExtendedCDB(b"\xaa\xbb\xcc\xdd")),
    ("00110100" + "11" * 16, ExtendedCDB(b"\x11" * 16)),  # CDBLength 32: AHSLength is 32 - 15
    ("0005020000010000", BidirectionalReadLength(65536)),
    ("0001031f", UnknownAHS(3, 0x1F, b"")),
    ("00033f0001020000", UnknownAHS(63, 0, b"\x01\x02")),
]

segments = st.one_of(
    st.binary(min_size=1, max_size=244).map(ExtendedCDB),
    st.integers(0, 0xFFFFFFFF).map(BidirectionalReadLength),
    st.builds(UnknownAHS, st.integers(3, 63), st.integers(0, 255), st.binary(max_size=40)),
)


@pytest.mark.parametrize("wire,segment", VECTORS)
def test_a_segment_on_the_wire(wire: str, segment: AHS) -> None:
    assert segment.encode().hex() == wire
    assert decode_ahs(bytes.fromhex(wire)) == (segment,)


@given(st.lists(segments, max_size=4))
def test_segments_survive_the_way_there_and_back(several: list[AHS]) -> None:
    assert decode_ahs(encode_ahs(several)) == tuple(several)


def test_each_segment_is_padded_to_four_bytes() -> None:
    encoded = encode_ahs([ExtendedCDB(b"x"), ExtendedCDB(b"xyz"), BidirectionalReadLength(1)])
    assert encoded.hex() == "0002010078000000" + "0004010078797a00" + "0005020000000001"


def test_reserved_bits_of_the_type_and_the_padding_are_ignored() -> None:
    """RFC 7143 section 11.2.2.1: bits 0 and 1 of AHSType are reserved."""
    assert decode_ahs(bytes.fromhex("0002c1ffaa112233")) == (ExtendedCDB(b"\xaa"),)


@pytest.mark.parametrize(
    "wire,section",
    [
        ("00000100", "11.2.2.2"),  # AHSLength 0
        ("00020100", "11.2.2.2"),  # one byte more than there is
        ("ffff0300" + "00" * 16, "11.2.2.2"),
        ("00050100aabbccdd" + "00060100aabbccdd", "11.2.2.2"),  # the second one
        ("00010100", "11.2.2.3"),  # a CDB of 16 bytes has no extension
        ("00f60100" + "00" * 248, "11.2.2.3"),  # a CDB of 261 bytes
        ("0004020000010000", "11.2.2.4"),
        ("000602000001000000000000", "11.2.2.4"),
        ("000502", "11.2.1.5"),  # TotalAHSLength counts words
    ],
)
def test_malformed_segments_are_format_errors(wire: str, section: str) -> None:
    with pytest.raises(FormatError) as caught:
        decode_ahs(bytes.fromhex(wire))
    assert caught.value.section == section


@given(st.binary(max_size=255).map(lambda data: data[: len(data) // 4 * 4]))
def test_whatever_comes_decodes_or_is_a_format_error(wire: bytes) -> None:
    try:
        decoded = decode_ahs(wire)
    except FormatError:
        return
    assert decode_ahs(encode_ahs(decoded)) == decoded


def test_no_bytes_are_no_segments() -> None:
    assert decode_ahs(b"") == ()
    assert encode_ahs([]) == b""


def test_more_than_total_ahs_length_can_say_is_refused() -> None:
    assert len(encode_ahs([UnknownAHS(3, 0, bytes(1016))])) == 1020
    with pytest.raises(LocalProtocolError, match="1024 bytes of AHS"):
        encode_ahs([UnknownAHS(3, 0, bytes(1017))])


@pytest.mark.parametrize(
    "segment",
    [
        ExtendedCDB(b""),
        ExtendedCDB(bytes(245)),
        BidirectionalReadLength(-1),
        BidirectionalReadLength(1 << 32),
        UnknownAHS(64, 0, b""),
        UnknownAHS(3, 256, b""),
        UnknownAHS(3, 0, bytes(65535)),
    ],
    ids=lambda segment: repr(segment)[:40],
)
def test_a_segment_that_cannot_be_sent_is_refused(segment: AHS) -> None:
    with pytest.raises(LocalProtocolError):
        encode_ahs([segment])
