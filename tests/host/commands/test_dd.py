"""dd copies between disks, maps, files and streams."""

from __future__ import annotations

from typing import Any

import pytest

from iscsim.host.result import CommandResult
from iscsim.host.settings import HostSettings
from iscsim.lab import Lab

from ..world import PORTALS, WWN, log_in, play

MAP = f"/dev/mapper/{WWN}"


def run(*lines: str | tuple[str, bytes]) -> list[CommandResult]:
    """Run dd with these operands, one after the other, on a host with a map."""

    async def story(lab: Lab) -> Any:
        host = await log_in(lab, HostSettings(find_multipaths="no"))
        found = []
        for line in lines:
            words, stdin = line if isinstance(line, tuple) else (line, b"")
            found.append(await host.execute("dd", *words.split(), stdin=stdin))
        return found

    return play(story)


def test_what_is_written_through_the_map_is_read_from_a_path() -> None:
    data = bytes(range(256)) * 8
    write, read = run((f"of={MAP} bs=512 seek=3", data), "if=/dev/sda bs=1k skip=1 count=3")
    assert write.error == "4+0 records in\n4+0 records out\n2048 bytes copied\n"
    assert read.stdout[512 : 512 + 2048] == data
    assert read.stdout[:512] == bytes(512)


def test_parts_of_blocks_leave_the_rest_as_it_was() -> None:
    _, _, read = run(
        (f"of={MAP} bs=1k", b"a" * 1024), (f"of={MAP} bs=1 seek=100", b"bb"), f"if={MAP} bs=512 count=2"
    )
    assert read.stdout == b"a" * 100 + b"bb" + b"a" * 922


def test_end_of_the_disk_is_the_end() -> None:
    read, beyond, full = run(
        "if=/dev/sda bs=1M skip=63 count=9 of=/dev/null",
        "if=/dev/sda bs=1M skip=65",
        "if=/dev/zero of=/dev/sda bs=1M seek=63 count=2",
    )
    assert read.error.startswith("1+0 records in")
    assert (beyond.stdout, beyond.exit_code) == (b"", 0)
    assert full.error.startswith("dd: error writing '/dev/sda': No space left on device\n")
    assert full.exit_code == 1


def test_files_and_streams() -> None:
    made, read, nothing = run(
        ("of=/etc/new bs=2", b"abcde"), "if=/etc/new bs=2 skip=1", "if=/dev/null of=/etc/empty"
    )
    assert made.error.startswith("2+1 records in")
    assert read.stdout == b"cde"
    assert nothing.exit_code == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bs=0", "dd: invalid number: '0'"),
        ("bs=x", "dd: invalid number: 'x'"),
        ("count=-1", "dd: invalid number: '-1'"),
        ("bs=1T", "dd: memory exhausted by input buffer of size 1099511627776 bytes"),
        ("foo", "dd: unrecognized operand 'foo'"),
        ("x=1", "dd: unrecognized operand 'x=1'"),
        ("if=/dev/sdz", "dd: failed to open '/dev/sdz': No such file or directory"),
        ("if=/etc", "dd: error reading '/etc': Is a directory"),
        ("of=/nowhere/x", "dd: failed to open '/nowhere/x': No such file or directory"),
        ("if=/dev/zero", "dd: error writing 'standard output': File too large"),
    ],
)
def test_what_cannot_be_is_said(line: str, message: str) -> None:
    (result,) = run(line)
    assert (result.error.splitlines()[0], result.exit_code) == (message, 1)


def test_dead_path_is_an_error() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab, HostSettings(find_multipaths="no"))
        for portal in PORTALS:
            lab.fault("path.down", portal=portal)
        return await host.execute("dd", "if=/dev/sda", "of=/dev/null", "count=1")

    result = play(story, judge=False)
    assert (result.error.splitlines()[0], result.exit_code) == (
        "dd: error reading '/dev/sda': Input/output error",
        1,
    )
