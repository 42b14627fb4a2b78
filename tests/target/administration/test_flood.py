"""What nonsense on the control socket does to those who do I/O: nothing."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import iscsim
from iscsim.net.control_client import ControlClient
from iscsim.net.rpc import MAX_CONVERSATIONS, RPCServer
from iscsim.target.administration.control import TargetControl
from iscsim.target.administration.methods import METHODS

MALFORMED = (
    b"{",
    b"[]",
    b"\xff\xfe",
    b'{"id": 1}',
    b'{"id": 1, "method": "target.create"}',
    b'{"id": 1, "method": "target.create", "params": {"target": 7}}',
    b'{"id": 1, "method": "target.create", "params": {"target": "' + b"x" * 5000 + b'"}}',
    b'{"id": [], "method": "target.list"}',
    b'{"id": 1, "method": "__class__"}',
    b'{"id": 1, "method": "lun.resize", "params": {"size": 1e999}}',
    b'{"id": 1, "method": "lun.resize", "params": {"size": ' + b"9" * 4000 + b"}}",
    b'{"id": 1, "method": "restore", "params": {"path": "/dev/zero/x"}}',
)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[iscsim.LiveTarget, Path]]:
    async with iscsim.serve() as target:
        server = RPCServer(tmp_path / "socket", TargetControl(target.server, lambda: None).methods)
        await server.start()
        yield target, tmp_path / "socket"
        await server.close()


async def read_until(target: iscsim.LiveTarget, done: asyncio.Event) -> int:
    """How many reads went well meanwhile; one that does not raises."""
    count = 0
    async with iscsim.connect(target.portal, target.name) as session:
        unit = (await session.scan())[0]
        while not done.is_set():
            assert len(await session.read(unit, 0, 8)) == 4096
            count += 1
    return count


async def while_reading(target: iscsim.LiveTarget, disturb: Any) -> int:
    done = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(read_until(target, done))
        try:
            await asyncio.to_thread(disturb)
        finally:
            done.set()
    return reading.result()


async def test_ten_thousand_malformed_requests_do_not_disturb_a_read(
    served: tuple[iscsim.LiveTarget, Path],
) -> None:
    target, path = served

    def disturb() -> None:
        lines = b"".join(each + b"\n" for each in MALFORMED[3:])
        answered = 0
        while answered < 10_000:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(30)
                connection.connect(str(path))
                connection.sendall(lines * 20)
                stream = connection.makefile("rb")
                for _ in range(20 * len(MALFORMED[3:])):
                    assert "error" in json.loads(stream.readline())
                    answered += 1
                stream.close()

    assert await while_reading(target, disturb) > 10
    assert list(target.server.entity.nodes) == [target.name]


@pytest.mark.parametrize("garbage", MALFORMED[:3])
async def test_what_is_no_request_gets_one_error(
    served: tuple[iscsim.LiveTarget, Path], garbage: bytes
) -> None:
    reader, writer = await asyncio.open_unix_connection(served[1])
    writer.write(garbage + b"\n")
    assert json.loads(await reader.readline())["error"]["code"] in (-32700, -32600)
    writer.close()


async def test_a_thousand_connections_at_once_do_not_disturb_a_read(
    served: tuple[iscsim.LiveTarget, Path],
) -> None:
    target, path = served

    def disturb() -> None:
        held: list[socket.socket] = []
        try:
            for number in range(1000):
                connection = socket.socket(socket.AF_UNIX)
                connection.settimeout(30)
                connection.connect(str(path))
                held.append(connection)
                if number >= MAX_CONVERSATIONS:  # told so, and closed
                    with suppress(ConnectionError):
                        assert b"conversations go on" in connection.recv(4096)
                    held.pop().close()
        finally:
            for connection in held:
                connection.close()

    assert await while_reading(target, disturb) > 10

    def ask() -> list[str]:
        with ControlClient(path) as client:
            return client.list_targets()

    assert await asyncio.to_thread(ask) == [target.name]


async def test_client_that_does_not_read_keeps_nobody_waiting(
    served: tuple[iscsim.LiveTarget, Path],
) -> None:
    target, path = served

    def disturb() -> None:
        with socket.socket(socket.AF_UNIX) as silent, ControlClient(path) as client:
            silent.connect(str(path))
            silent.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    silent.send(b'{"id": 1, "method": "describe"}\n' * 100)
            for number in range(200):
                assert client.list_targets() == [target.name]
                client.create_backstore(f"disk{number}", size=1 << 20)

    assert await while_reading(target, disturb) > 10


@pytest.mark.parametrize("method", METHODS)
async def test_no_method_shows_anything_of_the_program_for_nonsense(
    served: tuple[iscsim.LiveTarget, Path], method: str
) -> None:
    values: list[Any] = [None, True, -1, 1 << 70, 1.5, "", "\0", "x" * 300, [], {}, {"a": {}}, "/dev/null/x"]
    reader, writer = await asyncio.open_unix_connection(served[1])
    if method == "stop":
        values = values[:0]
    for value in values:
        params = {each.name: value for each in METHODS[method].parameters}
        writer.write(json.dumps({"id": 1, "method": method, "params": params}).encode() + b"\n")
        answer = json.loads(await reader.readline())
        if "error" in answer:
            assert answer["error"]["code"] != -32603, answer
            assert "\n" not in answer["error"]["message"]
            assert not any(word in answer["error"]["message"] for word in ("Error", "object at", "iscsim."))
    writer.close()
