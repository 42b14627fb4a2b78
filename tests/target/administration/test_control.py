"""The methods of the control socket, asked of a target that real sessions use."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import iscsim
from iscsim.errors import ConfigError, LocalProtocolError
from iscsim.initiator.events import AsyncMessageReceived
from iscsim.lab import Lab
from iscsim.session.events import ConnectionEnded
from iscsim.target.administration.control import TargetControl
from iscsim.target.administration.errors import AlreadyExists, NotFound
from iscsim.target.administration.methods import METHODS

HOST, OTHER = "iqn.1993-08.org.debian:01:host", "iqn.1993-08.org.debian:01:other"
NAME = "iqn.2010-10.org.openstack:volume-1"
DEEP = json.loads("[" * 40 + "]" * 40)


class Asked:
    """Asks the methods as the socket does."""

    def __init__(self, control: TargetControl) -> None:
        self.control = control
        self._methods = control.methods

    async def __call__(self, method: str, /, **params: Any) -> Any:
        answer = await self._methods[method](**params)
        return json.loads(json.dumps(answer))

    async def make_volume(self, target: str = NAME, portals: tuple[str, ...] = ("127.0.0.1",)) -> list[str]:
        """What cinder asks for; the portals as they came to be."""
        await self("backstore.create", name=target, size=1 << 20)
        await self("target.create", target=target)
        await self("tpg.create", target=target)
        await self("tpg.set", target=target, attributes={"authentication": 0})
        await self("lun.create", target=target, tag=1, backstore=target)
        rows = [await self("portal.create", target=target, tag=1, address=each, port=0) for each in portals]
        await self("tpg.enable", target=target)
        return [f"{row['address']}:{row['port']}" for row in rows]

    async def let_in(self, initiator: str, target: str = NAME) -> None:
        await self("acl.create", target=target, tag=1, initiator=initiator, map_luns=True)


@asynccontextmanager
async def asked(target: iscsim.LiveTarget, stop: Any = lambda: None) -> AsyncIterator[Asked]:
    yield Asked(TargetControl(target.server, stop))


def test_every_method_of_the_table_is_there_and_no_other() -> None:
    async def main(lab: Lab) -> None:
        control = TargetControl((await lab.target()).server, lambda: None)
        assert list(control.methods) == list(METHODS)

    Lab.run(main)


async def test_targets_are_described_without_secrets() -> None:
    async with (
        iscsim.serve(luns={1: "1M,readonly"}, initiators=[f"{HOST}:user:secret"]) as target,
        asked(target) as ask,
    ):
        model = await ask("describe")
        assert (await ask("target.list"), await ask("acl.list", target=target.name)) == (
            [target.name],
            model["targets"][0]["tpgs"][0]["acls"],
        )
    (row,) = model["targets"]
    (group,) = row["tpgs"]
    assert [f"{each['address']}:{each['port']}" for each in group["portals"]] == [target.portal]
    assert [(lun["lun"], lun["read_only"]) for lun in group["luns"]] == [(1, True)]
    assert [(each["name"], each["size"]) for each in model["backstores"]] == [
        (f"{target.name}-lun1", 1 << 20)
    ]
    assert (group["acls"][0]["initiator"], group["acls"][0]["user"]) == (HOST, "user")
    assert "secret" not in json.dumps(model)


async def test_volume_is_made_used_and_taken_away_as_cinder_does() -> None:
    async with iscsim.serve() as target, asked(target) as ask:
        first, second = await ask.make_volume(portals=("127.0.0.1", "127.0.0.1"))
        await ask.let_in(HOST)
        await ask.let_in(OTHER)
        async with (
            iscsim.connect(first, NAME, initiator_name=HOST) as session,
            iscsim.connect(second, NAME, initiator_name=OTHER) as other,
        ):
            await session.write((await session.scan())[0], 0, b"x" * 512)
            await ask("acl.delete", target=NAME, tag=1, initiator=HOST)
            with pytest.raises(iscsim.SessionFailed, match="asynchronous event 3"):
                await session.ping()
            with pytest.raises(iscsim.LoginFailed) as caught:
                await iscsim.connect(first, NAME, initiator_name=HOST)
            assert caught.value.status == 0x0202
            assert await other.read((await other.scan())[0], 0, 1) == b"x" * 512
            await ask("target.delete", target=NAME)
            with pytest.raises(iscsim.SessionFailed):
                await other.ping()
        with pytest.raises(iscsim.ConnectionFailed):  # nobody else listens there
            await iscsim.discover(second)
        assert await iscsim.discover(target.portal)


async def test_portal_that_several_targets_share_is_listened_on_once() -> None:
    async with iscsim.serve() as target, asked(target) as ask:
        (portal,) = await ask.make_volume()
        address, _, port = portal.rpartition(":")
        await ask("target.create", target=f"{NAME}2")
        await ask("tpg.create", target=f"{NAME}2")
        where = {"tag": 1, "address": address, "port": int(port)}
        await ask("portal.create", target=f"{NAME}2", **where)
        await ask("portal.delete", target=NAME, **where)
        await iscsim.discover(portal)
        await ask("portal.delete", target=f"{NAME}2", **where)
        with pytest.raises(iscsim.ConnectionFailed):
            await iscsim.discover(portal)


async def test_portal_that_cannot_be_listened_on_changes_nothing() -> None:
    async with iscsim.serve() as target, iscsim.serve() as neighbour, asked(target) as ask:
        await ask.make_volume()
        before = await ask("describe")
        where = {"address": "127.0.0.1", "port": int(neighbour.portal.rpartition(":")[2])}
        with pytest.raises(OSError, match="in use") as caught:
            await ask("portal.create", target=NAME, tag=1, **where)
        assert caught.value.filename == neighbour.portal
        assert await ask("describe") == before


def test_new_lun_is_found_by_a_host_on_virtual_time() -> None:
    async def main(lab: Lab) -> list[int]:
        target = await lab.target(portals=["10.0.0.1:3260"], luns={1: "1M"})
        ask = Asked(TargetControl(target.server, lambda: None, rng=lab._chance("control")))
        async with lab.host("compute").connect(target) as session:
            await session.scan()
            await ask("backstore.create", name="late", size=1 << 20)
            await ask("lun.create", target=target.name, tag=1, backstore="late", lun=5)
            (unit,), _ = await session.rescan()
            await ask("lun.resize", target=target.name, tag=1, lun=5, size=2 << 20)
            capacity = await session.read_capacity(unit)
            return [unit.number, capacity.blocks]

    assert Lab.run(main) == [5, 4096]


# -- sessions ---------------------------------------------------------------------------------------


async def test_session_can_be_ended_from_outside() -> None:
    async with (
        iscsim.serve() as target,
        asked(target) as ask,
        iscsim.connect(target.portal, target.name, initiator_name=HOST) as session,
    ):
        (row,) = await ask("session.list")
        assert (row["initiator"], row["target"], row["type"]) == (HOST, target.name, "Normal")
        assert row["addresses"][0].startswith("127.0.0.1:")
        assert await ask("session.kick", tsih=row["tsih"], time_s=60) == row
        assert await ask("session.list", target=target.name) == []
        assert not session.is_open
        with pytest.raises(iscsim.SessionFailed):
            await session.ping()


async def test_session_without_time_is_dropped_at_once() -> None:
    async with (
        iscsim.serve() as target,
        asked(target) as ask,
        iscsim.connect(target.portal, target.name) as session,
    ):
        (row,) = await ask("session.list")
        ended = asyncio.Event()
        session.on_event(lambda event: isinstance(event, ConnectionEnded) and ended.set())
        await ask("session.kick", tsih=row["tsih"], time_s=0, wait=False)
        await ended.wait()
        assert "asynchronous event 3" in str(session.failure)


async def test_events_are_sent_over_the_control_socket() -> None:
    async with (
        iscsim.serve() as target,
        asked(target) as ask,
        iscsim.connect(target.portal, target.name) as session,
    ):
        seen: list[Any] = []
        session.on_event(seen.append)
        (row,) = await ask("session.list")
        fields = {"vendor_code": 3, "parameter_1": 1, "parameter_2": 2, "parameter_3": 4}
        assert await ask("session.send_async", tsih=row["tsih"], event=255, data="6869", **fields)
        sense = {"lun": "0001" + "00" * 6, "sense": "70" * 18}
        assert await ask("session.send_async", tsih=row["tsih"], event=0, **sense)
        await session.ping()
        events = [event for event in seen if isinstance(event, AsyncMessageReceived)]
        assert events == [
            AsyncMessageReceived(255, bytes(8), 3, 1, 2, 4),
            AsyncMessageReceived(0, b"\0\1" + bytes(6), 0, 0, 0, 0, b"\x70" * 18),
        ]
        with pytest.raises(ConfigError, match="hexadecimal"):
            await ask("session.send_async", tsih=row["tsih"], event=255, data="nothing")
        with pytest.raises(LocalProtocolError, match="asynchronous event 6"):
            await ask("session.send_async", tsih=row["tsih"], event=6)


async def test_session_that_does_not_exist_cannot_be_ended() -> None:
    async with iscsim.serve() as target, asked(target) as ask:
        with pytest.raises(NotFound, match="no session with handle 7"):
            await ask("session.kick", tsih=7)


async def test_stop_is_passed_on() -> None:
    stopped: list[bool] = []
    async with iscsim.serve() as target, asked(target, lambda: stopped.append(True)) as ask:
        assert await ask("stop")
    assert stopped == [True]


async def test_access_state_is_changed_and_shown() -> None:
    async with iscsim.serve(luns={1: "1M", 2: "1M"}, portals=2) as target, asked(target) as ask:
        await ask("alua.set", target=target.name, tag=2, state="standby", lun=1)
        rows = await ask("alua.set", target=target.name, tag=1, state="active/non-optimized")
    assert {row["lun"]: [each["state"] for each in row["access_states"]] for row in rows} == {
        1: ["active/non-optimized", "standby"],
        2: ["active/non-optimized", "active/optimized"],
    }
    assert rows[0]["access_states"][1] == {"tag": 2, "state": "standby", "preferred": False}


async def test_counters_count_logins_sessions_and_requests() -> None:
    async with iscsim.serve(initiators=[HOST]) as target, asked(target) as ask:
        async with iscsim.connect(target.portal, target.name, initiator_name=HOST) as session:
            unit = (await session.scan())[0]
            before = (await ask("counters"))["requests"]
            for _ in range(10):
                await session.read(unit, 0, 1)
            counters = await ask("counters")
            assert (counters["requests"] - before, counters["sessions"]) == (10, 1)
            assert counters["luns"][f"{target.name}-lun1"]["sessions"] == 1
        with pytest.raises(iscsim.LoginFailed):
            await iscsim.connect(target.portal, target.name, initiator_name=OTHER)
        counters = await ask("counters")
        assert counters["logins"] == {"0x0000": 1, "0x0202": 1}
        assert (counters["requests"] >= before + 10, counters["sessions"]) == (True, 0)


# -- parameters -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "given", "why"),
    [
        ("target.create", {}, "target.create: target is missing"),
        ("target.create", {"traget": NAME}, r"unknown parameter 'traget' \(did you mean 'target'\?\)"),
        ("target.create", {"target": 7}, "target: expected text"),
        ("target.create", {"target": "x" * 224}, "target: 224 characters, not 1 to 223"),
        ("target.create", {"target": "disk\n"}, "target: characters that cannot be shown"),
        ("target.create", {"target": "\ud800"}, "target: characters that cannot be shown"),
        ("tpg.create", {"target": NAME, "tag": True}, "tag: expected a number"),
        ("tpg.create", {"target": NAME, "tag": 65536}, "tag: expected 1 to 65535"),
        (
            "lun.create",
            {"target": NAME, "tag": 1, "backstore": "x", "lun": 16384},
            "lun: expected 0 to 16383",
        ),
        ("backstore.create", {"name": "x", "plugin": "pscsi"}, "plugin: 'pscsi' is not one of ramdisk"),
        ("backstore.create", {"name": "x", "thin": 1}, "thin: expected true or false"),
        ("backstore.create", {"name": "x", "attributes": []}, "attributes: expected an object"),
        (
            "backstore.create",
            {"name": "x", "size": 512, "attributes": {"alua_tpgs": 5}},
            "alua_tpgs: expected objects with a name",
        ),
        ("tpg.set", {"target": NAME, "attributes": {"x": DEEP}}, "attributes: nested more than 32 deep"),
        ("tpg.set", {"target": NAME, "parameters": {"x": "\ud800"}}, "parameters: characters that cannot"),
        ("backstore.create", {"name": "x"}, "a ramdisk needs a size"),
        ("backstore.create", {"name": "x", "size": 1000}, "no multiple of 512"),
        ("backstore.create", {"name": "x", "plugin": "block"}, "block needs a path"),
        (
            "alua.set",
            {"target": NAME, "tag": 1, "state": "fast"},
            "state: 'fast' is not one of active/optimized",
        ),
        ("save", {"path": "state.json"}, "is not absolute"),
    ],
)
def test_parameter_that_cannot_be_is_named_in_one_line(method: str, given: Any, why: str) -> None:
    async def main(lab: Lab) -> None:
        ask = Asked(TargetControl((await lab.target()).server, lambda: None))
        before = await ask("describe")
        with pytest.raises(ConfigError, match=why) as caught:
            await ask(method, **given)
        assert "\n" not in str(caught.value)
        assert await ask("describe") == before

    Lab.run(main)


# -- all of it --------------------------------------------------------------------------------------


async def test_nothing_is_saved_in_the_place_of_blocks(tmp_path: Path) -> None:
    disk, link = tmp_path / "disk", tmp_path / "link"
    link.symlink_to(disk)
    async with iscsim.serve(personality="lio") as target, asked(target) as ask:
        await ask("backstore.create", name="file", plugin="fileio", path=str(disk), size=1024)
        for path in (disk, link):
            with pytest.raises(ConfigError, match="is the file of backstore 'file'"):
                await ask("save", path=str(path))
    assert disk.read_bytes() == bytes(1024)


async def test_what_is_saved_is_there_again_with_its_identity_and_its_secrets(tmp_path: Path) -> None:
    state = tmp_path / "state" / "saveconfig.json"
    chap = {"user": "chapuser", "password": "chapsecret12"}
    async with iscsim.serve(personality="lio") as target, asked(target) as ask:
        (portal,) = await ask.make_volume()
        await ask("acl.create", target=NAME, tag=1, initiator=HOST, map_luns=True, **chap)
        await ask("tpg.set", target=NAME, attributes={"authentication": 1})
        before = await ask("describe")
        await ask("save", path=str(state))
        await ask("target.delete", target=NAME)
        await ask("backstore.delete", name=NAME)
        await ask("restore", path=str(state))
        assert told_apart(await ask("describe")) == told_apart(before)
        proof = iscsim.ChapConfig(outgoing=iscsim.ChapCredential("chapuser", b"chapsecret12"))
        async with iscsim.connect(portal, NAME, initiator_name=HOST, chap=proof) as session:
            assert len(await session.scan()) == 1
    assert state.stat().st_mode & 0o777 == 0o600
    assert not list(state.parent.glob("*.temp"))


def told_apart(model: Any) -> Any:
    """Without what a file adds: LIO's own defaults."""
    if isinstance(model, dict):
        dropped = ("attributes", "parameters", "write_back")
        return {name: told_apart(each) for name, each in model.items() if name not in dropped}
    return [told_apart(each) for each in model] if isinstance(model, list) else model


async def test_restoring_the_same_keeps_the_data_of_ramdisks_and_ends_sessions(tmp_path: Path) -> None:
    async with iscsim.serve() as target, asked(target) as ask:
        (portal,) = await ask.make_volume()
        await ask.let_in(HOST)
        async with iscsim.connect(portal, NAME, initiator_name=HOST) as session:
            await session.write((await session.scan())[0], 0, b"x" * 512)
            await ask("save", path=str(tmp_path / "state"))
            await ask("restore", path=str(tmp_path / "state"))
            with pytest.raises(iscsim.SessionFailed):
                await session.ping()
        async with iscsim.connect(portal, NAME, initiator_name=HOST) as session:
            assert await session.read((await session.scan())[0], 0, 1) == b"x" * 512


async def test_file_that_cannot_be_restored_changes_nothing(tmp_path: Path) -> None:
    state, disk = tmp_path / "state", tmp_path / "disk.img"
    async with iscsim.serve() as target, asked(target) as ask:
        (portal,) = await ask.make_volume()
        await ask.let_in(HOST)
        await ask("save", path=str(state))
        good = json.loads(state.read_text())
        async with iscsim.connect(portal, NAME, initiator_name=HOST) as session:
            before = await ask("describe")
            for bad, why in broken(good, disk):
                state.write_text(json.dumps(bad))
                with pytest.raises(ConfigError, match=why) as caught:
                    await ask("restore", path=str(state))
                assert "\n" not in str(caught.value)
                assert await ask("describe") == before
                await session.ping()
            state.write_text("{")
            with pytest.raises(ConfigError, match="not JSON"):
                await ask("restore", path=str(state))
            with pytest.raises(ConfigError, match="No such file"):
                await ask("restore", path=str(tmp_path / "nothing"))
    assert not disk.exists()


def broken(good: dict[str, Any], disk: Path) -> list[tuple[Any, str]]:
    """Documents that are wrong in one way each."""

    def changed(change: Any) -> Any:
        document = json.loads(json.dumps(good))
        change(document)
        return document

    def based_on(document: Any, plugin: str, **more: Any) -> None:
        row, lun = document["storage_objects"][-1], document["targets"][-1]["tpgs"][0]["luns"][0]
        row |= {"plugin": plugin} | more
        lun["storage_object"] = f"/backstores/{plugin}/{row['name']}"

    def made_and_then_wrong(document: Any) -> None:
        based_on(document, "fileio", dev=str(disk), size=1 << 20)
        document["targets"][-1]["tpgs"][0]["portals"].append({"ip_address": "not an address!", "port": 3260})

    def twice(document: Any) -> None:
        document["storage_objects"].append(document["storage_objects"][0])

    return [
        (changed(lambda document: based_on(document, "zfs")), "zfs"),
        (changed(twice), "twice"),
        (
            changed(lambda document: based_on(document, "block", dev=str(disk.parent / "nothing"))),
            "No such file",
        ),
        (changed(made_and_then_wrong), "not a portal"),
    ]


async def test_portal_that_is_taken_is_found_before_anything_is_changed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with iscsim.serve() as target, iscsim.serve() as neighbour, asked(target) as ask:
        await ask.make_volume()
        await ask("save", path=str(state))
        document = json.loads(state.read_text())
        port = int(neighbour.portal.rpartition(":")[2])
        document["targets"][-1]["tpgs"][0]["portals"].append({"ip_address": "127.0.0.1", "port": port})
        state.write_text(json.dumps(document))
        before = await ask("describe")
        with pytest.raises(OSError, match="in use"):
            await ask("restore", path=str(state))
        assert await ask("describe") == before


async def test_changes_wait_for_each_other() -> None:
    """Two ask for the same portal at once: one finds that the other has it."""
    async with iscsim.serve() as target, asked(target) as ask:
        (portal,) = await ask.make_volume()
        port = int(portal.rpartition(":")[2])
        await ask("portal.delete", target=NAME, tag=1, address="127.0.0.1", port=port)
        wanted = {"target": NAME, "tag": 1, "address": "127.0.0.1", "port": port}
        done = await asyncio.gather(
            *(ask("portal.create", **wanted) for _ in range(3)), return_exceptions=True
        )
        assert [type(each) for each in done] == [dict, AlreadyExists, AlreadyExists]
