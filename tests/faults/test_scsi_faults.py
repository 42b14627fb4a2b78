"""What our initiator sees of faults at the SCSI seam."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from faults.world import SmallWorld

from iscsim.errors import ConfigError
from iscsim.faults.scsi_faults import PRESETS
from iscsim.initiator.task import CommandTask, CommandTimedOut
from iscsim.scsi import cdb
from iscsim.scsi.sense import CommandFailed, FieldPointer, Sense
from iscsim.scsi.status import Status

BLOCK = bytes(range(256)) * 2

# How to ask, by the name of a CDB maker: CDB, Data-Out, room for Data-In.
READ = (cdb.read_10(8, 4), b"", 2048)
WRITE = (cdb.write_10(8, 1), BLOCK, 0)
READY = (cdb.test_unit_ready(), b"", 0)
INQUIRY = (cdb.inquiry(), b"", 255)
COMPARE = (bytes.fromhex("89000000000000000008000000010000"), BLOCK * 2, 0)
REGISTER = (cdb.persistent_reserve_out(0), bytes(8) + (7).to_bytes(8, "big") + bytes(8), 0)
Asked = tuple[bytes, bytes, int]


async def ask(session: Any, asked: Asked, **more: Any) -> Any:
    command, data_out, room = asked
    return await session.execute(1, command, data_out=data_out, data_in_length=room, **more)


async def settled(world: SmallWorld, **options: Any) -> Any:
    """A session that has heard 29/00."""
    session = await world.connect(**options)
    await session.test_unit_ready(1)
    return session


STATUSES = [
    ("task.busy", READ, Status.BUSY),
    ("task.busy", WRITE, Status.BUSY),
    ("task.task_set_full", READY, Status.TASK_SET_FULL),
    ("task.reservation_conflict", WRITE, Status.RESERVATION_CONFLICT),
]


@pytest.mark.parametrize(("name", "asked", "status"), STATUSES)
async def test_status_comes_n_times_and_the_command_is_not_executed(
    world: SmallWorld, name: str, asked: Asked, status: int
) -> None:
    async with await settled(world) as session:
        world.fault(name, n=2)
        found = [(await ask(session, asked)).status for _ in range(3)]
        assert found == [status, status, Status.GOOD]


async def test_busy_write_leaves_the_disk_alone(world: SmallWorld) -> None:
    async with await settled(world) as session:
        world.fault("task.busy", command="WRITE (10)", n=1)
        with pytest.raises(CommandFailed, match="BUSY"):
            await session.write(1, 8, BLOCK)
        assert await session.read(1, 8, 1) == bytes(512)


async def test_inquiry_never_conflicts(world: SmallWorld) -> None:
    async with await settled(world) as session:
        rule = world.fault("task.reservation_conflict")
        assert (await ask(session, INQUIRY)).status == Status.GOOD
        assert rule.fired == 0
        assert (await ask(session, READ)).status == Status.RESERVATION_CONFLICT


@pytest.mark.parametrize("execute", [False, True])
async def test_command_without_a_response_times_out(world: SmallWorld, execute: bool) -> None:
    async with await settled(world, command_timeout_s=30.0) as session:
        world.fault("task.no_response", command="WRITE (10)", execute=execute).times(1)
        with world.taking(30.0, within=1.0), pytest.raises(CommandTimedOut):
            await session.write(1, 8, BLOCK)
        assert await session.read(1, 8, 1) == (BLOCK if execute else bytes(512))
        await session.write(1, 8, BLOCK)


async def test_third_read_of_a_session_is_late(world: SmallWorld) -> None:
    async with await settled(world) as session:
        world.fault("task.delay", delay="2s", command="READ (10)").nth(3).per("session")
        await session.read(1, 0, 1)
        await session.read(1, 0, 1)
        with world.taking(2.0):
            await session.read(1, 0, 1)
        with world.taking(0.0):
            await session.read(1, 0, 1)


@pytest.mark.parametrize(
    ("dist", "low", "high"), [("const", 1.0, 1.0), ("uniform", 0.5, 1.5), ("lognormal", 0.0, 9.0)]
)
async def test_delay_varies_by_its_seed(dist: str, low: float, high: float) -> None:
    async def times() -> list[float]:
        async with SmallWorld(seed=3) as world, await settled(world) as session:
            world.fault(
                "task.delay",
                delay=1.0,
                dist=dist,
                jitter=0.0 if dist == "const" else 0.5,
                command="READ (10)",
            )
            found = []
            for _ in range(5):
                begun = world.loop.time()
                await session.read(1, 0, 1)
                found.append(round(world.loop.time() - begun, 2))
            return found

    first = await times()
    assert first == await times()
    assert all(low - 0.01 <= each <= high + 0.01 for each in first)
    assert (len(set(first)) == 1) == (dist == "const")


async def test_other_commands_overtake_a_delayed_one(world: SmallWorld) -> None:
    async with await settled(world) as session:
        world.fault("task.delay", delay=5.0, command="READ (10)").times(1)
        slow = asyncio.ensure_future(session.read(1, 0, 1))
        await asyncio.sleep(0.1)
        await session.test_unit_ready(1)
        assert not slow.done()
        assert await slow == bytes(512)


SENSES = [
    (
        name,
        {"miscompare": COMPARE}.get(name)
        or (WRITE if name in ("medium.write", "protect", "thin.full") else READ),
    )
    for name in PRESETS
]


@pytest.mark.parametrize(("name", "asked"), SENSES)
async def test_preset_comes_with_its_sense(world: SmallWorld, name: str, asked: Asked) -> None:
    key, code, _, addressed, _, _ = PRESETS[name]
    async with await settled(world) as session:
        world.fault(name).times(1)
        found = await ask(session, asked)
        assert (found.status, found.sense.key, found.sense.code) == (Status.CHECK_CONDITION, key, code)
        assert found.sense.information == (8 if addressed else None)
        assert found.data_in == b""
        assert (await ask(session, READ)).status == Status.GOOD


SPARED = [
    ("notready.becoming", INQUIRY, READY),
    ("medium.read", WRITE, READ),
    ("protect", READ, WRITE),
    ("illegal.lba", READY, READ),
    ("illegal.lun", INQUIRY, READY),
]


@pytest.mark.parametrize(("name", "spared", "befallen"), SPARED)
async def test_preset_befalls_only_commands_it_can(
    world: SmallWorld, name: str, spared: Asked, befallen: Asked
) -> None:
    async with await settled(world) as session:
        world.fault(name)
        assert (await ask(session, spared)).status == Status.GOOD
        assert (await ask(session, befallen)).status == Status.CHECK_CONDITION


async def test_bad_block_fails_only_what_touches_it(world: SmallWorld) -> None:
    async with await settled(world) as session:
        world.fault("medium.read", lba=10)
        assert await session.read(1, 0, 10) == bytes(5120)
        with pytest.raises(CommandFailed, match="03/11/00") as caught:
            await session.read(1, 8, 4)
        assert caught.value.sense is not None
        assert caught.value.sense.information == 10


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"format": "fixed"}, 0x70),
        ({"format": "descriptor"}, 0x72),
        ({"deferred": True}, 0x71),
        ({"format": "descriptor", "deferred": True}, 0x73),
    ],
)
async def test_sense_has_the_format_that_is_asked_for(
    world: SmallWorld, given: dict[str, Any], code: int
) -> None:
    async with await settled(world) as session:
        world.fault("scsi.sense", key=3, asc=0x11, ascq=0x14, information=99, **given)
        task = await session.run(CommandTask(session.lun_of(1), READ[0], data_in_length=2048))
        assert task.sense_data[0] & 0x7F == code
        sense = Sense.parse(task.sense_data)
        assert (sense.information, sense.deferred) == (99, given.get("deferred", False))


async def test_abort_may_have_another_code(world: SmallWorld) -> None:
    async with await settled(world) as session:
        world.fault("abort", asc=0x47, ascq=5)
        with pytest.raises(CommandFailed, match="0b/47/05"):
            await session.read(1, 0, 1)


ATTENTIONS = {
    "ua.power_on": 0x2900,
    "ua.nexus_loss": 0x2907,
    "ua.capacity": 0x2A09,
    "ua.luns_changed": 0x3F0E,
    "ua.inquiry": 0x3F03,
    "ua.alua": 0x2A06,
}


@pytest.mark.parametrize(("name", "code"), ATTENTIONS.items())
async def test_unit_attention_comes_once_and_the_command_may_be_repeated(
    world: SmallWorld, name: str, code: int
) -> None:
    async with await settled(world) as session:
        world.fault(name).times(1)
        found = await ask(session, READY)
        assert (found.sense.key, found.sense.code) == (6, code)
        assert (await ask(session, READY)).status == Status.GOOD


async def test_unit_attention_waits_while_inquiry_is_answered(world: SmallWorld) -> None:
    async with await settled(world) as session:
        world.fault("ua.capacity").times(1)
        assert (await ask(session, INQUIRY)).status == Status.GOOD
        assert (await ask(session, READY)).sense.code == 0x2A09


async def test_read_passes_a_unit_attention_by_itself(world: SmallWorld) -> None:
    async with await settled(world) as session:
        rule = world.fault("ua.power_on", command="READ (10)").times(2)
        assert await session.read(1, 0, 1) == bytes(512)
        assert rule.fired == 2


async def test_unsupported_command_names_its_first_byte(world: SmallWorld) -> None:
    async with await settled(world) as session:
        world.fault("scsi.unsupported", op=0x28)
        found = await ask(session, READ)
        assert (found.sense.key, found.sense.code) == (5, 0x2000)
        assert found.sense.field_pointer == FieldPointer(0)
        assert (await session.execute(1, cdb.read_16(0, 1), data_in_length=512)).status == Status.GOOD


async def test_registration_meets_a_conflict(world: SmallWorld) -> None:
    async with await settled(world) as session:
        world.fault("scsi.pr", mode="conflict").times(1)
        assert (await ask(session, REGISTER)).status == Status.RESERVATION_CONFLICT
        assert (await ask(session, REGISTER)).status == Status.GOOD


async def test_registrations_are_lost_and_nobody_is_told(world: SmallWorld) -> None:
    async with await settled(world) as session:
        await ask(session, REGISTER)
        keys = (cdb.persistent_reserve_in(0), b"", 4096)
        assert len((await ask(session, keys)).data_in) == 16
        world.fault("scsi.pr", mode="lost").times(1)
        assert len((await ask(session, keys)).data_in) == 8


async def test_match_on_portal_unit_and_initiator_finds_one_session(world: SmallWorld) -> None:
    async with await settled(world) as one, await settled(world, portal=1) as other:
        unit = world.target.node.units()[0].wwn
        world.fault("hw", portal=world.portals[1], unit=unit, lun=1, initiator="iqn.2026-11.test:*")
        assert (await ask(one, READ)).status == Status.GOOD
        assert (await ask(other, READ)).status == Status.CHECK_CONDITION


async def test_comments_go_to_the_connection_that_is_befallen(world: SmallWorld) -> None:
    said: list[tuple[Any, str]] = []
    world.device_server.commenting = lambda connection, text: said.append((connection.portal, text))
    async with await settled(world), await settled(world, portal=1) as session:
        world.fault("task.busy", n=1)
        await ask(session, READ)
    portal = world.target.node.portal_groups[2].portals[0]
    assert said == [(portal, "fault task.busy(n=1) [task.busy-1 #1]")]


async def test_observers_are_told_how_commands_ended(world: SmallWorld) -> None:
    async with await settled(world) as session:
        world.device_server.observers.append(
            lambda command, completion: seen.append((command.cdb[0], completion.status))
        )
        seen: list[tuple[int, int]] = []
        world.fault("task.busy", n=1)
        await ask(session, READ)
        await ask(session, READY)
        assert seen == [(0x28, Status.BUSY), (0x00, Status.GOOD)]


async def test_of_two_faults_the_first_answers_and_its_delay_holds(world: SmallWorld) -> None:
    async with await settled(world) as session:
        world.fault("task.busy")
        world.fault("hw")
        world.fault("task.delay", delay=1.0)
        with world.taking(1.0):
            assert (await ask(session, READ)).status == Status.BUSY


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("scsi.sense", {"key": 16, "asc": 0}, "key is 16"),
        ("scsi.sense", {"key": 1}, "needs asc"),
        ("medium.read", {"asc": 1}, "asc"),
        ("task.busy", {"n": 0}, "n is 0"),
        ("task.delay", {"delay": 1, "dist": "poisson"}, "one of const, uniform, lognormal"),
        ("scsi.pr", {"mode": "gone"}, "one of conflict, lost"),
    ],
)
async def test_parameters_that_make_no_sense_are_refused(
    world: SmallWorld, name: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        world.fault(name, **given)
