"""UDP in memory, as asyncio's datagram transports have it."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from iscsim.net.network import Address, Buffer

if TYPE_CHECKING:
    from iscsim.net.memory import MemoryNetwork

__all__ = ["MemoryDatagramTransport"]

_LONGEST = 65507
"""What one IPv4 packet holds."""


class MemoryDatagramTransport(asyncio.DatagramTransport):
    """A UDP port of ``host`` at ``address``; with a ``remote`` one it talks to nobody else."""

    def __init__(self, network: MemoryNetwork, host: str, address: Address, remote: Address | None) -> None:
        super().__init__({"sockname": address, "peername": remote, "socket": None})
        self.host = host
        self.address = address
        self._network = network
        self._remote = remote
        self._closing = False

    def begin(self, factory: Callable[[], asyncio.DatagramProtocol]) -> None:
        """Make the protocol and tell it."""
        self._protocol: Any = factory()
        self._protocol.connection_made(self)

    def get_protocol(self) -> Any:
        """The protocol on it."""
        return self._protocol

    def sendto(self, data: Buffer, addr: Any = None) -> None:
        """Send a datagram. Raises OSError when it is too long for one, ValueError for whom it is not for."""
        if len(data) > _LONGEST:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        if self._remote is not None and addr not in (None, self._remote):
            raise ValueError(f"this port sends to {self._remote} only")
        to = addr or self._remote
        if to is None:
            raise ValueError("nobody to send it to")
        if not self._closing:
            self._network.send_datagram(self, bytes(data), (to[0], to[1]))

    def receive(self, data: bytes, source: Address) -> None:
        """A datagram has come."""
        if not self._closing and self._remote in (None, source):
            self._protocol.datagram_received(data, source)

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self._closing

    def close(self) -> None:
        """Give the port back."""
        if not self._closing:
            self._closing = True
            self._network.close_datagram(self)
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    abort = close
