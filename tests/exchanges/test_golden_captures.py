"""Every PDU real peers sent in the captures of ``pcaps/`` decodes, and encodes back to the same bytes."""

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from iscsim.capture.streams import Stream, tcp_streams
from iscsim.pdu import MAX_DATA_SEGMENT_LENGTH, PDU, LoginResponse, Stage, decode
from iscsim.pdu.text import parse_text
from iscsim.session.framer import Framer

PCAPS = Path(__file__).parents[2] / "pcaps"
LIO = "lio-chap-digests-reset-pr.pcap.gz"
OPEN_ISCSI = "open-iscsi-discovery-login-scan-io.pcap.gz"
OS_BRICK = "os-brick-two-paths-then-silent-portal.pcap.gz"

# PDUs in each capture. `tshark -r FILE -Y iscsi -T fields -e iscsi.opcode` counts the same 792 and 1246. Of
# the LIO capture tshark 4.0.17 shows 411: it loses the fourth connection, where LIO sends header, data and
# data digest in segments of their own. With the digests taken out of the stream it counts these 518.
COUNTS = {
    LIO: {
        "LoginRequest": 15,
        "LoginResponse": 15,
        "TextRequest": 2,
        "TextResponse": 2,
        "SCSICommand": 232,
        "SCSIResponse": 17,
        "SCSIDataIn": 215,
        "SCSIDataOut": 3,
        "ReadyToTransfer": 3,
        "TaskManagementRequest": 2,
        "TaskManagementResponse": 2,
        "NOPOut": 4,
        "NOPIn": 4,
        "LogoutRequest": 1,
        "LogoutResponse": 1,
    },
    OPEN_ISCSI: {
        "LoginRequest": 4,
        "LoginResponse": 4,
        "TextRequest": 1,
        "TextResponse": 1,
        "SCSICommand": 390,
        "SCSIResponse": 22,
        "SCSIDataIn": 368,
        "LogoutRequest": 1,
        "LogoutResponse": 1,
    },
    OS_BRICK: {
        "LoginRequest": 11,
        "LoginResponse": 3,
        "SCSICommand": 591,
        "SCSIResponse": 34,
        "SCSIDataIn": 557,
        "NOPOut": 22,
        "NOPIn": 22,
        "LogoutRequest": 3,
        "LogoutResponse": 3,
    },
}
CAPTURES = sorted(COUNTS)

# Connections, by the initiator's port, whose login agreed on CRC32C for header and data.
WITH_DIGESTS = {LIO: {47444, 47456}, OPEN_ISCSI: set(), OS_BRICK: set()}

# LIO pads the third Login Response of a CHAP login with what its buffer held before: bytes of the target's
# stream that differ. RFC 7143 section 11.1: "The padding bytes SHOULD be sent as 0". We send 0.
STALE_PADDING = {(LIO, 47444): [325, 326], (LIO, 47456): [325, 326]}


class Replay:
    """One TCP connection read by two framers, whose digests follow the login seen on the wire."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.pdus: list[PDU] = []
        self.encoded = {True: bytearray(), False: bytearray()}
        self.digests = (False, False)
        self.framers = {True: Framer(), False: Framer()}
        self._negotiated: dict[str, str] = {}
        for framer in self.framers.values():
            framer.max_data_segment_length = MAX_DATA_SEGMENT_LENGTH
        for from_client, data in stream.merged:
            for pdu in self.framers[from_client].receive(data):
                self._take(from_client, pdu)

    @property
    def port(self) -> int:
        return self.stream.client[1]

    def _take(self, from_client: bool, pdu: PDU) -> None:
        wire = b"".join(pdu.encode(*self.digests))
        assert decode(wire, *self.digests) == (pdu, len(wire))
        self.encoded[from_client] += wire
        self.pdus.append(pdu)
        if isinstance(pdu, LoginResponse):
            self._follow_login(pdu)

    def _follow_login(self, pdu: LoginResponse) -> None:
        if pdu.current_stage == Stage.OPERATIONAL_NEGOTIATION:
            self._negotiated.update(parse_text(pdu.data))
        if pdu.transit and pdu.next_stage == Stage.FULL_FEATURE and not pdu.status_class:
            header, data = (self._negotiated.get(key) == "CRC32C" for key in ("HeaderDigest", "DataDigest"))
            self.digests = header, data
            for framer in self.framers.values():
                framer.header_digest, framer.data_digest = header, data


@cache
def replays(name: str) -> list[Replay]:
    return [Replay(stream) for stream in tcp_streams(PCAPS / name)]


def differences(ours: bytes, theirs: bytes) -> list[int]:
    assert len(ours) == len(theirs)
    return [] if ours == theirs else [i for i in range(len(ours)) if ours[i] != theirs[i]]


@pytest.mark.parametrize("name", CAPTURES)
def test_capture_holds_the_counted_pdus(name: str) -> None:
    assert Counter(type(pdu).__name__ for replay in replays(name) for pdu in replay.pdus) == COUNTS[name]


@pytest.mark.parametrize("name", CAPTURES)
def test_every_byte_of_the_capture_belongs_to_a_pdu(name: str) -> None:
    for replay in replays(name):
        assert not replay.stream.missing
        assert [framer.pending_length for framer in replay.framers.values()] == [0, 0]


@pytest.mark.parametrize("name", CAPTURES)
def test_pdus_encode_back_to_the_bytes_of_the_capture(name: str) -> None:
    for replay in replays(name):
        assert replay.encoded[True] == replay.stream.from_client.data
        found = differences(bytes(replay.encoded[False]), replay.stream.from_server.data)
        assert found == STALE_PADDING.get((name, replay.port), [])


@pytest.mark.parametrize("name", CAPTURES)
def test_digests_follow_the_login(name: str) -> None:
    digests = {replay.port: replay.digests for replay in replays(name)}
    assert {port for port, used in digests.items() if used == (True, True)} == WITH_DIGESTS[name]
    assert {used for port, used in digests.items() if port not in WITH_DIGESTS[name]} == {(False, False)}


@pytest.mark.parametrize("name", CAPTURES)
def test_every_command_of_the_capture_has_one_status(name: str) -> None:
    """The counts are the peers': each SCSI Command ends with one SCSI Response or Data-In with status."""
    for replay in replays(name):
        kinds = Counter(type(pdu).__name__ for pdu in replay.pdus)
        with_status = sum(getattr(pdu, "status_present", False) for pdu in replay.pdus)
        assert kinds["SCSICommand"] == kinds["SCSIResponse"] + with_status
