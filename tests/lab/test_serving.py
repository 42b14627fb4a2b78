"""``iscsim.serve``: a target in one line."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import iscsim
from iscsim import ConnectionFailed, connect, serve
from iscsim.initiator.events import AsyncMessageReceived
from iscsim.pdu import AsyncEvent
from iscsim.scsi import cdb
from iscsim.scsi.lun import encode_lun


async def test_portals_have_real_ports_in_the_order_of_their_groups() -> None:
    async with iscsim.serve(portals=2) as target:
        assert len({portal.rpartition(":")[2] for portal in target.portals}) == 2
        assert "127.0.0.1:0" not in target.portals
        assert target.portal == target.portals[0]


async def test_sessions_are_those_logged_in_now() -> None:
    async with iscsim.serve() as target:
        assert target.sessions == []
        async with iscsim.connect(target.portal, target.name, initiator_name="iqn.2026-11.test:host"):
            assert [session.initiator_name for session in target.sessions] == ["iqn.2026-11.test:host"]
        assert target.sessions == []


async def test_lun_may_be_mapped_while_a_session_lives() -> None:
    unit = iscsim.LogicalUnit(iscsim.MemoryStore(2048), serial="late")
    async with iscsim.serve() as target, iscsim.connect(target.portal, target.name) as session:
        await session.scan()
        target.lun_map.add(5, unit)
        added, removed = await session.rescan()
        assert ([found.number for found in added], removed) == ([5], [])


async def test_lun_may_be_described_as_for_serve_while_a_session_lives() -> None:
    async with iscsim.serve() as target, iscsim.connect(target.portal, target.name) as session:
        await session.scan()
        target.add_lun(5, "1M,readonly")
        (unit,), removed = await session.rescan()
        assert (unit.number, unit.size, unit.read_only, removed) == (5, 1 << 20, True, [])
        with pytest.raises(iscsim.ConfigError, match="mapped already"):
            target.add_lun(5, "1M")


async def test_access_state_is_changed_while_a_session_lives() -> None:
    async with iscsim.serve(portals=2) as target, iscsim.connect(target.portals[1], target.name) as session:
        (unit,) = await session.scan()
        target.set_access_state(2, "standby")
        with pytest.raises(iscsim.CommandFailed, match="target port in standby state"):
            await session.read(unit, 0, 1)
        target.set_access_state(2, "active/optimized", lun=1)
        assert await session.read(unit, 0, 1) == bytes(512)


@pytest.mark.parametrize("state", ["standby", "unavailable", "offline", "transitioning"])
async def test_path_that_is_not_active_is_not_in_the_way(state: str) -> None:
    async with (
        iscsim.serve(portals=2) as target,
        iscsim.connect(target.portals[0], target.name) as first,
        iscsim.connect(target.portals[1], target.name) as second,
    ):
        target.set_access_state(2, state)
        (disk,) = await iscsim.group_paths([first, second])
        hidden = state == "unavailable"  # then INQUIRY says that no unit is connected
        assert [path.session for path in disk.paths] == ([first] if hidden else [first, second])
        target.set_access_state(2, "standby")
        for lba in range(4):
            await disk.write(lba, b"x" * 512)
        assert [path.session for path in disk.active_paths] == [first]


async def test_what_is_no_unit_is_refused_at_once() -> None:
    async with iscsim.serve() as target:
        with pytest.raises(iscsim.ConfigError, match="expected a LogicalUnit, not '64M'"):
            target.lun_map.add(8, "64M")  # type: ignore[arg-type]


async def test_two_targets_are_two_disks() -> None:
    async with iscsim.serve() as first, iscsim.serve() as second:
        assert first.name != second.name
        async with (
            iscsim.connect(first.portal, first.name) as one,
            iscsim.connect(second.portal, second.name) as other,
        ):
            assert len(await iscsim.group_paths([one, other])) == 2
    async with iscsim.serve() as again:
        assert again.name == first.name


async def test_description_with_a_mistake_is_refused() -> None:
    with pytest.raises(iscsim.ConfigError, match="not a LUN"):
        async with iscsim.serve(luns={1: ""}):
            pass


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"portals": []}, "portals is .., expected their number from 1"),
        ({"portals": 0}, "portals is 0, expected"),
        ({"portals": True}, "portals is True, expected"),
        ({"portals": "127.0.0.1:0"}, "expected their number from 1, or a list"),
        ({"portals": [3260]}, "or a list as"),
        ({"luns": ["64M"]}, "luns is .'64M'., expected LUNs and what they are"),
        ({"luns": {1: 64}}, "as in {1: '64M'}"),
        ({"initiators": "iqn.2026-11.test:a"}, "initiators is 'iqn.2026-11.test:a', expected a list"),
        ({"target": 3}, "target is 3, expected a name"),
    ],
)
async def test_description_of_another_kind_is_refused_in_one_line(given: Any, said: str) -> None:
    with pytest.raises(iscsim.ConfigError, match=said):
        async with iscsim.serve(**given):
            pass
    given = {"name": given.pop("target"), **given} if "target" in given else given
    async with iscsim.Lab(network="tcp") as lab:
        with pytest.raises(iscsim.ConfigError, match=said):
            await lab.target(**given)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("10.0.0.1:0",), "expected HOST:PORT without"),
        ((3,), "redirection to 3: expected HOST:PORT, or None"),
        (("10.0.0.1", 2), "has 2 portals, from 0, and no portal 2"),
        (("10.0.0.1", -1), "no portal -1"),
        ((None, True), "no portal True"),
        ((None, "10.0.0.1"), "no portal '10.0.0.1'"),
    ],
)
async def test_redirection_that_makes_no_sense_is_refused(arguments: Any, said: str) -> None:
    async with serve(portals=2) as target:
        with pytest.raises(iscsim.ConfigError, match=said):
            target.redirect(*arguments)
        with pytest.raises(iscsim.ConfigError, match="permanent is 'yes'"):
            target.redirect("10.0.0.1", permanent="yes")  # type: ignore[arg-type]


async def test_everybody_is_asked_to_log_out_and_does() -> None:
    async with serve(portals=2) as target:
        async with connect(target.portals[0], target.name), connect(target.portals[1], target.name):
            gone = asyncio.Event()
            target.sessions[1].when_ended.append(gone.set)
            target.request_logout(60)
            await gone.wait()
            assert target.sessions == []


async def test_negotiation_request_is_honoured() -> None:
    async with serve() as target:
        async with connect(target.portal, target.name) as session:
            seen: list[Any] = []
            session.on_event(seen.append)
            target.send_async(AsyncEvent.NEGOTIATION_REQUESTED, parameter_3=5)
            await session.ping()
            assert [type(event) for event in seen] == [AsyncMessageReceived]
            assert session.is_open


@pytest.mark.parametrize("portal", [0, None], ids=["portal", "target"])
async def test_redirection_is_followed(portal: int | None) -> None:
    async with serve(portals=2) as target:
        first, second = target.portals
        target.redirect(second, portal)
        async with connect(first, target.name) as session:
            assert str(session.portal) == second
            assert await session.read(1, 0, 1) == bytes(512)
        target.redirect(None, portal)
        async with connect(first, target.name) as session:
            assert str(session.portal) == first


async def test_redirection_in_a_circle_has_an_end() -> None:
    async with serve(portals=2) as target:
        target.redirect(target.portals[1], 0)
        target.redirect(target.portals[0], 1, permanent=True)
        with pytest.raises(ConnectionFailed, match="more than 4 redirections"):
            await connect(target.portal, target.name)


async def test_capture_is_written(tmp_path: Path) -> None:
    async with iscsim.serve(pcap=tmp_path / "a.pcapng") as target:
        async with iscsim.connect(target.portal, target.name) as session:
            await session.ping()
    assert (tmp_path / "a.pcapng").read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"


def test_every_public_name_can_be_loaded() -> None:
    for name in iscsim.__all__:
        assert getattr(iscsim, name) is not None
    assert set(dir(iscsim)) >= set(iscsim.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        iscsim.nothing  # noqa: B018


async def _reserve_out(
    session: iscsim.Session, action: int, key: int, action_key: int = 0, aptpl: int = 0
) -> int:
    data = key.to_bytes(8, "big") + action_key.to_bytes(8, "big") + bytes([0, 0, 0, 0, aptpl, 0, 0, 0])
    command = cdb.persistent_reserve_out(action, reservation_type=1, parameter_list_length=len(data))
    return (await session.execute(1, command, data_out=data)).status


async def test_a_persistent_reservation_survives_in_the_state(tmp_path: Path) -> None:
    register, reserve, isid = 0, 1, bytes.fromhex("00023d000001")
    async with (
        iscsim.serve(state=tmp_path) as target,
        iscsim.connect(target.portal, target.name, isid=isid) as session,
    ):
        await session.scan()
        assert await _reserve_out(session, register, 0, 7, aptpl=1) == 0
        assert await _reserve_out(session, reserve, 7) == 0
    async with (
        iscsim.serve(state=tmp_path) as target,
        iscsim.connect(target.portal, target.name, isid=isid) as holder,
        iscsim.connect(target.portal, target.name) as stranger,
    ):
        await holder.write(1, 0, bytes(512))
        with pytest.raises(iscsim.CommandFailed, match="RESERVATION CONFLICT"):
            await stranger.write(1, 0, bytes(512))


async def test_a_state_is_used_by_one_server_at_a_time_and_by_lun_that_come_later(tmp_path: Path) -> None:
    async with iscsim.serve(state=tmp_path) as target:
        with pytest.raises(iscsim.ConfigError, match="another iscsim uses it"):
            async with iscsim.serve(state=tmp_path):
                pass
        target.add_lun(2, "1M")
        assert all(mapped.logical_unit.reservations.can_survive_power_loss for mapped in target.lun_map)
        with pytest.raises(iscsim.ConfigError, match="another logical unit has the WWN"):
            target.add_lun(3, f"1M,wwn={target.lun_map.lookup(encode_lun(2)).logical_unit.wwn}")
    async with iscsim.serve(state=tmp_path):
        pass
