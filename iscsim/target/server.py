"""The target on a network: listeners, and one protocol object around each connection core."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self, cast

from iscsim.errors import ConfigError
from iscsim.net.network import Address, Buffer, ConnectionRecord, Listener, Network, Recorder
from iscsim.net.tcp import TCPNetwork, pause_from_the_start
from iscsim.pdu import LoginStatus
from iscsim.session.chap import Randomness
from iscsim.session.comments import commented, take_receipts
from iscsim.session.connection import Tap
from iscsim.session.events import ConnectionEnded, LoginCompleted, PDURejected
from iscsim.session.login import login_error
from iscsim.session.names import format_portal
from iscsim.target.connection import TargetConnection
from iscsim.target.node import NetworkEntity, Portal
from iscsim.target.places import who_gives_way

logger = logging.getLogger("iscsim.target")

_WRITE_HIGH_WATER = 4 << 20
"""Bytes waiting for a peer that does not read; beyond, nothing more is read from it."""
_SEND_BUFFER = 512 << 10
"""SO_SNDBUF; of 64 KiB to 1 MiB and the kernel's own choice the best for reads of 128 KiB and more."""
_LINGER_S = 5.0
"""How long a peer may take to read what is left and to close, after our FIN or its own."""
_FAREWELL_S = 0.25
"""How much longer than it may take to log out we wait for those to go who were dropped."""
_MAX_CONNECTIONS = 1024
_OTHER_FILES = 64
"""Files a process has open besides its connections: listeners, disks, captures."""
_MAX_LOGGED_REJECTS = 16
"""Rejects of one connection that the log names: a peer can cause far more of them than a log has room for."""


def _bound_send_buffer(transport: asyncio.Transport) -> None:
    """Keep what waits in the kernel small enough for the processor's cache; other transports have none."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)


def connections_allowed() -> int:
    """How many connections the limit of open files (``ulimit -n``) leaves room for: 1024 at most."""
    try:
        from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit
    except ImportError:  # not a UNIX: no such limit
        return _MAX_CONNECTIONS
    files, _ = getrlimit(RLIMIT_NOFILE)
    if files == RLIM_INFINITY or files >= _MAX_CONNECTIONS + _OTHER_FILES:
        return _MAX_CONNECTIONS
    allowed = max(files - _OTHER_FILES, 1)
    # 1024 is what most systems give a process: nothing to warn of
    level = logging.WARNING if files < _MAX_CONNECTIONS else logging.INFO
    logger.log(level, "at most %d connections: only %d files may be open (ulimit -n)", allowed, files)
    return allowed


class TargetProtocol(asyncio.Protocol):
    """The asyncio shell of one :class:`TargetConnection`."""

    def __init__(self, server: TargetServer, portal: Portal) -> None:
        self._server = server
        self._portal = portal
        self._record: ConnectionRecord | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf  # when it is: handles of uvloop do not always say
        self.cut_off = False
        """Whether it was aborted, which its transport will tell of."""
        self._finished = False
        self._full = self._going_on = False
        self._comment: Callable[[str], None] | None = None
        self._rejects = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer has connected."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        loop = asyncio.get_running_loop()
        self._loop, self._time = loop, loop.time
        # of a peer that has gone already there is no address any more
        self.peer: Address = (self._transport.get_extra_info("peername") or ("unknown", 0))[:2]
        local: Address = (self._transport.get_extra_info("sockname") or ("unknown", 0))[:2]
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH_WATER)
        _bound_send_buffer(self._transport)
        self.core = TargetConnection(
            self._server.entity, self._portal, rng=self._server.rng, now=loop.time(), local_address=local[0]
        )
        self.core.wake = self.flush
        if self._server.taps is not None:
            self._comment = self._transport.get_extra_info("comment")
            self.core.use_tap(self._server.taps(self.core, self.peer))
        if self._server.recorder is not None:
            self._record = self._server.recorder.connection(self.peer, local)
            self._record.opened(loop.time())
        self._server.admit(self)
        if self._server.paused:
            pause_from_the_start(self._transport)
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer: hand them to the core, send what it answers."""
        core, now = self.core, self._time()
        if self._record is None:
            core.receive_data(data, now)
        elif core.tap is None:
            self._record.from_client(data, now)
            core.receive_data(data, now)
        else:
            core.receive_data(data, now)
            self._record.from_client(data, now, take_receipts(core.comments))
        self.flush()

    def flush(self) -> None:
        """Send what the core has, log what happened, arm its next timer."""
        core = self.core
        out = core.data_to_send()
        if core.comments:
            self._write_commented(out)
        elif out:
            self._transport.writelines(out if self._record is None else self._recorded(self._record, out))
        self._log_events()
        if core.closing:
            self._finish()
            return
        if core.has_more and not (self._full or self._going_on):
            self._going_on = True
            self._loop.call_soon(self._go_on)  # by then the transport knows whether the peer takes more
        deadline = core.next_deadline()
        if deadline is not None and deadline < self._due:
            self._arm(deadline)

    def _recorded(self, record: ConnectionRecord, out: list[Buffer]) -> list[Buffer]:
        """Tell of ``out``; what is told whole is copied, as the capture and the wire must not differ."""
        now = self._time()
        if record.takes_whole(sum(map(len, out)), now):
            out = [b"".join(out)]
            record.from_server(out, now)
        else:
            record.headers_from_server(out, now)
        return out

    def _write_commented(self, out: list[Buffer]) -> None:
        """Send what a tap has a comment on in a write of its own, that a capture may show it there."""
        comments, self.core.comments = self.core.comments, []
        for pieces, comment in commented(out, comments):
            if comment is not None and self._comment is not None:
                self._comment(comment)
            if pieces:
                pieces = [bytes(piece) for piece in pieces]
                if self._record is not None:
                    self._record.from_server(pieces, self._time(), comment)
                self._transport.writelines(pieces)

    def _go_on(self) -> None:
        self._going_on = False
        if not (self._full or self._finished or self._server.paused):
            self.core.go_on(self._time())
            self.flush()

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._due = self._loop.call_at(deadline, self._tick), deadline

    def _tick(self) -> None:
        self._timer, self._due = None, math.inf
        if self._server.paused:
            return
        self.core.handle_timer(self._time())
        self.flush()

    def _log_events(self) -> None:
        for event in self.core.events():
            self._log(event)
            for listener in self._server.listeners:
                listener(self.core, self.peer, event)

    def _log(self, event: object) -> None:
        where = f"portal {self._portal}, peer {format_portal(*self.peer)}"
        match event:
            case ConnectionEnded(message) if message:
                logger.warning("%s: connection closed: %s", where, message)
            case PDURejected(reason, message):
                why = f"{reason:#04x} (RFC 7143 section 11.17.1)"
                self._log_reject(f"{where}: rejected with reason {why}: {message}")
            case LoginCompleted(name, session_type):
                logger.info("%s: %s logged in (%s)", where, name, session_type)

    def _log_reject(self, line: str) -> None:
        self._rejects += 1
        if self._rejects <= _MAX_LOGGED_REJECTS:
            last = " (further rejects of this connection are not logged)"
            logger.warning("%s%s", line, last if self._rejects == _MAX_LOGGED_REJECTS else "")

    def _finish(self) -> None:
        """Half-close: the peer reads to the end and closes, or is cut off (RFC 7143 section 11.14)."""
        if self._finished:
            return
        self._finished = True
        if self._timer is not None:
            self._timer.cancel()
        if self._record is not None:
            self._record.closed(False, self._time())
        if not self._transport.is_closing():
            self._transport.write_eof()
        self._timer = self._loop.call_later(_LINGER_S, self._transport.abort)

    def pause_writing(self) -> None:
        """The peer does not read: do not let it ask for more."""
        self._full = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._full = False
        if not self._server.paused:
            self._transport.resume_reading()
            self.flush()

    @property
    def transport(self) -> asyncio.Transport:
        """What it writes to."""
        return self._transport

    def use_transport(self, transport: asyncio.Transport) -> None:
        """Write through ``transport`` from now on, which leads to the same peer: faults step between."""
        self._transport = transport

    def stand_still(self) -> None:
        """The server is paused: what comes stays with the transport."""
        self._transport.pause_reading()

    def go_on(self) -> None:
        """The server goes on: take what has come, and do what fell due meanwhile."""
        if not self._full:
            self._transport.resume_reading()
        self.core.handle_timer(self._time())
        self.flush()

    def eof_received(self) -> None:
        """The peer sends no more: its session is over, and what it is owed need not wait for it for ever."""
        if self._finished:
            return
        if self._record is not None:
            self._record.closed(True, self._time())
        self.core.connection_lost()
        self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        """The TCP connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
        if self._record is not None:
            if error is not None:
                self._record.reset(True, self._time())
            else:
                self._record.closed(True, self._time())
        self._finished = True
        try:
            self.core.connection_lost()
            self._log_events()
        finally:  # whatever happened, the server must not wait for this connection
            self._server.forget(self)

    def abort(self, message: str = "") -> None:
        """Cut the connection off; ``message`` is for the log."""
        if message:
            self.core.end(message)
        self.cut_off = True
        self._transport.abort()


class TargetServer:
    """Serves the nodes of a :class:`NetworkEntity` on all their portals.

    ::

        async with TargetServer(entity) as server:
            ...

    A portal with port 0 gets a free one, which its ``port`` then says. ``recorder`` captures every
    connection. ``rng`` must be ``secrets.SystemRandom()`` (the default) except in simulation. Without
    ``max_connections`` it is 1024, or less where the limit of open files wants it so. ``taps``
    gives each new connection of a peer its tap, or None. ``may_be_empty``: it may begin without a portal, as
    they come later (`listen`).
    """

    def __init__(
        self,
        entity: NetworkEntity,
        *,
        network: Network | None = None,
        recorder: Recorder | None = None,
        rng: Randomness | None = None,
        max_connections: int | None = None,
        taps: Callable[[TargetConnection, Address], Tap | None] | None = None,
        may_be_empty: bool = False,
    ) -> None:
        self.entity = entity
        self._may_be_empty = may_be_empty
        self.taps = taps
        self.listeners: list[Callable[[TargetConnection, Address, object], None]] = []
        """Told of the events of every connection, with its peer's address."""
        self.recorder = recorder
        self.rng: Randomness = secrets.SystemRandom() if rng is None else rng
        self._network: Network = TCPNetwork() if network is None else network
        self._listeners: dict[Portal, Listener] = {}
        self._protocols: dict[TargetProtocol, None] = {}  # a set that keeps its order
        self._max_connections = connections_allowed() if max_connections is None else max_connections
        self._closed = self._started = False
        self.paused = False
        self._empty = asyncio.Event()
        self._empty.set()

    async def start(self) -> None:
        """Listen on every portal; nothing, when that is done or under way.

        Raises:
            OSError: a portal's address cannot be used; ``filename`` says which.
            ConfigError: there is no portal at all.
        """
        if not (self.entity.portals or self._may_be_empty):
            raise ConfigError("a target needs at least one portal")
        if self._started:  # two who end an outage both start it
            return
        self._started = True
        self._closed = self.entity.closing = False
        try:
            for portal in self.entity.portals:
                failing = str(portal)
                await self.listen(portal)
        except OSError as error:
            error.filename = failing
            await self.close()
            raise

    async def listen(self, portal: Portal) -> None:
        """Listen on one more portal; when the server does not listen at all, `start` will.

        Raises:
            OSError: it cannot be listened on.
        """
        if not self._started or portal in self._listeners:
            return
        listener = await self._network.listen(portal.address, portal.port, self._factory(portal))
        if not self._started:  # stopped meanwhile
            listener.close()
            return
        portal.port = listener.address[1]
        self._listeners[portal] = listener

    def stop_listening(self, portal: Portal) -> None:
        """Listen on a portal no more; connections that came in there stay."""
        listener = self._listeners.pop(portal, None)
        if listener is not None:
            listener.close()

    def _factory(self, portal: Portal) -> Callable[[], TargetProtocol]:
        return lambda: TargetProtocol(self, portal)

    @property
    def protocols(self) -> list[TargetProtocol]:
        """The connections there are, the oldest first."""
        return list(self._protocols)

    def admit(self, protocol: TargetProtocol) -> None:
        """Remember a connection. One that came too late is closed; one too many takes another's place.

        When all the others have logged in to a target, it is told so when it tries to.
        """
        others = [other for other in self._protocols if not other.cut_off]
        self._protocols[protocol] = None
        self._empty.clear()
        if self._closed:
            protocol.abort("the server is closing")
        elif len(others) >= self._max_connections:
            self._make_room(protocol, others)

    def _make_room(self, newcomer: TargetProtocol, others: list[TargetProtocol]) -> None:
        leaving = who_gives_way(others)
        if leaving is not None:
            leaving.abort(f"all {self._max_connections} connections are taken, and another one came")
        if leaving is None or len(others) > self._max_connections:
            message = f"all {self._max_connections} connections are in use"
            newcomer.core.login.refusal = login_error(LoginStatus.OUT_OF_RESOURCES, message)

    def forget(self, protocol: TargetProtocol) -> None:
        """A connection is gone."""
        self._protocols.pop(protocol, None)
        if not self._protocols:
            self._empty.set()

    async def shut_down(self, time_s: int = 2) -> None:
        """Stop listening, ask every initiator to log out within ``time_s`` seconds, then :meth:`close`.

        A login that is under way is refused with 0301.
        """
        self.entity.closing = True
        self._stop_listening()
        for session in self.entity.sessions:
            session.request_logout(time_s, asyncio.get_running_loop().time())
        with suppress(TimeoutError):
            if time_s:
                await asyncio.wait_for(self._empty.wait(), time_s + _FAREWELL_S)
        await self.close()

    def _stop_listening(self) -> None:
        self._closed, self._started = True, False
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()

    @property
    def peers(self) -> dict[TargetConnection, Address]:
        """The address of who is at the other end, by connection."""
        return {protocol.core: protocol.peer for protocol in self._protocols}

    def pause(self) -> None:
        """Stand still as a stopped process does: connections are made, and nothing is read or answered."""
        self.paused = True
        for protocol in self._protocols:
            protocol.stand_still()

    def resume(self) -> None:
        """Go on after `pause` with what has come meanwhile."""
        self.paused = False
        for protocol in list(self._protocols):
            protocol.go_on()

    def stop(self) -> None:
        """Stop listening and cut every connection off, at once; `start` begins anew."""
        self.paused = False
        self._stop_listening()
        for protocol in list(self._protocols):
            protocol.abort()

    async def close(self) -> None:
        """Stop listening, close every connection, wait until they are gone."""
        self.stop()
        await self._empty.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
