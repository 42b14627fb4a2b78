"""Long random input for the target: nothing is raised or piles up, and the numbers it sends stay in order.

Not part of ``make test``; ``make fuzz`` runs it (see ``fuzzing.py``).
"""

import random
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from exchanges.ladder import INITIATOR, TARGET, login_request, lun, make_entity, node_of
from fuzz.fuzzing import rounds

from iscsim.capture.streams import tcp_streams
from iscsim.pdu import (
    PDU,
    PDU_TYPES,
    RESERVED_TAG,
    BidirectionalReadLength,
    ExtendedCDB,
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    NOPIn,
    NOPOut,
    Opcode,
    ReadyToTransfer,
    SCSICommand,
    SCSIDataIn,
    SCSIDataOut,
    SNACKRequest,
    TaskManagementRequest,
    TextRequest,
    UnknownAHS,
    decode,
)
from iscsim.pdu.text import encode_text
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.store import MemoryStore
from iscsim.session.chap import ChapConfig, ChapCredential
from iscsim.session.connection import Phase
from iscsim.session.events import ConnectionEnded
from iscsim.session.numbering import SERIAL_MASK, serial_distance
from iscsim.target.connection import TargetConnection
from iscsim.target.node import NetworkEntity, Portal
from iscsim.target.policy import LIO, RFC, TGT

PCAPS = Path(__file__).parents[2] / "pcaps"
BLOCKS = 64
LONGEST_READ = BLOCKS * 512 + 70 * 64
REQUESTS = [SCSICommand, SCSIDataOut, TaskManagementRequest, TextRequest, NOPOut, LogoutRequest, SNACKRequest]
WEIGHTS = [30, 25, 8, 8, 8, 1, 2]
CHAP = ChapConfig(incoming=(ChapCredential("user", b"secretsecret"),))


def make_target(rng: random.Random) -> NetworkEntity:
    policy = replace(
        rng.choice([RFC, LIO, TGT]), command_window=rng.choice([1, 2, 8, 128]), write_room=1 << 16
    )
    entity = make_entity(policy, luns=0)
    node = node_of(entity)
    for number in range(2):
        node.add_lun(number, LogicalUnit(MemoryStore(BLOCKS), serial=f"disk {number}", thin=True))
    return entity


class Wire:
    """One connection under fire: everything it does is checked."""

    def __init__(self, entity: NetworkEntity, rng: random.Random, portal: Portal | None = None) -> None:
        self.rng = rng
        self.now = 0.0
        self.core = TargetConnection(entity, portal or entity.portals[0], rng=rng, now=0.0)
        self.messages: list[str] = []
        self.r2ts: list[ReadyToTransfer] = []
        self.tags: list[int] = []
        self._stat_sn: int | None = None
        self._numbers: tuple[int, int] | None = None

    def receive(self, data: bytes) -> None:
        """Hand ``data`` over in pieces of random sizes."""
        sizes = self.rng.choice([[1 << 20], [48, 512], [1, 7, 64, 4096]])
        position = 0
        while position < len(data):
            piece = data[position : position + self.rng.choice(sizes)]
            position += len(piece)
            self.core.receive_data(piece, self.now)
            self.check(len(piece))

    def pass_time(self) -> None:
        self.now += self.rng.choice([0.0, 0.5, 15.0, 31.0])
        self.core.handle_timer(self.now)
        self.check(0)

    def lose(self) -> None:
        self.core.connection_lost()
        self.core.connection_lost()
        self.check(0)
        assert self.core.closing

    def check(self, received: int) -> None:
        pieces = self.core.data_to_send()
        sent = b"".join(pieces)
        window = self.core.entity.policy.command_window
        assert len(sent) <= (window + 33) * (LONGEST_READ + 70_000) + 4 * received
        self._check_sent(sent)
        self._check_kept(window)
        self.messages += [e.message for e in self.core.events() if isinstance(e, ConnectionEnded)]
        assert len(self.messages) == self.core.closing
        assert all(message.isprintable() for message in self.messages)
        deadline = self.core.next_deadline()
        assert deadline is None or not self.core.closing

    def _check_sent(self, sent: bytes) -> None:
        digests = self.core.send_header_digest, self.core.send_data_digest
        while sent:
            login = sent[0] & 0x3F == Opcode.LOGIN_RESPONSE
            pdu, length = decode(sent, *((False, False) if login else digests))
            sent = sent[length:]
            if isinstance(pdu, ReadyToTransfer):
                self.r2ts.append(pdu)
                assert pdu.desired_data_transfer_length
            self._check_numbers(pdu)

    def _check_numbers(self, pdu: Any) -> None:
        """StatSN is the next one, MaxCmdSN never goes back (RFC 7143 sections 4.2.2.1 and 4.2.2.2)."""
        if isinstance(pdu, LoginResponse) and pdu.status_class:
            return
        exp, top = pdu.exp_cmd_sn, pdu.max_cmd_sn
        assert serial_distance(exp, top) >= -1
        if self._numbers is not None and not isinstance(pdu, LoginResponse):
            assert serial_distance(self._numbers[0], exp) >= 0
            assert serial_distance(self._numbers[1], top) >= 0
        self._numbers = exp, top
        if isinstance(pdu, SCSIDataIn) and not pdu.status_present:
            return
        assert self._stat_sn in (None, pdu.stat_sn)
        ping = isinstance(pdu, NOPIn) and pdu.initiator_task_tag == RESERVED_TAG
        advances = not (ping or isinstance(pdu, ReadyToTransfer))
        self._stat_sn = (pdu.stat_sn + advances) & SERIAL_MASK

    def _check_kept(self, window: int) -> None:
        assert self.core.framer.pending_length <= self.core.framer.max_data_segment_length + 1100
        if self.core.phase is Phase.LOGIN:
            exchange = self.core.login._login._exchange
            assert self.core.framer.pending_length + len(exchange._assembler._received) <= (64 << 10) + 1100
            return
        session = self.core.session
        assert len(session.tasks) <= 2 * window + 8
        assert len(session.fences) <= 2 * window + 8
        assert len(session.held) <= window + 8
        first_burst = session.parameters.first_burst_length
        for place in session.held.values():
            assert len(place.functions) <= 8
            assert sum(len(pdu.data) for pdu in place.data_out) <= first_burst
        asked = sum(task.transfer.length for task in session.tasks.values() if task.has_room)
        longest = max((task.transfer.length for task in session.tasks.values()), default=0)
        assert asked <= max(self.core.entity.policy.write_room, longest)


# -- random PDUs -----------------------------------------------------------------------------------

KEYS = [
    "InitiatorName", "TargetName", "SessionType", "HeaderDigest", "DataDigest", "MaxRecvDataSegmentLength",
    "MaxBurstLength", "FirstBurstLength", "InitialR2T", "ImmediateData", "AuthMethod", "CHAP_A", "CHAP_N",
    "CHAP_R", "CHAP_I", "CHAP_C", "SendTargets", "TargetAddress", "IFMarker", "ErrorRecoveryLevel",
    "TaskReporting", "X-org.example", "X#NodeArchitecture", "MaxOutstandingR2T",
]  # fmt: skip
VALUES = [
    "Yes", "No", "None", "CRC32C", "CRC32C,None", "Normal", "Discovery", INITIATOR, TARGET, "All", "", "0",
    "1", "5", "512", "65536", "262144", "0x10000", "16777215", "-1", "CHAP", "CHAP,None", "0x" + "00" * 16,
    "Reject", "NotUnderstood", "Irrelevant", "x" * 255, "RFC3720,FastAbort", "0b" + "A" * 40,
]  # fmt: skip


def random_text(rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.1:
        return rng.randbytes(rng.randrange(200))
    pairs = [(rng.choice(KEYS), rng.choice(VALUES)) for _ in range(rng.randrange(6))]
    data = encode_text(pairs)
    return data[: rng.randrange(len(data) + 1)] if kind < 0.2 else data


def random_cdb(rng: random.Random) -> bytes:
    opcode = rng.choice(
        [0x00, 0x12, 0x28, 0x28, 0x2A, 0x2A, 0x8A, 0xA0, 0x9E, 0x42, 0x1A, 0x35, 0x1B, rng.randrange(256)]
    )
    if rng.random() < 0.6:
        lba, blocks = rng.randrange(BLOCKS), rng.randrange(1, 9)
        return bytes([opcode, 0]) + lba.to_bytes(4, "big") + b"\0" + blocks.to_bytes(2, "big") + bytes(7)
    return bytes([opcode]) + rng.randbytes(15)


def random_value(rng: random.Random, name: str, current: Any, wire: Wire) -> Any:
    """A value for one field: often what makes sense, sometimes anything."""
    wild = rng.random() < 0.1
    match name:
        case "cdb":
            return random_cdb(rng)
        case "lun":
            return rng.randbytes(8) if wild else lun(rng.randrange(3))
        case "isid":
            return rng.choice([bytes(6), b"\0\x02=\0\0\1"])
        case "initiator_task_tag" | "referenced_task_tag":
            return rng.choice([*wire.tags[-8:], rng.randrange(16), RESERVED_TAG])
        case "cmd_sn" | "ref_cmd_sn":
            return (
                base_cmd_sn(wire) + rng.choice([0, 0, 0, 0, 1, 2, 5, -1, 127, 128, 1 << 31])
            ) & SERIAL_MASK
        case "expected_data_transfer_length":
            return rng.getrandbits(32) if wild else rng.randrange(16) * 512
        case "buffer_offset":
            return rng.getrandbits(32) if wild else rng.randrange(8) * 512
        case "data":
            return rng.randbytes(rng.choice([0, 0, 3, 512, 1024, 4096]))
        case "ahs":
            segments = [ExtendedCDB(b"abcd"), BidirectionalReadLength(600), UnknownAHS(9, 0, b"abc")]
            return tuple(rng.sample(segments, rng.randrange(4))) if wild else ()
        case "function" | "reason" | "type" | "current_stage" | "next_stage":
            return rng.randrange(4 if "stage" in name else 8)
    return rng.random() < 0.5 if isinstance(current, bool) else current


def base_cmd_sn(wire: Wire) -> int:
    return 1 if wire.core.phase is Phase.LOGIN else wire.core.session.window.exp_cmd_sn


def random_pdu(rng: random.Random, wire: Wire, kinds: list[type[PDU]]) -> bytes:
    if wire.r2ts and rng.random() < 0.3:
        return answer_r2t(rng, wire)
    weights = WEIGHTS if kinds is REQUESTS else None
    kind: Any = rng.choices(kinds, weights)[0]
    pdu = kind.from_header(rng.randbytes(48)) if rng.random() < 0.2 else kind()
    for field in fields(pdu):
        setattr(pdu, field.name, random_value(rng, field.name, getattr(pdu, field.name), wire))
    if isinstance(pdu, TextRequest | LoginRequest):
        pdu.data = random_text(rng)
    if isinstance(pdu, LogoutRequest) and rng.random() < 0.9:
        pdu.reason = 2
    if isinstance(pdu, TaskManagementRequest) and pdu.function == 7 and rng.random() < 0.9:
        pdu.function = 2
    if isinstance(pdu, SCSICommand):
        wire.tags.append(pdu.initiator_task_tag)
    return encode(wire, pdu)


def answer_r2t(rng: random.Random, wire: Wire) -> bytes:
    r2t = wire.r2ts.pop(rng.randrange(len(wire.r2ts)))
    length = r2t.desired_data_transfer_length
    length = length if rng.random() < 0.8 else rng.randrange(length + 512)
    return encode(
        wire,
        SCSIDataOut(
            final=rng.random() < 0.9,
            lun=r2t.lun,
            initiator_task_tag=r2t.initiator_task_tag,
            target_transfer_tag=r2t.target_transfer_tag,
            buffer_offset=r2t.buffer_offset,
            data=bytes(min(length, 1 << 17)),
        ),
    )


def encode(wire: Wire, pdu: PDU) -> bytes:
    framer = wire.core.framer
    data = bytearray(b"".join(pdu.encode(framer.header_digest, framer.data_digest)))
    if wire.rng.random() < 0.01:
        data[wire.rng.randrange(len(data))] ^= 1 << wire.rng.randrange(8)
    return bytes(data)


def random_login(rng: random.Random, wire: Wire) -> None:
    """A login that mostly succeeds, with parameters of all kinds."""
    keys = {
        "InitialR2T": rng.choice(["Yes", "No"]),
        "ImmediateData": rng.choice(["Yes", "No"]),
        "MaxBurstLength": rng.choice(["512", "4096", "262144"]),
        "FirstBurstLength": "512",
        "MaxRecvDataSegmentLength": rng.choice(["512", "8192", "262144"]),
        "MaxOutstandingR2T": rng.choice(["1", "4"]),
        "HeaderDigest": rng.choice(["None", "CRC32C"]),
        "DataDigest": rng.choice(["None", "CRC32C"]),
        "SessionType": rng.choice(["Normal"] * 5 + ["Discovery"]),
    }
    if keys["SessionType"] == "Discovery":
        keys = {"SessionType": "Discovery"}
    isid = rng.choice([bytes(6), b"\0\x02=\0\0\1"])
    request = login_request(keys, isid=isid, cmd_sn=rng.choice([0, 1, 0xFFFFFFF0]))
    wire.receive(b"".join(request.encode()))


# -- the tests -------------------------------------------------------------------------------------


def test_random_pdus_before_the_login() -> None:
    kinds = [LoginRequest] * 20 + list(PDU_TYPES.values())
    for rng in rounds("before"):
        entity = make_target(rng)
        if rng.random() < 0.3:
            node_of(entity).chap = CHAP
        wire = Wire(entity, rng)
        while not wire.core.closing and wire.core.phase is Phase.LOGIN:
            if rng.random() < 0.05:
                wire.receive(rng.randbytes(rng.randrange(1, 200)))
            elif rng.random() < 0.1:
                wire.pass_time()
            else:
                wire.receive(random_pdu(rng, wire, kinds))
        wire.lose()
        assert not entity.sessions


def test_random_pdus_after_the_login() -> None:
    for rng in rounds("after"):
        entity = make_target(rng)
        wire = Wire(entity, rng)
        random_login(rng, wire)
        for _ in range(rng.choice([20, 400])):
            if rng.random() < 0.02:
                wire.pass_time()
            wire.receive(
                b"".join(random_pdu(rng, wire, REQUESTS) for _ in range(rng.choice([1, 1, 10, 100])))
            )
            if wire.core.closing:
                break
        wire.lose()
        assert not entity.sessions


def test_many_connections_at_once() -> None:
    """Sessions that reinstate, reset and lose each other, all on one target."""
    for rng in rounds("storm"):
        entity = make_target(rng)
        node_of(entity).add_portal(Portal("192.0.2.2"))
        wires: list[Wire] = []
        for _ in range(300):
            if len(wires) < 4 and rng.random() < 0.3:
                wires.append(Wire(entity, rng, rng.choice(entity.portals)))
                random_login(rng, wires[-1])
            elif wires:
                wire = rng.choice(wires)
                wire.receive(random_pdu(rng, wire, REQUESTS))
                for other in wires:
                    other.check(0)
                if wire.core.closing or rng.random() < 0.02:
                    wire.lose()
                    wires.remove(wire)
            assert len(entity.sessions) <= len(wires)
        for wire in wires:
            wire.lose()
        assert not entity.sessions


@cache
def golden() -> list[bytes]:
    """What initiators sent on each connection of the captures, without the secrets to get in with CHAP."""
    streams = [stream for path in sorted(PCAPS.glob("*.pcap.gz")) for stream in tcp_streams(path)]
    return [stream.from_client.data for stream in streams if stream.from_client.data]


def spoilt(rng: random.Random, data: bytes) -> bytes:
    """A part of a session, with up to thirty mistakes all over it."""
    start = rng.randrange(len(data)) if rng.random() < 0.1 else 0
    found = bytearray(data[start : start + rng.choice([500, 5000, 100_000])])
    for _ in range(rng.choice([0, 1, 1, 3, 30])):
        position = rng.randrange(len(found) or 1)
        kind = rng.randrange(4)
        if kind == 0:
            found[position : position + 1] = rng.randbytes(1)
        elif kind == 1:
            found[position : position + 4] = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", rng.randbytes(4)])
        elif kind == 2:
            del found[position : position + rng.choice([1, 4, 48])]
        else:
            found[position:position] = rng.randbytes(rng.choice([1, 4, 48]))
    return bytes(found)


def test_mutated_golden_sessions() -> None:
    logged_in = 0
    for rng in rounds("golden"):
        entity = NetworkEntity(RFC)
        for tail in ("a0", "b0"):
            node = entity.add_target(f"iqn.1992-04.com.emc:cx.fnm00150600267.{tail}")
            node.add_portal(entity.portals[0] if entity.portals else Portal("192.0.2.1"))
            node.add_lun(197, LogicalUnit(MemoryStore(131072), serial="disk"))
        wire = Wire(entity, rng)
        wire.receive(spoilt(rng, rng.choice(golden())))
        logged_in += wire.core.phase is not Phase.LOGIN
        wire.lose()
        assert not entity.sessions
    assert logged_in
