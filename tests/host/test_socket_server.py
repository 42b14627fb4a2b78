"""A server of the host serves each client by itself and leaves nothing behind."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import pytest

from iscsim.host.socket_server import SocketServer


class Echo(SocketServer):
    """Sends a line back; refuses an empty one."""

    client_kind = "echo"

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readexactly(4)
        if line == b"bad\n":
            raise ValueError("that is no word")
        writer.write(line)
        await writer.drain()


async def ask(path: str, data: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


async def test_client_who_breaks_a_rule_is_told_of_in_the_log_and_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = Echo(str(tmp_path / "socket"))
    await server.start()
    with caplog.at_level(logging.DEBUG, "iscsim.host"):
        assert [await ask(server.path, data) for data in (b"bad\n", b"hm", b"yes\n")] == [b"", b"", b"yes\n"]
    await server.close()
    levels = {
        record.levelname: record.getMessage() for record in caplog.records if record.name == "iscsim.host"
    }
    assert levels["WARNING"] == "echo: that is no word"
    assert levels["DEBUG"].startswith("echo has gone: ")


async def test_close_ends_clients_who_wait_and_removes_the_socket(tmp_path: Path) -> None:
    server = Echo(str(tmp_path / "socket"))
    await server.start()
    reader, writer = await asyncio.open_unix_connection(server.path)
    async with asyncio.timeout(10):
        await asyncio.sleep(0.05)
        await server.close()
        assert await reader.read() == b""
    assert os.listdir(tmp_path) == []
    writer.close()
