"""A transport that answers as a target of a capture did, and what the kernel asked it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from iscsim.capture.ladder import pcap_events
from iscsim.initiator.session_state import SessionState
from iscsim.initiator.task import CommandTask
from iscsim.pdu import SCSICommand, SCSIDataIn, SCSIResponse
from iscsim.session.events import Event

PCAPS = Path(__file__).parents[2] / "pcaps"
LIO = "lio-chap-digests-reset-pr.pcap.gz"
OPEN_ISCSI = "open-iscsi-discovery-login-scan-io.pcap.gz"
OS_BRICK = "os-brick-two-paths-then-silent-portal.pcap.gz"


@dataclass
class Exchange:
    """A command of a capture and its end. ``cdb`` has no more bytes than the command has."""

    begun_s: float
    lun: bytes
    cdb: bytes
    length: int
    data: bytes = b""
    status: int = 0
    sense: bytes = b""

    @property
    def asked(self) -> tuple[str, str]:
        """LUN and CDB in hexadecimal."""
        return self.lun.hex()[:4], self.cdb.hex()


def padded(cdb: bytes) -> bytes:
    """16 bytes, as they are in a PDU."""
    return cdb.ljust(16, b"\0")


@cache
def exchanges(capture: str, connection: int) -> tuple[Exchange, ...]:
    """The commands of one TCP connection that carried commands (0 is the first of those), in order."""
    ports: list[Any] = []
    found: dict[Any, list[Exchange]] = {}
    open_tasks: dict[Any, Exchange] = {}
    first: int | None = None
    for event in pcap_events(PCAPS / capture):
        pdu, port = event.content, event.client
        first = event.timestamp_ns if first is None else first
        if isinstance(pdu, SCSICommand):
            if port not in ports:
                ports.append(port)
            exchange = Exchange(
                (event.timestamp_ns - first) / 1e9, pdu.lun, pdu.cdb, pdu.expected_data_transfer_length
            )
            found.setdefault(port, []).append(exchange)
            open_tasks[port, pdu.initiator_task_tag] = exchange
        elif isinstance(pdu, SCSIDataIn):
            exchange = open_tasks[port, pdu.initiator_task_tag]
            exchange.data += bytes(pdu.data)
            exchange.status = pdu.status if pdu.status_present else exchange.status
        elif isinstance(pdu, SCSIResponse):
            exchange = open_tasks[port, pdu.initiator_task_tag]
            exchange.status, exchange.sense = pdu.status, bytes(pdu.sense)
    return tuple(found[ports[connection]])


@dataclass
class RecordedTarget:
    """Answers each command as the capture has it: the next recorded answer to this LUN and CDB, the last one
    again when there is none left. What was never asked fails the test."""

    recorded: list[Exchange]
    asked: list[tuple[str, str]] = field(default_factory=list)
    state: SessionState = SessionState.LOGGED_IN
    listeners: list[Callable[[Event], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._answers: dict[tuple[bytes, bytes], list[Exchange]] = {}
        for each in self.recorded:
            self._answers.setdefault((each.lun, each.cdb), []).append(each)

    async def run_once(self, task: CommandTask, timeout_s: float | None = None) -> CommandTask:
        cdb = padded(task.cdb)
        self.asked.append((task.lun.hex()[:4], cdb.hex()))
        answers = self._answers.get((task.lun, cdb))
        assert answers, f"the kernel never sent {self.asked[-1]}"
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        assert task.data_in_length == answer.length
        task.status, task.data_in, task.sense_data = answer.status, answer.data, answer.sense
        return task

    async def task_management(
        self, function: int, lun: Any = 0, *, task: CommandTask | None = None, timeout_s: float | None = None
    ) -> int:
        raise AssertionError("no function was asked for")

    def drop(self, reason: str) -> None:
        raise AssertionError(reason)

    async def recovered(self, timeout_s: float | None = None) -> bool:
        return True
