"""A host of a lab: sessions, scans, discovery, volumes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from iscsim import BrokenInvariant, ConfigError, ConnectionFailed
from iscsim.lab import Lab


def test_host_logs_in_with_its_own_name_and_address() -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target()
        host = lab.host("compute", "10.245.47.93")
        async with host.connect(target):
            (session,) = target.sessions
            assert session.initiator_name == host.initiator_name == "iqn.2026-11.org.iscsim:compute"

    Lab.run(main)


def test_refused_login_is_in_the_trace() -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target()
        lab.fault("net.refuse")
        with pytest.raises(ConnectionFailed):
            await lab.host("compute").connect(target)
        assert any(
            '"event":"login failed"' in line and '"host":"compute"' in line for line in lab.trace.lines
        )

    Lab.run(main)


def test_lost_path_comes_back_by_itself_and_reconnecting_waits_for_it() -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target(portals=2)
        host = lab.host("compute")
        volume = await host.attach(target)
        lab.fault("tcp.reset", portal=target.portals[0]).times(1)
        await volume.device.check()
        assert len(volume.working) == 2
        volume.paths[0].session.drop("the test wants it")
        assert len(volume.working) == 1
        await host.reconnect(volume)
        assert len(volume.working) == 2
        await host.detach(volume)
        states = [each["state"] for each in map(json.loads, lab.trace.lines) if "state" in each]
        assert states == ["FAILED", "LOGGED_IN"] * 2 + ["FREE"] * 2

    Lab.run(main)


@pytest.mark.parametrize("volume", [7, "iqn.2026-11.test:a"])
def test_attach_takes_no_other_thing(volume: Any) -> None:
    async def main(lab: Lab) -> None:
        with pytest.raises(ConfigError, match="a target or a connection_info"):
            await lab.host("compute").attach(volume)

    Lab.run(main)


def test_session_that_lives_is_in_the_trace_with_every_change() -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target()
        session = await lab.host("compute").log_in(target)
        session.drop("the test wants it")
        assert await session.recovered()
        await session.close()
        events = [json.loads(line) for line in lab.trace.lines]
        states = [each["state"] for each in events if each["event"] == "session state"]
        assert states == ["FAILED", "LOGGED_IN", "FREE"]
        assert [each["event"] for each in events].count("login") == 2

    Lab.run(main)


def test_session_that_lives_and_is_left_behind_is_noticed() -> None:
    async def main(lab: Lab) -> None:
        session = await lab.host("compute").log_in(await lab.target())
        session.drop("the test wants it")
        assert await session.recovered()

    with pytest.raises(BrokenInvariant, match="compute left a session behind"):
        Lab.run(main)
