"""iscsiadm against recordings of the real one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from iscsim.host.model import Host
from iscsim.host.settings import HostSettings
from iscsim.net.memory import MemoryNetwork
from iscsim.net.virtual_loop import VirtualLoop

GOLDEN = Path(__file__).parents[2] / "golden"
COMPILED_IN = {
    "node.session.initial_login_retry_max": "4",
    "node.conn[0].timeo.login_timeout": "30",
}
"""What holds without an iscsid.conf, as on the machine that was recorded."""


@dataclass
class Recorded:
    """A command and what it left."""

    argv: list[str]
    stdout: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)
    exit_code: int = 0


def recorded(name: str) -> Iterator[Recorded]:
    current = Recorded([])
    for line in (GOLDEN / name).read_text().splitlines():
        if line.startswith("$ "):
            current = Recorded(shlex.split(line[2:]))
        elif line.startswith("OUT: "):
            current.stdout.append(line[5:])
        elif line.startswith("ERR: "):
            current.stderr.append(line[5:])
        elif line.startswith("rc="):
            current.exit_code = int(line[3:])
            yield current


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


def test_node_database_of_the_recording_comes_out_command_by_command(loop: VirtualLoop) -> None:
    settings = HostSettings(iscsid_running=False, iscsid_conf=COMPILED_IN)
    host = Host(MemoryNetwork().add_host("compute", "10.245.47.10"), settings=settings)
    count = 0
    for expected in recorded("open-iscsi-2.1.8-node-database.log"):
        result = loop.run_until_complete(host.execute(*expected.argv))
        got = (result.text.splitlines(), result.error.splitlines(), result.exit_code)
        assert got == (expected.stdout, expected.stderr, expected.exit_code), expected.argv
        count += 1
    assert count == 23


def test_recorded_node_of_a_machine_with_a_configuration(loop: VirtualLoop) -> None:
    host = Host(MemoryNetwork().add_host("compute", "10.245.47.10"))
    name, portal = "iqn.1992-04.com.emc:cx.fnm00150600267.a0", "10.245.47.95:3260"

    async def ask() -> str:
        await host.execute("iscsiadm", "-m", "node", "-T", name, "-p", portal, "--op", "new")
        return (await host.execute("iscsiadm", "-m", "node", "-T", name, "-p", portal)).text

    text = (GOLDEN / "open-iscsi-2.1.8-linux-6.1.log").read_text()
    begin, end = "# BEGIN RECORD 2.1.8\n", "# END RECORD\n"
    first = text[text.index(begin) : text.index(end) + len(end)]
    assert loop.run_until_complete(ask()) == first


@pytest.mark.parametrize(
    ("line", "message", "exit_code"),
    [
        ("-m node -Z", "iscsiadm: invalid option -- 'Z'", 7),
        ("-m nowhere", "iscsiadm: mode -1 is not yet supported", 7),
        ("-m node -o change", "iscsiadm: can not recognize operation: 'change'", 7),
        ("-m node -p :::", "iscsiadm: Invalid portal :::", 7),
        ("-m node -T iqn.x -o update -n node.name -v y", "iscsiadm: No records found", 21),
        ("-m session -r 99", "iscsiadm: could not read session targetname: 5", 22),
        ("-m discovery -t isns -p 10.0.0.1", "iscsiadm: Invalid discovery type isns", 7),
    ],
)
def test_what_cannot_be_is_told(loop: VirtualLoop, line: str, message: str, exit_code: int) -> None:
    host = Host(MemoryNetwork().add_host("compute", "10.245.47.10"))
    result = loop.run_until_complete(host.execute("iscsiadm", *line.split()))
    assert (result.error.splitlines()[0], result.exit_code) == (message, exit_code)


@pytest.mark.parametrize("name", ["node.name", "node.conn[0].address", "node.conn[0].port", "node.tpgt"])
def test_what_a_record_is_found_by_cannot_be_changed(loop: VirtualLoop, name: str) -> None:
    host = Host(MemoryNetwork().add_host("compute", "10.245.47.10"))
    node = ("iscsiadm", "-m", "node", "-T", "iqn.2026-11.org.iscsim:a", "-p", "10.0.0.1")
    loop.run_until_complete(host.execute(*node, "-o", "new"))
    result = loop.run_until_complete(host.execute(*node, "-o", "update", "-n", name, "-v", "x"))
    assert result.exit_code == 7
    assert result.error.splitlines() == [
        f"iscsiadm: Cannot modify {name}. It is used to look up the record and cannot be changed.",
        "iscsiadm: Could not execute operation on all records: invalid parameter",
    ]
