"""A host with its shims, tree and sockets, before any namespace: real processes use it."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest
from host.exec.stage import WWID, Stage, until

from iscsim.host.shell import COMMANDS, Call


async def test_a_shim_is_the_command(stage: Stage) -> None:
    found = await stage.run("iscsiadm", "-m", "discovery", "-t", "st", "-p", "10.245.47.95")
    assert (found.code, found.error) == (0, b"")
    assert b"10.245.47.95:3260,2 iqn.1992-04.com.emc:cx.fnm00150600267.a0\n" in found.out
    assert (await stage.run("iscsiadm", "-m", "session")).code == 21


async def test_the_tree_is_there_before_the_answer(stage: Stage) -> None:
    await stage.run("iscsiadm", "-m", "discovery", "-t", "st", "-p", "10.245.47.95")
    assert (await stage.run("iscsiadm", "-m", "node", "-l")).code == 0
    assert stage.exists(f"/dev/disk/by-id/dm-uuid-mpath-{WWID}")
    assert (await stage.run("iscsiadm", "-m", "node", "-u")).code == 0
    assert not stage.exists("/dev/sda")


async def test_input_reaches_the_command(stage: Stage) -> None:
    await stage.log_in()
    found = await stage.run("tee", "-a", "/sys/block/sdd/device/delete", stdin=b"1")
    assert (found.code, found.out) == (0, b"1")
    assert "sdd" not in stage.host.kernel.disks


async def test_dd_copies_between_disks_and_files(stage: Stage, tmp_path: Path) -> None:
    await stage.log_in()
    data = os.urandom(8192)
    (tmp_path / "in").write_bytes(data)
    # to the shim a path of the host is one by name: there is no namespace here
    found = await stage.run("dd", f"if={tmp_path}/in", f"of=/dev/mapper/{WWID}", "bs=4k", "count=2")
    assert found.code == 0
    found = await stage.run("dd", f"if=/dev/mapper/{WWID}", f"of={tmp_path}/out", "bs=4k", "count=2")
    assert found.code == 0
    assert (tmp_path / "out").read_bytes() == data


async def test_ordinary_files_are_the_machines_own(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert (await stage.run("cat", f"{tmp_path}/file")).out == b"mine"
    await stage.run("tee", f"{tmp_path}/copy", stdin=b"words")
    assert (tmp_path / "copy").read_text() == "words"
    assert stage.host.history == []


async def test_twenty_at_once(stage: Stage) -> None:
    await stage.log_in()
    found = await asyncio.gather(*(stage.run("multipath", "-ll") for _ in range(20)))
    assert {each.code for each in found} == {0}
    assert len({each.out for each in found}) == 1


async def test_a_killed_shim_kills_its_command(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, begun = asyncio.Event(), asyncio.Event()

    async def forever(call: Call) -> int:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return 0

    monkeypatch.setitem(COMMANDS, "lsscsi", forever)
    process = await stage.start("lsscsi")
    await asyncio.wait_for(begun.wait(), 30)
    process.kill()
    await process.communicate()
    await asyncio.wait_for(ended.wait(), 30)
    assert (await stage.run("lsblk")).code == 0


async def test_files_are_looked_at_without_a_command_too(stage: Stage) -> None:
    await stage.log_in()
    stage.write("/sys/block/sdd/device/delete", "1\n")
    await until(lambda: not stage.exists("/sys/block/sdd"))


async def test_a_file_of_the_host_may_be_edited(stage: Stage) -> None:
    stage.write("/etc/iscsi/initiatorname.iscsi", "InitiatorName=iqn.2026-11.org.iscsim:edited\n")
    found = await stage.run("lsblk")
    assert found.code == 0
    assert stage.host.initiator_name == "iqn.2026-11.org.iscsim:edited"


async def test_nobody_else_gets_in(stage: Stage) -> None:
    for directory in (stage.layout.directory, stage.layout.quick):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for socket in (stage.layout.socket, stage.layout.nbd):
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600


async def test_what_nbd_exports(stage: Stage) -> None:
    await stage.log_in()
    names = list(stage.execution.exports())
    assert names[:2] == [WWID, "dm-0"]
    assert sorted(names[2:]) == ["sda", "sdb", "sdc", "sdd"]


async def test_a_missing_command_has_no_shim(stage: Stage) -> None:
    assert (stage.layout.shims / "lsscsi").exists()
    assert not (stage.layout.shims / "nonsense").exists()
    stage.host.missing_commands.add("lsscsi")
    assert (await stage.run("lsscsi")).code == 127
