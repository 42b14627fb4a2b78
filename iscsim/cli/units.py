"""How a logical unit is shown, and one that is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from iscsim.cli.output import human_size
from iscsim.errors import SCSIError

if TYPE_CHECKING:
    from iscsim.initiator.recovering_session import RecoveringSession
    from iscsim.initiator.scan import LogicalUnitInfo
    from iscsim.initiator.session import Session

UNIT_COLUMNS = ("lun", "vendor", "product", "revision", "capacity", "block_size", "read_only", "wwn")


def unit_row(unit: LogicalUnitInfo) -> dict[str, Any]:
    """A row of ``UNIT_COLUMNS`` and more, ready for JSON."""
    return {
        "lun": unit.number,
        "raw_lun": unit.lun.hex(),
        "vendor": unit.vendor,
        "product": unit.product,
        "revision": unit.revision,
        "serial": unit.serial,
        "wwn": unit.wwn,
        "block_size": unit.block_size,
        "blocks": unit.blocks,
        "size": unit.size,
        "capacity": f"unknown: {unit.no_capacity}" if unit.no_capacity else human_size(unit.size),
        "read_only": unit.read_only,
    }


@asynccontextmanager
async def asking_unit(session: Session | RecoveringSession, lun: int) -> AsyncIterator[None]:
    """Ask a unit something: what it refuses because it is not there becomes an error that says what is.

    Raises:
        SCSIError: there is no such LUN, or what the unit itself says.
    """
    try:
        yield
    except SCSIError as error:
        there = await _numbers(session)
        if there is None or lun in there:
            raise
        names = ", ".join(map(str, there)) or "none"
        raise SCSIError(f"no LUN {lun} at {session.target_name} (LUNs there: {names})") from error


async def _numbers(session: Session | RecoveringSession) -> list[int] | None:
    """The LUNs the target reports; None when it does not."""
    from iscsim.initiator.scan import lun_number

    try:
        numbers = map(lun_number, await session.report_luns())
    except (SCSIError, ValueError):
        return None
    return [number for number in numbers if number is not None]
