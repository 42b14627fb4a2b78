"""Long random input for the initiator: it ends the connection or goes on, and each request ends just once.

Not part of ``make test``; ``make fuzz`` runs it (see ``fuzzing.py``).
"""

import random
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from exchanges.ladder import INITIATOR, TARGET, lun, make_entity, node_of
from fuzz.fuzzing import mutated, pieces, rounds

from iscsim.capture.streams import tcp_streams
from iscsim.errors import ISCSIError, LocalProtocolError, SessionFailed
from iscsim.initiator.connection import InitiatorConnection, Timeouts
from iscsim.initiator.task import CommandTask, Logout, Management, Ping, Request, TextNegotiation
from iscsim.pdu import (
    PDU_TYPES,
    RESERVED_TAG,
    AsyncMessage,
    LogoutResponse,
    NOPIn,
    ReadyToTransfer,
    Reject,
    SCSICommand,
    SCSIDataIn,
    SCSIResponse,
    TaskManagementResponse,
    TextResponse,
)
from iscsim.pdu.text import encode_text
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.store import MemoryStore
from iscsim.session.chap import ChapConfig, ChapCredential
from iscsim.session.connection import Phase
from iscsim.session.events import ConnectionEnded
from iscsim.session.keys import SessionType
from iscsim.session.login import LoginConfig
from iscsim.session.numbering import SERIAL_MASK
from iscsim.session.parameters import Wishes
from iscsim.target.connection import TargetConnection

PCAPS = Path(__file__).parents[2] / "pcaps"
BLOCKS = 64
MOST_REQUESTS = 40
CHAP = ChapCredential("user", b"secretsecret")
ANSWERS = [
    SCSIResponse, SCSIDataIn, ReadyToTransfer, TaskManagementResponse, TextResponse, NOPIn, AsyncMessage,
    Reject, LogoutResponse,
]  # fmt: skip
WEIGHTS = [20, 30, 20, 6, 6, 6, 1, 3, 1]


def random_wishes(rng: random.Random) -> Wishes:
    return Wishes(
        initial_r2t=rng.random() < 0.5,
        immediate_data=rng.random() < 0.5,
        max_burst_length=rng.choice([512, 4096, 262144]),
        first_burst_length=512,
        max_recv_data_segment_length=rng.choice([512, 8192, 262144]),
        max_outstanding_r2t=rng.choice([1, 4]),
        header_digest=rng.choice([("None",), ("CRC32C", "None")]),
        data_digest=rng.choice([("None",), ("CRC32C", "None")]),
        data_pdu_in_order=rng.random() < 0.8,
    )


class Host:
    """An initiator's connection under fire: everything it does is checked."""

    def __init__(self, rng: random.Random, *, chap: ChapConfig | None = None) -> None:
        discovers = rng.random() < 0.1
        config = LoginConfig(
            initiator_name=INITIATOR,
            target_name=None if discovers else TARGET,
            session_type=SessionType.DISCOVERY if discovers else SessionType.NORMAL,
            chap=chap,
            wishes=random_wishes(rng),
        )
        self.rng = rng
        self.now = 0.0
        self.core = InitiatorConnection(
            config,
            isid=bytes.fromhex("00023d000001"),
            rng=rng,
            now=0.0,
            timeouts=Timeouts(ping_interval_s=rng.choice([0.0, 5.0])),
        )
        self.open: dict[Request, None] = {}
        self.ended: list[Request] = []
        self.messages = 0
        self.core.start()

    def watch(self, request: Request) -> Request:
        self.open[request] = None
        request.done = self._end
        return request

    def _end(self, request: Request) -> None:
        assert request in self.open, f"{request.name} ended twice"
        del self.open[request]
        self.ended.append(request)
        assert request.error is None or isinstance(request.error, ISCSIError)
        if isinstance(request, CommandTask):
            assert len(request.data_in) <= max(request.data_in_length, 1 << 16)

    def ask(self) -> None:
        """Send a request of some kind, if the session lets us."""
        if len(self.open) >= MOST_REQUESTS:
            return
        rng, core = self.rng, self.core
        kind = rng.randrange(10)
        try:
            if kind < 4:
                blocks = rng.randrange(1, 9)
                cdb = b"\x28\0" + rng.randrange(BLOCKS).to_bytes(4, "big") + b"\0" + bytes([0, blocks])
                self._submit(CommandTask(lun(rng.randrange(3)), cdb, data_in_length=blocks * 512))
            elif kind < 7:
                blocks = rng.randrange(1, 9)
                cdb = b"\x2a\0" + rng.randrange(BLOCKS).to_bytes(4, "big") + b"\0" + bytes([0, blocks])
                self._submit(CommandTask(lun(rng.randrange(3)), cdb, data_out=rng.randbytes(blocks * 512)))
            elif kind == 7:
                core.ping(self._new(Ping(rng.randbytes(rng.choice([0, 4, 300])))))
            elif kind == 8:
                core.manage(self._new(Management(rng.choice([2, 3, 5]), lun(rng.randrange(3)))))
            else:
                core.negotiate(self._new(TextNegotiation([("SendTargets", rng.choice(["All", ""]))])))
        except (SessionFailed, LocalProtocolError):
            self.open.pop(self._last, None)

    def _new(self, request: Any) -> Any:
        self._last = request
        return self.watch(request)

    def _submit(self, task: CommandTask) -> None:
        task.deadline = self.now + 30
        self.core.submit(self._new(task))

    def log_out(self) -> None:
        try:
            self.core.logout(self._new(Logout()))
        except (SessionFailed, LocalProtocolError):
            self.open.pop(self._last, None)

    def receive(self, data: bytes) -> None:
        for piece in pieces(self.rng, data):
            self.core.receive_data(piece, self.now)
            self.check()

    def pass_time(self) -> None:
        self.now += self.rng.choice([0.0, 0.5, 5.1, 16.0, 31.0])
        self.core.handle_timer(self.now)
        self.check()

    def sent(self) -> bytes:
        self.check()
        return b"".join(bytes(piece) for piece in self.core.data_to_send())

    def check(self) -> None:
        core = self.core
        assert core.framer.pending_length <= core.framer.max_data_segment_length + 1100
        assert len(core.requests) + len(core.commands.tasks) + len(core.commands.queue) <= 3 * MOST_REQUESTS
        events = core.events()
        self.messages += sum(isinstance(event, ConnectionEnded) for event in events)
        assert self.messages == core.closing
        if core.closing:
            assert not self.open, f"without an end: {[request.name for request in self.open]}"
            assert core.next_deadline() is None

    def lose(self) -> None:
        self.core.connection_lost()
        self.check()
        assert self.core.closing


# -- our target at the other end, and a bad wire between -------------------------------------------


def make_target(rng: random.Random, *, chap: bool) -> TargetConnection:
    entity = make_entity(luns=0)
    for number in range(2):
        node_of(entity).add_lun(number, LogicalUnit(MemoryStore(BLOCKS), serial=f"disk {number}"))
    if chap:
        node_of(entity).chap = ChapConfig(incoming=(CHAP,))
    return TargetConnection(entity, entity.portals[0], rng=rng, now=0.0)


def test_a_wire_that_spoils_what_the_target_says() -> None:
    logged_in = 0
    for rng in rounds("wire"):
        chap = rng.random() < 0.3
        target = make_target(rng, chap=chap)
        host = Host(rng, chap=ChapConfig(outgoing=CHAP) if chap else None)
        share = rng.choice([0.0, 0.02, 0.2])
        for _ in range(rng.choice([10, 150])):
            said = host.sent()
            target.receive_data(said, host.now)
            answer = b"".join(bytes(piece) for piece in target.data_to_send())
            target.events()
            host.receive(mutated(rng, answer) if rng.random() < share else answer)
            if host.core.closing:
                break
            if host.core.phase is not Phase.LOGIN:
                logged_in += 1
                for _ in range(rng.randrange(4)):
                    host.ask()
            if rng.random() < 0.05:
                host.pass_time()
                target.handle_timer(host.now)
            if rng.random() < 0.01:
                host.log_out()
        host.lose()
        target.connection_lost()
    assert logged_in


# -- PDUs a target could send, and ones it could not -----------------------------------------------


def log_in(host: Host) -> None:
    """Let our own target take the host in; what comes afterwards, comes from elsewhere."""
    target = make_target(host.rng, chap=False)
    while host.core.phase is Phase.LOGIN:
        target.receive_data(host.sent(), host.now)
        host.receive(b"".join(bytes(piece) for piece in target.data_to_send()))


def random_value(rng: random.Random, name: str, current: Any, host: Host) -> Any:
    """A value for one field: often what makes sense, sometimes anything."""
    core, wild = host.core, rng.random() < 0.08
    tags = [*core.commands.tasks, *core.requests, RESERVED_TAG]
    match name:
        case "initiator_task_tag" | "referenced_task_tag":
            return rng.getrandbits(32) if wild else rng.choice(tags)
        case "stat_sn":
            return (core.exp_stat_sn + (rng.choice([1, -1, 1 << 31]) if wild else 0)) & SERIAL_MASK
        case "exp_cmd_sn":
            return core.numbers.cmd_sn
        case "max_cmd_sn":
            return (core.numbers.cmd_sn + rng.choice([-1, 0, 1, 31])) & SERIAL_MASK
        case "lun":
            return rng.randbytes(8) if wild else lun(rng.randrange(3))
        case "buffer_offset" | "desired_data_transfer_length":
            return rng.getrandbits(32) if wild else rng.randrange(9) * 512
        case "data_sn" | "r2t_sn":
            return rng.getrandbits(32) if wild else rng.randrange(3)
        case "data":
            return rng.randbytes(rng.choice([0, 0, 20, 512, 1024]))
        case "reason" | "response" | "async_event" | "status":
            return rng.randrange(128) if wild else rng.choice([0, 0, 0, 1, 2, 4])
        case "ahs":
            return ()
    return rng.random() < 0.5 if isinstance(current, bool) else current


def random_pdu(rng: random.Random, host: Host) -> bytes:
    kind: Any = rng.choices(ANSWERS, WEIGHTS)[0]
    if rng.random() < 0.01:
        kind = rng.choice(list(PDU_TYPES.values()))
    pdu = kind.from_header(rng.randbytes(48)) if rng.random() < 0.02 else kind()
    for field in fields(pdu):
        setattr(pdu, field.name, random_value(rng, field.name, getattr(pdu, field.name), host))
    if isinstance(pdu, TextResponse):
        pdu.data = encode_text([("TargetName", TARGET), ("TargetAddress", "192.0.2.1:3260,1")])
    if isinstance(pdu, Reject):
        pdu.data = b"".join(
            SCSICommand(initiator_task_tag=rng.choice([*host.core.commands.tasks, 0])).encode()
        )
    framer = host.core.framer
    return b"".join(bytes(each) for each in pdu.encode(framer.header_digest, framer.data_digest))


def test_random_pdus_from_a_target() -> None:
    answered = 0
    for rng in rounds("answers"):
        host = Host(rng)
        log_in(host)
        for _ in range(rng.choice([20, 300])):
            host.ask()
            host.sent()
            host.receive(random_pdu(rng, host))
            if rng.random() < 0.02:
                host.pass_time()
            if host.core.closing:
                break
        answered += len(host.ended)
        host.lose()
    assert answered


@cache
def golden() -> list[bytes]:
    """What targets sent on each connection of the captures."""
    streams = [stream for path in sorted(PCAPS.glob("*.pcap.gz")) for stream in tcp_streams(path)]
    return [stream.from_server.data for stream in streams if stream.from_server.data]


def test_what_recorded_targets_said_spoilt() -> None:
    for rng in rounds("recorded"):
        host = Host(rng)
        data = rng.choice(golden())
        start = rng.randrange(len(data)) if rng.random() < 0.2 else 0
        if rng.random() < 0.5:
            log_in(host)
            for _ in range(5):
                host.ask()
        host.sent()
        host.receive(mutated(rng, bytes(data[start : start + rng.choice([48, 500, 5000])])))
        host.lose()
