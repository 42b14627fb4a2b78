"""START STOP UNIT and PREVENT ALLOW MEDIUM REMOVAL (SBC-3): what moves the medium, or lets it rest."""

from __future__ import annotations

from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.asc import ASC
from iscsim.scsi.command import Command, invalid_field
from iscsim.scsi.completion import Completion
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.power import PowerCondition
from iscsim.scsi.reservations import ReservationRule
from iscsim.scsi.sense import CheckCondition, SenseKey
from iscsim.scsi.store import Buffer

__all__ = ["COMMANDS"]

_POWER = layouts.START_STOP_UNIT.masks("power")
_MODIFIER = layouts.START_STOP_UNIT.masks("modifier")["modifier"]
_PREVENT = layouts.PREVENT_ALLOW_MEDIUM_REMOVAL.masks("prevent")["prevent"]

# POWER CONDITION -> what it puts the unit into. LU_CONTROL starts timers, of which there are none here; the
# FORCE_... conditions do what a timer that has run out would do.
_LU_CONTROL = 0x7
_CONDITIONS = {
    0x1: PowerCondition.ACTIVE,
    0x2: PowerCondition.IDLE,
    0x3: PowerCondition.STANDBY,
    _LU_CONTROL: None,
    0xA: PowerCondition.IDLE,
    0xB: PowerCondition.STANDBY,
}


def start_stop_unit(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SBC-3, START STOP UNIT. With a POWER CONDITION the START and LOEJ bits mean nothing.

    IMMED changes nothing, because all is done when the answer is made.
    """
    unit = mapped.logical_unit
    _, _, modifier, power = layouts.START_STOP_UNIT.struct.unpack_from(cdb)
    if condition := power >> 4:
        _use_condition(unit, condition, modifier & _MODIFIER)
    elif power & _POWER["loej"]:
        _move_medium(nexus, unit, power)
    else:
        _start_or_stop(unit, power)
    return Completion()


def _use_condition(unit: LogicalUnit, condition: int, modifier: int) -> None:
    """A removable unit has no power conditions and ignores them all: libiscsi's StartStopUnit.PwrCnd wants
    GOOD for every value. A fixed one refuses what it does not have, and any other kind of idle and standby.
    """
    if unit.removable:
        return
    if condition not in _CONDITIONS:
        raise invalid_field(4, 7)
    if modifier:
        raise invalid_field(3, 3)
    wanted = _CONDITIONS[condition]
    if wanted is not None:
        unit.use_power(wanted)


def _move_medium(nexus: ITNexus, unit: LogicalUnit, power: int) -> None:
    if not unit.removable:
        raise invalid_field(4, 1)
    if unit.preventing:  # a locked tray moves neither way
        raise CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.MEDIUM_REMOVAL_PREVENTED)
    if power & _POWER["start"]:
        unit.load(by=nexus)
        return
    _flush(unit, power)
    unit.eject()


def _start_or_stop(unit: LogicalUnit, power: int) -> None:
    """A fixed unit stops until it is started. A removable one stays ready, as libiscsi's
    StartStopUnit.NoLoej wants it: its medium goes away by LOEJ alone.
    """
    if power & _POWER["start"]:
        unit.use_power(PowerCondition.ACTIVE)
        return
    _flush(unit, power)
    if not unit.removable:
        unit.use_power(PowerCondition.STOPPED)


def _flush(unit: LogicalUnit, power: int) -> None:
    if not power & _POWER["no_flush"] and unit.medium_present:
        unit.store.flush()


def prevent_allow_medium_removal(
    nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer
) -> Completion:
    """SBC-3, PREVENT ALLOW MEDIUM REMOVAL: holds for the nexus that said it, until it allows, leaves or a
    reset.
    """
    unit = mapped.logical_unit
    _, prevent = layouts.PREVENT_ALLOW_MEDIUM_REMOVAL.struct.unpack_from(cdb)
    if not prevent & _PREVENT:
        unit.preventing.pop(nexus, None)
    elif not unit.removable:
        raise invalid_field(4, 1)
    else:
        unit.preventing[nexus] = None
    return Completion()


def _start_stop_rule(cdb: bytes) -> ReservationRule:
    """SBC-3: starting harms nobody, stopping and power conditions do."""
    harmless = cdb[4] & _POWER["start"] and not cdb[4] & _POWER["condition"]
    return ReservationRule.ALWAYS if harmless else ReservationRule.CONFLICT


def _prevent_rule(cdb: bytes) -> ReservationRule:
    """SPC-4: allowing removal harms nobody, preventing it does."""
    return ReservationRule.CONFLICT if cdb[4] & _PREVENT else ReservationRule.ALWAYS


COMMANDS: dict[int, Command] = {
    Opcode.START_STOP_UNIT: Command(start_stop_unit, layouts.START_STOP_UNIT, reservation=_start_stop_rule),
    Opcode.PREVENT_ALLOW_MEDIUM_REMOVAL: Command(
        prevent_allow_medium_removal, layouts.PREVENT_ALLOW_MEDIUM_REMOVAL, reservation=_prevent_rule
    ),
}
