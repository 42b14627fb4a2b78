"""How connections over a memory network come about, or do not."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest
from net.storage import ARRAY, World, now
from net.worlds import Log, play, until

from iscsim.net.conditions import Verdict
from iscsim.net.memory import MemoryNetwork


def test_syn_is_sent_seven_times_and_given_up_after_127_seconds() -> None:
    async def main() -> None:
        world = World()
        world.way.verdict = Verdict.LOST
        with pytest.raises(TimeoutError) as caught:
            await world.compute.connect(ARRAY, 3260, Log)
        assert (caught.value.errno, now()) == (errno.ETIMEDOUT, 127)
        assert world.way.syns == [0, 1, 3, 7, 15, 31, 63]
        assert not world.network.connecting

    play(main)


@pytest.mark.parametrize(
    "verdict, number",
    [
        (Verdict.REFUSED, errno.ECONNREFUSED),
        (Verdict.HOST_UNREACHABLE, errno.EHOSTUNREACH),
        (Verdict.NETWORK_UNREACHABLE, errno.ENETUNREACH),
        (Verdict.PROHIBITED, errno.EHOSTUNREACH),
    ],
)
def test_answer_to_a_syn_is_the_error_linux_gives(verdict: Verdict, number: int) -> None:
    async def main() -> None:
        world = World()
        world.way.verdict = verdict
        with pytest.raises(OSError) as caught:
            await world.compute.connect(ARRAY, 3260, Log)
        assert (caught.value.errno, now()) == (number, 0.002)

    play(main)


def test_address_nobody_has_is_unreachable_when_arp_gives_up() -> None:
    async def main() -> None:
        with pytest.raises(OSError) as caught:
            await World().compute.connect("10.245.47.200", 3260, Log)
        assert (caught.value.errno, now()) == (errno.EHOSTUNREACH, 3)

    play(main)


def test_port_nobody_listens_on_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(ConnectionRefusedError):
            await World().compute.connect(ARRAY, 3260, Log)

    play(main)


def test_listener_that_goes_while_the_syn_is_under_way_refuses() -> None:
    async def main() -> None:
        world = World()
        listener = await world.array.listen(ARRAY, 3260, Log)
        asyncio.get_running_loop().call_soon(listener.close)
        with pytest.raises(ConnectionRefusedError):
            await world.compute.connect(ARRAY, 3260, Log)

    play(main)


def test_card_that_comes_up_in_time_lets_the_connect_through() -> None:
    async def main() -> None:
        world = World()
        await world.array.listen(ARRAY, 3260, Log)
        world.card("array").up = False
        asyncio.get_running_loop().call_later(2, setattr, world.card("array"), "up", True)
        await world.compute.connect(ARRAY, 3260, Log)
        assert now() == 3.002  # the third SYN

    play(main)


def test_host_without_a_card_that_is_up_has_no_network() -> None:
    async def main() -> None:
        world = World()
        world.card("compute").up = False
        with pytest.raises(OSError) as caught:
            await world.compute.connect(ARRAY, 3260, Log)
        assert caught.value.errno == errno.ENETUNREACH

    play(main)


def test_connect_that_is_cancelled_leaves_nothing_behind() -> None:
    async def main() -> None:
        world = World()
        world.way.verdict = Verdict.LOST
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(world.compute.open(ARRAY, 3260, Log, local_addr=("", 4711)), 5)
        assert not world.network.connecting
        assert world.way.syns == [0, 1, 3]
        await asyncio.sleep(200)
        assert world.way.syns == [0, 1, 3]

    play(main)


def test_ephemeral_ports_go_round_and_none_is_given_twice() -> None:
    async def main() -> None:
        world = World()
        await world.array.listen(ARRAY, 3260, Log)
        clients: list[Any] = [await world.compute.connect(ARRAY, 3260, Log) for _ in range(3)]
        clients[0].transport.close()
        await asyncio.sleep(1)
        clients.append(await world.compute.connect(ARRAY, 3260, Log))
        ports = [
            client.transport.get_extra_info("sockname")[1] if client.lost == "" else 0 for client in clients
        ]
        assert ports == [0, 49153, 49154, 49155]

    play(main)


def test_connects_that_fail_use_up_no_ports() -> None:
    async def main() -> None:
        world = World()
        for _ in range(16384 + 1):
            with pytest.raises(ConnectionRefusedError):
                await world.compute.connect(ARRAY, 3260, Log)

    play(main)


def test_connection_comes_from_the_address_nearest_to_where_it_goes() -> None:
    async def main() -> None:
        network = MemoryNetwork()
        host = network.add_host("compute", "192.168.1.5", "10.245.47.10", "fd00::1")
        network.add_host("array", "10.245.47.95", "192.168.1.95", "fd00::95")
        for there, here in (
            ("10.245.47.95", "10.245.47.10"),
            ("192.168.1.95", "192.168.1.5"),
            ("fd00::95", "fd00::1"),
        ):
            assert network.route(host, there) == here
        only_v6 = network.add_host("other", "fd00::2")
        with pytest.raises(OSError, match="no network card that is up for"):
            network.route(only_v6, "10.245.47.95")

    play(main)


def test_server_may_take_its_time_to_accept() -> None:
    async def main() -> None:
        world = World()
        world.way.stall_s = 30
        client, server = await world.pair()
        assert now() >= 30
        client.transport.write(b"early")
        await until(lambda: server.data == b"early")

    play(main)


def test_connection_nobody_has_accepted_when_the_listener_closes_is_reset() -> None:
    async def main() -> None:
        world = World()
        world.way.stall_s = 30
        listener = await world.array.listen(ARRAY, 3260, Log)
        client: Any = await world.compute.connect(ARRAY, 3260, Log)
        listener.close()
        await until(lambda: client.lost, within_s=100)
        assert client.lost == "ConnectionResetError"

    play(main)


def test_server_that_cannot_make_a_protocol_hangs_up() -> None:
    async def main() -> None:
        world, reported = World(), []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))

        def fail() -> Log:
            raise ValueError("no protocol")

        await world.array.listen(ARRAY, 3260, fail)
        client: Any = await world.compute.connect(ARRAY, 3260, Log)
        await until(lambda: client.lost is None)
        assert str(reported[0]["exception"]) == "no protocol"

    play(main)


def test_client_that_cannot_make_a_protocol_gets_its_error() -> None:
    async def main() -> None:
        world = World()

        def fail() -> Log:
            raise ValueError("no protocol")

        await world.array.listen(ARRAY, 3260, Log)
        with pytest.raises(ValueError, match="no protocol"):
            await world.compute.connect(ARRAY, 3260, fail)

    play(main)
