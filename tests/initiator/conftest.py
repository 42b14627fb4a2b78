"""A scripted target for the core, and a real one of ours for the client."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from iscsim.errors import ISCSIError
from iscsim.initiator.connection import InitiatorConnection, Timeouts
from iscsim.initiator.task import CommandTask, Request
from iscsim.pdu import PDU, LoginRequest, LoginResponse, Stage, decode
from iscsim.pdu.text import encode_text, parse_text
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.lun import encode_lun
from iscsim.scsi.store import MemoryStore
from iscsim.session.events import Event
from iscsim.session.keys import SessionType
from iscsim.session.login import LoginConfig
from iscsim.session.parameters import Wishes
from iscsim.target.node import NetworkEntity, Portal, TargetNode
from iscsim.target.server import TargetServer

TARGET = "iqn.2026-11.test:disk"
INITIATOR = "iqn.2026-11.test:initiator"
FIRST_STAT_SN = 1000
_TIMEOUTS = Timeouts()
LUN_1 = encode_lun(1)


class Ladder:
    """A logged-in core and the script of its target.

    ``ladder >> pdu`` lets the core receive a PDU whose ``stat_sn`` is the next, unless the script gives one,
    and whose window has room for ``window`` commands; ``ladder.sent()`` is what the core has to say since.
    """

    def __init__(self, core: InitiatorConnection, window: int = 32) -> None:
        self.core = core
        self.window = window
        self.stat_sn = FIRST_STAT_SN
        self.exp_cmd_sn = 0
        self.ended: list[Request] = []
        self.now = 0.0

    def log_in(self, answers: dict[str, str] | None = None) -> Ladder:
        """The login phase in one exchange: the target agrees to what is offered, or ``answers`` otherwise."""
        self.core.start()
        (request,) = self.sent()
        assert isinstance(request, LoginRequest)
        self.exp_cmd_sn = request.cmd_sn
        self >> self.login_response(request, answers)
        return self

    def login_response(self, request: LoginRequest, answers: dict[str, str] | None = None) -> LoginResponse:
        """What accepts ``request``."""
        offered = {key: value.split(",")[0] for key, value in parse_text(request.data)}
        for name in ("InitiatorName", "TargetName", "SessionType", "InitiatorAlias"):
            offered.pop(name, None)
        keys = offered | {"TargetPortalGroupTag": "1"} | (answers or {})
        if not request.tsih and "MaxBurstLength" not in offered:
            keys.pop("TargetPortalGroupTag")  # a discovery session names no target
        return LoginResponse(
            transit=True,
            current_stage=request.current_stage,
            next_stage=Stage.FULL_FEATURE,
            isid=request.isid,
            tsih=1,
            initiator_task_tag=request.initiator_task_tag,
            data=encode_text(list(keys.items())),
        )

    def __rshift__(self, pdu: PDU) -> Ladder:
        self.core.receive_data(self.wire(pdu), self.now)
        return self

    def wire(self, pdu: PDU) -> bytes:
        """The bytes of ``pdu`` with the numbers of this script filled in."""
        names = pdu.codec.fields
        if "stat_sn" in names and pdu.stat_sn == 0 and _uses_stat_sn(pdu):
            pdu.stat_sn = self.stat_sn
            self.stat_sn += 1
        if "exp_cmd_sn" in names and pdu.exp_cmd_sn == pdu.max_cmd_sn == 0:
            pdu.exp_cmd_sn = self.exp_cmd_sn
            pdu.max_cmd_sn = self.exp_cmd_sn + self.window - 1
        core = self.core
        return b"".join(pdu.encode(core.framer.header_digest, core.framer.data_digest))

    def sent(self) -> list[PDU]:
        """The PDUs the core sent since the last call."""
        core, pdus = self.core, []
        wire = b"".join(core.data_to_send())
        while wire:
            pdu, length = decode(wire, core.send_header_digest, core.send_data_digest)
            pdus.append(pdu)
            wire = wire[length:]
        return pdus

    def submit(self, task: CommandTask | None = None, **fields: Any) -> CommandTask:
        """Submit a command: a READ (10) of 4096 bytes unless given."""
        fields = {"cdb": bytes.fromhex("28000000000000000800"), "data_in_length": 4096} | fields
        made = CommandTask(LUN_1, **fields) if task is None else task
        made.done = self.ended.append
        self.core.submit(made)
        return made

    def write(self, data: bytes, **fields: Any) -> CommandTask:
        """Submit a WRITE (10)."""
        cdb = bytes.fromhex("2a000000000000000800")
        return self.submit(cdb=cdb, data_in_length=0, data_out=data, **fields)

    def wait(self, until: float) -> None:
        """Let time come to ``until``."""
        self.now = until
        self.core.handle_timer(until)

    @property
    def failure(self) -> str:
        """Why the core has ended; fails the test when it has not."""
        assert self.core.closing
        return str(self.core.failure)

    def events(self, kind: type[Event]) -> list[Any]:
        """Events of one kind since the last call."""
        return [event for event in self.core.events() if isinstance(event, kind)]


def _uses_stat_sn(pdu: PDU) -> bool:
    """RFC 7143 section 4.2.2.2: a Data-In without status, an R2T and the target's ping do not."""
    match type(pdu).__name__:
        case "SCSIDataIn":
            return bool(pdu.status_present)
        case "ReadyToTransfer":
            return False
        case "NOPIn":
            return pdu.initiator_task_tag != 0xFFFFFFFF
    return True


def make_core(
    *,
    discovery: bool = False,
    timeouts: Timeouts = _TIMEOUTS,
    config: LoginConfig | None = None,
    **wishes: Any,
) -> InitiatorConnection:
    """A core that has not begun its login; other keywords are wishes."""
    if config is None:
        config = LoginConfig(
            initiator_name=INITIATOR,
            target_name=None if discovery else TARGET,
            session_type=SessionType.DISCOVERY if discovery else SessionType.NORMAL,
            wishes=Wishes(**wishes),
        )
    return InitiatorConnection(
        config, isid=b"\x80" + bytes(5), rng=random.Random(1), now=0.0, timeouts=timeouts
    )


@pytest.fixture
def new_core() -> Callable[..., InitiatorConnection]:
    """``new_core(discovery=False, timeouts=..., **wishes)``: a core before its login."""
    return make_core


@pytest.fixture
def new_ladder() -> Callable[..., Ladder]:
    """``new_ladder(answers=None, window=32, **as new_core)``: a ladder whose login is through."""

    def new(answers: dict[str, str] | None = None, *, window: int = 32, **options: Any) -> Ladder:
        ladder = Ladder(make_core(**options), window).log_in(answers)
        assert not ladder.core.closing, ladder.core.failure
        ladder.sent()
        return ladder

    return new


@pytest.fixture
def bare_ladder() -> Callable[[InitiatorConnection], Ladder]:
    """A ladder around a core whose login has not begun."""
    return Ladder


@pytest.fixture
def ladder(new_ladder: Callable[..., Ladder]) -> Ladder:
    """A ladder under the default wishes."""
    return new_ladder()


@dataclass
class LiveTarget:
    """Our target, serving two portals in groups of their own and LUN 1 of 8 MiB."""

    entity: NetworkEntity
    node: TargetNode
    portals: list[Portal]
    store: MemoryStore
    server: TargetServer
    errors: list[ISCSIError] = field(default_factory=list)

    @property
    def portal(self) -> str:
        """The first portal as a string."""
        return str(self.portals[0])

    @property
    def name(self) -> str:
        """The target's iSCSI name."""
        return self.node.name


@pytest.fixture
async def target() -> AsyncIterator[LiveTarget]:
    """A running target on 127.0.0.1; nothing of it is left afterwards."""
    entity = NetworkEntity()
    node = entity.add_target(TARGET)
    portals = [Portal("127.0.0.1", 0), Portal("127.0.0.1", 0)]
    for portal in portals:
        node.add_portal(portal)
    store = MemoryStore(16384)
    node.add_lun(1, LogicalUnit(store, serial="one"))
    async with TargetServer(entity) as server:
        yield LiveTarget(entity, node, portals, store, server)
