"""The initiator on a network: one protocol object around each connection core, and ``connect()``."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from iscsim.errors import ConfigError, ConnectionFailed, ISCSIError, LoginFailed
from iscsim.initiator.buffers import ReceiveBuffers
from iscsim.initiator.connection import InitiatorConnection, Timeouts
from iscsim.initiator.events import AsyncMessageReceived
from iscsim.initiator.portal import Portal, parse_portal
from iscsim.initiator.redirections import Redirections
from iscsim.initiator.session import Session
from iscsim.initiator.task import CommandTask, Request
from iscsim.net.network import Buffer, ConnectionRecord, Network, Recorder
from iscsim.net.reasons import reason_of
from iscsim.net.tcp import TCPNetwork
from iscsim.session.chap import ChapConfig, ChapCredential, Randomness
from iscsim.session.events import ConnectionEnded, Event, LoginCompleted, PDURejected
from iscsim.session.login import LoginConfig, LoginRedirected
from iscsim.session.names import normalize_name
from iscsim.session.parameters import Wishes

if TYPE_CHECKING:
    from iscsim.initiator.initial_login import InitialLoginSettings, LoginAttempt

logger = logging.getLogger("iscsim.initiator")
_BUFFERS = ReceiveBuffers()

DEFAULT_INITIATOR_NAME = "iqn.2026-11.org.iscsim:initiator"
_MIN_RECEIVE_LENGTH = 64 << 10
"""A buffer with less room behind what is lent is not received into any more."""
_HEADERS_ONLY = 48
_JOIN_LENGTH = 16 << 10
"""Up to this it is quicker to join pieces than to have the kernel gather them."""
_WRITE_HIGH_WATER = 4 << 20
_LINGER_S = 5.0
"""How long what is unsent may take, and the target to close after our FIN."""

Chap = ChapConfig | tuple[str, str] | None
PortalLike = str | tuple[str, int] | Portal


class InitiatorProtocol(asyncio.BufferedProtocol):
    """The asyncio shell of one :class:`InitiatorConnection`.

    Long data segments are received straight into the buffer of their command. A transport that knows no
    ``get_buffer`` may use :meth:`data_received`.
    """

    def __init__(self, core: InitiatorConnection, recorder: Recorder | None) -> None:
        self.core = core
        self.listeners: list[Any] = []
        self._recorder = recorder
        self._record: ConnectionRecord | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf  # when it is: handles of uvloop do not always say
        self._flushing = self._finished = self._settled = False
        self._buffer: bytearray | None = None  # held while part of a PDU waits in it, or views of it are lent
        self._view = memoryview(b"")
        self._start = self._filled = 0  # what in it has not been understood yet
        self._limit = 0  # it is received into up to here
        self._room: memoryview | None = None
        self._find_room = core.framer.room
        self.loop = asyncio.get_running_loop()
        self.time = self.loop.time
        self.ready: asyncio.Future[None] = self.loop.create_future()
        self.closed: asyncio.Future[None] = self.loop.create_future()

    # -- the transport's side ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP is there: begin the login."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH_WATER)
        if self._recorder is not None:
            local = self._transport.get_extra_info("sockname")[:2]
            peer = self._transport.get_extra_info("peername")[:2]
            self._record = self._recorder.connection(local, peer)
            self._record.opened(self.time())
        self.core.now = self.time()
        self.core.start()
        self.flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: home, when they are the rest of a long data segment."""
        self._room = room = self._find_room()
        if room is not None:
            return room
        if self._buffer is None:
            self._hold(_BUFFERS.take())
        filled = self._filled
        if filled == self._start and self.core.commands.goes_on:
            # within a long read the next data segment can go home too, once its header is here
            return self._view[filled : filled + _HEADERS_ONLY]
        return self._view[filled : self._limit]

    def _hold(self, buffer: bytearray) -> None:
        self.core.framer.leaves_partial = True
        self.core.commands.lent = False
        self._buffer, self._view, self._start, self._filled = buffer, memoryview(buffer), 0, 0
        self._limit = len(buffer)

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes from the target: hand them to the core, send what it answers."""
        core, now, room = self.core, self.time(), self._room
        if room is not None:
            self._room = None
            if self._record is not None:
                self._record.from_server(bytes(room[:nbytes]), now)
            core.receive_in_room(nbytes, now)
        else:
            filled = self._filled
            self._filled = end = filled + nbytes
            if self._record is not None:
                self._record.from_server(bytes(self._view[filled:end]), now)
            core.receive_data(self._view[self._start : end], now)
            self._start = end - core.framer.left
            self._make_room()
        self._flush_soon()

    def _make_room(self) -> None:
        """Let the buffer go, or see to it that what was left of a PDU can be completed.

        A PDU that would not fit behind the one under way is not even begun there: nothing of it is moved.
        """
        wanted, left = self.core.framer.left_wants, self._filled - self._start
        behind = len(self._view) - self._start
        if not left and (not self.core.commands.lent or behind < max(wanted, _MIN_RECEIVE_LENGTH)):
            self._let_go()
            return
        if left and behind < wanted:
            self._move(wanted)
            behind = len(self._view)
        self._limit = self._start + wanted if left and behind < 2 * wanted else len(self._view)

    def _move(self, wanted: int) -> None:
        """Go on with what was left of a PDU in a buffer that has room for it."""
        left = self._view[self._start : self._filled]
        self._let_go()
        self._hold(_BUFFERS.take(wanted))
        self._filled = len(left)
        self._view[: len(left)] = left

    def _let_go(self) -> None:
        if self._buffer is not None:
            self._view = memoryview(b"")
            _BUFFERS.give_back(self._buffer, lent=self.core.commands.lent)
            self._buffer, self._start, self._filled = None, 0, 0

    def _flush_soon(self) -> None:
        """After a receipt: flush behind those who now go on and ask for more, or at once if nobody does."""
        if self._settled:
            self._settled = False
            if not self._flushing:
                self._flushing = True
                self.loop.call_soon(self.flush)
        elif not self._flushing and self.core.has_news():
            self.flush()

    def data_received(self, data: bytes) -> None:
        """Bytes from a transport that hands them over."""
        now = self.time()
        if self._record is not None:
            self._record.from_server(data, now)
        self.core.receive_data(data, now)
        self._flush_soon()

    def eof_received(self) -> None:
        """The target has closed its half: close ours too (RFC 7143 section 11.15)."""
        self.core.connection_lost()
        self.flush()

    def pause_writing(self) -> None:
        """The target does not read: do not let it ask for more."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The target reads again."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """The TCP connection is gone."""
        if self._record is not None:
            if error is not None:
                self._record.reset(False, self.time())
            else:
                self._record.closed(False, self.time())
        self.core.connection_lost(f"the connection was lost: {reason_of(error)}" if error else _CLOSED)
        self._let_go()
        self._finished = True
        self.flush()
        if self._timer is not None:
            self._timer.cancel()
        if not self.closed.done():
            self.closed.set_result(None)

    @property
    def local_address(self) -> str:
        """Our end of the TCP connection, without its port."""
        address: str = self._transport.get_extra_info("sockname")[0]
        return address

    # -- the session's side ------------------------------------------------------------------------

    def begin(self, request: Request, timeout_s: float | None) -> asyncio.Future[Any]:
        """The future of ``request``, which the caller then gives to the core; its deadline is set."""
        future: asyncio.Future[Any] = self.loop.create_future()
        request.context, request.done = future, self._settle
        core = self.core
        core.now = now = self.time()
        if timeout_s is not None:
            request.deadline = now + timeout_s
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self.flush)
        return future

    def _settle(self, request: Request) -> None:
        """Give the future of ``request`` its result."""
        future: asyncio.Future[None] = request.context
        if not future.done():  # its waiter may have been cancelled
            self._settled = True
            if request.error is None:
                future.set_result(None)  # not the request, which knows it: no cycle may keep its data
            else:
                future.set_exception(request.error)

    def abandon(self, task: CommandTask, error: ISCSIError) -> None:
        """Nobody waits for ``task`` any more: abort it."""
        self.core.now = self.time()
        if not self.core.closing:
            self.core.commands.abort(task, error)
            self.flush()

    def flush(self) -> None:
        """Send what the core has, tell what happened, arm its next timer."""
        self._flushing = False
        core = self.core
        if out := core.data_to_send():
            self._write(out)
        if events := core.events():
            for event in events:
                self._tell(event)
        if core.closing:
            self._finish()
            return
        if not core.timer_set:
            return
        core.timer_set = False
        deadline = core.next_deadline()
        if deadline is not None and deadline < self._due:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._due = self.loop.call_at(deadline, self._tick), deadline

    def _write(self, out: Sequence[Buffer]) -> None:
        if self._finished:
            return
        if len(out) == 1:
            pieces: Buffer = out[0]
        elif sum(map(len, out)) <= _JOIN_LENGTH:
            pieces = b"".join(out)
        else:
            if self._record is not None:
                self._record.from_client(out, self.time())
            self._transport.writelines(out)
            return
        if self._record is not None:
            self._record.from_client(pieces, self.time())
        self._transport.write(pieces)

    def _tick(self) -> None:
        self._timer, self._due = None, math.inf
        self.core.timer_set = True  # another one is to be armed in any case
        self.core.handle_timer(self.time())
        self.flush()

    def _tell(self, event: Event) -> None:
        label = self.core.label
        match event:
            case LoginCompleted():
                if not self.ready.done():
                    self.ready.set_result(None)
            case ConnectionEnded(message) if message:
                logger.info("%s: connection ended: %s", label, message)
            case PDURejected(_, message):
                logger.warning("%s: %s", label, message)
            case AsyncMessageReceived(code):
                logger.warning("%s: asynchronous event %d", label, code)
        for listener in self.listeners:
            listener(event)

    def _finish(self) -> None:
        """The core is done: let what is unsent go out, then close."""
        if not self.ready.done():
            self.ready.set_exception(self.core.failure or ConnectionFailed(_CLOSED))
        if self._finished:
            return
        self._finished = True
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(_LINGER_S, self._transport.abort)
        self._transport.close()

    def close(self, message: str = "") -> None:
        """Close without a logout; ``message`` says what is wrong, if anything is."""
        self.core.now = self.time()
        self.core.end(message)
        self.flush()


_CLOSED = "the target closed the connection"


def random_isid(rng: Randomness) -> bytes:
    """An ISID of the random kind (RFC 7143 section 11.12.5): every session is one of its own."""
    return b"\x80" + rng.randbytes(5)


async def open_connection(
    config: LoginConfig,
    portal: Portal,
    *,
    network: Network,
    recorder: Recorder | None,
    rng: Randomness,
    timeouts: Timeouts,
    isid: bytes,
    allowed_redirections: Sequence[str] | None = None,
) -> tuple[InitiatorProtocol, Portal]:
    """Connect and log in, following redirections; where it ended comes back too.

    Raises:
        ConnectionFailed: no TCP connection, or it was lost before the end of the login, or a redirection
            that is not followed.
        LoginFailed: the target refuses.
    """
    redirections = Redirections(portal, allowed_redirections)
    while True:
        label = f"{config.target_name or 'discovery'} at {portal}"
        core = InitiatorConnection(
            config, isid=isid, rng=rng, now=asyncio.get_running_loop().time(), timeouts=timeouts, label=label
        )
        try:
            return await _log_in(core, portal, network, recorder), portal
        except LoginRedirected as redirection:
            portal = redirections.follow(redirection)


async def _log_in(
    core: InitiatorConnection, portal: Portal, network: Network, recorder: Recorder | None
) -> InitiatorProtocol:
    protocol = InitiatorProtocol(core, recorder)
    limit = core.timeouts.login_s
    try:
        async with asyncio.timeout(limit or None):
            await network.connect(portal.address, portal.port, lambda: protocol)
    except OSError as error:
        if isinstance(error, TimeoutError) and error.errno is None:  # ours, not the kernel's
            raise ConnectionFailed(f"cannot connect to {portal} within {limit:g} s") from None
        raise ConnectionFailed(f"cannot connect to {portal}: {reason_of(error)}") from None
    try:
        await protocol.ready
    except LoginFailed as error:
        if not isinstance(error, LoginRedirected):
            error.args = (f"{core.label}: {error}",)
        await protocol.closed
        raise
    except ISCSIError as error:
        await protocol.closed
        raise ConnectionFailed(f"{core.label}: {error}") from None
    except BaseException:
        protocol.close()
        raise
    return protocol


class Connecting:
    """What :func:`connect` returns: await it, or use it with ``async with``, which logs out at the end."""

    def __init__(self, opening: Any) -> None:
        self._opening = opening

    def __await__(self) -> Generator[Any, None, Session]:
        session: Session = yield from self._opening().__await__()
        return session

    async def __aenter__(self) -> Session:
        self._session: Session = await self
        return self._session

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()


def connect(
    portal: PortalLike,
    target_name: str,
    *,
    initiator_name: str = DEFAULT_INITIATOR_NAME,
    chap: Chap = None,
    header_digest: bool | None = None,
    data_digest: bool | None = None,
    wishes: Wishes | None = None,
    network: Network | None = None,
    recorder: Recorder | None = None,
    rng: Randomness | None = None,
    isid: bytes | None = None,
    login_timeout_s: float = 15.0,
    command_timeout_s: float | None = 30.0,
    ping_interval_s: float = 5.0,
    ping_timeout_s: float = 5.0,
    portal_group_tag: int | None = None,
    allowed_redirections: Sequence[str] | None = None,
    retry: InitialLoginSettings | None = None,
    on_attempt: Callable[[LoginAttempt], None] | None = None,
    clock: Callable[[], float] | None = None,
) -> Connecting:
    """Log in to a target::

        async with iscsim.connect("127.0.0.1:3260", "iqn.2026-11.test:disk") as session:
            data = await session.read(1, lba=0, blocks=8)

    ``portal`` is ``"host:port"``, ``"[::1]:3260"``, ``(host, port)`` or what discovery found. ``chap`` is
    ``(name, secret)`` or a ``ChapConfig``. A digest is asked for with True, refused with False and left to
    the target with None; ``wishes`` sets every other key. ``isid`` (6 bytes) makes sessions known again to
    the target; without it each is a new one. ``allowed_redirections`` are the addresses, networks and host
    names a target may send us to; None for any. Times are in seconds; a ping interval of 0 sends no pings.

    Without ``retry`` there is one attempt of ``login_timeout_s``. With it we try for as long as open-iscsi
    would with these settings; ``on_attempt`` is told of each attempt that is over. Like iscsid it counts
    its patience by the time of day, ``clock`` (the loop's, unless given).

    Awaiting or entering it raises:
        ConnectionFailed: no connection, or no end of the login in time.
        InitialLoginFailed: a ConnectionFailed of ``retry``; ``exit_code`` is what iscsiadm would exit with.
        LoginFailed: the target refuses; ``status`` says why.
        ConfigError: a name, a secret or the portal is none.
    """
    config = LoginConfig(
        initiator_name=normalize_name(initiator_name),
        target_name=target_name,
        chap=chap_config(chap),
        portal_group_tag=portal_group_tag,
        wishes=with_digests(wishes or Wishes(), header_digest, data_digest),
    )
    start, dice = parse_portal(portal), secrets.SystemRandom() if rng is None else rng
    timeouts = Timeouts(
        ping_interval_s=ping_interval_s, ping_timeout_s=ping_timeout_s, login_s=login_timeout_s
    )

    async def opening() -> Session:
        options: Any = {
            "network": network or default_network(),
            "recorder": recorder,
            "rng": dice,
            "timeouts": timeouts,
            "isid": random_isid(dice) if isid is None else isid,
            "allowed_redirections": allowed_redirections,
        }
        if retry is None:
            protocol, reached = await open_connection(config, start, **options)
        else:
            from iscsim.initiator.login_attempts import LoginAttempts

            attempts = LoginAttempts(config, start, retry, on_attempt, clock=clock, **options)
            protocol, reached = await attempts.run()
        return Session(protocol, reached, command_timeout_s=command_timeout_s)

    return Connecting(opening)


def default_network() -> Network:
    """The machine's own."""
    return TCPNetwork()


def chap_config(chap: Chap) -> ChapConfig | None:
    """CHAP from a name and a secret. Raises ConfigError when one is unfit."""
    if isinstance(chap, tuple):
        name, secret = chap
        return ChapConfig(outgoing=ChapCredential(name, secret.encode()))
    return chap


def with_digests(wishes: Wishes, header: bool | None, data: bool | None) -> Wishes:
    """``wishes`` with each digest required, refused or as it is."""
    choices = {True: ("CRC32C",), False: ("None",)}
    if header is not None:
        wishes = replace(wishes, header_digest=choices[header])
    if data is not None:
        wishes = replace(wishes, data_digest=choices[data])
    return wishes


__all__ = ["DEFAULT_INITIATOR_NAME", "ConfigError", "Connecting", "InitiatorProtocol", "connect"]
