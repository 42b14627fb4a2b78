"""The questions of a scan, one by one: odd units, broken pages, lists that grow."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from initiator.fake_units import INVALID_FIELD, INVALID_OPCODE, POWER_ON, FakeTarget, FakeUnit

from iscsim.errors import SessionFailed
from iscsim.initiator.scsi_scan import (
    SCSILevel,
    UnitIdentity,
    UnitQuestions,
    ask_for_pages,
    ask_for_standard_inquiry,
    ask_report_luns,
)
from iscsim.initiator.session_state import TransportFailed
from iscsim.initiator.task import CommandTask, CommandTimedOut
from iscsim.scsi.capacity import Capacity
from iscsim.scsi.designator import naa_designator
from iscsim.scsi.inquiry import StandardInquiry
from iscsim.scsi.lun import encode_lun, encode_lun_list
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.vpd import encode_page, encode_supported_pages

WWN = "6006016015e03a00ab2df25bb82d0ea9"
MEDIUM_CHANGED = POWER_ON.__class__(POWER_ON.key, 0x28, 0)


class Runner:
    """A target of one unit at LUN 5 without a device in front."""

    def __init__(self, unit: FakeUnit | None = None, **fields: Any) -> None:
        self.target = FakeTarget({5: unit} if unit else {}, **fields)

    async def run(self, task: CommandTask, timeout_s: float | None = None) -> CommandTask:
        self.timeout_s = timeout_s
        return await self.target.run_once(task, timeout_s)

    @property
    def cdbs(self) -> list[str]:
        return [task.cdb.hex() for task in self.target.sent]


def unit_5(runner: Runner, **options: Any) -> UnitQuestions:
    return UnitQuestions(runner, encode_lun(5), **options)


# -- INQUIRY -------------------------------------------------------------------------------------------


async def test_inquiry_is_asked_with_36_bytes_and_then_whole() -> None:
    runner = Runner(FakeUnit(inquiry=StandardInquiry(vendor="V")))
    data = await ask_for_standard_inquiry(unit_5(runner))
    assert runner.cdbs == ["120000002400", "120000006000"]
    assert runner.timeout_s == 20.5
    assert data is not None
    assert (len(data), StandardInquiry.parse(data).vendor) == (96, "V")


@pytest.mark.parametrize(
    "replies, asked",
    [
        ([POWER_ON, MEDIUM_CHANGED, bytes(36)], 3),
        ([POWER_ON, POWER_ON, POWER_ON, bytes(36)], 3),
        ([b"", bytes(36)], 2),
        ([INVALID_FIELD], 1),
    ],
)
async def test_inquiry_that_should_not_fail_is_tried_three_times(replies: list[Any], asked: int) -> None:
    runner = Runner(FakeUnit(replies={Opcode.INQUIRY: replies}))
    await ask_for_standard_inquiry(unit_5(runner))
    assert len(runner.cdbs) == asked


async def test_unit_that_has_no_more_than_36_bytes_after_all_is_asked_for_these_again() -> None:
    short = bytes([0, 0, 5, 2, 60]) + bytes(31)
    runner = Runner(FakeUnit(replies={Opcode.INQUIRY: [short, INVALID_FIELD, short]}))
    assert await ask_for_standard_inquiry(unit_5(runner)) == short
    assert [cdb[8:10] for cdb in runner.cdbs] == ["24", "41", "24"]


async def test_length_that_cannot_be_is_not_believed() -> None:
    runner = Runner(FakeUnit(replies={Opcode.INQUIRY: [bytes([0, 0, 5, 2, 255]) + bytes(31)]}))
    data = await ask_for_standard_inquiry(unit_5(runner))
    assert (len(data or b""), len(runner.cdbs)) == (36, 1)


async def test_units_that_do_not_survive_more_are_asked_for_36() -> None:
    runner = Runner(FakeUnit())
    await ask_for_standard_inquiry(unit_5(runner), has_only_36=lambda data: len(data) == 36)
    assert len(runner.cdbs) == 1


async def test_lun_stands_in_the_cdb_for_scsi_2() -> None:
    runner = Runner(FakeUnit())
    unit = unit_5(runner, lun_in_cdb=True)
    await ask_for_standard_inquiry(unit)
    await ask_for_pages(unit, {})
    assert [cdb[:4] for cdb in runner.cdbs] == ["12a0", "12a0", "12a1"]


@pytest.mark.parametrize(
    "head, level",
    [
        ("00000000", SCSILevel.UNKNOWN),
        ("00000100", SCSILevel.SCSI_1),
        ("00000101", SCSILevel.SCSI_1_CCS),
        ("00000202", SCSILevel.SCSI_2),
        ("00000302", SCSILevel.SCSI_3),
        ("00000512", SCSILevel.SPC_3),
        ("00000602", SCSILevel.SPC_4),
        ("00000702", SCSILevel.SPC_4),
    ],
)
def test_level_is_the_version_and_one_more(head: str, level: SCSILevel) -> None:
    assert SCSILevel.of(bytes.fromhex(head)) is level


# -- pages ---------------------------------------------------------------------------------------------


async def test_pages_are_asked_in_the_units_order_and_others_left_out() -> None:
    unit = FakeUnit().named(naa_designator(WWN), serial="S")
    unit.pages[0x00] = encode_page(0x00, bytes([0x83, 0x86, 0xC0, 0x80, 0x83]))
    runner = Runner(unit)
    found = await ask_for_pages(unit_5(runner), {})
    assert list(found) == [0x83, 0x80]
    assert [cdb[4:6] for cdb in runner.cdbs] == ["00", "00", "00", "83", "83", "00", "80", "80"]


@pytest.mark.parametrize("page", [b"", b"\0", b"\0\x80\0\4abcd", b"\0\0\0\0", INVALID_FIELD])
async def test_unit_without_page_00_keeps_what_is_known(page: Any) -> None:
    unit = FakeUnit(pages={0x00: page})
    assert await ask_for_pages(unit_5(Runner(unit)), {0x83: b"known"}) == {0x83: b"known"}


async def test_page_that_is_not_listed_in_the_first_36_bytes_is_not_there() -> None:
    unit = FakeUnit(pages={0x00: encode_page(0x00, bytes([*range(1, 33), 0x83]))}).pages
    runner = Runner(FakeUnit(pages=unit | {0x83: encode_page(0x83, bytes(8))}))
    assert await ask_for_pages(unit_5(runner), {}) == {}


async def test_page_that_turns_out_longer_is_asked_for_again() -> None:
    page = encode_page(0x83, bytes(20))
    replies: list[Any] = [encode_supported_pages([0x83])] * 3 + [page[:3] + b"\x08" + bytes(8), page, page]
    found = await ask_for_pages(unit_5(Runner(FakeUnit(replies={Opcode.INQUIRY: replies}))), {})
    assert found == {0x83: page}


async def test_page_that_always_is_longer_is_given_up() -> None:
    growing = [encode_page(0x83, bytes(8 * size)) for size in range(1, 99)]
    runner = Runner(FakeUnit(replies={Opcode.INQUIRY: [encode_supported_pages([0x83])] * 3 + growing}))
    assert await ask_for_pages(unit_5(runner), {}) == {}
    assert len(runner.cdbs) < 16


async def test_page_that_is_shorter_than_it_says_is_filled_up() -> None:
    unit = FakeUnit(pages={0x00: encode_supported_pages([0x80]), 0x80: b"\0\x80\0\x0aabc"})
    assert await ask_for_pages(unit_5(Runner(unit)), {}) == {0x80: b"\0\x80\0\x0aabc" + bytes(7)}


# -- REPORT LUNS ---------------------------------------------------------------------------------------


async def test_longer_list_is_asked_for_again() -> None:
    luns = [encode_lun(number) for number in range(600)]
    runner = Runner(luns=luns)
    assert await ask_report_luns(unit_5(runner)) == luns
    assert [cdb[12:20] for cdb in runner.cdbs] == ["00001000", "000012c8"]


@pytest.mark.parametrize(
    "reply, found",
    [
        (encode_lun_list([encode_lun(5), encode_lun(5)]), [encode_lun(5)]),
        (b"\0\0", []),
        (bytes.fromhex("000000070000000000050000"), []),
        (bytes.fromhex("ffffffff00000000") + encode_lun(1), [encode_lun(1)]),
        (INVALID_OPCODE, None),
        (8, None),
        (CommandTimedOut("late"), None),
    ],
)
async def test_report_luns(reply: Any, found: list[bytes] | None) -> None:
    runner = Runner(luns=reply)
    assert await ask_report_luns(unit_5(runner)) == found
    assert len(runner.cdbs) <= 3


async def test_unit_attention_is_passed_twice() -> None:
    runner = Runner(luns=POWER_ON)
    assert await ask_report_luns(unit_5(runner)) is None
    assert len(runner.cdbs) == 3


async def test_lost_session_is_no_answer() -> None:
    with pytest.raises(SessionFailed):
        await ask_report_luns(unit_5(Runner(luns=TransportFailed("gone"))))


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=300) | st.just(INVALID_FIELD), min_size=1, max_size=12))
async def test_whatever_a_unit_answers_the_questions_end(replies: list[Any]) -> None:
    runner = Runner(FakeUnit(replies={Opcode.INQUIRY: replies}), luns=replies[0])
    inquiry = await ask_for_standard_inquiry(unit_5(runner))
    pages = await ask_for_pages(unit_5(runner), {})
    await ask_report_luns(unit_5(runner))
    identity = UnitIdentity(inquiry=inquiry or bytes(36), pages=pages)
    assert isinstance(identity.names.scsi_id, str)
    assert identity.differences(identity) == []


# -- what is kept --------------------------------------------------------------------------------------


def test_differences_name_both_sides() -> None:
    here = UnitIdentity(inquiry=StandardInquiry(vendor="A").encode())
    there = UnitIdentity(inquiry=here.inquiry, capacity=Capacity(blocks=8, block_size=512))
    assert there.differences(here, mine="before", yours="after") == [
        "capacity: before has 4096 bytes, after none",
        "block size: before has 512, after none",
    ]
