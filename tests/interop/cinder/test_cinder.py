"""Unmodified Cinder 29 drives a live target: its LVM driver, and LioAdm alone.

``$ISCSIM_CINDER_PYTHON`` names an interpreter that has cinder 29 (``pip install 'iscsim[cinder]'`` into an
environment of its own will do); cinder-rtstool is the one of ``iscsim rtstool shims``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iscsim.errors import LoginFailed, SessionFailed
from iscsim.initiator import connect
from iscsim.net.control_client import ControlClient
from iscsim.openstack.attach import NoPathWorks, attach
from iscsim.openstack.connection_info import parse_connection_info
from iscsim.openstack.rtstool.shims import lay

pytestmark = pytest.mark.interop

ADDRESSES = ["127.0.0.1", "127.0.0.2"]
HOSTS = {name: f"iqn.1993-08.org.debian:01:{name}" for name in ("compute1", "compute2")}
WITHOUT = "no cinder here: set ISCSIM_CINDER_PYTHON to an interpreter that has cinder 29"


def interpreter() -> str:
    named = os.environ.get("ISCSIM_CINDER_PYTHON")
    if named is None and importlib.util.find_spec("cinder") is None:
        pytest.skip(WITHOUT)
    return named or sys.executable


class Refused(Exception):
    """What Cinder raised."""


class Cloud:
    """A served target, Cinder, and one volume with what Cinder's database knows of it."""

    def __init__(self, path: Path) -> None:
        self.path, self.socket = path, path / "c.sock"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        list(lay(path / "bin"))
        self.environment = os.environ | {
            "PATH": f"{path / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "ISCSIM_CONTROL": str(self.socket),
            "ISCSIM_SAVECONFIG": str(path / "target" / "saveconfig.json"),
        }
        self.volume: dict[str, Any] = {
            "id": "5ed0cc5c-158c-4857-9bd5-3556884a23f0",
            "name": "volume-5ed0cc5c-158c-4857-9bd5-3556884a23f0",
            "provider_location": None,
            "provider_auth": None,
            "multiattach": False,
            "attachments": [],
        }
        (path / self.volume["name"]).write_bytes(bytes(1 << 20))
        self.server: subprocess.Popen[bytes] | None = None
        self.driver: subprocess.Popen[str] | None = None

    def serve(self) -> None:
        command = [sys.executable, "-m", "iscsim", "serve", "--empty", "--personality", "lio"]
        with (self.path / "serve.log").open("ab") as log:
            self.server = subprocess.Popen([*command, "--control", str(self.socket)], stdout=log, stderr=log)
        for _ in range(1500):
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self.socket)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError((self.path / "serve.log").read_text())

    def kill(self) -> None:
        assert self.server is not None
        self.server.send_signal(signal.SIGKILL)
        self.server.wait(10)

    def start_cinder(self) -> None:
        options = {"directory": str(self.path), "port": self.port, "addresses": ADDRESSES}
        with (self.path / "cinder.log").open("ab") as log:
            self.driver = subprocess.Popen(
                [interpreter(), str(Path(__file__).with_name("driver.py")), json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.environment,
            )
        assert self._answer() == ["lio", "lvm"]

    def _answer(self) -> Any:
        assert self.driver is not None
        assert self.driver.stdout is not None
        line = self.driver.stdout.readline()
        assert line, (self.path / "cinder.log").read_text()[-3000:]
        said = json.loads(line)
        if "error" in said:
            raise Refused(*said["error"])
        return said["result"]

    def ask(self, driver: str, call: str, host: str | None = None) -> Any:
        assert self.driver is not None
        assert self.driver.stdin is not None
        connector = None if host is None else self.connector(host)
        request = {"driver": driver, "call": call, "volume": self.volume, "connector": connector}
        self.driver.stdin.write(json.dumps(request) + "\n")
        self.driver.stdin.flush()
        return self._answer()

    @staticmethod
    def connector(host: str) -> dict[str, Any]:
        return {"initiator": HOSTS[host], "host": host, "ip": "127.0.0.1", "multipath": True}

    def create_export(self, driver: str = "lvm") -> None:
        made = self.ask(driver, "create_export", "compute1")
        self.volume["provider_location"] = made.get("provider_location") or made["location"]
        self.volume["provider_auth"] = made.get("provider_auth") or made["auth"]

    def initialize(self, host: str, driver: str = "lvm") -> Any:
        """Cinder's connection_info; the attachment is in its database."""
        self.volume["attachments"].append(self.connector(host))
        return self.ask(driver, "initialize_connection", host)

    def terminate(self, host: str, driver: str = "lvm") -> Any:
        """What the manager does: the attachment goes after the driver was asked."""
        shared = self.ask(driver, "terminate_connection", host)
        self.volume["attachments"].remove(self.connector(host))
        return shared

    def targets(self) -> list[str]:
        with ControlClient(self.socket) as client:
            return client.list_targets()

    def acls(self) -> list[str]:
        with ControlClient(self.socket) as client:
            return [row["initiator"] for row in client.list_acls(self.targets()[0])]

    def end(self) -> None:
        if self.driver is not None:
            assert self.driver.stdin is not None
            assert self.driver.stdout is not None
            self.driver.stdin.close()
            self.driver.wait(10)
            self.driver.stdout.close()
        if self.server is not None and self.server.poll() is None:
            self.kill()


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    interpreter()
    path = Path(tempfile.mkdtemp(prefix="iscsim-test-"))
    cloud = Cloud(path)
    try:
        cloud.serve()
        cloud.start_cinder()
        yield cloud
    finally:
        cloud.end()
        shutil.rmtree(path)


async def attached(info: Any, host: str) -> Any:
    return await attach(parse_connection_info(info), initiator_name=HOSTS[host])


async def works(volume: Any, data: bytes) -> bool:
    """Written and read back over every path."""
    await volume.device.write(0, data)
    answers = [await path.session.read(path.spec.lun, 0, len(data) // 512) for path in volume.paths]
    return [bytes(answer) for answer in answers] == [data] * len(volume.paths)


@pytest.mark.parametrize("driver", ["lvm", "lio"])
async def test_one_host_is_thrown_out_while_the_other_stays(cloud: Cloud, driver: str) -> None:
    cloud.create_export(driver)
    name = cloud.targets()[0]
    portals = ";".join(f"{address}:{cloud.port}" for address in ADDRESSES)
    assert cloud.volume["provider_location"] == f"{portals},{name} {name} 0"
    info = cloud.initialize("compute1", driver)
    assert info["data"]["target_portals"] == [f"{address}:{cloud.port}" for address in ADDRESSES]
    assert info["data"]["auth_method"] == "CHAP"
    first, second = (
        await attached(info, "compute1"),
        await attached(cloud.initialize("compute2", driver), "compute2"),
    )
    assert (len(first.paths), len(second.paths)) == (2, 2)
    assert await works(first, b"first " * 256)
    shared = cloud.terminate("compute1", driver)
    assert shared is (True if driver == "lvm" else None)
    assert cloud.acls() == [HOSTS["compute2"]]
    for path in first.paths:
        with pytest.raises(SessionFailed):
            await path.session.read(0, 0, 1)
    with pytest.raises((NoPathWorks, LoginFailed)):
        await attached(info, "compute1")
    assert await works(second, b"second" * 256)
    assert len(second.paths) == 2
    await second.detach()
    cloud.terminate("compute2", driver)
    cloud.ask(driver, "remove_export")
    assert cloud.targets() == []


async def test_export_is_there_again_after_a_restart(cloud: Cloud) -> None:
    cloud.create_export()
    info = cloud.initialize("compute1")
    cloud.kill()
    cloud.serve()
    assert cloud.targets() == []
    cloud.ask("lvm", "ensure_export")
    volume = await attached(info, "compute1")
    assert await works(volume, b"restored" * 64)
    cloud.ask("lvm", "ensure_export")  # there is a target now: nothing is done
    assert len(volume.paths) == 2
    await volume.detach()


async def test_acl_goes_with_the_last_attachment_of_its_host(cloud: Cloud) -> None:
    """facts 5.7: two on one host and one on another."""
    cloud.volume["multiattach"] = True
    cloud.create_export()
    info = cloud.initialize("compute1")
    cloud.initialize("compute1")
    cloud.initialize("compute2")
    volume = await attached(info, "compute1")
    assert cloud.acls() == [HOSTS["compute1"], HOSTS["compute2"]]
    assert cloud.terminate("compute1") is True
    assert cloud.acls() == [HOSTS["compute1"], HOSTS["compute2"]]
    assert await works(volume, b"still here" * 256)
    assert cloud.terminate("compute1") is True
    assert cloud.acls() == [HOSTS["compute2"]]
    with pytest.raises(NoPathWorks):
        await attached(info, "compute1")
    assert cloud.terminate("compute2") is False
    cloud.ask("lvm", "remove_export")
    assert cloud.targets() == []


async def test_without_chap_nobody_gets_in(cloud: Cloud) -> None:
    cloud.create_export()
    info = cloud.initialize("compute1")["data"]
    with pytest.raises(LoginFailed) as refused:
        await connect(info["target_portal"], info["target_iqn"], initiator_name=HOSTS["compute1"])
    assert (refused.value.status_class, refused.value.status_detail) == (2, 1)


async def test_export_of_a_volume_that_is_there_already_changes_nothing(cloud: Cloud) -> None:
    cloud.create_export()
    before = dict(cloud.volume)
    cloud.create_export()
    assert cloud.volume == before


async def test_volume_without_a_device_is_cinder_s_error(cloud: Cloud) -> None:
    cloud.volume["name"] = "volume-missing"
    with pytest.raises(Refused, match="ISCSITargetCreateFailed"):
        cloud.create_export()
    assert cloud.targets() == []
