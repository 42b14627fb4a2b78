"""What Linux sent to tgt and LIO in the captures of ``pcaps/`` is sent to our target, PDU by PDU.

Every command must be answered, with the status the real target gave.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from exchanges.ladder import Exchange

from iscsim.capture.streams import Stream, tcp_streams
from iscsim.pdu import (
    MAX_DATA_SEGMENT_LENGTH,
    PDU,
    RESERVED_TAG,
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    LogoutResponse,
    NOPOut,
    ReadyToTransfer,
    SCSICommand,
    SCSIDataIn,
    SCSIDataOut,
    SCSIResponse,
    Stage,
    TaskManagementRequest,
    TaskManagementResponse,
    TextRequest,
    TextResponse,
)
from iscsim.pdu.text import parse_text
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.store import MemoryStore
from iscsim.session.chap import ChapConfig, ChapCredential
from iscsim.session.framer import Framer
from iscsim.session.parameters import Wishes
from iscsim.target.connection import TargetConnection
from iscsim.target.node import NetworkEntity, Portal
from iscsim.target.policy import RFC

PCAPS = Path(__file__).parents[2] / "pcaps"
LIO = "lio-chap-digests-reset-pr"
OPEN_ISCSI = "open-iscsi-discovery-login-scan-io"
OS_BRICK = "os-brick-two-paths-then-silent-portal"
CAPTURES = [LIO, OPEN_ISCSI, OS_BRICK]
NAME = "iqn.1992-04.com.emc:cx.fnm00150600267."
INITIATOR = "iqn.1993-08.org.debian:01:7cc8838d1c0"
# typed in tests/golden/lio-chap-digests-reset-pr.log
CHAP = ChapConfig(
    incoming=(ChapCredential("chapuser", b"chapsecret12"),),
    outgoing=ChapCredential("tgtuser", b"tgtsecret1234"),
)
# What tgt and LIO agreed to.
WISHES = Wishes(initial_r2t=True, first_burst_length=65536, max_burst_length=262144)

TEST_UNIT_READY, INQUIRY, READ_10, WRITE_10, READ_CAPACITY_16 = 0x00, 0x12, 0x28, 0x2A, 0x9E
WRITE_SAME_16 = 0x93
SAME_STATUS = {TEST_UNIT_READY, INQUIRY, READ_10, WRITE_10, READ_CAPACITY_16, 0x35, 0xA0}
# LIO tells a new session nothing when it takes the place of an old one; we say that it is new.
NEW_SESSION_ATTENTION = {(bytes(16).hex(), 0, 2)}
LUN = bytes.fromhex("00c5000000000000")


class RecordedRandomness:
    """Draws the CHAP challenge of the capture, so that the recorded answer to it is right."""

    def __init__(self, challenge: bytes, identifier: int) -> None:
        self._challenge, self._identifier = challenge, identifier

    def randbytes(self, n: int) -> bytes:
        assert n == len(self._challenge)
        return self._challenge

    def getrandbits(self, k: int) -> int:
        return self._identifier if k == 8 else 1


Outcome = tuple[int, int]
"""SCSI status and bytes of Data-In of one command."""


def outcomes(pdus: Iterable[PDU]) -> dict[int, list[Outcome]]:
    """The outcomes of all commands, by their tags: one after the other, because Linux uses tags again."""
    found: defaultdict[int, list[Outcome]] = defaultdict(list)
    lengths: Counter[int] = Counter()
    for pdu in pdus:
        if isinstance(pdu, SCSIDataIn):
            lengths[pdu.initiator_task_tag] += len(pdu.data)
        if isinstance(pdu, SCSIResponse) or (isinstance(pdu, SCSIDataIn) and pdu.status_present):
            tag = pdu.initiator_task_tag
            found[tag].append((pdu.status, lengths.pop(tag, 0)))
    return found


@dataclass
class Recording:
    """One connection of a capture that got as far as a login: all its PDUs, in order."""

    stream: Stream
    pdus: list[tuple[bool, PDU]] = field(default_factory=list)

    def __post_init__(self) -> None:
        framers = {True: Framer(), False: Framer()}
        for framer in framers.values():
            framer.max_data_segment_length = MAX_DATA_SEGMENT_LENGTH
        for from_client, data in self.stream.merged:
            for pdu in framers[from_client].receive(data):
                self.pdus.append((from_client, pdu))
                if isinstance(pdu, LoginResponse) and pdu.transit and pdu.next_stage == Stage.FULL_FEATURE:
                    for framer in framers.values():
                        framer.header_digest = framer.data_digest = "CRC32C" in self.keys(False).values()

    def keys(self, from_client: bool) -> dict[str, str]:
        """All keys one end said during login."""
        logins = (pdu for client, pdu in self.pdus if client is from_client)
        return dict(
            pair
            for pdu in logins
            if isinstance(pdu, LoginRequest | LoginResponse)
            for pair in parse_text(pdu.data)
        )

    def sent(self, kind: type[PDU]) -> list[Any]:
        return [pdu for from_client, pdu in self.pdus if from_client and isinstance(pdu, kind)]

    @property
    def outcomes(self) -> dict[int, list[Outcome]]:
        """How commands ended, by their tags."""
        return outcomes(pdu for from_client, pdu in self.pdus if not from_client)

    def randomness(self) -> RecordedRandomness:
        keys = self.keys(False)
        return RecordedRandomness(bytes.fromhex(keys.get("CHAP_C", "0x")[2:]), int(keys.get("CHAP_I", "0")))


def entity_of(name: str) -> NetworkEntity:
    """The nodes of the capture: ``a0`` behind portal .95, ``b0`` behind .96, one disk as LUN 197."""
    entity = NetworkEntity(replace(RFC, wishes=WISHES))
    disk = LogicalUnit(MemoryStore(131072), serial="FNM00150600267", wwn="6006016015e03a00ab2df25bb82d0ea9")
    for tail, address in (("a0", "10.245.47.95"), ("b0", "10.245.47.96")):
        node = entity.add_target(NAME + tail)
        node.add_portal(Portal(address))
        node.add_lun(197, disk)
        node.add_acl(INITIATOR, chap=CHAP if name == LIO else None)
    return entity


class Replay:
    """What the initiator of a recording sent, at our target."""

    def __init__(self, recording: Recording, entity: NetworkEntity) -> None:
        self.recording = recording
        portal = next(each for each in entity.portals if each.address == recording.stream.server[0])
        self.exchange = Exchange(TargetConnection(entity, portal, rng=recording.randomness(), now=0.0))
        self.answers: list[PDU] = []
        self._r2ts: dict[tuple[int, int], ReadyToTransfer] = {}
        for from_client, pdu in recording.pdus:
            if from_client:
                self._send(pdu)

    def _send(self, pdu: PDU) -> None:
        if isinstance(pdu, SCSIDataOut) and pdu.target_transfer_tag != RESERVED_TAG:
            r2t = self._r2ts.pop((pdu.initiator_task_tag, pdu.buffer_offset))
            assert r2t.desired_data_transfer_length == len(pdu.data)
            pdu.target_transfer_tag = r2t.target_transfer_tag
        self.exchange >> pdu
        for answer in self.exchange.answers:
            if isinstance(answer, ReadyToTransfer):
                self._r2ts[answer.initiator_task_tag, answer.buffer_offset] = answer
        self.answers += self.exchange.answers
        self.exchange.answers.clear()

    def received(self, kind: type[PDU]) -> list[Any]:
        return [answer for answer in self.answers if isinstance(answer, kind)]

    def results(self) -> Iterator[tuple[SCSICommand, Outcome, Outcome]]:
        """Each command, how it ended at the real target, and how at ours."""
        recorded, ours = self.recording.outcomes, outcomes(self.answers)
        for command in self.recording.sent(SCSICommand):
            tag = command.initiator_task_tag
            yield command, recorded[tag].pop(0), ours[tag].pop(0)


@cache
def replays(name: str) -> list[Replay]:
    """Every connection of a capture that reached a target which answered."""
    recordings = [Recording(stream) for stream in tcp_streams(PCAPS / f"{name}.pcap.gz")]
    answered = [recording for recording in recordings if not all(client for client, _ in recording.pdus)]
    # the password was changed between these two, and the ACL removed before the last
    entity = entity_of(name)
    return [Replay(recording, entity) for recording in answered]


def full_feature(name: str) -> list[Replay]:
    return [replay for replay in replays(name) if replay.recording.sent(SCSICommand)]


@pytest.mark.parametrize("name, commands", [(OPEN_ISCSI, 390), (LIO, 110 + 122), (OS_BRICK, 243 + 148 + 200)])
def test_every_command_gets_one_status(name: str, commands: int) -> None:
    for replay in full_feature(name):
        sent = Counter(pdu.initiator_task_tag for pdu in replay.recording.sent(SCSICommand))
        ended = {tag: len(found) for tag, found in outcomes(replay.answers).items()}
        assert sent == ended
        commands -= sum(ended.values())
    assert commands == 0


@pytest.mark.parametrize("name", CAPTURES)
def test_the_status_is_that_of_the_real_target(name: str) -> None:
    for replay in full_feature(name):
        differing = {
            (command.cdb.hex(), recorded[0], ours[0])
            for command, recorded, ours in replay.results()
            if command.lun == LUN and command.cdb[0] in SAME_STATUS and recorded[0] != ours[0]
        }
        assert differing <= NEW_SESSION_ATTENTION


@pytest.mark.parametrize("name", CAPTURES)
def test_reads_return_as_much_as_they_did_at_the_real_target(name: str) -> None:
    for replay in full_feature(name):
        reads = [result for result in replay.results() if result[0].cdb[0] == READ_10]
        assert reads
        assert [recorded for _, recorded, _ in reads] == [ours for _, _, ours in reads]


def test_what_linux_wrote_to_lio_is_on_our_disk() -> None:
    first, second = full_feature(LIO)
    assert len(first.recording.sent(SCSIDataOut)) == len(first.received(ReadyToTransfer)) == 3
    written = {}
    for pdu in first.recording.sent(SCSICommand) + second.recording.sent(SCSICommand):
        if pdu.cdb[0] == WRITE_10:
            written[int.from_bytes(pdu.cdb[2:6], "big")] = bytes(pdu.data[:512])
        elif pdu.cdb[0] == WRITE_SAME_16:
            lba, blocks = int.from_bytes(pdu.cdb[2:10], "big"), int.from_bytes(pdu.cdb[10:14], "big")
            written |= {each: bytes(pdu.data) for each in written if lba <= each < lba + blocks}
    assert len(written) > 2
    store = second.exchange.session.nexus.lun_map.lookup(LUN).logical_unit.store
    assert written == {lba: bytes(store.read(lba, 1)) for lba in written}


@pytest.mark.parametrize(
    "request_type, response_type, count",
    [
        (LoginRequest, LoginResponse, 15 + 4 + 3),
        (TextRequest, TextResponse, 2 + 1),
        (TaskManagementRequest, TaskManagementResponse, 2),
        (LogoutRequest, LogoutResponse, 1 + 1 + 3),
    ],
)
def test_every_other_request_is_answered(
    request_type: type[PDU], response_type: type[PDU], count: int
) -> None:
    found = [replay for name in CAPTURES for replay in replays(name)]
    assert sum(len(replay.recording.sent(request_type)) for replay in found) == count
    assert sum(len(replay.received(response_type)) for replay in found) == count


def test_pings_are_answered_but_answers_are_not() -> None:
    pings = [pdu.initiator_task_tag for name in CAPTURES for replay in replays(name)
             for pdu in replay.recording.sent(NOPOut) if pdu.initiator_task_tag != RESERVED_TAG]  # fmt: skip
    echoes = [pdu.initiator_task_tag for name in CAPTURES for replay in replays(name)
              for pdu in replay.answers if type(pdu).__name__ == "NOPIn"]  # fmt: skip
    assert pings == echoes
    assert len(pings) == 25


def test_mutual_chap_of_linux_ends_with_the_proof_lio_gave() -> None:
    """Both know the secrets that the log shows being typed: our answer is the recorded one to the byte."""
    for replay in full_feature(LIO):
        ours = [pair for pdu in replay.received(LoginResponse) for pair in parse_text(pdu.data)]
        assert ("CHAP_R", replay.recording.keys(False)["CHAP_R"]) in ours
        assert replay.exchange.connection.send_data_digest


@pytest.mark.parametrize("name, refused", [(LIO, [0x0201, 0x0201]), (OPEN_ISCSI, [0x0203]), (OS_BRICK, [])])
def test_logins_that_were_refused_are_refused_by_us(name: str, refused: list[int]) -> None:
    found = [
        pdu.status_class << 8 | pdu.status_detail
        for replay in replays(name)
        for pdu in replay.received(LoginResponse)
        if pdu.status_class
    ]
    assert found == refused


def test_discovery_tells_name_and_address() -> None:
    (answer,) = next(replay for replay in replays(OPEN_ISCSI) if replay.received(TextResponse)).received(
        TextResponse
    )
    assert ("TargetName", NAME + "a0") in parse_text(answer.data)
    assert ("TargetAddress", "10.245.47.95:3260,1") in parse_text(answer.data)
