"""A TCP conversation as it would have been seen on the wire.

iscsim sits above TCP and never sees a segment, so the segments are made up, honestly: a handshake,
sequence and acknowledgment numbers that follow the bytes, checksums that are right, an
acknowledgment for what was received, and the FIN or RST that ended it. What is not known (losses,
real segment sizes, the delay of an acknowledgment) is not invented. How a frame is built, and why not
by scapy, is told in :mod:`iscsim.capture.frames`; a segment costs some five microseconds and, for each KiB
of payload, 0.6 for its checksum and 0.3 to write it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from iscsim.capture.frames import (
    ACK,
    ETHERNET,
    FIN,
    PSH,
    RST,
    SYN,
    SYN_OPTIONS,
    WINDOW_SCALE,
    Address,
    SegmentBuilder,
)
from iscsim.capture.pcapng import PcapngWriter
from iscsim.pdu.digest import Buffer

ISCSI_PORT: Final = 3260
EPHEMERAL_PORTS: Final = range(32768, 65536)
"""Where kernels take a port from when a program asks for any (Linux: net.ipv4.ip_local_port_range)."""
_SEQUENCE_MASK: Final = 0xFFFFFFFF
# A longer piece is data; one too short for the header of a PDU, behind data, ends it (padding, digest).
_MAX_HEADER_PIECE_LENGTH: Final = 1024
_MIN_HEADER_LENGTH: Final = 48
# Far below the advertised window of 8 MiB, so no reader takes the flight for a full window.
_ACKNOWLEDGE_AFTER_LENGTH: Final = 1 << 20


def shown_server(server: Address, portal_port: int | None) -> Address:
    """The portal as a capture shows it: an ephemeral port becomes ``portal_port``, unless that is None."""
    if portal_port is not None and server[1] in EPHEMERAL_PORTS:
        return server[0], portal_port
    return server


@dataclass(slots=True)
class _End:
    """One end's half of the conversation."""

    builder: SegmentBuilder
    sequence_number: int  # of its next byte
    acknowledged: int  # the last acknowledgment number it sent
    finished: bool = False


class TCPConversation:
    """Writes one TCP connection to a capture.

    ``client`` and ``server`` are IP address and port, real or emulated. A server port that the kernel
    chose is shown as ``portal_port``, so that Wireshark knows the protocol without being told; None
    shows the real one. ``max_segment_length`` is at most what one IP packet holds, the default. ``number``
    tells apart conversations between the same two ports: initial sequence numbers depend on it.
    ``now`` is in seconds of the clock that the writer's ``epoch_offset_s`` belongs to.

    Every method raises OSError when the file does not take the packets, and ValueError when the
    conversation cannot go on like that (data from an end that has sent its FIN).
    """

    def __init__(
        self,
        writer: PcapngWriter,
        client: Address,
        server: Address,
        *,
        interface: str = "iscsim0",
        portal_port: int | None = ISCSI_PORT,
        max_segment_length: int | None = None,
        number: int = 0,
    ) -> None:
        self.client, self.server = client[:2], shown_server(server[:2], portal_port)
        self._writer = writer
        self._interface = writer.interface(interface)
        first, second = self._initial_number("client", number), self._initial_number("server", number)
        self._client = _End(SegmentBuilder(self.client, self.server), first, acknowledged=second)
        self._server = _End(SegmentBuilder(self.server, self.client), second, acknowledged=first)
        limit = self._client.builder.max_segment_length
        self._max_segment_length = min(max_segment_length or limit, limit)
        self._max_cut_length = max_segment_length or self._client.builder.max_cut_length

    def _initial_number(self, end: str, number: int) -> int:
        """Initial sequence number: looks random, is the same in every run."""
        return zlib.crc32(f"{end} {self.client} {self.server} {number}".encode())

    def _ends(self, from_client: bool) -> tuple[_End, _End]:
        return (self._client, self._server) if from_client else (self._server, self._client)

    def open(self, now: float) -> None:
        """SYN, SYN/ACK, ACK."""
        self.attempt(now)
        self.accept(now)

    def attempt(self, now: float, comment: str | None = None) -> None:
        """A SYN, which nobody has answered so far."""
        self._send(True, SYN, now, options=self._syn_options(), comment=comment, delivered=False)

    def accept(self, now: float) -> None:
        """The server answers the SYN, and the client acknowledges."""
        self._client.sequence_number = self._client.sequence_number + 1 & _SEQUENCE_MASK
        self._send(False, SYN | ACK, now, options=self._syn_options())
        self._send(True, ACK, now)

    def refuse(self, now: float) -> None:
        """The server answers the SYN with a reset."""
        acknowledgment = self._client.sequence_number + 1 & _SEQUENCE_MASK
        headers = self._server.builder.headers(0, acknowledgment, RST | ACK, b"")
        self._writer.packet(self._interface, now, (headers,))

    def syn(self) -> bytes:
        """The IP packet of the SYN, which an ICMP error quotes."""
        headers = self._client.builder.headers(self._client.sequence_number, 0, SYN, b"", self._syn_options())
        return headers[ETHERNET.sizeof() :]

    def _syn_options(self) -> bytes:
        return bytes(
            SYN_OPTIONS.build(
                {"maximum_segment_size": self._max_segment_length, "window_scale": WINDOW_SCALE}
            )
        )

    def data(
        self,
        from_client: bool,
        payload: Buffer,
        now: float,
        *,
        comment: str | None = None,
        delivered: bool = True,
    ) -> None:
        """Segments that carry ``payload``; ``comment`` is attached to the first of them.

        What is not ``delivered`` will have the same sequence number when it comes again. Without a
        payload the comment is on a bare acknowledgement.
        """
        self._check_open(from_client)
        view = memoryview(payload)
        if comment is not None and not len(view):
            self._send(from_client, ACK, now, comment=comment)
        for start in range(0, len(view), self._max_segment_length):
            part = view[start : start + self._max_segment_length]
            last = start + len(part) == len(view)
            self._send(
                from_client,
                ACK | PSH if last else ACK,
                now,
                part,
                comment=None if start else comment,
                offset=0 if delivered else start,
                delivered=delivered,
            )
            self._acknowledge_now_and_then(from_client, now)

    def _check_open(self, from_client: bool) -> None:
        end, _ = self._ends(from_client)
        if end.finished:
            raise ValueError(f"the {'client' if from_client else 'server'} sent its FIN, and now data")

    def _acknowledge_now_and_then(self, from_client: bool, now: float) -> None:
        end, peer = self._ends(from_client)
        if end.sequence_number - peer.acknowledged & _SEQUENCE_MASK >= _ACKNOWLEDGE_AFTER_LENGTH:
            self._send(not from_client, ACK, now)

    def headers(self, from_client: bool, pieces: Sequence[Buffer], now: float) -> None:
        """Segments of which the capture has the headers of the PDUs only, not their long data segments.

        Each piece is a header, data or what is behind them. A segment begins with every PDU that follows
        data, so readers that cannot look into what was left out find the next header all the same.
        """
        self._check_open(from_client)
        kept: list[Buffer] = []
        left_out = 0
        for piece in pieces:
            length = len(piece)
            if length > _MAX_HEADER_PIECE_LENGTH or (left_out and length < _MIN_HEADER_LENGTH):
                left_out += length
                continue
            if left_out:
                self._cut_segments(from_client, b"".join(kept), left_out, now)
                kept, left_out = [], 0
            kept.append(piece)
        self._cut_segments(from_client, b"".join(kept), left_out, now)

    def _cut_segments(self, from_client: bool, payload: bytes, left_out: int, now: float) -> None:
        if not left_out or len(payload) > self._max_segment_length:
            self.data(from_client, payload, now)
            payload = b""
        while left_out:
            here = min(left_out, self._max_cut_length - len(payload))
            left_out -= here
            self._send(from_client, ACK if left_out else ACK | PSH, now, payload, left_out=here)
            payload = b""
            self._acknowledge_now_and_then(from_client, now)

    def copy(
        self, from_client: bool, payload: Buffer, now: float, *, behind: int, comment: str | None = None
    ) -> None:
        """Segments that the peer has already, once more; ``payload`` began ``behind`` bytes ago."""
        view = memoryview(payload)
        for start in range(0, len(view), self._max_segment_length):
            self._send(
                from_client,
                ACK | PSH,
                now,
                view[start : start + self._max_segment_length],
                comment=None if start else comment,
                offset=start - behind,
                delivered=False,
            )

    def fin(
        self, from_client: bool, now: float, *, comment: str | None = None, delivered: bool = True
    ) -> None:
        """One end says that it has no more to send, and the other acknowledges."""
        end, _ = self._ends(from_client)
        if not end.finished:
            end.finished = delivered
            self._send(from_client, FIN | ACK, now, comment=comment, delivered=delivered)
            if delivered:
                self._send(not from_client, ACK, now)

    def rst(self, from_client: bool, now: float, *, comment: str | None = None) -> None:
        """One end aborts the connection: nothing follows."""
        self._send(from_client, RST | ACK, now, comment=comment)
        self._client.finished = self._server.finished = True

    def _send(
        self,
        from_client: bool,
        flags: int,
        now: float,
        payload: Buffer = b"",
        *,
        options: bytes = b"",
        comment: str | None = None,
        offset: int = 0,
        delivered: bool = True,
        left_out: int = 0,
    ) -> None:
        end, peer = self._ends(from_client)
        acknowledgment = peer.sequence_number if flags & ACK else 0
        number = end.sequence_number + offset & _SEQUENCE_MASK
        headers = end.builder.headers(number, acknowledgment, flags, payload, options, left_out)
        self._writer.packet(self._interface, now, (headers, payload), comment=comment, left_out=left_out)
        if not delivered:
            return
        # RFC 9293: SYN and FIN each take one number of the sequence space.
        length = len(payload) + left_out + (1 if flags & (SYN | FIN) else 0)
        end.sequence_number = end.sequence_number + length & _SEQUENCE_MASK
        end.acknowledged = acknowledgment
