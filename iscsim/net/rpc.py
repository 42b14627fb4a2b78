"""JSON-RPC 2.0 over a UNIX socket, one object a line: how one iscsim process talks to another.

The socket is mode 0600: whoever may open it is its owner. Both sides limit a line before they keep it.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

from iscsim.errors import ConfigError, ISCSIError

Method = Callable[..., Awaitable[Any]]

MAX_LINE_LENGTH = 1 << 20
# https://www.jsonrpc.org/specification, "Error object"
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
FAILED = -32000
"""Ours: the method ran and failed; the message is the line a user should see."""


class RPCError(ISCSIError):
    """The other process answered with an error; ``code`` is JSON-RPC's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class RPCServer:
    """Answers calls on a UNIX socket with ``methods``, each an async function of keyword arguments."""

    def __init__(self, path: Path, methods: Mapping[str, Method]) -> None:
        self._path = path
        self._methods = methods
        self._server: asyncio.Server | None = None
        self._conversations: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises OSError, among them FileExistsError when a live process has the socket.

        What is no socket is left alone: that is a FileExistsError too.
        """
        _remove_dead(self._path)
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._converse, self._path, limit=MAX_LINE_LENGTH)
        finally:
            os.umask(mask)

    async def close(self) -> None:
        """Stop listening, remove the socket, end every conversation and what it was waiting for."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        for conversation in self._conversations:
            conversation.cancel()
        await asyncio.gather(*self._conversations)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = cast("asyncio.Task[None]", asyncio.current_task())
        self._conversations.add(conversation)
        try:
            while line := await reader.readline():
                answer = await self._answer(line)
                if answer is not None:
                    writer.write(json.dumps(answer).encode() + b"\n")
                    await writer.drain()
        except (ConnectionError, ValueError):
            return  # the caller went away, or sent a line beyond the limit: nobody to tell
        except asyncio.CancelledError:
            return  # we end; nobody waits for this task but close(), and streams log one that was cancelled
        finally:
            self._conversations.discard(conversation)
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any] | None:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return _error(None, PARSE_ERROR, "not JSON")
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            return _error(None, INVALID_REQUEST, "not a JSON-RPC 2.0 request")
        identity, params = request.get("id"), request.get("params", {})
        method = self._methods.get(request["method"])
        if method is None:
            return _error(identity, METHOD_NOT_FOUND, f"no method {request['method']!r}")
        if not isinstance(params, dict):
            return _error(identity, INVALID_PARAMS, "params must be an object")
        try:
            result = await method(**params)
        except (TypeError, ConfigError) as error:
            return _error(identity, INVALID_PARAMS, str(error))
        except (ISCSIError, OSError) as error:
            return _error(identity, FAILED, str(error))
        return {"jsonrpc": "2.0", "id": identity, "result": result} if "id" in request else None


def _error(identity: Any, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "error": {"code": code, "message": message}}


def _remove_dead(path: Path) -> None:
    """Remove a socket nobody listens on any more.

    Raises FileExistsError when somebody does, and for what is no socket.
    """
    if not path.exists():
        return
    if not path.is_socket():  # connecting to a file is refused too
        raise FileExistsError(f"{path} is there, and no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise FileExistsError(f"{path} is in use")


def call(path: Path, method: str, *, timeout_s: float = 60.0, **params: Any) -> Any:
    """Call ``method`` of the process behind the socket ``path`` and wait for its result.

    Raises:
        RPCError: the method failed; with INVALID_PARAMS, because what was asked for is wrong in itself.
        OSError: nobody answers there.
    """
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        connection.connect(os.fspath(path))
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as stream:
            line = stream.readline(MAX_LINE_LENGTH)
    if not line.endswith(b"\n"):
        raise ConnectionResetError(f"no answer from {path}")
    answer = json.loads(line)
    if "error" in answer:
        raise RPCError(answer["error"]["code"], answer["error"]["message"])
    return answer["result"]
