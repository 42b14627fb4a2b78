"""Ladders: what an initiator sends, and what our target must answer, read from top to bottom.

::

    assert exchange(log_in()) >> read_10(lba=0, blocks=2) << like(SCSIDataIn, data_sn=0)

``>>`` sends, ``<<`` takes the next answer; the whole is true when no answer is left over. CmdSN and task tag
are filled in where a PDU has None.
"""

from __future__ import annotations

import random
import re
from collections import deque
from dataclasses import dataclass
from typing import Any, Self

from iscsim.pdu import (
    PDU,
    RESERVED_TAG,
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    NOPOut,
    Opcode,
    Reject,
    RejectReason,
    SCSICommand,
    SCSIDataOut,
    Stage,
    TaskManagementRequest,
    TextRequest,
    decode,
)
from iscsim.pdu.text import Pair, encode_text
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.store import MemoryStore
from iscsim.session.events import ConnectionEnded, Event, LoginRefused, PDURejected
from iscsim.target.connection import TargetConnection
from iscsim.target.node import NetworkEntity, Portal, TargetNode
from iscsim.target.policy import RFC, TargetPolicy

INITIATOR = "iqn.2026-11.org.example:host"
TARGET = "iqn.2026-11.org.iscsim:disk"
ISID = bytes.fromhex("00023d000001")
BLOCKS = 65536


def make_entity(policy: TargetPolicy = RFC, *, blocks: int = BLOCKS, luns: int = 2) -> NetworkEntity:
    """One node with ``luns`` disks behind one portal of portal group 1."""
    entity = NetworkEntity(policy)
    node = entity.add_target(TARGET)
    node.add_portal(Portal("192.0.2.1"))
    for number in range(luns):
        node.add_lun(number, LogicalUnit(MemoryStore(blocks), serial=f"disk {number}"))
    return entity


def node_of(entity: NetworkEntity) -> TargetNode:
    return next(iter(entity.nodes.values()))


def unit_of(entity: NetworkEntity, number: int = 0) -> LogicalUnit:
    mapped = node_of(entity).lun_map.lookup(lun(number))
    assert mapped is not None
    return mapped.logical_unit


def lun(number: int) -> bytes:
    return number.to_bytes(2, "big") + bytes(6)


def connect(
    entity: NetworkEntity | None = None, portal: Portal | None = None, *, seed: int = 1, now: float = 0.0
) -> Exchange:
    """A connection whose login has not begun."""
    entity = entity or make_entity()
    connection = TargetConnection(
        entity, portal or entity.portals[0], rng=random.Random(seed), now=now, local_address="192.0.2.1"
    )
    return Exchange(connection)


def log_in(
    entity: NetworkEntity | None = None,
    keys: dict[str, str] | None = None,
    *,
    isid: bytes = ISID,
    attentions: bool = False,
    portal: Portal | None = None,
    seed: int = 1,
    now: float = 0.0,
) -> Exchange:
    """A connection in the full feature phase; without ``attentions`` nothing is left to be told first."""
    exchange = connect(entity, portal, seed=seed, now=now) >> login_request(keys, isid=isid)
    exchange << like(LoginResponse, status_class=0, transit=True, next_stage=Stage.FULL_FEATURE)
    exchange.events()
    if not attentions and exchange.session.nexus is not None:
        exchange.session.nexus.unit_attentions.clear()
    return exchange


def discover(entity: NetworkEntity | None = None, **options: Any) -> Exchange:
    """A discovery session."""
    return log_in(entity, {"SessionType": "Discovery", "TargetName": ""}, **options)


@dataclass
class Expected:
    """An answer: its type, and what some of its fields must be."""

    kind: type[PDU]
    fields: dict[str, Any]

    def check(self, pdu: PDU) -> None:
        assert isinstance(pdu, self.kind), f"expected {self.kind.__name__}, got {pdu!r:.300}"
        found = {name: getattr(pdu, name) for name in self.fields}
        found = {name: bytes(value) if name == "data" else value for name, value in found.items()}
        assert found == self.fields, f"in {pdu!r:.300}"


def like(kind: type[PDU], **fields: Any) -> Expected:
    return Expected(kind, fields)


def rejected(reason: RejectReason, **fields: Any) -> Expected:
    return Expected(Reject, {"reason": reason, "initiator_task_tag": RESERVED_TAG, **fields})


@dataclass
class Ended:
    """The end of the connection, with a message of one line that matches ``pattern``."""

    pattern: str


def ended(pattern: str = "") -> Ended:
    return Ended(pattern)


class Exchange:
    """One connection, seen from the initiator's side of the wire."""

    def __init__(self, connection: TargetConnection) -> None:
        self.connection = connection
        self.answers: deque[PDU] = deque()
        self.cmd_sn = 1
        self.now = connection.now
        self._tag = 0
        self._events: list[Event] = []

    @property
    def session(self) -> Any:
        return self.connection.session

    def __rshift__(self, sent: PDU | bytes) -> Self:
        return self.send(sent)

    def send(self, *sent: PDU | bytes) -> Self:
        """Send several PDUs in one piece."""
        self.connection.receive_data(b"".join(self.wire(each) for each in sent), self.now)
        return self.collect()

    def wire(self, sent: PDU | bytes) -> bytes:
        if isinstance(sent, bytes):
            return sent
        self._number(sent)
        framer = self.connection.framer
        return b"".join(sent.encode(framer.header_digest, framer.data_digest))

    def _number(self, pdu: PDU) -> None:
        if getattr(pdu, "initiator_task_tag", 0) is None:
            self._tag += 1
            pdu.initiator_task_tag = self._tag  # type: ignore[attr-defined]
        if getattr(pdu, "cmd_sn", 0) is None:
            pdu.cmd_sn = self.cmd_sn  # type: ignore[attr-defined]
            if not pdu.immediate:  # type: ignore[attr-defined]
                self.cmd_sn = (self.cmd_sn + 1) & 0xFFFFFFFF

    def wait(self, seconds: float) -> Self:
        """Let time pass, timer by timer."""
        until = self.now + seconds
        while (deadline := self.connection.next_deadline()) is not None and deadline <= until:
            self.now = max(deadline, self.now)
            self.connection.handle_timer(self.now)
        self.now = until
        return self.collect()

    def collect(self) -> Self:
        """Take what the target has to send."""
        wire = b"".join(self.connection.data_to_send())
        while wire:
            digests = self.connection.send_header_digest, self.connection.send_data_digest
            if wire[0] & 0x3F == Opcode.LOGIN_RESPONSE:  # the last one still goes without digests
                digests = False, False
            pdu, length = decode(wire, *digests)
            self.answers.append(pdu)
            wire = wire[length:]
        self._events += self.connection.events()
        return self

    def events(self) -> list[Event]:
        """What has happened since this was last asked."""
        found, self._events = self._events + self.connection.events(), []
        return found

    def __lshift__(self, expected: Expected | Ended) -> Self:
        if isinstance(expected, Ended):
            assert self.ended is not None, "the connection is still there"
            assert "\n" not in self.ended
            assert re.search(expected.pattern, self.ended), self.ended
            return self
        assert self.answers, f"no answer, expected {expected}"
        expected.check(self.answers.popleft())
        return self

    def __bool__(self) -> bool:
        assert not self.answers, f"not expected: {list(self.answers)!r:.600}"
        return True

    def next(self) -> Any:
        """The next answer itself."""
        return self.answers.popleft()

    @property
    def ended(self) -> str | None:
        """The message the connection ended with, or None while it goes on."""
        self._events += self.connection.events()
        messages = [event.message for event in self._events if isinstance(event, ConnectionEnded)]
        assert bool(messages) == self.connection.closing or not self._events
        return messages[0] if messages else None

    @property
    def refusal(self) -> int:
        """The status a login was refused with."""
        self._events += self.connection.events()
        return next(event.status for event in self._events if isinstance(event, LoginRefused))

    @property
    def rejections(self) -> list[str]:
        self._events += self.connection.events()
        return [event.message for event in self._events if isinstance(event, PDURejected)]


# -- requests --------------------------------------------------------------------------------------


def login_request(keys: dict[str, str] | None = None, **fields: Any) -> LoginRequest:
    """A login in one step; an empty value leaves a key out."""
    pairs = {"InitiatorName": INITIATOR, "TargetName": TARGET, "SessionType": "Normal"} | (keys or {})
    defaults = {
        "transit": True,
        "current_stage": Stage.OPERATIONAL_NEGOTIATION,
        "next_stage": Stage.FULL_FEATURE,
        "isid": ISID,
        "cmd_sn": 1,
        "data": encode_text((key, value) for key, value in pairs.items() if value),
    }
    return LoginRequest(**(defaults | fields))


def command(cdb: bytes, **fields: Any) -> SCSICommand:
    defaults = {"cdb": cdb.ljust(16, b"\0"), "cmd_sn": None, "initiator_task_tag": None, "lun": lun(0)}
    return SCSICommand(**(defaults | fields))


def read_10(lba: int = 0, blocks: int = 1, **fields: Any) -> SCSICommand:
    cdb = b"\x28\0" + lba.to_bytes(4, "big") + b"\0" + blocks.to_bytes(2, "big")
    return command(cdb, **({"read": True, "expected_data_transfer_length": blocks * 512} | fields))


def write_10(lba: int = 0, blocks: int = 1, data: bytes = b"", **fields: Any) -> SCSICommand:
    cdb = b"\x2a\0" + lba.to_bytes(4, "big") + b"\0" + blocks.to_bytes(2, "big")
    defaults = {"write": True, "expected_data_transfer_length": blocks * 512, "data": data}
    return command(cdb, **(defaults | fields))


def inquiry(allocation_length: int = 36, **fields: Any) -> SCSICommand:
    cdb = b"\x12\0\0" + allocation_length.to_bytes(2, "big")
    return command(cdb, **({"read": True, "expected_data_transfer_length": allocation_length} | fields))


def test_unit_ready(**fields: Any) -> SCSICommand:
    return command(bytes(6), **fields)


test_unit_ready.__test__ = False  # type: ignore[attr-defined]


def data_out(tag: int, offset: int = 0, data: bytes = b"", **fields: Any) -> SCSIDataOut:
    return SCSIDataOut(
        **({"initiator_task_tag": tag, "buffer_offset": offset, "data": data, "final": True} | fields)
    )


def nop_out(data: bytes = b"", **fields: Any) -> NOPOut:
    return NOPOut(**({"cmd_sn": None, "initiator_task_tag": None, "data": data} | fields))


def text(*pairs: Pair, **fields: Any) -> TextRequest:
    defaults = {"cmd_sn": None, "initiator_task_tag": None, "data": encode_text(pairs)}
    return TextRequest(**(defaults | fields))


def logout(reason: int = 0, **fields: Any) -> LogoutRequest:
    return LogoutRequest(**({"cmd_sn": None, "initiator_task_tag": None, "reason": reason} | fields))


def task_management(function: int, **fields: Any) -> TaskManagementRequest:
    defaults = {"function": function, "cmd_sn": None, "initiator_task_tag": None, "lun": lun(0)}
    return TaskManagementRequest(**(defaults | fields))
