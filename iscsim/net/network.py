"""The seam between roles and transports (design, chapter 3): real TCP here, other networks later."""

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


class ConnectionRecord(Protocol):
    """What a capture wants to know of one connection; ``now`` is the loop's clock, in seconds."""

    def opened(self, now: float) -> None:
        """The connection is established."""

    def from_client(self, data: Buffer | Sequence[Buffer], now: float) -> None:
        """Bytes the initiator sent, as one or several pieces."""

    def from_server(self, data: Buffer | Sequence[Buffer], now: float) -> None:
        """Bytes the target sent, as one or several pieces."""

    def closed(self, by_client: bool, now: float) -> None:
        """One end has closed."""

    def reset(self, by_client: bool, now: float) -> None:
        """One end has reset the connection."""


class Recorder(Protocol):
    """A capture: makes one record for each connection (:class:`iscsim.capture.Recorder`)."""

    def connection(self, client: Address, server: Address) -> ConnectionRecord:
        """The record of the connection between these two."""
