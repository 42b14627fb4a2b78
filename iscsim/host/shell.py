"""Runs the host's commands: argv in; two streams and an exit code out."""

from __future__ import annotations

import asyncio
import errno
import os
import posixpath
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iscsim.host.result import CommandResult, Output

if TYPE_CHECKING:
    from iscsim.host.model import Host

__all__ = ["COMMANDS", "Call", "Program", "command", "commands", "find", "run"]


@dataclass(slots=True)
class Call:
    """One run of a command: ``arguments`` without its name, and its streams."""

    host: Host
    name: str
    arguments: list[str]
    read: Callable[[], Awaitable[bytes]]
    """All of its standard input."""
    output: Output


Program = Callable[[Call], Awaitable[int]]
"""Returns the exit code."""
COMMANDS: dict[str, Program] = {}
"""By name; absolute paths of a command lead to the same one."""


def command(*names: str) -> Callable[[Program], Program]:
    """Declare a coroutine function to be the command of these names."""

    def declare(program: Program) -> Program:
        for name in names:
            COMMANDS[name] = program
        return program

    return declare


def commands() -> dict[str, Program]:
    """All there are, by name."""
    import iscsim.host.commands  # noqa: F401 - they declare themselves, and import the model

    return COMMANDS


def find(host: Host, program: str) -> tuple[str, Program]:
    """The name and the command behind ``program``, which may have directories before its name.

    Raises:
        FileNotFoundError: the host has no such program.
    """
    name = posixpath.basename(program)
    if name not in commands() or name in host.missing_commands:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)
    return name, COMMANDS[name]


async def run(host: Host, argv: Sequence[str], stdin: bytes | Awaitable[bytes] = b"") -> CommandResult:
    """Run a command on ``host``. Its input is waited for only if it reads it.

    Raises:
        FileNotFoundError: the host has no such program.
    """
    name, program = find(host, argv[0])

    async def read() -> bytes:
        return stdin if isinstance(stdin, bytes) else await stdin

    call = Call(host, name, list(argv[1:]), read, Output())
    cost = host.settings.cost_of(name)
    if cost:
        await asyncio.sleep(cost)
    return call.output.result(await program(call))
