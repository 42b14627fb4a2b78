"""The verbs of SCSI block devices as coroutines, over one way to run a command."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar, overload

from iscsim.errors import LocalProtocolError
from iscsim.initiator.scan import LogicalUnitInfo, scan
from iscsim.initiator.task import CommandTask, MalformedData, TransferIncomplete
from iscsim.pdu import Buffer, TaskAttribute
from iscsim.scsi import cdb as commands
from iscsim.scsi.capacity import Capacity
from iscsim.scsi.cdb import cdb_name
from iscsim.scsi.inquiry import StandardInquiry
from iscsim.scsi.lun import encode_lun, parse_lun_list
from iscsim.scsi.sense import CommandFailed, Sense, SenseKey, parse_sense
from iscsim.scsi.status import Status

MAX_TRANSFER_LENGTH = 8 << 20
"""A longer read or write is cut into commands of this many bytes."""
_UNIT_ATTENTION_RETRIES = 4
_MAX_LUN_LIST_LENGTH = 8 + 8 * 16384
_LAST_32 = 0xFFFFFFFF
_LUN_0 = encode_lun(0)
Parsed = TypeVar("Parsed")


class HasLUN(Protocol):
    """What stands for a logical unit: :class:`LogicalUnitInfo`, a SCSI device."""

    @property
    def lun(self) -> bytes:
        """The 8 bytes of its LUN."""


LUN = int | bytes | HasLUN


@dataclass(slots=True, frozen=True, kw_only=True)
class Result:
    """How a command ended.

    ``data_in`` is as long as what came. ``residual`` counts bytes expected and not moved; it is negative
    for those that did not fit (RFC 7143 section 11.4.5). ``sense`` is None when there was none to be read.
    """

    status: int
    data_in: bytes | bytearray | memoryview = b""
    sense: Sense | None = None
    residual: int = 0

    @classmethod
    def of(cls, task: CommandTask) -> Self:
        """The result of a task that has ended."""
        return cls(
            status=task.status,
            data_in=task.data_in,
            sense=parse_sense(task.sense_data),
            residual=task.residual,
        )


class SCSIVerbs(ABC):
    """What can be asked of logical units, for whoever can :meth:`run` a command.

    A LUN is a number (written as SAM's peripheral or flat addressing), the 8 bytes the target reports, or
    what has them as ``lun``, like what :meth:`scan` found; a number that was scanned is sent as the target
    wrote it. Every coroutine raises what :meth:`run` raises, and those that return data ``CommandFailed``
    for a status other than GOOD. Unit attentions, which say that a command was not tried, are passed.
    """

    def __init__(self) -> None:
        self.units: list[LogicalUnitInfo] = []
        """What the last scan found."""
        self.scanned = False
        self._luns: dict[int, bytes] = {}
        self._block_sizes: dict[bytes, int] = {}

    # -- any command -------------------------------------------------------------------------------

    @abstractmethod
    async def run(self, task: CommandTask, timeout_s: float | None = None) -> CommandTask:
        """Send a command and wait for its status; cancelling aborts it.

        What comes back has ended. It is ``task``, or one that asked the same after ``task`` was lost:
        look at what comes back. ``timeout_s`` is what is usual unless given.
        """

    async def execute(
        self,
        lun: LUN,
        cdb: bytes,
        *,
        data_out: Buffer = b"",
        data_in_length: int = 0,
        timeout_s: float | None = None,
        check: bool = False,
        immediate: bool = False,
        task_attribute: int = TaskAttribute.SIMPLE,
    ) -> Result:
        """Send a command and wait for its status.

        ``data_in_length`` bytes at most are read. With ``check`` a status other than GOOD raises
        CommandFailed. ``timeout_s`` is what is usual unless given.
        """
        task = CommandTask(
            self.lun_of(lun),
            cdb,
            data_out=data_out,
            data_in_length=data_in_length,
            immediate=immediate,
            task_attribute=task_attribute,
        )
        result = Result.of(await self.run(task, timeout_s))
        if check and result.status != Status.GOOD:
            raise CommandFailed(result.status, result.sense, cdb_name(cdb))
        return result

    async def _checked(
        self, lun: LUN, cdb: bytes, *, data_out: Buffer = b"", data_in_length: int = 0
    ) -> bytes | bytearray | memoryview:
        """A command that must end with GOOD; unit attentions, which say that it was not tried, are passed."""
        raw = self.lun_of(lun)
        for _ in range(_UNIT_ATTENTION_RETRIES):
            task = await self.run(CommandTask(raw, cdb, data_out=data_out, data_in_length=data_in_length))
            if task.status == Status.GOOD:
                return task.data_in
            error = CommandFailed(task.status, parse_sense(task.sense_data), task.name)
            if not error.is_unit_attention:
                break
        raise error

    def lun_of(self, lun: LUN) -> bytes:
        """The 8 bytes of a LUN. Raises InvalidLUN for a number that cannot be written."""
        if isinstance(lun, int):
            raw = self._luns.get(lun)
            if raw is None:
                raw = self._luns[lun] = encode_lun(lun)
            return raw
        raw = lun if isinstance(lun, bytes) else lun.lun
        if len(raw) != 8:
            raise LocalProtocolError(f"a LUN has 8 bytes, not {len(raw)}", "11.3")
        return raw

    def learn_block_size(self, lun: LUN, block_size: int) -> None:
        """Spare the READ CAPACITY before the first read or write: ``block_size`` is known from elsewhere."""
        self._block_sizes[self.lun_of(lun)] = block_size

    # -- reading and writing -----------------------------------------------------------------------

    async def read(self, lun: LUN, lba: int, blocks: int) -> bytes | bytearray | memoryview:
        """``blocks`` blocks from ``lba`` on; a new buffer, yours.

        Raises:
            CommandFailed: a status other than GOOD, as for an LBA out of range.
            TransferIncomplete: GOOD, but with fewer bytes.
        """
        raw = self.lun_of(lun)
        block_size = self._block_sizes.get(raw) or await self._block_size(raw)
        length = blocks * block_size
        if length > MAX_TRANSFER_LENGTH:
            return await self._read_in_parts(raw, lba, length)
        if blocks <= 0:
            return b""
        return await self._read_once(raw, lba, blocks, length, None)

    async def _read_in_parts(self, raw: bytes, lba: int, length: int) -> bytearray:
        data = bytearray(length)
        await self.read_into(raw, lba, data)
        return data

    async def read_into(self, lun: LUN, lba: int, buffer: bytearray | memoryview) -> None:
        """Read from ``lba`` on until ``buffer``, a whole number of blocks, is full: the quickest way to read.

        Raises:
            ValueError: not a whole number of blocks.
            CommandFailed, TransferIncomplete: as :meth:`read`.
        """
        raw = self.lun_of(lun)
        block_size = self._block_sizes.get(raw) or await self._block_size(raw)
        view = memoryview(buffer)
        _count_blocks(len(view), block_size)
        step = MAX_TRANSFER_LENGTH // block_size * block_size
        for start in range(0, len(view), step):
            part = view[start : start + step]
            await self._read_once(raw, lba + start // block_size, len(part) // block_size, len(part), part)

    async def _read_once(
        self, raw: bytes, lba: int, blocks: int, length: int, into: memoryview | None
    ) -> bytes | bytearray | memoryview:
        for _ in range(_UNIT_ATTENTION_RETRIES):
            task = CommandTask(raw, read_cdb(lba, blocks), data_in_length=length, into=into)
            task = await self.run(task)
            if not task.status and len(task.data_in) == length and task.residual <= 0:
                return task.data_in
            if not was_unit_attention(task):
                break
        raise failure_of(task, moved(task, length), length)

    async def write(self, lun: LUN, lba: int, data: Buffer) -> None:
        """Write ``data``, a whole number of blocks, from ``lba`` on; do not change it meanwhile.

        Raises:
            ValueError: not a whole number of blocks.
            CommandFailed, TransferIncomplete: as :meth:`read`.
        """
        raw = self.lun_of(lun)
        block_size = self._block_sizes.get(raw) or await self._block_size(raw)
        length = len(data)
        blocks = _count_blocks(length, block_size)
        if length > MAX_TRANSFER_LENGTH:
            await self._write_in_parts(raw, lba, data, block_size)
            return
        if not length:
            return
        for _ in range(_UNIT_ATTENTION_RETRIES):
            task = await self.run(CommandTask(raw, _write_cdb(lba, blocks), data_out=data))
            # a target that says GOOD must have asked for everything: else it cannot have written it
            if not task.status and not task.residual and task.asked == length:
                return
            if not was_unit_attention(task):
                break
        raise failure_of(task, min(task.asked, length - max(task.residual, 0)), length)

    async def flush(self, lun: LUN) -> None:
        """Have everything written go to the medium (SBC-3, SYNCHRONIZE CACHE (10))."""
        await self._checked(lun, commands.synchronize_cache_10())

    async def _write_in_parts(self, raw: bytes, lba: int, data: Buffer, block_size: int) -> None:
        view, step = memoryview(data), MAX_TRANSFER_LENGTH // block_size
        for start in range(0, len(data) // block_size, step):
            await self.write(raw, lba + start, view[start * block_size : (start + step) * block_size])

    async def _block_size(self, raw: bytes) -> int:
        return (await self.read_capacity(raw)).block_size

    # -- questions ---------------------------------------------------------------------------------

    async def test_unit_ready(self, lun: LUN) -> None:
        """TEST UNIT READY. Raises CommandFailed when the unit is not ready."""
        await self._checked(lun, commands.test_unit_ready())

    @overload
    async def inquiry(self, lun: LUN, page: None = None) -> StandardInquiry: ...

    @overload
    async def inquiry(self, lun: LUN, page: int) -> bytes: ...

    async def inquiry(self, lun: LUN, page: int | None = None) -> StandardInquiry | bytes:
        """Standard INQUIRY data, or the bytes of a vital product data page, header and body.

        Raises:
            CommandFailed: the unit has no such page.
            MalformedData: what came is no INQUIRY data.
        """
        if page is not None:
            return await self._inquiry_page(lun, page)
        data = await self._checked(lun, commands.inquiry(), data_in_length=255)
        return _parsed(StandardInquiry.parse, data)

    async def _inquiry_page(self, lun: LUN, page: int) -> bytes:
        length = 255
        while True:
            cdb = commands.inquiry(page, allocation_length=length)
            data = bytes(await self._checked(lun, cdb, data_in_length=length))
            needed = 4 + int.from_bytes(data[2:4], "big")
            if len(data) < length or needed <= length or length > 255:
                return data
            length = min(needed, 0xFFFF)

    async def read_capacity(self, lun: LUN) -> Capacity:
        """READ CAPACITY (16), or (10) where the unit does not know that; remembers the block size.

        Raises:
            CommandFailed: as when there is no medium.
            MalformedData: what came makes no sense.
        """
        capacity = await self._capacity(lun)
        self._block_sizes[self.lun_of(lun)] = capacity.block_size
        return capacity

    async def _capacity(self, lun: LUN) -> Capacity:
        try:
            data = await self._checked(lun, commands.read_capacity_16(), data_in_length=32)
            return _parsed(Capacity.parse_16, data)
        except CommandFailed as error:
            if error.sense is None or error.sense.key != SenseKey.ILLEGAL_REQUEST:
                raise
        data = await self._checked(lun, commands.read_capacity_10(), data_in_length=8)
        capacity = _parsed(Capacity.parse_10, data)
        if capacity is None:
            raise MalformedData(
                "READ CAPACITY (10) asks for READ CAPACITY (16), which the unit does not know"
            )
        return capacity

    async def report_luns(self) -> list[bytes]:
        """The LUNs as the target writes them, 8 bytes each (SPC-4, REPORT LUNS to LUN 0)."""
        length = 4096
        while True:
            cdb = commands.report_luns(allocation_length=length)
            luns, needed = _parsed(parse_lun_list, await self._checked(_LUN_0, cdb, data_in_length=length))
            if needed <= length or length == _MAX_LUN_LIST_LENGTH:
                return luns
            length = min(needed, _MAX_LUN_LIST_LENGTH)

    async def is_read_only(self, lun: LUN) -> bool:
        """The WP bit of MODE SENSE (SBC-3); False when the unit has no mode pages."""
        try:
            data = await self._checked(lun, commands.mode_sense_6(0x3F), data_in_length=255)
        except CommandFailed:
            return False
        return len(data) > 2 and bool(data[2] & 0x80)

    # -- scanning ----------------------------------------------------------------------------------

    async def scan(self) -> list[LogicalUnitInfo]:
        """Find every logical unit and what it is; see :mod:`iscsim.initiator.scan`."""
        self.units = await scan(self)
        self.scanned = True
        self._luns = {unit.number: unit.lun for unit in self.units}
        self._block_sizes |= {unit.lun: unit.block_size for unit in self.units if unit.block_size}
        return self.units

    async def rescan(self) -> tuple[list[LogicalUnitInfo], list[LogicalUnitInfo]]:
        """Scan again: what was added, and what was removed. A unit that changed is in both."""
        before = self.units
        self._block_sizes.clear()
        after = await self.scan()
        return [unit for unit in after if unit not in before], [unit for unit in before if unit not in after]


def _parsed(parse: Callable[[Buffer], Parsed], data: Buffer) -> Parsed:
    """What a target sent, read by ``parse``. Raises MalformedData when it cannot be."""
    try:
        return parse(data)
    except ValueError as error:
        raise MalformedData(str(error)) from error


def _count_blocks(length: int, block_size: int) -> int:
    blocks, rest = divmod(length, block_size)
    if rest:
        raise ValueError(f"{length} bytes are no whole number of blocks of {block_size}")
    return blocks


def read_cdb(lba: int, blocks: int) -> bytes:
    if blocks <= 0xFFFF and lba + blocks <= _LAST_32:
        return commands.read_10(lba, blocks)
    return commands.read_16(lba, blocks)


def _write_cdb(lba: int, blocks: int) -> bytes:
    if blocks <= 0xFFFF and lba + blocks <= _LAST_32:
        return commands.write_10(lba, blocks)
    return commands.write_16(lba, blocks)


def was_unit_attention(task: CommandTask) -> bool:
    return bool(task.status) and CommandFailed(task.status, parse_sense(task.sense_data)).is_unit_attention


def moved(task: CommandTask, length: int) -> int:
    """Bytes of a read that came, and of which the target does not say that they did not."""
    return min(len(task.data_in), length - max(task.residual, 0))


def failure_of(task: CommandTask, moved: int, length: int) -> Exception:
    if task.status:
        return CommandFailed(task.status, parse_sense(task.sense_data), task.name)
    return TransferIncomplete(f"{task.name} moved {moved} of {length} bytes")


__all__ = ["LUN", "MAX_TRANSFER_LENGTH", "Result", "SCSIVerbs", "parse_sense"]
