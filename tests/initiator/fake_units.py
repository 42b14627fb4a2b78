"""Logical units that answer as a test says, behind a transport of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from iscsim.errors import ISCSIError
from iscsim.initiator.session_state import SessionState
from iscsim.initiator.task import CommandTask
from iscsim.scsi.designator import Designator
from iscsim.scsi.inquiry import StandardInquiry
from iscsim.scsi.lun import encode_lun_list, linux_lun, lun_of_linux
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.vpd import encode_device_identification, encode_supported_pages, encode_unit_serial_number
from iscsim.session.events import Event

INVALID_OPCODE = Sense(SenseKey.ILLEGAL_REQUEST, 0x20, 0)
INVALID_FIELD = Sense(SenseKey.ILLEGAL_REQUEST, 0x24, 0)
POWER_ON = Sense(SenseKey.UNIT_ATTENTION, 0x29, 0)
Reply = bytes | Sense | int | ISCSIError


@dataclass
class FakeUnit:
    """A disk of 1 MiB, unless ``replies`` (opcode -> answers in turn, the last one for ever) say otherwise.

    A reply is data, sense data, a status or an error to raise.
    """

    inquiry: StandardInquiry = field(default_factory=lambda: StandardInquiry(vendor="V", product="P"))
    pages: dict[int, bytes] = field(default_factory=dict)
    replies: dict[int, list[Reply]] = field(default_factory=dict)

    def named(self, *designators: Designator, serial: str = "") -> FakeUnit:
        """With pages 00, 80 and 83."""
        self.pages[0x83] = encode_device_identification(designators)
        self.pages[0x80] = encode_unit_serial_number(serial)
        self.pages[0x00] = encode_supported_pages([0, *self.pages])
        return self

    def reply(self, cdb: bytes) -> Reply:
        if cdb[0] in self.replies:
            left = self.replies[cdb[0]]
            return left.pop(0) if len(left) > 1 else left[0]
        match cdb[0]:
            case Opcode.INQUIRY if cdb[1] & 1:
                return self.pages.get(cdb[2], INVALID_FIELD)
            case Opcode.INQUIRY:
                return self.inquiry.encode()
            case Opcode.TEST_UNIT_READY | Opcode.START_STOP_UNIT | Opcode.SYNCHRONIZE_CACHE_10:
                return b""
            case Opcode.SERVICE_ACTION_IN_16:
                return (2047).to_bytes(8, "big") + (512).to_bytes(4, "big") + bytes(20)
            case Opcode.READ_CAPACITY_10:
                return (2047).to_bytes(4, "big") + (512).to_bytes(4, "big")
        return INVALID_OPCODE


@dataclass
class FakeTarget:
    """Units by the LUN Linux shows, 8 bytes each; ``luns`` is what REPORT LUNS answers, all units if None."""

    units: dict[int, FakeUnit] = field(default_factory=dict)
    luns: list[bytes] | Reply | None = None
    absent: StandardInquiry | None = field(
        default_factory=lambda: StandardInquiry(qualifier=3, device_type=0x1F)
    )
    """What a LUN without a unit answers to INQUIRY; None for nothing."""
    latency_s: float = 0.0
    state: SessionState = SessionState.LOGGED_IN
    listeners: list[Callable[[Event], None]] = field(default_factory=list)
    sent: list[CommandTask] = field(default_factory=list)

    def asked(self, opcode: int) -> list[int]:
        """The LUNs, as Linux shows them, that were sent a command."""
        return [linux_lun(task.lun) for task in self.sent if task.cdb[0] == opcode]

    async def run_once(self, task: CommandTask, timeout_s: float | None = None) -> CommandTask:
        self.sent.append(task)
        await asyncio.sleep(self.latency_s)
        reply = self._reply(linux_lun(task.lun), task.cdb)
        if isinstance(reply, ISCSIError):
            raise reply
        if isinstance(reply, Sense):
            task.status, task.sense_data = Status.CHECK_CONDITION, reply.encode()
        elif isinstance(reply, int):
            task.status = reply
        else:
            task.data_in = reply[: task.data_in_length]
            task.residual = task.data_in_length - len(task.data_in)
        return task

    def _reply(self, number: int, cdb: bytes) -> Reply:
        if cdb[0] == Opcode.REPORT_LUNS:
            return self._report_luns()
        if number in self.units:
            return self.units[number].reply(cdb)
        if cdb[0] == Opcode.INQUIRY and not cdb[1] & 1 and self.absent is not None:
            return self.absent.encode()
        return Sense(SenseKey.ILLEGAL_REQUEST, 0x25, 0)

    def _report_luns(self) -> Reply:
        if self.luns is None:
            return encode_lun_list([lun_of_linux(number) for number in self.units])
        return encode_lun_list(self.luns) if isinstance(self.luns, list) else self.luns

    async def task_management(
        self, function: int, lun: Any = 0, *, task: CommandTask | None = None, timeout_s: float | None = None
    ) -> int:
        return 0

    def drop(self, reason: str) -> None:
        self.state = SessionState.FAILED

    async def recovered(self, timeout_s: float | None = None) -> bool:
        return False
