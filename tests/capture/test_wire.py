"""What a memory network tells its capture, as segments."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from iscsim.capture.frames import ACK, FIN, PSH, RST, SYN, Segment, parse_segment
from iscsim.capture.pcapng import read_packets
from iscsim.capture.wire import WireRecorder

CLIENT, SERVER = ("10.245.47.10", 49152), ("10.245.47.95", 3260)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "wire.pcapng"


def segments(path: Path) -> list[Segment]:
    found = [parse_segment(packet.link_type, packet.data) for packet in read_packets(path)]
    return [segment for segment in found if segment is not None]


def relative(path: Path) -> list[tuple[str, int, int, bytes]]:
    """Who sent it, flags, sequence number from that of the first segment of that end, payload."""
    first: dict[Any, int] = {}
    shown = []
    for segment in segments(path):
        start = first.setdefault(segment.source, segment.sequence_number)
        number = segment.sequence_number - start & 0xFFFFFFFF
        who = "client" if segment.source == CLIENT else "server"
        shown.append((who, segment.flags, number, segment.payload))
    return shown


def test_syn_that_comes_again_has_its_number_again(path: Path) -> None:
    with WireRecorder(path) as recorder:
        wire = recorder.connection(CLIENT, SERVER, interface="compute/eth0")
        wire.attempted(0.0, "fault: blackhole")
        wire.attempted(1.0)
        wire.accepted(1.1)
    assert relative(path) == [
        ("client", SYN, 0, b""),
        ("client", SYN, 0, b""),
        ("server", SYN | ACK, 0, b""),
        ("client", ACK, 1, b""),
    ]
    assert path.read_bytes().count(b"fault: blackhole") == 1


def test_what_was_lost_comes_again_with_its_number_and_is_acknowledged_once(path: Path) -> None:
    with WireRecorder(path) as recorder:
        wire = recorder.connection(CLIENT, SERVER, interface="compute/eth0")
        wire.attempted(0.0)
        wire.accepted(0.0)
        wire.sent(True, b"data", 1.0, "fault: lost", delivered=False)
        wire.sent(True, b"data", 1.2, again=True)
        wire.finished(True, 2.0, delivered=False)
        wire.finished(True, 2.2)
        wire.sent(True, b"behind a FIN", 2.3)
        wire.reset(False, 3.0, "gone")
    assert relative(path)[3:] == [
        ("client", ACK | PSH, 1, b"data"),
        ("client", ACK | PSH, 1, b"data"),
        ("client", FIN | ACK, 5, b""),
        ("client", FIN | ACK, 5, b""),
        ("server", ACK, 1, b""),
        ("server", RST | ACK, 1, b""),
    ]


def test_copy_has_the_number_of_what_it_is_a_copy_of(path: Path) -> None:
    with WireRecorder(path, max_segment_length=4) as recorder:
        wire = recorder.connection(CLIENT, SERVER, interface="compute/eth0")
        wire.attempted(0.0)
        wire.accepted(0.0)
        wire.sent(True, b"longdata", 1.0)
        wire.copied(True, b"longdata", 1.0, "fault: twice", behind=8)
        wire.sent(True, b"more", 1.2)
    shown = [(number, data) for _, _, number, data in relative(path)[3:]]
    assert shown == [(1, b"long"), (5, b"data")] * 2 + [(9, b"more")]
    assert path.read_bytes().count(b"fault: twice") == 1


def test_lost_segment_longer_than_a_frame_is_shown_whole_both_times(path: Path) -> None:
    with WireRecorder(path, max_segment_length=4) as recorder:
        wire = recorder.connection(CLIENT, SERVER, interface="compute/eth0")
        wire.attempted(0.0)
        wire.accepted(0.0)
        wire.sent(True, b"longdata", 1.0, delivered=False)
        wire.sent(True, b"longdata", 1.2, again=True)
    assert [(number, data) for _, _, number, data in relative(path)[3:]] == [(1, b"long"), (5, b"data")] * 2


def test_refusal_is_a_reset_that_acknowledges_the_syn(path: Path) -> None:
    with WireRecorder(path) as recorder:
        wire = recorder.connection(CLIENT, SERVER, interface="compute/eth0")
        wire.attempted(0.0)
        wire.refused(0.1)
    assert [segment.flags for segment in segments(path)] == [SYN, RST | ACK]


def test_interfaces_are_those_of_the_cards_and_addresses_are_real(path: Path) -> None:
    with WireRecorder(path) as recorder:
        for card, server in (("eth0", SERVER), ("eth1", ("10.245.47.96", 43210))):
            recorder.connection(CLIENT, server, interface=f"compute/{card}").attempted(0.0)
        recorder.datagram(
            CLIENT, ("10.245.47.95", 3205), b"iSNS", 1.0, interface="compute/eth2", comment="late"
        )
    assert [segment.destination for segment in segments(path)] == [SERVER, ("10.245.47.96", 43210)]
    for name in (b"compute/eth0", b"compute/eth1", b"compute/eth2"):
        assert path.read_bytes().count(name) == 1
    assert path.read_bytes().count(b"late") == 1


def test_addresses_no_frame_can_hold_are_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with WireRecorder(io.BytesIO()) as recorder:
        wire = recorder.connection(("fd00::1", 1), SERVER, interface="a")
        wire.attempted(0.0)
        wire.sent(True, b"data", 0.0)
    assert "connection not recorded" in caplog.text


def test_closed_recorder_ignores_what_it_is_told(path: Path) -> None:
    with WireRecorder(path) as recorder:
        wire = recorder.connection(CLIENT, SERVER, interface="a")
    length = path.stat().st_size
    wire.attempted(0.0)
    recorder.connection(CLIENT, SERVER, interface="a").attempted(0.0)
    recorder.datagram(CLIENT, SERVER, b"", 0.0, interface="a")
    assert (path.stat().st_size, recorder.is_recording) == (length, False)
