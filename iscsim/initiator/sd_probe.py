"""What Linux' disk driver asks a new disk, and again at every rescan (``sd_revalidate_disk`` of 6.1)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from iscsim.initiator.scsi_scan import Answer, SCSILevel, UnitQuestions, is_page_listed
from iscsim.scsi import cdb as commands
from iscsim.scsi.capacity import Capacity
from iscsim.scsi.inquiry import DeviceType
from iscsim.scsi.mode import ModeParameters
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.sense import SenseKey

__all__ = ["DiskState", "ask_for_capacity", "has_blocks", "revalidate_cd", "revalidate_disk"]

_DISK_TYPES = frozenset({DeviceType.DISK, 0x07, 0x0E, 0x14})
"""Disks, optical memory, reduced block commands, zoned disks."""
_TRIES, _MODE_TRIES, _RESETS_MAX = 3, 6, 9
_SPIN_UP_S, _SLOW_MEDIUM_S = 100.0, 5.0
_NO_MEDIUM = 0x3A
_NOT_READY, _BECOMES_READY = 0x04, 0x28
_NOT_BY_STARTING = frozenset({0x03, 0x0B, 0x0C, 0x1B})
"""Not ready (04h) and no use to start: manual intervention, standby, unavailable, sanitize in progress."""
_CONCURRENT_POSITIONING_RANGES = 0xB9
_ALL_PAGES, _CACHING, _HEADER_ONLY = 0x3F, 0x08, 0x00
_HEADER_LENGTH, _MODE_LENGTH_6, _MODE_LENGTH_MAX = 4, 255, 512
_WRITE_CACHE = 0x04
_COMMANDS_ASKED_FOR = ((Opcode.INQUIRY, 6), (Opcode.WRITE_SAME_16, 16), (Opcode.WRITE_SAME_10, 10))
"""With the lengths of their CDBs."""


def has_blocks(device_type: int) -> bool:
    """Whether the disk driver takes a unit of this type."""
    return device_type in _DISK_TYPES


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskState:
    """What the disk driver keeps of a disk.

    ``commands`` are those of WRITE SAME that the unit says it has. ``reports_commands`` is False once it has
    refused to report them, ``is_new`` until it was asked everything once.
    """

    capacity: Capacity | None = None
    write_protected: bool = False
    write_cache: bool = False
    commands: tuple[int, ...] = ()
    reports_commands: bool = True
    is_new: bool = True


async def revalidate_disk(
    unit: UnitQuestions, state: DiskState, level: SCSILevel, *, spin_up: bool = True
) -> DiskState:
    """Ask a disk everything the driver wants to know.

    With ``spin_up`` a disk that is not ready is started and waited for, 100 s at most.

    Raises:
        SessionFailed: the session is gone.
    """
    if not await _is_there(unit, spin_up):
        return replace(state, capacity=None)
    state = replace(state, capacity=await ask_for_capacity(unit, level))
    if not state.is_new and level >= SCSILevel.SPC_2:
        await is_page_listed(unit, _CONCURRENT_POSITIONING_RANGES)
    protected = await _is_write_protected(unit)
    cached = await _has_write_cache(unit)
    state = replace(state, write_protected=protected, write_cache=cached)
    return replace(await _ask_for_commands(unit, state, level), is_new=False)


async def revalidate_cd(unit: UnitQuestions) -> Capacity | None:
    """What of a medium in a drive is to be known: READ CAPACITY (10); None when there is none."""
    await _test_unit_ready(unit)
    return await _capacity_10(unit)


# -- is it there ---------------------------------------------------------------------------------------


async def _is_there(unit: UnitQuestions, spin_up: bool) -> bool:
    """``sd_spinup_disk``; False when there is no medium.

    A unit that stays not ready is asked all the rest like any other.
    """
    clock = asyncio.get_running_loop().time
    deadline: float | None = None
    while True:
        answer = await _test_unit_ready(unit)
        patience_s = _patience_s(answer) if spin_up else 0.0
        if not patience_s:
            return not _has_no_medium(answer)
        if deadline is None:
            deadline = clock() + patience_s
            if patience_s == _SPIN_UP_S:
                await unit.ask(commands.start_stop_unit(start=True, immediate=True))
        await asyncio.sleep(1.0)
        if clock() > deadline:
            return True


async def _test_unit_ready(unit: UnitQuestions) -> Answer:
    """Three times at most: the first one often hears of the power on."""
    return await unit.ask_again_while(_is_worth_another_try, commands.test_unit_ready())


def _is_worth_another_try(answer: Answer) -> bool:
    return not answer.is_good and not _has_no_medium(answer)


def _has_no_medium(answer: Answer) -> bool:
    return answer.is_sense(SenseKey.NOT_READY, _NO_MEDIUM)


def _patience_s(answer: Answer) -> float:
    """How long to wait for the unit; 0 when that is no use."""
    sense = answer.sense
    if sense is None or answer.is_good:
        return 0.0
    if sense.key == SenseKey.NOT_READY and sense.asc != _NO_MEDIUM:
        hopeless = sense.asc == _NOT_READY and sense.ascq in _NOT_BY_STARTING
        return 0.0 if hopeless else _SPIN_UP_S
    return _SLOW_MEDIUM_S if sense.key == SenseKey.UNIT_ATTENTION and sense.asc == _BECOMES_READY else 0.0


# -- how large is it -----------------------------------------------------------------------------------


async def ask_for_capacity(unit: UnitQuestions, level: SCSILevel) -> Capacity | None:
    """READ CAPACITY (16) first for units of SPC-3 and later, (10) first for others."""
    if level > SCSILevel.SPC_2:
        long = await _capacity_answer(unit, commands.read_capacity_16(), 32)
        if long.is_good:
            return _parsed_16(long.data)
        return None if _has_no_medium(long) else await _capacity_10(unit)
    return await _capacity_10(unit, then_16=True)


async def _capacity_10(unit: UnitQuestions, *, then_16: bool = False) -> Capacity | None:
    short = await _capacity_answer(unit, commands.read_capacity_10(), 8)
    if not short.is_good or len(short.data) < 8:
        return None
    try:
        capacity = Capacity.parse_10(short.data)
    except ValueError:
        return None
    if capacity is None and then_16:
        long = await _capacity_answer(unit, commands.read_capacity_16(), 32)
        capacity = _parsed_16(long.data) if long.is_good else None
    return capacity


def _parsed_16(data: bytes) -> Capacity | None:
    try:
        return Capacity.parse_16(data)
    except ValueError:
        return None


async def _capacity_answer(unit: UnitQuestions, cdb: bytes, length: int) -> Answer:
    """Three failures at most; a unit that was just reset does not count nine times."""
    failures = resets = 0
    while True:
        answer = await unit.ask(cdb, length)
        if answer.is_good or answer.is_not_known or _has_no_medium(answer):
            return answer
        if answer.is_sense(SenseKey.UNIT_ATTENTION, 0x29) and resets < _RESETS_MAX:
            resets += 1
            continue
        failures += 1
        if failures == _TRIES:
            return answer


# -- mode pages ----------------------------------------------------------------------------------------


async def _is_write_protected(unit: UnitQuestions) -> bool:
    """The WP bit: four bytes of all pages, of page 0, then 255 bytes of all; False when nothing helps."""
    for page, length in (
        (_ALL_PAGES, _HEADER_LENGTH),
        (_HEADER_ONLY, _HEADER_LENGTH),
        (_ALL_PAGES, _MODE_LENGTH_6),
    ):
        found = await _mode_sense(unit, page, length)
        if found is not None:
            return found[0].write_protected
    return False


async def _has_write_cache(unit: UnitQuestions) -> bool:
    """The WCE bit of the caching page: its first four bytes tell how many there are."""
    found = await _mode_sense(unit, _CACHING, _HEADER_LENGTH)
    if found is None:
        return False
    parameters, length = found
    if length > _HEADER_LENGTH:
        found = await _mode_sense(unit, _CACHING, min(length, _MODE_LENGTH_MAX))
        parameters = found[0] if found else parameters
    page = parameters.find(_CACHING)
    return page is not None and bool(page.body) and bool(page.body[0] & _WRITE_CACHE)


async def _mode_sense(unit: UnitQuestions, page: int, length: int) -> tuple[ModeParameters, int] | None:
    """What came of a mode page, and how long all of it is; None when the unit has none.

    MODE SENSE (10) where one byte cannot say the length.
    """
    long = length > _MODE_LENGTH_6
    build = commands.mode_sense_10 if long else commands.mode_sense_6
    for _ in range(_MODE_TRIES):
        answer = await unit.ask(build(page, allocation_length=length), length)
        if not answer.is_sense(SenseKey.UNIT_ATTENTION):
            break
    try:
        if not answer.is_good:
            return None
        if long:
            return ModeParameters.parse_10(answer.data), int.from_bytes(answer.data[:2], "big") + 2
        return ModeParameters.parse_6(answer.data), answer.data[0] + 1
    except ValueError:
        return None


# -- commands ------------------------------------------------------------------------------------------


async def _ask_for_commands(unit: UnitQuestions, state: DiskState, level: SCSILevel) -> DiskState:
    """REPORT SUPPORTED OPERATION CODES: INQUIRY, to see whether it works, and WRITE SAME."""
    if not state.reports_commands or level < SCSILevel.SPC_3:
        return state
    found: list[int] = []
    for opcode, cdb_length in _COMMANDS_ASKED_FOR:
        length = 4 + cdb_length
        cdb = commands.report_supported_operation_codes(opcode, allocation_length=length)
        answer = await unit.ask(cdb, length)
        if opcode == Opcode.INQUIRY and answer.is_not_known:
            return replace(state, reports_commands=False, commands=())
        if answer.is_good and len(answer.data) > 1 and answer.data[1] & 0x03 == 0x03:
            found.append(opcode)
    return replace(state, commands=tuple(code for code in found if code != Opcode.INQUIRY))
