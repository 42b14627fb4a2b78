"""TCP in memory: losses, cards that go down, addresses that move; and bytes come out as they went in."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from net.storage import ARRAY, World, now
from net.worlds import KeptOpen, Log, play, until

from iscsim.capture import WireRecorder
from iscsim.net.conditions import End, Flow, Passage, Reply, Verdict
from iscsim.net.memory import MemoryNetwork


@dataclass
class Link:
    """What hypothesis makes of a link. Of each list the next entry is used, in turn."""

    latency_s: float
    bandwidth: float
    segment_size: int
    losses: list[bool]
    delays_s: list[float]
    cuts: list[int]
    pauses: list[bool]
    count: int = field(default=0)
    recorder: WireRecorder | None = field(default=None)

    def connecting(self, flow: Flow, attempt: int, now: float) -> Reply:
        return Reply(Verdict.PASS)

    def accepting(self, flow: Flow, now: float) -> float:
        return self.delays_s[0]

    def segment(self, flow: Flow, data: bytes, now: float) -> list[Passage] | None:
        self.count += 1
        if self.losses[self.count % len(self.losses)]:
            return None
        cut = self.cuts[self.count % len(self.cuts)]
        delay_s = self.delays_s[self.count % len(self.delays_s)]
        return [Passage(data[:cut], delay_s), Passage(data[cut:])]

    def datagram(self, flow: Flow, data: bytes, now: float) -> list[Passage]:
        return [Passage(data)]


LINKS = st.builds(
    Link,
    latency_s=st.sampled_from([0.0, 0.0001, 0.3]),
    bandwidth=st.sampled_from([0.0, 1000.0, 1e9]),
    segment_size=st.integers(1, 70000),
    losses=st.lists(st.booleans(), min_size=2, max_size=5).filter(lambda found: not all(found)),
    delays_s=st.lists(st.floats(0, 5), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 100), min_size=1, max_size=4),
    pauses=st.lists(st.booleans(), min_size=1, max_size=6),
    count=st.just(0),
    recorder=st.none(),
)
WRITES = st.lists(st.binary(max_size=300), max_size=12)


class Moody(Log):
    """Pauses as the link says, for a while."""

    link: Link

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.link.pauses[len(self.data) % len(self.link.pauses)]:
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(1, self.transport.resume_reading)


async def transfer(link: Link, there: list[bytes], back: list[bytes]) -> list[Any]:
    network = MemoryNetwork(
        latency_s=link.latency_s, bandwidth=link.bandwidth, segment_size=link.segment_size
    )
    network.conditions = link
    network.recorder = link.recorder
    array, compute = network.add_host("array", "10.0.0.1"), network.add_host("compute", "10.0.0.2")

    class Server(Moody):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            servers.append(self)
            for data in back:
                transport.write(data)

    Moody.link = link
    servers: list[Server] = []
    await array.listen("10.0.0.1", 3260, Server)
    client: Any = await compute.connect("10.0.0.1", 3260, Moody)
    for data in there:
        client.transport.write(data)
        await asyncio.sleep(link.latency_s)
    while not servers or sum(map(len, (client.data, servers[0].data))) < sum(map(len, there + back)):  # noqa: ASYNC110
        await asyncio.sleep(1)
    client.transport.close()
    while servers[0].lost == "":  # noqa: ASYNC110
        await asyncio.sleep(1)
    return [bytes(client.data), bytes(servers[0].data), client.lost, servers[0].lost]


@settings(max_examples=60, deadline=None)
@given(LINKS, WRITES, WRITES)
def test_bytes_come_out_as_they_went_in(link: Link, there: list[bytes], back: list[bytes]) -> None:
    assert play(transfer, link, there, back) == [b"".join(back), b"".join(there), None, None]


@settings(max_examples=10, deadline=None)
@given(LINKS, WRITES)
def test_same_link_gives_the_same_capture(link: Link, there: list[bytes]) -> None:
    captures = []
    for _ in range(2):
        file = io.BytesIO()
        link.count, link.recorder = 0, WireRecorder(file)
        play(transfer, link, there, there)
        captures.append(file.getvalue())
    assert captures[0] == captures[1]
    assert len(captures[0]) > 500


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


def test_nothing_arrives_before_what_was_sent_before_it_and_nothing_too_early() -> None:
    async def main() -> None:
        world = World()
        client, server = await world.pair()
        world.way.passages = [Passage(b"late ", delay_s=5)]
        client.transport.write(b"late ")
        world.way.passages = None
        client.transport.write(b"soon")
        await asyncio.sleep(4.9)
        assert server.data == b""
        await asyncio.sleep(0.2)
        assert server.data == b"late soon"

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


def test_reset_is_sent_once_lost_or_not() -> None:
    async def main() -> None:
        world = World()
        client, server = await world.pair()
        world.way.lost = True
        client.transport.reset()
        world.way.lost = False
        server.transport.write(b"are you there?")
        world.way.lost = True  # the answer will be
        world.way.segments.clear()
        await asyncio.sleep(600)
        assert (len(world.way.segments), server.lost) == (1, "")

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
