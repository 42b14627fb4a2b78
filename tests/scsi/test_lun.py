import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.errors import SCSIError
from iscsim.scsi.lun import (
    InvalidLUN,
    decode_lun,
    encode_lun,
    encode_lun_list,
    format_lun,
    linux_lun,
    lun_encodings,
    lun_of_linux,
    parse_lun_list,
)

# Facts 6.14 and A3 row 24: bytes, number.
VECTORS = [
    ("0001000000000000", 1),
    ("00c0000000000000", 192),
    ("00c5000000000000", 197),
    ("4001000000000000", 1),
    ("4005000000000000", 5),
    ("40c5000000000000", 197),
    ("4100000000000000", 256),
    ("0100000000000000", 256),  # LIO writes 256 this way
    ("d200400000000000", 16384),
    ("d2ffffff00000000", 0xFFFFFF),
    ("e200000040000000", 16384),
]
REFUSED = [
    "c101000000000000",  # the REPORT LUNS well-known unit has no number
    "8001000000000000",  # logical unit addressing
    "0001000100000000",  # a second level
    "4005000000000001",
    "d200400000000001",
    "f200000000000000",
    "00",
    "",
]


@pytest.mark.parametrize("lun, number", VECTORS)
def test_decode_lun_is_the_same_for_every_spelling(lun, number):
    assert decode_lun(bytes.fromhex(lun)) == number


@pytest.mark.parametrize("lun", REFUSED)
def test_decode_lun_refuses(lun):
    with pytest.raises(InvalidLUN):
        decode_lun(bytes.fromhex(lun))


@pytest.mark.parametrize(
    "number, lun",
    [
        (0, "0000000000000000"),
        (255, "00ff000000000000"),
        (256, "4100000000000000"),
        (16383, "7fff000000000000"),
        (16384, "d200400000000000"),
    ],
)
def test_encode_lun_takes_the_shortest_method(number, lun):
    assert encode_lun(number).hex() == lun


def test_encode_lun_by_a_given_method():
    assert encode_lun(197, "flat").hex() == "40c5000000000000"


@pytest.mark.parametrize(
    "number, method", [(256, "peripheral"), (16384, "flat"), (1 << 24, None), (-1, None)]
)
def test_encode_lun_refuses_what_does_not_fit(number, method):
    with pytest.raises(InvalidLUN, match="does not fit"):
        encode_lun(number, method)


def test_invalid_lun_is_a_scsi_error_and_a_value_error():
    assert issubclass(InvalidLUN, SCSIError)
    assert issubclass(InvalidLUN, ValueError)


@given(st.integers(0, (1 << 24) - 1))
def test_every_encoding_decodes_to_the_number(number):
    assert {decode_lun(lun) for lun in lun_encodings(number)} == {number}
    assert encode_lun(number) in lun_encodings(number)


@given(st.binary(max_size=12))
def test_decode_lun_survives_anything(lun):
    try:
        assert 0 <= decode_lun(lun) < 1 << 40
    except InvalidLUN:
        assert format_lun(lun) == f"LUN {lun.hex()}"


def test_format_lun_shows_the_number():
    assert format_lun(bytes.fromhex("4005000000000000")) == "LUN 5"


@given(st.lists(st.binary(min_size=8, max_size=8), max_size=20))
def test_lun_list_round_trip(luns):
    assert parse_lun_list(encode_lun_list(luns)) == (luns, 8 + 8 * len(luns))


def test_parse_lun_list_reads_the_targets_of_the_captures(recorded):
    lists = {row.peer: parse_lun_list(row.data)[0] for row in recorded("a0")}
    lun_197 = bytes.fromhex("00c5000000000000")
    assert lists == {"tgt": [bytes(8), lun_197], "LIO": [lun_197]}


def test_parse_lun_list_cut_short_says_how_much_to_ask_for():
    data = encode_lun_list([encode_lun(number) for number in range(10)])
    luns, needed = parse_lun_list(data[:30])
    assert (len(luns), needed) == (2, 88)


def test_parse_lun_list_refuses_a_stump():
    with pytest.raises(ValueError, match="7 bytes"):
        parse_lun_list(bytes(7))


@pytest.mark.parametrize(
    "lun, number",
    [
        ("00c5000000000000", 197),
        ("40c5000000000000", 16581),  # flat addressing: 16384 more
        ("4100000000000000", 16640),
        ("c101000000000000", 49409),  # the REPORT LUNS well-known unit
        ("d200400000000000", 0x4000D200),
        ("0001000200030004", 0x0004000300020001),
    ],
)
def test_linux_shows_16_bit_words_the_first_one_lowest(lun, number):
    assert linux_lun(bytes.fromhex(lun)) == number
    assert lun_of_linux(number).hex() == lun


@given(st.binary(min_size=8, max_size=8))
def test_linux_loses_nothing_of_a_lun(lun):
    assert lun_of_linux(linux_lun(lun)) == lun


def test_what_is_no_lun_is_refused_by_linux_numbers_too():
    with pytest.raises(InvalidLUN, match="8 bytes"):
        linux_lun(bytes(4))
    with pytest.raises(InvalidLUN, match="does not fit"):
        lun_of_linux(1 << 64)
