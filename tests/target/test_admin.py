"""The control socket's methods, asked of a target that real sessions use."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

import iscsim
from iscsim.errors import LocalProtocolError
from iscsim.initiator.events import AsyncMessageReceived
from iscsim.session.events import ConnectionEnded
from iscsim.target.admin import TargetAdmin

HOST = "iqn.1993-08.org.debian:01:host"


async def test_targets_are_shown_without_secrets() -> None:
    async with iscsim.serve(luns={1: "1M,readonly"}, initiators=[f"{HOST}:user:secret"]) as target:
        (row,) = await TargetAdmin(target.server.entity, lambda: None).targets()
    assert row["name"] == target.name
    assert row["portals"] == [{"portal": target.portal, "portal_group_tag": 1}]
    assert [(lun["lun"], lun["blocks"], lun["read_only"]) for lun in row["luns"]] == [(1, 2048, True)]
    assert row["acls"] == [{"initiator": HOST, "chap": True}]
    assert "secret" not in json.dumps(row)


async def test_session_can_be_ended_from_outside() -> None:
    async with iscsim.serve() as target:
        admin = TargetAdmin(target.server.entity, lambda: None)
        async with iscsim.connect(target.portal, target.name, initiator_name=HOST) as session:
            (row,) = await admin.sessions()
            assert (row["initiator"], row["target"], row["type"]) == (HOST, target.name, "Normal")
            assert await admin.end_session(tsih=row["tsih"]) == row
            assert await admin.sessions() == []
            with pytest.raises(iscsim.SessionFailed):
                await session.ping()


async def test_session_that_is_ended_was_asked_to_log_out_first() -> None:
    async with iscsim.serve() as target:
        admin = TargetAdmin(target.server.entity, lambda: None)
        async with iscsim.connect(target.portal, target.name, initiator_name=HOST) as session:
            (row,) = await admin.sessions()
            await admin.end_session(tsih=row["tsih"], time_s=60)
            assert not session.is_open
            with pytest.raises(iscsim.SessionFailed):
                await session.ping()


async def test_session_without_time_is_dropped_at_once() -> None:
    async with iscsim.serve() as target:
        admin = TargetAdmin(target.server.entity, lambda: None)
        async with iscsim.connect(target.portal, target.name) as session:
            (row,) = await admin.sessions()
            ended = asyncio.Event()
            session.on_event(lambda event: isinstance(event, ConnectionEnded) and ended.set())
            await admin.request_logout(tsih=row["tsih"], time_s=0)
            await ended.wait()
            assert "asynchronous event 3" in str(session.failure)


async def test_events_are_sent_over_the_control_socket() -> None:
    async with iscsim.serve() as target:
        admin = TargetAdmin(target.server.entity, lambda: None)
        async with iscsim.connect(target.portal, target.name) as session:
            seen: list[Any] = []
            session.on_event(seen.append)
            (row,) = await admin.sessions()
            fields = {"vendor_code": 3, "parameter_1": 1, "parameter_2": 2, "parameter_3": 4}
            assert await admin.send_async(tsih=row["tsih"], event=255, data="6869", **fields)
            assert await admin.send_async(tsih=row["tsih"], event=0, lun="0001" + "00" * 6, sense="70" * 18)
            await session.ping()
            events = [event for event in seen if isinstance(event, AsyncMessageReceived)]
            assert events == [
                AsyncMessageReceived(255, bytes(8), 3, 1, 2, 4),
                AsyncMessageReceived(0, b"\0\1" + bytes(6), 0, 0, 0, 0, b"\x70" * 18),
            ]


async def test_events_that_are_none_are_refused() -> None:
    async with iscsim.serve() as target:
        admin = TargetAdmin(target.server.entity, lambda: None)
        async with iscsim.connect(target.portal, target.name):
            (row,) = await admin.sessions()
            with pytest.raises(iscsim.ConfigError, match="send_async"):
                await admin.send_async(tsih=row["tsih"], event=255, data="nothing")
            with pytest.raises(LocalProtocolError, match="asynchronous event 6"):
                await admin.send_async(tsih=row["tsih"], event=6)


async def test_session_that_does_not_exist_cannot_be_ended() -> None:
    async with iscsim.serve() as target:
        with pytest.raises(iscsim.ConfigError, match="no session with handle 7"):
            await TargetAdmin(target.server.entity, lambda: None).end_session(tsih=7)


async def test_stop_is_passed_on() -> None:
    stopped: list[bool] = []
    async with iscsim.serve() as target:
        assert await TargetAdmin(target.server.entity, lambda: stopped.append(True)).stop()
    assert stopped == [True]


async def test_access_state_is_changed_and_shown() -> None:
    async with iscsim.serve(luns={1: "1M", 2: "1M"}, portals=2) as target:
        admin = TargetAdmin(target.server.entity, lambda: None)
        await admin.set_access_state(target.name, 2, "standby", lun=1)
        row = await admin.set_access_state(target.name, 1, "active/non-optimized")
        assert row == (await admin.targets())[0]
    shown = {lun["lun"]: [each["state"] for each in lun["access_states"]] for lun in row["luns"]}
    assert shown == {
        1: ["active/non-optimized", "standby"],
        2: ["active/non-optimized", "active/optimized"],
    }
    assert row["luns"][0]["access_states"][1] == {
        "portal_group_tag": 2,
        "state": "standby",
        "preferred": False,
    }


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"target": "iqn.none"}, "no target 'iqn.none'"),
        ({"portal_group": 3}, "no portal group 3"),
        ({"lun": 7}, "no LUN 7"),
        ({"state": "asleep"}, "access state 'asleep': expected one of"),
        ({"state": "logical-block-dependent"}, "does not support"),
        ({"portal_group": "1"}, "portal_group is a tag"),
        ({"lun": "some"}, "lun is a number or all"),
        ({"state": ["standby"]}, "expected one of"),
        ({"target": ["x"]}, "no target"),
    ],
)
async def test_access_state_that_cannot_be_is_refused(arguments: dict[str, Any], complaint: str) -> None:
    async with iscsim.serve() as target:
        admin = TargetAdmin(target.server.entity, lambda: None)
        wanted = {"target": target.name, "portal_group": 1, "state": "standby"} | arguments
        with pytest.raises(iscsim.ConfigError, match=complaint):
            await admin.set_access_state(**wanted)
