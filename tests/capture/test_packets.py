"""UDP and ICMP frames; scapy is the second opinion."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.layers.l2 import Ether

from iscsim.capture.frames import SYN, SegmentBuilder
from iscsim.capture.packets import icmp_unreachable, udp_datagram
from iscsim.errors import ConfigError


def as_scapy_would(frame: bytes) -> bytes:
    """The frame with every length and checksum computed by scapy."""
    packet = Ether(frame)
    for layer, fields in (
        (IP, ("len", "chksum")),
        (IPv6, ("plen",)),
        (UDP, ("len", "chksum")),
        (ICMP, ("chksum",)),
        (ICMPv6DestUnreach, ("cksum",)),
    ):
        if layer in packet:
            for field in fields:
                delattr(packet[layer], field)
    return bytes(packet)


@pytest.mark.parametrize("host", ["10.245.47.{}", "fd00::{}"])
@pytest.mark.parametrize("data", [b"", b"odd", b"even"])
def test_udp_datagram_is_as_scapy_makes_it(host: str, data: bytes) -> None:
    frame = udp_datagram((host.format(1), 40000), (host.format(2), 3205), data)
    assert frame == as_scapy_would(frame)
    packet = Ether(frame)[UDP]
    assert (packet.sport, packet.dport, bytes(packet.payload)[: len(data)]) == (40000, 3205, data)


@pytest.mark.parametrize("code", [0, 1, 13])
def test_icmp_error_quotes_the_packet_it_is_about(code: int) -> None:
    source, destination = ("10.245.47.10", 40000), ("10.245.47.95", 3260)
    about = SegmentBuilder(source, destination).headers(7, 0, SYN, b"")[14:]
    frame = icmp_unreachable(source, about, code)
    packet = Ether(frame)
    assert (packet[IP].src, packet[IP].dst) == ("10.245.47.1", "10.245.47.10")
    assert (packet[ICMP].type, packet[ICMP].code) == (3, code)
    assert bytes(packet[ICMP].payload) == about
    assert frame == as_scapy_would(frame)


@pytest.mark.parametrize("code, code_of_v6", [(0, 0), (1, 3), (13, 1)])
def test_icmpv6_has_codes_of_its_own(code: int, code_of_v6: int) -> None:
    source, destination = ("fd00::1", 40000), ("fd00::2", 3260)
    about = SegmentBuilder(source, destination).headers(7, 0, SYN, b"")[14:]
    frame = icmp_unreachable(source, about, code)
    packet = Ether(frame)
    assert (packet[IPv6].src, packet[IPv6].dst) == ("fd00::2", "fd00::1")  # ::1 asked, so the router is ::2
    assert packet[ICMPv6DestUnreach].code == code_of_v6
    assert frame[54 + 8 :] == about
    assert frame == as_scapy_would(frame)


def test_families_do_not_mix() -> None:
    with pytest.raises(ConfigError, match="do not mix"):
        udp_datagram(("10.0.0.1", 1), ("fd00::1", 2), b"")
