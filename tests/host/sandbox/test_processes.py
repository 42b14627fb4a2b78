"""A subprocess module whose processes are commands of the host."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("greenlet")

from iscsim.host.model import Host
from iscsim.host.sandbox.bridge import Bridge
from iscsim.host.sandbox.processes import subprocess_for
from iscsim.host.settings import HostSettings
from iscsim.net.memory import MemoryNetwork
from iscsim.net.virtual_loop import VirtualLoop


@pytest.fixture
def module() -> Iterator[Any]:
    loop = VirtualLoop()
    network = MemoryNetwork().add_host("compute", "10.245.47.10")
    host = Host(network, settings=HostSettings(command_costs={"lsblk": 5}))
    yield subprocess_for(host, Bridge(loop))
    loop.close()


def test_run_gives_streams_and_exit_code(module: Any) -> None:
    done = module.run(["iscsiadm", "-m", "session"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (21, "", "iscsiadm: No active sessions.\n")
    with pytest.raises(subprocess.CalledProcessError):
        module.check_output(["iscsiadm", "-m", "session"])
    assert module.check_output(["cat", "/proc/sys/net/ipv6/conf/default/disable_ipv6"]) == b"0\n"


def test_input_reaches_the_command(module: Any) -> None:
    assert module.run(["tee", "/etc/x"], input="text", text=True, capture_output=True).stdout == "text"


def test_streams_nobody_wants_are_none(module: Any) -> None:
    process = module.Popen(["cat", "/etc"], stdout=subprocess.PIPE)
    assert process.communicate() == (b"", None)
    assert process.returncode == 1


def test_time_that_is_over_and_signals(module: Any) -> None:
    process = module.Popen("lsblk")
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=2)
    process.terminate()
    assert process.wait() == -15
    with module.Popen(["lsblk"]) as other:
        pass
    assert other.returncode == 0


def test_program_there_is_not(module: Any) -> None:
    with pytest.raises(FileNotFoundError):
        module.Popen(["no-such-program"])
    with pytest.raises(FileNotFoundError):
        module.run("a | b", shell=True)


def test_simple_command_of_a_shell(module: Any) -> None:
    assert module.run("cat /etc/iscsi/initiatorname.iscsi", shell=True, capture_output=True).returncode == 0
