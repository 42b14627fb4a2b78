"""Two worlds for one test body: the machine's own TCP, and the memory network in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from iscsim.net.memory import MemoryNetwork
from iscsim.net.network import Network
from iscsim.net.tcp import TCPNetwork
from iscsim.net.virtual_loop import VirtualLoop

Body = Callable[["World"], Awaitable[None]]


class World:
    """Where a test body runs: ``server`` listens at ``address``, ``client`` connects."""

    def __init__(self, server: Network, client: Network, address: str) -> None:
        self.server, self.client, self.address = server, client, address
        self.reported: list[dict[str, Any]] = []

    async def pair(
        self, at_client: Callable[[], Any] | None = None, at_server: Callable[[], Any] | None = None
    ) -> tuple[Any, Any]:
        """The protocols of both ends of a new connection."""
        accepted: list[Any] = []

        def factory() -> Any:
            accepted.append((at_server or Log)())
            return accepted[-1]

        listener = await self.server.listen(self.address, 0, factory)
        client: Any = await self.client.connect(*listener.address, at_client or Log)
        await until(lambda: accepted and accepted[0].events)
        listener.close()
        return client, accepted[0]


class Log(asyncio.Protocol):
    """Writes down what asyncio calls. ``keep_open`` is what `eof_received` says."""

    keep_open = False

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.data = bytearray()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.events.append(("eof", len(self.data)))
        return self.keep_open

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.events.append(("lost", type(error).__name__ if error else None))

    @property
    def lost(self) -> Any:
        """What `connection_lost` was told, "" before it was."""
        return next((event[1] for event in self.events if event[0] == "lost"), "")


class KeptOpen(Log):
    """Goes on sending when the peer has no more to say."""

    keep_open = True


async def until(condition: Callable[[], Any], *, within_s: float = 20) -> None:
    """Wait for something that must come."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(within_s / 20000)


async def a_while() -> None:
    """Long enough for everything that is on its way to arrive."""
    await asyncio.sleep(0.05)


def play_on_tcp(body: Body) -> None:
    """Run ``body`` in real time on 127.0.0.1."""
    _run(
        asyncio.Runner(loop_factory=asyncio.new_event_loop),
        lambda: World(TCPNetwork(), TCPNetwork(), "127.0.0.1"),
        body,
    )


def play_in_memory(body: Body) -> None:
    """Run ``body`` in virtual time."""

    def make() -> World:
        network = MemoryNetwork()
        return World(
            network.add_host("array", "10.0.0.1"), network.add_host("compute", "10.0.0.2"), "10.0.0.1"
        )

    _run(asyncio.Runner(loop_factory=VirtualLoop), make, body)


def _run(runner: asyncio.Runner, make: Callable[[], World], body: Body) -> None:
    async def main() -> None:
        world = make()
        handler = lambda loop, context: world.reported.append(context)  # noqa: E731
        asyncio.get_running_loop().set_exception_handler(handler)
        await body(world)

    with runner:
        runner.run(main())


def play(main: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    """Run ``main(*arguments)`` on a loop with virtual time; what it returns."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main(*arguments))  # type: ignore[arg-type]
