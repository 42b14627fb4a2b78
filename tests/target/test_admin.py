"""The control socket's methods, asked of a target that real sessions use."""

from __future__ import annotations

import json

import pytest

import iscsim
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


async def test_session_that_does_not_exist_cannot_be_ended() -> None:
    async with iscsim.serve() as target:
        with pytest.raises(iscsim.ConfigError, match="no session with handle 7"):
            await TargetAdmin(target.server.entity, lambda: None).end_session(tsih=7)


async def test_stop_is_passed_on() -> None:
    stopped: list[bool] = []
    async with iscsim.serve() as target:
        assert await TargetAdmin(target.server.entity, lambda: stopped.append(True)).stop()
    assert stopped == [True]
