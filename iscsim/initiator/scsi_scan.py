"""What Linux 6.1 asks a logical unit while it scans: the commands of ``scsi_scan.c`` and ``scsi.c`` in order.

Each function asks one thing through :class:`UnitQuestions`, which sends to one LUN by whatever can run a
command. ``docs/reference/scan.md`` has the whole sequence and how it was compared with a recording.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from iscsim.errors import SCSIError
from iscsim.initiator.identity import Identity, identify
from iscsim.initiator.task import CommandTask
from iscsim.scsi import cdb as commands
from iscsim.scsi.capacity import Capacity
from iscsim.scsi.inquiry import StandardInquiry
from iscsim.scsi.lun import linux_lun, parse_lun_list
from iscsim.scsi.sense import Sense, SenseKey, parse_sense
from iscsim.scsi.status import Status
from iscsim.scsi.vpd import VPDPage, parse_unit_serial_number

__all__ = [
    "KEPT_PAGES",
    "Answer",
    "Runner",
    "SCSILevel",
    "UnitIdentity",
    "UnitQuestions",
    "ask_for_pages",
    "ask_for_standard_inquiry",
    "ask_report_luns",
    "is_page_listed",
]

KEPT_PAGES = (0x00, 0x80, 0x83, 0x89, 0xB0, 0xB1, 0xB2)
"""The vital product data pages the kernel keeps, as ``vpd_pg80`` and so on in sysfs."""
_INQUIRY_TIMEOUT_S = 20.5
_TIMEOUT_S = 30.0
_INQUIRY_LENGTH, _INQUIRY_LENGTH_MAX = 36, 255
_TRIES = 3
_PAGE_HEADER_LENGTH, _PAGE_LIST_LENGTH, _PAGE_LENGTH_MAX = 4, 36, 0xFFFF
_LUN_LIST_LENGTH, _LUN_LIST_LENGTH_MAX = 4096, 8 + 8 * 16384
_GROWTHS_MAX = 8
"""A page or list that is longer each time it is asked for is given up after so many times."""
_WELL_KNOWN = 0xC100


class SCSILevel(IntEnum):
    """Which standard a unit follows, as the kernel counts: VERSION of INQUIRY and one more from 2 on."""

    UNKNOWN = 0
    SCSI_1 = 1
    SCSI_1_CCS = 2
    SCSI_2 = 3
    SCSI_3 = 4
    SPC_2 = 5
    SPC_3 = 6
    SPC_4 = 7

    @classmethod
    def of(cls, inquiry: bytes) -> SCSILevel:
        """From standard INQUIRY data of 4 bytes or more."""
        version = inquiry[2] & 0x07
        ccs = version == 1 and inquiry[3] & 0x0F == 1
        return min(cls.SPC_4, cls(min(version + (version >= 2 or ccs), 7)))


class Runner(Protocol):
    """Whoever can run a command: a session, a SCSI device."""

    async def run(self, task: CommandTask, timeout_s: float | None = None) -> CommandTask:
        """Send a command and wait for its status; see :class:`iscsim.initiator.verbs.SCSIVerbs`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a question ended; ``status`` is None when there was no answer in time. ``sense`` may be missing."""

    status: int | None
    data: bytes = b""
    sense: Sense | None = None

    @property
    def is_good(self) -> bool:
        """Whether the command was done."""
        return self.status == Status.GOOD

    def is_sense(self, key: SenseKey, *codes: int) -> bool:
        """Whether the sense data has ``key`` and one of the additional sense codes, if any are given."""
        return self.sense is not None and self.sense.key == key and (not codes or self.sense.asc in codes)

    @property
    def is_not_known(self) -> bool:
        """Whether the unit says it has no such command, or not with these fields."""
        return self.is_sense(SenseKey.ILLEGAL_REQUEST, 0x20, 0x24)


class UnitQuestions:
    """One logical unit, asked by its 8-byte LUN.

    ``lun_in_cdb`` writes the LUN's low three bits into byte 1 of each CDB, as SCSI-2 wants it: Linux does so
    until it has seen what kind of target it is.
    """

    def __init__(self, runner: Runner, lun: bytes, *, lun_in_cdb: bool = False) -> None:
        self.lun = lun
        self.lun_in_cdb = lun_in_cdb
        self._runner = runner

    async def ask(self, cdb: bytes, length: int = 0, *, timeout_s: float = _TIMEOUT_S) -> Answer:
        """Send one command that reads ``length`` bytes at most.

        A command that is not answered in time, or aborted, is an Answer without status.

        Raises:
            SessionFailed: the session is gone.
        """
        if self.lun_in_cdb:
            cdb = bytes((cdb[0], cdb[1] & 0x1F | linux_lun(self.lun) << 5 & 0xE0)) + cdb[2:]
        try:
            task = await self._runner.run(CommandTask(self.lun, cdb, data_in_length=length), timeout_s)
        except SCSIError:
            return Answer(None)
        return Answer(task.status, bytes(task.data_in), parse_sense(task.sense_data))

    async def ask_again_while(
        self, again: Callable[[Answer], bool], cdb: bytes, length: int = 0, *, timeout_s: float = _TIMEOUT_S
    ) -> Answer:
        """As :meth:`ask`, three times at most while ``again`` says so of the answer."""
        for _ in range(_TRIES):
            answer = await self.ask(cdb, length, timeout_s=timeout_s)
            if not again(answer):
                break
        return answer


# -- INQUIRY -------------------------------------------------------------------------------------------


async def ask_for_standard_inquiry(
    unit: UnitQuestions, *, has_only_36: Callable[[bytes], bool] = lambda data: False
) -> bytes | None:
    """Standard INQUIRY data: 36 bytes first, then all the unit says it has; None when it does not answer.

    What comes back has 36 bytes at least, filled up with zeros. ``has_only_36`` says of the first 36 bytes
    whether they are of a unit that does not survive more (BLIST_INQUIRY_36).
    """
    data = await _inquiry(unit, _INQUIRY_LENGTH)
    if data is None:
        return None
    wanted = data[4] + 5
    if wanted > _INQUIRY_LENGTH_MAX or has_only_36(data):
        wanted = _INQUIRY_LENGTH
    if wanted > _INQUIRY_LENGTH:
        data = await _inquiry(unit, wanted) or await _inquiry(unit, _INQUIRY_LENGTH)
    return data


async def _inquiry(unit: UnitQuestions, length: int) -> bytes | None:
    answer = await unit.ask_again_while(
        _is_worth_another_try,
        commands.inquiry(allocation_length=length),
        length,
        timeout_s=_INQUIRY_TIMEOUT_S,
    )
    if not answer.is_good or not answer.data:
        return None
    return answer.data.ljust(length, b"\0")


def _is_worth_another_try(answer: Answer) -> bool:
    """INQUIRY should not report unit attentions; many units do, and some send nothing the first time."""
    if answer.is_good:
        return not answer.data
    return (
        answer.is_sense(SenseKey.UNIT_ATTENTION, 0x28, 0x29)
        and answer.sense is not None
        and not answer.sense.ascq
    )


# -- vital product data --------------------------------------------------------------------------------


async def ask_for_pages(unit: UnitQuestions, known: Mapping[int, bytes]) -> dict[int, bytes]:
    """The pages the kernel keeps, in the unit's order (``scsi_attach_vpd``).

    A page that cannot be read stays as it is in ``known``, and so does one that is not listed any more.
    """
    found = dict(known)
    listed = await _page(unit, VPDPage.SUPPORTED_PAGES)
    for code in dict.fromkeys(listed[_PAGE_HEADER_LENGTH:] if listed else b""):
        if code in KEPT_PAGES:
            page = await _page(unit, code)
            if page is not None:
                found[code] = page
    return found


async def is_page_listed(unit: UnitQuestions, code: int) -> bool:
    """Whether page 00h, asked for with room for 32 pages, lists ``code``."""
    listed = await _page_data(unit, VPDPage.SUPPORTED_PAGES, _PAGE_LIST_LENGTH)
    return listed is not None and code in listed[_PAGE_HEADER_LENGTH:]


async def _page(unit: UnitQuestions, code: int) -> bytes | None:
    """A whole page (``scsi_get_vpd_buf``): whether it is listed, its first four bytes, then all of it."""
    if code != VPDPage.SUPPORTED_PAGES and not await is_page_listed(unit, code):
        return None
    header = await _page_data(unit, code, _PAGE_HEADER_LENGTH)
    for _ in range(_GROWTHS_MAX):
        if header is None:
            return None
        length = min(_page_length(header), _PAGE_LENGTH_MAX)
        page = await _page_data(unit, code, length)
        if page is None or _page_length(page) <= length:
            return page
        header = page
    return None


def _page_length(page: bytes) -> int:
    return _PAGE_HEADER_LENGTH + int.from_bytes(page[2:4], "big")


async def _page_data(unit: UnitQuestions, code: int, length: int) -> bytes | None:
    """Up to ``length`` bytes of a page; None for another page or an empty one."""
    answer = await unit.ask(commands.inquiry(code, allocation_length=length), length)
    data = answer.data.ljust(_PAGE_HEADER_LENGTH, b"\0")
    if not answer.is_good or data[1] != code or not data[2] | data[3]:
        return None
    return data.ljust(length, b"\0")[: _page_length(data)]


# -- REPORT LUNS ---------------------------------------------------------------------------------------


async def ask_report_luns(unit: UnitQuestions) -> list[bytes] | None:
    """The LUNs in the target's order and writing, each once; None when it does not know REPORT LUNS.

    ``unit`` is LUN 0. Room for 511 at first, and for as many as there are if there are more.
    """
    length = _LUN_LIST_LENGTH
    for _ in range(_GROWTHS_MAX):
        cdb = commands.report_luns(allocation_length=length)
        answer = await unit.ask_again_while(_is_unit_attention, cdb, length)
        if not answer.is_good:
            return None
        luns, needed = parse_lun_list(answer.data.ljust(8, b"\0"))
        if needed <= length or length == _LUN_LIST_LENGTH_MAX:
            break
        length = min(needed, _LUN_LIST_LENGTH_MAX)
    return list(dict.fromkeys(luns))


def _is_unit_attention(answer: Answer) -> bool:
    return answer.is_sense(SenseKey.UNIT_ATTENTION)


# -- what is kept --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitIdentity:
    """What is known of a logical unit: of the kernel's copy, or of the unit itself as it answers now.

    ``inquiry`` is standard INQUIRY data; ``pages`` are whole vital product data pages by their code.
    ``capacity`` is None where there are no blocks, or no medium.
    """

    inquiry: bytes
    pages: Mapping[int, bytes] = field(default_factory=dict)
    capacity: Capacity | None = None
    write_protected: bool = False
    write_cache: bool = False

    @property
    def standard(self) -> StandardInquiry:
        """INQUIRY data in words."""
        return StandardInquiry.parse(self.inquiry)

    @property
    def level(self) -> SCSILevel:
        """Which standard the unit follows."""
        return SCSILevel.of(self.inquiry)

    @property
    def serial(self) -> str:
        """The unit serial number of page 80h, "" without one."""
        try:
            return parse_unit_serial_number(self.pages.get(VPDPage.UNIT_SERIAL_NUMBER, b""))
        except ValueError:
            return ""

    @property
    def names(self) -> Identity:
        """What scsi_id, the kernel and multipath-tools call it."""
        standard = self.standard
        return identify(
            self.pages.get(VPDPage.DEVICE_IDENTIFICATION, b""),
            self.pages.get(VPDPage.UNIT_SERIAL_NUMBER, b""),
            vendor=standard.vendor,
            product=standard.product,
        )

    def differences(
        self, other: UnitIdentity, *, mine: str = "the kernel", yours: str = "the fabric"
    ) -> list[str]:
        """A line for everything in which ``other`` is not the same; none when nothing differs."""
        here, there = self._facts(), other._facts()
        return [
            f"{name}: {mine} has {here[name] or 'none'}, {yours} {there[name] or 'none'}"
            for name in here
            if here[name] != there[name]
        ]

    def _facts(self) -> dict[str, str]:
        standard, names = self.standard, self.names
        return {
            "peripheral": f"{standard.qualifier}/{standard.device_type:#04x}",
            "vendor": standard.vendor,
            "product": standard.product,
            "revision": standard.revision,
            "serial": self.serial,
            "scsi_id": names.scsi_id,
            "wwid": names.wwid,
            "multipath": names.multipath,
            "capacity": f"{self.capacity.size} bytes" if self.capacity else "",
            "block size": str(self.capacity.block_size) if self.capacity else "",
        }
