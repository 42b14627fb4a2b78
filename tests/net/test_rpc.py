"""JSON-RPC 2.0 on a UNIX socket."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from iscsim.errors import ConfigError, ConnectionFailed
from iscsim.net.rpc import (
    FAILED,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    MAX_LINE_LENGTH,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    TOO_MANY,
    RPCError,
    RPCServer,
    call,
)
from iscsim.target.administration.errors import NotFound


async def add(first: int, second: int) -> int:
    return first + second


async def fail() -> None:
    raise ConnectionFailed("this cannot be")


async def refuse() -> None:
    raise ConfigError("that is no name")


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    server = RPCServer(tmp_path / "socket", {"add": add, "fail": fail, "refuse": refuse})
    await server.start()
    yield tmp_path / "socket"
    await server.close()


async def ask(path: Path, method: str, **params: Any) -> Any:
    return await asyncio.to_thread(call, path, method, timeout_s=10, **params)


async def exchange(path: Path, line: bytes) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(line + b"\n")
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    result: dict[str, Any] = json.loads(answer)
    return result


async def test_call_returns_the_result(path: Path) -> None:
    assert await ask(path, "add", first=1, second=2) == 3


async def test_failure_comes_back_with_its_message(path: Path) -> None:
    with pytest.raises(RPCError, match="this cannot be") as caught:
        await ask(path, "fail")
    assert caught.value.code == FAILED


async def test_mistake_in_what_was_asked_is_told_from_a_failure(path: Path) -> None:
    with pytest.raises(RPCError, match="that is no name") as caught:
        await ask(path, "refuse")
    assert caught.value.code == INVALID_PARAMS


async def test_socket_is_for_its_owner_only(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600  # noqa: ASYNC240


@pytest.mark.parametrize(
    "line, code",
    [
        (b"{", PARSE_ERROR),
        (b"[" * 100000, PARSE_ERROR),
        (b"[]", INVALID_REQUEST),
        (b'{"method": 1}', INVALID_REQUEST),
        (b'{"id": 1, "method": "nothing"}', METHOD_NOT_FOUND),
        (b'{"id": 1, "method": "add", "params": [1, 2]}', INVALID_PARAMS),
        (b'{"id": 1, "method": "add", "params": {"third": 3}}', INVALID_PARAMS),
    ],
)
async def test_bad_request_is_answered_with_the_code_of_the_specification(
    path: Path, line: bytes, code: int
) -> None:
    assert (await exchange(path, line))["error"]["code"] == code


async def test_line_beyond_the_limit_ends_the_conversation(path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"x" * (MAX_LINE_LENGTH + 2))
    try:
        assert json.loads(await reader.readline())["error"]["code"] == INVALID_REQUEST
        assert await reader.read() == b""
    except ConnectionError:
        assert reader.at_eof() or reader.exception() is not None
    writer.close()


async def test_what_is_not_json_ends_the_conversation(path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert json.loads(await reader.readline())["error"]["code"] == PARSE_ERROR
    assert await reader.read() == b""
    writer.close()


async def test_unknown_method_is_answered_with_the_nearest_one(path: Path) -> None:
    answer = await exchange(path, b'{"id": 1, "method": "refues"}')
    assert answer["error"]["message"] == "no method 'refues' (did you mean 'refuse'?)"


async def test_error_of_our_own_shows_nothing_of_the_program(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> None:
        raise KeyError("secret")

    server = RPCServer(tmp_path / "socket", {"broken": broken})
    await server.start()
    answer = await exchange(tmp_path / "socket", b'{"id": 1, "method": "broken"}')
    assert answer["error"] == {
        "code": INTERNAL_ERROR,
        "message": "broken: an error of iscsim's own, which its log shows",
    }
    assert "KeyError" in caplog.text
    await server.close()


async def test_code_of_an_error_is_passed_on(tmp_path: Path) -> None:
    async def missing() -> None:
        raise NotFound("there is none")

    server = RPCServer(tmp_path / "socket", {"missing": missing})
    await server.start()
    assert (await exchange(tmp_path / "socket", b'{"id": 1, "method": "missing"}'))["error"]["code"] == -32001
    await server.close()


async def test_conversation_too_many_is_sent_away_and_the_others_go_on(tmp_path: Path) -> None:
    server = RPCServer(tmp_path / "socket", {"add": add}, max_conversations=2)
    await server.start()
    first, _ = talks = [await asyncio.open_unix_connection(tmp_path / "socket") for _ in range(2)]
    await asyncio.sleep(0.01)
    answer = await exchange(tmp_path / "socket", b'{"id": 1, "method": "add"}')
    assert (answer["id"], answer["error"]["code"]) == (None, TOO_MANY)
    first[1].write(b'{"id": 1, "method": "add", "params": {"first": 1, "second": 2}}\n')
    assert json.loads(await first[0].readline())["result"] == 3
    for _, writer in talks:
        writer.close()
    await server.close()


async def test_silent_conversation_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iscsim.net.rpc._SILENCE_S", 0.0)
    server = RPCServer(tmp_path / "socket", {"add": add}, max_conversations=1)
    await server.start()
    reader, writer = await asyncio.open_unix_connection(tmp_path / "socket")
    await asyncio.sleep(0.01)
    assert await ask(tmp_path / "socket", "add", first=1, second=2) == 3
    assert await reader.read() == b""
    writer.close()
    await server.close()


async def test_notification_is_not_answered(path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b'{"method": "add", "params": {"first": 1, "second": 2}}\n')
    writer.write(b'{"id": 7, "method": "add", "params": {"first": 3, "second": 4}}\n')
    assert json.loads(await reader.readline()) == {"jsonrpc": "2.0", "id": 7, "result": 7}
    writer.close()
    await writer.wait_closed()


async def test_second_server_on_a_live_socket_is_refused(path: Path) -> None:
    with pytest.raises(FileExistsError):
        await RPCServer(path, {}).start()


async def test_socket_nobody_listens_on_is_taken_over(tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "socket"))
    server = RPCServer(tmp_path / "socket", {"add": add})
    await server.start()
    assert await ask(tmp_path / "socket", "add", first=1, second=1) == 2
    await server.close()
    assert not (tmp_path / "socket").exists()


async def test_close_ends_conversations_and_what_they_wait_for(tmp_path: Path) -> None:
    ended: list[bool] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    server = RPCServer(tmp_path / "socket", {"wait": wait, "add": add})
    await server.start()
    reader, writer = await asyncio.open_unix_connection(tmp_path / "socket")
    writer.write(b'{"id": 1, "method": "add", "params": {"first": 1, "second": 1}}\n{"method": "wait"}\n')
    await reader.readline()
    await asyncio.sleep(0)
    await server.close()
    assert (await reader.read(), ended) == (b"", [True])
    writer.close()
    await writer.wait_closed()


async def test_call_without_a_server_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        call(tmp_path / "socket", "add")


async def test_file_in_the_place_of_the_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="no socket"):
        await RPCServer(tmp_path / "disk.img", {}).start()
    assert (tmp_path / "disk.img").read_bytes() == b"precious"


async def test_who_does_not_read_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iscsim.net.rpc._SILENCE_S", 0.0)

    async def large() -> str:
        return "x" * (8 << 20)

    server = RPCServer(tmp_path / "socket", {"large": large, "add": add}, max_conversations=1)
    await server.start()
    reader, writer = await asyncio.open_unix_connection(tmp_path / "socket", limit=64)
    writer.write(b'{"id": 1, "method": "large"}\n')
    await reader.read(1)  # it is being answered
    assert await ask(tmp_path / "socket", "add", first=1, second=2) == 3
    writer.close()
    await server.close()


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999"])
async def test_number_that_json_does_not_have_is_not_echoed(path: Path, number: bytes) -> None:
    answer = await exchange(path, b'{"id": %b, "method": "add"}' % number)
    assert (answer["id"], answer["error"]["code"]) in ((None, PARSE_ERROR), (None, INVALID_REQUEST))
