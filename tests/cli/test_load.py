"""``iscsim io`` against a target of the test."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import iscsim
from iscsim.initiator.load.pattern import Tag, render

SHORT = ("--count", "200", "--depth", "4")


@pytest.fixture
async def target() -> AsyncIterator[iscsim.LiveTarget]:
    async with iscsim.serve(portals=2, luns={1: "4M", 2: "1M,readonly"}) as live:
        yield live


def store(target: iscsim.LiveTarget) -> Any:
    (unit,) = target.node.units(1)
    return unit.store


async def document(cli: Any, *arguments: object, code: int = 0) -> dict[str, Any]:
    done = await cli.beside("io", *arguments, "--json")
    assert done.code == code, done
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# -- what it does ----------------------------------------------------------------------------------


async def test_reads_are_the_default_and_change_nothing(cli: Any, target: iscsim.LiveTarget) -> None:
    store(target).write(0, b"mine" * 128)
    done = await cli.beside("io", target.portal, target.name, 1, *SHORT)
    assert (done.code, done.stderr) == (0, "")
    first, *_ = done.stdout.splitlines()
    assert first == f"LUN 1 of {target.name}: 4 KiB random reads, depth 4, blocks 0 to 8191"
    assert [line.split()[:3] for line in done.stdout.splitlines() if target.portal in line] == [
        [target.portal, "read", "200"]
    ]
    assert bytes(store(target).read(0, 1)) == b"mine" * 128


async def test_json_is_all_of_stdout(cli: Any, target: iscsim.LiveTarget) -> None:
    found = await document(cli, target.portal, target.name, 1, *SHORT, "-b", "8K", "--seed", 3)
    assert found["workload"]["request_length"] == 8192
    assert found["workload"]["seed"] == 3
    assert found["all"]["read"]["operations"] == 200
    assert found["all"]["read"]["latency_us"]["p99.9"] > 0


async def test_writes_are_verified_and_said_to_overwrite(cli: Any, target: iscsim.LiveTarget) -> None:
    options = ("--write", "--verify", "--range", "256K", "--lba", "8")
    done = await cli.beside("io", target.portal, target.name, 1, *SHORT, *options)
    assert done.code == 0
    wwn = next(iter(target.node.units(1))).wwn
    assert done.stderr.startswith(f"iscsim: note: blocks 8 to 519 (256 KiB) of LUN 1 of {target.name} (3")
    assert wwn in done.stderr
    assert "blocks that were written were read again and compared (seed " in done.stdout
    assert not any(store(target).read(520, 100))


async def test_share_of_reads_is_half_with_write_unless_given(cli: Any, target: iscsim.LiveTarget) -> None:
    found = await document(cli, target.portal, target.name, 1, *SHORT, "--write")
    assert (found["workload"]["read_share"], set(found["all"])) == (50, {"read", "write"})
    found = await document(cli, target.portal, target.name, 1, *SHORT, "--write", "--reads", 0)
    assert set(found["all"]) == {"write"}


async def test_several_portals_are_paths_to_one_device(cli: Any, target: iscsim.LiveTarget) -> None:
    more = ("--portal", target.portals[1], "--policy", "multibus")
    found = await document(cli, target.portal, target.name, 1, *SHORT, *more, "--write", "--verify")
    assert list(found["paths"]) == target.portals
    for direction in ("read", "write"):
        each = [found["paths"][portal][direction]["operations"] for portal in target.portals]
        assert sum(each) == found["all"][direction]["operations"]
        assert min(each) > 0


async def test_without_a_policy_paths_are_used_as_the_array_needs(
    cli: Any, target: iscsim.LiveTarget
) -> None:
    target.set_access_state(1, "standby")
    found = await document(cli, target.portal, target.name, 1, *SHORT, "--portal", target.portals[1])
    assert (list(found["paths"]), found["errors"]) == (target.portals[::-1], 0)
    assert found["paths"][target.portals[0]] == {}


async def test_path_that_cannot_be_logged_in_is_a_warning(cli: Any, target: iscsim.LiveTarget) -> None:
    done = await cli.beside("io", target.portal, target.name, 1, *SHORT, "--portal", "127.0.0.1:1")
    assert done.code == 0
    assert "iscsim: warning: " in done.stderr
    assert "127.0.0.1:1" in done.stderr


async def test_path_may_be_another_targets(cli: Any, target: iscsim.LiveTarget) -> None:
    path = f"{target.portals[1]}/{target.name}"
    found = await document(cli, target.portal, target.name, 1, *SHORT, "--portal", path)
    assert list(found["paths"]) == target.portals


async def test_paths_to_different_units_are_refused(cli: Any, target: iscsim.LiveTarget) -> None:
    async with iscsim.serve(luns={1: "4M"}) as other:
        path = f"{other.portal}/{other.name}"
        done = await cli.beside("io", target.portal, target.name, 1, *SHORT, "--portal", path)
    done.assert_failed(1, "the paths lead to different units")


async def test_volume_that_is_attached_has_its_paths(
    cli: Any, keeper: object, target: iscsim.LiveTarget, tmp_path: Path
) -> None:
    info = {
        "target_portals": target.portals,
        "target_iqns": [target.name] * 2,
        "target_luns": [1, 1],
    }
    path = tmp_path / "connection_info.json"
    path.write_text(json.dumps(info))
    attached = json.loads((await cli.beside("attach", path)).stdout)
    found = await document(cli, "--volume", attached["scsi_wwn"], *SHORT)
    assert list(found["paths"]) == target.portals
    (await cli.beside("io", "--volume", "3600", *SHORT)).assert_failed(1, "not attached")


async def test_volume_without_a_keeper_is_not_attached(cli: Any) -> None:
    (await cli.beside("io", "--volume", "3600")).assert_failed(1, "not attached")


# -- what goes wrong -------------------------------------------------------------------------------


async def test_wrong_block_is_named_and_is_exit_1(cli: Any, target: iscsim.LiveTarget) -> None:
    store(target).write(16, render(Tag(99, 7, 5), 512) + render(Tag(17, 7, 5), 512))
    options = ("--verify", "--seed", 5, "--sequential", "--count", 10, "--depth", 1)
    done = await cli.beside("io", target.portal, target.name, 1, *options)
    assert done.code == 1
    assert done.stderr == "iscsim: error: 1 blocks with wrong data\n"
    assert "data errors: 1 x misplaced block" in done.stdout
    assert "misplaced block at LBA 16: it holds write 7 of LBA 99; read again, it is the same" in done.stdout
    found = await document(cli, target.portal, target.name, 1, *options, code=1)
    assert found["data_errors_by_kind"] == {"misplaced block": 1}


class BadStore(iscsim.MemoryStore):
    """Its second half cannot be read."""

    def read(self, lba: int, blocks: int) -> memoryview:
        if lba >= 1024:
            raise OSError(errno.EIO, "the test says no")
        return super().read(lba, blocks)


async def test_request_that_fails_is_counted_by_kind_and_is_exit_1(
    cli: Any, target: iscsim.LiveTarget
) -> None:
    target.lun_map.add(3, iscsim.LogicalUnit(BadStore(2048), serial="bad"))
    done = await cli.beside("io", target.portal, target.name, 3, "--count", 400, "--max-errors", 5)
    assert done.code == 1
    assert "I/O errors: " in done.stdout
    assert "MEDIUM ERROR" in done.stdout
    assert done.stderr.endswith(" requests failed\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ([], "which LUN?"),
        (["PORTAL", "TARGET"], "which LUN?"),
        (["PORTAL", "TARGET", 1, "--reads", 50], "needs --write"),
        (["PORTAL", "TARGET", 1, "--verify"], "needs the --seed"),
        (["PORTAL", "TARGET", 1, "--volume", "3600"], "has its portals already"),
        (["PORTAL", "TARGET", 1, "--block-size", "x"], "--block-size: not a size"),
        (["PORTAL", "TARGET", 1, "--block-size", "700"], "no whole number of blocks"),
        (["PORTAL", "TARGET", 1, "--depth", 0], "depth"),
        (["PORTAL", "TARGET", 1, "--range", "1G"], "beyond the end"),
        (["PORTAL", "TARGET", 1, "--range", "100"], "blocks have 512 bytes"),
        (["PORTAL", "TARGET", 1, "--policy", "best"], "path_grouping_policy"),
        (["PORTAL", "TARGET", 1, "--set", "node.session.cmds_mx=3"], "did you mean node.session.cmds_max?"),
        (["PORTAL", "TARGET", 1, "--plot", "a.gif"], "must end in .svg, .png, .pdf"),
        (["PORTAL", "TARGET", 1, "--user", "me"], "go together"),
    ],
)
async def test_wrong_option_is_exit_2(
    cli: Any, target: iscsim.LiveTarget, arguments: list[Any], what: str
) -> None:
    places = {"PORTAL": target.portal, "TARGET": target.name}
    done = await cli.beside("io", *(places.get(each, each) for each in arguments))
    done.assert_failed(2, what)


@pytest.mark.parametrize(
    ("lun", "options", "what"),
    [(9, (), "no LUN 9 at"), (2, ("--write",), "LUN 2 is read-only")],
)
async def test_unit_that_cannot_take_it_is_exit_1(
    cli: Any, target: iscsim.LiveTarget, lun: int, options: tuple[str, ...], what: str
) -> None:
    (await cli.beside("io", target.portal, target.name, lun, *options)).assert_failed(1, what)


async def test_portal_nobody_listens_on_is_exit_1(cli: Any) -> None:
    (await cli.beside("io", "127.0.0.1:1", "iqn.2026-11.test:x", 1)).assert_failed(1, "127.0.0.1:1")


async def test_missing_matplotlib_is_said_before_anything_is_done(
    cli: Any, target: iscsim.LiveTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iscsim.cli.load_plot.find_spec", lambda name: None)
    done = await cli.beside("io", target.portal, target.name, 1, "--plot", tmp_path / "a.svg")
    done.assert_failed(3, "--plot needs matplotlib: pip install 'iscsim[plot]'")


async def test_control_socket_nobody_answers_on_is_exit_3(
    cli: Any, target: iscsim.LiveTarget, tmp_path: Path
) -> None:
    done = await cli.beside("io", target.portal, target.name, 1, "--control", tmp_path / "none")
    done.assert_failed(3, "No such file or directory")


# -- as a process ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signal_ends_it_with_the_summary(
    cli: Any, target: iscsim.LiveTarget, number: signal.Signals
) -> None:
    command = cli.command("io", target.portal, target.name, 1, "--duration", 600)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
    )
    assert process.stdout is not None
    await process.stdout.readline()
    await asyncio.sleep(0.2)
    process.send_signal(number)
    output, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    assert b"interrupted after" in output
    assert target.sessions == []


async def test_lost_path_is_noted_and_costs_nothing(cli: Any, target: iscsim.LiveTarget) -> None:
    options = ("--portal", target.portals[1], "--policy", "multibus", "--write", "--verify")
    quick = ("--set", "node.session.iscsi.DefaultTime2Wait=0", "--duration", 1.5, "--depth", 4)

    async def pull() -> None:
        await cli.until(lambda: len(target.sessions) == 2)
        await asyncio.sleep(0.4)
        target.sessions[1].end("pulled by the test")

    pulled = asyncio.ensure_future(pull())
    found = await document(cli, target.portal, target.name, 1, *options, *quick, "--range", "1M")
    await pulled
    kinds = [event["kind"] for event in found["events"]]  # how far it comes is the machine's affair
    assert kinds == ["path lost", "path back"][: len(kinds)]
    assert (found["errors"], found["data_errors"]) == (0, 0)


def test_delayed_commands_do_not_end_a_session_on_uvloop(cli: Any, tmp_path: Path) -> None:
    control = tmp_path / "control"
    us = f"{sys.executable} -m iscsim"
    arm = f"{us} fault add task.delay -a delay=1ms -a jitter=1ms -a dist=uniform --control {control}"
    load = f"{us} io $portal $target 1 --count 1000 --depth 8 --write --json"
    done = cli.spawn("serve", "--lun", "1=4M", "--control", control, "--run", f"{arm} && {load}")
    assert done.code == 0, done
    document = json.loads(done.stdout[done.stdout.index("{") :])
    assert (document["errors"], document["events"]) == (0, [])
    assert "Traceback" not in done.stderr
