"""The NBD server against qemu's client, and against clients that break the rules."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from iscsim.errors import SCSIError
from iscsim.host.nbd import NBDServer

BLOCK = 512


class Disk:
    """Bytes in memory, with an await in every request; blocks in ``bad`` cannot be read."""

    def __init__(self, size: int, *, read_only: bool = False, block_size: int = BLOCK) -> None:
        self.data, self.read_only, self.block_size = bytearray(size), read_only, block_size
        self.flushes = self.reads = 0
        self.bad: set[int] = set()

    @property
    def size(self) -> int:
        return len(self.data)

    async def read(self, lba: int, blocks: int) -> bytes:
        if self.bad & set(range(lba, lba + blocks)):
            raise SCSIError("medium error")
        self.reads += 1
        data = bytes(self.data[lba * self.block_size : (lba + blocks) * self.block_size])
        await asyncio.sleep(0)
        return data

    async def write(self, lba: int, data: bytes) -> None:
        await asyncio.sleep(0)
        self.data[lba * self.block_size : lba * self.block_size + len(data)] = data

    async def flush(self) -> None:
        self.flushes += 1


@asynccontextmanager
async def serving(path: Path, **disks: Disk) -> AsyncIterator[str]:
    server = NBDServer(str(path), lambda: disks)
    await server.start()
    try:
        yield str(path)
    finally:
        await server.close()


class Client:
    """The least of a client, to break rules with."""

    @classmethod
    async def connect(cls, path: str, flags: int = 3) -> Client:
        self = cls()
        self.reader, self.writer = await asyncio.open_unix_connection(path)
        assert await self.reader.readexactly(18) == b"NBDMAGICIHAVEOPT\x00\x03"
        self.writer.write(struct.pack(">I", flags))
        return self

    async def option(self, option: int, data: bytes = b"") -> list[tuple[int, bytes]]:
        self.writer.write(struct.pack(">8sII", b"IHAVEOPT", option, len(data)) + data)
        replies = []
        while True:
            magic, echoed, kind, length = struct.unpack(">QIII", await self.reader.readexactly(20))
            assert (magic, echoed) == (0x0003E889045565A9, option)
            replies.append((kind, await self.reader.readexactly(length)))
            if kind == 1 or kind >> 31:
                return replies

    async def go(self, name: bytes) -> list[tuple[int, bytes]]:
        return await self.option(7, struct.pack(">I", len(name)) + name + b"\0\0")

    def send(
        self, kind: int, cookie: int, offset: int, length: int, data: bytes = b"", flags: int = 0
    ) -> None:
        self.writer.write(struct.pack(">IHHQQI", 0x25609513, flags, kind, cookie, offset, length) + data)

    async def reply(self, length: int = 0) -> tuple[int, int, bytes]:
        magic, error, cookie = struct.unpack(">IIQ", await self.reader.readexactly(16))
        assert magic == 0x67446698
        return error, cookie, b"" if error else await self.reader.readexactly(length)

    async def ask(
        self, kind: int, offset: int, length: int, data: bytes = b"", flags: int = 0
    ) -> tuple[int, bytes]:
        self.send(kind, 7, offset, length, data, flags)
        error, cookie, answer = await self.reply(length if kind == 0 else 0)
        assert cookie == 7
        return error, answer

    async def at_end(self) -> bool:
        return await self.reader.read(1) == b""


Talk = Callable[[Client], Awaitable[None]]


async def talk(tmp_path: Path, disk: Disk, what: Talk) -> None:
    async with asyncio.timeout(10), serving(tmp_path / "nbd", disk=disk) as path:
        client = await Client.connect(path)
        await client.go(b"disk")
        await what(client)
        client.writer.close()


async def test_list_names_every_export(tmp_path: Path) -> None:
    async with serving(tmp_path / "nbd", one=Disk(1024), two=Disk(2048)) as path:
        client = await Client.connect(path)
        names = [data[4:] for kind, data in await client.option(3) if kind == 2]
        assert names == [b"one", b"two"]
        client.writer.close()


async def test_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    async with serving(tmp_path / "nbd", one=Disk(1024)) as path:
        mode = os.stat(path).st_mode
    assert mode & 0o777 == 0o600
    assert "nbd" not in os.listdir(tmp_path)


async def test_go_tells_size_flags_and_block_size(tmp_path: Path) -> None:
    async with serving(tmp_path / "nbd", one=Disk(8192, read_only=True, block_size=4096)) as path:
        client = await Client.connect(path)
        replies = await client.go(b"one")
        assert replies[0] == (3, struct.pack(">HQH", 0, 8192, 1 | 2 | 4 | 8))
        assert struct.unpack(">HII", replies[1][1][:10]) == (3, 4096, 65536)
        client.writer.close()


async def test_unknown_export_and_unknown_option_are_refused_and_the_client_may_go_on(tmp_path: Path) -> None:
    async with serving(tmp_path / "nbd", one=Disk(1024)) as path:
        client = await Client.connect(path)
        assert await client.go(b"nope") == [(1 << 31 | 6, b"")]
        assert await client.option(99, b"x") == [(1 << 31 | 1, b"")]
        assert await client.option(7, b"\0\0\0\x09x") == [(1 << 31 | 3, b"")]
        assert (await client.go(b""))[-1] == (1, b"")
        client.writer.close()


async def test_export_name_of_old_clients_is_followed_by_zeroes(tmp_path: Path) -> None:
    async with serving(tmp_path / "nbd", one=Disk(1024)) as path:
        client = await Client.connect(path, flags=1)
        client.writer.write(struct.pack(">8sII", b"IHAVEOPT", 1, 3) + b"one")
        answer = await client.reader.readexactly(10 + 124)
        assert answer[:8] == (1024).to_bytes(8, "big")
        assert await client.ask(0, 0, 512) == (0, bytes(512))
        client.writer.close()


async def test_bytes_come_back_at_any_offset(tmp_path: Path) -> None:
    disk, model = Disk(64 << 10), bytearray(64 << 10)
    chance = random.Random(7)

    async def work(client: Client) -> None:
        for _ in range(200):
            offset = chance.randrange(len(model))
            data = chance.randbytes(chance.randrange(1, min(3000, len(model) - offset) + 1))
            assert await client.ask(1, offset, len(data), data) == (0, b"")
            model[offset : offset + len(data)] = data
            start = chance.randrange(len(model))
            length = chance.randrange(1, min(5000, len(model) - start) + 1)
            assert await client.ask(0, start, length) == (0, bytes(model[start : start + length]))

    await talk(tmp_path, disk, work)
    assert disk.data == model


async def test_parts_of_one_block_written_at_once_are_all_kept(tmp_path: Path) -> None:
    disk = Disk(4096, block_size=4096)

    async def work(client: Client) -> None:
        for index in range(8):
            client.send(1, index, 512 * index, 512, bytes([index + 1]) * 512)
        assert sorted([(await client.reply())[1] for _ in range(8)]) == list(range(8))

    await talk(tmp_path, disk, work)
    assert disk.data == b"".join(bytes([index + 1]) * 512 for index in range(8))


async def test_errors_have_their_numbers(tmp_path: Path) -> None:
    disk = Disk(4096)
    disk.bad.add(3)

    async def work(client: Client) -> None:
        assert (await client.ask(0, 4095, 2))[0] == 22
        assert (await client.ask(1, 4096, 1, b"x"))[0] == 28
        assert (await client.ask(0, 3 * 512, 512))[0] == 5
        assert (await client.ask(99, 0, 0))[0] == 22
        assert await client.ask(0, 0, 512) == (0, bytes(512))

    await talk(tmp_path, disk, work)


async def test_read_only_device_refuses_writes(tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        assert (await client.ask(1, 0, 512, bytes(512)))[0] == 1

    await talk(tmp_path, Disk(4096, read_only=True), work)


async def test_flush_and_fua_reach_the_device(tmp_path: Path) -> None:
    disk = Disk(4096)

    async def work(client: Client) -> None:
        await client.ask(1, 0, 512, bytes(512))
        assert disk.flushes == 0
        await client.ask(1, 0, 512, bytes(512), flags=1)
        assert disk.flushes == 1
        await client.ask(3, 0, 0)
        assert disk.flushes == 2

    await talk(tmp_path, disk, work)


@pytest.mark.parametrize("garbage", [bytes(28), struct.pack(">IHHQQI", 0x25609513, 0, 0, 1, 0, 1 << 31)])
async def test_what_is_no_request_ends_the_connection_and_no_other(tmp_path: Path, garbage: bytes) -> None:
    async with asyncio.timeout(10), serving(tmp_path / "nbd", disk=Disk(4096)) as path:
        bad, good = await Client.connect(path), await Client.connect(path)
        await bad.go(b"disk")
        await good.go(b"disk")
        bad.writer.write(garbage)
        assert await bad.at_end()
        assert await good.ask(0, 0, 512) == (0, bytes(512))
        bad.writer.close()
        good.writer.close()


@pytest.mark.parametrize("last", [bytes(28), b"half of a request", b""], ids=["garbage", "half", "nothing"])
async def test_however_a_client_leaves_nobody_is_alarmed(tmp_path: Path, last: bytes) -> None:
    alarms: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: alarms.append(context))
    async with asyncio.timeout(10), serving(tmp_path / "nbd", disk=Disk(4096)) as path:
        client = await Client.connect(path)
        await client.go(b"disk")
        client.send(0, 7, 0, 512)
        client.writer.write(last)
        client.writer.write_eof()
        await client.reader.read()
        client.writer.close()
    assert alarms == []


async def test_who_reads_no_replies_gets_no_more_of_them_made(tmp_path: Path) -> None:
    disk = Disk(4 << 20)
    async with asyncio.timeout(10), serving(tmp_path / "nbd", disk=disk) as path:
        client = await Client.connect(path)
        await client.go(b"disk")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for cookie in range(100):
            client.send(0, cookie, 0, 4 << 20)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert 0 < disk.reads < 40
        client.writer.transport.abort()


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is missing (qemu-utils)")
async def test_qemu_img_reads_what_is_there_and_writes_it_back(tmp_path: Path) -> None:
    disk, copy = Disk(1 << 20), Disk(1 << 20)
    disk.data[:] = random.Random(1).randbytes(1 << 20)
    image = tmp_path / "image"
    async with serving(tmp_path / "nbd", disk=disk, copy=copy) as path:
        await qemu_img("convert", "-O", "raw", f"nbd+unix:///disk?socket={path}", str(image))
        assert image.read_bytes() == disk.data
        await qemu_img("convert", "-n", "-O", "raw", str(image), f"nbd+unix:///copy?socket={path}")
    assert copy.data == disk.data


async def qemu_img(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "timeout", "30", "qemu-img", *arguments, stderr=subprocess.PIPE
    )
    _, error = await process.communicate()
    assert process.returncode == 0, error
