"""tshark, which shares no code with us, reads what the recorder writes: every segment must convince it."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from iscsim.capture.ladder import pcap_events
from iscsim.capture.recorder import Recorder
from iscsim.capture.streams import Stream, tcp_streams
from iscsim.pdu import PDU, NOPIn, NOPOut

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is missing: apt install tshark"),
]

PCAPS = Path(__file__).parents[2] / "pcaps"
WHOLE_PDUS = ("iscsi.bogus_pdu_max_data_len:16777215",)
STRICT = (*WHOLE_PDUS, "ip.check_checksum:TRUE", "tcp.check_checksum:TRUE")
# Below are "chat" (a SYN) and "note" (a FIN).
WARNING_OR_WORSE = "_ws.expert.severity >= 0x600000"
SUSPICIOUS = f"_ws.malformed or tcp.analysis.flags or {WARNING_OR_WORSE}"


def tshark(path: Path, shown: str, *fields: str, preferences: tuple[str, ...] = STRICT) -> list[str]:
    """One line for each packet that the display filter ``shown`` lets through."""
    command = ["timeout", "60", "tshark", "-n", "-r", str(path), "-Y", shown]
    for preference in preferences:
        command += ["-o", preference]
    if fields:
        command += ["-T", "fields", *(word for field in fields for word in ("-e", field))]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def replay(recorder: Recorder, stream: Stream, client_port: int = 40000) -> None:
    """Record a golden stream as if it had been ours."""
    tap = recorder.connection(("10.245.47.10", client_port), ("10.245.47.95", 43210))
    first_ns = stream.merged_chunks[0][1].timestamp_ns
    tap.opened(0.0)
    for from_client, chunk in stream.merged_chunks:
        now = (chunk.timestamp_ns - first_ns) / 1e9
        (tap.from_client if from_client else tap.from_server)(chunk.data, now)
    tap.closed(True, now)


def golden_streams(name: str) -> list[Stream]:
    return [stream for stream in tcp_streams(PCAPS / f"{name}.pcap.gz") if stream.merged]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "capture.pcapng"


def test_discovery_is_dissected_in_order(path: Path) -> None:
    with Recorder(path) as recorder:
        replay(recorder, golden_streams("open-iscsi-discovery-login-scan-io")[0])
    assert tshark(path, "iscsi", "iscsi.opcode") == ["0x03", "0x23", "0x04", "0x24"]
    assert tshark(path, SUSPICIOUS) == []


def test_every_checksum_is_good(path: Path) -> None:
    with Recorder(path) as recorder:
        replay(recorder, golden_streams("open-iscsi-discovery-login-scan-io")[1])
    packets = tshark(path, "tcp", "ip.checksum.status", "tcp.checksum.status")
    assert len(packets) > 900
    assert set(packets) == {"1\t1"}


@pytest.mark.parametrize(
    "name",
    [
        "lio-chap-digests-reset-pr",
        "open-iscsi-discovery-login-scan-io",
        "os-brick-two-paths-then-silent-portal",
    ],
)
def test_tcp_of_recorded_sessions_is_beyond_suspicion(path: Path, name: str) -> None:
    streams = golden_streams(name)
    with Recorder(path) as recorder:
        for number, stream in enumerate(streams):
            replay(recorder, stream, 40000 + number)
    assert len(set(tshark(path, "tcp", "tcp.stream"))) == len(streams)
    assert tshark(path, "tcp.analysis.flags", "tcp.stream", "_ws.expert.message") == []
    # The dissector cannot read a VPD page cut to four bytes, or LIO's short page B0h: neither can it here.
    # Checksums of the original are wrong, as is usual where the network card computes them.
    original = tshark(PCAPS / f"{name}.pcap.gz", "_ws.malformed", preferences=WHOLE_PDUS)
    assert len(tshark(path, "_ws.malformed")) == len(original)


# Of the third capture tshark misses PDUs: it guesses from the content whether there are digests.
@pytest.mark.parametrize(
    "name", ["open-iscsi-discovery-login-scan-io", "os-brick-two-paths-then-silent-portal"]
)
def test_tshark_and_we_find_the_same_pdus_in_golden_captures(name: str) -> None:
    golden = PCAPS / f"{name}.pcap.gz"
    lines = tshark(golden, "iscsi", "iscsi.opcode", preferences=WHOLE_PDUS)
    theirs = Counter(int(opcode, 16) for line in lines for opcode in line.split(","))
    assert theirs == Counter(
        event.content.opcode for event in pcap_events(golden) if isinstance(event.content, PDU)
    )


@pytest.mark.parametrize("host", ["10.0.0.{}", "fd00::{}"])
def test_long_transfers_both_ways_are_dissected_whole(path: Path, host: str) -> None:
    ping = b"".join(NOPOut(initiator_task_tag=1, data=bytes(1_000_000)).encode())
    pong = b"".join(NOPIn(initiator_task_tag=1, data=bytes(1_000_000)).encode())
    with Recorder(path) as recorder:
        tap = recorder.connection((host.format(1), 40000), (host.format(2), 43210))
        tap.opened(0.0)
        for number in range(12):
            tap.from_client(ping, number)
            tap.from_server(pong, number + 0.5)
        tap.closed(False, 20.0)
    assert tshark(path, "iscsi", "iscsi.opcode") == ["0x00", "0x20"] * 12
    assert tshark(path, SUSPICIOUS, "frame.number", "_ws.expert.message") == []
    assert tshark(path, "tcp.checksum.status != 1") == []


@pytest.mark.parametrize("by_client", [True, False])
def test_reset_is_nothing_worse_than_a_warning_about_a_reset(path: Path, by_client: bool) -> None:
    with Recorder(path) as recorder:
        tap = recorder.connection(("10.0.0.1", 40000), ("10.0.0.2", 3260))
        tap.opened(0.0)
        tap.from_client(b"".join(NOPOut(initiator_task_tag=1).encode()), 0.1)
        tap.reset(by_client, 0.2)
    assert len(tshark(path, "tcp.flags.reset == 1")) == 1
    assert tshark(path, f"({SUSPICIOUS}) and tcp.flags.reset == 0") == []
    assert tshark(path, "tcp.analysis.flags") == []


def test_comment_and_interface_are_shown(path: Path) -> None:
    with Recorder(path) as recorder:
        tap = recorder.connection(("10.0.0.1", 40000), ("10.0.0.2", 3260), interface="eth-a")
        tap.opened(0.0)
        tap.from_client(b"".join(NOPOut().encode()), 0.1, comment="fault: delayed 0.2 s")
    assert tshark(path, "frame.comment", "frame.comment", "frame.interface_name") == [
        "fault: delayed 0.2 s\teth-a"
    ]


@pytest.mark.parametrize("host", ["10.0.0.{}", "fd00::{}"])
@pytest.mark.parametrize("length", [131072, 4095, 200_001])
def test_data_that_is_left_out_leaves_every_pdu_and_nothing_to_complain_of(
    path: Path, host: str, length: int
) -> None:
    ping = b"".join(NOPOut(initiator_task_tag=1).encode())
    pongs = list(NOPIn(initiator_task_tag=1, data=bytes(length)).encode()) * 8
    with Recorder(path, whole_rate=0, whole_burst=0) as recorder:
        tap = recorder.connection((host.format(1), 40000), (host.format(2), 43210))
        tap.opened(0.0)
        for number in range(4):
            tap.from_client(ping, number)
            tap.headers_from_server(pongs, number + 0.5)
        tap.closed(False, 20.0)
    assert tshark(path, "iscsi", "iscsi.opcode") == (["0x00"] + ["0x20"] * 8) * 4
    assert tshark(path, SUSPICIOUS, "frame.number", "_ws.expert.message") == []
    assert path.stat().st_size < 40_000
