"""UDP: the same on the machine's own network and in memory."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Any

import pytest
from net.worlds import Body, World, a_while, play, play_in_memory, play_on_tcp, until

from iscsim.net.conditions import CLEAR, Flow, Passage
from iscsim.net.memory import MemoryNetwork

Play = Callable[[Body], None]


@pytest.fixture(name="both", params=[play_on_tcp, play_in_memory], ids=["udp", "memory"])
def play_in_both(request: pytest.FixtureRequest) -> Play:
    found: Play = request.param
    return found


class Log(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: list[tuple[bytes, Any]] = []
        self.errors: list[Any] = []
        self.lost: Any = ""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.append((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.errors.append(type(exc).__name__)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc


async def ports(world: World) -> tuple[Log, Log]:
    """A server at any port, and a client that talks to it only."""
    server, client = Log(), Log()
    found = await world.server.datagram(lambda: server, local_addr=(world.address, 0))
    at = found.get_extra_info("sockname")
    await world.client.datagram(lambda: client, remote_addr=at)
    assert client.transport.get_extra_info("peername") == at
    return server, client


def test_datagrams_go_there_and_back(both: Play) -> None:
    async def body(world: World) -> None:
        server, client = await ports(world)
        client.transport.sendto(b"question")
        await until(lambda: server.received)
        data, peer = server.received[0]
        assert (data, peer) == (b"question", client.transport.get_extra_info("sockname"))
        server.transport.sendto(b"answer", peer)
        await until(lambda: client.received)
        assert client.received == [(b"answer", server.transport.get_extra_info("sockname"))]
        for each in (client, server):
            each.transport.close()
            await until(lambda each=each: each.lost is None)
            assert each.transport.is_closing()

    both(body)


def test_datagrams_stay_whole_and_in_order(both: Play) -> None:
    async def body(world: World) -> None:
        server, client = await ports(world)
        sent = [bytes([number]) * (1 + number * 40) for number in range(50)]
        for data in sent:
            client.transport.sendto(data)
        await until(lambda: len(server.received) == len(sent))
        assert [data for data, _ in server.received] == sent
        client.transport.close()
        server.transport.close()
        await a_while()

    both(body)


def test_datagram_that_is_too_long_is_told_to_the_protocol(both: Play) -> None:
    async def body(world: World) -> None:
        server, client = await ports(world)
        client.transport.sendto(bytes(65508))
        assert client.errors == ["OSError"]
        client.transport.close()
        server.transport.close()
        await a_while()

    both(body)


def test_nobody_there_is_an_error_of_who_talks_to_that_one_only(both: Play) -> None:
    async def body(world: World) -> None:
        server, client = await ports(world)
        server.transport.close()
        await until(lambda: server.lost is None)
        client.transport.sendto(b"anybody?")
        await until(lambda: client.errors)
        assert client.errors == ["ConnectionRefusedError"]
        client.transport.close()
        await a_while()

    both(body)


def test_port_that_is_taken_cannot_be_opened(both: Play) -> None:
    async def body(world: World) -> None:
        server, client = await ports(world)
        with pytest.raises(OSError) as caught:
            await world.server.datagram(Log, local_addr=server.transport.get_extra_info("sockname"))
        assert caught.value.errno == errno.EADDRINUSE
        client.transport.close()
        server.transport.close()
        await a_while()

    both(body)


def test_who_talks_to_one_only_cannot_send_to_another(both: Play) -> None:
    async def body(world: World) -> None:
        server, client = await ports(world)
        with pytest.raises(ValueError):
            client.transport.sendto(b"data", (world.address, 1))
        client.transport.close()
        server.transport.close()
        await a_while()

    both(body)


def test_wildcard_hears_every_address_of_its_host() -> None:
    async def main() -> None:
        network, server, client = MemoryNetwork(), Log(), Log()
        array = network.add_host("array", "10.0.0.1", "192.168.0.1")
        compute = network.add_host("compute", "10.0.0.2", "192.168.0.2")
        await array.datagram(lambda: server, local_addr=("0.0.0.0", 3205))
        transport = await compute.datagram(lambda: client)
        port = transport.get_extra_info("sockname")[1]
        for address in ("10.0.0.1", "192.168.0.1"):
            transport.sendto(b"to " + address.encode(), (address, 3205))
        await until(lambda: len(server.received) == 2)
        assert [peer for _, peer in server.received] == [("10.0.0.2", port), ("192.168.0.2", port)]
        server.transport.sendto(b"nobody has it", ("172.16.0.1", 1))
        with pytest.raises(ValueError, match="nobody to send it to"):
            server.transport.sendto(b"data")
        transport.close()
        await compute.datagram(Log, local_addr=("10.0.0.2", port))  # it is free again

    play(main)


def test_conditions_lose_delay_and_repeat_datagrams() -> None:
    class Way(type(CLEAR)):  # type: ignore[misc]
        def datagram(self, flow: Flow, data: bytes, now: float) -> list[Passage]:
            return {
                b"lost": [],
                b"lost with a comment": [Passage(data, lost=True, comment="fault")],
                b"late": [Passage(data, delay_s=1)],
                b"twice": [Passage(data), Passage(data, delay_s=2)],
            }[data]

    async def main() -> list[bytes]:
        network, server = MemoryNetwork(), Log()
        network.conditions = Way()
        host = network.add_host("array", "10.0.0.1")
        await host.datagram(lambda: server, local_addr=("10.0.0.1", 3205))
        transport = await host.datagram(Log)
        for data in (b"lost", b"lost with a comment", b"late", b"twice"):
            transport.sendto(data, ("10.0.0.1", 3205))
        await asyncio.sleep(10)
        return [data for data, _ in server.received]

    assert play(main) == [b"twice", b"late", b"twice"]


def test_card_that_is_down_lets_nothing_through() -> None:
    async def main() -> None:
        network, server = MemoryNetwork(), Log()
        array = network.add_host("array", "10.0.0.1")
        compute = network.add_host("compute", "10.0.0.2")
        await array.datagram(lambda: server, local_addr=("10.0.0.1", 3205))
        transport = await compute.datagram(Log, remote_addr=("10.0.0.1", 3205))
        network.topology.cards("array")["eth0"].up = False
        transport.sendto(b"lost")
        await asyncio.sleep(1)
        assert server.received == []

    play(main)


def test_port_may_be_closed_when_its_loop_is_gone() -> None:
    async def main() -> Any:
        return await MemoryNetwork().add_host("array", "10.0.0.1").datagram(Log)

    play(main).close()
