"""One TCP segment on the wire: Ethernet, IPv4 or IPv6, and TCP headers, written and read.

Why not scapy here: it builds a packet in about a millisecond, and a capture has to keep up with a
target that answers tens of thousands of commands a second. So the headers are Construct layouts,
packed through ``struct`` (:mod:`iscsim.capture.layout`), and scapy is the second opinion in the tests,
which compare every byte of every kind of segment with what scapy makes of the same fields.

Checksums use that 2**16 is 1 modulo 0xFFFF: the ones' complement sum of all 16-bit words of a buffer
is the buffer, read as one big number, modulo 0xFFFF. That is four times quicker than adding words; adding
pieces of two KiB as numbers, and dividing only their sum, halves it once more.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from construct import Bytes, Const, Int8ub, Int16ub, Int32ub, Padding, Struct

from iscsim.capture.layout import quick
from iscsim.errors import ConfigError
from iscsim.pdu.digest import Buffer

Address = tuple[str, int]
"""IP address and TCP port."""

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10

ETHER_TYPE_IPV4: Final = 0x0800
ETHER_TYPE_IPV6: Final = 0x86DD
PROTOCOL_TCP: Final = 6
WINDOW: Final = 0xFFFF
WINDOW_SCALE: Final = 7

ETHERNET = Struct("destination" / Bytes(6), "source" / Bytes(6), "ether_type" / Int16ub)
IPV4 = Struct(
    "version_and_header_length" / Int8ub,
    "type_of_service" / Int8ub,
    "total_length" / Int16ub,
    "identification" / Int16ub,
    "flags_and_fragment_offset" / Int16ub,
    "time_to_live" / Int8ub,
    "protocol" / Int8ub,
    "header_checksum" / Int16ub,
    "source" / Bytes(4),
    "destination" / Bytes(4),
)
IPV6 = Struct(
    "version_class_and_flow" / Int32ub,
    "payload_length" / Int16ub,
    "next_header" / Int8ub,
    "hop_limit" / Int8ub,
    "source" / Bytes(16),
    "destination" / Bytes(16),
)
TCP = Struct(
    "source_port" / Int16ub,
    "destination_port" / Int16ub,
    "sequence_number" / Int32ub,
    "acknowledgment_number" / Int32ub,
    "data_offset_and_flags" / Int16ub,
    "window" / Int16ub,
    "checksum" / Int16ub,
    "urgent_pointer" / Int16ub,
)
SYN_OPTIONS = Struct(
    "maximum_segment_size_kind" / Const(b"\x02\x04"),
    "maximum_segment_size" / Int16ub,
    "no_operation" / Const(b"\x01"),
    "window_scale_kind" / Const(b"\x03\x03"),
    "window_scale" / Int8ub,
)
LINUX_SLL = Struct(Padding(14), "protocol" / Int16ub)
LINUX_SLL2 = Struct("protocol" / Int16ub, Padding(18))
VLAN_TAG = Struct("tag" / Int16ub, "ether_type" / Int16ub)

_IPV4_SEGMENT = quick(Struct(*ETHERNET.subcons, *IPV4.subcons, *TCP.subcons))
_IPV6_SEGMENT = quick(Struct(*ETHERNET.subcons, *IPV6.subcons, *TCP.subcons))
_ETHERNET, _IPV4, _IPV6, _TCP = quick(ETHERNET), quick(IPV4), quick(IPV6), quick(TCP)
_LINUX_SLL, _LINUX_SLL2, _VLAN_TAG = quick(LINUX_SLL), quick(LINUX_SLL2), quick(VLAN_TAG)
_DONT_FRAGMENT: Final = 0x4000
_FRAGMENT_MASK: Final = 0x3FFF  # "more fragments" and the offset
_TIME_TO_LIVE: Final = 64
# Frames above this are cut by scapy's readers and by tcpdump's old snap length, so none is written.
_MAX_FRAME_LENGTH: Final = 0xFFFF
_MAX_IP_LENGTH: Final = 0xFFFF
_MAX_CUT_LENGTH: Final = 1 << 19
"""What Linux sends at most in one go with BIG TCP."""
_SUMMED_LENGTH: Final = 2048
"""Of 512 bytes to 8 KiB the quickest; a multiple of a word."""


def parse_ip(host: str) -> IPv4Address | IPv6Address:
    """An IP address without its zone; IPv4 that a dual-stack socket shows as IPv6 comes back as IPv4.

    Raises:
        ConfigError: ``host`` is not an IP address.
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        raise ConfigError(f"a capture needs IP addresses, not {host!r}") from None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def ethernet_address(address: IPv4Address | IPv6Address) -> bytes:
    """A made-up, locally administered MAC, the same one for the same IP address in every capture."""
    if isinstance(address, IPv4Address):
        return b"\x02\x00" + address.packed
    return b"\x02\x06" + zlib.crc32(address.packed).to_bytes(4, "big")


def ones_complement_residue(data: Buffer) -> int:
    """Sum of the 16-bit words of ``data`` (an odd byte is padded with zero), not yet reduced."""
    length = len(data)
    if length <= _SUMMED_LENGTH:
        value = int.from_bytes(data, "big")
        return (value << 8 if length % 2 else value) % 0xFFFF
    view, to_number = memoryview(data), int.from_bytes
    # little-endian is quicker, and the sum is the same with its two bytes swapped (RFC 1071)
    value = sum(
        [
            to_number(view[start : start + _SUMMED_LENGTH], "little")
            for start in range(0, length, _SUMMED_LENGTH)
        ]
    )
    residue = value % 0xFFFF
    return residue >> 8 | (residue & 0xFF) << 8


def checksum(total: int) -> int:
    """The Internet checksum of words whose sum (of any size, but not 0) is ``total``."""
    return (0xFFFF - total % 0xFFFF) % 0xFFFF


class SegmentBuilder:
    """Builds the headers of the segments of one direction of a TCP connection.

    Raises:
        ConfigError: an address is no IP address, or one is IPv4 and the other IPv6.
    """

    def __init__(self, source: Address, destination: Address) -> None:
        source_ip, destination_ip = parse_ip(source[0]), parse_ip(destination[0])
        if source_ip.version != destination_ip.version:
            raise ConfigError(f"no TCP between {source[0]} and {destination[0]}: IPv4 and IPv6 do not mix")
        self.is_ipv4 = source_ip.version == 4
        self._source_ip, self._destination_ip = source_ip.packed, destination_ip.packed
        self._source_port, self._destination_port = source[1], destination[1]
        self._ethernet = (
            ethernet_address(destination_ip),
            ethernet_address(source_ip),
            ETHER_TYPE_IPV4 if self.is_ipv4 else ETHER_TYPE_IPV6,
        )
        self._identification = 0
        addresses = ones_complement_residue(self._source_ip + self._destination_ip)
        self._ipv4_sum = addresses + 0x4500 + _DONT_FRAGMENT + (_TIME_TO_LIVE << 8 | PROTOCOL_TCP)
        self._tcp_sum = addresses + PROTOCOL_TCP + self._source_port + self._destination_port + WINDOW

    @property
    def max_segment_length(self) -> int:
        """The most payload that keeps the whole frame within 65535 bytes."""
        ip_header_length = _IPV4.size if self.is_ipv4 else _IPV6.size
        return _MAX_FRAME_LENGTH - _ETHERNET.size - ip_header_length - _TCP.size

    @property
    def max_cut_length(self) -> int:
        """The most payload of a segment that is not captured whole: IPv4 can say "longer than 64 KiB"."""
        return _MAX_CUT_LENGTH if self.is_ipv4 else self.max_segment_length

    def headers(
        self,
        sequence_number: int,
        acknowledgment_number: int,
        flags: int,
        payload: Buffer,
        options: bytes = b"",
        left_out: int = 0,
    ) -> bytes:
        """Everything of one frame up to the payload; ``options`` are whole 32-bit words.

        ``left_out`` bytes follow the payload that the capture has not; the checksum is without them.
        """
        tcp_length = _TCP.size + len(options) + len(payload) + left_out
        offset_and_flags = (_TCP.size + len(options)) // 4 << 12 | flags
        total = self._tcp_sum + tcp_length + sequence_number + acknowledgment_number + offset_and_flags
        if options:
            total += ones_complement_residue(options)
        if payload:
            total += ones_complement_residue(payload)
        segment, ip_header = (
            (_IPV4_SEGMENT, self._ipv4_header) if self.is_ipv4 else (_IPV6_SEGMENT, self._ipv6_header)
        )
        tcp = segment.pack(
            *self._ethernet,
            *ip_header(tcp_length),
            self._source_port,
            self._destination_port,
            sequence_number,
            acknowledgment_number,
            offset_and_flags,
            WINDOW,
            checksum(total),
            0,
        )
        return tcp + options if options else tcp

    def _ipv4_header(self, tcp_length: int) -> tuple[int | bytes, ...]:
        total_length = _IPV4.size + tcp_length
        if total_length > _MAX_IP_LENGTH:
            total_length = 0  # what a kernel writes that sends such long ones ("BIG TCP")
        self._identification = identification = (self._identification + 1) & 0xFFFF
        return (
            0x45,
            0,
            total_length,
            identification,
            _DONT_FRAGMENT,
            _TIME_TO_LIVE,
            PROTOCOL_TCP,
            checksum(self._ipv4_sum + total_length + identification),
            self._source_ip,
            self._destination_ip,
        )

    def _ipv6_header(self, tcp_length: int) -> tuple[int | bytes, ...]:
        return (6 << 28, tcp_length, PROTOCOL_TCP, _TIME_TO_LIVE, self._source_ip, self._destination_ip)


@dataclass(frozen=True, slots=True)
class Segment:
    """One captured TCP segment. ``payload`` is what was captured of it."""

    source: Address
    destination: Address
    sequence_number: int
    flags: int
    payload: bytes


def parse_segment(link_type: int, frame: bytes) -> Segment | None:
    """The TCP segment in a captured frame; ``None`` when it holds none, a fragment, or a broken one."""
    network = _NETWORK_LAYER.get(link_type, _no_network_layer)(frame)
    if network is None:
        return None
    ether_type, offset = network
    parse = _PARSE_IP.get(ether_type)
    return parse(frame, offset) if parse is not None else None


def _no_network_layer(frame: bytes) -> tuple[int, int] | None:
    return None


def _ethernet_network_layer(frame: bytes) -> tuple[int, int] | None:
    if len(frame) < _ETHERNET.size:
        return None
    (_, _, ether_type), offset = _ETHERNET.unpack_from(frame), _ETHERNET.size
    while ether_type in (0x8100, 0x88A8) and len(frame) >= offset + _VLAN_TAG.size:
        (_, ether_type), offset = _VLAN_TAG.unpack_from(frame, offset), offset + _VLAN_TAG.size
    return ether_type, offset


def _linux_sll_network_layer(frame: bytes) -> tuple[int, int] | None:
    return (_LINUX_SLL.unpack_from(frame)[0], _LINUX_SLL.size) if len(frame) >= _LINUX_SLL.size else None


def _linux_sll2_network_layer(frame: bytes) -> tuple[int, int] | None:
    return (_LINUX_SLL2.unpack_from(frame)[0], _LINUX_SLL2.size) if len(frame) >= _LINUX_SLL2.size else None


def _bare_ip_network_layer(frame: bytes) -> tuple[int, int] | None:
    if not frame:
        return None
    return (ETHER_TYPE_IPV6 if frame[0] >> 4 == 6 else ETHER_TYPE_IPV4), 0


# LINKTYPE numbers: https://www.tcpdump.org/linktypes.html
_NETWORK_LAYER: dict[int, Any] = {
    1: _ethernet_network_layer,
    101: _bare_ip_network_layer,
    113: _linux_sll_network_layer,
    228: _bare_ip_network_layer,
    229: _bare_ip_network_layer,
    276: _linux_sll2_network_layer,
}


def _parse_ipv4(frame: bytes, offset: int) -> Segment | None:
    if len(frame) < offset + _IPV4.size:
        return None
    first, _, total_length, _, fragment, _, protocol, _, source, destination = _IPV4.unpack_from(
        frame, offset
    )
    header_length = (first & 0x0F) * 4
    if first >> 4 != 4 or header_length < _IPV4.size or protocol != PROTOCOL_TCP or fragment & _FRAGMENT_MASK:
        return None
    # A segment above 64 KiB, as big TCP makes them, has total length 0: it goes on to the frame's end.
    end = offset + total_length if total_length else len(frame)
    hosts = str(IPv4Address(source)), str(IPv4Address(destination))
    return _parse_tcp(frame[:end], offset + header_length, hosts)


def _parse_ipv6(frame: bytes, offset: int) -> Segment | None:
    if len(frame) < offset + _IPV6.size:
        return None
    first, payload_length, next_header, _, source, destination = _IPV6.unpack_from(frame, offset)
    if first >> 28 != 6 or next_header != PROTOCOL_TCP:
        return None
    start = offset + _IPV6.size
    end = start + payload_length if payload_length else len(frame)
    return _parse_tcp(frame[:end], start, (str(IPv6Address(source)), str(IPv6Address(destination))))


_PARSE_IP: dict[int, Any] = {ETHER_TYPE_IPV4: _parse_ipv4, ETHER_TYPE_IPV6: _parse_ipv6}


def _parse_tcp(frame: bytes, offset: int, hosts: tuple[str, str]) -> Segment | None:
    if len(frame) < offset + _TCP.size:
        return None
    source_port, destination_port, sequence, _, offset_and_flags, _, _, _ = _TCP.unpack_from(frame, offset)
    header_length = (offset_and_flags >> 12) * 4
    if header_length < _TCP.size:
        return None
    return Segment(
        source=(hosts[0], source_port),
        destination=(hosts[1], destination_port),
        sequence_number=sequence,
        flags=offset_and_flags & 0x3F,
        payload=frame[offset + header_length :],
    )
