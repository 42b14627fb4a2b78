"""INQUIRY data in words."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

import iscsim
from iscsim.cli.inquiry import describe_inquiry
from iscsim.errors import SCSIError

WWN = "6006016015e03a00ab2df25bb82d0ea9"


@pytest.fixture
async def session() -> AsyncIterator[Any]:
    luns = {1: f"1M,wwn={WWN},serial=FNM00150600267", 2: "1M,thin"}
    async with iscsim.serve(luns=luns) as target, iscsim.connect(target.portal, target.name) as session:
        yield session


async def test_standard_data_has_codes_in_words(session: Any) -> None:
    description = await describe_inquiry(session, 1, None)
    assert (description["vendor"], description["product"]) == ("ISCSIM", "VIRTUAL-DISK")
    assert (description["device_type"], description["qualifier"]) == ("disk", "connected")
    assert "iscsi" in description["version_descriptors"]


async def test_standard_data_can_be_json(session: Any) -> None:
    description = await describe_inquiry(session, 1, None)
    assert json.loads(json.dumps(description))["vendor_specific"] == ""


async def test_page_00_lists_the_pages(session: Any) -> None:
    pages = (await describe_inquiry(session, 1, 0x00))["pages"]
    assert "0x83 device identification" in pages
    assert [page.split()[0] for page in pages] == sorted(page.split()[0] for page in pages)


async def test_page_80_is_the_serial_number(session: Any) -> None:
    assert await describe_inquiry(session, 1, 0x80) == {"serial": "FNM00150600267"}


async def test_page_83_has_what_hosts_make_of_it(session: Any) -> None:
    description = await describe_inquiry(session, 1, 0x83)
    assert (description["scsi_id"], description["wwid"]) == (f"3{WWN}", f"naa.{WWN}")
    assert description["multipath"] == f"3{WWN}"
    assert "disagreements" not in description
    assert f"naa of logical unit: {WWN}" in description["designators"]
    assert "relative target port of target port: 1" in description["designators"]


@pytest.mark.parametrize("page", [0xB0, 0xB1, 0xB2])
async def test_block_pages_are_tables_of_fields(session: Any, page: int) -> None:
    description = await describe_inquiry(session, 2, page)
    assert len(description) > 1
    assert json.loads(json.dumps(description)) == description


async def test_page_we_cannot_read_stays_hexadecimal(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def inquiry(lun: int, page: int) -> bytes:
        return bytes([0, page, 0, 2, 0xAB, 0xCD])

    monkeypatch.setattr(session, "inquiry", inquiry)
    assert await describe_inquiry(session, 1, 0xC0) == {"page": "0xc0", "hex": "00 c0 00 02 ab cd"}


async def test_page_that_is_another_is_an_error(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def inquiry(lun: int, page: int) -> bytes:
        return bytes([0, 0x80, 0, 0])

    monkeypatch.setattr(session, "inquiry", inquiry)
    with pytest.raises(SCSIError, match="page 0x83 of LUN 1"):
        await describe_inquiry(session, 1, 0x83)


async def test_lun_that_does_not_exist_is_an_error(session: Any) -> None:
    with pytest.raises(SCSIError, match="no LUN 9 there"):
        await describe_inquiry(session, 9, None)
