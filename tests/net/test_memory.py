"""A network in memory: what TCP makes of lost segments, cards that go down, and addresses that move."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest
from net.worlds import KeptOpen, Log, play, until

from iscsim.errors import ConfigError
from iscsim.net.conditions import CLEAR, End, Flow, Passage, Reply, Verdict
from iscsim.net.memory import MemoryNetwork

ARRAY, COMPUTE = "10.245.47.95", "10.245.47.10"


class Way:
    """`Conditions` as a test sets them."""

    def __init__(self) -> None:
        self.verdict = Verdict.PASS
        self.stall_s = 0.0
        self.syns: list[float] = []
        self.segments: list[tuple[float, bytes]] = []
        self.lost = False
        self.passages: list[Passage] | None = None

    def connecting(self, flow: Flow, attempt: int, now: float) -> Reply:
        self.syns.append(now)
        return Reply(self.verdict)

    def accepting(self, flow: Flow, now: float) -> float:
        return self.stall_s

    def segment(self, flow: Flow, data: bytes, now: float) -> list[Passage] | None:
        self.segments.append((now, data))
        if self.lost:
            return None
        return [Passage(data)] if self.passages is None else self.passages

    def datagram(self, flow: Flow, data: bytes, now: float) -> list[Passage]:
        return [Passage(data)]


class World:
    def __init__(self, **options: Any) -> None:
        self.network = MemoryNetwork(latency_s=0.001, **options)
        self.way = self.network.conditions = Way()
        self.array = self.network.add_host("array", ARRAY, "10.245.47.96")
        self.compute = self.network.add_host("compute", COMPUTE)

    async def pair(self, kind: type[Log] = Log) -> tuple[Any, Any]:
        """The protocols of a connection, client first."""
        accepted: list[Any] = []

        def factory() -> Log:
            accepted.append(kind())
            return accepted[-1]

        listener = await self.array.listen(ARRAY, 0, factory)
        client: Any = await self.compute.connect(*listener.address, kind)
        await until(lambda: accepted, within_s=100)
        listener.close()
        self.way.segments.clear()
        return client, accepted[0]

    def card(self, host: str) -> Any:
        return self.network.topology.cards(host)["eth0"]


def now() -> float:
    return asyncio.get_running_loop().time()


# -- connecting --------------------------------------------------------------------------------------


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


# -- segments ----------------------------------------------------------------------------------------


def test_lost_segment_is_sent_again_ever_more_rarely_and_given_up_after_a_quarter_of_an_hour() -> None:
    async def main() -> None:
        world = World()
        client, server = await world.pair()
        begin, world.way.lost = now(), True
        client.transport.write(b"lost")
        await until(lambda: client.lost, within_s=2000)
        assert client.lost == "TimeoutError"
        gaps = [round(at - begin, 1) for at, _ in world.way.segments]
        assert gaps[:6] == [0, 0.2, 0.6, 1.4, 3, 6.2]
        assert (len(gaps), server.lost) == (16, "")  # the other end knows nothing

    play(main)


def test_order_is_kept_over_losses_and_delays() -> None:
    async def main() -> None:
        world = World()
        client, server = await world.pair()
        world.way.lost = True
        client.transport.write(b"one ")
        client.transport.write(b"two ")
        await asyncio.sleep(0.1)
        world.way.lost, world.way.passages = False, [Passage(b"late ", delay_s=5)]
        await asyncio.sleep(0.2)
        world.way.passages = None
        client.transport.write(b"three")
        await until(lambda: server.data.endswith(b"three"))
        assert server.data == b"late late three"

    play(main)


def test_close_while_the_card_is_down_ends_at_once_and_the_fin_comes_later() -> None:
    async def main() -> None:
        world = World()
        client, server = await world.pair()
        world.card("compute").up = False
        client.transport.write(b"goodbye")
        client.transport.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert client.lost is None
        await asyncio.sleep(60)
        assert server.events == ["made"]
        world.card("compute").up = True
        await until(lambda: server.lost is None, within_s=200)
        assert (server.data, ("eof", 7) in server.events) == (b"goodbye", True)

    play(main)


def test_reset_that_is_lost_leaves_the_other_end_half_open_until_it_sends() -> None:
    async def main() -> None:
        world = World()
        client, server = await world.pair()
        world.way.lost = True
        client.transport.reset()
        await asyncio.sleep(600)
        assert (client.lost, server.events) == (None, ["made"])
        world.way.lost = False
        server.transport.write(b"are you there?")
        await until(lambda: server.lost)
        assert server.lost == "ConnectionResetError"

    play(main)


def test_address_that_moved_is_answered_by_its_new_owner_with_a_reset() -> None:
    async def main() -> None:
        world = World()
        client, server = await world.pair()
        other = world.network.add_host("array-2", "10.245.47.99")
        world.network.topology.move(ARRAY, other.name, "eth0")
        client.transport.write(b"who are you?")
        await until(lambda: client.lost)
        assert (client.lost, server.events) == ("ConnectionResetError", ["made"])
        server.transport.write(b"from where?")  # the address is not its host's any more
        await until(lambda: server.lost, within_s=2000)
        assert server.lost == "TimeoutError"

    play(main)


def test_connection_may_be_reset_from_outside_behind_some_bytes() -> None:
    async def main() -> None:
        world = World()
        client, server = await world.pair()
        world.way.passages = [Passage(b"first half", end=End.RST), Passage(b"never")]
        client.transport.write(b"first half second half")
        world.way.passages = None
        client.transport.write(b"more")
        await until(lambda: server.lost and client.lost)
        assert (server.data, server.lost, client.lost) == (b"first half", *["ConnectionResetError"] * 2)

    play(main)


def test_data_behind_a_fin_from_outside_is_refused() -> None:
    async def main() -> None:
        world = World()
        client, server = await world.pair(KeptOpen)
        world.way.passages = [Passage(b"all", end=End.FIN)]
        client.transport.write(b"all")
        world.way.passages = None
        await until(lambda: ("eof", 3) in server.events)
        client.transport.write(b"more")
        await until(lambda: client.lost)
        assert (server.data, client.lost) == (b"all", "ConnectionResetError")

    play(main)


def test_bandwidth_and_latency_say_when_bytes_arrive() -> None:
    async def main() -> None:
        world = World(bandwidth=1000.0, segment_size=100)
        client, server = await world.pair()
        begin = now()
        client.transport.write(bytes(1000))
        await until(lambda: len(server.data) == 1000)
        assert now() - begin == pytest.approx(1.001, abs=0.002)

    play(main)


def test_writer_gets_no_further_than_the_window_while_the_reader_has_paused() -> None:
    async def main() -> None:
        world = World()
        client, server = await world.pair()
        server.transport.pause_reading()
        client.transport.write(bytes(8 << 20))
        await asyncio.sleep(10)
        on_the_wire = sum(len(data) for _, data in world.way.segments)
        assert on_the_wire == 1 << 20
        server.transport.resume_reading()
        await until(lambda: len(server.data) == 8 << 20)

    play(main)


# -- hosts -------------------------------------------------------------------------------------------


def test_host_has_one_name_and_nobody_elses_addresses() -> None:
    network = MemoryNetwork()
    network.add_host("array", ARRAY)
    for name, addresses in (
        ("array", ()),
        ("other", (ARRAY,)),
        ("other", ("10.0.0.1", "10.0.0.1")),
        ("other", ("a",)),
    ):
        with pytest.raises(ConfigError):
            network.add_host(name, *addresses)
    with pytest.raises(ConfigError, match="not both"):
        network.add_host("other", "10.0.0.1", nics={"eth0": ["10.0.0.2"]})
    assert network.add_host("other", "10.0.0.1").addresses == ["10.0.0.1"]  # nothing was left of the mistakes
    assert network.host("other").name == "other"
    with pytest.raises(ConfigError, match="no host 'nobody'"):
        network.host("nobody")


def test_host_is_found_by_its_address() -> None:
    network = MemoryNetwork()
    with pytest.raises(OSError, match="no hosts"):
        network.host_of(None)
    first = network.add_host("array", ARRAY, "fd00::1")
    assert network.host_of("0.0.0.0") is network.host_of("fd00:0::1") is first
    with pytest.raises(OSError, match="no host has the address"):
        network.host_of("10.0.0.1")


def test_wildcard_listens_on_every_address_and_shares_its_port_with_nobody() -> None:
    async def main() -> None:
        world = World()
        listener = await world.array.listen("0.0.0.0", 3260, Log)
        assert listener.address == ("0.0.0.0", 3260)
        for address in (ARRAY, "10.245.47.96"):
            await world.compute.connect(address, 3260, Log)
            with pytest.raises(OSError, match="listens on"):
                await world.array.listen(address, 3260, Log)
        listener.close()
        one = await world.array.listen(ARRAY, 3260, Log)
        await world.array.listen("10.245.47.96", 3260, Log)
        with pytest.raises(OSError, match="listens on"):
            await world.array.listen("", 3260, Log)
        one.close()
        with pytest.raises(ConnectionRefusedError):
            await world.compute.connect(ARRAY, 3260, Log)

    play(main)


def test_listening_on_somebody_elses_address_is_an_error() -> None:
    async def main() -> None:
        world = World()
        for address in (COMPUTE, "10.9.9.9", "example.org"):
            with pytest.raises(OSError) as caught:
                await world.array.listen(address, 3260, Log)
            assert caught.value.errno == errno.EADDRNOTAVAIL
        with pytest.raises(OSError, match="has no address"):
            await world.compute.open(ARRAY, 3260, Log, local_addr=(ARRAY, 0))

    play(main)


@pytest.mark.parametrize("wrong", [{"latency_s": -1}, {"bandwidth": -1.0}, {"segment_size": 0}])
def test_link_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        MemoryNetwork(**wrong)


def test_nothing_is_in_the_way_by_default() -> None:
    assert MemoryNetwork().conditions is CLEAR
