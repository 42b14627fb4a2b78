"""The wire form of text keys (RFC 7143 section 6.1), and the vulnerabilities others had in it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.errors import LocalProtocolError, NegotiationError
from iscsim.pdu.text import (
    MAX_BINARY_LENGTH,
    MAX_TEXT_LENGTH,
    encode_base64,
    encode_hex,
    encode_text,
    parse_binary,
    parse_boolean,
    parse_list,
    parse_number,
    parse_text,
    shown,
)

VECTORS = [
    (b"", []),
    (b"SendTargets=All\0", [("SendTargets", "All")]),
    (b"SendTargets=\0", [("SendTargets", "")]),
    (b"HeaderDigest=CRC32C,None\0InitialR2T=No\0", [("HeaderDigest", "CRC32C,None"), ("InitialR2T", "No")]),
    (b"InitiatorAlias=a=b c\0", [("InitiatorAlias", "a=b c")]),
    ("TargetAlias=Müller's\0".encode(), [("TargetAlias", "Müller's")]),
    (b"X#NodeArchitecture=iscsim/1\0", [("X#NodeArchitecture", "iscsim/1")]),
    (b"iSCSIProtocolLevel=1\0", [("iSCSIProtocolLevel", "1")]),
    (b"X-com.example.bar.foo.do_something=3\0", [("X-com.example.bar.foo.do_something", "3")]),
]  # fmt: skip


@pytest.mark.parametrize("wire, pairs", VECTORS)
def test_text_is_read_and_written_alike(wire, pairs):
    assert parse_text(wire) == pairs
    assert encode_text(pairs) == wire


@pytest.mark.parametrize(
    "wire",
    [
        b"SendTargets=All",  # no NUL at the end
        b"A=b\0C=d",
        b"SendTargets\0",  # no '='
        b"\0",
        b"A=b\0\0",
        b"=b\0",  # no key
        b"a=b\0",  # a standard-label begins with a capital letter
        b"1A=b\0",
        b"A b=c\0",
        b"Caf\xc3\xa9=c\0",
        b"A=\xff\0",  # not UTF-8
        b"A=\xed\xa0\x80\0",  # a surrogate
    ],
)
def test_text_against_the_format_is_an_initiator_error(wire):
    with pytest.raises(NegotiationError) as caught:
        parse_text(wire)
    assert (caught.value.status_class, caught.value.status_detail, caught.value.section) == (2, 0, "6.1")


def test_a_key_has_at_most_63_characters():
    assert parse_text(b"K" * 63 + b"=v\0") == [("K" * 63, "v")]
    for length in (64, 255, 8191):
        with pytest.raises(NegotiationError):
            parse_text(b"K" * length + b"=v\0")


def test_a_simple_value_has_at_most_255_bytes():
    assert parse_text(b"A=" + b"v" * 255 + b"\0") == [("A", "v" * 255)]
    for length in (256, 8191):
        with pytest.raises(NegotiationError):
            parse_text(b"A=" + b"v" * length + b"\0")
    with pytest.raises(NegotiationError):
        parse_text("A={}\0".format("é" * 128).encode())


def test_the_limit_of_a_list_is_the_limit_of_its_elements():
    value = ",".join(["v" * 255] * 3)
    assert parse_text(f"AuthMethod={value}\0".encode()) == [("AuthMethod", value)]
    with pytest.raises(NegotiationError):
        parse_text(f"X#NodeArchitecture={value}\0".encode())


def test_a_chap_value_may_stand_for_1024_bytes():
    assert len(parse_text(f"CHAP_C=0x{'0' * 2048}\0".encode())[0][1]) == 2050
    with pytest.raises(NegotiationError):
        parse_text(f"CHAP_C=0x{'0' * 2049}\0".encode())


def test_2048_pairs_of_lower_case_keys_are_refused_at_the_first():
    with pytest.raises(NegotiationError):
        parse_text(b"a=b\0" * 2048)


def test_a_text_has_at_most_64_kib():
    with pytest.raises(NegotiationError):
        parse_text(bytes(MAX_TEXT_LENGTH + 1))


@pytest.mark.parametrize("pair", [("a", "b"), ("", "b"), ("A", "b\0"), ("A=B", "c" * 256), ("K" * 64, "v")])
def test_what_could_not_be_read_again_is_not_written(pair):
    with pytest.raises(LocalProtocolError):
        encode_text([pair])


@pytest.mark.parametrize(
    "value, number",
    [("0", 0), ("8192", 8192), ("0x0", 0), ("0XfF", 255), ("0x00ff", 255), (str(2**64 - 1), 2**64 - 1)],
)
def test_numbers_are_decimal_or_hexadecimal(value, number):
    assert parse_number(value) == number


@pytest.mark.parametrize(
    "value",
    ["", "0x", "0X", "-1", "+1", " 1", "1 ", "1\n", "01", "00", "1.0", "1e3", "0b1", "1_000", "x1", "0x1g",
     "\u0661", str(2**64), "0x1" + "0" * 16, "9" * 5000, "0x" + "0" * 5000, "Yes"],
)  # fmt: skip
def test_anything_else_is_no_number(value):
    with pytest.raises(NegotiationError):
        parse_number(value)


@pytest.mark.parametrize("value", ["", "yes", "YES", "1", "Yes ", "None"])
def test_a_boolean_is_yes_or_no_in_this_spelling(value):
    with pytest.raises(NegotiationError):
        parse_boolean(value)
    assert parse_boolean("Yes")
    assert not parse_boolean("No")


def test_empty_elements_of_a_list_are_left_out():
    assert parse_list("CRC32C,,None,") == ["CRC32C", "None"]
    assert parse_list("") == []


@given(st.binary(min_size=1, max_size=MAX_BINARY_LENGTH))
def test_binary_values_come_back_from_hex_and_base64(data):
    assert parse_binary(encode_hex(data)) == data
    assert parse_binary(encode_base64(data)) == data


def test_an_odd_number_of_hex_digits_lacks_the_leading_zero():
    assert parse_binary("0x123") == b"\x01\x23"


@pytest.mark.parametrize("length", range(0, 2050, 41))
def test_binary_lengths_are_capped_before_they_are_decoded(length):
    for value in ("0x" + "ab" * length, "0b" + base64.b64encode(bytes(length)).decode()):
        if 1 <= length <= 1024:
            assert len(parse_binary(value)) == length
        else:
            with pytest.raises(NegotiationError):
                parse_binary(value)


@pytest.mark.parametrize(
    "value",
    ["", "0x", "0b", "0xzz", "17", "0bA", "0bAA", "0bAA=", "0bA===", "0bAAAA=", "0b====", "0bAA==AA==",
     "0b AAA", "0bAA-_", "0x 1", "abcd"],
)  # fmt: skip
def test_malformed_binary_values_are_refused(value):
    with pytest.raises(NegotiationError):
        parse_binary(value)


def test_messages_quote_no_more_than_forty_characters():
    assert len(shown("x" * 8191)) < 50


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode() + b"\0"))
def test_any_bytes_are_either_pairs_or_a_negotiation_error(data):
    try:
        pairs = parse_text(data)
    except NegotiationError:
        return
    assert encode_text(pairs) == data


@given(st.text(max_size=80))
def test_any_value_is_either_read_or_a_negotiation_error(value):
    for parse in (parse_number, parse_boolean, parse_binary):
        try:
            parse(value)
        except NegotiationError:
            continue
