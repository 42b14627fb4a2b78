"""A host and what programs see of it, without namespaces: real processes run its shims."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from iscsim.host.exec.execution import Execution
from iscsim.host.exec.layout import Layout
from iscsim.host.model import Host

WWID = "36006016015e03a00ab2df25bb82d0ea9"


@dataclass
class Ended:
    code: int
    out: bytes
    error: bytes


@dataclass
class Stage:
    """A host with its tree, shims and sockets; ``run`` runs a program among them."""

    host: Host
    layout: Layout
    execution: Execution

    async def start(self, *argv: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        environment = self.execution.environment(os.environ)
        program = self.layout.shims / argv[0]
        return await asyncio.create_subprocess_exec(
            str(program), *argv[1:], stdin=pipe, stdout=pipe, stderr=pipe, env=environment
        )

    async def run(self, *argv: str, stdin: bytes = b"") -> Ended:
        process = await self.start(*argv)
        out, error = await asyncio.wait_for(process.communicate(stdin), 60)
        assert process.returncode is not None
        return Ended(process.returncode, out, error)

    async def log_in(self) -> None:
        await self.host.execute("iscsiadm", "-m", "discovery", "-t", "st", "-p", "10.245.47.95")
        assert (await self.host.execute("iscsiadm", "-m", "node", "-l")).exit_code == 0
        await self.execution.show()

    def path(self, path: str) -> str:
        return self.execution.export.place(path)

    def exists(self, path: str) -> bool:
        return os.path.lexists(self.path(path))

    def read(self, path: str) -> str:
        return Path(self.path(path)).read_text()

    def write(self, path: str, text: str) -> None:
        Path(self.path(path)).write_text(text)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds, 30 s at most."""
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError
