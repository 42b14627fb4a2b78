"""A program is run to its end, signals reach it, and nothing of it is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from host.exec.stage import until

from iscsim.host.exec import program as module
from iscsim.host.exec.program import Signals, run_program


async def shell(script: str, **environment: str) -> int:
    with Signals() as signals:
        async with asyncio.timeout(60):
            return await run_program(["sh", "-c", script], {**os.environ, **environment}, signals)


async def test_it_ends_as_the_program_does() -> None:
    assert await shell("exit 7") == 7
    assert await shell("kill -KILL $$") == 128 + signal.SIGKILL


async def test_it_has_the_environment_and_our_streams(capfd: pytest.CaptureFixture[str]) -> None:
    assert await shell('echo "$WORD"; echo problem >&2', WORD="said") == 0
    assert capfd.readouterr() == ("said\n", "problem\n")


async def test_what_it_leaves_running_is_killed(tmp_path: Path) -> None:
    one, other = (f"sleep 1000 & echo $! > {tmp_path}/{name}" for name in ("a", "b"))
    assert await shell(f"({one}; setsid {other}) & wait") == 0
    for name in ("a", "b"):
        process = int((tmp_path / name).read_text())
        assert not is_alive(process)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def started(path: Path) -> bool:
    return path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_reaches_it(number: signal.Signals, tmp_path: Path) -> None:
    script = f"trap 'exit 9' {number.value}; touch {tmp_path}/ready; while :; do sleep 0.01; done"
    running = asyncio.ensure_future(shell(script))
    await until(lambda: started(tmp_path / "ready"))
    os.kill(os.getpid(), number)
    assert await running == 9


async def test_who_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE_S", 0.05)
    script = f"trap '' TERM INT; touch {tmp_path}/ready; while :; do sleep 0.01; done"
    running = asyncio.ensure_future(shell(script))
    await until(lambda: started(tmp_path / "ready"))
    os.kill(os.getpid(), signal.SIGINT)
    assert await running == 128 + signal.SIGKILL


async def test_a_program_that_cannot_be_started() -> None:
    with pytest.raises(FileNotFoundError):
        await run_program(["/no/such/program"], {}, Signals())


async def test_a_signal_before_there_is_a_program_ends_the_task() -> None:
    caught = []

    async def prepare() -> None:
        with Signals() as signals:
            caught.append(signals)
            await asyncio.Event().wait()

    preparing = asyncio.ensure_future(prepare())
    await until(lambda: bool(caught))
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(asyncio.CancelledError):
        await preparing
    assert caught[0].number == signal.SIGTERM


async def test_children_of_others_are_let_alone() -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)  # noqa: ASYNC220
    assert await shell("true") == 0
    assert other.poll() is None
    other.kill()
    other.communicate()
