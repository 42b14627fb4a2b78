"""Commands are found by their names, and read their input only if they want it."""

from __future__ import annotations

import asyncio

import pytest

from iscsim.host.model import Host
from iscsim.host.shell import COMMANDS, Call, command, find, run
from iscsim.net.memory import MemoryNetwork
from iscsim.net.virtual_loop import VirtualLoop


def make_host() -> Host:
    return Host(MemoryNetwork().add_host("compute", "10.245.47.10"))


def test_directories_before_a_name_are_of_no_matter() -> None:
    host = make_host()
    assert find(host, "/lib/udev/scsi_id") == find(host, "scsi_id") == ("scsi_id", COMMANDS["scsi_id"])


def test_command_a_host_does_not_have_is_not_found() -> None:
    host = make_host()
    host.missing_commands.add("nvme")
    for name in ("nvme", "/usr/sbin/nvme", "nonsense", ""):
        with pytest.raises(FileNotFoundError):
            find(host, name)


def test_input_that_comes_later_is_waited_for_by_who_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    @command("reads", "does-not")
    async def program(call: Call) -> int:
        call.output.data(await call.read() if call.name == "reads" else b"-")
        return 0

    async def story() -> list[bytes]:
        later: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        host = make_host()
        at_once = await run(host, ["does-not"], later)
        reading = asyncio.ensure_future(run(host, ["reads"], later))
        await asyncio.sleep(1)
        assert not reading.done()
        later.set_result(b"x")
        return [at_once.stdout, (await reading).stdout]

    loop = VirtualLoop()
    try:
        assert loop.run_until_complete(story()) == [b"-", b"x"]
    finally:
        loop.close()
        for name in ("reads", "does-not"):
            del COMMANDS[name]
