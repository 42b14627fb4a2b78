"""``iscsim serve`` at work: the first screen, the command beside it, and how both end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from exchanges.ladder import login_request

from iscsim.cli.serving import shown
from iscsim.net.rpc import call
from iscsim.pdu import AsyncMessage, LoginResponse, decode
from iscsim.target.node import Portal

HOST = "iqn.1993-08.org.debian:01:host"
SECRET = "never-to-be-shown"
Serve = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def serve(cli: Any) -> Iterator[Serve]:
    """``iscsim serve`` that runs until the test ends it, or has ended."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        processes.append(
            subprocess.Popen(
                cli.command("serve", *arguments),
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def first_screen(process: subprocess.Popen[str]) -> dict[str, list[str]]:
    """What is shown until it serves, by the word in front."""
    assert process.stdout is not None
    shown: dict[str, list[str]] = {}
    word = ""
    for line in process.stdout:
        word = line[:9].split()[0] if line[:9].strip() else word
        shown.setdefault(word, []).append(line[9:].strip())
        if word == "stop":
            return shown
    raise AssertionError(process.communicate())


def test_first_screen_shows_what_is_served_and_how_to_get_there(serve: Serve) -> None:
    shown = first_screen(
        serve("--portal", "127.0.0.1:0", "--lun", "1=1T,thin", "--lun", "7=1M,readonly,removable")
    )
    (portal,) = shown["portal"]
    where, name = portal.removesuffix(",1"), "iqn.2026-11.org.iscsim:disk"
    assert shown["target"] == [f"{name}  (personality rfc)"]
    assert re.fullmatch(r"1 TiB, blocks of 512, WWN 36[0-9a-f]{31}, thin", shown["LUN"][0])
    assert re.fullmatch(r"1 MiB, .*, read-only, removable", shown["LUN"][1])
    assert shown["allowed"] == ["every initiator, no CHAP"]
    assert shown["try"] == [
        f"iscsim luns {where} {name}",
        f"iscsi-inq iscsi://{where}/{name}/1",
        f"qemu-img info iscsi://{where}/{name}/1",
        f"iscsiadm -m discovery -t sendtargets -p {where}",
    ]


def test_first_screen_shows_who_is_allowed_but_no_secret(serve: Serve) -> None:
    process = serve("--portal", "127.0.0.1:0", "--initiator", f"{HOST}:user:{SECRET}")
    shown = first_screen(process)
    assert shown["allowed"] == [f"{HOST}, CHAP user user"]
    assert shown["try"][0].startswith("ISCSIM_CHAP_PASSWORD=... iscsim luns ")
    assert shown["try"][0].endswith(f" --initiator-name {HOST} --user user")
    assert SECRET not in str(shown)


@pytest.mark.parametrize(
    "address,where",
    [("0.0.0.0", "127.0.0.1:3260"), ("::", "[::1]:3260"), ("192.0.2.1", "192.0.2.1:3260")],
)
def test_a_wildcard_is_shown_as_an_address_to_connect_to(address: str, where: str) -> None:
    assert shown(Portal(address)) == where


def test_luns_command_of_the_first_screen_works(cli: Any, serve: Serve) -> None:
    (command, *_) = first_screen(serve("--portal", "127.0.0.1:0"))["try"]
    done = cli(*command.split()[1:])
    assert (done.code, done.stderr) == (0, "")
    assert "64 MiB" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_well_even_with_sessions(cli: Any, serve: Serve, number: signal.Signals) -> None:
    process = serve("--portal", "127.0.0.1:0")
    shown = first_screen(process)
    assert cli.spawn("login", shown["portal"][0].removesuffix(",1"), "iqn.2026-11.org.iscsim:disk").code == 0
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, "")
    assert "Traceback" not in errors


def test_redirections_are_shown(serve: Serve) -> None:
    two = ("--portal", "127.0.0.1:0", "--portal", "127.0.0.1:0")
    first, second = first_screen(serve(*two, "--redirect", "*=2"))["portal"]
    where, group = second.split(",")
    assert (first.partition(",1  ")[2], group) == (f"(redirects to {where})", "2")


def test_signal_asks_for_a_logout_first(serve: Serve) -> None:
    process = serve("--portal", "127.0.0.1:0")
    host, port = first_screen(process)["portal"][0].removesuffix(",1").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as initiator:
        initiator.sendall(b"".join(login_request().encode()))
        with initiator.makefile("rb") as stream:
            answers = [read_pdu(stream)]
            process.send_signal(signal.SIGTERM)
            answers += [read_pdu(stream), read_pdu(stream)]
            assert stream.read() == b""
    assert [type(answer) for answer in answers] == [LoginResponse, AsyncMessage, AsyncMessage]
    assert [answer.async_event for answer in answers[1:]] == [1, 3]
    process.communicate(timeout=60)
    assert process.returncode == 0


def read_pdu(stream: Any) -> Any:
    header = stream.read(48)
    length = int.from_bytes(header[5:8], "big")
    return decode(header + stream.read(length + -length % 4))[0]


def test_control_socket_stops_it(cli: Any, serve: Serve) -> None:
    control = cli.runtime / "control"
    process = serve("--portal", "127.0.0.1:0", "--control", control)
    assert first_screen(process)["control"] == [str(control)]
    assert call(control, "stop")
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0


@pytest.mark.parametrize("command, code", [("true", 0), ("exit 7", 7), ("kill -KILL $$", 137)])
def test_status_of_the_command_is_passed_on(cli: Any, command: str, code: int) -> None:
    done = cli.spawn("serve", "--run", command)
    assert (done.code, done.output, done.stderr) == (code, b"", "")


def test_output_of_the_command_is_all_there_is(cli: Any) -> None:
    done = cli.spawn("serve", "--run", "echo out; echo err >&2")
    assert (done.output, done.stderr) == (b"out\n", "err\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_command_and_its_children_too(cli: Any, serve: Serve, number: signal.Signals) -> None:
    process = serve("--run", "sleep 1000 & echo $$ $!; wait")
    assert process.stdout is not None
    shell, child = (int(word) for word in process.stdout.readline().split())
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert not cli.is_running(shell)
    assert not cli.is_running(child)


def test_command_that_does_not_listen_is_killed(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import os, signal\n"
        "import iscsim.cli.serving as serving\n"
        "from iscsim.cli import main\n"
        "serving._GRACE_S = 0.1\n"
        "main(['serve', '--run', \"trap '' TERM; kill -TERM $PPID; while :; do sleep 1; done\"])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 128 + signal.SIGKILL


def test_command_may_use_the_terminal(cli: Any) -> None:
    """In a session of its own it could not read the terminal it is shown on."""
    main, terminal = os.openpty()
    show = f"test -t 0 && {sys.executable} -c 'import os; print(os.getsid(0))'"
    try:
        done = subprocess.run(
            cli.command("serve", "--run", show), stdin=terminal, capture_output=True, timeout=60
        )
    finally:
        os.close(main)
        os.close(terminal)
    assert (done.returncode, done.stderr) == (0, b"")
    assert int(done.stdout) == os.getsid(0)


def test_log_line_of_a_refused_login_names_portal_peer_and_section(cli: Any) -> None:
    inner = f"{sys.executable} -m iscsim luns $portal iqn.2026-11.test:another"
    done = cli.spawn("serve", "--run", inner)
    assert done.code == 1
    logged, error = sorted(done.stderr.splitlines(), reverse=True)
    assert logged.startswith("iscsim: portal 127.0.0.1:")
    assert ", peer 127.0.0.1:" in logged
    assert "RFC 7143 section" in logged
    assert error.startswith("iscsim: error: iqn.2026-11.test:another at 127.0.0.1:")


def test_verbose_logs_each_login(cli: Any, tmp_path: Path) -> None:
    inner = f"{sys.executable} -m iscsim luns $portal $target > {tmp_path / 'luns'}"
    done = cli.spawn("serve", "--verbose", "--run", inner)
    assert done.code == 0
    assert f"{HOST} logged in" in done.stderr


def test_empty_target_serves_what_comes_over_the_control_socket_and_tells_prometheus(
    cli: Any, tmp_path: Path
) -> None:
    control = tmp_path / "control.sock"
    script = "iscsim target create iqn.2026-11.org.example:late && iscsim target list && test -S $control"
    command = script.replace("iscsim ", f"{sys.executable} -m iscsim ")
    done = cli.spawn("serve", "--empty", "--control", control, "--metrics", "127.0.0.1:0", "--run", command)
    metrics, listed = done.stdout.splitlines()
    assert (done.code, listed) == (0, "iqn.2026-11.org.example:late")
    assert metrics.startswith("metrics  http://127.0.0.1:")


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (("--empty",), 2, "--empty needs --control"),
        (("--empty", "--control", "/tmp/x", "--lun", "1=1M"), 2, "--empty is without a target"),
        (("--metrics", "nowhere"), 2, "not a portal"),
        (("--portal", "127.0.0.1:0", "--metrics", "192.0.2.1:9260"), 3, "cannot listen on 192.0.2.1:9260"),
    ],
)
def test_metrics_and_empty_are_checked(cli: Any, arguments: Any, code: int, what: str) -> None:
    cli("serve", *arguments).assert_failed(code, what)
