"""Faults of the network, as our initiator sees them in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from faults.world import SmallWorld

from iscsim.errors import ConfigError, ConnectionFailed, FaultError, ISCSIError, SessionFailed
from iscsim.session.parameters import Wishes

CONNECTING = [
    ("net.blackhole", {}, "within 15 s", 15.0),
    ("net.blackhole", {"dir": "to_initiator"}, "within 15 s", 15.0),
    ("net.blackhole", {"dst": "10.245.47.95", "port": 3260}, "within 15 s", 15.0),
    ("net.refuse", {}, "Connection refused", 0.0),
    ("net.refuse", {"portal": "10.245.47.95:*"}, "Connection refused", 0.0),
    ("net.unreachable", {}, "No route to host", 0.0),
    ("net.unreachable", {"code": "net"}, "Network is unreachable", 0.0),
    ("net.unreachable", {"code": "prohibited"}, "No route to host", 0.0),
    ("net.partition", {"groups": [["compute"], ["array"]]}, "within 15 s", 15.0),
]


@pytest.mark.parametrize("name, given, message, seconds", CONNECTING)
async def test_connect_fails(
    world: SmallWorld, name: str, given: dict[str, Any], message: str, seconds: float
) -> None:
    rule = world.fault(name, **given)
    with world.taking(seconds), pytest.raises(ConnectionFailed, match=message):
        await world.connect()
    syns = [frame for frame in world.commented(rule) if frame.kind == "syn"]
    assert len(syns) == (4 if seconds else 1)  # at 0, 1, 3 and 7 s
    async with world.connect(1) if "portal" in given or "dst" in given else contextlib.nullcontext():
        pass  # the other portal is well


async def test_silent_portal_is_given_up_after_127_s_without_a_login_timeout(world: SmallWorld) -> None:
    world.fault("net.blackhole")
    with world.taking(127.0), pytest.raises(ConnectionFailed, match="Connection timed out"):
        await world.connect(login_timeout_s=0)


STALLING = [
    ("net.blackhole", {"portal": "10.245.47.95:3260"}),
    ("net.blackhole", {"dir": "to_target"}),
    ("net.partition", {"groups": [["compute"], ["array", "other"]]}),
    ("net.nic_down", {"nic": "array/eth0"}),
    ("net.nic_down", {"nic": "compute/eth0"}),
]


@pytest.mark.parametrize("name, given", STALLING)
async def test_session_is_lost_with_its_pings(world: SmallWorld, name: str, given: dict[str, Any]) -> None:
    world.network.add_host("other", "10.245.47.200")
    session = await world.connect()
    world.fault(name, **given)
    with world.taking(10.0), pytest.raises(SessionFailed, match="no answer to a ping within 5 s"):
        await session.read(1, lba=0, blocks=8)


async def test_partition_heals(world: SmallWorld) -> None:
    session = await world.connect()
    world.fault("net.partition", groups=[["compute"], ["array"]], heal_after="4s")
    with world.taking(6.2, within=0.1):  # retransmitted 0.2, 0.6, 1.4, 3.0 and 6.2 s after the first
        assert await session.read(1, lba=0, blocks=8) == bytes(4096)
    assert session.is_open


@pytest.mark.parametrize(
    "groups, message",
    [
        ([["compute"]], "two or more lists"),
        ([["compute"], []], "two or more lists"),
        (["compute", "array"], "two or more lists"),
        ([["compute"], ["compute"]], "in one group"),
        ([["compute"], ["arry"]], "did you mean 'array'"),
        ("compute", "expected a list"),
    ],
)
async def test_partition_needs_groups_of_hosts(world: SmallWorld, groups: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        world.fault("net.partition", groups=groups)


async def test_nic_comes_up_again_at_the_end_of_its_time(world: SmallWorld) -> None:
    session = await world.connect()
    world.fault("net.nic_down", nic="compute/eth0").after(2).until(5)
    await asyncio.sleep(3)
    with world.taking(3.0):  # sent again after 0.2, 0.6, 1.4 and 3.0 s
        await session.read(1, lba=0, blocks=8)
    world.engine.reset()
    assert session.is_open


async def test_nic_comes_up_when_the_fault_is_removed(world: SmallWorld) -> None:
    rule = world.fault("net.nic_down", nic="array/eth0")
    await asyncio.sleep(0.001)
    card = world.network.topology.cards("array")["eth0"]
    assert not card.up
    world.engine.remove(rule.id)
    assert card.up


async def test_the_other_path_goes_on_when_a_nic_is_down(world: SmallWorld) -> None:
    async with world.connect(1) as session:
        world.fault("net.nic_down", nic="array/eth0")
        with world.taking(0.0):
            await session.read(1, lba=0, blocks=8)


async def test_moved_address_resets_the_session(world: SmallWorld) -> None:
    world.network.add_host("standby", "10.245.47.200")
    session = await world.connect()
    world.fault("net.ip_move", ip="10.245.47.95", to="standby")
    await asyncio.sleep(0.001)
    with world.taking(0.0), pytest.raises(SessionFailed, match="Connection reset by peer"):
        await session.read(1, lba=0, blocks=8)
    with pytest.raises(ConnectionFailed, match="Connection refused"):
        await world.connect()
    world.engine.reset()
    async with world.connect():
        pass  # it has moved back


@pytest.mark.parametrize(
    "name, given, nearest",
    [
        ("net.nic_down", {"nic": "array/eth7"}, "array/eth."),
        ("net.ip_move", {"ip": "10.245.47.59", "to": "compute"}, "10.245.47.9."),
        ("net.ip_move", {"ip": "10.245.47.95", "to": "comptue"}, "compute"),
        ("net.refuse", {"portal": "10.0.0.9:3260"}, "10.245.47.9[56]:3260"),
        ("net.refuse", {"host": "array0"}, "array"),
    ],
)
async def test_what_nobody_has_is_refused(
    world: SmallWorld, name: str, given: dict[str, Any], nearest: str
) -> None:
    with pytest.raises(ConfigError, match=f"nobody has .*did you mean '{nearest}'"):
        world.fault(name, **given)


TIMES = [
    ("net.latency", {"delay": "100ms"}, 0.4, 0.2, 0.4),  # a write waits for its R2T
    ("net.latency", {"delay": 0.1, "dir": "to_target"}, 0.2, 0.1, 0.2),
    ("net.bandwidth", {"rate": 10240, "dir": "to_initiator"}, 0.04, 3.2, 0.0),
    ("net.bandwidth", {"rate": 10240, "dir": "to_target"}, 0.04, 0.0, 3.2),
]


@pytest.mark.parametrize("name, given, login, read, write", TIMES)
async def test_slow_link(
    world: SmallWorld, name: str, given: dict[str, Any], login: float, read: float, write: float
) -> None:
    world.fault(name, **given)
    with world.taking(login):
        session = await world.connect(wishes=Wishes(initial_r2t=True, immediate_data=False))
    await session.scan()
    with world.taking(read):
        await session.read(1, lba=0, blocks=64)
    with world.taking(write):
        await session.write(1, lba=0, data=bytes(64 * 512))


@pytest.mark.parametrize("dist", ["uniform", "lognormal"])
async def test_latency_is_spread_and_keeps_order(world: SmallWorld, dist: str) -> None:
    world.fault("net.latency", delay=0.1, jitter=0.05, dist=dist)
    async with world.connect() as session:
        times = []
        for _ in range(20):
            begun = world.time()
            await session.ping()
            times.append(world.time() - begun)
    assert len(set(times)) == 20
    assert 0.15 < sum(times) / 20 < 0.25


async def test_slow_command_times_out_on_a_thin_link(world: SmallWorld) -> None:
    session = await world.connect(ping_interval_s=0)
    world.fault("net.bandwidth", rate=1024, dir="to_initiator")
    with world.taking(45.0, within=1.0), pytest.raises(SessionFailed, match="no answer to ABORT TASK"):
        await session.read(1, lba=0, blocks=128)


async def test_lost_segments_come_again(world: SmallWorld) -> None:
    async with world.connect() as session:
        rule = world.fault("net.loss", p=1.0, dir="to_target").times(2)
        with world.taking(0.6):  # sent again after 0.2 s, and 0.4 s later
            await session.ping()
    assert [frame.delivered for frame in world.commented(rule)] == [False, False]
    assert any(frame.again for frame in world.frames)


async def test_reordered_segments_are_put_in_order(world: SmallWorld) -> None:
    async with world.connect() as session:
        world.fault("net.reorder", p=0.5, delay="50ms")
        for lba in range(8):
            await session.write(1, lba=lba, data=bytes([lba]) * 512)
        assert await session.read(1, lba=0, blocks=8) == b"".join(bytes([lba]) * 512 for lba in range(8))


async def test_duplicates_are_dropped_by_tcp(world: SmallWorld) -> None:
    rule = world.fault("net.dup", p=1.0)
    async with world.connect() as session:
        assert await session.read(1, lba=0, blocks=8) == bytes(4096)
    sent = [frame for frame in world.frames if frame.kind == "data"]
    assert sum(frame.again for frame in sent) == len(sent) / 2 == rule.fired


async def test_first_large_transfer_stalls_at_an_mtu_blackhole(world: SmallWorld) -> None:
    session = await world.connect()
    rule = world.fault("net.mtu_blackhole", mtu=1500)
    assert await session.read(1, lba=0, blocks=2) == bytes(1024)
    with world.taking(10.0), pytest.raises(SessionFailed, match="no answer to a ping"):
        await session.read(1, lba=0, blocks=64)
    assert not any(frame.delivered for frame in world.commented(rule))


# -- datagrams ---------------------------------------------------------------------------------------


class Listener(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.heard.append(data)


@pytest.mark.parametrize(
    "name, given, heard",
    [
        ("net.loss", {"p": 1.0}, []),
        ("net.blackhole", {"dst": "10.245.47.95:3205"}, []),
        ("net.dup", {"p": 1.0}, [b"0", b"0", b"1", b"1", b"2", b"2"]),
        ("net.latency", {"delay": 1}, [b"0", b"1", b"2"]),
    ],
)
async def test_datagrams_show_what_tcp_hides(
    world: SmallWorld, name: str, given: dict[str, Any], heard: list[bytes]
) -> None:
    assert await datagrams(world, lambda: world.fault(name, **given)) == heard


async def test_reordered_datagrams_come_in_another_order(world: SmallWorld) -> None:
    assert await datagrams(world, lambda: world.fault("net.reorder", p=1.0).nth(1)) == [b"1", b"2", b"0"]


async def datagrams(world: SmallWorld, arm: Any) -> list[bytes]:
    """What is heard of three datagrams."""
    listener = Listener()
    there = await world.array.datagram(lambda: listener, local_addr=("10.245.47.95", 3205))
    here = await world.compute.datagram(asyncio.DatagramProtocol, remote_addr=("10.245.47.95", 3205))
    arm()
    for number in range(3):
        here.sendto(b"%d" % number)
    await asyncio.sleep(2)
    for transport in (here, there):
        transport.close()
    await asyncio.sleep(0)
    return listener.heard


# -- names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given, message, seconds",
    [
        ({"rcode": "NXDOMAIN"}, "Name or service not known", 0.0),
        ({"rcode": "NODATA"}, "No address associated with hostname", 0.0),
        ({"rcode": "SERVFAIL", "delay": 3}, "Temporary failure in name resolution", 3.0),
        ({"rcode": "TIMEOUT"}, "Temporary failure in name resolution", 10.0),
        ({"rcode": "REFUSED", "name": "array.*"}, "Non-recoverable failure in name resolution", 0.0),
        ({"delay": 60}, "within 15 s", 15.0),
    ],
)
async def test_name_is_not_resolved(
    world: SmallWorld, given: dict[str, Any], message: str, seconds: float
) -> None:
    world.network.names["array.test"] = ["10.245.47.95"]
    world.fault("net.dns", **given)
    with world.taking(seconds), pytest.raises(ConnectionFailed, match=message):
        await world.connect("array.test:3260")


async def test_late_name_makes_a_late_login(world: SmallWorld) -> None:
    world.network.names["array.test"] = ["10.245.47.95"]
    world.fault("net.dns", name="array.test", delay="2s")
    with world.taking(2.0):
        async with world.connect("array.test:3260"):
            pass


async def test_address_needs_no_resolver(world: SmallWorld) -> None:
    world.fault("net.dns", rcode="NXDOMAIN")
    async with world.connect():
        pass
    with pytest.raises(FaultError, match=r"nothing came by at net.resolve"):
        world.engine.check()
    world.engine.reset()


async def test_dns_without_effect_is_refused(world: SmallWorld) -> None:
    with pytest.raises(ConfigError, match="needs an rcode or a delay"):
        world.fault("net.dns", name="array.test")


async def test_two_faults_are_both_on_the_frame(world: SmallWorld) -> None:
    first, second = world.fault("net.latency", delay=0.1), world.fault("net.refuse")
    with world.taking(0.2), pytest.raises(ISCSIError, match="refused"):
        await world.connect()
    (frame,) = world.commented(first)
    assert world.commented(second) == [frame]
