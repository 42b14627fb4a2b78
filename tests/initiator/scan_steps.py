"""Commands of a scan in the words of docs/reference/scan.md."""

from __future__ import annotations

import re
from pathlib import Path

from iscsim.scsi.opcode import Opcode

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "scan.md"
_COMMANDS = {
    Opcode.INQUIRY: "INQUIRY",
    Opcode.WRITE_SAME_16: "WRITE SAME (16)",
    Opcode.WRITE_SAME_10: "WRITE SAME (10)",
}


def step(cdb: bytes) -> str:
    """One command as the page calls it."""
    match cdb[0]:
        case Opcode.INQUIRY if not cdb[1] & 1:
            return f"INQUIRY, {_length(cdb[4], 36)}"
        case Opcode.INQUIRY:
            return f"page {cdb[2]:02X}, {_length(cdb[4], 4, 36 if cdb[2] == 0 else 4)}"
        case Opcode.REPORT_LUNS:
            return f"REPORT LUNS, {int.from_bytes(cdb[6:10], 'big')} bytes"
        case Opcode.TEST_UNIT_READY:
            return "TEST UNIT READY"
        case Opcode.SERVICE_ACTION_IN_16:
            return "READ CAPACITY (16)"
        case Opcode.MODE_SENSE_6:
            return f"MODE SENSE (6) page {cdb[2]:02X}, {_length(cdb[4], 4)}"
        case Opcode.MAINTENANCE_IN:
            return f"REPORT SUPPORTED OPERATION CODES of {_COMMANDS[Opcode(cdb[3])]}"
        case Opcode.READ_10:
            lba, blocks = int.from_bytes(cdb[2:6], "big"), int.from_bytes(cdb[7:9], "big")
            return f"READ (10) of {blocks} blocks from {lba}"
    return cdb.hex()


def _length(length: int, *told: int) -> str:
    return f"{length} bytes" if length in told else "all of it"


def _column(table: str, number: int) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"^\| {re.escape(table)} .*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert found is not None
    return [row.split("|")[number].strip() for row in found[1].splitlines()]


def documented_steps() -> list[str]:
    """The sequence to a new disk."""
    return _column("step", 2)


def documented_differences() -> list[str]:
    """What Linux sends and we do not."""
    return _column("commands", 1)
