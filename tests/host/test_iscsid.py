"""iscsid: sessions of node records, one after the other or several at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from iscsim.host.settings import HostSettings
from iscsim.lab import Lab

from .world import ARRAY, PORTALS, log_in, make_host, play

NODE = ("iscsiadm", "-m", "node", "-T", ARRAY, "-p", PORTALS[0])


def test_number_of_a_session_is_never_used_twice() -> None:
    async def story(lab: Lab) -> Any:
        host = await make_host(lab)
        await host.execute(*NODE, "-o", "new")
        found = []
        for _ in range(3):
            await host.execute(*NODE, "-l")
            found += [(each.sid, each.adapter.number) for each in host.iscsid.sessions.values()]
            await host.execute(*NODE, "-u")
        return found

    assert play(story) == [(1, 2), (2, 2), (3, 2)]


@pytest.mark.parametrize(
    ("scan", "manual", "disks"), [("auto", True, 1), ("manual", True, 0), ("manual", False, 1)]
)
def test_login_scans_unless_it_is_manual_and_that_is_known(scan: str, manual: bool, disks: int) -> None:
    async def story(lab: Lab) -> Any:
        host = await make_host(lab, HostSettings(manual_scan=manual))
        await host.execute(*NODE, "-o", "new")
        await host.execute(*NODE, "-o", "update", "-n", "node.session.scan", "-v", scan)
        await host.execute(*NODE, "-l")
        return len(host.kernel.disks)

    assert play(story) == disks


def test_two_sessions_of_one_record() -> None:
    async def story(lab: Lab) -> Any:
        host = await make_host(lab, HostSettings(iscsid_conf={"node.session.nr_sessions": "2"}))
        await host.execute(*NODE, "-o", "new")
        await host.execute(*NODE, "-l")
        (record,) = host.nodes
        return len(host.iscsid.find(ARRAY)), sorted(host.kernel.disks), record.settings.nr_sessions

    assert play(story) == (2, ["sda", "sdb"], 2)


def test_login_under_way_is_a_session_without_disks_and_leaves_none_when_it_fails() -> None:
    async def story(lab: Lab) -> Any:
        host = await make_host(lab)
        await host.execute(*NODE, "-o", "new")
        lab.fault("login.no_response", portal=PORTALS[0])
        login = asyncio.ensure_future(host.execute(*NODE, "-l"))
        await asyncio.sleep(20)
        during = [each.is_up for each in host.iscsid.sessions.values()], list(host.kernel.adapters)
        result = await login
        return during, result.exit_code, host.iscsid.sessions, host.kernel.adapters

    assert play(story) == (([False], [2]), 11, {}, {})


def test_session_that_is_cancelled_while_it_logs_in_leaves_nothing() -> None:
    async def story(lab: Lab) -> Any:
        host = await make_host(lab)
        await host.execute(*NODE, "-o", "new")
        lab.fault("login.no_response", portal=PORTALS[0])
        login = asyncio.ensure_future(host.execute(*NODE, "-l"))
        await asyncio.sleep(20)
        login.cancel()
        await asyncio.wait([login])
        return host.iscsid.sessions, host.kernel.adapters

    assert play(story) == ({}, {})


def test_closing_ends_all_sessions_and_may_be_done_twice() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab)
        await host.close()
        await host.close()
        return host.iscsid.sessions, lab.live_target(ARRAY).sessions

    assert play(story) == ({}, [])
