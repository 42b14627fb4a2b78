"""The machine's own network."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import pytest

from iscsim.net.tcp import TCPNetwork


class Echo(asyncio.Protocol):
    """Sends back what comes, once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        self.transport.close()


class Asker(asyncio.Protocol):
    """Sends one line and keeps what comes back."""

    def __init__(self) -> None:
        self.received = b""
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(b"hello")

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(error)


async def test_port_0_becomes_a_real_one() -> None:
    listener = await TCPNetwork().listen("127.0.0.1", 0, Echo)
    host, port = listener.address
    listener.close()
    assert (host, port > 0) == ("127.0.0.1", True)


async def test_what_is_sent_arrives_and_comes_back() -> None:
    network = TCPNetwork()
    listener = await network.listen("127.0.0.1", 0, Echo)
    asker = await network.connect(*listener.address, Asker)
    assert isinstance(asker, Asker)
    assert (await asker.lost, asker.received) == (None, b"hello")
    listener.close()


async def test_closed_listener_accepts_nobody() -> None:
    network = TCPNetwork()
    listener = await network.listen("127.0.0.1", 0, Echo)
    listener.close()
    with pytest.raises(OSError):
        await network.connect(*listener.address, Asker)


async def test_port_in_use_is_an_os_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError):
        await TCPNetwork().listen("127.0.0.1", taken.getsockname()[1], Echo)
