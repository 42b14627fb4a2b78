"""The tap itself: when it is there, what it tells the engine, and where its comments are shown."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from faults.world import INITIATOR, TARGET, SmallWorld

import iscsim
from iscsim.errors import ConnectionFailed, ISCSIError
from iscsim.faults.occasion import Occasion
from iscsim.net.network import Address
from iscsim.net.virtual_loop import VirtualLoop
from iscsim.pdu import (
    PDU,
    LoginRequest,
    LogoutRequest,
    NOPOut,
    SCSIDataIn,
    SCSIResponse,
    TaskManagementRequest,
)
from iscsim.pdu.wire import decode_header
from iscsim.scsi import cdb


class Tape:
    """A recorder of target servers that keeps what was commented."""

    def __init__(self) -> None:
        self.comments: list[tuple[str, bytes, str | None]] = []

    def connection(self, client: Address, server: Address) -> Tape:
        return self

    def opened(self, now: float) -> None: ...

    def closed(self, by_client: bool, now: float) -> None: ...

    def reset(self, by_client: bool, now: float) -> None: ...

    def from_client(self, data: Any, now: float, comment: str | None = None) -> None:
        self._note("client", data, comment)

    def takes_whole(self, length: int, now: float) -> bool:
        return True

    def from_server(self, data: Any, now: float, comment: str | None = None) -> None:
        self._note("server", data, comment)

    def _note(self, end: str, data: bytes | Sequence[bytes], comment: str | None) -> None:
        self.comments.append((end, data if isinstance(data, bytes) else b"".join(data), comment))

    @property
    def commented(self) -> list[tuple[str, str, str]]:
        """End, PDU and comment of what has one."""
        return [
            (end, type(decode_header(data[:48])).__name__, comment)
            for end, data, comment in self.comments
            if comment is not None
        ]


async def test_a_tap_comes_with_the_first_rule_and_goes_with_the_last(world: SmallWorld) -> None:
    async with world.connect() as session:
        (connection,) = world.target.node.sessions[0].connections.values()
        assert connection.tap is None
        rules = [world.fault("session.nop_ignore"), world.fault("task.wrong_itt")]
        assert connection.tap is not None
        for rule in rules:
            world.engine.remove(rule.id)
        assert connection.tap is None
        assert await session.ping(b"again") == b"again"


async def test_another_kind_of_rule_brings_no_tap(world: SmallWorld) -> None:
    world.fault("net.latency", delay=0.001)
    async with world.connect():
        (connection,) = world.target.node.sessions[0].connections.values()
        assert connection.tap is None


async def test_what_the_engine_is_told(world: SmallWorld) -> None:
    seen: list[Occasion] = []

    def look(occasion: Occasion) -> bool:
        seen.append(occasion)
        return False

    world.fault("task.wrong_itt").when(look).may_not_fire()
    async with world.connect(1) as session:
        await session.read(1, lba=8, blocks=2)
    last = seen[-1]
    assert (last.portal, last.initiator, last.target) == (world.portals[1], INITIATOR, TARGET)
    assert (last.host, last.initiator_address.rpartition(":")[0]) == ("compute", "10.245.47.98")
    assert (last.opcode, last.stage, last.command) == ("SCSIDataIn", "FULL_FEATURE", "READ (10)")
    assert (last.lun, last.lba, last.blocks, last.length) == (1, 8, 2, 48 + 1024)
    assert isinstance(last.subject, SCSIDataIn)


@pytest.mark.parametrize(
    ("match", "fires"),
    [
        ({"command": "WRITE (10)"}, False),
        ({"command": "READ (10)"}, True),
        ({"lun": 2}, False),
        ({"opcode": "SCSIResponse"}, False),
    ],
)
async def test_an_answer_is_matched_by_its_command(
    world: SmallWorld, match: dict[str, Any], fires: bool
) -> None:
    async with world.connect() as session:
        await session.read_capacity(1)
        rule = world.fault("task.overflow", **match).may_not_fire()
        await session.read(1, lba=8, blocks=2)
    assert bool(rule.fired) is fires


async def test_two_faults_befall_one_pdu(world: SmallWorld) -> None:
    world.fault("task.overflow", n=7, command="READ (10)")
    world.fault("task.reorder", wait=3, command="READ (10)")
    async with world.connect() as session:
        await session.read_capacity(1)
        with world.taking(3.0):
            result = await session.execute(1, bytes.fromhex("28000000000000000100"), data_in_length=512)
    assert result.residual == -7


async def test_the_comment_is_on_the_very_segment(world: SmallWorld) -> None:
    async with world.connect() as session:
        await session.read_capacity(1)
        rule = world.fault("task.overflow", n=7, command="READ (10)")
        await asyncio.gather(session.test_unit_ready(1), session.read(1, lba=0, blocks=1))
    (frame,) = world.commented(rule)
    assert isinstance(decode_header(frame.data[:48]), SCSIDataIn)
    assert frame.comment == f"fault task.overflow(n=7) [{rule.id} #1]"


async def test_a_fault_of_a_command_has_its_comment_on_the_answer(world: SmallWorld) -> None:
    async with world.connect() as session:
        await session.read_capacity(1)
        rule = world.fault("medium.read").times(1)
        result = await session.execute(1, cdb.read_10(0, 1), data_in_length=512)
    assert result.status
    (frame,) = world.commented(rule)
    assert isinstance(decode_header(frame.data[:48]), SCSIResponse)


async def test_a_request_without_an_answer_has_its_comment_on_an_acknowledgement(world: SmallWorld) -> None:
    rule = world.fault("login.no_response").nth(1)
    with pytest.raises(ConnectionFailed):
        await world.connect()
    (frame,) = world.commented(rule)
    assert (frame.by_client, frame.data) == (False, b"")
    assert frame.at == pytest.approx(0.0, abs=0.01)


async def test_a_recorder_of_the_server_shows_comments_where_they_belong() -> None:
    tape = Tape()
    async with SmallWorld(recorder=tape) as world:
        delay = world.fault("login.delay", seconds=2).nth(1)
        gap = world.fault("task.overflow", command="READ (10)")
        async with world.connect() as session:
            await session.read(1, lba=0, blocks=1)
    at_delay = f"fault login.delay(seconds=2.0) [{delay.id} #1]"
    assert tape.commented == [
        ("client", "LoginRequest", at_delay),
        ("server", "LoginResponse", at_delay),
        ("server", "SCSIDataIn", f"fault task.overflow(n=512) [{gap.id} #1]"),
    ]


async def test_a_target_with_taps_but_no_rule_sends_the_same() -> None:
    wires = []
    for tapped in (True, False):
        async with SmallWorld() as world:
            if not tapped:
                world.target.server.taps = None
            async with world.connect() as session:
                await session.write(1, lba=0, data=bytes(4096))
                await session.read(1, lba=0, blocks=8)
        wires.append([(frame.kind, frame.data) for frame in world.frames])
    assert wires[0] == wires[1]


async def test_serve_takes_taps(world: SmallWorld) -> None:
    asked: list[Address] = []

    def taps(connection: Any, peer: Address) -> None:
        asked.append(peer)

    async with iscsim.serve(network=world.array, portals=["10.245.47.95:860"], taps=taps) as target:
        async with iscsim.connect(target.portal, target.name, network=world.compute):
            assert [address for address, _ in asked] == ["10.245.47.93"]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("session.logout", {"none": True}),
        ("session.reject", {"reason": 4}),
        ("session.nop_ignore", {}),
        ("task.abort_response", {"none": True}),
    ],
)
@pytest.mark.parametrize("pdu", [LogoutRequest(), NOPOut(initiator_task_tag=1), TaskManagementRequest()])
async def test_a_request_out_of_place_is_left_to_the_target(
    world: SmallWorld, name: str, given: dict[str, Any], pdu: PDU
) -> None:
    world.fault(name, **given).may_not_fire()
    reader, writer = await asyncio.open_connection("10.245.47.95", 3260, local_addr=("10.245.47.93", 0))
    writer.writelines(pdu.encode())
    assert await reader.read() == b""
    writer.close()


async def test_a_login_in_a_session_is_left_to_the_target(world: SmallWorld) -> None:
    async with world.connect() as session:
        world.fault("login.status", class_=3).may_not_fire()
        core = session._protocol.core
        core.put(LoginRequest())
        session._protocol.flush()
        assert await session.ping(b"still there") == b"still there"
    assert not world.engine.firings


async def _random_faults() -> tuple[str, list[Any]]:
    async with SmallWorld(seed=11) as world:
        for name, given in RANDOM_FAULTS:
            world.fault(name, **given).with_probability(0.2).may_not_fire()
        for _ in range(20):
            with suppress(ISCSIError):
                async with world.connect(command_timeout_s=3.0) as session:
                    await asyncio.gather(*(session.read(1, lba=lba, blocks=1) for lba in range(20)))
        return world.trace.sha256, world.frames


RANDOM_FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("login.no_response", {}),
    ("login.delay", {"seconds": 1}),
    ("task.reorder", {}),
    ("task.wrong_itt", {}),
    ("session.reject", {"reason": 9}),
    ("session.logout", {"none": True}),
]


def test_the_same_seed_gives_the_same_bytes() -> None:
    runs = []
    for _ in range(2):
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runs.append(runner.run(_random_faults()))
    assert runs[0] == runs[1]
    assert sum(frame.comment is not None for frame in runs[0][1]) > 10
