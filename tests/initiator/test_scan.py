"""Scanning: what is found, what is passed over, and targets that talk nonsense."""

from typing import Any

import pytest

from iscsim.errors import SessionFailed
from iscsim.initiator.client import connect
from iscsim.initiator.scan import LogicalUnitInfo, lun_number, scan
from iscsim.scsi.inquiry import DeviceType, StandardInquiry
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.sense import ASC, CommandFailed, Sense, SenseKey
from iscsim.scsi.store import MemoryStore

WWN = "6006016015e03a00ab2df25bb82d0ea9"
NOT_KNOWN = CommandFailed(2)


async def test_unit_with_all_its_marks(target: Any) -> None:
    unit = LogicalUnit(MemoryStore(2048), vendor="DGC", product="VRAID", serial="FNM1", wwn=WWN)
    target.node.add_lun(197, unit, read_only=True)
    async with connect(target.portal, target.name) as session:
        one, found = await session.scan()
    assert (one.number, one.read_only) == (1, False)
    assert (found.number, found.lun.hex()) == (197, "00c5000000000000")
    assert (found.vendor, found.product, found.serial) == ("DGC", "VRAID", "FNM1")
    assert found.wwn == "3" + WWN
    assert (found.blocks, found.block_size, found.size, found.read_only) == (2048, 512, 1 << 20, True)
    assert str(found) == "LUN 197: DGC VRAID, 1048576 bytes"


async def test_target_without_units(target: Any) -> None:
    target.node.lun_map.remove(1)
    async with connect(target.portal, target.name) as session:
        assert await session.scan() == []


class FakeSession:
    """Answers of a target by name of the question; an exception is raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {
            "luns": [bytes(8)],
            "inquiry": StandardInquiry(vendor="V", product="P"),
            "pages": {},
            "capacity": NOT_KNOWN,
        } | answers

    def _answer(self, name: str) -> Any:
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def report_luns(self) -> Any:
        return self._answer("luns")

    async def inquiry(self, lun: bytes, page: int | None = None) -> Any:
        if page is None:
            answer = self._answer("inquiry")
            return answer[lun] if isinstance(answer, dict) else answer
        if page not in self.answers["pages"]:
            raise NOT_KNOWN
        return self.answers["pages"][page]

    async def read_capacity(self, lun: bytes) -> Any:
        return self._answer("capacity")

    async def is_read_only(self, lun: bytes) -> bool:
        return False


async def scanned(**answers: Any) -> list[LogicalUnitInfo]:
    return await scan(FakeSession(**answers))  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [CommandFailed(2), ValueError("3 bytes")])
async def test_lun_0_alone_where_report_luns_does_not_work(error: Exception) -> None:
    assert [unit.lun for unit in await scanned(luns=error)] == [bytes(8)]


@pytest.mark.parametrize("qualifier", [1, 3])
async def test_unit_that_is_not_connected_is_passed_over(qualifier: int) -> None:
    assert await scanned(inquiry=StandardInquiry(qualifier=qualifier, device_type=0x1F)) == []


async def test_lun_told_twice_is_one_unit() -> None:
    assert len(await scanned(luns=[bytes(8), bytes(8)])) == 1


async def test_well_known_unit_is_passed_over() -> None:
    assert await scanned(luns=[bytes.fromhex("c101000000000000")]) == []


@pytest.mark.parametrize("error", [CommandFailed(2), ValueError("4 bytes")])
async def test_unit_that_talks_nonsense_is_left_out(error: Exception) -> None:
    assert await scanned(inquiry=error) == []


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (CommandFailed(2, Sense.of(SenseKey.NOT_READY, ASC.MEDIUM_NOT_PRESENT)), "MEDIUM NOT PRESENT"),
        (CommandFailed(8), "BUSY"),
        (ValueError("4 bytes of capacity"), "4 bytes of capacity"),
    ],
)
async def test_unit_without_capacity_says_why(error: Exception, why: str) -> None:
    (unit,) = await scanned(capacity=error)
    assert unit.size == 0
    assert why.lower() in unit.no_capacity.lower()


async def test_controller_has_no_capacity() -> None:
    (unit,) = await scanned(
        inquiry=StandardInquiry(device_type=DeviceType.STORAGE_ARRAY_CONTROLLER), capacity=AssertionError()
    )
    assert (unit.device_type, unit.size) == (DeviceType.STORAGE_ARRAY_CONTROLLER, 0)


@pytest.mark.parametrize(
    "pages",
    [
        {},
        {0x00: b""},
        {0x00: bytes.fromhex("00800000")},
        {0x00: bytes.fromhex("0000000300"), 0x83: b"\xff"},
        {0x00: bytes.fromhex("00000003008083"), 0x80: b"\0\x83\0\0", 0x83: bytes.fromhex("0083ffff01030010")},
    ],
)
async def test_pages_that_are_missing_or_broken_leave_no_wwn(pages: dict[int, bytes]) -> None:
    (unit,) = await scanned(pages=pages)
    assert (unit.wwn, unit.serial) == ("", "")


async def test_session_that_ends_meanwhile_is_told() -> None:
    with pytest.raises(SessionFailed):
        await scanned(inquiry=SessionFailed("gone"))


@pytest.mark.parametrize(
    "lun,number",
    [
        ("0005000000000000", 5),
        ("4005000000000000", 5),
        ("4100000000000000", 256),
        ("d2012345000000" + "00", 0x012345),
        ("8001000000000000", 0x8001),
        ("0001000200000000", 0x00020001),
        ("c101000000000000", None),
    ],
)
def test_number_behind_a_lun(lun: str, number: int | None) -> None:
    assert lun_number(bytes.fromhex(lun)) == number
