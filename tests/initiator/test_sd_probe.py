"""The disk driver's questions: disks that are not ready, have no medium, or do not know what is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from initiator.fake_units import INVALID_FIELD, INVALID_OPCODE, POWER_ON, FakeTarget, FakeUnit

from iscsim.initiator.scsi_scan import SCSILevel, UnitQuestions
from iscsim.initiator.sd_probe import DiskState, revalidate_cd, revalidate_disk
from iscsim.initiator.task import CommandTask
from iscsim.net.virtual_loop import VirtualLoop
from iscsim.scsi.capacity import Capacity
from iscsim.scsi.lun import encode_lun
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.sense import Sense, SenseKey

NO_MEDIUM = Sense(SenseKey.NOT_READY, 0x3A, 0)
STOPPED = Sense(SenseKey.NOT_READY, 0x04, 0x02)
STANDBY = Sense(SenseKey.NOT_READY, 0x04, 0x0B)
BECAME_READY = Sense(SenseKey.UNIT_ATTENTION, 0x28, 0)
HARDWARE = Sense(SenseKey.HARDWARE_ERROR, 0x44, 0)
ONE_MIB = Capacity(blocks=2048, block_size=512)


class Probe:
    """``await Probe(opcode=[replies]).ask()``: the state, and what was sent by name of the command."""

    def __init__(self, level: SCSILevel = SCSILevel.SPC_3, **replies: list[Any]) -> None:
        self.level = level
        self.target = FakeTarget(
            {1: FakeUnit(replies={Opcode[name.upper()]: each for name, each in replies.items()})}
        )

    async def run(self, task: CommandTask, timeout_s: float | None = None) -> CommandTask:
        return await self.target.run_once(task, timeout_s)

    async def ask(self, state: DiskState | None = None, **options: Any) -> DiskState:
        unit = UnitQuestions(self, encode_lun(1))
        return await revalidate_disk(unit, state or DiskState(), self.level, **options)

    def count(self, opcode: int) -> int:
        return len(self.target.asked(opcode))


def virtual(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main)


# -- is it there ---------------------------------------------------------------------------------------


async def test_disk_without_a_medium_is_asked_nothing_more() -> None:
    probe = Probe(test_unit_ready=[NO_MEDIUM])
    state = await probe.ask(DiskState(capacity=ONE_MIB))
    assert (state.capacity, len(probe.target.sent)) == (None, 1)


def test_stopped_disk_is_started_and_waited_for() -> None:
    async def main() -> None:
        probe = Probe(test_unit_ready=[*[STOPPED] * 10, b""])
        assert (await probe.ask()).capacity == ONE_MIB
        (start,) = (task.cdb.hex() for task in probe.target.sent if task.cdb[0] == Opcode.START_STOP_UNIT)
        assert start == "1b0100000100"
        assert asyncio.get_running_loop().time() == pytest.approx(3, abs=0.1)

    virtual(main())


def test_disk_that_never_gets_ready_is_asked_all_the_same_after_100_s() -> None:
    async def main() -> None:
        probe = Probe(test_unit_ready=[STOPPED])
        assert (await probe.ask()).capacity == ONE_MIB
        assert asyncio.get_running_loop().time() == pytest.approx(101, abs=1)

    virtual(main())


def test_slow_medium_gets_5_s() -> None:
    async def main() -> None:
        probe = Probe(test_unit_ready=[BECAME_READY])
        await probe.ask()
        assert asyncio.get_running_loop().time() == pytest.approx(6, abs=1)
        assert probe.count(Opcode.START_STOP_UNIT) == 0

    virtual(main())


@pytest.mark.parametrize("sense", [STANDBY, HARDWARE])
async def test_no_disk_is_started_that_would_not_get_ready_by_it(sense: Sense) -> None:
    probe = Probe(test_unit_ready=[sense])
    assert (await probe.ask()).capacity == ONE_MIB
    assert (probe.count(Opcode.TEST_UNIT_READY), probe.count(Opcode.START_STOP_UNIT)) == (3, 0)


async def test_disk_is_not_started_when_that_is_not_wanted() -> None:
    probe = Probe(test_unit_ready=[STOPPED])
    await probe.ask(spin_up=False)
    assert probe.count(Opcode.START_STOP_UNIT) == 0


# -- how large is it -----------------------------------------------------------------------------------

LARGE_10 = bytes.fromhex("ffffffff00000200")
LARGE_16 = (1 << 33).to_bytes(8, "big") + (512).to_bytes(4, "big") + bytes(20)


@pytest.mark.parametrize(
    "level, replies, capacity, asked",
    [
        (SCSILevel.SPC_3, {}, ONE_MIB, (1, 0)),
        (SCSILevel.SPC_3, {"service_action_in_16": [INVALID_OPCODE]}, ONE_MIB, (1, 1)),
        (SCSILevel.SPC_3, {"service_action_in_16": [HARDWARE]}, ONE_MIB, (3, 1)),
        (SCSILevel.SPC_3, {"service_action_in_16": [*[POWER_ON] * 5, LARGE_16]}, (1 << 33) + 1, (6, 0)),
        (SCSILevel.SPC_3, {"service_action_in_16": [NO_MEDIUM]}, None, (1, 0)),
        (SCSILevel.SPC_3, {"service_action_in_16": [bytes(32)]}, None, (1, 0)),
        (
            SCSILevel.SPC_3,
            {"service_action_in_16": [INVALID_OPCODE], "read_capacity_10": [b"\0"]},
            None,
            (1, 1),
        ),
        (
            SCSILevel.SPC_3,
            {"service_action_in_16": [INVALID_OPCODE], "read_capacity_10": [bytes(8)]},
            None,
            (1, 1),
        ),
        (SCSILevel.SPC_2, {}, ONE_MIB, (0, 1)),
        (
            SCSILevel.SPC_2,
            {"read_capacity_10": [LARGE_10], "service_action_in_16": [LARGE_16]},
            (1 << 33) + 1,
            (1, 1),
        ),
        (
            SCSILevel.SPC_2,
            {"read_capacity_10": [LARGE_10], "service_action_in_16": [INVALID_OPCODE]},
            None,
            (1, 1),
        ),
    ],
)
async def test_capacity(level: SCSILevel, replies: Any, capacity: Any, asked: tuple[int, int]) -> None:
    probe = Probe(level, **replies)
    found = (await probe.ask()).capacity
    assert (found.blocks if isinstance(capacity, int) and found else found) == capacity
    assert (probe.count(Opcode.SERVICE_ACTION_IN_16), probe.count(Opcode.READ_CAPACITY_10)) == asked


# -- mode pages and commands ---------------------------------------------------------------------------


def mode(device_specific: int = 0, *pages: bytes) -> bytes:
    body = b"".join(pages)
    return bytes([3 + len(body), 0, device_specific, 0]) + body


CACHING = bytes([0x08, 0x12, 0x04]) + bytes(17)


@pytest.mark.parametrize(
    "replies, protected, cached, asked",
    [
        ([mode(0x80), mode(0, CACHING)], True, True, 3),
        ([mode(), mode(0, CACHING[:2] + b"\0" + CACHING[3:])], False, False, 3),
        ([INVALID_FIELD, mode(0x80), INVALID_FIELD], True, False, 3),
        ([INVALID_FIELD, INVALID_FIELD, mode(0x80), INVALID_FIELD], True, False, 4),
        ([INVALID_FIELD], False, False, 4),
        ([POWER_ON, mode(0x80), mode()], True, False, 3),
        ([b"\0"], False, False, 4),
        ([mode(), mode(0, CACHING), INVALID_FIELD], False, False, 3),
    ],
)
async def test_write_protection_and_cache(
    replies: list[Any], protected: bool, cached: bool, asked: int
) -> None:
    probe = Probe(mode_sense_6=replies)
    state = await probe.ask()
    assert (state.write_protected, state.write_cache) == (protected, cached)
    assert probe.count(Opcode.MODE_SENSE_6) == asked


async def test_long_caching_page_is_asked_for_with_mode_sense_10() -> None:
    filler = bytes([0x09, 0xD0]) + bytes(0xD0)
    long = filler + CACHING
    header = (6 + len(long)).to_bytes(2, "big") + bytes(6)
    probe = Probe(mode_sense_6=[mode(), bytes([255, 0, 0, 0])], mode_sense_10=[header + long])
    assert (await probe.ask()).write_cache
    assert probe.count(Opcode.MODE_SENSE_10) == 1


async def test_write_same_is_known_from_the_report() -> None:
    supported, not_supported = b"\0\x03\0\x10", b"\0\x01\0\0"
    probe = Probe(maintenance_in=[supported, supported, not_supported])
    assert (await probe.ask()).commands == (Opcode.WRITE_SAME_16,)


async def test_unit_that_cannot_report_its_commands_is_asked_once() -> None:
    probe = Probe(maintenance_in=[INVALID_OPCODE])
    state = await probe.ask()
    await probe.ask(state)
    assert (state.reports_commands, probe.count(Opcode.MAINTENANCE_IN)) == (False, 1)


async def test_old_disks_are_not_asked_for_their_commands() -> None:
    probe = Probe(SCSILevel.SPC_2)
    await probe.ask()
    assert probe.count(Opcode.MAINTENANCE_IN) == 0


async def test_cd_without_a_medium() -> None:
    probe = Probe(test_unit_ready=[NO_MEDIUM], read_capacity_10=[NO_MEDIUM])
    assert await revalidate_cd(UnitQuestions(probe, encode_lun(1))) is None
