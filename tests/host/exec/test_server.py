"""The socket of the shims: commands run, and clients that break the rules break nothing else."""

from __future__ import annotations

import asyncio
import os
import stat
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from host.exec.stage import until

from iscsim.host.exec import server as module
from iscsim.host.exec.server import ASK, EXIT, FRAME, INPUT, MAX_COMMAND, STDERR, STDOUT, ShimServer
from iscsim.host.model import Host
from iscsim.host.shell import COMMANDS, Call
from iscsim.net.memory import MemoryNetwork

Frames = list[tuple[int, bytes]]


async def nothing() -> None:
    pass


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    async def echo(call: Call) -> int:
        call.output.line(" ".join(call.arguments))
        call.output.error("done")
        return 300

    async def copy(call: Call) -> int:
        call.output.data(await call.read())
        return 0

    async def forever(call: Call) -> int:
        try:
            await asyncio.Event().wait()
        finally:
            call.host.files["/ended"] = b""
        return 0

    async def broken(call: Call) -> int:
        raise ZeroDivisionError("by us")

    for program in (echo, copy, forever, broken):
        monkeypatch.setitem(COMMANDS, program.__name__, program)
    return Host(MemoryNetwork().add_host("compute", "10.245.47.10"))


@pytest.fixture
async def path(host: Host, tmp_path: Path) -> AsyncIterator[str]:
    server = ShimServer(host, str(tmp_path / "s"), before=nothing, after=nothing)
    await server.start()
    yield server.path
    await server.close()
    assert os.listdir(tmp_path) == []


@asynccontextmanager
async def client(path: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        yield reader, writer
    finally:
        writer.close()


def said(*words: str) -> bytes:
    data = "\0".join(words).encode()
    return b"iscx" + struct.pack(">I", len(data)) + data


async def answers(reader: asyncio.StreamReader, until: int = EXIT) -> Frames:
    found: Frames = []
    while not found or found[-1][0] != until:
        kind, length = FRAME.unpack(await asyncio.wait_for(reader.readexactly(FRAME.size), 10))
        found.append((kind, await reader.readexactly(length)))
    return found


async def run(path: str, *words: str) -> Frames:
    async with client(path) as (reader, writer):
        writer.write(said(*words))
        return await answers(reader)


async def test_a_command_leaves_streams_and_a_code(path: str) -> None:
    assert await run(path, "echo", "a", "", "b") == [
        (STDOUT, b"a  b\n"),
        (STDERR, b"done\n"),
        (EXIT, b"\x2c"),
    ]


async def test_the_socket_is_its_owners(path: str) -> None:
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


async def test_input_is_asked_for_by_who_reads_it(path: str) -> None:
    async with client(path) as (reader, writer):
        writer.write(said("copy"))
        assert await answers(reader, until=ASK) == [(ASK, b"")]
        for piece in (b"abc", b"x" * 50000, b""):
            writer.write(FRAME.pack(INPUT, len(piece)) + piece)
        assert await answers(reader) == [(STDOUT, b"abc" + b"x" * 50000), (EXIT, b"\0")]


async def test_much_output_comes_whole(path: str, host: Host) -> None:
    host.files["/etc/iscsi/big"] = bytes(3 << 20)
    host.changed()
    frames = await run(path, "cat", "/etc/iscsi/big")
    assert b"".join(data for kind, data in frames if kind == STDOUT) == bytes(3 << 20)


async def test_there_is_no_such_command(path: str, host: Host) -> None:
    host.missing_commands.add("lsblk")
    for name in ("nonsense", "lsblk"):
        assert await run(path, name) == [(STDERR, f"{name}: command not found\n".encode()), (EXIT, b"\x7f")]


async def test_a_mistake_of_ours_is_an_answer(path: str, caplog: pytest.LogCaptureFixture) -> None:
    frames = await run(path, "broken")
    assert frames == [(STDERR, b"broken: iscsim failed: ZeroDivisionError: by us\n"), (EXIT, b"\1")]
    assert "by us" in caplog.text


async def test_who_goes_away_kills_the_command(path: str, host: Host) -> None:
    async with client(path) as (_, writer):
        writer.write(said("forever"))
        await writer.drain()
        await asyncio.sleep(0.05)
        assert "/ended" not in host.files
    await until(lambda: "/ended" in host.files)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"iscx" + struct.pack(">I", 0),
        b"iscx" + struct.pack(">I", MAX_COMMAND + 1),
        b"iscx" + struct.pack(">I", 0xFFFFFFFF),
        b"iscx" + struct.pack(">I", 9000) + b"\0" * 9000,
        said("", "x"),
    ],
)
async def test_what_is_no_command_ends_the_connection(path: str, data: bytes) -> None:
    async with client(path) as (reader, writer):
        writer.write(data)
        assert await asyncio.wait_for(reader.read(), 10) == b""
    assert await run(path, "echo")


@pytest.mark.parametrize("frame", [FRAME.pack(INPUT, 1 << 20), FRAME.pack(EXIT, 1), b"\xff" * FRAME.size])
async def test_what_is_no_input_ends_the_connection(path: str, frame: bytes) -> None:
    async with client(path) as (reader, writer):
        writer.write(said("copy"))
        await answers(reader, until=ASK)
        writer.write(frame)
        assert await asyncio.wait_for(reader.read(), 10) == b""
    assert await run(path, "echo")


async def test_input_has_an_end(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_INPUT", 5)
    async with client(path) as (reader, writer):
        writer.write(said("copy"))
        await answers(reader, until=ASK)
        writer.write(FRAME.pack(INPUT, 3) + b"abc" + FRAME.pack(INPUT, 3) + b"abc")
        assert await asyncio.wait_for(reader.read(), 10) == b""


async def test_who_says_nothing_is_not_waited_for(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEGIN_S", 0.05)
    async with client(path) as (reader, writer):
        writer.write(b"isc")
        assert await asyncio.wait_for(reader.read(), 10) == b""


async def test_too_many_at_once_are_sent_away(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CLIENTS", 2)
    async with client(path), client(path):
        await asyncio.sleep(0.05)
        async with client(path) as (reader, _):
            assert await asyncio.wait_for(reader.read(), 10) == b""


async def test_commands_that_run_end_with_the_server(host: Host, tmp_path: Path) -> None:
    server = ShimServer(host, str(tmp_path / "s"), before=nothing, after=nothing)
    await server.start()
    async with client(server.path) as (reader, writer):
        writer.write(said("forever"))
        await asyncio.sleep(0.05)
        await server.close()
        assert await asyncio.wait_for(reader.read(), 10) == b""
    assert "/ended" in host.files
