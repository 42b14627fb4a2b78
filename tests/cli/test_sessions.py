"""Commands whose sessions stay, with a keeper in the process of the test."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import iscsim

HOST = "iqn.1993-08.org.debian:01:host"
DEAD = "127.0.0.1:1"
REFUSED = f"cannot connect to {DEAD}: Connection refused"

pytestmark = pytest.mark.usefixtures("keeper")


@pytest.fixture
async def target() -> AsyncIterator[iscsim.LiveTarget]:
    async with iscsim.serve(portals=2) as live:
        yield live


@pytest.fixture
def document(tmp_path: Path, target: iscsim.LiveTarget) -> Any:
    """Writes a connection_info: (portal, LUN) of each path."""

    def write(*paths: tuple[str, int], **more: Any) -> Path:
        portals, luns = zip(*paths, strict=True)
        data = {
            "target_portals": portals,
            "target_iqns": [target.name] * len(portals),
            "target_luns": luns,
        }
        path = tmp_path / "connection_info.json"
        path.write_text(json.dumps({"driver_volume_type": "iscsi", "data": data | more}))
        return path

    return write


async def test_login_says_what_it_did_and_stays(cli: Any, target: iscsim.LiveTarget) -> None:
    done = await cli.beside("login", target.portal, target.name)
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout == f"session 1: logged in to {target.name} through {target.portal}\n"
    assert [session.initiator_name for session in target.sessions] == [HOST]
    row = json.loads((await cli.beside("login", target.portals[1], target.name, "--json")).stdout)
    assert row == {"sid": 2, "portal": target.portals[1], "target": target.name} | {
        "state": "LOGGED_IN",
        "reason": None,
    }


async def test_sessions_are_listed(cli: Any, target: iscsim.LiveTarget) -> None:
    await cli.beside("login", target.portal, target.name)
    done = await cli.beside("sessions")
    assert done.stdout.splitlines()[2].split() == ["1", target.portal, target.name, "LOGGED_IN"]
    (row,) = json.loads((await cli.beside("sessions", "--json")).stdout)
    assert (row["sid"], row["state"], row["volume"]) == (1, "LOGGED_IN", None)


async def test_no_sessions_are_said_so_and_are_no_failure(cli: Any) -> None:
    for command in ("sessions", "luns", "rescan"):
        done = await cli.beside(command)
        assert (done.code, done.output) == (0, b"")
        assert done.stderr == "iscsim: no sessions (iscsim login and iscsim attach leave some)\n"
        assert json.loads((await cli.beside(command, "--json")).stdout) == []
    assert (await cli.beside("logout")).stderr == "iscsim: no sessions to log out of\n"
    assert json.loads((await cli.beside("logout", "--json")).stdout) == []


async def test_rescan_shows_what_was_added_and_removed(cli: Any, target: iscsim.LiveTarget) -> None:
    await cli.beside("login", target.portal, target.name)
    done = await cli.beside("rescan")
    assert (done.code, done.output, done.stderr) == (0, b"", "iscsim: nothing has changed\n")
    target.lun_map.add(5, iscsim.LogicalUnit(iscsim.MemoryStore(2048), serial="late"))
    assert (await cli.beside("rescan")).stdout.splitlines()[2].split()[:4] == [
        "1",
        target.portal,
        "added",
        "5",
    ]
    target.lun_map.remove(5)
    (row,) = json.loads((await cli.beside("rescan", "--json")).stdout)
    assert (row["sid"], row["change"], row["lun"], row["size"]) == (1, "removed", 5, 1 << 20)


async def test_detail_is_that_of_iscsiadm(cli: Any, target: iscsim.LiveTarget) -> None:
    setting = "node.session.timeo.replacement_timeout=7"
    await cli.beside("login", target.portal, target.name, "--set", setting)
    shown = (await cli.beside("sessions", "--detail")).stdout
    assert shown.startswith(f"Target: {target.name}\n\tCurrent Portal: {target.portal},1\n")
    for line in ("Recovery Timeout: 7", "iSCSI Session State: LOGGED_IN", "MaxBurstLength: 16776192"):
        assert f"\t\t{line}\n" in shown
    assert shown.endswith("\t\t\tAttached scsi disk sda\t\tState: running\n")
    (row,) = json.loads((await cli.beside("sessions", "-P", "--json")).stdout)
    assert (row["sid"], row["parameters"]["InitialR2T"]) == (1, False)


async def test_paths_are_shown_as_multipath_does(cli: Any, target: iscsim.LiveTarget) -> None:
    done = await cli.beside("paths")
    assert (done.code, done.output) == (0, b"")
    assert done.stderr == "iscsim: no multipath devices (iscsim login and iscsim attach make some)\n"
    for portal in target.portals:
        await cli.beside("login", portal, target.name)
    lines = (await cli.beside("paths")).stdout.splitlines()
    assert lines[0].endswith(" dm-0 ISCSIM,VIRTUAL-DISK")
    assert [line.rstrip().endswith("active ready running") for line in lines] == [False] * 3 + [
        True,
        False,
        True,
    ]
    (row,) = json.loads((await cli.beside("paths", "--json")).stdout)
    assert (row["wwn"], row["device"], len(row["groups"])) == (lines[0].split()[0], "dm-0", 2)


async def test_rescan_reports_a_session_that_failed_and_is_exit_1(
    cli: Any, target: iscsim.LiveTarget
) -> None:
    await cli.beside("login", target.portal, target.name)
    target.sessions[0].end("ended by the test")
    while "FAILED" not in (shown := await cli.beside("sessions")).stdout:
        pass
    assert "reason" in shown.stdout
    done = await cli.beside("rescan", "--json")
    assert (done.code, json.loads(done.stdout)) == (1, [])
    first, last = done.stderr.splitlines()
    assert first.startswith(f"iscsim: session 1 at {target.portal}: ")
    assert last == "iscsim: error: 1 of 1 sessions could not be scanned"


async def test_logout_with_attached_volumes_only_says_how_they_end(
    cli: Any, target: iscsim.LiveTarget, document: Any
) -> None:
    await cli.beside("attach", document(*((portal, 1) for portal in target.portals)))
    done = await cli.beside("logout")
    assert done.stderr == "iscsim: 2 sessions belong to attached volumes: iscsim detach\n"
    rows = json.loads((await cli.beside("luns", "--json")).stdout)
    assert [row["portal"] for row in rows] == target.portals
    assert all(row["volume"] == row["wwn"] for row in rows)


@pytest.mark.parametrize("command", ["attach", "detach"])
async def test_document_comes_from_stdin_or_a_pipe(
    cli: Any, document: Any, tmp_path: Path, target: iscsim.LiveTarget, command: str
) -> None:
    path = document((target.portal, 1))
    if command == "detach":
        await cli.beside("attach", path)
    done = await cli.beside(command, "-", stdin=path.read_bytes())
    assert (done.code, done.stderr) == (0, "")
    (await cli.beside(command, "-", stdin=b"{")).assert_failed(2, "stdin: not JSON")


async def test_attach_again_notes_how_many_paths_work(
    cli: Any, target: iscsim.LiveTarget, document: Any
) -> None:
    path = document((target.portal, 1), (DEAD, 1))
    await cli.beside("attach", path)
    done = await cli.beside("attach", path)
    assert done.stderr.splitlines()[1:] == ["iscsim: note: already attached, 1 of 2 paths work"]
    assert "already_attached" not in json.loads(done.stdout)


async def test_luns_of_all_sessions_have_their_numbers(cli: Any, target: iscsim.LiveTarget) -> None:
    for portal in target.portals:
        await cli.beside("login", portal, target.name)
    rows = json.loads((await cli.beside("luns", "--json")).stdout)
    assert [(row["sid"], row["lun"]) for row in rows] == [(1, 1), (2, 1)]
    assert len({row["wwn"] for row in rows}) == 1


async def test_logout_of_one_or_all(cli: Any, target: iscsim.LiveTarget) -> None:
    for _ in range(3):
        await cli.beside("login", target.portal, target.name)
    done = await cli.beside("logout", 2)
    assert done.stdout == f"session 2: logged out of {target.name} through {target.portal}\n"
    assert len(target.sessions) == 2
    (await cli.beside("logout", 2)).assert_failed(1, "no session 2")
    rows = json.loads((await cli.beside("logout", "--json")).stdout)
    assert [(row["sid"], row["state"]) for row in rows] == [(1, "logged out"), (3, "logged out")]
    assert target.sessions == []


async def test_login_that_is_refused_is_exit_1(cli: Any, target: iscsim.LiveTarget) -> None:
    done = await cli.beside("login", target.portal, "iqn.2026-11.test:another")
    done.assert_failed(1, f"iqn.2026-11.test:another at {target.portal}: login status 0x0203")


@pytest.mark.parametrize(
    ("retries", "what"),
    [([], "has not answered the login"), (["--retries", "1"], "(11 - iSCSI PDU timed out)")],
)
async def test_login_that_nobody_answers_is_given_up(cli: Any, retries: list[str], what: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts, and nobody else does
        portal = f"127.0.0.1:{silent.getsockname()[1]}"
        done = await cli.beside("login", portal, "iqn.2026-11.test:x", "--login-timeout", "0.05", *retries)
    done.assert_failed(1, what)


@pytest.mark.parametrize(
    "arguments, what",
    [
        (["127.0.0.1:0", "iqn.2026-11.test:x"], "not a portal"),
        (["127.0.0.1:1", "iqn.2026-11.test:x", "--initiator-name", "me"], "not an iSCSI name: 'me'"),
        (["127.0.0.1:1", "iqn.2026-11.test:x", "--user", "me"], "go together"),
        (["127.0.0.1:1", "iqn.2026-11.test:x", "--login-timeout", "0"], "more than 0 seconds"),
        (["127.0.0.1:1", "iqn.2026-11.test:x", "--retries", "-1"], "--retries"),
        (["127.0.0.1:1", "iqn.2026-11.test:x", "--set", "node"], "expected NAME=VALUE"),
        (
            ["127.0.0.1:1", "iqn.2026-11.test:x", "--set", "node.session.timeo.replacment_timeout=5"],
            "did you mean node.session.timeo.replacement_timeout?",
        ),
    ],
)
async def test_login_with_a_wrong_argument_is_exit_2(cli: Any, arguments: list[str], what: str) -> None:
    (await cli.beside("login", *arguments)).assert_failed(2, what)


async def test_attach_prints_one_device_with_two_paths(
    cli: Any, target: iscsim.LiveTarget, document: Any
) -> None:
    path = document(*((portal, 1) for portal in target.portals), volume_id="5ed0cc5c")
    done = await cli.beside("attach", path)
    assert (done.code, done.stderr) == (0, "")
    device = json.loads(done.stdout)
    assert device["path"] == f"/dev/disk/by-id/dm-uuid-mpath-{device['scsi_wwn']}"
    assert device["multipath_id"] == device["scsi_wwn"]
    assert [each["portal"] for each in device["paths"]] == target.portals
    assert (device["failed_paths"], device["volume_id"]) == ([], "5ed0cc5c")
    assert len(target.sessions) == 2
    rows = json.loads((await cli.beside("sessions", "--json")).stdout)
    assert {row["volume"] for row in rows} == {device["scsi_wwn"]}


async def test_attach_again_changes_nothing(cli: Any, target: iscsim.LiveTarget, document: Any) -> None:
    path = document(*((portal, 1) for portal in target.portals))
    assert (await cli.beside("attach", path)).stdout == (await cli.beside("attach", path)).stdout
    assert len(target.sessions) == 2


async def test_detach_leaves_no_session(cli: Any, target: iscsim.LiveTarget, document: Any) -> None:
    path = document(*((portal, 1) for portal in target.portals))
    attached = await cli.beside("attach", path)
    done = await cli.beside("detach", path)
    assert (done.code, done.stdout, done.stderr) == (0, attached.stdout, "")
    assert target.sessions == []
    (await cli.beside("detach", path)).assert_failed(1, "that volume is not attached")


async def test_attach_with_a_dead_path_warns_and_goes_on(
    cli: Any, target: iscsim.LiveTarget, document: Any
) -> None:
    done = await cli.beside("attach", document((target.portal, 1), (DEAD, 1)))
    assert (done.code, done.stderr) == (0, f"iscsim: warning: {REFUSED}\n")
    device = json.loads(done.stdout)
    assert [each["portal"] for each in device["paths"]] == [target.portal]
    (failed,) = device["failed_paths"]
    assert (failed["portal"], failed["lun"], failed["error"]) == (DEAD, 1, REFUSED)
    assert device["path"].startswith("/dev/disk/by-path/ip-127.0.0.1:")


async def test_attach_without_a_path_that_works_names_each(cli: Any, document: Any) -> None:
    done = await cli.beside("attach", document((DEAD, 1), ("127.0.0.1:2", 1)))
    assert (done.code, done.output) == (1, b"")
    first, second, last = done.stderr.splitlines()
    assert first == f"iscsim: warning: {REFUSED}"
    assert second == "iscsim: warning: cannot connect to 127.0.0.1:2: Connection refused"
    assert last == "iscsim: error: no path to the volume works"


async def test_attach_of_a_lun_that_is_missing_leaves_no_session(
    cli: Any, target: iscsim.LiveTarget, document: Any
) -> None:
    done = await cli.beside("attach", document(*((portal, 9) for portal in target.portals)))
    assert done.code == 1
    assert f"no LUN 9 at {target.name} through {target.portal} (LUNs there: 1)" in done.stderr
    assert target.sessions == []


async def test_attach_with_the_chap_of_the_document(cli: Any, document: Any) -> None:
    async with iscsim.serve(initiators=[f"{HOST}:user:never-to-be-shown"]) as guarded:
        chap: dict[str, Any] = {"auth_method": "CHAP", "auth_username": "user", "target_iqns": [guarded.name]}
        right = document((guarded.portal, 1), **chap, auth_password="never-to-be-shown")
        done = await cli.beside("attach", right)
        assert done.code == 0
        assert "never-to-be-shown" not in done.stdout
        await cli.beside("detach", right)
        wrong = document((guarded.portal, 1), **chap, auth_password="never-to-be-known")
        done = await cli.beside("attach", wrong)
        assert done.code == 1
        assert "login status 0x0201" in done.stderr
        assert "never-to-be-known" not in done.stderr


@pytest.mark.parametrize("command", ["attach", "detach"])
async def test_document_that_is_none_is_exit_2(cli: Any, command: str, tmp_path: Path) -> None:
    (await cli.beside(command, "/nowhere.json")).assert_failed(2, "/nowhere.json: No such file")
    broken = tmp_path / "broken.json"
    for text, what in (
        ("{", "not JSON"),
        ("{}", "target_portal is missing"),
        ("[]", "must be a JSON object"),
    ):
        broken.write_text(text)
        (await cli.beside(command, broken)).assert_failed(2, what)


@pytest.mark.parametrize("command", ["sessions", "luns", "rescan", "logout"])
async def test_runtime_directory_others_may_enter_is_exit_3(cli: Any, command: str) -> None:
    cli.runtime.chmod(0o755)
    (await cli.beside(command)).assert_failed(3, f"{cli.runtime} must be a directory of yours")
    cli.runtime.chmod(0o700)
