"""JSON-RPC 2.0 over a UNIX socket, one object a line: how one iscsim process talks to another.

The socket is mode 0600: whoever may open it is its owner. Both sides limit a line before they keep it.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from pathlib import Path
from typing import Any, cast

from iscsim.errors import ConfigError, ISCSIError
from iscsim.hints import hint
from iscsim.net.private_socket import serve_privately
from iscsim.net.reasons import reason_of

Method = Callable[..., Awaitable[Any]]

MAX_LINE_LENGTH = 1 << 20
MAX_CONVERSATIONS = 64
_BACKLOG = 128
_SILENCE_S = 10.0
"""Who has asked nothing for so long gives way to a newcomer when all places are taken."""
# https://www.jsonrpc.org/specification, "Error object"
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
INTERNAL_ERROR = -32603
FAILED = -32000
"""Ours: the method ran and failed; the message is the line a user should see."""
TOO_MANY = -32004
"""Ours: there are too many conversations already."""

logger = logging.getLogger("iscsim.rpc")


class RPCError(ISCSIError):
    """The other process answered with an error; ``code`` is JSON-RPC's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Conversation:
    """Somebody who asks: since when he is silent, and whether we owe him an answer."""

    __slots__ = ("busy", "since", "task")

    def __init__(self, task: asyncio.Task[None], now: float) -> None:
        self.task = task
        self.since = now
        self.busy = False


class RPCServer:
    """Answers calls on a UNIX socket with ``methods``, each an async function of keyword arguments.

    At most ``max_conversations`` go on at a time: one more takes the place of who has been silent longest, or
    is told so and sent away. What is not JSON ends a conversation; no request keeps others waiting but by the
    time it takes itself.
    """

    def __init__(
        self, path: Path, methods: Mapping[str, Method], *, max_conversations: int = MAX_CONVERSATIONS
    ) -> None:
        self._path = path
        self._methods = methods
        self._max_conversations = max_conversations
        self._server: asyncio.Server | None = None
        self._conversations: dict[asyncio.Task[None], _Conversation] = {}

    async def start(self) -> None:
        """Listen. Raises OSError, among them FileExistsError when a live process has the socket.

        What is no socket is left alone: that is a FileExistsError too.
        """
        _remove_dead(self._path)
        self._server = await serve_privately(
            self._converse, self._path, limit=MAX_LINE_LENGTH, backlog=_BACKLOG
        )

    async def close(self) -> None:
        """Stop listening, remove the socket, end every conversation and what it was waiting for."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        for conversation in list(self._conversations):
            conversation.cancel()
        await asyncio.gather(*self._conversations)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        conversation = _Conversation(task, self._time())
        try:
            if not self._make_room():
                await _send(writer, _error(None, TOO_MANY, f"{self._max_conversations} conversations go on"))
                return
            self._conversations[task] = conversation
            await self._answer_all(conversation, reader, writer)
        except (ConnectionError, TimeoutError):
            return  # the caller went away: nobody to tell
        except asyncio.CancelledError:
            writer.transport.abort()  # an answer nobody reads would stay
            return  # we end; nobody waits for this task but close(), and streams log one that was cancelled
        finally:
            self._conversations.pop(task, None)
            writer.close()

    def _time(self) -> float:
        return asyncio.get_running_loop().time()

    def _make_room(self) -> bool:
        if len(self._conversations) < self._max_conversations:
            return True
        silent = [each for each in self._conversations.values() if not each.busy]
        longest = min(silent, key=lambda each: each.since, default=None)
        if longest is None or self._time() - longest.since < _SILENCE_S:
            return False
        del self._conversations[longest.task]
        longest.task.cancel()
        return True

    async def _answer_all(
        self, conversation: _Conversation, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            conversation.busy, conversation.since = False, self._time()
            try:
                line = await reader.readline()
            except ValueError:
                await _send(
                    writer, _error(None, INVALID_REQUEST, f"more than {MAX_LINE_LENGTH} bytes in a line")
                )
                return
            if not line.strip():
                if not line:
                    return
                continue
            conversation.busy = True
            answer = await self._answer(line)
            if answer is not None:
                conversation.busy, conversation.since = False, self._time()  # who does not read is silent too
                await _send(writer, answer)
                if answer.get("error", {}).get("code") == PARSE_ERROR:
                    return
            await asyncio.sleep(
                0
            )  # what has come already is read without waiting: let others have their turn

    async def _answer(self, line: bytes) -> dict[str, Any] | None:
        try:
            request = json.loads(line, parse_constant=_not_json)
        except (ValueError, RecursionError):
            return _error(None, PARSE_ERROR, "not JSON")
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            return _error(None, INVALID_REQUEST, "not a JSON-RPC 2.0 request")
        identity, params = request.get("id"), request.get("params", {})
        if not isinstance(identity, str | int | float | None) or identity in (inf, -inf):
            return _error(None, INVALID_REQUEST, "id must be text or a number")
        name = request["method"]
        method = self._methods.get(name)
        if method is None:
            return _error(
                identity, METHOD_NOT_FOUND, f"no method {name[:60]!r} ({hint(name, self._methods)})"
            )
        if not isinstance(params, dict):
            return _error(identity, INVALID_PARAMS, f"{name}: params must be an object")
        answer = await _run(name, method, params, identity)
        return answer if "id" in request else None


async def _run(name: str, method: Method, params: dict[str, Any], identity: Any) -> dict[str, Any]:
    """The result, or what went wrong in one line; never what only a programmer should see."""
    try:
        bound = inspect.signature(method).bind(**params)
    except TypeError as error:
        return _error(identity, INVALID_PARAMS, f"{name}: {error}")
    try:
        result = await method(*bound.args, **bound.kwargs)
        return {"jsonrpc": "2.0", "id": identity, "result": result}
    except ConfigError as error:
        return _error(identity, getattr(error, "rpc_code", INVALID_PARAMS), str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _error(identity, FAILED, f"{name}: {where}{reason_of(error)}")
    except ISCSIError as error:
        return _error(identity, FAILED, str(error))
    except Exception:
        logger.exception("method %s failed", name)
        return _error(identity, INTERNAL_ERROR, f"{name}: an error of iscsim's own, which its log shows")


async def _send(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
    writer.write(json.dumps(answer).encode() + b"\n")
    await writer.drain()


def _not_json(name: str) -> Any:
    """Python reads and writes NaN and Infinity; JSON has none. Raises ValueError."""
    raise ValueError(f"{name} is no JSON")


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
