"""connect(): where it goes, what it asks for, and how it says that it did not work."""

import asyncio
import gc
import random
import weakref
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from marks import rfc

from iscsim.capture.recorder import Recorder
from iscsim.errors import ConfigError, ConnectionFailed, LoginFailed, SessionFailed
from iscsim.initiator.buffers import BUFFER_LENGTH
from iscsim.initiator.client import InitiatorProtocol, connect
from iscsim.initiator.connection import InitiatorConnection
from iscsim.initiator.task import CommandTask
from iscsim.net.network import Address
from iscsim.net.runner import new_event_loop
from iscsim.scsi import cdb as commands
from iscsim.session.chap import ChapConfig, ChapCredential
from iscsim.session.login import RedirectLogin
from iscsim.session.parameters import Wishes

NAME = "iqn.2026-11.test:initiator"
SECRET = "a secret of 16 b"


@pytest.fixture
async def silent_portal() -> Any:
    """A port that accepts and never says a word; ``count`` of connections."""
    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[:2]
    server.close()
    for writer in writers:
        writer.close()


async def test_session_in_a_with_block_logs_out_at_its_end(target: Any) -> None:
    async with connect(target.portal, target.name, initiator_name=NAME) as session:
        (there,) = target.node.sessions
        assert (there.initiator_name, session.is_open) == (NAME, True)
        assert repr(session) == f"Session('{target.name}' at {target.portal}, open)"
    assert target.node.sessions == []
    assert session.failure is None


async def test_session_may_be_awaited_too(target: Any) -> None:
    session = await connect(("127.0.0.1", target.portals[0].port), target.name)
    await session.test_unit_ready(1)
    await session.logout()
    await session.logout()
    with pytest.raises(SessionFailed):
        await session.test_unit_ready(1)


async def test_session_is_closed_when_the_block_raises(target: Any) -> None:
    with pytest.raises(KeyError):
        async with connect(target.portal, target.name):
            raise KeyError
    assert target.node.sessions == []


@rfc("7143", "4.4.3.1", row="I11")
async def test_sessions_of_one_initiator_live_side_by_side(target: Any) -> None:
    async with connect(target.portal, target.name), connect(target.portal, target.name):
        first, second = target.node.sessions
        assert first.isid != second.isid
        assert first.isid[0] == 0x80


async def test_same_isid_takes_the_place_of_the_older_session(target: Any) -> None:
    isid = b"\x80abcde"
    older = await connect(target.portal, target.name, isid=isid)
    async with connect(target.portal, target.name, isid=isid) as newer:
        await newer.test_unit_ready(1)
        with pytest.raises(SessionFailed):
            await older.test_unit_ready(1)
    await older.close()


async def test_nobody_there_is_one_clear_line(target: Any) -> None:
    with pytest.raises(ConnectionFailed, match=r"^cannot connect to 127\.0\.0\.1:1: Connection refused$"):
        await connect("127.0.0.1:1", target.name)


async def test_silence_after_the_connection_is_one_clear_line(silent_portal: Address) -> None:
    with pytest.raises(ConnectionFailed, match=r"no end of the login within 0\.05 s$"):
        await connect(silent_portal, "iqn.2026-11.test:disk", login_timeout_s=0.05)


async def test_cancelled_login_leaves_nothing_behind(silent_portal: Address) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await connect(silent_portal, "iqn.2026-11.test:disk")


async def test_connection_that_is_closed_during_login() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConnectionFailed, match=r"closed the connection|was lost"):
        await connect(("127.0.0.1", port), "iqn.2026-11.test:disk")
    server.close()


async def test_unknown_target_is_a_failed_login(target: Any) -> None:
    with pytest.raises(LoginFailed, match=r"no such target at this address$") as caught:
        await connect(target.portal, "iqn.2026-11.test:other")
    assert caught.value.status == 0x0203


@pytest.mark.parametrize(
    "arguments",
    [("not a portal", "iqn.2026-11.test:a"), ("127.0.0.1:1", ""), ("127.0.0.1:1", "a", "no name")],
)
def test_what_cannot_be_is_said_at_once(arguments: tuple[str, ...]) -> None:
    portal, name, *initiator = arguments
    with pytest.raises(ConfigError):
        connect(portal, name, **({"initiator_name": initiator[0]} if initiator else {}))


# -- CHAP and digests ------------------------------------------------------------------------------


async def test_chap_with_a_name_and_a_secret(target: Any) -> None:
    target.node.chap = ChapConfig(incoming=(ChapCredential("user", SECRET.encode()),))
    async with connect(target.portal, target.name, chap=("user", SECRET)) as session:
        await session.test_unit_ready(1)
    for chap in (None, ("user", "a wrong secret")):
        with pytest.raises(LoginFailed) as caught:
            await connect(target.portal, target.name, chap=chap)
        assert caught.value.status == 0x0201


async def test_mutual_chap(target: Any) -> None:
    user, peer = ChapCredential("user", SECRET.encode()), ChapCredential("target", b"another secret..")
    target.node.chap = ChapConfig(incoming=(user,), outgoing=peer)
    async with connect(
        target.portal, target.name, chap=ChapConfig(outgoing=user, incoming=(peer,))
    ) as session:
        await session.test_unit_ready(1)


@pytest.mark.parametrize("wanted", [True, False])
async def test_digests_as_wanted(target: Any, wanted: bool) -> None:
    async with connect(target.portal, target.name, header_digest=wanted, data_digest=wanted) as session:
        assert session.parameters.header_digest is session.parameters.data_digest is wanted
        await session.write(1, 0, b"d" * 1024)
        assert await session.read(1, 0, 2) == b"d" * 1024


@pytest.mark.parametrize("immediate_data", [True, False])
@pytest.mark.parametrize("initial_r2t", [True, False])
async def test_writes_of_every_kind(target: Any, initial_r2t: bool, immediate_data: bool) -> None:
    wishes = Wishes(
        initial_r2t=initial_r2t,
        immediate_data=immediate_data,
        first_burst_length=2048,
        max_burst_length=8192,
        max_recv_data_segment_length=1024,
    )
    data = random.Random(1).randbytes(64 << 10)
    async with connect(target.portal, target.name, wishes=wishes) as session:
        await session.write(1, 5, data)
        assert bytes(target.store.read(5, 128)) == data
        assert await session.read(1, 5, 128) == data


# -- redirection -----------------------------------------------------------------------------------


@rfc("7143", "11.13.5", row="I6")
async def test_redirection_is_followed_to_the_portal_it_names(
    target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = target.portals
    redirect(target, monkeypatch, lambda portal: str(second) if portal is first else None)
    async with connect(str(first), target.name) as session:
        assert (session.portal.address, session.portal.port) == (second.address, second.port)


async def test_redirection_in_a_circle_ends(target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    redirect(target, monkeypatch, lambda portal: str(portal))
    with pytest.raises(ConnectionFailed, match="more than 4 redirections"):
        await connect(target.portal, target.name)


def redirect(target: Any, monkeypatch: pytest.MonkeyPatch, where: Callable[[Any], str | None]) -> None:
    """Make the target send those who log in through a portal elsewhere."""
    from iscsim.target.login import LoginService

    find = LoginService.find_target

    def find_target(self: Any, *arguments: Any) -> Any:
        if address := where(self._connection.portal):
            raise RedirectLogin(address)
        return find(self, *arguments)

    monkeypatch.setattr(LoginService, "find_target", find_target)


# -- the end ---------------------------------------------------------------------------------------


async def test_target_that_goes_away_fails_what_is_under_way(target: Any) -> None:
    session = await connect(target.portal, target.name)
    await target.server.close()
    with pytest.raises(SessionFailed, match=r"closed the connection|was lost"):
        await session.read(1, 0, 1)
    assert session.failure is not None
    assert not session.is_open
    await session.close()


async def test_events_are_told(target: Any) -> None:
    told: list[Any] = []
    async with connect(target.portal, target.name) as session:
        session.on_event(told.append)
    assert [type(event).__name__ for event in told] == ["ConnectionEnded"]


async def test_connection_is_recorded(target: Any) -> None:
    capture = BytesIO()
    with Recorder(capture) as recorder:
        async with connect(target.portal, target.name, recorder=recorder) as session:
            await session.write(1, 0, b"recorded" * 64)
            await session.read(1, 0, 256)
    assert b"InitiatorName=" in capture.getvalue()
    assert b"recorded" * 64 in capture.getvalue()


# -- other transports ------------------------------------------------------------------------------


def test_everything_works_on_uvloop(target_script: Callable[..., Any]) -> None:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(target_script())


@pytest.fixture
def target_script() -> Callable[..., Any]:
    """Write, read and log out, with a target of its own."""

    async def script() -> None:
        from iscsim.scsi.logical_unit import LogicalUnit
        from iscsim.scsi.store import MemoryStore
        from iscsim.target.node import NetworkEntity, Portal
        from iscsim.target.server import TargetServer

        entity = NetworkEntity()
        node = entity.add_target("iqn.2026-11.test:disk")
        portal = Portal("127.0.0.1", 0)
        node.add_portal(portal)
        node.add_lun(1, LogicalUnit(MemoryStore(8192), serial="one"))
        data = random.Random(2).randbytes(1 << 20)
        async with TargetServer(entity), connect(str(portal), node.name) as session:
            await session.write(1, 0, data)
            parts = await asyncio.gather(*(session.read(1, start, 256) for start in range(0, 2048, 256)))
            assert b"".join(parts) == data

    return script


async def test_transport_that_hands_bytes_over(new_core: Callable[..., InitiatorConnection]) -> None:
    """One that knows only ``data_received``, as a network in memory may."""

    class Transport(asyncio.Transport):
        def __init__(self) -> None:
            super().__init__()
            self.written = b""

        def set_write_buffer_limits(self, high: Any = None, low: Any = None) -> None: ...

        def write(self, data: Any) -> None:
            self.written += bytes(data)

        def close(self) -> None:
            protocol.connection_lost(None)

    protocol, transport = InitiatorProtocol(new_core(), None), Transport()
    protocol.connection_made(transport)
    assert b"InitiatorName=" in transport.written
    protocol.data_received(bytes(48))
    with pytest.raises(ConnectionFailed):
        await protocol.ready


@pytest.mark.parametrize("blocks", [8, 63, 64, 65, 256, 512, 1000])
async def test_what_was_read_stays_what_it_was_while_more_is_read(target: Any, blocks: int) -> None:
    """Answers are views of receive buffers: none may be written to while its reader holds it."""
    pieces = {lba: random.Random(lba).randbytes(blocks * 512) for lba in range(0, 16000 - blocks, blocks)}
    async with connect(str(target.portals[0]), target.node.name) as session:
        for lba, data in pieces.items():
            target.store.write(lba, data)
        lbas = list(pieces)[:60]
        for _ in range(2):
            answers = await asyncio.gather(*(session.read(1, lba, blocks) for lba in lbas))
            assert [lba for lba, answer in zip(lbas, answers, strict=True) if answer != pieces[lba]] == []


async def test_a_command_that_has_ended_is_gone_with_its_last_user(target: Any) -> None:
    """Not when the garbage collector comes by: until then nobody could receive into its buffer again."""
    async with connect(target.portal, target.name) as session:
        gc.disable()
        try:
            task = CommandTask(session.lun_of(1), commands.read_10(0, 256), data_in_length=256 * 512)
            ended = weakref.ref(await session.run(task))
            del task
            assert ended() is None
        finally:
            gc.enable()


@pytest.fixture
async def receiving(new_core: Callable[..., InitiatorConnection]) -> Callable[..., int]:
    """Receives into a protocol of whose PDUs somebody holds views: says how much it would take next."""
    protocol = InitiatorProtocol(new_core(), None)
    framer = protocol.core.framer

    def receive(length: int, *, left: int, wants: int) -> int:
        def understand(data: memoryview, now: float) -> None:
            protocol.core.commands.lent = True
            framer.left, framer.left_wants = left, wants

        protocol.core.receive_data = understand  # type: ignore[assignment, method-assign]
        assert len(protocol.get_buffer(-1)) >= length
        protocol.buffer_updated(length)
        return len(protocol.get_buffer(-1))

    return receive


LONG = 48 + (128 << 10)


def test_a_pdu_is_received_to_its_end_only_where_the_next_would_not_fit_behind(
    receiving: Callable[..., int],
) -> None:
    assert receiving(6 * LONG + 100, left=100, wants=LONG) == LONG - 100
    assert receiving(LONG - 1000, left=LONG - 900, wants=LONG) == 900
    assert receiving(900, left=0, wants=LONG) == BUFFER_LENGTH


def test_with_room_for_the_next_as_much_is_received_as_there_is_room(receiving: Callable[..., int]) -> None:
    assert receiving(5 * LONG + 100, left=100, wants=LONG) == BUFFER_LENGTH - 5 * LONG - 100
    assert receiving(100, left=200, wants=LONG) == BUFFER_LENGTH - 5 * LONG - 200
    assert receiving(LONG - 200, left=0, wants=LONG) == BUFFER_LENGTH - 6 * LONG


def test_what_was_left_without_room_goes_on_in_another_buffer(receiving: Callable[..., int]) -> None:
    assert receiving(7 * LONG + 100, left=100, wants=LONG) == BUFFER_LENGTH - 100


def test_a_pdu_longer_than_a_buffer_gets_one_of_its_own(receiving: Callable[..., int]) -> None:
    assert receiving(48, left=48, wants=2 * BUFFER_LENGTH) == 2 * BUFFER_LENGTH - 48
