"""The seam between roles and transports (design, chapter 3), and what captures want to know of both kinds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

Buffer = bytes | bytearray | memoryview
Address = tuple[str, int]
Factory = Callable[[], asyncio.BaseProtocol]


class Listener(Protocol):
    """Something that accepts connections until it is closed."""

    @property
    def address(self) -> Address:
        """Where it listens, with the real port."""

    def close(self) -> None:
        """Stop accepting; connections there are go on."""


class Network(Protocol):
    """Where connections are made: asyncio transports with the protocols of ``factory`` on them."""

    async def listen(self, host: str, port: int, factory: Factory) -> Listener:
        """Accept connections to ``host:port``; port 0 picks a free one. Raises OSError."""

    async def connect(self, host: str, port: int, factory: Factory) -> asyncio.BaseProtocol:
        """Connect to ``host:port``; returns the protocol. Raises OSError."""

    async def datagram(
        self,
        factory: Callable[[], asyncio.DatagramProtocol],
        *,
        local_addr: Address | None = None,
        remote_addr: Address | None = None,
    ) -> asyncio.DatagramTransport:
        """A UDP port, at ``local_addr`` or any, that hears ``remote_addr`` only if given. Raises OSError."""


class ConnectionRecord(Protocol):
    """What a capture wants to know of one connection; ``now`` is the loop's clock, in seconds."""

    def opened(self, now: float) -> None:
        """The connection is established."""

    def from_client(self, data: Buffer | Sequence[Buffer], now: float, comment: str | None = None) -> None:
        """Bytes the initiator sent, as one or several pieces; ``comment`` is shown with them."""

    def from_server(self, data: Buffer | Sequence[Buffer], now: float, comment: str | None = None) -> None:
        """Bytes the target sent, as one or several pieces; ``comment`` is shown with them."""

    def takes_whole(self, length: int, now: float) -> bool:
        """Whether the next ``length`` bytes of the target can be told whole, or their headers only."""

    def headers_from_server(self, pieces: Sequence[Buffer], now: float) -> None:
        """Pieces the target sent, each a header or data; long data need not be recorded."""

    def closed(self, by_client: bool, now: float) -> None:
        """One end has closed."""

    def reset(self, by_client: bool, now: float) -> None:
        """One end has reset the connection."""


class WireRecord(Protocol):
    """What a network in memory tells of one TCP connection: each segment, lost ones too.

    A ``comment`` is shown with the frame. What was not ``delivered`` comes ``again``.
    """

    def attempted(self, now: float, comment: str | None = None) -> None:
        """The client sent a SYN."""

    def accepted(self, now: float) -> None:
        """The server answered it, and the client acknowledged."""

    def refused(self, now: float) -> None:
        """The server answered it with a reset."""

    def unreachable(self, now: float, code: int) -> None:
        """A router answered it with ICMP type 3 and ``code`` (RFC 792)."""

    def sent(
        self,
        by_client: bool,
        data: bytes,
        now: float,
        comment: str | None = None,
        *,
        again: bool = False,
        delivered: bool = True,
    ) -> None:
        """One end sent a segment."""

    def copied(
        self, by_client: bool, data: bytes, now: float, comment: str | None = None, *, behind: int
    ) -> None:
        """What one end sent, and the other has, was on the wire once more; it began ``behind`` bytes ago."""

    def finished(
        self, by_client: bool, now: float, comment: str | None = None, *, delivered: bool = True
    ) -> None:
        """One end has no more to send."""

    def reset(self, by_client: bool, now: float, comment: str | None = None) -> None:
        """One end has reset the connection."""


class WireRecorder(Protocol):
    """A capture of a network in memory (:class:`iscsim.capture.WireRecorder`)."""

    def connection(self, client: Address, server: Address, *, interface: str) -> WireRecord:
        """The record of the connection, or of the attempt, between these two."""

    def datagram(
        self,
        source: Address,
        destination: Address,
        data: bytes,
        now: float,
        *,
        interface: str,
        comment: str | None = None,
    ) -> None:
        """A UDP datagram was sent."""


class Recorder(Protocol):
    """A capture: makes one record for each connection (:class:`iscsim.capture.Recorder`)."""

    def connection(self, client: Address, server: Address) -> ConnectionRecord:
        """The record of the connection between these two."""
