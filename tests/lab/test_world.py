"""A lab: targets, hosts, faults, trace and capture of one world, on either network."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from iscsim import BrokenInvariant, CommandFailed, ConfigError, ConnectionFailed, FaultError
from iscsim.lab import Lab
from iscsim.lab.addresses import run_virtual

PORTALS = ["10.245.47.95:3260", "10.245.47.96:3260"]
ON_BOTH = pytest.mark.parametrize("network", ["memory", "tcp"])


async def attach_and_use(lab: Lab) -> None:
    target = await lab.target(portals=PORTALS, luns={1: "1M"})
    volume = await lab.host("compute").attach(target)
    assert len(volume.working) == 2
    await volume.device.write(8, b"w" * 4096)
    assert bytes(await volume.device.read(8, 8)) == b"w" * 4096
    await lab.host("compute").detach(volume)


@ON_BOTH
def test_the_same_program_runs_on_both_networks(network: str, tmp_path: Path) -> None:
    from iscsim.capture import read_packets

    Lab.run(attach_and_use, network=network, pcap=tmp_path / "a.pcapng")
    shown = b"".join(packet.data for packet in read_packets(tmp_path / "a.pcapng"))
    assert bytes([10, 245, 47, 95]) in shown
    assert bytes([10, 245, 47, 96]) in shown


def test_silent_portal_takes_the_login_timeout_in_virtual_time() -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target(portals=PORTALS)
        rule = lab.fault("net.blackhole", portal=PORTALS[0])
        volume = await lab.host("compute").attach(target)
        assert lab.now == pytest.approx(15.0, abs=0.1)
        assert (len(volume.working), rule.fired > 1) == (1, True)
        await volume.detach()

    Lab.run(main)


def trace_of(seed: int) -> str:
    async def main(lab: Lab) -> str:
        await attach_and_use(lab)
        return lab.trace.sha256

    return Lab.run(main, seed=seed)


def test_same_seed_is_the_same_trace_here_and_in_another_process() -> None:
    program = "from lab.test_world import trace_of; print(trace_of(3))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=60, check=True
    )
    assert trace_of(3) == trace_of(3) == done.stdout.strip()
    assert trace_of(4) != trace_of(3)


@ON_BOTH
def test_refused_portal_is_refused_by_its_name(network: str) -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target(portals=PORTALS)
        lab.fault("net.refuse", portal=PORTALS[1])
        with pytest.raises(ConnectionFailed, match="refused"):
            await lab.host("compute").connect(target, 1)

    Lab.run(main, network=network)


def test_fault_that_never_fires_fails_the_lab_even_after_heal() -> None:
    async def main(lab: Lab) -> None:
        await lab.target()
        lab.fault("login.no_response")
        lab.heal()

    with pytest.raises(FaultError, match=r"login.no_response-1 .* never fired"):
        Lab.run(main)


def test_heal_lets_a_killed_target_come_back() -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target()
        host = lab.host("compute")
        lab.fault("target.kill")
        await lab.settle()
        with pytest.raises(ConnectionFailed, match="refused"):
            await host.connect(target)
        lab.heal()
        await lab.settle()
        assert [unit.number for unit in await host.scan(target)] == [1]

    Lab.run(main)


def test_gate_opens_with_its_flag() -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target()
        lab.fault("medium.read").gate("flag:bad")
        async with lab.host("compute").connect(target) as session:
            await session.read(1, 0, 1)
            lab.flag("bad")
            with pytest.raises(CommandFailed):
                await session.read(1, 0, 1)

    Lab.run(main)


def test_session_left_open_is_named() -> None:
    async def main(lab: Lab) -> None:
        await lab.host("compute").connect(await lab.target())

    with pytest.raises(BrokenInvariant, match="compute left a session behind"):
        Lab.run(main)


def test_protocol_error_nobody_expected_is_named() -> None:
    async def main(lab: Lab) -> None:
        await lab.target()
        _, writer = await asyncio.open_connection("10.245.47.95", 3260)
        writer.write(bytes(48))
        await writer.drain()
        await lab.settle()
        writer.close()

    with pytest.raises(BrokenInvariant, match=r"10\.245\.47\.95:3260, peer .*: "):
        Lab.run(main)


def test_protocol_error_somebody_expects_is_none() -> None:
    async def main(lab: Lab) -> None:
        lab.expect_error("RFC 7143")
        await lab.target()
        _, writer = await asyncio.open_connection("10.245.47.95", 3260)
        writer.write(bytes(48))
        await writer.drain()
        await lab.settle()
        writer.close()

    Lab.run(main)


def test_block_that_is_not_as_it_was_written_is_named() -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target()
        async with lab.host("compute").connect(target) as session:
            await session.write(1, 0, b"a" * 512)
        (unit,) = target.node.units()
        unit.store.inner.write(0, b"b" * 512)  # type: ignore[attr-defined]

    with pytest.raises(BrokenInvariant, match="block 0 holds 6262"):
        Lab.run(main)


def test_block_that_a_fault_has_changed_is_excused() -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target()
        lab.fault("disk.lost_write")
        async with lab.host("compute").connect(target) as session:
            await session.write(1, 0, b"a" * 512)

    Lab.run(main)


def test_discovery_and_targets_in_turn_have_addresses_of_their_own() -> None:
    async def main(lab: Lab) -> list[str]:
        first = await lab.target("iqn.2026-11.test:a", portals=2)
        second = await lab.target("iqn.2026-11.test:b")
        (found,) = await lab.host("compute").discover(second)
        assert found.name == second.name
        return [*first.portals, *second.portals]

    assert Lab.run(main) == [f"10.245.47.{number}:3260" for number in (95, 96, 97)]


@pytest.mark.parametrize(
    "wrong, what",
    [
        (lambda lab: Lab("cloud"), "expected 'memory' or 'tcp'"),  # type: ignore[arg-type]
        (lambda lab: lab.fault("net.blakhole"), "did you mean 'net.blackhole'"),
        (lambda lab: lab.fault("net.refuse", portal="10.0.0.1:3260"), "nobody has portal"),
        (lambda lab: lab.live_target("iqn.2026-11.test:x"), "there are: iqn.2026-11.org.iscsim:disk"),
        (lambda lab: lab.host("compute", "10.245.47.95"), "is the address of array/eth0 already"),
    ],
)
def test_what_is_not_there_is_refused(wrong: Any, what: str) -> None:
    async def main(lab: Lab) -> None:
        await lab.target()
        with pytest.raises(ConfigError, match=what):
            wrong(lab)

    Lab.run(main)


def test_a_lab_works_within_any_running_loop() -> None:
    async def main() -> None:
        async with Lab(seed=1) as lab:
            await attach_and_use(lab)

    asyncio.run(main())
    run_virtual(main())


def test_outages_that_overlap_end_with_the_target_back() -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target()
        lab.fault("target.restart", after=3)
        lab.fault("target.failover", gap=3)
        await lab.settle(5)
        assert [unit.number for unit in await lab.host("compute").scan(target)] == [1]

    Lab.run(main)


def test_target_without_luns_has_none_in_a_lab_too() -> None:
    async def main(lab: Lab) -> None:
        empty, default = await lab.target("iqn.2026-11.test:empty", luns={}), await lab.target()
        host = lab.host("compute")
        assert (await host.scan(empty), [unit.number for unit in await host.scan(default)]) == ([], [1])

    Lab.run(main)
