"""Blocks between a unit and a file or a pipe, a piece at a time."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import iscsim


@pytest.fixture
async def target() -> AsyncIterator[iscsim.LiveTarget]:
    async with iscsim.serve(luns={1: "3M"}) as live:
        yield live


async def test_file_larger_than_the_unit_is_refused_before_the_first_write(
    cli: Any, target: iscsim.LiveTarget, tmp_path: Path
) -> None:
    (tmp_path / "in").write_bytes(b"x" * (4 << 20))
    done = await cli.beside("write", target.portal, target.name, 1, "-i", tmp_path / "in")
    done.assert_failed(1, f"{tmp_path / 'in'} has {4 << 20} bytes, LUN 1 has {3 << 20}")
    (mapped,) = target.lun_map
    assert bytes(mapped.logical_unit.store.read(0, 1)) == bytes(512)


async def test_endless_input_fills_the_unit_and_says_so(cli: Any, target: iscsim.LiveTarget) -> None:
    done = await cli.beside("write", target.portal, target.name, 1, "-i", "/dev/zero")
    assert (done.code, done.output) == (1, b"")
    note, error = done.stderr.splitlines()
    assert note == f"iscsim: note: 6144 blocks ({3 << 20} bytes) were written at block 0"
    assert error == "iscsim: error: /dev/zero has more than LUN 1, which is full"


async def test_dash_is_stdin_and_stdout(cli: Any, target: iscsim.LiveTarget) -> None:
    there = (target.portal, target.name, 1)
    assert (await cli.beside("write", *there, "-i", "-", stdin=b"x" * 512)).code == 0
    assert (await cli.beside("read", *there, "-o", "-")).output == b"x" * 512


async def test_read_beyond_the_end_leaves_the_output_file_alone(
    cli: Any, target: iscsim.LiveTarget, tmp_path: Path
) -> None:
    (tmp_path / "out").write_bytes(b"precious")
    there = (target.portal, target.name, 1)
    done = await cli.beside("read", *there, "--lba", 6144, "--blocks", 8, "-o", tmp_path / "out")
    done.assert_failed(1, "LUN 1 has 6144 blocks; 6144 + 8 is beyond its end")
    assert (tmp_path / "out").read_bytes() == b"precious"


async def test_interrupt_ends_a_write_that_waits_for_stdin(cli: Any, target: iscsim.LiveTarget) -> None:
    command = cli.command("write", target.portal, target.name, 1)
    process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(b"x" * (1 << 20))
    (mapped,) = target.lun_map
    await cli.until(lambda: bytes(mapped.logical_unit.store.read(2047, 1)) == b"x" * 512)
    await asyncio.sleep(0.2)  # let it come to its next read
    process.send_signal(signal.SIGINT)
    note = (await process.stderr.read()).decode()  # it ends although stdin stays open
    assert await process.wait() == 130
    process.stdin.close()
    assert note == f"iscsim: note: 2048 blocks ({1 << 20} bytes) were written at block 0\n"
