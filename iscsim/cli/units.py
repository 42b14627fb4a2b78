"""How a scanned logical unit is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iscsim.cli.output import human_size

if TYPE_CHECKING:
    from iscsim.initiator.scan import LogicalUnitInfo

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
        "capacity": human_size(unit.size),
        "read_only": unit.read_only,
    }
