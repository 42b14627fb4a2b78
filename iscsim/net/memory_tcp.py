"""One end of a TCP connection in memory, as a kernel has it: buffers, window, losses, FIN and RST.

What a program has handed to its kernel is sent whatever becomes of the program: `TCPEnd` goes on after
`close`, until its FIN is through. `MemoryTransport` is the program's side of it.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from typing import TYPE_CHECKING, Protocol

from iscsim.net.conditions import End, Flow, Passage
from iscsim.net.network import WireRecord

if TYPE_CHECKING:
    from iscsim.net.memory import MemoryNetwork

__all__ = ["Piece", "TCPEnd", "User"]

WINDOW = 1 << 20
"""Bytes that may be on their way or wait for the reader."""
SEND_BUFFER = 512 << 10
"""Bytes a program may hand over that have not arrived yet."""
_FIRST_RETRANSMISSION_S = 0.2
_LAST_RETRANSMISSION_S = 120.0
_MOST_RETRANSMISSIONS = 15
"""Linux, net.ipv4.tcp_retries2: a connection is given up some 924 s after the first loss."""

Piece = bytes | memoryview | End


class User(Protocol):
    """The program's side of an end."""

    def readable(self) -> None:
        """There is something to `read`, or an error to find."""

    def writable(self) -> None:
        """There is room to `send`."""


class TCPEnd:
    """One end. ``flow`` is the direction in which it sends; ``user`` is None until somebody has accepted."""

    peer: TCPEnd

    def __init__(
        self, network: MemoryNetwork, loop: asyncio.AbstractEventLoop, flow: Flow, record: WireRecord | None
    ) -> None:
        self.flow = flow
        self.user: User | None = None
        self.error: OSError | None = None
        """What the connection has died of."""
        self._network = network
        self._loop = loop
        self._record = record
        self._dead = self._orphan = self._finished = self._input_ended = False
        # what goes out
        self._unsent: deque[Piece] = deque()
        self._unsent_length = 0
        self._flying: deque[tuple[float, Piece]] = deque()
        self._flying_length = 0
        self._free_at = self._last_arrival = 0.0
        self._retransmissions = 0
        self._retry: asyncio.TimerHandle | None = None
        # what came in
        self._unread: deque[Piece] = deque()
        self._unread_length = 0
        self._comments: list[str] = []

    # -- what a program asks -----------------------------------------------------------------------

    def send(self, data: bytes | memoryview) -> int:
        """Take as much as there is room for; ``data`` must not change any more. Raises OSError."""
        if self._dead:
            raise self.error or BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        room = SEND_BUFFER - self._unsent_length - self._flying_length
        if room <= 0:
            return 0
        piece = data if len(data) <= room else memoryview(data)[:room]
        self._unsent.append(piece)
        self._unsent_length += len(piece)
        self._pump()
        return len(piece)

    def read(self) -> Piece | None:
        """What has come next, None for nothing yet. Raises OSError behind what came before the error."""
        if not self._unread:
            if self.error is not None:
                raise self.error
            return None
        piece = self._unread.popleft()
        if not isinstance(piece, End):
            self._unread_length -= len(piece)
            self.peer._pump()  # the window has opened
        return piece

    def put_back(self, data: bytes | memoryview) -> None:
        """This much of what was read is not wanted yet."""
        self._unread.appendleft(data)
        self._unread_length += len(data)

    def comment(self, text: str) -> None:
        """Show ``text`` with the next segment; with a bare acknowledgement when none goes out right now."""
        if not self._comments:
            self._loop.call_soon(self._acknowledge)
        self._comments.append(text)

    def _acknowledge(self) -> None:
        if self._comments:
            self._note(b"", self._loop.time(), None)

    def finish(self) -> None:
        """A FIN goes out behind what is unsent."""
        if not (self._finished or self._dead):
            self._finished = True
            self._unsent.append(End.FIN)
            self._pump()

    def close(self) -> None:
        """The program is done: FIN, or RST if it has not read everything (RFC 1122 section 4.2.2.13)."""
        self.user, self._orphan = None, True
        if self._unread_length:
            self.reset()
        else:
            self.finish()

    def reset(self) -> None:
        """Send RST and forget the connection."""
        if not self._dead:
            self._transmit(End.RST)
            self._die(None)

    # -- sending -----------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Send what the window lets through, unless a lost segment has to be sent again first."""
        while self._unsent and self._retry is None:
            piece = self._unsent.popleft()
            if not isinstance(piece, End):
                used = self._flying_length + self.peer._unread_length
                room = min(WINDOW - used, self._network.segment_size)
                if room <= 0:
                    self._unsent.appendleft(piece)
                    return
                if len(piece) > room:
                    whole = memoryview(piece)
                    self._unsent.appendleft(whole[room:])
                    piece = whole[:room]
                self._unsent_length -= len(piece)
            self._transmit(piece)

    def _transmit(self, piece: Piece) -> None:
        now = self._loop.time()
        data = b"" if isinstance(piece, End) else bytes(piece)
        passages = self._network.passages(self.flow, data)
        if passages is None or (passages and (passages[0].lost or passages[0].held)):
            self._note(piece, now, passages[0].comment if passages else None, delivered=False)
            if piece is not End.RST:  # nobody sends that again
                self._wait_to_retransmit(piece, counts=not (passages and passages[0].held))
            return
        self._retransmissions, again = 0, self._retransmissions > 0
        if isinstance(piece, End):
            first = passages[0] if passages else Passage(b"")
            self._note(piece, now, first.comment, again=again)
            self._fly(piece, first.delay_s, now)
            return
        for passage in passages:
            if not passage.copy:
                self._pass_on(passage, now, again)
        self._show_copies([passage for passage in passages if passage.copy], now)

    def _pass_on(self, passage: Passage, now: float, again: bool) -> None:
        if self._dead:
            return  # it was cut off before this piece
        comment = passage.comment
        if passage.data:
            self._note(passage.data, now, comment, again=again)
            self._fly(passage.data, passage.delay_s, now)
            comment = None
        if passage.end is not None:
            self._note(passage.end, now, comment or passage.comment)
            self._cut(passage.end, now)

    def _show_copies(self, copies: list[Passage], now: float) -> None:
        """They are on the wire, and that is all."""
        behind = sum(len(copy.data) for copy in copies)
        for copy in copies:
            if self._record is not None and not self._dead:
                self._record.copied(self.flow.from_client, copy.data, now, copy.comment, behind=behind)
            behind -= len(copy.data)

    def _fly(self, piece: Piece, delay_s: float, now: float) -> None:
        length = 0 if isinstance(piece, End) else len(piece)
        link = self._network
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
        if not isinstance(piece, End):
            self._flying_length -= len(piece)
        self.peer._arrive(piece)
        self._pump()
        if self.user is not None:
            self.user.writable()

    def _cut(self, end: End, now: float) -> None:
        """Somebody between the two ends the connection: with RST both see it, with FIN the peer only."""
        self._fly(end, 0.0, now)
        if end is End.RST:
            self._die(_reset_by_peer(), later=True)

    # -- losses ------------------------------------------------------------------------------------

    def _wait_to_retransmit(self, piece: Piece, *, counts: bool) -> None:
        """``counts`` is False for probes of a window that is closed: they never give up."""
        most = _MOST_RETRANSMISSIONS
        self._retransmissions = self._retransmissions + 1 if counts else min(self._retransmissions + 1, most)
        self._unsent.appendleft(piece)
        self._unsent_length += 0 if isinstance(piece, End) else len(piece)
        wait = min(_FIRST_RETRANSMISSION_S * 2 ** (self._retransmissions - 1), _LAST_RETRANSMISSION_S)
        # the last one is waited for as long as those before it
        then = self._give_up if self._retransmissions > most else self._retransmit
        self._retry = self._loop.call_later(wait, then)

    def _give_up(self) -> None:
        self._die(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))

    def _retransmit(self) -> None:
        self._retry = None
        self._pump()

    # -- receiving ---------------------------------------------------------------------------------

    def _arrive(self, piece: Piece) -> None:
        if not self._network.is_there(self.flow):
            self._answer_for_another(piece)
        elif piece is End.RST:
            self._die(_reset_by_peer())
        elif self._dead:
            self._transmit(End.RST)  # a kernel that knows nothing of the connection
        elif self._orphan or self._input_ended:
            self._arrive_unwanted(piece)
        else:
            self._take_in(piece)

    def _take_in(self, piece: Piece) -> None:
        self._unread.append(piece)
        if isinstance(piece, End):
            self._input_ended = True
        else:
            self._unread_length += len(piece)
        if self.user is not None:
            self.user.readable()

    def _arrive_unwanted(self, piece: Piece) -> None:
        """After our program has closed, or behind the peer's FIN: data has nobody to go to."""
        if isinstance(piece, End):
            self._input_ended = True
        else:
            self.reset()

    def _answer_for_another(self, piece: Piece) -> None:
        """Whoever has the address now knows nothing of this connection: RST. Our end does not know."""
        if piece is not End.RST:
            now = self._loop.time()
            self._note(End.RST, now, None)
            self._fly(End.RST, 0.0, now)

    def _die(self, error: OSError | None, *, later: bool = False) -> None:
        """The connection is no more. What came before may still be read, unless we have ended it."""
        if self._dead:
            return
        self._dead, self.error = True, error
        self._unsent.clear()
        self._unsent_length = 0
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if error is None:
            self._unread.clear()
            self._unread_length = 0
        elif later:  # not while the program is about to write
            self._loop.call_soon(self._tell_of_error)
        else:
            self._tell_of_error()

    def _tell_of_error(self) -> None:
        if self.user is not None:
            self.user.readable()
        if self.user is not None:
            self.user.writable()

    def _note(
        self, piece: Piece, now: float, comment: str | None, *, again: bool = False, delivered: bool = True
    ) -> None:
        """Tell the capture what went over the wire."""
        if self._comments:
            comment = "; ".join(filter(None, (comment, *self._comments)))
            self._comments.clear()
        if self._record is None:
            return
        by_client = self.flow.from_client
        if piece is End.RST:
            self._record.reset(by_client, now, comment)
        elif piece is End.FIN:
            self._record.finished(by_client, now, comment, delivered=delivered)
        else:
            self._record.sent(by_client, bytes(piece), now, comment, again=again, delivered=delivered)


def _reset_by_peer() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
