"""Runs the host's commands: argv in; two streams and an exit code out."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iscsim.host.result import CommandResult, Output

if TYPE_CHECKING:
    from iscsim.host.model import Host

__all__ = ["COMMANDS", "Call", "Program", "command", "run"]


@dataclass(slots=True)
class Call:
    """One run of a command: ``arguments`` without its name, what is on its standard input, its streams."""

    host: Host
    name: str
    arguments: list[str]
    stdin: bytes
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


async def run(host: Host, argv: Sequence[str], stdin: bytes = b"") -> CommandResult:
    """Run a command on ``host``.

    Raises:
        FileNotFoundError: the host has no such program.
    """
    name = posixpath.basename(argv[0])
    program = COMMANDS.get(name)
    if program is None or name in host.missing_commands:
        raise FileNotFoundError(2, "No such file or directory", argv[0])
    call = Call(host, name, list(argv[1:]), stdin, Output())
    cost = host.settings.cost_of(name)
    if cost:
        await asyncio.sleep(cost)
    return call.output.result(await program(call))
