"""Commands that log in, do one thing, and log out."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import iscsim

HOST = "iqn.1993-08.org.debian:01:host"
SECRET = "never-to-be-shown"


@pytest.fixture
async def target() -> AsyncIterator[iscsim.LiveTarget]:
    async with iscsim.serve(luns={1: "8M", 2: "1M,readonly", 3: "1M,block_size=4096"}, portals=2) as live:
        yield live


@pytest.fixture
async def guarded() -> AsyncIterator[iscsim.LiveTarget]:
    async with iscsim.serve(initiators=[f"{HOST}:user:{SECRET}"]) as live:
        yield live


def noise(length: int) -> bytes:
    return random.Random(length).randbytes(length)


async def test_discover_prints_portals_as_iscsiadm_does(cli: Any, target: iscsim.LiveTarget) -> None:
    done = await cli.beside("discover", target.portal)
    assert (done.code, done.stderr) == (0, "")
    first, second = target.portals
    assert done.stdout == f"{first},1 {target.name}\n{second},2 {target.name}\n"


async def test_discover_json_has_the_same(cli: Any, target: iscsim.LiveTarget) -> None:
    rows = json.loads((await cli.beside("discover", target.portal, "--json")).stdout)
    assert [row["portal"] for row in rows] == target.portals
    assert [row["portal_group_tag"] for row in rows] == [1, 2]
    assert {row["target"] for row in rows} == {target.name}


async def test_discover_without_a_target_for_us_says_so(cli: Any, guarded: iscsim.LiveTarget) -> None:
    done = await cli.beside("discover", guarded.portal, "--initiator-name", "iqn.2026-11.test:stranger")
    assert (done.code, done.output) == (0, b"")
    assert done.stderr == f"iscsim: {guarded.portal} offers no target to iqn.2026-11.test:stranger\n"
    done = await cli.beside("discover", guarded.portal, "--initiator-name", "iqn.2026-11.test:s", "--json")
    assert (done.code, json.loads(done.stdout)) == (0, [])


async def test_luns_is_a_table(cli: Any, target: iscsim.LiveTarget) -> None:
    done = await cli.beside("luns", target.portal, target.name)
    assert (done.code, done.stderr) == (0, "")
    _, _, first, second, third = done.stdout.splitlines()
    assert first.split()[:8] == ["1", "ISCSIM", "VIRTUAL-DISK", "0001", "8", "MiB", "512", "no"]
    assert second.split()[7] == "yes"
    assert third.split()[6] == "4096"


async def test_luns_json_has_numbers_and_names(cli: Any, target: iscsim.LiveTarget) -> None:
    rows = json.loads((await cli.beside("luns", target.portal, target.name, "--json")).stdout)
    assert [(row["lun"], row["size"], row["read_only"]) for row in rows] == [
        (1, 8 << 20, False),
        (2, 1 << 20, True),
        (3, 1 << 20, False),
    ]
    assert all(len(row["wwn"]) == 33 and row["wwn"].startswith("36") for row in rows)


async def test_inquiry_in_words(cli: Any, target: iscsim.LiveTarget) -> None:
    done = await cli.beside("inquiry", target.portal, target.name, 1)
    assert (done.code, done.stderr) == (0, "")
    lines = dict(line.split(":", 1) for line in done.stdout.splitlines())
    assert lines["product"].strip() == "VIRTUAL-DISK"
    assert lines["removable"].strip() == "no"
    page = json.loads(
        (await cli.beside("inquiry", target.portal, target.name, 1, "--page", "0x83", "--json")).stdout
    )
    assert page["scsi_id"].startswith("36")


@pytest.mark.parametrize("text", ["x", "-1", "256", "0x100"])
def test_page_that_is_none_is_exit_2(cli: Any, text: str) -> None:
    cli("inquiry", "127.0.0.1:1", "iqn.2026-11.test:x", 1, f"--page={text}").assert_failed(2, "not a page")


@pytest.mark.parametrize("blocks", [1, 2048, 2049, 6000])
async def test_what_was_written_is_read_back(
    cli: Any, target: iscsim.LiveTarget, tmp_path: Path, blocks: int
) -> None:
    data, there = noise(blocks * 512), (target.portal, target.name, 1)
    (tmp_path / "in").write_bytes(data)
    done = await cli.beside("write", *there, "--lba", 3, "--input", tmp_path / "in")
    assert done.code == 0
    assert done.stderr == f"wrote {blocks} blocks ({len(data)} bytes) at block 3 of LUN 1\n"
    done = await cli.beside("read", *there, "--lba", 3, "--blocks", blocks)
    assert (done.code, done.output, done.stderr) == (0, data, "")
    done = await cli.beside("read", *there, "--lba", 3, "--blocks", blocks, "-o", tmp_path / "out")
    assert (done.code, done.output) == (0, b"")
    assert (tmp_path / "out").read_bytes() == data
    (unit,) = (mapped.logical_unit for mapped in target.lun_map if mapped.number == 1)
    assert bytes(unit.store.read(3, blocks)) == data


async def test_stdin_is_written_in_blocks_of_the_unit(cli: Any, target: iscsim.LiveTarget) -> None:
    there = (target.portal, target.name, 3)
    assert (await cli.beside("write", *there, "--digests", stdin=noise(8192))).code == 0
    done = await cli.beside("read", *there, "--blocks", 2, "--digests")
    assert (done.code, done.output) == (0, noise(8192))


async def test_digests_are_asked_for(
    cli: Any, target: iscsim.LiveTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    from iscsim.target.session import TargetSession

    agreed: list[bool] = []
    end = TargetSession.end

    def spy(session: TargetSession, message: str = "") -> None:
        agreed.extend((session.parameters.header_digest, session.parameters.data_digest))
        end(session, message)

    monkeypatch.setattr(TargetSession, "end", spy)
    assert (await cli.beside("luns", target.portal, target.name, "--digests")).code == 0
    assert agreed[:2] == [True, True]


@pytest.mark.parametrize("length", [0, 1, 511, 513])
async def test_part_of_a_block_is_exit_2(cli: Any, target: iscsim.LiveTarget, length: int) -> None:
    done = await cli.beside("write", target.portal, target.name, 1, stdin=bytes(length))
    done.assert_failed(2, "no whole number of blocks" if length else "nothing to write")


async def test_files_that_cannot_be_opened_are_exit_2(cli: Any, target: iscsim.LiveTarget) -> None:
    there = (target.portal, target.name, 1)
    (await cli.beside("write", *there, "-i", "/nowhere")).assert_failed(2, "/nowhere: No such file")
    (await cli.beside("read", *there, "-o", "/nowhere/x")).assert_failed(2, "/nowhere/x: No such file")


def test_login_that_fails_leaves_the_output_file_alone(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"precious")
    done = cli("read", "127.0.0.1:1", "iqn.2026-11.test:x", 1, "-o", tmp_path / "out")
    done.assert_failed(1, "cannot connect to 127.0.0.1:1: Connection refused")
    assert (tmp_path / "out").read_bytes() == b"precious"


@pytest.mark.parametrize(
    "arguments, what",
    [
        (["read", 1, "--lba", 16384], "is beyond its end"),
        (["read", 1, "--lba", (1 << 64) - 1, "--blocks", 9999], "is beyond its end"),
        (["read", 9], "no LUN 9 at iqn."),
        (["write", 9], "no LUN 9 at iqn."),
        (["write", 2], "write protected"),
        (["write", 1, "--lba", 16384], "is beyond its end"),
        (["inquiry", 9], "(LUNs there: 1, 2, 3)"),
        (["inquiry", 1, "--page", "0x99"], "invalid field in CDB"),
    ],
)
async def test_what_the_unit_refuses_is_exit_1(
    cli: Any, target: iscsim.LiveTarget, arguments: list[Any], what: str
) -> None:
    command, *rest = arguments
    done = await cli.beside(command, target.portal, target.name, *rest, stdin=bytes(512))
    done.assert_failed(1, what)


@pytest.mark.parametrize("command", ["discover", "luns", "inquiry", "read", "write", "login"])
def test_portal_nobody_listens_on_is_exit_1(cli: Any, command: str) -> None:
    arguments = {"discover": [], "luns": ["iqn.2026-11.test:x"], "login": ["iqn.2026-11.test:x"]}
    rest = arguments.get(command, ["iqn.2026-11.test:x", 1])
    run = cli.spawn if command == "login" else cli
    options = {"input": bytes(512)} if command == "login" else {"stdin": bytes(512)}
    done = run(command, "127.0.0.1:1", *rest, **options)
    done.assert_failed(1, "cannot connect to 127.0.0.1:1: Connection refused")


@pytest.mark.parametrize(
    "arguments, what",
    [
        (["discover", "a b"], "not a portal: 'a b'"),
        (["discover", "127.0.0.1:0"], "not a portal"),
        (["discover", "127.0.0.1:1", "--initiator-name", "me"], "not an iSCSI name: 'me'"),
        (["discover", "127.0.0.1:1", "--user", "me"], "--user and --password go together"),
        (["luns", "127.0.0.1:1"], "which target? (iscsim discover lists them)"),
    ],
)
def test_wrong_argument_is_exit_2(cli: Any, arguments: list[str], what: str) -> None:
    cli(*arguments).assert_failed(2, what)


async def test_unknown_target_is_exit_1(cli: Any, target: iscsim.LiveTarget) -> None:
    done = await cli.beside("luns", target.portal, "iqn.2026-11.test:another")
    done.assert_failed(1, f"iqn.2026-11.test:another at {target.portal}: login status 0x0203")


async def test_stranger_is_exit_1(cli: Any, guarded: iscsim.LiveTarget) -> None:
    done = await cli.beside("luns", guarded.portal, guarded.name, "--initiator-name", "iqn.2026-11.test:s")
    done.assert_failed(1, "login status 0x0202")


async def test_chap_by_options_or_environment(
    cli: Any, guarded: iscsim.LiveTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = ("luns", guarded.portal, guarded.name)
    assert (await cli.beside(*there, "--user", "user", "--password", SECRET)).code == 0
    monkeypatch.setenv("ISCSIM_CHAP_USER", "user")
    monkeypatch.setenv("ISCSIM_CHAP_PASSWORD", SECRET)
    assert (await cli.beside(*there)).code == 0


async def test_wrong_secret_is_exit_1_and_not_shown(cli: Any, guarded: iscsim.LiveTarget) -> None:
    wrong = f"wrong-{SECRET}"
    done = await cli.beside("luns", guarded.portal, guarded.name, "--user", "user", "--password", wrong)
    done.assert_failed(1, "login status 0x0201")
    assert wrong not in done.stderr


async def test_nothing_is_left_behind(cli: Any, target: iscsim.LiveTarget) -> None:
    await cli.beside("luns", target.portal, target.name)
    await cli.beside("read", target.portal, target.name, 9)
    assert target.sessions == []


async def test_terminal_gets_a_hex_dump(cli: Any, target: iscsim.LiveTarget) -> None:
    await cli.beside("write", target.portal, target.name, 1, "--lba", 2, stdin=b"iscsim".ljust(512, b"\0"))
    main, terminal = os.openpty()
    command = cli.command("read", target.portal, target.name, 1, "--lba", 2)
    done = await asyncio.to_thread(
        subprocess.run, command, stdout=terminal, stderr=subprocess.PIPE, timeout=60
    )
    os.close(terminal)
    shown = os.read(main, 4096).decode()
    os.close(main)
    assert (done.returncode, done.stderr) == (0, b"")
    assert shown.splitlines()[0] == (
        "00000400  69 73 63 73 69 6d 00 00 00 00 00 00 00 00 00 00  iscsim.........."
    )


async def test_reader_that_stops_early_is_no_traceback(cli: Any, target: iscsim.LiveTarget) -> None:
    command = cli.command("read", target.portal, target.name, 1, "--blocks", 16384)

    def read_a_little() -> tuple[int, bytes, bytes]:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            start = process.stdout.read(100)
            process.stdout.close()
            errors = process.stderr.read()
            return process.wait(60), start, errors

    assert await asyncio.to_thread(read_a_little) == (1, bytes(100), b"")
