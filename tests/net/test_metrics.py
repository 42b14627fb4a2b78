"""Prometheus' text format, over HTTP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from iscsim.net.metrics import MetricsServer, exposition

COUNTERS: dict[str, Any] = {
    "uptime_s": 1.5,
    "targets": 1,
    "connections": 3,
    "sessions": 2,
    "discovery_sessions": 1,
    "logins": {"0x0000": 7, "0x0202": 1},
    "requests": 1000,
    "open_commands": 0,
    "luns": {
        'disk "0"\\\n': {
            "blocks": 2048,
            "sessions": 2,
            "open_commands": 1,
            "read_errors": 0,
            "write_errors": 3,
        }
    },
}
LINE = re.compile(r'iscsim_[a-z_]+(\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"\})? [0-9.]+')


def test_every_line_is_of_the_format_and_every_metric_has_its_type() -> None:
    lines = exposition(COUNTERS).splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert all(LINE.fullmatch(line) for line in samples)
    typed = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert {re.split(r"[{ ]", line)[0] for line in samples} == typed
    assert 'iscsim_logins_total{status="0x0202"} 1' in samples
    assert 'iscsim_backstore_write_errors{backstore="disk \\"0\\"\\\\\\n"} 3' in samples


@pytest.fixture
async def where() -> AsyncIterator[tuple[str, int]]:
    server = MetricsServer(lambda: COUNTERS)
    yield await server.start("127.0.0.1", 0)
    await server.close()


async def get(where: tuple[str, int], request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*where)
    writer.write(request)
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_numbers_are_served(where: tuple[str, int]) -> None:
    answer = await get(where, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4")
    assert f"Content-Length: {len(body)}".encode() in head
    assert body.decode() == exposition(COUNTERS)
    assert (await get(where, b"HEAD /metrics HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [(b"POST /metrics HTTP/1.1\r\n\r\n", b"405"), (b"GET /etc/passwd HTTP/1.1\r\n\r\n", b"404")],
)
async def test_anything_else_is_refused(where: tuple[str, int], request_: bytes, status: bytes) -> None:
    assert (await get(where, request_)).split()[1] == status


@pytest.mark.parametrize("garbage", [b"\0" * 20000, b"x" * 8191 + b"\r\n\r\n"])
async def test_garbage_is_closed(where: tuple[str, int], garbage: bytes) -> None:
    try:
        assert b"200 OK" not in await get(where, garbage)
    except ConnectionError:
        pass
    assert await get(where, b"GET /metrics HTTP/1.1\r\n\r\n")


async def test_silent_one_is_cut_off(where: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iscsim.net.metrics._TIMEOUT_S", 0.01)
    assert await get(where, b"") == b""


async def test_nothing_is_kept_for_who_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iscsim.net.metrics._TIMEOUT_S", 0.05)
    monkeypatch.setattr("iscsim.net.metrics.exposition", lambda counters: "x" * (16 << 20))
    server = MetricsServer(lambda: COUNTERS)
    reader, writer = await asyncio.open_connection(*await server.start("127.0.0.1", 0), limit=1024)
    writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
    await asyncio.sleep(0.2)
    assert len(await reader.read()) < 16 << 20
    writer.close()
    await writer.wait_closed()
    await server.close()
