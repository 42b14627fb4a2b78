import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.scsi.transport_id import (
    TransportID,
    TruncatedTransportID,
    encode_transport_id,
    parse_transport_ids,
)

NAME = "iqn.1993-08.org.debian:01:7cc8838d1c0"
PORT = f"{NAME},i,0x00023d000001"


def test_a_port_is_named_with_its_isid():
    data = encode_transport_id(PORT)
    assert (data[:4].hex(), data[4:].rstrip(b"\0").decode()) == ("45000038", PORT)
    assert (len(data) % 4, data[-1]) == (0, 0)


def test_a_short_name_is_padded_to_24_bytes():
    assert len(encode_transport_id("a,i,0x000000000001")) == 24


@given(st.lists(st.from_regex(r"\Aiqn\.[a-z0-9.:-]{1,200},i,0x[0-9a-f]{12}\Z"), max_size=4))
def test_round_trip(ports):
    found = parse_transport_ids(b"".join(map(encode_transport_id, ports)))
    assert [one.initiator_port for one in found] == ports
    assert [one.initiator_name for one in found] == [port.partition(",")[0] for port in ports]


def test_a_name_without_an_isid_stands_for_the_whole_initiator():
    data = encode_transport_id(NAME)
    assert (data[0], parse_transport_ids(data)) == (0x05, [TransportID(NAME, None)])


def test_a_name_is_read_in_lower_case():
    shouted = PORT.upper().replace("0X", "0x").replace("I,", "i,")
    assert parse_transport_ids(encode_transport_id(shouted)) == [TransportID(NAME, PORT)]


@pytest.mark.parametrize(
    "data",
    [
        b"\x05" + encode_transport_id(PORT)[1:],  # the form of a name, with an ISID
        b"\x45" + encode_transport_id(NAME)[1:],  # the form of a port, without
        b"\x46" + encode_transport_id(PORT)[1:],  # SAS
        b"\x85" + encode_transport_id(PORT)[1:],  # a form there is not
        encode_transport_id(PORT + "00"),
        bytes.fromhex("45000010") + b"a,i,0x000000000\0",
        encode_transport_id(PORT)[:-1] + b"x",
        bytes.fromhex("45000015") + b"a,i,0x000000000001\0\0\0",
        bytes.fromhex("05000014") + b"x" * 20,  # no NUL
    ],
)
def test_what_names_no_initiator_is_refused(data):
    with pytest.raises(ValueError, match=r"TransportID|expected") as caught:
        parse_transport_ids(data)
    assert caught.type is ValueError


@pytest.mark.parametrize("data", [encode_transport_id(PORT)[:-4], encode_transport_id(PORT) + b"\x45\0"])
def test_a_list_that_ends_inside_a_transport_id_is_told_apart(data):
    with pytest.raises(TruncatedTransportID):
        parse_transport_ids(data)


@given(st.binary(max_size=100))
def test_any_bytes_are_initiators_or_a_value_error(data):
    with contextlib.suppress(ValueError):
        assert all("," not in one.initiator_name for one in parse_transport_ids(data))
