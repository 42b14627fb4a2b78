"""Asymmetric access seen from a path: its target port group, and the state of that group now."""

from __future__ import annotations

from iscsim.initiator.multipath.path import Path
from iscsim.scsi import cdb as commands
from iscsim.scsi.designator import Association, DesignatorType
from iscsim.scsi.sense import CommandFailed, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.target_port_groups import TargetPortGroup, encode_states, parse_report
from iscsim.scsi.vpd import VPDPage, parse_device_identification

__all__ = ["learn_port_group", "report_target_port_groups", "set_target_port_group"]

_ATTEMPTS = 5
_LONGEST_REPORT = 0xFFFF


async def learn_port_group(path: Path) -> int | None:
    """The target port group of a path, asked once; None when the unit has no asymmetric access.

    Raises what `session.inquiry` raises, and ValueError when pages make no sense.
    """
    if path.tpgs is None:
        path.tpgs = (await path.session.inquiry(path.unit)).tpgs
    if path.tpgs and path.port_group is None:
        page = await path.session.inquiry(path.unit, VPDPage.DEVICE_IDENTIFICATION)
        for designator in parse_device_identification(page):
            if (designator.association, designator.type) == (
                Association.TARGET_PORT,
                DesignatorType.TARGET_PORT_GROUP,
            ):
                path.port_group = int.from_bytes(designator.value[-2:], "big")
    return path.port_group if path.tpgs else None


async def report_target_port_groups(path: Path, timeout_s: float) -> tuple[list[TargetPortGroup], int]:
    """The groups and the implicit transition time in seconds, 0 where it is not known.

    Raises CommandFailed, ValueError for a report that makes no sense, and what the path's session raises.
    """
    length, extended = 128, True
    for _ in range(_ATTEMPTS):
        cdb = commands.report_target_port_groups(extended=extended, allocation_length=length)
        result = await path.session.execute(path.unit, cdb, data_in_length=length, timeout_s=timeout_s)
        if result.status == Status.GOOD:
            needed = 4 + int.from_bytes(result.data_in[:4], "big")
            if needed <= length or length == _LONGEST_REPORT:
                return parse_report(result.data_in)
            length = min(needed, _LONGEST_REPORT)
            continue
        error = CommandFailed(result.status, result.sense, "REPORT TARGET PORT GROUPS")
        if extended and result.sense is not None and result.sense.key == SenseKey.ILLEGAL_REQUEST:
            extended = False  # arrays that know the command may not know its longer header
        elif not error.is_unit_attention:
            raise error
    raise CommandFailed(result.status, result.sense, "REPORT TARGET PORT GROUPS")


async def set_target_port_group(path: Path, state: int, timeout_s: float) -> None:
    """Ask for a state of the path's own group; what the other groups become is the array's affair.

    Raises CommandFailed, and what the path's session raises.
    """
    parameters = encode_states([(path.port_group or 0, state)])
    cdb = commands.set_target_port_groups(parameter_list_length=len(parameters))
    for _ in range(_ATTEMPTS):
        result = await path.session.execute(path.unit, cdb, data_out=parameters, timeout_s=timeout_s)
        if result.status == Status.GOOD:
            return
        error = CommandFailed(result.status, result.sense, "SET TARGET PORT GROUPS")
        if not error.is_unit_attention:
            break
    raise error
