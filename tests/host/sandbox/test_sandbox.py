"""Blocking code of a package runs on the host, in its time, and nothing of it stays."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("greenlet")

from iscsim.errors import ConfigError
from iscsim.host.sandbox.sandbox import HostSandbox
from iscsim.lab import Lab
from iscsim.net.virtual_loop import VirtualLoop

from ..world import log_in, make_host, play

PROGRAM = """
    import glob
    import os
    import platform
    import random
    import socket
    import subprocess
    import threading
    import time
    from os.path import exists
    from time import sleep

    cached = None


    def look():
        return sorted(glob.glob("/sys/block/*")), exists("/dev/sda"), os.path.realpath("/sys/block/sda")


    def wait(seconds):
        begun = time.time()
        sleep(seconds)
        return time.time() - begun


    def run(*argv):
        done = subprocess.run(argv, capture_output=True, text=True)
        return done.stdout, done.stderr, done.returncode


    def two_threads():
        order = []

        def work(name, seconds):
            sleep(seconds)
            order.append(name)

        threads = [threading.Thread(target=work, args=each) for each in (("slow", 2), ("quick", 1))]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        return order


    def names():
        return socket.gethostname(), platform.machine(), random.random()


    def write(path):
        with open(path, "w") as file:
            file.write("kept")
        with open(path) as file:
            return file.read()


    def keep(value):
        global cached
        cached = value


    def forever():
        threading.Thread(target=sleep, args=(10**9,), daemon=True).start()
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "blocking_program.py").write_text(textwrap.dedent(PROGRAM))
    monkeypatch.syspath_prepend(str(tmp_path))
    import blocking_program  # type: ignore[import-not-found]

    yield blocking_program
    del sys.modules["blocking_program"]


PACKAGES = ("blocking_program",)


def test_package_sees_the_host_and_its_time(package: Any) -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab)
        async with HostSandbox(host, packages=PACKAGES) as box:
            return (
                await box.call(package.look),
                await box.call(package.wait, 3600),
                await box.call(package.run, "lsblk", "-n", "-o", "NAME", "/dev/sda"),
                await box.call(package.two_threads),
                await box.call(package.write, "/etc/iscsi/new"),
                host.files["/etc/iscsi/new"],
                (await box.call(package.names))[:2],
            )

    look, seconds, run, order, text, kept, names = play(story)
    assert look[:2] == (["/sys/block/sda", "/sys/block/sdb"], True)
    assert look[2].startswith("/sys/devices/platform/host")
    assert seconds == pytest.approx(3600)
    assert run == ("sda\n", "", 0)
    assert (order, text, kept, names) == (["quick", "slow"], "kept", b"kept", ("compute", "x86_64"))


def test_nothing_stays_changed(package: Any) -> None:
    before = dict(vars(package))

    async def story(lab: Lab) -> Any:
        async with HostSandbox(await make_host(lab), packages=PACKAGES) as box:
            await box.call(package.keep, 5)
            inside = package.cached, package.os is before["os"]
        return inside

    assert play(story) == (5, False)
    assert {name: value for name, value in vars(package).items() if before.get(name) is not value} == {}


def test_dice_are_thrown_by_the_seed(package: Any) -> None:
    async def story(lab: Lab) -> Any:
        host = await make_host(lab)
        thrown = []
        for seed in (1, 1, 2):
            async with HostSandbox(host, packages=PACKAGES, seed=seed) as box:
                thrown.append((await box.call(package.names))[2])
        return thrown

    first, again, other = play(story)
    assert first == again != other


def test_plain_calls_where_no_loop_runs(package: Any) -> None:
    from iscsim.host.model import Host
    from iscsim.net.memory import MemoryNetwork

    loop = VirtualLoop()
    host = Host(MemoryNetwork().add_host("compute", "10.245.47.10"))
    with HostSandbox(host, packages=PACKAGES, loop=loop):
        assert package.wait(7) == pytest.approx(7)
        assert package.two_threads() == ["quick", "slow"]
        assert package.run("iscsiadm", "-m", "session") == ("", "iscsiadm: No active sessions.\n", 21)
    loop.close()


def test_error_of_blocking_code_is_raised_and_a_thread_left_behind_is_ended(package: Any) -> None:
    async def story(lab: Lab) -> Any:
        async with HostSandbox(await make_host(lab), packages=PACKAGES) as box:
            with pytest.raises(FileNotFoundError):
                await box.call(package.run, "no-such-program")
            await box.call(package.forever)
            running = box.threads
        return running, box.threads

    assert play(story) == (1, 0)


def test_package_that_is_not_there_is_named() -> None:
    async def story(lab: Lab) -> None:
        host = await make_host(lab)
        with pytest.raises(ConfigError, match="no_such_package is not installed"):
            HostSandbox(host, packages=("no_such_package",)).__enter__()

    play(story)
