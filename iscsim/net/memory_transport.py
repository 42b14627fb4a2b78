"""Asyncio's transport on one end of a TCP connection in memory; what a selector transport does, this does."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from iscsim.net.conditions import End
from iscsim.net.memory_tcp import TCPEnd
from iscsim.net.network import Buffer

if TYPE_CHECKING:
    from iscsim.net.memory import MemoryNetwork

__all__ = ["MemoryTransport"]

_HIGH_WATER = 64 << 10


class MemoryTransport(asyncio.Transport):
    """One end of a connection, as the program has it. ``flow`` is the direction in which it sends.

    As with sockets `abort` closes at once and drops what the kernel has not taken yet; the peer sees FIN, or
    RST if something was not read. `reset` is for who wants RST in any case.
    """

    def __init__(self, network: MemoryNetwork, loop: asyncio.AbstractEventLoop, end: TCPEnd) -> None:
        flow = end.flow
        super().__init__(
            {"sockname": flow.source, "peername": flow.destination, "socket": None, "comment": end.comment}
        )
        self.network = network
        self.flow = flow
        self._loop = loop
        self._end = end
        self._protocol: Any = None
        self._closing = self._lost = False
        self._eof_written = self._eof_read = False
        self._reading_paused = False
        self._delivering = False
        self._buffer: deque[bytes | memoryview] = deque()
        self._buffer_length = 0
        self._high, self._low = _HIGH_WATER, _HIGH_WATER // 4
        self._writing_paused = False

    def start(self, protocol: asyncio.BaseProtocol) -> None:
        """Put ``protocol`` on it, and hand over what has come already."""
        self._protocol = protocol
        self._end.user = self
        self._tell("connection_made", self)
        self._loop.call_soon(self.readable)

    # -- asyncio's side ----------------------------------------------------------------------------

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand over to another protocol."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol on it; None when the connection is lost."""
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
        """When to tell the protocol to stop writing, and to go on. Raises ValueError."""
        if high is None:
            high = _HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be >= low ({low}) must be >= 0")
        self._high, self._low = high, low
        self._look_at_high_water()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Low and high water, in bytes."""
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Bytes the kernel has not taken yet."""
        return self._buffer_length

    def write(self, data: Buffer) -> None:
        """Send ``data``."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data: expecting a bytes-like instance, got {type(data).__name__}")
        if self._eof_written:
            raise RuntimeError("cannot call write() after write_eof()")
        if data and not self._lost:
            self._buffer.append(bytes(data))
            self._buffer_length += len(self._buffer[-1])
            if len(self._buffer) == 1:
                self._flush()
            self._look_at_high_water()

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        """Send the pieces in one."""
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """Close this half: a FIN goes out behind what is unsent."""
        if not (self._closing or self._eof_written):
            self._eof_written = True
            if not self._buffer:
                self._end.finish()

    def pause_reading(self) -> None:
        """What arrives waits."""
        if not self._closing:
            self._reading_paused = True

    def resume_reading(self) -> None:
        """Take what waits, and more."""
        if self._reading_paused and not self._closing:
            self._reading_paused = False
            self._loop.call_soon(self.readable)

    def close(self) -> None:
        """Read no more; send what is unsent, then FIN."""
        if not self._closing:
            self._closing = True
            if not self._buffer:
                self._lose(None)

    def abort(self) -> None:
        """Close at once."""
        self._lose(None)

    def reset(self) -> None:
        """Close at once, with RST: what SO_LINGER of 0 seconds does to a socket."""
        self._end.reset()
        self._lose(None)

    # -- the kernel's side -------------------------------------------------------------------------

    def readable(self) -> None:
        """Hand over what waits, as long as the protocol takes it."""
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._reads() and (piece := self._end.read()) is not None:
                if isinstance(piece, End):
                    self._end_of_input()
                else:
                    self._hand_over(piece)
        except OSError as error:
            self._lose(error)
        except Exception as error:
            self._report("a protocol failed", error)
            self._lose(error)
        finally:
            self._delivering = False

    def _reads(self) -> bool:
        return not (self._reading_paused or self._closing or self._eof_read)

    def _hand_over(self, data: bytes | memoryview) -> None:
        if not isinstance(self._protocol, asyncio.BufferedProtocol):
            self._protocol.data_received(bytes(data))
            return
        rest = memoryview(data)
        while rest and self._reads():
            buffer = memoryview(self._protocol.get_buffer(-1)).cast("B")
            length = min(len(buffer), len(rest))
            if not length:
                raise RuntimeError("get_buffer() returned an empty buffer")
            buffer[:length] = rest[:length]
            rest = rest[length:]
            self._protocol.buffer_updated(length)
        if rest:
            self._end.put_back(rest)

    def _end_of_input(self) -> None:
        self._eof_read = True
        if not self._protocol.eof_received():
            self.close()

    def writable(self) -> None:
        """The kernel takes more."""
        if not self._buffer:
            return
        self._flush()
        if self._writing_paused and self._buffer_length <= self._low:
            self._writing_paused = False
            self._tell("resume_writing")
        if self._buffer:
            return
        if self._closing:
            self._lose(None)
        elif self._eof_written:
            self._end.finish()

    def _flush(self) -> None:
        try:
            while self._buffer and (taken := self._end.send(self._buffer[0])):
                self._buffer_length -= taken
                piece = self._buffer.popleft()
                if taken < len(piece):
                    self._buffer.appendleft(memoryview(piece)[taken:])
        except OSError as error:
            self._lose(error)

    # -- the end -----------------------------------------------------------------------------------

    def _lose(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = self._closing = True
            self._buffer.clear()
            self._buffer_length = 0
            self._loop.call_soon(self._say_lost, error)

    def _say_lost(self, error: Exception | None) -> None:
        try:
            if self._protocol is not None:  # else nobody has accepted it
                self._tell("connection_lost", error)
        finally:
            self._end.close()
            self.network.forget(self)
            self._protocol = None

    def _look_at_high_water(self) -> None:
        if not self._writing_paused and self._buffer_length > self._high:
            self._writing_paused = True
            self._tell("pause_writing")

    def _tell(self, method: str, *arguments: Any) -> None:
        """Call the protocol; here, what it raises is reported and does not end the connection."""
        try:
            getattr(self._protocol, method)(*arguments)
        except Exception as error:
            self._report(f"{method} of a protocol failed", error)

    def _report(self, message: str, error: Exception) -> None:
        self._loop.call_exception_handler(
            {
                "message": f"{message} on {self!r}",
                "exception": error,
                "transport": self,
                "protocol": self._protocol,
            }
        )

    def __repr__(self) -> str:
        source, destination = self.flow.source, self.flow.destination
        return f"MemoryTransport({source[0]}:{source[1]} -> {destination[0]}:{destination[1]})"
