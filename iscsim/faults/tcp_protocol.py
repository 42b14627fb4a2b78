"""What stands between a real transport and a protocol, and lets through what the conditions let through."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol, cast

from iscsim.net.conditions import Conditions, End, Flow, Passage
from iscsim.net.network import Address, Buffer, Factory
from iscsim.net.tcp import pause_from_the_start

__all__ = ["FaultyProtocol", "ProtocolThatChangesItsTransport"]

_FIRST_RETRY_S, _LAST_RETRY_S, _MOST_RETRIES = 0.2, 120.0, 15
Item = bytes | End


class ProtocolThatChangesItsTransport(Protocol):
    """A protocol of asyncio that can be given another transport while it is connected."""

    @property
    def transport(self) -> asyncio.Transport:
        """What it writes to."""

    def use_transport(self, transport: asyncio.Transport) -> None:
        """Write to ``transport`` from now on."""


class _Way:
    """One direction: each piece is asked for, late, held or lost, and then handed to ``deliver``."""

    def __init__(
        self,
        ask: Callable[[bytes], list[Passage]],
        deliver: Callable[[Item], None],
        give_up: Callable[[], None],
    ) -> None:
        self._ask, self._deliver, self._give_up = ask, deliver, give_up
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Item] = deque()
        self._flying: deque[tuple[float, Item]] = deque()
        self._last = 0.0
        self._retries = 0
        self._retry: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._landing = self._paused = self._ended = False

    def push(self, item: Item) -> None:
        """One more piece."""
        if not self._ended:
            self._waiting.append(item)
            self._go_on()

    @property
    def length(self) -> int:
        """Bytes that have not been delivered."""
        items = [*self._waiting, *(item for _, item in self._flying)]
        return sum(len(item) for item in items if isinstance(item, bytes))

    def pause(self) -> None:
        """Deliver nothing for now."""
        self._paused = True

    def resume(self) -> None:
        """Deliver what is due, and go on."""
        self._paused = False
        self._land()

    def stop(self) -> None:
        """Forget all of it."""
        self._ended = True
        self._waiting.clear()
        self._flying.clear()
        for timer in (self._retry, self._timer):
            if timer is not None:
                timer.cancel()

    def _go_on(self) -> None:
        while self._waiting and self._retry is None:
            item = self._waiting.popleft()
            passages = self._ask(b"" if isinstance(item, End) else item)
            if passages and (passages[0].lost or passages[0].held):
                self._try_again(item, counts=passages[0].lost)
                return
            self._retries = 0
            if isinstance(item, End):
                self._fly(item, passages[0].delay_s if passages else 0.0)
            else:
                self._fly_all(passages)
        self._land()

    def _fly_all(self, passages: list[Passage]) -> None:
        for passage in passages:
            if passage.data and not passage.copy:
                self._fly(passage.data, passage.delay_s)
            if passage.end is not None:
                self._fly(passage.end, passage.delay_s)

    def _fly(self, item: Item, delay_s: float) -> None:
        self._last = max(self._loop.time() + delay_s, self._last)
        self._flying.append((self._last, item))

    def _try_again(self, item: Item, *, counts: bool) -> None:
        """As TCP sends again what was lost."""
        self._retries += 1
        if counts and self._retries > _MOST_RETRIES:
            self._give_up()
            return
        self._waiting.appendleft(item)
        wait = min(_FIRST_RETRY_S * 2 ** min(self._retries - 1, _MOST_RETRIES), _LAST_RETRY_S)
        self._retry = self._loop.call_later(wait, self._ask_again)

    def _ask_again(self) -> None:
        self._retry = None
        self._go_on()

    def _tick(self) -> None:
        self._timer = None
        self._land()

    def _land(self) -> None:
        """Deliver what is due, in order; wait for what is not."""
        if self._landing:
            return
        self._landing = True
        try:
            while self._flying and not self._paused and self._flying[0][0] <= self._loop.time():
                self._deliver(self._flying.popleft()[1])
        finally:
            self._landing = False
        if self._flying and not self._paused and self._timer is None:
            self._timer = self._loop.call_at(self._flying[0][0], self._tick)


class _FaultyTransport(asyncio.Transport):
    """The protocol's view of the transport: what it writes goes the ``way`` of faults."""

    def __init__(self, owner: FaultyProtocol, real: asyncio.Transport) -> None:
        super().__init__()
        self._owner, self._real = owner, real
        self._closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the real one's."""
        return self._real.get_extra_info(name, default)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol on it."""
        found: asyncio.BaseProtocol = self._owner.protocol
        return found

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand over to another protocol."""
        self._owner.protocol = protocol

    def is_closing(self) -> bool:
        """Whether it is closed or closing."""
        return self._closing or self._real.is_closing()

    def is_reading(self) -> bool:
        """Whether data is handed to the protocol."""
        return self._real.is_reading()

    def pause_reading(self) -> None:
        """What arrives waits."""
        if not self.is_closing():
            self._owner.incoming.pause()
            self._real.pause_reading()

    def resume_reading(self) -> None:
        """Take what waits, and more."""
        if not self.is_closing():
            self._real.resume_reading()
            self._owner.incoming.resume()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Of the real one: what a fault holds back does not count."""
        self._real.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Bytes that wait, for a fault or for the kernel."""
        return self._owner.outgoing.length + self._real.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Of the real one."""
        return self._real.get_write_buffer_limits()

    def write(self, data: Buffer) -> None:
        """Send ``data``."""
        if data and not self.is_closing():
            self._owner.outgoing.push(bytes(data))

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        """Send the pieces in one."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """It can close one half."""
        return True

    def write_eof(self) -> None:
        """Close this half behind what has been written."""
        if not self.is_closing():
            self._owner.outgoing.push(End.FIN)

    def close(self) -> None:
        """Read no more; send what is unsent, then close."""
        if not self._closing:
            self._closing = True
            self._owner.close()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        self._real.abort()


class FaultyProtocol(asyncio.Protocol):
    """On a real transport, around the protocol that ``factory`` makes."""

    def __init__(
        self, conditions: Conditions, factory: Factory, host: str, number: int, *, from_client: bool
    ) -> None:
        self._conditions, self._factory = conditions, factory
        self._host, self._number, self._from_client = host, number, from_client
        self._error: OSError | None = None
        self._begun = self._closing = False
        self._accepting: asyncio.TimerHandle | None = None
        self.protocol: Any = None

    @classmethod
    def step_between(
        cls, conditions: Conditions, protocol: ProtocolThatChangesItsTransport, host: str, number: int
    ) -> None:
        """Come between ``protocol`` and the transport of a connection it has accepted long ago."""
        real = protocol.transport
        if isinstance(real, _FaultyTransport) or real.is_closing():
            return
        found = cls(conditions, lambda: protocol, host, number, from_client=False)  # type: ignore[arg-type,return-value]
        found._meet(real)
        found._begun, found.protocol = True, protocol
        protocol.use_transport(_FaultyTransport(found, real))
        real.set_protocol(found)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the program have it, at once or when it accepts."""
        self._meet(transport)
        stall = 0.0 if self._from_client else self._conditions.accepting(self._in, self._loop.time())
        if stall:
            pause_from_the_start(self._real)
            self._accepting = self._loop.call_later(stall, self._accept)
        else:
            self._begin()

    def _meet(self, transport: asyncio.BaseTransport) -> None:
        self._real = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        self._loop = asyncio.get_running_loop()
        local, peer = (_address(transport.get_extra_info(name)) for name in ("sockname", "peername"))
        self._out = Flow(self._host, local, "", peer, self._number, self._from_client)
        self._in = Flow("", peer, self._host, local, self._number, not self._from_client)
        self.incoming = _Way(lambda data: self._ask(self._in, data), self._receive, self._time_out)
        self.outgoing = _Way(lambda data: self._ask(self._out, data), self._send, self._time_out)

    def refuse(self) -> None:
        """Nobody will accept it any more: its listener is closed."""
        if self._accepting is not None and not self._begun:
            self._accepting.cancel()
            self._reset(_error(errno.ECONNRESET))

    def _accept(self) -> None:
        if not self._real.is_closing():
            self._begin()
            self._real.resume_reading()

    def _begin(self) -> None:
        self._begun = True
        self.protocol = self._factory()
        self.protocol.connection_made(_FaultyTransport(self, self._real))

    def _ask(self, flow: Flow, data: bytes) -> list[Passage]:
        found = self._conditions.segment(flow, data, self._loop.time())
        return [Passage(data, lost=True)] if found is None else found

    # -- what comes in -----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer."""
        self.incoming.push(data)

    def eof_received(self) -> bool:
        """The peer's FIN, which has its way to go too."""
        self.incoming.push(End.FIN)
        return True

    def _receive(self, item: Item) -> None:
        if self._closing:
            return
        if item is End.RST:
            self._reset(_error(errno.ECONNRESET))
        elif isinstance(item, End):
            if not self.protocol.eof_received():
                self.close()
        elif isinstance(self.protocol, asyncio.BufferedProtocol):
            self._fill(item)
        else:
            self.protocol.data_received(item)

    def _fill(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            buffer = memoryview(self.protocol.get_buffer(len(rest)))
            length = min(len(buffer), len(rest))
            buffer[:length] = rest[:length]
            rest = rest[length:]
            self.protocol.buffer_updated(length)

    # -- what goes out -----------------------------------------------------------------------------

    def _send(self, item: Item) -> None:
        if self._real.is_closing():
            return
        if item is End.RST:
            self._reset(_error(errno.ECONNRESET))
        elif not isinstance(item, End):
            self._real.write(item)
        elif self._closing:
            self._real.close()
        else:
            self._real.write_eof()

    def close(self) -> None:
        """Close behind what is on its way out."""
        if not self._closing:
            self._closing = True
            self.incoming.stop()
            self.outgoing.push(End.FIN)

    def _reset(self, error: OSError) -> None:
        """RST to the peer, and an error for our own program."""
        self._error = error
        connection = self._real.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._real.abort()

    def _time_out(self) -> None:
        self._error = _error(errno.ETIMEDOUT)
        self._real.abort()

    # -- the transport's other calls ---------------------------------------------------------------

    def pause_writing(self) -> None:
        """The peer does not read."""
        if self._begun:
            self.protocol.pause_writing()

    def resume_writing(self) -> None:
        """The peer reads again."""
        if self._begun:
            self.protocol.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone, and what was on its way with it."""
        self.incoming.stop()
        self.outgoing.stop()
        if self._begun:
            self.protocol.connection_lost(error or self._error)


def _address(found: Any) -> Address:
    """Of a peer that has gone already there is no address any more."""
    return found[:2] if found else ("0.0.0.0", 0)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
