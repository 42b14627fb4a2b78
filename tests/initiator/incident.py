"""The recorded login timeouts of open-iscsi 2.1.8, and a virtual world with the same portals."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import iscsim
from iscsim.initiator import InitialLoginSettings, exit_code_of
from iscsim.net.conditions import CLEAR, Reply, Verdict
from iscsim.net.memory import MemoryNetwork

RECORDING = Path(__file__).parents[1] / "golden" / "open-iscsi-2.1.8-login-timeouts.log"
TARGET = "iqn.1992-04.com.emc:cx.fnm00150600267.a0"
BLACKHOLE, SILENT, CLOSING, GOOD = "10.245.47.93", "10.245.47.94", "10.245.47.92", "10.245.47.95"
"""What each address was in the recording; 10.245.47.77 is nobody's, and nobody listens on .95:3299."""

_LONG = re.compile(
    r"^## [^\n]* \((?P<portal>[\d.:]+)\)\n.*?"
    r"^real\s+(?P<minutes>\d+)m(?P<seconds>[\d.]+)s$.*?^rc=(?P<code>\d+)$",
    re.MULTILINE | re.DOTALL,
)
_SHORT = re.compile(
    r"^login_timeout=(\d+) retry_max=(\d+) portal=(\S+) rc=(\d+) seconds=([\d.]+)$", re.MULTILINE
)


class Row(NamedTuple):
    """One row of the recording."""

    settings: InitialLoginSettings
    portal: str
    code: int
    seconds: float

    def __str__(self) -> str:
        settings = self.settings
        return f"{self.portal} {settings.login_timeout:g}x{settings.initial_login_retry_max}"


def recorded() -> list[Row]:
    """Every row, parsed from the file."""
    return list(_rows(RECORDING.read_text(encoding="utf-8")))


def _rows(text: str) -> Iterator[Row]:
    for row in _LONG.finditer(text):
        seconds = 60 * int(row["minutes"]) + float(row["seconds"])
        yield Row(InitialLoginSettings(), row["portal"], int(row["code"]), seconds)
    for timeout, retries, portal, code, passed in _SHORT.findall(text):
        settings = InitialLoginSettings(login_timeout=int(timeout), initial_login_retry_max=int(retries))
        yield Row(settings, portal, int(code), float(passed))


class Blackhole(type(CLEAR)):  # type: ignore[misc]
    """Nobody answers a SYN to one address."""

    def connecting(self, flow: Any, attempt: int, now: float) -> Reply:
        lost = flow.destination[0] == BLACKHOLE
        return Reply(Verdict.LOST) if lost else super().connecting(flow, attempt, now)


class Silent(asyncio.Protocol):
    """Accepts, and never says a word."""


class Closing(asyncio.Protocol):
    """Closes when the first bytes come."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.close()


class StoragePortals:
    """The portals of the recording: see `BLACKHOLE`, `SILENT`, `CLOSING`, `GOOD`."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.network.conditions = Blackhole()
        self.array = self.network.add_host("array", GOOD, BLACKHOLE, SILENT, CLOSING)
        self.compute = self.network.add_host("compute", "10.245.47.10")

    async def listen(self) -> None:
        """Open the portals that accept."""
        await self.array.listen(SILENT, 3260, Silent)
        await self.array.listen(CLOSING, 3260, Closing)

    def connect(self, portal: str, **options: Any) -> Any:
        """`iscsim.connect` from the compute host."""
        return iscsim.connect(portal, TARGET, network=self.compute, rng=random.Random(7), **options)


async def play(row: Row) -> tuple[int, float]:
    """Log in as the row says: exit code and virtual seconds."""
    portals, loop = StoragePortals(), asyncio.get_running_loop()
    await portals.listen()
    began = loop.time()
    try:
        await portals.connect(row.portal, retry=row.settings)
    except iscsim.ISCSIError as error:
        return exit_code_of(error), loop.time() - began
    return 0, loop.time() - began
