from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from iscsim.capture.ladder import LadderEvent, ladder, pcap_events, pcap_ladder, stream_events
from iscsim.capture.recorder import Recorder
from iscsim.capture.streams import Chunk, Stream
from iscsim.pdu import (
    PDU,
    LoginRequest,
    LoginResponse,
    NOPIn,
    NOPOut,
    RawPDU,
    SCSICommand,
    SCSIDataIn,
    Stage,
    TextRequest,
    TextResponse,
)
from iscsim.scsi.cdb import read_10
from iscsim.session.framer import DamagedPDU

PCAPS = Path(__file__).parents[2] / "pcaps"
CLIENT, SERVER = ("10.0.0.1", 40000), ("10.0.0.2", 3260)
LOGIN_DONE = {
    "transit": True,
    "current_stage": Stage.OPERATIONAL_NEGOTIATION,
    "next_stage": Stage.FULL_FEATURE,
}


def wire(pdu: PDU, digests: bool = False) -> bytes:
    return b"".join(pdu.encode(digests, digests))


def stream(*steps: tuple[bool, bytes]) -> Stream:
    chunks = [(from_client, Chunk(number, data)) for number, (from_client, data) in enumerate(steps)]
    return Stream(CLIENT, SERVER, merged_chunks=chunks)


def contents(*steps: tuple[bool, bytes]) -> list[PDU | str]:
    return [event.content for event in stream_events(stream(*steps))]


def event(from_client: bool, content: PDU | str, at_ns: int = 0, client_port: int = 40000) -> LadderEvent:
    return LadderEvent(
        timestamp_ns=at_ns,
        client=("10.0.0.1", client_port),
        server=SERVER,
        from_client=from_client,
        content=content,
    )


def test_ladder_shows_who_said_what_when() -> None:
    command = SCSICommand(read=True, cdb=read_10(0, 8).ljust(16, b"\0"), cmd_sn=5, initiator_task_tag=1)
    data_in = SCSIDataIn(data=bytes(4096), final=True, initiator_task_tag=1)
    assert ladder([event(True, command, 10_000), event(False, data_in, 260_000)]) == (
        "[1] 10.0.0.1:40000 -> 10.0.0.2:3260\n"
        "\n"
        "   0.000000 [1] -> SCSI Command READ (10) lba=0 blocks=8 LUN 0 ITT=0x1 CmdSN=5\n"
        "   0.000250 [1] <- Data-In ITT=0x1 DataSN=0 offset=0 length=4096 final\n"
    )


def test_connections_are_numbered_in_order_of_appearance() -> None:
    lines = ladder(
        [event(True, "a", client_port=2), event(True, "b", client_port=1), event(False, "c", client_port=2)]
    )
    assert [line.split()[1] for line in lines.splitlines()[3:]] == ["[1]", "[2]", "[1]"]


def test_ipv6_address_is_in_brackets() -> None:
    one = LadderEvent(
        timestamp_ns=0, client=("::1", 1), server=("::2", 3260), from_client=True, content="note"
    )
    assert ladder([one]).startswith("[1] [::1]:1 -> [::2]:3260\n")


def test_nothing_to_show_is_said() -> None:
    assert ladder([]) == "no iSCSI PDUs\n"


def test_pdus_are_cut_out_of_any_chunks() -> None:
    both = wire(NOPOut(cmd_sn=1, data=b"12345")) + wire(NOPOut(cmd_sn=2))
    found = contents((True, both[:10]), (True, both[10:70]), (True, both[70:]))
    assert [(type(pdu), pdu.cmd_sn) for pdu in found if isinstance(pdu, NOPOut)] == [(NOPOut, 1), (NOPOut, 2)]


def test_digests_are_followed_from_the_answer_of_the_login_on() -> None:
    found = contents(
        (True, wire(LoginRequest(data=b"HeaderDigest=CRC32C,None\0DataDigest=CRC32C\0", **LOGIN_DONE))),
        (False, wire(LoginResponse(data=b"HeaderDigest=CRC32C\0DataDigest=CRC32C\0", **LOGIN_DONE))),
        (True, wire(NOPOut(data=b"ping"), digests=True)),
        (False, wire(NOPIn(data=b"ping"), digests=True)),
    )
    assert [type(pdu) for pdu in found] == [LoginRequest, LoginResponse, NOPOut, NOPIn]


def test_digests_that_were_only_offered_are_not_expected() -> None:
    found = contents(
        (True, wire(LoginRequest(data=b"HeaderDigest=CRC32C,None\0", **LOGIN_DONE))),
        (False, wire(LoginResponse(data=b"HeaderDigest=None\0", **LOGIN_DONE))),
        (True, wire(NOPOut())),
    )
    assert [type(pdu) for pdu in found] == [LoginRequest, LoginResponse, NOPOut]


def test_refused_login_turns_no_digests_on() -> None:
    found = contents(
        (True, wire(LoginRequest(data=b"HeaderDigest=CRC32C\0", **LOGIN_DONE))),
        (False, wire(LoginResponse(status_class=3, **LOGIN_DONE))),
        (True, wire(NOPOut())),
    )
    assert isinstance(found[-1], NOPOut)


def test_stream_that_cannot_be_decoded_ends_with_a_note_and_leaves_the_other_direction() -> None:
    broken = wire(NOPOut())[:4] + b"\x01" + wire(NOPOut())[5:] + bytes(8)  # an AHS behind a NOP-Out
    found = contents((True, broken), (True, wire(NOPOut())), (False, wire(NOPIn())))
    assert len(found) == 2
    assert "cannot be followed any further" in str(found[0])
    assert isinstance(found[1], NOPIn)


def test_capture_of_interleaved_connections_is_sorted_by_time(tmp_path: Path) -> None:
    with Recorder(tmp_path / "capture") as recorder:
        taps = [recorder.connection(("10.0.0.1", port), SERVER) for port in (40000, 40001)]
        for number in range(4):
            tap = taps[number % 2]
            tap.opened(0.0)
            tap.from_client(wire(NOPOut(cmd_sn=number)), number)
    lines = pcap_ladder(tmp_path / "capture").splitlines()[3:]
    assert [line.split("CmdSN=")[1][0] for line in lines] == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    "name, pdus, commands",
    [
        ("lio-chap-digests-reset-pr", 518, 232),
        ("open-iscsi-discovery-login-scan-io", 792, 390),
        ("os-brick-two-paths-then-silent-portal", 1246, 591),
    ],
)
def test_golden_captures_are_decoded_to_the_last_pdu(name: str, pdus: int, commands: int) -> None:
    found = [event.content for event in pcap_events(PCAPS / f"{name}.pcap.gz")]
    assert not [content for content in found if isinstance(content, str | RawPDU | DamagedPDU)]
    kinds = Counter(type(content) for content in found)
    assert (len(found), kinds[SCSICommand]) == (pdus, commands)


def test_golden_discovery_reads_like_the_log_of_open_iscsi() -> None:
    text = pcap_ladder(PCAPS / "open-iscsi-discovery-login-scan-io.pcap.gz")
    assert "<- Text Response StatSN=1 TargetName=iqn.1992-04.com.emc:cx.fnm00150600267.a0" in text
    assert "-> Logout Request close session" in text


def test_discovery_session_is_a_login_and_a_text_exchange() -> None:
    events = pcap_events(PCAPS / "open-iscsi-discovery-login-scan-io.pcap.gz")
    first = [type(event.content) for event in events if event.client == events[0].client]
    assert first == [LoginRequest, LoginResponse, TextRequest, TextResponse]
