"""Hardware handlers: what makes a path group ready before it is used, as the kernel's ``scsi_dh_*`` do it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum

from iscsim.errors import ISCSIError
from iscsim.initiator.multipath.asymmetric import (
    learn_port_group,
    report_target_port_groups,
    set_target_port_group,
)
from iscsim.initiator.multipath.path import Path
from iscsim.initiator.multipath.priorities import unit_report
from iscsim.scsi import cdb as commands
from iscsim.scsi.asc import ASC
from iscsim.scsi.asymmetric_access import AccessModes, AccessState
from iscsim.scsi.sense import CommandFailed, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.unit_path_report import LUNState

__all__ = ["HANDLERS", "TRESPASS_PAGE", "Activation", "activate", "trespass_parameters"]

TIMEOUT_S = 60.0
TRESPASS_PAGE = 0x22
_ATTEMPTS = 4
_HONOUR_NO_RESERVATIONS = 0x80
_TRESPASS = bytes.fromhex("000000000000000022 09 01 ffff 000000000000")


class Activation(Enum):
    """How it ended."""

    READY = "ready"
    AGAIN = "again"
    """The array is busy with it: ask again in a while."""
    BYPASS = "bypass"
    """Not this group now: the array says that it must not change over."""
    FAILED = "failed"


Handler = Callable[[Path], Awaitable[Activation]]
_BUSY: dict[tuple[int, int], Activation] = {
    (
        SenseKey.ILLEGAL_REQUEST,
        ASC.LOGICAL_UNIT_NOT_READY,
    ): Activation.BYPASS,  # an array based copy is going on
    (
        SenseKey.NOT_READY,
        ASC.MANUAL_INTERVENTION_REQUIRED,
    ): Activation.BYPASS,  # its software is being upgraded
}


async def activate(path: Path, handler: str) -> Activation:
    """Make ``path`` usable with the handler of that name."""
    try:
        return await HANDLERS[handler](path)
    except CommandFailed as error:
        sense = error.sense
        if sense is None:
            return Activation.FAILED
        return _BUSY.get((sense.key, sense.code), Activation.FAILED)
    except (ISCSIError, ValueError):
        return Activation.FAILED


def trespass_parameters() -> bytes:
    """The parameter list of MODE SELECT (10) that has this service processor take the LUN over."""
    parameters = bytearray(_TRESPASS)
    parameters[10] |= _HONOUR_NO_RESERVATIONS
    return bytes(parameters)


async def _emc(path: Path) -> Activation:
    """Trespass, unless this service processor owns the LUN already."""
    report = await unit_report(path, TIMEOUT_S)
    if report.busy:
        return Activation.BYPASS
    if report.lun_state == LUNState.OWNED:
        return Activation.READY
    parameters = trespass_parameters()
    cdb = commands.mode_select_10(parameters)
    for _ in range(_ATTEMPTS):
        result = await path.session.execute(path.unit, cdb, data_out=parameters, timeout_s=TIMEOUT_S)
        if result.status == Status.GOOD:
            return Activation.READY
        error = CommandFailed(result.status, result.sense, "MODE SELECT (10) of page 22h")
        if not error.is_unit_attention:
            break
    raise error


async def _alua(path: Path) -> Activation:
    """Ask for active/optimized where hosts may; where the array changes over by itself, wait until it has."""
    number = await learn_port_group(path)
    if number is None:
        return Activation.READY
    groups, _ = await report_target_port_groups(path, TIMEOUT_S)
    state = next((group.state for group in groups if group.group == number), AccessState.ACTIVE_OPTIMIZED)
    if state == AccessState.TRANSITIONING:
        return Activation.AGAIN
    if state == AccessState.OFFLINE:
        return Activation.FAILED
    if (path.tpgs or 0) & AccessModes.EXPLICIT and state != AccessState.ACTIVE_OPTIMIZED:
        await set_target_port_group(path, AccessState.ACTIVE_OPTIMIZED, TIMEOUT_S)
        return Activation.READY
    return Activation.READY if state in _ACCESSIBLE else Activation.FAILED


_ACCESSIBLE = frozenset(
    {
        AccessState.ACTIVE_OPTIMIZED,
        AccessState.ACTIVE_NON_OPTIMIZED,
        AccessState.LOGICAL_BLOCK_DEPENDENT,
    }
)
HANDLERS: dict[str, Handler] = {"emc": _emc, "alua": _alua}
