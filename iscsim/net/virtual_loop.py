"""An event loop whose clock stands still while there is work, and jumps to the next timer when there is none.

Two minutes of login timeout take microseconds, and since nothing real is waited for, a run depends on
nothing but its seed. What is real cannot be waited for here: sockets, pipes and processes are refused, see
`Deadlock` for the rest. Threads of `run_in_executor` are waited for, and take no virtual time.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from iscsim.errors import Deadlock
from iscsim.net.waiting import describe_waiting

__all__ = ["VirtualLoop"]

_NO_REAL_THINGS = "on a loop with virtual time: use the lab's network, or network='tcp'"
_HARMLESS = {
    "connection": {"family", "proto", "flags", "happy_eyeballs_delay", "interleave", "all_errors"},
    "server": {"family", "flags", "backlog", "reuse_address", "reuse_port", "start_serving", "keep_alive"},
    "datagram": {"family", "proto", "flags", "reuse_port", "allow_broadcast"},
}
"""Options of asyncio's that make no difference here."""


class _VirtualSelector(selectors.DefaultSelector):
    """Waits for nothing: says how long the loop would have slept instead."""

    slept: Callable[[float | None], bool]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; else let virtual time pass, or wait for a thread."""
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.slept(timeout):
            return []
        return list(super().select(None))  # a thread is at work: it will wake us


class VirtualLoop(asyncio.SelectorEventLoop):
    """Asyncio's own loop with a clock of its own, that begins at 0.

    ``network`` may be set: then `create_connection`, `create_server` and `create_datagram_endpoint` use it,
    so asyncio's streams and asyncio_dgram work on it unchanged.
    """

    network: Any = None

    def __init__(self) -> None:
        selector = _VirtualSelector()
        selector.slept = self._slept
        self._virtual_now = 0.0
        self._threads = 0
        self.waiting: list[Callable[[], list[str]]] = []
        """Asked, when nothing can happen any more, for lines that say who waits for what."""
        super().__init__(selector)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual_now

    def _slept(self, timeout: float | None) -> bool:
        """Let ``timeout`` pass; False when a thread must be waited for instead."""
        if self._threads:
            return False
        if timeout is None or self._scheduled[0].when() == math.inf:  # type: ignore[attr-defined]
            raise Deadlock(describe_waiting(self))
        self._virtual_now += timeout
        return True

    @property
    def _clock_resolution(self) -> float:
        """asyncio runs timers that are due within it. The least there is: none may run before its time."""
        return math.ulp(self._virtual_now)

    @_clock_resolution.setter
    def _clock_resolution(self, resolution: float) -> None:
        """Asyncio sets that of the real clock."""

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """As asyncio's; virtual time stands still until the thread is done."""
        future = super().run_in_executor(executor, func, *args)
        self._threads += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, future: asyncio.Future[Any]) -> None:
        self._threads -= 1

    async def shutdown_default_executor(self, *timeout: float, **options: float) -> None:
        """As asyncio's, which has a thread of its own wait for the others."""
        self._threads += 1
        try:
            await super().shutdown_default_executor(*timeout, **options)
        finally:
            self._threads -= 1

    # -- what is real is refused -----------------------------------------------------------------------

    def _add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> Any:
        """asyncio's way to wait for a socket or pipe; the loop's own, for signals and threads, is one."""
        if fd != self._ssock.fileno():  # type: ignore[attr-defined]
            raise RuntimeError(f"a real socket or pipe {_NO_REAL_THINGS}")
        return super()._add_reader(fd, callback, *args)  # type: ignore[misc]

    def _add_writer(self, fd: Any, callback: Callable[..., Any], *args: Any) -> Any:
        raise RuntimeError(f"a real socket or pipe {_NO_REAL_THINGS}")

    async def subprocess_exec(self, *args: Any, **options: Any) -> Any:
        """Refused: a process takes real time. Raises RuntimeError."""
        raise RuntimeError(f"a real process {_NO_REAL_THINGS}")

    subprocess_shell = subprocess_exec

    # -- asyncio's own ways to make connections, over the memory network -------------------------------

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        *,
        local_addr: tuple[str, int] | None = None,
        **options: Any,
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        """Connect over ``network``, from the host that has ``local_addr``, or from the first."""
        _refuse_options(options, "connection")
        if host is None or port is None:
            raise ValueError("a connection over the lab's network needs a host and a port")
        source = self._source(local_addr)
        transport = await source.open(host, port, protocol_factory, local_addr=local_addr)
        return transport, transport.get_protocol()

    async def create_server(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        **options: Any,
    ) -> Any:
        """Listen on ``network``."""
        _refuse_options(options, "server")
        if options.get("start_serving") is False:
            raise ValueError("a server on the lab's network serves from the start")
        return await self._source((host, 0) if host else None).listen(host or "", port or 0, protocol_factory)

    async def create_datagram_endpoint(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.DatagramProtocol],
        local_addr: tuple[str, int] | None = None,
        remote_addr: tuple[str, int] | None = None,
        **options: Any,
    ) -> tuple[asyncio.DatagramTransport, asyncio.DatagramProtocol]:
        """UDP over ``network``."""
        _refuse_options(options, "datagram")
        transport = await self._source(local_addr).datagram(
            protocol_factory, local_addr=local_addr, remote_addr=remote_addr
        )
        return transport, transport.get_protocol()

    def _source(self, local_addr: tuple[str, int] | None) -> Any:
        if self.network is None:
            raise RuntimeError("virtual time has no real network: set the loop's network to a MemoryNetwork")
        return self.network.host_of(local_addr[0] if local_addr else None)


def _refuse_options(options: dict[str, Any], kind: str) -> None:
    wrong = [name for name, value in options.items() if value and name not in _HARMLESS[kind]]
    if wrong:
        raise ValueError(f"the lab's network does not know {', '.join(sorted(wrong))}")
