"""The target over real TCP: portals, limits, slow and dying peers, timers."""

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from exchanges.ladder import (
    TARGET,
    login_request,
    logout,
    make_entity,
    node_of,
    nop_out,
    read_10,
    test_unit_ready,
    text,
    unit_of,
)

from iscsim.capture import Recorder as CaptureRecorder
from iscsim.capture import read_packets
from iscsim.errors import ConfigError
from iscsim.net.runner import run
from iscsim.pdu import (
    LoginResponse,
    LogoutResponse,
    NOPIn,
    Reject,
    SCSIDataIn,
    SCSIResponse,
    TextResponse,
    decode,
)
from iscsim.pdu.text import parse_text
from iscsim.target import server as server_module
from iscsim.target.node import NetworkEntity, Portal
from iscsim.target.policy import RFC
from iscsim.target.server import TargetProtocol, TargetServer


class Client:
    """An initiator made of two streams; :func:`serving` closes it in the end."""

    opened: "list[Client]" = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.cmd_sn = 1
        self.tag = 0
        self.opened.append(self)

    @classmethod
    async def connect(cls, portal: Portal) -> "Client":
        return cls(*await asyncio.open_connection(portal.address, portal.port))

    def send(self, *pdus: Any) -> None:
        for pdu in pdus:
            self.tag += 1
            pdu.initiator_task_tag = self.tag
            if pdu.cmd_sn is None:
                pdu.cmd_sn = self.cmd_sn
                self.cmd_sn += not pdu.immediate
            self.writer.writelines(pdu.encode())

    async def receive(self) -> Any:
        header = await self.reader.readexactly(48)
        length = int.from_bytes(header[5:8], "big")
        return decode(header + await self.reader.readexactly(length + -length % 4))[0]

    async def ask(self, pdu: Any) -> Any:
        self.send(pdu)
        return await self.receive()

    async def log_in(self, **keys: str) -> Any:
        response = await self.ask(login_request(keys))
        assert isinstance(response, LoginResponse)
        assert response.status_class == 0
        return self

    async def ended(self) -> bytes:
        """What is left to read until the target closes."""
        try:
            return await self.reader.read()
        except ConnectionResetError:
            return b""

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


@asynccontextmanager
async def serving(entity: NetworkEntity | None = None, **options: Any):
    entity = entity or make_entity()
    for portal in entity.portals:
        if portal.address == "192.0.2.1":
            portal.address, portal.port = "127.0.0.1", 0
    try:
        async with TargetServer(entity, **options) as server:
            yield server
    finally:
        while Client.opened:
            await Client.opened.pop().close()


def portal_of(server: TargetServer) -> Portal:
    return server.entity.portals[0]


def protocol_of(server: TargetServer) -> TargetProtocol:
    (protocol,) = server._protocols
    return protocol


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 (what is waited for has no event)
        await asyncio.sleep(0.005)


# -- portals ---------------------------------------------------------------------------------------


async def test_a_session_from_login_to_logout():
    async with serving() as server:
        client = await (await Client.connect(portal_of(server))).log_in()
        assert (await client.ask(test_unit_ready())).status == 2
        assert isinstance(await client.ask(read_10(blocks=8)), SCSIDataIn)
        assert isinstance(await client.ask(logout()), LogoutResponse)
        assert await client.ended() == b""
        await client.close()
        await until(lambda: not server._protocols)
        assert not server.entity.sessions


async def test_two_portals_are_two_portal_groups():
    entity = make_entity()
    node_of(entity).add_portal(Portal("127.0.0.2", 0))
    async with serving(entity) as server:
        tags = []
        for portal in entity.portals:
            client = await Client.connect(portal)
            response = await client.ask(login_request())
            tags.append(dict(parse_text(response.data))["TargetPortalGroupTag"])
        assert tags == ["1", "2"]
        assert len(server.entity.sessions) == 2  # one I_T nexus each: the same ISID does not matter


async def test_a_wildcard_portal_is_shown_as_the_address_the_client_came_to():
    entity = make_entity()
    entity.portals[0].address, entity.portals[0].port = "0.0.0.0", 0
    async with serving(entity) as server:
        port = portal_of(server).port
        for address in ("127.0.0.1", "127.0.0.2"):
            client = await Client.connect(Portal(address, port))
            await client.log_in(SessionType="Discovery", TargetName="")
            answer = await client.ask(text(("SendTargets", "All")))
            assert isinstance(answer, TextResponse)
            assert ("TargetAddress", f"{address}:{port},1") in parse_text(answer.data)


async def test_a_port_in_use_is_an_os_error_and_leaves_nothing_listening():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        entity = make_entity()
        first = entity.portals[0]
        first.address, first.port = "127.0.0.1", 0
        node_of(entity).add_portal(Portal("127.0.0.1", taken.getsockname()[1]))
        with pytest.raises(OSError, match="in use"):
            await TargetServer(entity).start()
        with pytest.raises(ConnectionRefusedError):
            await Client.connect(first)


async def test_a_target_needs_a_portal():
    with pytest.raises(ConfigError, match="at least one portal"):
        await TargetServer(NetworkEntity()).start()


async def test_closing_cuts_connections_off_and_serving_can_begin_again():
    entity = make_entity()
    async with serving(entity) as server:
        client = await (await Client.connect(portal_of(server))).log_in()
    assert await client.ended() == b""
    assert not entity.sessions
    async with server:
        again = await (await Client.connect(portal_of(server))).log_in()
        assert entity.sessions
        await again.close()
        Client.opened.clear()


async def test_a_stopped_server_refuses_and_can_start_again():
    async with serving() as server:
        client = await (await Client.connect(portal_of(server))).log_in()
        server.stop()
        assert await client.ended() == b""
        with pytest.raises(ConnectionRefusedError):
            await Client.connect(portal_of(server))
        await server.start()
        await (await Client.connect(portal_of(server))).log_in()


async def test_a_paused_server_accepts_and_answers_later():
    async with serving() as server:
        before = await (await Client.connect(portal_of(server))).log_in()
        server.pause()
        after = await Client.connect(portal_of(server))
        after.send(login_request())
        before.send(nop_out())
        await until(lambda: len(server._protocols) == 2)
        await asyncio.sleep(0.05)
        assert not before.reader._buffer
        assert not after.reader._buffer
        server.resume()
        assert isinstance(await before.receive(), NOPIn)
        assert isinstance(await after.receive(), LoginResponse)


async def test_a_paused_server_starts_anew_when_it_is_stopped():
    async with serving() as server:
        server.pause()
        server.stop()
        await server.start()
        await (await Client.connect(portal_of(server))).log_in()


async def test_timers_of_a_paused_server_stand_still():
    entity = make_entity(policy=replace(RFC, login_timeout_s=0.05))
    async with serving(entity) as server:
        client = await Client.connect(portal_of(server))
        await until(lambda: server._protocols)
        server.pause()
        await asyncio.sleep(0.2)
        assert server._protocols
        server.resume()
        assert await client.ended() == b""


# -- limits ----------------------------------------------------------------------------------------


async def test_a_login_beyond_the_cap_is_refused(caplog):
    async with serving(max_connections=3) as server:
        for number in range(3):
            client = await Client.connect(portal_of(server))
            await client.log_in(InitiatorName=f"iqn.2026-11.org:{number}")
        one_too_many = await Client.connect(portal_of(server))
        response = await one_too_many.ask(login_request())
        assert (response.status_class, response.status_detail) == (3, 2)
        assert await one_too_many.ended() == b""
        assert "login refused with 0x0302: all 3 connections are in use" in caplog.text
        await one_too_many.close()
        await until(lambda: len(server._protocols) == 3)
        await client.close()
        await until(lambda: len(server._protocols) == 2)
        await (await Client.connect(portal_of(server))).log_in()


async def test_strangers_cannot_hold_every_place(caplog):
    async with serving(max_connections=3) as server:
        client = await (await Client.connect(portal_of(server))).log_in()
        strangers = [await Client.connect(portal_of(server)) for _ in range(5)]
        assert [await stranger.ended() for stranger in strangers[:3]] == [b""] * 3
        await (await Client.connect(portal_of(server))).log_in(InitiatorName="iqn.2026-11.org:other")
        assert isinstance(await client.ask(test_unit_ready()), SCSIResponse)
        assert "connection closed: all 3 connections are taken, and another one came" in caplog.text


async def test_one_after_another_is_refused_when_all_have_logged_in():
    async with serving(max_connections=1) as server:
        await (await Client.connect(portal_of(server))).log_in()
        refused = [await Client.connect(portal_of(server)) for _ in range(3)]
        await until(lambda: len(server._protocols) == 2)
        assert (await refused[-1].ask(login_request())).status_class == 3


async def test_each_newcomer_takes_a_place_of_its_own():
    server = TargetServer(make_entity(), max_connections=2)
    protocols = [TargetProtocol(server, server.entity.portals[0]) for _ in range(4)]
    transports = [FakeTransport() for _ in protocols]
    for protocol, transport in zip(protocols, transports, strict=True):
        protocol.connection_made(transport)
    assert ["abort" in transport.calls for transport in transports] == [True, True, False, False]
    for protocol in protocols:
        protocol.connection_lost(None)


@pytest.mark.parametrize(
    "files, allowed, level",
    [(256, 192, "WARNING"), (1024, 960, "INFO"), (1088, 1024, None), (20, 1, "WARNING"), (-1, 1024, None)],
)
def test_open_files_limit_connections(monkeypatch, caplog, files, allowed, level):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    caplog.set_level(logging.INFO, "iscsim.target")
    assert TargetServer(make_entity())._max_connections == allowed
    assert [record.levelname for record in caplog.records] == ([level] if level else [])
    if level:
        assert f"at most {allowed} connections: only {files} files may be open (ulimit -n)" in caplog.text


async def test_shutting_down_asks_for_a_logout_and_refuses_logins():
    async with serving() as server:
        client = await (await Client.connect(portal_of(server))).log_in()
        late = await Client.connect(portal_of(server))
        await until(lambda: len(server._protocols) == 2)
        ending = asyncio.ensure_future(server.shut_down(5))
        message = await client.receive()
        assert (message.async_event, message.parameter_3) == (1, 5)
        assert (await late.ask(login_request())).status_detail == 1
        await late.close()
        assert isinstance(await client.ask(logout()), LogoutResponse)
        assert await client.ended() == b""
        await client.close()
        await ending


async def test_shutting_down_drops_who_does_not_log_out():
    async with serving() as server:
        client = await (await Client.connect(portal_of(server))).log_in()
        ending = asyncio.ensure_future(server.shut_down(1))
        assert [(await client.receive()).async_event for _ in range(2)] == [1, 3]
        assert await client.ended() == b""
        await ending
        assert not server.entity.sessions


async def test_a_connection_accepted_while_closing_is_not_kept():
    async with serving() as server:
        await server.close()
        protocol = TargetProtocol(server, portal_of(server))
        transport = FakeTransport()
        protocol.connection_made(transport)
        assert "abort" in transport.calls
        protocol.connection_lost(None)


async def test_the_login_timer_ends_a_silent_connection(caplog):
    async with serving(make_entity(replace(RFC, login_timeout_s=0.05))) as server:
        client = await Client.connect(portal_of(server))
        assert await client.ended() == b""
    assert "no login within 0.05 s" in caplog.text


async def test_a_silent_session_is_pinged_and_ended(caplog):
    policy = replace(RFC, nop_in_interval_s=0.02, nop_in_timeout_s=0.05)
    async with serving(make_entity(policy)) as server:
        client = await (await Client.connect(portal_of(server))).log_in()
        ping = await client.receive()
        assert isinstance(ping, NOPIn)
        await client.ended()
        assert not server.entity.sessions
    assert "no answer to a ping within 0.05 s" in caplog.text


async def test_a_reinstated_session_loses_its_connection():
    async with serving() as server:
        old = await (await Client.connect(portal_of(server))).log_in()
        await (await Client.connect(portal_of(server))).log_in()
        assert await old.ended() == b""
        assert len(server.entity.sessions) == 1


# -- peers that read slowly, or die ----------------------------------------------------------------


async def slow_reader() -> None:
    async with serving() as server:
        client = await (await Client.connect(portal_of(server))).log_in(MaxRecvDataSegmentLength="65536")
        await client.ask(test_unit_ready())
        for _ in range(48):  # 48 MiB
            client.send(read_10(blocks=2048))
            await asyncio.sleep(0)
        protocol = protocol_of(server)
        await until(lambda: not protocol._transport.is_reading())
        received = 0
        while received < 48 << 20:
            received += len((await client.receive()).data)
        await until(lambda: protocol._transport.is_reading())
        assert isinstance(await client.ask(nop_out()), NOPIn)


async def reader_that_never_reads() -> None:
    async with serving() as server:
        client = await (await Client.connect(portal_of(server))).log_in()
        for _ in range(64):
            client.send(read_10(blocks=2048))
        await until(lambda: server._protocols and not protocol_of(server)._transport.is_reading())
        client.writer.transport.abort()


async def half_close() -> None:
    async with serving() as server:
        client = await (await Client.connect(portal_of(server))).log_in()
        client.send(test_unit_ready(), read_10(blocks=2048))
        client.writer.write_eof()
        assert isinstance(await client.receive(), SCSIResponse)
        received = 0
        while received < 1 << 20:
            received += len((await client.receive()).data)
        assert await client.ended() == b""
        await until(lambda: not server.entity.sessions)


async def reset_by_peer() -> None:
    async with serving() as server:
        client = await (await Client.connect(portal_of(server))).log_in()
        client.send(*(read_10(blocks=2048) for _ in range(20)))
        await client.receive()
        linger = b"\1\0\0\0\0\0\0\0"
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        client.writer.transport.abort()
        await until(lambda: not server.entity.sessions and not server._protocols)


async def connected_and_gone() -> None:
    async with serving() as server:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", portal_of(server).port)) as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await (await Client.connect(portal_of(server))).log_in()
        await until(lambda: len(server._protocols) == 1)


async def reader_of_more_than_there_is_room_for() -> None:
    async with serving(make_entity(replace(RFC, read_room=1 << 20))) as server:
        client = await (await Client.connect(portal_of(server))).log_in()
        await client.ask(test_unit_ready())
        client.send(*(read_10(blocks=2048) for _ in range(32)))
        protocol = protocol_of(server)
        await until(lambda: protocol.core.has_more and not protocol._transport.is_reading())
        assert protocol._transport.get_write_buffer_size() < 8 << 20
        received = 0
        while received < 32 << 20:
            received += len((await client.receive()).data)
        assert isinstance(await client.ask(nop_out()), NOPIn)
        assert not protocol.core.has_more


SCENARIOS = [
    reader_of_more_than_there_is_room_for,
    slow_reader,
    reader_that_never_reads,
    half_close,
    reset_by_peer,
    connected_and_gone,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_peers_on_asyncio(scenario: Callable[[], Coroutine[Any, Any, None]]):
    await scenario()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_peers_on_the_quickest_loop(scenario: Callable[[], Coroutine[Any, Any, None]]):
    run(scenario())


async def half_close_without_reading() -> None:
    async with serving() as server:
        client = await (await Client.connect(portal_of(server))).log_in()
        client.writer.transport.pause_reading()
        client.send(test_unit_ready(), *(read_10(blocks=2048) for _ in range(3)))
        protocol = protocol_of(server)
        await until(lambda: protocol._transport.get_write_buffer_size() > 0)
        client.writer.write_eof()
        await until(lambda: not server._protocols)
        assert not server.entity.sessions


async def test_a_half_closed_peer_that_does_not_read_is_cut_off(monkeypatch):
    monkeypatch.setattr(server_module, "_LINGER_S", 0.05)
    await half_close_without_reading()


def test_a_half_closed_peer_that_does_not_read_is_cut_off_on_the_quickest_loop(monkeypatch):
    monkeypatch.setattr(server_module, "_LINGER_S", 0.05)
    run(half_close_without_reading())


async def test_a_fin_within_a_pdu_is_logged(caplog):
    async with serving() as server:
        client = await (await Client.connect(portal_of(server))).log_in()
        client.writer.write(bytes(20))
        client.writer.write_eof()
        assert await client.ended() == b""
        await until(lambda: not server.entity.sessions)
    assert "the connection was lost 20 bytes into a PDU" in caplog.text


async def test_a_peer_that_does_not_close_after_our_fin_is_cut_off(monkeypatch):
    monkeypatch.setattr(server_module, "_LINGER_S", 0.05)
    async with serving() as server:
        client = await (await Client.connect(portal_of(server))).log_in()
        await client.ask(logout())
        assert await client.reader.read() == b""
        await until(lambda: not server._protocols)
        client.writer.close()


# -- logs and captures -----------------------------------------------------------------------------


async def test_logs_say_portal_peer_and_why(caplog):
    caplog.set_level(logging.INFO, "iscsim.target")
    async with serving() as server:
        client = await (await Client.connect(portal_of(server))).log_in()
        await client.ask(text(("InitialR2T", "No")))
        client.writer.write(b"\x00\x80\0\0\0\xff\xff\xff" + bytes(40))
        await client.ended()
        where = f"portal {portal_of(server)}, peer 127.0.0.1:"
    messages = [record.getMessage() for record in caplog.records if record.name == "iscsim.target"]
    assert len(messages) == 3
    assert all(message.startswith(where) and "\n" not in message for message in messages)
    assert messages[0].endswith("iqn.2026-11.org.example:host logged in (Normal)")
    assert "reason 0x04 (RFC 7143 section 11.17.1): InitialR2T in the full feature phase" in messages[1]
    assert "connection closed: NOPOut with a data segment of 16777215 bytes" in messages[2]


async def test_a_flood_of_rejects_is_no_flood_of_the_log(caplog):
    async with serving() as server:
        client = await (await Client.connect(portal_of(server))).log_in()
        for _ in range(100):
            client.writer.write(b"\x1c\x80" + bytes(46))
            assert isinstance(await client.receive(), Reject)
    lines = [record.getMessage() for record in caplog.records if "rejected" in record.getMessage()]
    assert len(lines) == 16
    assert lines[-1].endswith("(further rejects of this connection are not logged)")


class Recorder:
    """A capture that counts."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.sent = 0

    def connection(self, client: Any, server: Any) -> "Recorder":
        return self

    def opened(self, now: float) -> None:
        self.seen.append("opened")

    def from_client(self, data: Any, now: float) -> None:
        self.seen.append("client")

    def takes_whole(self, length: int, now: float) -> bool:
        return True

    def from_server(self, data: Sequence[bytes], now: float) -> None:
        assert all(isinstance(piece, bytes) for piece in data)
        self.sent += sum(map(len, data))

    def closed(self, by_client: bool, now: float) -> None:
        self.seen.append("client closed" if by_client else "server closed")

    def reset(self, by_client: bool, now: float) -> None:
        self.seen.append("reset")


async def test_a_recorder_sees_everything():
    recorder = Recorder()
    async with serving(recorder=recorder) as server:
        client = await (await Client.connect(portal_of(server))).log_in()
        await client.ask(logout())
        await client.ended()
        await client.close()
        await until(lambda: not server._protocols)
    assert (recorder.seen[0], recorder.seen[-2:]) == ("opened", ["server closed", "client closed"])
    assert recorder.sent > 2 * 48


async def test_a_capture_that_does_not_take_it_whole_gets_the_pieces_and_the_peer_all_of_them(tmp_path):
    path = tmp_path / "capture.pcapng"
    with CaptureRecorder(path, whole_rate=0, whole_burst=0) as recorder:
        async with serving(recorder=recorder) as server:
            client = await Client.connect(portal_of(server))
            await client.log_in(MaxRecvDataSegmentLength="65536")
            unit_of(server.entity).store.write(0, bytes(range(256)) * 64)
            await client.ask(test_unit_ready())  # the unit attention
            answer = await client.ask(read_10(blocks=32))
            assert bytes(answer.data) == bytes(range(256)) * 64
    cut = [packet.original_length - len(packet.data) for packet in read_packets(path)]
    assert sum(cut) == 16384


class FakeTransport:
    """A transport of a peer that was gone before anybody looked."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def get_extra_info(self, name: str) -> None:
        return None

    def is_closing(self) -> bool:
        return "close" in self.calls

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: self.calls.append(name)


async def test_a_peer_without_an_address_is_served_all_the_same():
    recorder = Recorder()
    server = TargetServer(make_entity(replace(RFC, login_timeout_s=0)), recorder=recorder)
    protocol = TargetProtocol(server, server.entity.portals[0])
    protocol.connection_made(FakeTransport())
    assert protocol.peer == ("unknown", 0)
    protocol.connection_lost(ConnectionResetError())
    assert (recorder.seen, protocol.core.closing) == (["opened", "reset"], True)
    assert TARGET in server.entity.nodes


async def test_a_transport_that_closes_already_is_not_closed_again():
    server, transport = TargetServer(make_entity()), FakeTransport()
    protocol = TargetProtocol(server, server.entity.portals[0])
    protocol.connection_made(transport)
    transport.close()
    protocol.core.end("by somebody else")
    protocol.flush()
    assert "write_eof" not in transport.calls
    protocol.connection_lost(None)
    assert not server._protocols
