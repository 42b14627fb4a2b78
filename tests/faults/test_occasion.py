"""What is known at a moment."""

from __future__ import annotations

import pytest

from iscsim.faults.occasion import FIELDS, SCOPES, Hook, Occasion


def test_block_range_comes_from_the_cdb() -> None:
    read = Occasion(hook=Hook.START, now=0, cdb=bytes.fromhex("28000000002a00000800"))
    assert (read.lba, read.blocks, read.command) == (42, 8, "READ (10)")
    inquiry = Occasion(hook=Hook.START, now=0, cdb=bytes.fromhex("120000002400"))
    assert (inquiry.lba, inquiry.blocks, inquiry.command) == (None, 0, "INQUIRY")


@pytest.mark.parametrize("cdb", [b"\x28", b"\x28\0\0", b"\xff" * 16, b"\x88"])
def test_cdb_that_is_none_has_no_range(cdb: bytes) -> None:
    assert Occasion(hook=Hook.START, now=0, cdb=cdb).lba is None


@pytest.mark.parametrize(
    "field, number",
    [("0005000000000000", 5), ("4005000000000000", 5), ("c101000000000000", None), ("0005", None)],
)
def test_lun_may_be_given_as_the_wire_has_it(field: str, number: int | None) -> None:
    occasion = Occasion(hook=Hook.START, now=0, lun=bytes.fromhex(field))
    assert (occasion.lun, occasion.lun_field.hex()) == (number, field)


def test_everything_that_can_be_matched_is_there() -> None:
    occasion = Occasion(hook=Hook.START, now=0)
    assert set(FIELDS) == set(Hook)
    assert all(hasattr(occasion, name) for fields in FIELDS.values() for name in fields)
    assert occasion.describe() == {}


def test_scopes_have_keys_of_their_own() -> None:
    occasion = Occasion(hook=Hook.START, now=0, portal="p", initiator="i", target="t", connection=3)
    assert [occasion.scope_key(scope) for scope in SCOPES] == ["3", "i t p", "t", "i", ""]
