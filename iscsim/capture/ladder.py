"""Ladder diagrams: the PDUs of one or more connections, one a line, in the order of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from iscsim.capture.describe import describe
from iscsim.capture.frames import Address
from iscsim.capture.streams import Stream, tcp_streams
from iscsim.errors import ProtocolError
from iscsim.pdu import MAX_DATA_SEGMENT_LENGTH, PDU, LoginRequest, LoginResponse, Stage
from iscsim.session.framer import Framer
from iscsim.session.names import format_portal

_NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderEvent:
    """One step of a ladder: a PDU, or a note in words (``"the stream cannot be followed: ..."``).

    ``timestamp_ns`` counts from any zero that all events of one ladder share.
    """

    timestamp_ns: int
    client: Address
    server: Address
    from_client: bool
    content: PDU | str


def ladder(events: Iterable[LadderEvent], *, zero_ns: int | None = None) -> str:
    """The diagram: a line for each connection, numbered, then a line for each event in the order given.

    Times are seconds since ``zero_ns``, or the first event; ``->`` is from the client to the server.
    """
    events = list(events)
    if not events:
        return "no iSCSI PDUs\n"
    first_ns = min(event.timestamp_ns for event in events) if zero_ns is None else zero_ns
    numbers: dict[tuple[Address, Address], int] = {}
    for event in events:
        numbers.setdefault((event.client, event.server), len(numbers) + 1)
    heads = [
        f"[{number}] {format_portal(*ends[0])} -> {format_portal(*ends[1])}"
        for ends, number in numbers.items()
    ]
    rungs = [_rung(event, numbers[event.client, event.server], first_ns) for event in events]
    return "\n".join((*heads, "", *rungs, ""))


def pcap_ladder(path: str | Path) -> str:
    """The ladder of every iSCSI connection in a pcap or pcapng file.

    Raises:
        ConfigError: the file cannot be opened or is no capture.
    """
    return ladder(pcap_events(path))


def pcap_events(path: str | Path) -> list[LadderEvent]:
    """Every PDU of every TCP connection in a pcap or pcapng file, in the order of time.

    Raises:
        ConfigError: the file cannot be opened or is no capture.
    """
    events = [event for stream in tcp_streams(path) for event in stream_events(stream)]
    return sorted(events, key=lambda event: event.timestamp_ns)


def stream_events(stream: Stream) -> Iterator[LadderEvent]:
    """The PDUs of one TCP connection. Digests are followed from the login on.

    A direction that cannot be decoded (no iSCSI, or its login is missing) ends with a note that says why.
    """
    decoder = _ConnectionDecoder()
    for from_client, chunk in stream.merged_chunks:
        for content in decoder.receive(from_client, chunk.data):
            yield LadderEvent(
                timestamp_ns=chunk.timestamp_ns,
                client=stream.client,
                server=stream.server,
                from_client=from_client,
                content=content,
            )


class _ConnectionDecoder:
    """Both directions of one connection: each has a framer, and the login tells both of digests."""

    def __init__(self) -> None:
        self._framers = {True: Framer(), False: Framer()}
        for framer in self._framers.values():
            framer.max_data_segment_length = MAX_DATA_SEGMENT_LENGTH
        self._dead: set[bool] = set()
        # The last value seen is the answer to the offer before it.
        self._digests = {b"HeaderDigest": b"", b"DataDigest": b""}

    def receive(self, from_client: bool, data: bytes) -> Iterator[PDU | str]:
        if from_client in self._dead:
            return
        try:
            for pdu in self._framers[from_client].receive(data):
                yield pdu
                self._follow_login(pdu)
        except ProtocolError as error:
            self._dead.add(from_client)
            yield f"the stream cannot be followed any further: {error}"

    def _follow_login(self, pdu: PDU) -> None:
        if not isinstance(pdu, LoginRequest | LoginResponse):
            return
        for pair in bytes(pdu.data).split(b"\0"):
            key, _, value = pair.partition(b"=")
            if key in self._digests:
                self._digests[key] = value
        if isinstance(pdu, LoginResponse) and _ends_login(pdu):
            # RFC 7143 section 13.1: digests hold from the first PDU of the full feature phase.
            for framer in self._framers.values():
                framer.header_digest = self._digests[b"HeaderDigest"] == b"CRC32C"
                framer.data_digest = self._digests[b"DataDigest"] == b"CRC32C"


def _ends_login(pdu: LoginResponse) -> bool:
    return pdu.transit and pdu.next_stage == Stage.FULL_FEATURE and pdu.status_class == 0


def _rung(event: LadderEvent, number: int, first_ns: int) -> str:
    seconds = (event.timestamp_ns - first_ns) / _NANOSECONDS
    text = describe(event.content) if isinstance(event.content, PDU) else f"({event.content})"
    return f"{seconds:11.6f} [{number}] {'->' if event.from_client else '<-'} {text}"
