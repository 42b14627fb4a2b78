"""A keeper is started when one is needed, and is all there is of the sessions."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import iscsim
from iscsim.cli import keeper_client
from iscsim.cli.errors import EnvironmentFailure
from iscsim.cli.keeper_client import ask, ask_if_running
from iscsim.errors import ConfigError

HOST = "iqn.1993-08.org.debian:01:host"
SECRET = "never-to-be-shown"


@pytest.fixture
async def target() -> AsyncIterator[iscsim.LiveTarget]:
    async with iscsim.serve(initiators=[f"{HOST}:user:{SECRET}"]) as live:
        yield live


async def test_login_starts_a_keeper_and_logout_ends_it(cli: Any, target: iscsim.LiveTarget) -> None:
    login = ("login", target.portal, target.name, "--user", "user", "--password", SECRET)
    assert (await asyncio.to_thread(cli.spawn, *login)).code == 0
    pid = await asyncio.to_thread(cli.keeper_pid)
    assert pid is not None
    assert [session.initiator_name for session in target.sessions] == [HOST]
    assert (await asyncio.to_thread(cli.spawn, "logout")).code == 0
    assert target.sessions == []
    await cli.until(lambda: not cli.is_running(pid))  # it waits for further commands first
    assert cli.keeper_pid() is None


async def test_secret_is_nowhere_to_be_seen(
    cli: Any, target: iscsim.LiveTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISCSIM_CHAP_PASSWORD", SECRET)
    done = await asyncio.to_thread(cli.spawn, "login", target.portal, target.name, "--user", "user")
    assert (done.code, done.stderr) == (0, "")
    wrong = await asyncio.to_thread(cli.spawn, "login", target.portal, target.name, "--user", "another")
    wrong.assert_failed(1, "login status 0x0201")
    process = Path(f"/proc/{await asyncio.to_thread(cli.keeper_pid)}")
    log = cli.socket.with_suffix(".log")
    shown = [(path, path.read_bytes()) for path in (process / "cmdline", process / "environ", log)]
    assert [path for path, content in shown if SECRET.encode() in content] == []
    assert SECRET not in done.stdout + wrong.stderr
    assert (await asyncio.to_thread(cli.spawn, "sessions")).stdout.find(SECRET) == -1


def test_commands_at_the_same_time_start_one_keeper(cli: Any) -> None:
    commands = [subprocess.Popen(cli.command("login", "127.0.0.1:1", "iqn.2026-11.test:x")) for _ in range(3)]
    assert [process.wait(60) for process in commands] == [1, 1, 1]
    assert cli.keeper_pid() is not None
    assert cli.socket.with_suffix(".log").read_text() == ""


def test_asking_if_one_runs_starts_none(cli: Any) -> None:
    assert ask_if_running("sessions", "none") == "none"
    assert not cli.socket.exists()


def test_socket_of_a_keeper_that_died_is_taken_over(cli: Any) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(cli.socket))
    assert ask_if_running("sessions", "none") == "none"
    assert ask("sessions") == []


def test_keeper_that_ends_before_it_answers_is_asked_again(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was just about to end when it was asked: nothing was done, and its sessions are gone."""
    with socket.socket(socket.AF_UNIX) as ending:
        ending.bind(str(cli.socket))
        ending.listen()

        def end() -> None:
            connection, _ = ending.accept()
            cli.socket.unlink()
            connection.close()

        thread = threading.Thread(target=end)
        thread.start()
        assert ask("sessions") == []
        thread.join()


def test_mistake_of_the_caller_comes_back_as_one(cli: Any) -> None:
    with pytest.raises(ConfigError, match="not a portal"):
        ask("login", portal="127.0.0.1:0", target="iqn.2026-11.test:x", initiator_name=HOST)


def test_keeper_that_does_not_start_is_an_environment_failure(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_client.sys, "executable", "/bin/false")
    start = time.monotonic()
    with pytest.raises(EnvironmentFailure, match=r"does not start; see .*initiator\.log"):
        ask("sessions")
    assert time.monotonic() - start < keeper_client._START_TIMEOUT_S  # it saw the process end
