"""Our initiator against tgt, a target we did not write: discovery, CHAP, two portals, data, multipath."""

import asyncio
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import iscsim
from iscsim.errors import LoginFailed
from iscsim.initiator import NodeSettings, SessionStateChanged, log_in
from iscsim.pdu import TaskManagementFunction
from iscsim.scsi.inquiry import DeviceType
from iscsim.scsi.sense import CommandFailed
from iscsim.session.parameters import Wishes

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        not (shutil.which("tgtd") and shutil.which("tgtadm")), reason="tgt is missing: apt install tgt"
    ),
]

TARGET = "iqn.2026-11.test:tgt"
INITIATOR = "iqn.2026-11.test:initiator"
USER, PASSWORD = "user", "secret of 12+"
SIZE = 8 << 20
CONTROL_PORT = "1"  # a name, not a port: the control socket lies in a directory of its own
DEADLINE_S = 15.0


@dataclass
class Tgt:
    """A tgtd of our own: ports, control socket and process."""

    ports: list[int]
    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    control: str
    disk: Path

    def admin(self, *arguments: str) -> str:
        """Run tgtadm on this tgtd: what it says."""
        command = ["tgtadm", "--control-port", CONTROL_PORT, "--lld", "iscsi", *arguments]
        done = subprocess.run(command, env=self.environment, check=True, capture_output=True, timeout=10)
        return done.stdout.decode()

    @property
    def portals(self) -> list[str]:
        """The portals as the initiator takes them."""
        return [f"127.0.0.1:{port}" for port in self.ports]


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, asked of the kernel."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(directory: Path) -> Tgt:
    """Start tgtd with a target of one disk, LUN 1, and wait until it listens."""
    ports = free_ports(2)
    control = tempfile.mkdtemp(prefix="tgt")  # the path of a Unix socket must be short
    environment = os.environ | {"TGT_IPC_SOCKET": f"{control}/ipc"}
    portals = ",".join(f"portal=127.0.0.1:{port}" for port in ports)
    with open(directory / "tgtd.log", "wb") as log:
        process = subprocess.Popen(
            ["tgtd", "-f", "--control-port", CONTROL_PORT, "--iscsi", portals],
            env=environment,
            stdout=log,
            stderr=log,
        )
    disk = directory / "disk.img"
    with disk.open("wb") as file:
        file.truncate(SIZE)
    tgt = Tgt(ports, process, environment, control, disk)
    try:
        wait_for(tgt)
        tgt.admin("--op", "new", "--mode", "target", "--tid", "1", "-T", TARGET)
        tgt.admin("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1", "-b", str(disk))
        tgt.admin("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")
    except BaseException:
        stop(tgt)
        raise
    return tgt


def wait_for(tgt: Tgt) -> None:
    """Until tgtd answers tgtadm and listens on every port."""
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            tgt.admin("--op", "show", "--mode", "target")
            for port in tgt.ports:
                socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except (OSError, subprocess.SubprocessError):
            if time.monotonic() > end or tgt.process.poll() is not None:
                raise
            time.sleep(0.05)


def stop(tgt: Tgt) -> None:
    """End our own tgtd, which does not listen to SIGTERM."""
    tgt.process.kill()
    tgt.process.wait(5)
    shutil.rmtree(tgt.control)


@pytest.fixture
def tgt(tmp_path: Path) -> Iterator[Tgt]:
    """A tgtd without CHAP."""
    started = start(tmp_path)
    yield started
    stop(started)


@pytest.fixture
def tgt_with_chap(tgt: Tgt) -> Tgt:
    """A tgtd that asks for CHAP."""
    tgt.admin("--op", "new", "--mode", "account", "--user", USER, "--password", PASSWORD)
    tgt.admin("--op", "bind", "--mode", "account", "--tid", "1", "--user", USER)
    return tgt


def login(portal: str, **options: Any) -> Any:
    return iscsim.connect(portal, TARGET, initiator_name=INITIATOR, login_timeout_s=DEADLINE_S, **options)


def kill_connections(tgt: Tgt) -> int:
    """Have tgtd close every connection; how many there were."""
    shown = tgt.admin("--op", "show", "--mode", "conn", "--tid", "1")
    numbers = re.findall(r"Session: (\d+)\s+Connection: (\d+)", shown)
    for sid, cid in numbers:
        tgt.admin("--op", "delete", "--mode", "conn", "--tid", "1", "--sid", sid, "--cid", cid)
    return len(numbers)


async def test_a_session_that_lives_outlives_its_connections(tgt: Tgt) -> None:
    changes: list[str] = []
    async with asyncio.timeout(2 * DEADLINE_S):
        async with await log_in(tgt.portals[0], TARGET, initiator_name=INITIATOR) as session:
            session.listeners.append(
                lambda event: changes.append(event.state) if isinstance(event, SessionStateChanged) else None
            )
            for lba in range(0, 24, 8):
                pattern = random.Random(lba).randbytes(4096)
                await session.write(1, lba, pattern)
                assert kill_connections(tgt) == 1
                assert bytes(await session.read(1, lba, 8)) == pattern
    assert changes == ["FAILED", "LOGGED_IN"] * 3 + ["FREE"]


async def test_a_target_that_stands_still_is_noticed_by_a_ping(tgt: Tgt) -> None:
    changes: list[str] = []
    settings = NodeSettings(noop_out_interval=1, noop_out_timeout=1, login_timeout=3)
    async with asyncio.timeout(2 * DEADLINE_S):
        async with await log_in(
            tgt.portals[0], TARGET, initiator_name=INITIATOR, settings=settings
        ) as session:
            session.listeners.append(
                lambda event: changes.append(event.reason) if isinstance(event, SessionStateChanged) else None
            )
            await session.write(1, 0, b"x" * 512)
            tgt.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(5)
            tgt.process.send_signal(signal.SIGCONT)
            assert bytes(await session.read(1, 0, 1)) == b"x" * 512
    assert changes[0] == "no answer to a ping within 1 s"


async def test_discovery_names_the_target_and_the_portal_asked(tgt: Tgt) -> None:
    async with asyncio.timeout(DEADLINE_S):
        for portal, port in zip(tgt.portals, tgt.ports, strict=True):
            (found,) = await iscsim.discover(portal, initiator_name=INITIATOR)
            assert found.name == TARGET
            assert [(each.address, each.port, each.tag) for each in found.portals] == [("127.0.0.1", port, 1)]


async def test_discovery_of_more_than_one_pdu_holds(tgt: Tgt) -> None:
    for number in range(2, 120):
        tgt.admin(
            "--op",
            "new",
            "--mode",
            "target",
            "--tid",
            str(number),
            "-T",
            f"{TARGET}-with-a-name-{number:090}",
        )
        tgt.admin("--op", "bind", "--mode", "target", "--tid", str(number), "-I", "ALL")
    async with asyncio.timeout(DEADLINE_S):
        assert len(await iscsim.discover(tgt.portals[0], initiator_name=INITIATOR)) == 119


async def test_two_portals_make_one_multipath_device(tgt: Tgt) -> None:
    data = random.Random(1).randbytes(1 << 20)
    async with asyncio.timeout(DEADLINE_S):
        async with login(tgt.portals[0]) as one, login(tgt.portals[1]) as two:
            controller, disk = await one.scan()
            assert controller.device_type == DeviceType.STORAGE_ARRAY_CONTROLLER
            assert (disk.number, disk.vendor, disk.product) == (1, "IET", "VIRTUAL-DISK")
            assert (disk.size, disk.block_size, disk.read_only) == (SIZE, 512, False)
            assert disk.wwn.startswith("3")
            (device,) = await iscsim.group_paths([one, two])
            assert [path.session for path in device.paths] == [one, two]
            await device.write(16, data)
            await device.flush()
            assert await device.read(16, len(data) // 512) == data
            await one.close()
            for _ in device.paths:  # they take turns: each is asked once
                assert await device.read(16, len(data) // 512) == data
            assert len(device.active_paths) == 1
    assert tgt.disk.read_bytes()[16 * 512 :][: len(data)] == data


async def test_chap(tgt_with_chap: Tgt) -> None:
    portal = tgt_with_chap.portals[0]
    async with asyncio.timeout(DEADLINE_S):
        async with login(portal, chap=(USER, PASSWORD)) as session:
            await session.test_unit_ready(1)
        for chap in (None, (USER, "a wrong password")):
            with pytest.raises(LoginFailed) as caught:
                await login(portal, chap=chap)
            assert caught.value.status == 0x0201


@pytest.mark.parametrize("initial_r2t", [True, False])
@pytest.mark.parametrize("immediate_data", [True, False])
@pytest.mark.parametrize("digests", [True, False])
async def test_data_of_every_kind(tgt: Tgt, initial_r2t: bool, immediate_data: bool, digests: bool) -> None:
    wishes = Wishes(initial_r2t=initial_r2t, immediate_data=immediate_data)
    data = random.Random(2).randbytes(2 << 20)
    for key in ("HeaderDigest", "DataDigest"):
        tgt.admin("--op", "update", "--mode", "target", "--tid", "1", "-n", key, "-v", "CRC32C,None")
    async with asyncio.timeout(DEADLINE_S):
        async with login(
            tgt.portals[0], wishes=wishes, header_digest=digests, data_digest=digests
        ) as session:
            assert session.parameters.header_digest is digests
            await session.write(1, 3, data)
            assert await session.read(1, 3, len(data) // 512) == data
            parts = await asyncio.gather(*(session.read(1, 3 + block, 8) for block in range(0, 1024, 8)))
            assert b"".join(parts) == data[: 512 << 10]


async def test_errors_pings_and_resets(tgt: Tgt) -> None:
    async with asyncio.timeout(DEADLINE_S), login(tgt.portals[0]) as session:
        assert await session.ping(b"tgt?") == b"tgt?"
        with pytest.raises(CommandFailed, match="out of range"):
            await session.read(1, SIZE // 512, 1)
        with pytest.raises(CommandFailed):
            await session.inquiry(1, 0x7E)
        assert await session.task_management(TaskManagementFunction.LOGICAL_UNIT_RESET, 1) == 0
        assert len(await session.read(1, 0, 1)) == 512


async def test_unknown_target(tgt: Tgt) -> None:
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(LoginFailed) as caught:
            await iscsim.connect(tgt.portals[0], "iqn.2026-11.test:nobody", initiator_name=INITIATOR)
    assert caught.value.status == 0x0203


class Cutter:
    """A relay before a portal whose connections can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: list[asyncio.StreamWriter] = []
        self.cuts = 0

    async def serve(self) -> asyncio.Server:
        return await asyncio.start_server(self._relay, "127.0.0.1", 0)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there = await asyncio.open_connection("127.0.0.1", self._port)
        self._open += [writer, there]
        await asyncio.gather(self._copy(reader, there), self._copy(there_reader, writer))

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()

    def cut(self) -> None:
        """Reset every connection there is."""
        self.cuts += bool(self._open)
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def cut_every(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            self.cut()


async def test_load_on_two_portals_survives_one_that_is_cut_again_and_again(tgt_with_chap: Tgt) -> None:
    cutter = Cutter(tgt_with_chap.ports[1])
    relay = await cutter.serve()
    flaky = f"127.0.0.1:{relay.sockets[0].getsockname()[1]}"
    options = ["--portal", flaky, "--policy", "multibus", "--duration", "10", "--depth", "8", "--range", "4M"]
    options += ["--write", "--verify", "--json", "--initiator-name", INITIATOR]
    for setting in ("node.session.iscsi.DefaultTime2Wait=0", "polling_interval=1"):
        options += ["--set", setting]
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "iscsim", "io", tgt_with_chap.portals[0], TARGET, "1", *options],
        env=os.environ | {"ISCSIM_CHAP_USER": USER, "ISCSIM_CHAP_PASSWORD": PASSWORD},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    cutting = asyncio.ensure_future(cutter.cut_every(1.0))
    async with asyncio.timeout(60):
        output, errors = await process.communicate()
    cutting.cancel()
    relay.close()
    assert process.returncode == 0, errors
    found = json.loads(output)
    assert (found["errors"], found["data_errors"], cutter.cuts >= 3) == (0, 0, True)
    # a cut that is over before a command or a check has met it fails no path
    assert "path lost" in [event["kind"] for event in found["events"]]
    assert found["verified_blocks"] > 0
    assert all(path["read"]["operations"] for path in found["paths"].values())
