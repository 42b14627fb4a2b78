"""What the process that keeps sessions does, asked here without its socket."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from typing import Any

import pytest

import iscsim
from iscsim.cli import keeper as keeper_module
from iscsim.cli.keeper import Keeper, keep, main
from iscsim.errors import ConfigError, ConnectionFailed, LoginFailed, SessionFailed

HOST = "iqn.1993-08.org.debian:01:host"
SECRET = "never-to-be-shown"


@pytest.fixture
async def target() -> AsyncIterator[iscsim.LiveTarget]:
    async with iscsim.serve(portals=2) as live:
        yield live


@pytest.fixture
async def keeper_here() -> AsyncIterator[Keeper]:
    keeper = Keeper()
    yield keeper
    await keeper.close()


def info(target: iscsim.LiveTarget, *portals: str, lun: int = 1) -> dict[str, Any]:
    """A connection_info with these portals; all of the target's without any."""
    chosen = list(portals or target.portals)
    return {
        "target_portals": chosen,
        "target_iqns": [target.name] * len(chosen),
        "target_luns": [lun] * len(chosen),
    }


def spare(serial: str) -> iscsim.LogicalUnit:
    return iscsim.LogicalUnit(iscsim.MemoryStore(2048), serial=serial)


async def test_sessions_are_numbered_from_1(keeper_here: Keeper, target: iscsim.LiveTarget) -> None:
    first = await keeper_here.login(target.portals[0], target.name, HOST)
    second = await keeper_here.login(target.portals[1], target.name, HOST)
    assert (first["sid"], second["sid"]) == (1, 2)
    rows = await keeper_here.sessions()
    assert [(row["sid"], row["portal"], row["state"], row["volume"]) for row in rows] == [
        (1, target.portals[0], "LOGGED_IN", None),
        (2, target.portals[1], "LOGGED_IN", None),
    ]
    assert [row["sid"] for row in await keeper_here.luns()] == [1, 2]


async def test_numbers_are_not_used_again(keeper_here: Keeper, target: iscsim.LiveTarget) -> None:
    await keeper_here.login(target.portal, target.name, HOST)
    await keeper_here.logout(1)
    assert (await keeper_here.login(target.portal, target.name, HOST))["sid"] == 2


async def test_logout_of_one_leaves_the_other(keeper_here: Keeper, target: iscsim.LiveTarget) -> None:
    for portal in target.portals:
        await keeper_here.login(portal, target.name, HOST)
    assert [row["state"] for row in await keeper_here.logout(1)] == ["logged out"]
    assert [row["sid"] for row in await keeper_here.sessions()] == [2]
    assert len(target.sessions) == 1
    with pytest.raises(SessionFailed, match="no session 1"):
        await keeper_here.logout(1)


async def test_login_that_fails_keeps_nothing(keeper_here: Keeper, target: iscsim.LiveTarget) -> None:
    with pytest.raises(LoginFailed):
        await keeper_here.login(target.portal, "iqn.2026-11.test:another", HOST)
    assert (await keeper_here.sessions(), keeper_here.is_idle) == ([], True)


async def test_session_the_target_ended_is_shown_as_failed(
    cli: Any, keeper_here: Keeper, target: iscsim.LiveTarget
) -> None:
    await keeper_here.login(target.portal, target.name, HOST)
    target.sessions[0].end("ended by the test")
    await cli.until(lambda: not keeper_here._sessions[1].is_logged_in)
    (row,) = await keeper_here.sessions()
    assert (row["state"], bool(row["reason"])) == ("FAILED", True)
    assert len(await keeper_here.logout()) == 1


async def test_session_that_was_lost_comes_back_by_itself(
    cli: Any, keeper_here: Keeper, target: iscsim.LiveTarget
) -> None:
    settings = {"node.session.iscsi.DefaultTime2Wait": "0"}
    await keeper_here.login(target.portal, target.name, HOST, settings=settings)
    target.sessions[0].end("ended by the test")
    await cli.until(lambda: not keeper_here._sessions[1].is_logged_in)
    await cli.until(lambda: keeper_here._sessions[1].is_logged_in)
    (row,) = await keeper_here.sessions()
    assert (row["state"], row["reason"], len(target.sessions)) == ("LOGGED_IN", None, 1)
    assert (await keeper_here.rescan())["failed"] == []


async def test_settings_are_those_of_the_session_and_in_its_detail(
    keeper_here: Keeper, target: iscsim.LiveTarget
) -> None:
    settings = {
        "node.session.timeo.replacement_timeout": "7",
        "node.conn[0].iscsi.HeaderDigest": "CRC32C",
        "node.conn[0].timeo.login_timeout": "4",
    }
    await keeper_here.login(target.portal, target.name, HOST, settings=settings, login_timeout=9, retries=3)
    session = keeper_here._sessions[1].session
    assert (session.settings.login_timeout, session.settings.initial_login_retry_max) == (4, 3)
    (detail,) = await keeper_here.sessions(detail=True)
    assert detail["timeouts"]["recovery_timeout"] == 7
    assert detail["parameters"]["HeaderDigest"] == "CRC32C"
    assert [device["name"] for device in detail["devices"]] == ["sda"]
    with pytest.raises(ConfigError, match="no such setting"):
        await keeper_here.login(target.portal, target.name, HOST, settings={"node.x": "1"})


async def test_disks_of_sessions_are_joined_to_maps(keeper_here: Keeper, target: iscsim.LiveTarget) -> None:
    for portal in target.portals:
        await keeper_here.login(portal, target.name, HOST)
    (row,) = await keeper_here.maps()
    paths = [path for group in row["groups"] for path in group["paths"]]
    assert [(path["name"], path["hctl"], path["portal"]) for path in paths] == [
        ("sda", "0:0:0:1", target.portals[0]),
        ("sdb", "1:0:0:1", target.portals[1]),
    ]
    assert row["text"].startswith(f"{row['wwn']} dm-0 ISCSIM,VIRTUAL-DISK\n")
    target.lun_map.add(5, spare("late"))
    await keeper_here.rescan()
    assert [len(row["groups"]) for row in await keeper_here.maps()] == [2, 2]
    await keeper_here.logout(1)
    assert [len(row["groups"]) for row in await keeper_here.maps()] == [1, 1]
    await keeper_here.logout(2)
    assert await keeper_here.maps() == []


async def test_names_of_disks_and_hosts_are_used_again(
    keeper_here: Keeper, target: iscsim.LiveTarget
) -> None:
    for _ in range(2):
        await keeper_here.login(target.portal, target.name, HOST)
        (detail,) = await keeper_here.sessions(detail=True)
        assert (detail["host"], detail["devices"][0]["name"]) == (0, "sda")
        await keeper_here.logout()


async def test_paths_of_an_attached_volume_can_be_asked_for_with_its_chap(keeper_here: Keeper) -> None:
    chap = {"auth_method": "CHAP", "auth_username": "me", "auth_password": "a-secret-of-12+"}
    async with iscsim.serve(portals=2, initiators=["*:me:a-secret-of-12+"]) as target:
        described = await keeper_here.attach(info(target) | chap, HOST)
        found = await keeper_here.volume_paths(described["scsi_wwn"])
        assert [row["portal"] for row in found["paths"]] == target.portals
        assert (found["user"], found["password"]) == ("me", "a-secret-of-12+")
        assert [row["wwn"] for row in await keeper_here.maps()] == [described["scsi_wwn"]]
        with pytest.raises(ConnectionFailed, match="not attached"):
            await keeper_here.volume_paths("3600")


async def test_rescan_finds_what_was_mapped_and_unmapped(
    keeper_here: Keeper, target: iscsim.LiveTarget
) -> None:
    await keeper_here.login(target.portal, target.name, HOST)
    await keeper_here.attach(info(target), HOST)
    assert await keeper_here.rescan() == {"sessions": 3, "changes": [], "failed": []}
    target.lun_map.add(5, spare("late"))
    rows = (await keeper_here.rescan())["changes"]
    assert [(row["sid"], row["change"], row["lun"]) for row in rows] == [
        (1, "added", 5),
        (None, "added", 5),
        (None, "added", 5),
    ]
    target.lun_map.remove(5)
    assert {(row["change"], row["lun"]) for row in (await keeper_here.rescan())["changes"]} == {
        ("removed", 5)
    }


async def test_rescan_goes_on_after_a_session_that_failed(
    cli: Any, keeper_here: Keeper, target: iscsim.LiveTarget
) -> None:
    for portal in target.portals:
        await keeper_here.login(portal, target.name, HOST)
    target.sessions[0].end("ended by the test")
    await cli.until(lambda: not all(kept.is_logged_in for kept in keeper_here._sessions.values()))
    target.lun_map.add(5, spare("late"))
    answer = await keeper_here.rescan()
    (change,), (failed,) = answer["changes"], answer["failed"]
    assert (answer["sessions"], {change["sid"], failed["sid"]}, bool(failed["error"])) == (2, {1, 2}, True)


async def test_attach_again_tells_what_was_lost_and_logs_in_there_again(
    cli: Any, keeper_here: Keeper, target: iscsim.LiveTarget
) -> None:
    before = await keeper_here.attach(info(target), HOST)
    (volume,) = keeper_here._volumes.values()
    (kept, _) = target.sessions
    target.sessions[1].end("ended by the test")
    await cli.until(lambda: len(volume.working) == 1)
    described = volume.describe()
    assert (len(described["paths"]), described["path"]) == (1, before["path"])
    assert [bool(row["error"]) for row in described["failed_paths"]] == [True]
    assert await keeper_here.attach(info(target), HOST) == before | {"already_attached": True}
    assert len(target.sessions) == 2
    assert kept in target.sessions


async def test_attach_twice_is_the_same_volume(keeper_here: Keeper, target: iscsim.LiveTarget) -> None:
    first = await keeper_here.attach(info(target), HOST)
    again = await keeper_here.attach(info(target, *reversed(target.portals)), HOST)
    assert again == first | {"already_attached": True}
    assert len(target.sessions) == 2


async def test_attach_at_the_same_time_is_the_same_volume(
    keeper_here: Keeper, target: iscsim.LiveTarget
) -> None:
    first, second = await asyncio.gather(*(keeper_here.attach(info(target), HOST) for _ in range(2)))
    assert first | {"already_attached": True} == second | {"already_attached": True}
    assert len(target.sessions) == 2


async def test_attach_of_a_dead_volume_logs_in_again(
    cli: Any, keeper_here: Keeper, target: iscsim.LiveTarget
) -> None:
    before = await keeper_here.attach(info(target), HOST)
    ended = target.sessions
    for session in ended:
        session.end("ended by the test")
    (volume,) = keeper_here._volumes.values()
    await cli.until(lambda: not volume.is_alive)
    assert await keeper_here.attach(info(target), HOST) == before
    assert len(target.sessions) == 2
    assert not set(target.sessions) & set(ended)


async def test_volumes_of_one_target_are_attached_and_detached_alone(
    keeper_here: Keeper, target: iscsim.LiveTarget
) -> None:
    target.lun_map.add(2, spare("second"))
    one, two = info(target, lun=1), info(target, lun=2)
    await keeper_here.attach(one, HOST)
    described = await keeper_here.attach(two, HOST)
    assert len(target.sessions) == 4
    assert await keeper_here.detach(two) | {"already_attached": False} == described
    assert {row["volume"] for row in await keeper_here.sessions()} != {described["scsi_wwn"]}
    assert len(target.sessions) == 2
    with pytest.raises(ConnectionFailed, match="not attached"):
        await keeper_here.detach(two)


async def test_wrong_document_or_name_is_the_caller_s_mistake(
    keeper_here: Keeper, target: iscsim.LiveTarget
) -> None:
    with pytest.raises(ConfigError, match="target_portal is missing"):
        await keeper_here.attach({}, HOST)
    with pytest.raises(ConfigError, match="not an iSCSI name"):
        await keeper_here.attach(info(target), "me")
    assert (target.sessions, keeper_here.is_idle) == ([], True)


async def test_close_ends_everything(target: iscsim.LiveTarget) -> None:
    keeper = Keeper()
    await keeper.login(target.portal, target.name, HOST)
    await keeper.attach(info(target), HOST)
    assert not keeper.is_idle
    await keeper.close()
    assert (target.sessions, keeper.is_idle) == ([], True)


async def test_keeper_without_sessions_ends_and_takes_its_socket_with_it(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "_IDLE_S", 0.01)
    await keep(cli.socket)
    assert not cli.socket.exists()


async def test_socket_is_for_its_owner_only(cli: Any, keeper: object) -> None:
    assert stat.S_IMODE(cli.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(cli.runtime.stat().st_mode) == 0o700


async def test_second_keeper_ends_with_3(cli: Any, keeper: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["keeper", str(cli.socket)])
    assert await asyncio.to_thread(main) == 3


def test_keeper_that_cannot_listen_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["keeper", "/nowhere/socket"])
    assert main() == 1
    assert "No such file or directory" in capsys.readouterr().err
