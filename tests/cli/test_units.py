"""How a scanned logical unit is shown."""

from __future__ import annotations

import json
from dataclasses import replace

from iscsim.cli.units import UNIT_COLUMNS, unit_columns, unit_row
from iscsim.initiator import LogicalUnitInfo

UNIT = LogicalUnitInfo(
    number=197,
    lun=bytes.fromhex("00c5000000000000"),
    vendor="DGC",
    product="VRAID",
    wwn="36006016015e03a00ab2df25bb82d0ea9",
    block_size=512,
    blocks=6 << 20,
    read_only=True,
)


def test_row_has_every_column_and_can_be_json() -> None:
    row = unit_row(UNIT)
    assert set(UNIT_COLUMNS) <= set(row)
    assert json.loads(json.dumps(row)) == row


def test_row_says_why_there_is_no_size() -> None:
    row = unit_row(replace(UNIT, blocks=0, no_capacity="MEDIUM NOT PRESENT"))
    assert (row["capacity"], row["no_capacity"]) == ("unknown", "MEDIUM NOT PRESENT")
    assert unit_columns([row])[-1] == "no_capacity"


def test_row_with_a_size_needs_no_reason() -> None:
    row = unit_row(UNIT)
    assert (row["no_capacity"], unit_columns([row])) == (None, UNIT_COLUMNS)


def test_row_says_size_in_bytes_and_for_people() -> None:
    row = unit_row(UNIT)
    assert (row["size"], row["capacity"], row["blocks"]) == (3 << 30, "3 GiB", 6 << 20)
    assert (row["lun"], row["raw_lun"], row["read_only"]) == (197, "00c5000000000000", True)
