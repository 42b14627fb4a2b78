"""What the page on the incident shows is what comes out: its program, its picture, its table."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

from initiator.incident import Row, play, recorded

from iscsim.capture import read_packets
from iscsim.initiator import InitialLoginSettings
from iscsim.net.virtual_loop import VirtualLoop

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "the-attach-that-took-254-seconds.md"
TEXT = PAGE.read_text(encoding="utf-8")
PORTALS = {
    "a portal that never answers": "10.245.47.93:3260",
    "a portal that refuses connections": "10.245.47.95:3299",
    "an address nobody has": "10.245.47.77:3260",
    "a portal that accepts and says nothing": "10.245.47.94:3260",
    "a portal that closes after the request": "10.245.47.92:3260",
}
SETTINGS = [(15, 8), (15, 4), (15, 1), (10, 3), (5, 8), (5, 4), (5, 1)]


def cost(portal: str, timeout: int, retries: int) -> str:
    settings = InitialLoginSettings(login_timeout=timeout, initial_login_retry_max=retries)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        code, seconds = runner.run(play(Row(settings, portal, 0, 0)))
    cell = f"{seconds:.0f} ({code})"
    known = [row for row in recorded() if (row.settings, row.portal) == (settings, portal)]
    return f"**{cell}**" if known else cell


def table() -> str:
    head = ["login_timeout x retry_max", *(f"{timeout} x {retries}" for timeout, retries in SETTINGS)]
    rows = [[words, *(cost(portal, *each) for each in SETTINGS)] for words, portal in PORTALS.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def test_table_of_what_a_dead_portal_costs_is_what_it_costs() -> None:
    expected = table()
    assert expected in TEXT, f"put this into {PAGE}:\n{expected}"


def test_program_draws_the_picture_and_captures_the_syns(tmp_path: Path) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (picture,) = re.findall(r"^```text\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == picture
    swallowed = [
        packet for packet in read_packets(tmp_path / "incident.pcapng") if packet.data[30:34] == b"\n\xf5/_"
    ]
    assert len(swallowed) >= 8 * 4
