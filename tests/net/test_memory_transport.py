"""What asyncio promises of transports. Real TCP is the judge: every test runs on it, and in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from net.worlds import Body, KeptOpen, Log, World, a_while, play_in_memory, play_on_tcp, until

MANY = 24 << 20
"""Bytes; more than the buffers of a kernel take."""

Play = Callable[[Body], None]


@pytest.fixture(params=[play_on_tcp, play_in_memory], ids=["tcp", "memory"])
def play(request: pytest.FixtureRequest) -> Play:
    found: Play = request.param
    return found


class Echo(Log):
    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Broken(Log):
    """Fails in one method."""

    fails_in = ""

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "fails_in"):
            super().__getattribute__(name)
            self.events.append("failed")

            def fail(*arguments: Any) -> None:
                if name == "connection_made":
                    self.transport = arguments[0]
                raise ValueError(name)

            return fail
        return super().__getattribute__(name)


def broken(method: str) -> Callable[[], Log]:
    return lambda: type("BrokenHere", (Broken,), {"fails_in": method})()


class Buffered(asyncio.BufferedProtocol):
    """Takes seven bytes at a time."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.data = bytearray()
        self._buffer = bytearray(7)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.events.append("made")

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self._buffer[:nbytes]


def test_what_is_written_comes_back(play: Play) -> None:
    async def body(world: World) -> None:
        client, _ = await world.pair(at_server=Echo)
        client.transport.write(b"one ")
        client.transport.write(bytearray(b"two "))
        client.transport.writelines([b"three ", memoryview(b"four")])
        await until(lambda: client.data == b"one two three four")
        client.transport.close()
        await until(lambda: client.lost is None)

    play(body)


def test_names_of_both_ends_agree(play: Play) -> None:
    async def body(world: World) -> None:
        client, server = await world.pair()
        for mine, theirs in (("sockname", "peername"), ("peername", "sockname")):
            assert client.transport.get_extra_info(mine) == server.transport.get_extra_info(theirs)
        assert client.transport.get_extra_info("nothing", 7) == 7
        client.transport.close()
        await until(lambda: server.lost is None)

    play(body)


def test_half_close_leaves_the_other_half_open(play: Play) -> None:
    async def body(world: World) -> None:
        client, server = await world.pair(KeptOpen, KeptOpen)
        client.transport.write(b"question")
        client.transport.write_eof()
        await until(lambda: ("eof", 8) in server.events)
        server.transport.write(b"answer")
        server.transport.close()
        await until(lambda: ("eof", 6) in client.events)
        assert (client.data, server.data) == (b"answer", b"question")
        client.transport.close()
        await until(lambda: client.lost is None and server.lost is None)

    play(body)


def test_eof_closes_the_connection_unless_it_is_wanted_open(play: Play) -> None:
    async def body(world: World) -> None:
        client, server = await world.pair()
        client.transport.write_eof()
        await until(lambda: client.lost is None and server.lost is None)
        assert [client.events, server.events] == [["made", ("eof", 0), ("lost", None)]] * 2

    play(body)


def test_abort_is_seen_as_an_end_of_the_stream(play: Play) -> None:
    async def body(world: World) -> None:
        client, server = await world.pair()
        server.transport.abort()
        assert server.transport.is_closing()
        await until(lambda: client.lost is None and server.lost is None)
        assert server.events == ["made", ("lost", None)]
        assert ("eof", 0) in client.events

    play(body)


def test_close_with_something_unread_is_a_reset(play: Play) -> None:
    async def body(world: World) -> None:
        client, server = await world.pair()
        server.transport.pause_reading()
        client.transport.write(b"never read")
        await a_while()
        server.transport.close()
        await until(lambda: client.lost and server.lost is None)
        assert client.events == ["made", ("lost", "ConnectionResetError")]

    play(body)


def test_reset_is_not_noticed_by_who_does_not_read_and_comes_behind_the_data(play: Play) -> None:
    async def body(world: World) -> None:
        client, server = await world.pair()
        client.transport.pause_reading()
        server.transport.write(b"last words")
        server.transport.pause_reading()
        client.transport.write(b"never read")
        await a_while()
        server.transport.close()
        await a_while()
        assert client.events == ["made"]
        client.transport.resume_reading()
        await until(lambda: client.lost)
        assert (client.data, client.lost) == (b"last words", "ConnectionResetError")

    play(body)


def test_data_to_a_closed_end_is_answered_by_a_reset(play: Play) -> None:
    async def body(world: World) -> None:
        client, server = await world.pair(KeptOpen)
        server.transport.close()
        await until(lambda: ("eof", 0) in client.events)
        client.transport.write(b"too late")
        await a_while()
        assert client.lost == ""  # it does not read any more, so it finds out by writing
        client.transport.write(b"too late again")
        await until(lambda: client.lost)
        assert client.lost in ("ConnectionResetError", "BrokenPipeError")

    play(body)


def test_close_sends_what_is_unsent(play: Play) -> None:
    async def body(world: World) -> None:
        client, server = await world.pair()
        client.transport.write(bytes(MANY))
        assert client.transport.get_write_buffer_size() > 0
        client.transport.close()
        client.transport.close()
        await until(lambda: server.lost is None and client.lost is None)
        assert (len(server.data), ("eof", MANY) in server.events) == (MANY, True)

    play(body)


def test_eof_goes_behind_what_is_unsent(play: Play) -> None:
    async def body(world: World) -> None:
        client, server = await world.pair()
        client.transport.write(bytes(MANY))
        client.transport.write_eof()
        await until(lambda: server.lost is None)
        assert ("eof", MANY) in server.events

    play(body)


def test_abort_drops_what_is_unsent(play: Play) -> None:
    async def body(world: World) -> None:
        client, server = await world.pair()
        server.transport.pause_reading()
        client.transport.write(bytes(MANY))
        client.transport.abort()
        assert client.transport.get_write_buffer_size() == 0
        server.transport.resume_reading()
        await until(lambda: server.lost is None)
        assert 0 < len(server.data) < MANY

    play(body)


def test_reader_that_has_paused_gets_nothing_until_it_resumes(play: Play) -> None:
    async def body(world: World) -> None:
        client, server = await world.pair()
        server.transport.pause_reading()
        server.transport.pause_reading()
        assert not server.transport.is_reading()
        client.transport.write(b"waits")
        await a_while()
        assert server.data == b""
        server.transport.resume_reading()
        assert server.transport.is_reading()
        await until(lambda: server.data == b"waits")
        client.transport.close()
        await until(lambda: server.lost is None)

    play(body)


def test_writer_is_told_to_wait_for_a_reader_that_has_paused(play: Play) -> None:
    async def body(world: World) -> None:
        client, server = await world.pair()
        server.transport.pause_reading()
        client.transport.write(bytes(MANY))
        assert client.events == ["made", "pause"]
        await a_while()
        assert client.events == ["made", "pause"]
        server.transport.resume_reading()
        await until(lambda: len(server.data) == MANY)
        await until(lambda: client.events == ["made", "pause", "resume"])
        client.transport.close()
        await until(lambda: server.lost is None)

    play(body)


def test_eof_while_paused_waits_behind_the_data(play: Play) -> None:
    async def body(world: World) -> None:
        client, server = await world.pair()
        server.transport.pause_reading()
        client.transport.write(b"four")
        client.transport.close()
        await until(lambda: client.lost is None)
        await a_while()
        assert server.events == ["made"]
        server.transport.resume_reading()
        await until(lambda: server.lost is None)
        assert server.events == ["made", ("eof", 4), ("lost", None)]

    play(body)


def test_write_after_the_end_is_silent_or_a_mistake(play: Play) -> None:
    async def body(world: World) -> None:
        client, server = await world.pair(KeptOpen, KeptOpen)
        with pytest.raises(TypeError):
            client.transport.write("text")
        assert client.transport.can_write_eof()
        client.transport.write_eof()
        client.transport.write_eof()
        with pytest.raises(RuntimeError):
            client.transport.write(b"after my own EOF")
        server.transport.close()
        server.transport.write(b"after close")
        await until(lambda: client.events[-1] == ("eof", 0))
        client.transport.abort()
        await until(lambda: client.lost is None and server.lost is None)
        server.transport.write(b"after all")

    play(body)


@pytest.mark.parametrize("method", ["data_received", "eof_received"])
def test_protocol_that_fails_on_what_comes_loses_its_connection(play: Play, method: str) -> None:
    async def body(world: World) -> None:
        client, server = await world.pair(at_server=broken(method))
        client.transport.write(b"data")
        client.transport.write_eof()
        await until(lambda: client.lost is None and server.lost)
        assert server.lost == "ValueError"
        assert [str(context["exception"]) for context in world.reported] == [method]
        assert world.reported[0]["transport"] is server.transport

    play(body)


def test_protocol_that_fails_when_it_is_connected_keeps_its_connection(play: Play) -> None:
    async def body(world: World) -> None:
        client, server = await world.pair(at_server=broken("connection_made"))
        client.transport.write(b"data")
        await until(lambda: server.data == b"data")
        assert [str(context["exception"]) for context in world.reported] == ["connection_made"]
        client.transport.close()
        await until(lambda: server.lost is None)

    play(body)


def test_protocol_that_fails_when_it_is_lost_does_no_harm(play: Play) -> None:
    async def body(world: World) -> None:
        client, _ = await world.pair(at_server=broken("connection_lost"))
        client.transport.close()
        await until(lambda: world.reported)
        await a_while()
        assert [str(context["exception"]) for context in world.reported] == ["connection_lost"]

    play(body)


def test_buffered_protocol_gets_every_byte(play: Play) -> None:
    async def body(world: World) -> None:
        client, server = await world.pair(at_server=Buffered)
        data = bytes(range(256)) * 10
        client.transport.write(data)
        await until(lambda: server.data == data)
        client.transport.close()
        await a_while()

    play(body)


def test_buffered_protocol_that_pauses_half_way_gets_the_rest_later(play: Play) -> None:
    class Pausing(Buffered):
        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            self.transport.pause_reading()

    async def body(world: World) -> None:
        client, server = await world.pair(at_server=Pausing)
        client.transport.write(b"0123456789")
        await until(lambda: server.data)
        await a_while()
        assert server.data == b"0123456"
        server.transport.resume_reading()
        await until(lambda: server.data == b"0123456789")
        client.transport.close()
        server.transport.close()
        await a_while()

    play(body)


def test_another_protocol_may_take_over(play: Play) -> None:
    async def body(world: World) -> None:
        client, server = await world.pair()
        heir = Log()
        server.transport.set_protocol(heir)
        assert server.transport.get_protocol() is heir
        client.transport.write(b"for the heir")
        client.transport.close()
        await until(lambda: heir.lost is None)
        assert (heir.data, server.data) == (b"for the heir", b"")

    play(body)


def test_no_data_comes_after_close(play: Play) -> None:
    class Closing(Log):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.close()

    async def body(world: World) -> None:
        client, server = await world.pair(at_server=Closing)
        client.transport.write(b"first")
        await until(lambda: server.data)
        client.transport.write(b"second")
        await until(lambda: client.lost != "" and server.lost is None)
        assert server.data == b"first"

    play(body)


@pytest.mark.parametrize(
    "given, limits",
    [({}, (16384, 65536)), ({"high": 100}, (25, 100)), ({"low": 100}, (100, 400)), ({"high": 0}, (0, 0))],
)
def test_limits_of_the_write_buffer(play: Play, given: dict[str, int], limits: tuple[int, int]) -> None:
    async def body(world: World) -> None:
        client, server = await world.pair()
        client.transport.set_write_buffer_limits(**given)
        assert client.transport.get_write_buffer_limits() == limits
        with pytest.raises(ValueError):
            client.transport.set_write_buffer_limits(high=1, low=2)
        client.transport.close()
        await until(lambda: server.lost is None)

    play(body)


def test_nobody_listens_any_more_after_close(play: Play) -> None:
    async def body(world: World) -> None:
        listener = await world.server.listen(world.address, 0, Log)
        client: Any = await world.client.connect(*listener.address, Log)
        await a_while()
        listener.close()
        with pytest.raises(ConnectionRefusedError):
            await world.client.connect(*listener.address, Log)
        assert client.events == ["made"]
        client.transport.close()
        await a_while()

    play(body)


def test_port_that_is_taken_cannot_be_listened_on(play: Play) -> None:
    async def body(world: World) -> None:
        listener = await world.server.listen(world.address, 0, Log)
        with pytest.raises(OSError, match=r"[Aa]ddress already in use|listens on"):
            await world.server.listen(*listener.address, Log)
        listener.close()

    play(body)


def test_tls_is_refused() -> None:
    async def body(world: World) -> None:
        import ssl

        client, _ = await world.pair()
        context = ssl.create_default_context()
        with pytest.raises(TypeError, match="not supported by start_tls"):
            await asyncio.get_running_loop().start_tls(client.transport, client, context)

    play_in_memory(body)
