"""Path checkers: whether a path works, as multipath-tools' checkers of these names find out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from iscsim.errors import ISCSIError
from iscsim.initiator.multipath.path import Path
from iscsim.initiator.multipath.priorities import unit_report
from iscsim.initiator.multipath.states import CheckerState
from iscsim.initiator.task import CommandTimedOut
from iscsim.scsi import cdb as commands
from iscsim.scsi.asc import ASC
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.unit_path_report import LUNState

__all__ = ["CHECKERS", "Checker", "check_path"]

Checker = Callable[[Path, float], Awaitable[CheckerState]]

_UNIT_ATTENTIONS = {"tur": 5, "readsector0": 3}
_WITHOUT_ASKING = {
    "blocked": CheckerState.PENDING,
    "quiesce": CheckerState.PENDING,
    "FAILED": CheckerState.PENDING,
    "offline": CheckerState.DOWN,
    "transport-offline": CheckerState.DOWN,
    "deleted": CheckerState.DOWN,
    "FREE": CheckerState.DOWN,
}
"""What the state of a SCSI device, or of the iSCSI session itself, says before anything is sent."""
_PAGE = 4096
_INACTIVE_SNAPSHOT = (SenseKey.ILLEGAL_REQUEST, 0x2501)


async def check_path(path: Path, checker: str, timeout_s: float) -> CheckerState:
    """What the checker of that name says of a path within ``timeout_s``, having looked at its device's state.

    TIMEOUT is for the caller to see; multipathd treats it as DOWN.
    """
    state = getattr(path.session, "state", None)
    known = _WITHOUT_ASKING.get(str(getattr(state, "value", state)))
    if known is not None:
        return known
    try:
        return await CHECKERS[checker](path, timeout_s)
    except CommandTimedOut:
        return CheckerState.TIMEOUT
    except (ISCSIError, ValueError):
        return CheckerState.DOWN


async def _execute(path: Path, cdb: bytes, length: int, timeout_s: float, attempts: int) -> Any:
    """The result of a command, which is repeated for as many unit attentions."""
    for _ in range(attempts):
        result = await path.session.execute(path.unit, cdb, data_in_length=length, timeout_s=timeout_s)
        if result.sense is None or result.sense.key != SenseKey.UNIT_ATTENTION:
            break
    return result


async def _tur(path: Path, timeout_s: float) -> CheckerState:
    """A reservation conflict is UP, standby is GHOST, any other refusal DOWN."""
    cdb = commands.test_unit_ready()
    result = await _execute(path, cdb, 0, timeout_s, _UNIT_ATTENTIONS["tur"])
    if result.status in (Status.GOOD, Status.RESERVATION_CONFLICT):
        return CheckerState.UP
    return CheckerState.GHOST if _is_standby(result.sense) else CheckerState.DOWN


def _is_standby(sense: Sense | None) -> bool:
    return sense is not None and (sense.key, sense.code) == (SenseKey.NOT_READY, ASC.TARGET_PORT_STANDBY)


async def _read(path: Path, timeout_s: float, length: int) -> Any:
    block_size = path.unit.block_size or (await path.session.read_capacity(path.unit)).block_size
    blocks = max(1, length // block_size)
    cdb = commands.read_10(0, blocks)
    attempts = _UNIT_ATTENTIONS["readsector0"]
    return await _execute(path, cdb, blocks * block_size, timeout_s, attempts)


async def _directio(path: Path, timeout_s: float) -> CheckerState:
    """One page from the beginning, as the block layer would read it: whatever goes wrong is DOWN."""
    result = await _read(path, timeout_s, _PAGE)
    return CheckerState.UP if result.status == Status.GOOD else CheckerState.DOWN


async def _readsector0(path: Path, timeout_s: float) -> CheckerState:
    result = await _read(path, timeout_s, 1)
    return CheckerState.UP if result.status == Status.GOOD else CheckerState.DOWN


async def _emc_clariion(path: Path, timeout_s: float) -> CheckerState:
    """Page C0h: DOWN for a host or a LUN that is not set up, SHAKY during an upgrade, else UP.

    Both service processors are UP: the passive one takes the LUN over when it is asked to. Through the owner
    it also reads; what that finds of an inactive snapshot holds for the other paths of the unit too.
    """
    report = await unit_report(path, timeout_s)
    if not report.may_fail_over:
        return CheckerState.DOWN
    if report.busy:
        return CheckerState.SHAKY
    if report.lun_state == LUNState.UNBOUND:
        return CheckerState.DOWN
    if path.memory.setdefault("wwn", report.wwn) != report.wwn:
        return CheckerState.DOWN
    unit = path.memory.setdefault("unit", {})
    if report.lun_state != LUNState.OWNED:
        return CheckerState.DOWN if unit.get("inactive_snapshot") else CheckerState.UP
    return await _read_through_owner(path, timeout_s, unit)


async def _read_through_owner(path: Path, timeout_s: float, unit: dict[str, bool]) -> CheckerState:
    result = await _read(path, timeout_s, _PAGE)
    if result.status == Status.GOOD:
        unit["inactive_snapshot"] = False
        return CheckerState.UP
    sense = result.sense
    if sense is not None and (sense.key, sense.code) == _INACTIVE_SNAPSHOT:
        unit["inactive_snapshot"] = True
    return CheckerState.DOWN


CHECKERS: dict[str, Checker] = {
    "tur": _tur,
    "directio": _directio,
    "emc_clariion": _emc_clariion,
    "readsector0": _readsector0,
}
