"""Numbers for Prometheus: its text format over as much HTTP as it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

__all__ = ["MetricsServer", "exposition"]

_MAX_REQUEST_LENGTH = 8192
_TIMEOUT_S = 5.0
_MAX_CONNECTIONS = 32

# https://prometheus.io/docs/instrumenting/exposition_formats/: name, type, help
_WHOLE = (
    ("uptime_s", "uptime_seconds", "gauge", "Seconds since it began to serve."),
    ("targets", "targets", "gauge", "Targets there are."),
    ("connections", "connections", "gauge", "TCP connections there are."),
    ("sessions", "sessions", "gauge", "Sessions with a target."),
    ("discovery_sessions", "discovery_sessions", "gauge", "Sessions that discover."),
    ("requests", "requests_total", "counter", "Requests of all sessions that were not immediate."),
    ("open_commands", "open_commands", "gauge", "Commands that wait for data, for others or for a store."),
)
_OF_LUNS = (
    ("blocks", "backstore_blocks", "gauge", "Blocks of a backstore."),
    ("sessions", "backstore_sessions", "gauge", "Sessions that see a backstore."),
    ("open_commands", "backstore_open_commands", "gauge", "Commands of a backstore that are open."),
    ("read_errors", "backstore_read_errors", "gauge", "Read errors of a backstore since its last reset."),
    ("write_errors", "backstore_write_errors", "gauge", "Write errors of a backstore since its last reset."),
)


def exposition(counters: Mapping[str, Any]) -> str:
    """`iscsim.net.control_types.Counters` in Prometheus' text format, version 0.0.4."""
    return "".join(f"{line}\n" for line in _lines(counters))


def _lines(counters: Mapping[str, Any]) -> Iterator[str]:
    for key, name, kind, text in _WHOLE:
        yield from _head(name, kind, text)
        yield f"iscsim_{name} {counters[key]}"
    yield from _head("logins_total", "counter", "Logins that ended, by the status they were answered with.")
    for status, count in counters["logins"].items():
        yield f'iscsim_logins_total{{status="{status}"}} {count}'
    for key, name, kind, text in _OF_LUNS:
        yield from _head(name, kind, text)
        for backstore, numbers in counters["luns"].items():
            yield f'iscsim_{name}{{backstore="{_escaped(backstore)}"}} {numbers[key]}'


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP iscsim_{name} {text}"
    yield f"# TYPE iscsim_{name} {kind}"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class MetricsServer:
    """Answers ``GET /metrics`` with what ``counters`` gives at that moment."""

    def __init__(self, counters: Callable[[], Mapping[str, Any]]) -> None:
        self._counters = counters
        self._server: asyncio.Server | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; returns where. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=_MAX_REQUEST_LENGTH)
        where: tuple[str, int] = self._server.sockets[0].getsockname()[:2]
        return where

    async def close(self) -> None:
        """Stop listening, end what goes on."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        try:
            if len(self._tasks) < _MAX_CONNECTIONS:
                self._tasks[task] = None
                async with asyncio.timeout(_TIMEOUT_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._response(head))
                    await writer.drain()
        except TimeoutError:
            writer.transport.abort()  # what it does not read would stay
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # it does not speak HTTP, or not in time
        except asyncio.CancelledError:
            return  # we end; see iscsim.net.rpc
        finally:
            self._tasks.pop(task, None)
            writer.close()

    def _response(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _http("405 Method Not Allowed", "only GET\n", body=True)
        if path not in (b"/metrics", b"/"):
            return _http("404 Not Found", "see /metrics\n", body=method == b"GET")
        return _http("200 OK", exposition(self._counters()), body=method == b"GET")


def _http(status: str, text: str, *, body: bool) -> bytes:
    data = text.encode()
    head = (
        f"HTTP/1.1 {status}",
        "Content-Type: text/plain; version=0.0.4; charset=utf-8",
        f"Content-Length: {len(data)}",
        "Connection: close",
    )
    return "".join(f"{line}\r\n" for line in (*head, "")).encode() + (data if body else b"")
