"""Devices opened as files: filled through iSCSI, open as long as they are, written back when closed."""

from __future__ import annotations

import asyncio
import os

import pytest
from host.exec.stage import WWID, Stage

from iscsim.errors import SCSIError
from iscsim.host.exec import devices as module
from iscsim.host.kernel import Disk

SIZE = 64 << 20


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def write(path: str, offset: int, data: bytes) -> None:
    with open(path, "r+b", buffering=0) as file:
        file.seek(offset)
        file.write(data)


async def content(stage: Stage, lba: int, blocks: int) -> bytes:
    device = stage.host.device("dm-0")
    assert device is not None
    return bytes(await device.read(lba, blocks))


@pytest.fixture
async def ready(stage: Stage) -> Stage:
    """Logged in, and known to be able to do this."""
    await stage.log_in()
    if not stage.execution.devices.supported:
        pytest.skip("the file system for temporary files has no leases")
    return stage


async def test_reading_a_device_reads_the_unit(ready: Stage) -> None:
    device = ready.host.device("dm-0")
    assert device is not None
    await device.write(2048, b"from the unit" + bytes(499))
    found = await asyncio.to_thread(read, ready.path(f"/dev/mapper/{WWID}"))
    assert len(found) == SIZE
    assert found[2048 * 512 :][:13] == b"from the unit"


async def test_a_device_nobody_has_open_takes_no_room(ready: Stage) -> None:
    await asyncio.to_thread(read, ready.path("/dev/dm-0"))
    await ready.execution.look()
    assert os.stat(ready.path("/dev/dm-0")).st_blocks == 0


async def test_what_is_written_to_the_file_is_written_to_the_unit(ready: Stage) -> None:
    await asyncio.to_thread(write, ready.path("/dev/dm-0"), 1000, b"abc")
    await ready.execution.look()
    assert (await content(ready, 1, 1))[488:491] == b"abc"
    found = await asyncio.to_thread(read, ready.path("/dev/sdc"))
    assert found[1000:1003] == b"abc"


async def test_a_file_cut_short_leaves_the_rest_of_the_unit(ready: Stage) -> None:
    device = ready.host.device("dm-0")
    assert device is not None
    await device.write(0, b"x" * 1024)

    def cut() -> None:
        with open(ready.path("/dev/dm-0"), "wb") as file:
            file.write(b"abc")

    await asyncio.to_thread(cut)
    await ready.execution.look()
    assert await content(ready, 0, 2) == b"abc" + b"x" * 1021


async def test_who_reads_at_once_after_a_write_sees_it(ready: Stage) -> None:
    def both() -> bytes:
        write(ready.path("/dev/sdc"), 0, b"just now")
        return read(ready.path("/dev/dm-0"))[:8]

    assert await asyncio.to_thread(both) == b"just now"


async def test_it_counts_as_open(ready: Stage) -> None:
    file = await asyncio.to_thread(open, ready.path("/dev/dm-0"), "rb")
    try:
        result = await ready.host.execute("multipath", "-f", WWID)
        assert result.exit_code == 1
    finally:
        file.close()
    await ready.execution.look()
    assert (await ready.host.execute("multipath", "-f", WWID)).exit_code == 0
    disk = ready.host.kernel.disks["sdc"]
    file = await asyncio.to_thread(open, ready.path("/dev/sdc"), "rb")
    assert disk.open_count == 1
    file.close()
    await ready.execution.look()
    assert disk.open_count == 0


async def test_a_device_that_goes_while_it_is_open(ready: Stage) -> None:
    file = await asyncio.to_thread(open, ready.path("/dev/sdd"), "rb")
    await ready.run("tee", "/sys/block/sdd/device/delete", stdin=b"1")
    assert not ready.exists("/dev/sdd")
    assert len(file.read()) == SIZE
    file.close()


async def test_an_error_is_told_and_the_file_is_empty(
    ready: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(self: Disk, lba: int, blocks: int) -> bytes:
        raise SCSIError("medium error")

    monkeypatch.setattr(Disk, "read", fail)
    assert await asyncio.to_thread(read, ready.path("/dev/sdc")) == b""
    assert "/dev/sdc: medium error" in caplog.text


async def test_nobody_waits_longer_than_the_kernel_does(
    ready: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(self: Disk, lba: int, blocks: int) -> bytes:
        await asyncio.Event().wait()
        return b""

    monkeypatch.setattr(module, "_IO_S", 0.05)
    monkeypatch.setattr(Disk, "read", hang)
    assert await asyncio.to_thread(read, ready.path("/dev/sdc")) == b""


async def test_what_is_too_large_stays_empty(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SIZE", SIZE - 1)
    await stage.log_in()
    assert await asyncio.to_thread(read, stage.path("/dev/dm-0")) == b""
