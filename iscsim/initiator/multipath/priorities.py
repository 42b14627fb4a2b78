"""Prioritizers: how good a path is, as multipath-tools' modules of these names see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from iscsim.initiator.multipath.asymmetric import learn_port_group, report_target_port_groups
from iscsim.initiator.multipath.path import Path
from iscsim.scsi import cdb as commands
from iscsim.scsi.asymmetric_access import AccessState
from iscsim.scsi.sense import CommandFailed
from iscsim.scsi.status import Status
from iscsim.scsi.unit_path_report import UnitPathReport
from iscsim.scsi.vpd import VPDPage

__all__ = ["ALUA_PRIORITIES", "PREFERRED", "PRIORITIES", "Prioritizer", "unit_report"]

Prioritizer = Callable[[Path, float, str], Awaitable[int]]
"""Of a path, seconds a command may take and ``prio_args``, makes a priority.

It raises ValueError, CommandFailed or what the session raises when it cannot tell.
"""

ALUA_PRIORITIES: dict[int, int] = {
    AccessState.ACTIVE_OPTIMIZED: 50,
    AccessState.ACTIVE_NON_OPTIMIZED: 10,
    AccessState.LOGICAL_BLOCK_DEPENDENT: 5,
    AccessState.STANDBY: 1,
}
"""0 for the others."""
PREFERRED = 80
"""What PREF adds. To active/optimized only with ``exclusive_pref_bit``: it is preferred anyway."""
_DEFAULT_OWNER = 2
_REPORT_LENGTH = 128


async def _const(path: Path, timeout_s: float, arguments: str) -> int:
    return 1


async def _alua(path: Path, timeout_s: float, arguments: str) -> int:
    number = await learn_port_group(path)
    if number is None:
        raise ValueError(f"{path.where}: no target port group")
    groups, _ = await report_target_port_groups(path, timeout_s)
    for group in groups:
        if group.group == number:
            priority = ALUA_PRIORITIES.get(group.state, 0)
            exclusive = "exclusive_pref_bit" in arguments.split()
            preferred = group.preferred and (group.state != AccessState.ACTIVE_OPTIMIZED or exclusive)
            return priority + (PREFERRED if preferred else 0)
    raise ValueError(f"{path.where}: target port group {number} is not reported")


async def unit_report(path: Path, timeout_s: float) -> UnitPathReport:
    """VPD page C0h through a path. Raises CommandFailed, ValueError, and what the session raises."""
    cdb = commands.inquiry(VPDPage.UNIT_PATH_REPORT, allocation_length=_REPORT_LENGTH)
    result = await path.session.execute(path.unit, cdb, data_in_length=_REPORT_LENGTH, timeout_s=timeout_s)
    if result.status != Status.GOOD:
        raise CommandFailed(result.status, result.sense, "INQUIRY of page C0h")
    return UnitPathReport.parse(result.data_in)


async def _emc(path: Path, timeout_s: float, arguments: str) -> int:
    """2 for the owner, 1 for the other service processor, 2 more for the default owner: 4 and 1 at rest."""
    report = await unit_report(path, timeout_s)
    if not (report.may_fail_over and not report.busy):
        return 0
    return report.lun_state + (_DEFAULT_OWNER if report.default_owner == report.processor else 0)


PRIORITIES: dict[str, Prioritizer] = {"const": _const, "alua": _alua, "emc": _emc}
