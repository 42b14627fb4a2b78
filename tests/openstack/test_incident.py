"""Two portals, one of them dead: how long the attach takes, what is on the wire, and where the time went."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from faults.world import SmallWorld
from initiator.incident import Silent, recorded

from iscsim.capture import WireRecorder, read_packets
from iscsim.initiator import InitialLoginSettings, LoginAttempt
from iscsim.initiator.timeline import draw_attempts
from iscsim.net.virtual_loop import VirtualLoop
from iscsim.openstack.attach import AttachedVolume, NoPathWorks, attach
from iscsim.openstack.connection_info import ConnectionInfo, parse_connection_info

INITIATOR = "iqn.1993-08.org.debian:01:compute"
OS_BRICK = Path(__file__).parents[1] / "golden" / "os-brick-7.1.1-two-paths-then-silent-portal.log"


def connection_info(world: SmallWorld, first: str = "10.245.47.95:3260") -> ConnectionInfo:
    return parse_connection_info(
        {
            "target_portals": [first, "10.245.47.96:3260"],
            "target_iqns": [world.target.name] * 2,
            "target_luns": [197, 197],
        }
    )


async def attach_in(world: SmallWorld, info: ConnectionInfo, **options: Any) -> AttachedVolume:
    options = {"retry": InitialLoginSettings()} | options
    return await attach(info, initiator_name=INITIATOR, network=world.compute, **options)


def run(body: Callable[[SmallWorld], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with SmallWorld(luns={197: "1M"}) as world:
            return await body(world)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def recorded_seconds(portal: str) -> float:
    """Of one login with the default settings."""
    return next(row.seconds for row in recorded() if row.portal == portal)


def test_one_blackholed_portal_costs_what_was_recorded_and_the_other_works() -> None:
    async def body(world: SmallWorld) -> None:
        world.fault("net.blackhole", portal=world.portals[0])
        with world.taking(recorded_seconds("10.245.47.93:3260"), within=2):
            volume = await attach_in(world, connection_info(world))
        assert [path.spec.host for path in volume.working] == ["10.245.47.96"]
        ((spec, reason),) = volume.failed.items()
        assert spec.host == "10.245.47.95"
        assert "(8 - connection timed out) after 122 s and 8 attempts" in reason
        await volume.device.write(0, b"x" * 512)
        assert bytes(await volume.device.read(0, 1)) == b"x" * 512
        await volume.detach()

    run(body)


def test_silent_portal_costs_what_iscsiadm_took_under_os_brick() -> None:
    pattern = r'10\.245\.47\.94:3260 --login" returned: 11 in ([\d.]+)s'
    seconds = re.search(pattern, OS_BRICK.read_text(encoding="utf-8"))
    assert seconds is not None

    async def body(world: SmallWorld) -> None:
        silent = world.network.add_host("silent", "10.245.47.94")
        await silent.listen("10.245.47.94", 3260, Silent)
        with world.taking(float(seconds[1]), within=2):
            volume = await attach_in(world, connection_info(world, "10.245.47.94:3260"))
        ((_, reason),) = volume.failed.items()
        assert "(11 - iSCSI PDU timed out)" in reason
        await volume.detach()

    run(body)


def test_unanswered_syns_are_in_the_capture_with_the_fault_on_them(tmp_path: Path) -> None:
    path = tmp_path / "incident.pcapng"

    async def body(world: SmallWorld) -> str:
        with WireRecorder(path) as recorder:
            world.network.recorder = recorder
            rule = world.fault("net.blackhole", portal=world.portals[0])
            volume = await attach_in(world, connection_info(world))
            await volume.detach()
            return rule.id

    rule = run(body)
    to_blackhole = [packet for packet in read_packets(path) if packet.data[30:34] == bytes([10, 245, 47, 95])]
    # SYNs at 0, 1, 3 and 7 s of each of the eight attempts, and one when its 15 s are over
    assert 8 * 4 <= len(to_blackhole) <= 8 * 5
    assert path.read_bytes().count(f"[{rule} #".encode()) == len(to_blackhole)
    assert not any(packet.data[26:30] == bytes([10, 245, 47, 95]) for packet in read_packets(path))


def test_no_portal_that_works_takes_no_longer_than_one() -> None:
    async def body(world: SmallWorld) -> None:
        world.fault("net.blackhole")
        with world.taking(122, within=0.1), pytest.raises(NoPathWorks) as caught:
            await attach_in(world, connection_info(world))
        assert len(caught.value.failed) == 2

    run(body)


def test_time_line_shows_a_bar_for_each_portal() -> None:
    async def body(world: SmallWorld) -> None:
        world.fault("net.blackhole", portal=world.portals[0])
        seen: list[LoginAttempt] = []
        volume = await attach_in(world, connection_info(world), on_attempt=seen.append)
        await volume.detach()
        _, first, second, _ = sorted(draw_attempts(seen).splitlines(), key=lambda line: "10.245" not in line)[
            ::-1
        ]
        assert {first.count("|xxx"), second.count("|xxx")} == {8, 0}

    run(body)
