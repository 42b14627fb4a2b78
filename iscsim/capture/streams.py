"""The two byte streams of every TCP connection in a capture, put together again.

Works on captures of real peers: retransmissions, segments out of order, connections that were under
way before the capture began, packets cut by a snap length. Nothing is guessed: where bytes are missing the
stream stops, and says how many that came later could not be placed.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from iscsim.capture.frames import ACK, FIN, RST, SYN, Address, Segment, parse_segment
from iscsim.capture.pcapng import Packet, read_packets

_SEQUENCE_MASK: Final = 0xFFFFFFFF
_HALF: Final = 1 << 31
_WELL_KNOWN_PORTS: Final = (3260, 860)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes that became readable with one packet; ``timestamp_ns`` is that packet's, since 1970."""

    timestamp_ns: int
    data: bytes


@dataclass(slots=True)
class Direction:
    """What one end sent.

    ``missing`` is true when the capture holds later bytes but not those in between: ``chunks`` end there.
    """

    chunks: list[Chunk] = field(default_factory=list)
    syn_seen: bool = False
    fin_seen: bool = False
    rst_seen: bool = False
    _next: int | None = None  # number of the next byte; counts on beyond 2**32
    _waiting: list[tuple[int, bytes]] = field(default_factory=list)  # a heap, by number of the first byte

    @property
    def data(self) -> bytes:
        """All bytes in order."""
        return b"".join(chunk.data for chunk in self.chunks)

    @property
    def missing(self) -> bool:
        """Whether captured bytes could not be placed for want of those before them."""
        return bool(self._waiting)

    def add(self, segment: Segment) -> bytes:
        """Take in one segment; gives what became readable by it."""
        start = segment.sequence_number
        if segment.flags & SYN:
            self.syn_seen = True
            start = start + 1 & _SEQUENCE_MASK
        self.fin_seen |= bool(segment.flags & FIN)
        self.rst_seen |= bool(segment.flags & RST)
        if self._next is None:
            self._next = start
        if segment.payload:
            heapq.heappush(self._waiting, (_nearest(start, self._next), segment.payload))
        return self._readable()

    def _readable(self) -> bytes:
        assert self._next is not None
        ready = bytearray()
        while self._waiting and self._waiting[0][0] <= self._next:
            start, payload = heapq.heappop(self._waiting)
            fresh = payload[self._next - start :]  # nothing, for a retransmission
            self._next += len(fresh)
            ready += fresh
        return bytes(ready)


def _nearest(sequence_number: int, near: int) -> int:
    """The full number that ``sequence_number`` stands for, modulo 2**32, nearest to ``near``."""
    ahead = sequence_number - near & _SEQUENCE_MASK
    return near + (ahead if ahead < _HALF else ahead - (1 << 32))


@dataclass(slots=True)
class Stream:
    """One TCP connection. ``merged`` holds (sent by the client?, bytes) in the order they became readable."""

    client: Address
    server: Address
    from_client: Direction = field(default_factory=Direction)
    from_server: Direction = field(default_factory=Direction)
    merged: list[tuple[bool, bytes]] = field(default_factory=list)
    merged_chunks: list[tuple[bool, Chunk]] = field(default_factory=list)

    @property
    def missing(self) -> bool:
        """Whether bytes are missing in either direction."""
        return self.from_client.missing or self.from_server.missing

    def add(self, packet: Packet, segment: Segment) -> None:
        """Take in one segment of this connection."""
        is_client = segment.source == self.client
        direction = self.from_client if is_client else self.from_server
        data = direction.add(segment)
        if data:
            chunk = Chunk(packet.timestamp_ns, data)
            direction.chunks.append(chunk)
            self.merged.append((is_client, data))
            self.merged_chunks.append((is_client, chunk))


def tcp_streams(path: str | Path) -> list[Stream]:
    """Every TCP connection of a pcap or pcapng file (gzip-compressed or not), in order of its first segment.

    Raises:
        ConfigError: the file cannot be opened or is no capture.
    """
    return reassemble(read_packets(path))


def reassemble(packets: Iterable[Packet]) -> list[Stream]:
    """Every TCP connection among ``packets``; what is not TCP over IP is passed over."""
    streams: list[Stream] = []
    current: dict[frozenset[Address], Stream] = {}
    for packet in packets:
        segment = parse_segment(packet.link_type, packet.data)
        if segment is None:
            continue
        pair = frozenset((segment.source, segment.destination))
        stream = current.get(pair)
        if stream is None or _is_new_connection(stream, segment):
            stream = current[pair] = _begin(segment)
            streams.append(stream)
        stream.add(packet, segment)
    return streams


def _is_new_connection(stream: Stream, segment: Segment) -> bool:
    """A SYN between the same two ports: a retransmission, or the ports were used again?"""
    if segment.flags & (SYN | ACK) != SYN:
        return False
    ends = (stream.from_client, stream.from_server)
    return bool(stream.merged) or any(end.fin_seen or end.rst_seen for end in ends)


def _begin(segment: Segment) -> Stream:
    """Who is the client: the sender of the SYN, else the one that does not use the well-known port."""
    source, destination = segment.source, segment.destination
    if segment.flags & SYN:
        from_client = not segment.flags & ACK
    elif source[1] in _WELL_KNOWN_PORTS or destination[1] in _WELL_KNOWN_PORTS:
        from_client = destination[1] in _WELL_KNOWN_PORTS
    else:
        from_client = source[1] >= destination[1]
    return Stream(source, destination) if from_client else Stream(destination, source)
