"""UDP datagrams and ICMP errors as frames of a capture; TCP is in `iscsim.capture.frames`.

There are few of them, so they go straight through Construct.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Final

from construct import Int8ub, Int16ub, Padding, Struct

from iscsim.capture.frames import (
    ETHER_TYPE_IPV4,
    ETHER_TYPE_IPV6,
    ETHERNET,
    IPV4,
    IPV6,
    Address,
    checksum,
    ethernet_address,
    ones_complement_residue,
    parse_ip,
)
from iscsim.errors import ConfigError

__all__ = ["icmp_unreachable", "udp_datagram"]

IP = IPv4Address | IPv6Address

UDP = Struct("source_port" / Int16ub, "destination_port" / Int16ub, "length" / Int16ub, "checksum" / Int16ub)
"""RFC 768."""
ICMP_ERROR = Struct("type" / Int8ub, "code" / Int8ub, "checksum" / Int16ub, Padding(4))
"""RFC 792 and RFC 4443 section 3.1: an error quotes the packet it is about."""

_PROTOCOL_ICMP: Final = 1
_PROTOCOL_UDP: Final = 17
_PROTOCOL_ICMPV6: Final = 58
_UNREACHABLE: Final = 3
_UNREACHABLE_V6: Final = 1
_CODES_V6: Final = {0: 0, 1: 3, 13: 1}
"""What ICMPv6 calls the codes for net, host and administratively prohibited (RFC 4443 section 3.1)."""
_TIME_TO_LIVE: Final = 64
_QUOTED_LENGTH: Final = 548
"""RFC 1812 section 4.3.2.3: no more than 576 bytes, with the headers."""


def udp_datagram(source: Address, destination: Address, data: bytes) -> bytes:
    """The frame of a UDP datagram. Raises ConfigError for addresses that do not belong together."""
    source_ip, destination_ip = parse_ip(source[0]), parse_ip(destination[0])
    fields = {
        "source_port": source[1],
        "destination_port": destination[1],
        "length": UDP.sizeof() + len(data),
    }
    draft = UDP.build({**fields, "checksum": 0}) + data
    found = _checksum_with_addresses(source_ip, destination_ip, _PROTOCOL_UDP, draft)
    packet = UDP.build({**fields, "checksum": found or 0xFFFF}) + data  # 0 would say that there is none
    return _frame(source_ip, destination_ip, _PROTOCOL_UDP, packet)


def icmp_unreachable(to: Address, about: bytes, code: int) -> bytes:
    """The frame in which the router says that the IP packet ``about`` cannot be delivered.

    ``code`` is that of ICMP (RFC 792, RFC 1812). The router is taken to have the first address of the /24
    or /64 that ``to`` is in; if that is ``to``, the second.
    """
    destination = parse_ip(to[0])
    source = _router_of(destination)
    quoted = about[:_QUOTED_LENGTH]
    if isinstance(destination, IPv6Address):
        fields = {"type": _UNREACHABLE_V6, "code": _CODES_V6.get(code, 0), "checksum": 0}
        draft = ICMP_ERROR.build(fields) + quoted
        fields["checksum"] = _checksum_with_addresses(source, destination, _PROTOCOL_ICMPV6, draft)
        return _frame(source, destination, _PROTOCOL_ICMPV6, ICMP_ERROR.build(fields) + quoted)
    fields = {"type": _UNREACHABLE, "code": code, "checksum": 0}
    fields["checksum"] = checksum(ones_complement_residue(ICMP_ERROR.build(fields) + quoted))
    return _frame(source, destination, _PROTOCOL_ICMP, ICMP_ERROR.build(fields) + quoted)


def _router_of(address: IP) -> IP:
    prefix = 24 if isinstance(address, IPv4Address) else 64
    network = ip_network(f"{address}/{prefix}", strict=False)
    first = network.network_address + 1
    return first if first != address else network.network_address + 2


def _checksum_with_addresses(source: IP, destination: IP, protocol: int, packet: bytes) -> int:
    pseudo_header = ones_complement_residue(source.packed + destination.packed)
    return checksum(pseudo_header + protocol + len(packet) + ones_complement_residue(packet))


def _frame(source: IP, destination: IP, protocol: int, packet: bytes) -> bytes:
    if source.version != destination.version:
        raise ConfigError(f"no packet from {source} to {destination}: IPv4 and IPv6 do not mix")
    is_ipv4 = source.version == 4
    header = (_ipv4_header if is_ipv4 else _ipv6_header)(source, destination, protocol, len(packet))
    ethernet = ETHERNET.build(
        {
            "destination": ethernet_address(destination),
            "source": ethernet_address(source),
            "ether_type": ETHER_TYPE_IPV4 if is_ipv4 else ETHER_TYPE_IPV6,
        }
    )
    return bytes(ethernet + header + packet)


def _ipv4_header(source: IP, destination: IP, protocol: int, length: int) -> bytes:
    fields = {
        "version_and_header_length": 0x45,
        "type_of_service": 0,
        "total_length": IPV4.sizeof() + length,
        "identification": 0,
        "flags_and_fragment_offset": 0x4000,
        "time_to_live": _TIME_TO_LIVE,
        "protocol": protocol,
        "header_checksum": 0,
        "source": source.packed,
        "destination": destination.packed,
    }
    fields["header_checksum"] = checksum(ones_complement_residue(IPV4.build(fields)))
    return bytes(IPV4.build(fields))


def _ipv6_header(source: IP, destination: IP, protocol: int, length: int) -> bytes:
    fields = {
        "version_class_and_flow": 6 << 28,
        "payload_length": length,
        "next_header": protocol,
        "hop_limit": _TIME_TO_LIVE,
        "source": source.packed,
        "destination": destination.packed,
    }
    return bytes(IPV6.build(fields))
