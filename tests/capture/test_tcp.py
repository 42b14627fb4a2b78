from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from iscsim.capture.frames import parse_segment
from iscsim.capture.lazy_scapy import scapy_module
from iscsim.capture.pcapng import PcapngWriter, read_packets
from iscsim.capture.streams import tcp_streams
from iscsim.capture.tcp import TCPConversation, shown_server

CLIENT, SERVER = ("10.245.47.10", 43160), ("10.245.47.95", 3260)


class Tape:
    """A conversation and the segments, as scapy reads them, that it has written."""

    def __init__(self, path: Path, client: Any = CLIENT, server: Any = SERVER, **options: Any) -> None:
        self.path = path / "capture.pcapng"
        self.file = BytesIO()
        self.writer = PcapngWriter(self.file)
        self.conversation = TCPConversation(self.writer, client, server, **options)

    def frames(self) -> list[Any]:
        self.writer.flush()
        self.path.write_bytes(self.file.getvalue())
        scapy_module("layers.inet6")
        return list(scapy_module("utils").rdpcap(str(self.path)))

    def segments(self) -> list[Any]:
        return [frame["TCP"] for frame in self.frames()]

    def shown(self) -> list[str]:
        """Each segment as ``"client PA 5"``: who, flags, payload length."""
        ports = {self.conversation.client[1]: "client"}
        return [
            f"{ports.get(segment.sport, 'server')} {segment.flags} {len(segment.payload)}"
            for segment in self.segments()
        ]


@pytest.fixture
def tape(tmp_path: Path) -> Tape:
    tape = Tape(tmp_path)
    tape.conversation.open(1.0)
    return tape


def test_conversation_opens_with_a_handshake(tape: Tape) -> None:
    syn, syn_ack, ack = tape.segments()
    assert [str(segment.flags) for segment in (syn, syn_ack, ack)] == ["S", "SA", "A"]
    assert (syn_ack.ack, ack.seq, ack.ack) == (syn.seq + 1, syn.seq + 1, syn_ack.seq + 1)
    assert ("WScale", 7) in syn.options
    assert ("MSS", 65481) in syn_ack.options


def test_sequence_numbers_follow_the_bytes(tape: Tape) -> None:
    tape.conversation.data(True, b"request", 1.1)
    tape.conversation.data(False, b"an answer", 1.2)
    tape.conversation.data(True, b"more", 1.3)
    _, _, opened, request, answer, more = tape.segments()
    assert (request.seq, request.ack) == (opened.seq, opened.ack)
    assert (answer.seq, answer.ack) == (request.ack, request.seq + 7)
    assert (more.seq, more.ack) == (request.seq + 7, answer.seq + 9)
    assert [bytes(segment.payload) for segment in (request, answer, more)] == [
        b"request",
        b"an answer",
        b"more",
    ]


def test_long_write_is_cut_into_segments_and_pushed_at_its_end(tmp_path: Path) -> None:
    tape = Tape(tmp_path, max_segment_length=1460)
    tape.conversation.open(1.0)
    tape.conversation.data(False, bytes(3000), 1.1)
    assert tape.shown()[3:] == ["server A 1460", "server A 1460", "server PA 80"]


def test_frames_stay_within_what_scapy_reads(tape: Tape) -> None:
    tape.conversation.data(False, bytes(200_000), 1.1)
    assert max(len(frame) for frame in tape.frames()) == 65535


def test_long_one_way_transfer_is_acknowledged_now_and_then(tape: Tape) -> None:
    for _ in range(40):
        tape.conversation.data(False, bytes(65_000), 1.1)
    assert tape.shown()[3:].count("client A 0") == 2


def test_empty_write_leaves_no_segment(tape: Tape) -> None:
    tape.conversation.data(True, b"", 1.1)
    assert len(tape.segments()) == 3


def test_each_end_closes_with_fin_and_gets_an_acknowledgment(tape: Tape) -> None:
    tape.conversation.fin(True, 2.0)
    tape.conversation.fin(False, 2.0)
    assert tape.shown()[3:] == ["client FA 0", "server A 0", "server FA 0", "client A 0"]
    fin, ack, other_fin, last_ack = tape.segments()[3:]
    assert (ack.ack, other_fin.ack, last_ack.ack) == (fin.seq + 1, fin.seq + 1, other_fin.seq + 1)


def test_fin_is_sent_once(tape: Tape) -> None:
    tape.conversation.fin(True, 2.0)
    tape.conversation.fin(True, 2.1)
    assert tape.shown()[3:] == ["client FA 0", "server A 0"]


def test_half_closed_connection_still_carries_data_the_other_way(tape: Tape) -> None:
    tape.conversation.fin(True, 2.0)
    tape.conversation.data(False, b"late", 2.1)
    assert tape.shown()[-1] == "server PA 4"
    with pytest.raises(ValueError, match="client sent its FIN"):
        tape.conversation.data(True, b"too late", 2.2)


def test_reset_ends_both_directions(tape: Tape) -> None:
    tape.conversation.rst(False, 2.0)
    assert tape.shown()[-1] == "server RA 0"
    for from_client in (True, False):
        with pytest.raises(ValueError):
            tape.conversation.data(from_client, b"x", 2.1)


def test_sequence_numbers_wrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TCPConversation, "_initial_number", lambda self, end, number: 2**32 - 3)
    tape = Tape(tmp_path)
    tape.conversation.open(1.0)
    tape.conversation.data(True, b"across", 1.1)
    tape.conversation.data(False, b"the wrap", 1.2)
    tape.conversation.data(True, b"!", 1.3)
    assert [(segment.seq, segment.ack) for segment in tape.segments()[3:]] == [
        (2**32 - 2, 2**32 - 2),
        (2**32 - 2, 4),
        (4, 6),
    ]
    (stream,) = tcp_streams(tape.path)
    assert (stream.from_client.data, stream.from_server.data) == (b"across!", b"the wrap")


def test_initial_numbers_are_the_same_in_every_run_and_differ_between_conversations(tmp_path: Path) -> None:
    def first_number(number: int) -> int:
        tape = Tape(tmp_path, number=number)
        tape.conversation.open(1.0)
        return int(tape.segments()[0].seq)

    assert first_number(1) == first_number(1) != first_number(2)


@pytest.mark.parametrize(
    "client, server",
    [
        (CLIENT, SERVER),
        (("fd00::10", 40000, 0, 0), ("fd00::95", 3260, 0, 0)),
        (("::1", 40000), ("::1", 41000)),
    ],
)
def test_scapy_computes_the_same_checksums(tmp_path: Path, client: Any, server: Any) -> None:
    tape = Tape(tmp_path, client, server)
    tape.conversation.open(1.0)
    tape.conversation.data(True, b"odd", 1.1)
    tape.conversation.data(False, bytes(range(256)) * 600, 1.2)
    tape.conversation.fin(True, 1.3)
    tape.conversation.rst(False, 1.4)
    for frame in tape.frames():
        again = frame.copy()
        del again["TCP"].chksum
        if "IP" in again:
            del again["IP"].chksum
        assert bytes(again) == bytes(frame)


@pytest.mark.parametrize(
    "port, shown", [(3260, 3260), (860, 860), (13260, 13260), (32768, 3260), (65535, 3260)]
)
def test_ephemeral_portal_port_is_shown_as_3260(port: int, shown: int) -> None:
    assert shown_server(("127.0.0.1", port), 3260) == ("127.0.0.1", shown)


def test_real_port_is_shown_when_asked_for(tmp_path: Path) -> None:
    tape = Tape(tmp_path, server=("10.0.0.1", 45000), portal_port=None)
    tape.conversation.open(1.0)
    assert tape.segments()[0].dport == 45000


def test_comment_is_on_the_first_segment_only(tmp_path: Path) -> None:
    tape = Tape(tmp_path, max_segment_length=10)
    tape.conversation.data(False, bytes(25), 1.0, comment="fault: reordered")
    assert [frame.comments for frame in tape.frames()] == [[b"fault: reordered"], None, None]


def test_comment_without_data_is_on_a_bare_acknowledgement(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    tape.conversation.data(False, b"", 1.0, comment="fault: no answer")
    tape.conversation.data(False, b"", 1.0)
    (frame,) = tape.frames()
    assert frame.comments == [b"fault: no answer"]


def heads(tape: Tape) -> list[tuple[int, int, bytes]]:
    """Of each segment with data: its place in the stream, its length on the wire, what there is of it."""
    tape.frames()
    found, first = [], None
    for packet in read_packets(tape.path):
        segment = parse_segment(packet.link_type, packet.data)
        assert segment is not None
        length = packet.original_length - len(packet.data) + len(segment.payload)
        if segment.source[1] == 3260 and length:
            first = segment.sequence_number if first is None else first
            found.append((segment.sequence_number - first & 0xFFFFFFFF, length, segment.payload))
    return found


HEADER, NEXT_HEADER = bytes(range(48)), bytes(range(100, 148))


def test_headers_are_kept_and_long_data_is_left_out_but_counted(tape: Tape) -> None:
    data, padding = memoryview(bytes(4095)), b"\0"
    tape.conversation.headers(False, [HEADER, data, padding, NEXT_HEADER, data[:2000]], 1.1)
    tape.conversation.data(False, b"whole again", 1.2)
    assert heads(tape) == [
        (0, 48 + 4096, HEADER),
        (48 + 4096, 48 + 2000, NEXT_HEADER),
        (96 + 6096, 11, b"whole again"),
    ]


def test_short_pieces_are_one_whole_segment(tape: Tape) -> None:
    tape.conversation.headers(False, [HEADER, b"sense data", b"\0\0", NEXT_HEADER], 1.1)
    assert heads(tape) == [(0, 108, HEADER + b"sense data\0\0" + NEXT_HEADER)]


def test_short_pieces_in_front_of_what_is_left_out_are_kept(tape: Tape) -> None:
    tape.conversation.headers(False, [HEADER, NEXT_HEADER, bytes(200_000)], 1.1)
    assert heads(tape) == [(0, 200_096, HEADER + NEXT_HEADER)]


def test_segments_of_a_wanted_size_stay_so_without_their_data(tmp_path: Path) -> None:
    tape = Tape(tmp_path, max_segment_length=1460)
    tape.conversation.open(1.0)
    tape.conversation.headers(False, [HEADER, bytes(3000)], 1.1)
    assert heads(tape) == [(0, 1460, HEADER), (1460, 1460, b""), (2920, 128, b"")]


def test_ipv6_segments_without_their_data_stay_within_a_packet(tmp_path: Path) -> None:
    tape = Tape(tmp_path, ("fd00::10", 40000), ("fd00::95", 3260))
    tape.conversation.open(1.0)
    tape.conversation.headers(False, [HEADER, bytes(100_000)], 1.1)
    assert [length for _, length, _ in heads(tape)] == [65461, 34587]


def test_nothing_follows_a_fin_not_even_headers(tape: Tape) -> None:
    tape.conversation.fin(False, 2.0)
    with pytest.raises(ValueError, match="server sent its FIN"):
        tape.conversation.headers(False, [HEADER], 2.1)
