"""Whatever the link is like, bytes come out as they went in."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from net.worlds import Log, play

from iscsim.net.conditions import Flow, Passage, Reply, Verdict
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
def test_same_link_gives_the_same_run(link: Link, there: list[bytes]) -> None:
    runs = []
    for _ in range(2):
        link.count = 0
        runs.append((play(transfer, link, there, there), link.count))
    assert runs[0] == runs[1]
