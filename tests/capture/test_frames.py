from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.capture.frames import (
    ACK,
    PSH,
    SYN,
    SYN_OPTIONS,
    Segment,
    SegmentBuilder,
    checksum,
    ethernet_address,
    ones_complement_residue,
    parse_ip,
    parse_segment,
)
from iscsim.capture.lazy_scapy import scapy_module
from iscsim.errors import ConfigError

V4 = ("10.245.47.10", 43160), ("10.245.47.95", 3260)
V6 = ("fd00::10", 43160), ("fd00::95", 3260)


def scapy_frame(ends: Any, identification: int, payload: bytes, **tcp: Any) -> bytes:
    """The same frame, every byte of it made by scapy."""
    inet, inet6, l2 = (scapy_module(f"layers.{name}") for name in ("inet", "inet6", "l2"))
    (source, source_port), (destination, destination_port) = ends
    if ":" in source:
        ip = inet6.IPv6(src=source, dst=destination)
    else:
        ip = inet.IP(src=source, dst=destination, flags="DF", id=identification)
    ethernet = l2.Ether(
        src=ethernet_address(parse_ip(source)).hex(":"), dst=ethernet_address(parse_ip(destination)).hex(":")
    )
    return bytes(
        ethernet / ip / inet.TCP(sport=source_port, dport=destination_port, window=65535, **tcp) / payload
    )


@pytest.mark.parametrize("ends", [V4, V6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("payload", [b"", b"a", b"ab", bytes(range(256)) * 5 + b"odd"], ids=len)
def test_data_segment_is_byte_for_byte_scapys(ends: Any, payload: bytes) -> None:
    headers = SegmentBuilder(*ends).headers(0xFFFFFFF0, 0x12345678, ACK | PSH, payload)
    assert headers + payload == scapy_frame(ends, 1, payload, seq=0xFFFFFFF0, ack=0x12345678, flags="PA")


@pytest.mark.parametrize("ends", [V4, V6], ids=["IPv4", "IPv6"])
def test_syn_is_byte_for_byte_scapys(ends: Any) -> None:
    options = SYN_OPTIONS.build({"maximum_segment_size": 1460, "window_scale": 7})
    # scapy ends its options with a padding byte or two of its own; ours fill their words
    expected = scapy_frame(
        ends, 1, b"", seq=5, flags="S", options=[("MSS", 1460), ("NOP", None), ("WScale", 7)]
    )
    assert SegmentBuilder(*ends).headers(5, 0, SYN, b"", options) == expected


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 63))
def test_any_segment_is_byte_for_byte_scapys(
    payload: bytes, sequence: int, acknowledgment: int, flags: int
) -> None:
    headers = SegmentBuilder(*V4).headers(sequence, acknowledgment, flags, payload)
    assert headers + payload == scapy_frame(V4, 1, payload, seq=sequence, ack=acknowledgment, flags=flags)


def test_longest_segment_fills_a_frame_of_65535_bytes() -> None:
    for ends in (V4, V6):
        builder = SegmentBuilder(*ends)
        payload = b"\xff" * builder.max_segment_length
        frame = builder.headers(1, 1, ACK, payload) + payload
        assert len(frame) == 65535
        assert frame == scapy_frame(ends, 1, payload, seq=1, ack=1, flags="A")


@given(st.binary(min_size=1, max_size=300))
def test_checksum_is_the_sum_of_words(data: bytes) -> None:
    words = struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    total = sum(words) or 0xFFFF  # a header is never all zero
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    assert checksum(ones_complement_residue(data) or 0xFFFF) == ~total & 0xFFFF


def test_identification_counts_on() -> None:
    builder = SegmentBuilder(*V4)
    frames = [builder.headers(0, 0, ACK, b"") for _ in range(3)]
    assert [frame[18:20] for frame in frames] == [b"\x00\x01", b"\x00\x02", b"\x00\x03"]


def test_made_up_mac_is_locally_administered_and_the_same_every_time() -> None:
    for host in ("10.245.47.95", "fd00::95"):
        mac = ethernet_address(parse_ip(host))
        assert mac[0] == 0x02
        assert mac == ethernet_address(parse_ip(host))
    assert ethernet_address(parse_ip("fd00::95")) != ethernet_address(parse_ip("fd00::96"))


@pytest.mark.parametrize(
    "host, shown",
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::1", "::1"),
    ],
)
def test_address_of_a_socket_is_understood(host: str, shown: str) -> None:
    assert str(parse_ip(host)) == shown


@pytest.mark.parametrize("host", ["portal-a", "", "10.0.0.256"])
def test_name_is_no_address(host: str) -> None:
    with pytest.raises(ConfigError, match="needs IP addresses"):
        parse_ip(host)


def test_ipv4_and_ipv6_do_not_mix() -> None:
    with pytest.raises(ConfigError, match="do not mix"):
        SegmentBuilder(V4[0], V6[1])


# What may lie in front of the IP header: link type and those bytes.
LINK_LAYERS = [
    (1, bytes(12) + b"\x08\x00"),
    (1, bytes(12) + b"\x81\x00\x00\x05\x08\x00"),
    (1, bytes(12) + b"\x88\xa8\x00\x05\x81\x00\x00\x06\x08\x00"),
    (101, b""),
    (113, bytes(14) + b"\x08\x00"),
    (228, b""),
    (276, b"\x08\x00" + bytes(18)),
]
BARE_IP = SegmentBuilder(*V4).headers(7, 8, ACK | PSH, b"payload")[14:] + b"payload"


@pytest.mark.parametrize("link_type, link_header", LINK_LAYERS)
def test_segment_is_found_behind_every_link_layer(link_type: int, link_header: bytes) -> None:
    assert parse_segment(link_type, link_header + BARE_IP) == Segment(*V4, 7, ACK | PSH, b"payload")


def test_ipv6_segment_is_found() -> None:
    frame = SegmentBuilder(*V6).headers(7, 8, ACK, b"x") + b"x"
    assert parse_segment(1, frame) == parse_segment(229, frame[14:]) == Segment(*V6, 7, ACK, b"x")


def test_ethernet_padding_is_not_payload() -> None:
    frame = SegmentBuilder(*V4).headers(7, 8, ACK, b"x") + b"x" + bytes(5)
    segment = parse_segment(1, frame)
    assert segment is not None
    assert segment.payload == b"x"


def test_segment_above_64_kib_goes_to_the_end_of_the_frame() -> None:
    frame = BARE_IP[:2] + bytes(2) + BARE_IP[4:]
    segment = parse_segment(101, frame)
    assert segment is not None
    assert segment.payload == b"payload"


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        BARE_IP[:19],
        BARE_IP[:39],
        b"\x44" + BARE_IP[1:],  # header of 16 bytes
        b"\x55" + BARE_IP[1:],  # version 5
        BARE_IP[:6] + b"\x20\x00" + BARE_IP[8:],  # more fragments
        BARE_IP[:6] + b"\x00\x01" + BARE_IP[8:],  # a later fragment
        BARE_IP[:9] + b"\x11" + BARE_IP[10:],  # UDP
        BARE_IP[:32] + b"\x40" + BARE_IP[33:],  # TCP header of 16 bytes
        b"\x60" + BARE_IP[1:],  # IPv6 by name only
    ],
)
def test_frame_without_a_whole_tcp_header_is_passed_over(frame: bytes) -> None:
    assert parse_segment(101, frame) is None


@pytest.mark.parametrize("link_type", [1, 113, 276, 147])
@given(frame=st.binary(max_size=120))
def test_garbage_never_raises(link_type: int, frame: bytes) -> None:
    parse_segment(link_type, frame)


def test_scapy_and_we_read_the_same(tmp_path: Any) -> None:
    frame = scapy_frame(V4, 1, b"hello", seq=9, ack=3, flags="PA", options=[("Timestamp", (1, 2))])
    assert parse_segment(1, frame) == Segment(*V4, 9, ACK | PSH, b"hello")
