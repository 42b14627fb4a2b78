"""Attach and detach a volume as os-brick does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

import iscsim
from iscsim.errors import ConfigError, ConnectionFailed
from iscsim.openstack.attach import attach
from iscsim.openstack.connection_info import ConnectionInfo, PathSpec
from iscsim.session.names import parse_portal

HOST = "iqn.1993-08.org.debian:01:host"
WWN = "6006016015e03a00ab2df25bb82d0ea9"
DEAD = PathSpec("127.0.0.1", 1, "iqn.2026-11.test:dead", 197)


@pytest.fixture
async def target() -> AsyncIterator[iscsim.LiveTarget]:
    async with iscsim.serve(luns={197: f"1M,wwn={WWN}"}, portals=2) as live:
        yield live


def paths(target: iscsim.LiveTarget, lun: int = 197) -> tuple[PathSpec, ...]:
    return tuple(PathSpec(*parse_portal(portal), target.name, lun) for portal in target.portals)


async def test_two_paths_are_one_device(target: iscsim.LiveTarget) -> None:
    seen: list[str] = []
    volume = await attach(
        ConnectionInfo(paths(target), volume_id="5ed0cc5c"), initiator_name=HOST, progress=seen.append
    )
    assert (volume.wwn, len(volume.device.paths), volume.failed) == (f"3{WWN}", 2, {})
    assert sorted(seen) == [
        f"logged in to {target.name} through {portal}" for portal in sorted(target.portals)
    ]
    await volume.device.write(0, b"x" * 512)
    assert bytes(await volume.paths[1].session.read(197, 0, 1)) == b"x" * 512
    await volume.detach()
    assert target.sessions == []


async def test_description_is_what_os_brick_returns_and_more(target: iscsim.LiveTarget) -> None:
    volume = await attach(ConnectionInfo(paths(target)), initiator_name=HOST)
    described = volume.describe()
    await volume.detach()
    assert {key: described[key] for key in ("type", "scsi_wwn", "path", "multipath_id")} == {
        "type": "block",
        "scsi_wwn": f"3{WWN}",
        "path": f"/dev/disk/by-id/dm-uuid-mpath-3{WWN}",
        "multipath_id": f"3{WWN}",
    }
    assert [path["path"] for path in described["paths"]] == [spec.by_path for spec in paths(target)]


async def test_single_path_is_known_by_its_path(target: iscsim.LiveTarget) -> None:
    (spec, _) = paths(target)
    volume = await attach(ConnectionInfo((spec,)), initiator_name=HOST)
    described = volume.describe()
    await volume.detach()
    assert (described["path"], "multipath_id" in described) == (spec.by_path, False)


async def test_read_only_volume_says_so(target: iscsim.LiveTarget) -> None:
    volume = await attach(ConnectionInfo(paths(target), read_only=True), initiator_name=HOST)
    assert volume.describe()["access_mode"] == "ro"
    await volume.detach()


async def test_path_that_fails_is_told_with_its_portal(target: iscsim.LiveTarget) -> None:
    volume = await attach(ConnectionInfo((DEAD, *paths(target))), initiator_name=HOST)
    assert len(volume.device.paths) == 2
    assert volume.failed == {DEAD: "cannot connect to 127.0.0.1:1: Connection refused"}
    await volume.detach()


async def test_no_path_that_works_names_each_and_leaves_nothing(target: iscsim.LiveTarget) -> None:
    with pytest.raises(ConnectionFailed) as caught:
        await attach(ConnectionInfo((DEAD, *paths(target, lun=9))), initiator_name=HOST)
    assert [portal for portal in ("127.0.0.1:1", *target.portals) if portal not in str(caught.value)] == []
    assert target.sessions == []


async def test_path_without_the_lun_leaves_no_session_behind(target: iscsim.LiveTarget) -> None:
    (first, second) = paths(target)
    missing = replace(second, lun=9)
    volume = await attach(ConnectionInfo((first, missing)), initiator_name=HOST)
    assert list(volume.failed) == [missing]
    assert "(LUNs there: 197)" in volume.failed[missing]
    assert len(target.sessions) == 1
    await volume.detach()


async def test_path_to_another_disk_is_not_used(target: iscsim.LiveTarget) -> None:
    (first, second) = paths(target)
    target.lun_map.add(5, iscsim.LogicalUnit(iscsim.MemoryStore(2048), serial="another"))
    other = replace(second, lun=5)
    volume = await attach(ConnectionInfo((first, other)), initiator_name=HOST)
    assert [path.spec for path in volume.paths] == [first]
    assert volume.failed[other].startswith(f"{other.portal}: WWN 3")
    assert len(target.sessions) == 1
    await volume.detach()


async def test_paths_of_different_sizes_are_a_failure_of_the_target(target: iscsim.LiveTarget) -> None:
    (first, second) = paths(target)
    target.lun_map.add(5, iscsim.LogicalUnit(iscsim.MemoryStore(4096), serial="another", wwn=WWN))
    with pytest.raises(ConnectionFailed, match="differ in size"):
        await attach(ConnectionInfo((first, replace(second, lun=5))), initiator_name=HOST)
    assert target.sessions == []


async def test_path_in_standby_is_a_path(target: iscsim.LiveTarget) -> None:
    target.set_access_state(1, "standby")
    volume = await attach(ConnectionInfo(paths(target)), initiator_name=HOST)
    described = volume.describe()
    assert (len(described["paths"]), described["size"], described["failed_paths"]) == (2, 1 << 20, [])
    await volume.device.write(0, b"s" * 512)
    target.sessions[0].end("ended by the test")
    await volume.reconnect(initiator_name=HOST)
    assert len(volume.working) == 2
    await volume.detach()


async def test_wrong_name_is_the_caller_s_mistake(target: iscsim.LiveTarget) -> None:
    with pytest.raises(ConfigError, match="not an iSCSI name"):
        await attach(ConnectionInfo(paths(target)), initiator_name="me")


async def test_options_go_to_connect(target: iscsim.LiveTarget) -> None:
    volume = await attach(ConnectionInfo(paths(target)), initiator_name=HOST, header_digest=True)
    agreed = [path.session.parameters.header_digest for path in volume.paths]
    await volume.detach()
    assert agreed == [True, True]


async def test_detach_after_the_target_is_gone_is_quiet(target: iscsim.LiveTarget) -> None:
    volume = await attach(ConnectionInfo(paths(target)), initiator_name=HOST)
    assert volume.is_alive
    for session in target.sessions:
        session.end("ended by the test")
    await volume.detach()
    assert not volume.is_alive
    assert set(volume.failed.values()) == {"lost before it was detached"}
