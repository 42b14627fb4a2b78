"""TCP between two protocols of one process: what is written at one end arrives at the other.

Segments take their time by latency and bandwidth, wait for a reader that has paused, are sent again when they
are lost, and keep their order. A closed end answers data with a reset, as a kernel does.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from iscsim.net.conditions import End, Flow, Passage
from iscsim.net.network import Buffer, Factory, WireRecord

if TYPE_CHECKING:
    from iscsim.net.memory import MemoryNetwork

__all__ = ["MemoryTransport"]

WINDOW = 1 << 20
"""Bytes that may be on their way or wait for the reader."""
_HIGH_WATER = 64 << 10
_FIRST_RETRANSMISSION_S = 0.2
_LAST_RETRANSMISSION_S = 120.0
_MOST_RETRANSMISSIONS = 15
"""Linux, net.ipv4.tcp_retries2: a connection is given up some 924 s after the first loss."""

Piece = bytes | End


class MemoryTransport(asyncio.Transport):
    """One end of a connection. ``flow`` is the direction in which it sends."""

    def __init__(
        self,
        network: MemoryNetwork,
        loop: asyncio.AbstractEventLoop,
        flow: Flow,
        record: WireRecord | None,
    ) -> None:
        super().__init__({"sockname": flow.source, "peername": flow.destination, "socket": None})
        self.network = network
        self.flow = flow
        self.peer: MemoryTransport
        self._loop = loop
        self._record = record
        self._protocol: Any = None
        self._closing = self._lost = self._finished = False
        # what goes out
        self._unsent: deque[Piece] = deque()
        self._unsent_length = 0
        self._high, self._low = _HIGH_WATER, _HIGH_WATER // 4
        self._writing_paused = False
        self._flying: deque[tuple[float, Piece]] = deque()
        self._flying_length = 0
        self._free_at = self._last_arrival = 0.0
        self._retransmissions = 0
        self._retry: asyncio.TimerHandle | None = None
        # what came in
        self._unread: deque[Piece] = deque()
        self._unread_length = 0
        self._reading_paused = False
        self._delivering = False

    def begin(self, factory: Factory, delay_s: float) -> None:
        """Make the protocol and tell it, now or when the other end's program has accepted."""
        if delay_s:
            self._reading_paused = True
            self._loop.call_later(delay_s, self._accept, factory)
        else:
            self._protocol = factory()
            self._call(self._protocol.connection_made, self)

    def _accept(self, factory: Factory) -> None:
        if self._lost:
            return
        self._reading_paused = False
        self._protocol = factory()
        self._call(self._protocol.connection_made, self)
        self._deliver()

    # -- asyncio's side ----------------------------------------------------------------------------

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand over to another protocol."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol on it."""
        return self._protocol  # type: ignore[no-any-return]

    def is_closing(self) -> bool:
        """Whether it is closed or closing."""
        return self._closing

    def is_reading(self) -> bool:
        """Whether data is handed to the protocol."""
        return not (self._reading_paused or self._closing)

    def can_write_eof(self) -> bool:
        """It can close one half."""
        return True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When to tell the protocol to stop writing, and to go on."""
        self._high = _HIGH_WATER if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Low and high water, in bytes."""
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Bytes that could not be sent yet."""
        return self._unsent_length

    def write(self, data: Buffer) -> None:
        """Send ``data``."""
        if self._finished:
            raise RuntimeError("cannot write after write_eof()")
        if data and not self._closing:
            self._unsent.append(bytes(data))
            self._unsent_length += len(data)
            self._send()
            self._look_at_high_water()

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        """Send the pieces in one."""
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """Close this half: a FIN goes out behind what is unsent."""
        if not self._finished and not self._lost:
            self._finished = True
            self._unsent.append(End.FIN)
            self._send()

    def pause_reading(self) -> None:
        """What arrives waits."""
        self._reading_paused = True

    def resume_reading(self) -> None:
        """Take what waits, and more."""
        if self._reading_paused:
            self._reading_paused = False
            self._loop.call_soon(self._deliver)

    def close(self) -> None:
        """Read no more; send what is unsent, then FIN."""
        if not self._closing:
            self._closing = True
            self._drop_unread()
            if not self._finished:
                self._finished = True
                self._unsent.append(End.FIN)
            self._send()

    def abort(self) -> None:
        """End the connection at once: the peer sees a reset."""
        if not self._lost:
            self._unsent.clear()
            self._unsent_length = 0
            self._closing = self._finished = True
            self._unsent.append(End.RST)
            self._cancel_retry()
            self._send()
            self._lose(None)

    # -- sending -----------------------------------------------------------------------------------

    def _send(self) -> None:
        """Send what the window lets through, unless a lost segment has to be sent again first."""
        network = self.network
        while self._unsent and self._retry is None:
            piece = self._unsent[0]
            if isinstance(piece, bytes):
                room = min(WINDOW - self._flying_length - self.peer._unread_length, network.segment_size)
                if room <= 0:
                    return
                if len(piece) > room:
                    self._unsent[0], piece = piece[room:], piece[:room]
                else:
                    self._unsent.popleft()
            else:
                self._unsent.popleft()
            self._unsent_length -= len(piece) if isinstance(piece, bytes) else 0
            self._transmit(piece)
        if self._writing_paused and self._unsent_length <= self._low:
            self._writing_paused = False
            self._call(self._protocol.resume_writing)
        if self._closing and not self._unsent and self._retry is None:
            self._lose(None)

    def _transmit(self, piece: Piece) -> None:
        now = self._loop.time()
        data = piece if isinstance(piece, bytes) else b""
        passages = self.network.passages(self, data)
        if passages is None:
            self._note(piece, now, None, delivered=False)
            if piece is not End.RST:  # nobody sends that again
                self._wait_to_retransmit(piece)
            return
        self._retransmissions, again = 0, self._retransmissions > 0
        if not data:
            self._note(piece, now, passages[0].comment if passages else None, again=again)
            self._fly(piece, passages[0].delay_s if passages else 0.0, now)
            return
        for passage in passages:
            self._pass_on(passage, now, again)

    def _pass_on(self, passage: Passage, now: float, again: bool) -> None:
        if passage.data:
            self._note(passage.data, now, passage.comment, again=again)
            self._fly(passage.data, passage.delay_s, now)
        if passage.end is not None:
            self._note(passage.end, now, passage.comment)
            self._cut(passage.end, now)

    def _fly(self, piece: Piece, delay_s: float, now: float) -> None:
        length = len(piece) if isinstance(piece, bytes) else 0
        link = self.network
        self._free_at = max(now, self._free_at) + (length / link.bandwidth if link.bandwidth else 0.0)
        arrival = max(self._free_at + link.latency_s + delay_s, self._last_arrival)
        self._last_arrival = arrival
        self._flying.append((arrival, piece))
        self._flying_length += length
        if arrival <= now:
            self._loop.call_soon(self._land)
        else:
            self._loop.call_at(arrival, self._land)

    def _land(self) -> None:
        _, piece = self._flying.popleft()
        self._flying_length -= len(piece) if isinstance(piece, bytes) else 0
        self.peer._arrive(piece)
        if self._unsent:
            self._send()

    def _cut(self, end: End, now: float) -> None:
        """Somebody between the two ends the connection: both see it."""
        self._fly(end, 0.0, now)
        if end is End.RST:
            self._loop.call_soon(self._arrive, End.RST)

    # -- losses ------------------------------------------------------------------------------------

    def _wait_to_retransmit(self, piece: Piece) -> None:
        self._retransmissions += 1
        if self._retransmissions > _MOST_RETRANSMISSIONS:
            self._lose(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
            return
        self._unsent.appendleft(piece)
        self._unsent_length += len(piece) if isinstance(piece, bytes) else 0
        wait = min(_FIRST_RETRANSMISSION_S * 2 ** (self._retransmissions - 1), _LAST_RETRANSMISSION_S)
        self._retry = self._loop.call_later(wait, self._retransmit)

    def _retransmit(self) -> None:
        self._retry = None
        self._send()

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    # -- receiving ---------------------------------------------------------------------------------

    def _arrive(self, piece: Piece) -> None:
        if not self.network.is_there(self):
            if isinstance(piece, bytes):
                self._answer_with_reset()  # whoever has the address now knows nothing of this connection
            return
        if self._lost or (self._closing and isinstance(piece, bytes)):
            if isinstance(piece, bytes):
                self._answer_with_reset()
            return
        if piece is End.RST:
            self._drop_unread()
            self._lose(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
            return
        self._unread.append(piece)
        self._unread_length += len(piece) if isinstance(piece, bytes) else 0
        self._deliver()

    def _answer_with_reset(self) -> None:
        """A kernel has nobody to give this data to."""
        now = self._loop.time()
        self._note(End.RST, now, None)
        self._fly(End.RST, 0.0, now)

    def _deliver(self) -> None:
        """Hand over what waits, as long as the protocol takes it."""
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._unread and not (self._reading_paused or self._closing):
                piece = self._unread.popleft()
                if isinstance(piece, bytes):
                    self._unread_length -= len(piece)
                    self._call(self._hand_over, piece)
                else:
                    self._call(self._end_of_input)
        finally:
            self._delivering = False
        if self.peer._unsent:
            self.peer._send()

    def _hand_over(self, data: bytes) -> None:
        if not isinstance(self._protocol, asyncio.BufferedProtocol):
            self._protocol.data_received(data)
            return
        rest = memoryview(data)
        while rest and not (self._reading_paused or self._closing):
            buffer = memoryview(self._protocol.get_buffer(len(rest)))
            length = min(len(buffer), len(rest))
            if not length:
                raise RuntimeError("get_buffer() returned an empty buffer")
            buffer[:length] = rest[:length]
            rest = rest[length:]
            self._protocol.buffer_updated(length)
        if rest and not self._closing:
            self._unread.appendleft(bytes(rest))
            self._unread_length += len(rest)

    def _end_of_input(self) -> None:
        if not self._protocol.eof_received():
            self.close()

    def _drop_unread(self) -> None:
        self._unread.clear()
        self._unread_length = 0

    # -- the end -----------------------------------------------------------------------------------

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = self._finished = True
        self._unsent.clear()
        self._unsent_length = 0
        self._cancel_retry()
        self.network.forget(self)
        if self._protocol is not None:  # else nobody has accepted it yet
            self._loop.call_soon(self._call, self._protocol.connection_lost, error)

    def _look_at_high_water(self) -> None:
        if not self._writing_paused and self._unsent_length > self._high:
            self._writing_paused = True
            self._call(self._protocol.pause_writing)

    def _call(self, method: Any, *arguments: Any) -> None:
        """Call the protocol; what it raises ends the connection, as in asyncio, and not the world."""
        try:
            method(*arguments)
        except Exception as error:
            self._loop.call_exception_handler(
                {
                    "message": f"a protocol failed on {self!r}",
                    "exception": error,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )
            self.abort()

    def _note(
        self, piece: Piece, now: float, comment: str | None, *, again: bool = False, delivered: bool = True
    ) -> None:
        """Tell the capture what went over the wire."""
        if self._record is None:
            return
        by_client = self.flow.from_client
        if piece is End.RST:
            self._record.reset(by_client, now, comment)
        elif piece is End.FIN:
            self._record.finished(by_client, now, comment, delivered=delivered)
        else:
            self._record.sent(by_client, piece, now, comment, again=again, delivered=delivered)

    def __repr__(self) -> str:
        source, destination = self.flow.source, self.flow.destination
        return f"MemoryTransport({source[0]}:{source[1]} -> {destination[0]}:{destination[1]})"
