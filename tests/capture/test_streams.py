from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.capture.frames import ACK, FIN, RST, SYN, SegmentBuilder
from iscsim.capture.pcapng import Packet, PcapngWriter
from iscsim.capture.streams import Stream, reassemble, tcp_streams
from iscsim.capture.tcp import TCPConversation
from iscsim.errors import ConfigError

PCAPS = Path(__file__).parents[2] / "pcaps"
CLIENT, SERVER = ("10.0.0.1", 40000), ("10.0.0.2", 3260)


def segment(
    from_client: bool, sequence: int, payload: bytes = b"", flags: int = ACK, at_ns: int = 0
) -> Packet:
    ends = (CLIENT, SERVER) if from_client else (SERVER, CLIENT)
    frame = SegmentBuilder(*ends).headers(sequence & 0xFFFFFFFF, 0, flags, payload) + payload
    return Packet(timestamp_ns=at_ns, link_type=1, data=frame, original_length=len(frame))


def one(*packets: Packet) -> Stream:
    (stream,) = reassemble(packets)
    return stream


OPEN = (segment(True, 99, flags=SYN), segment(False, 499, flags=SYN | ACK))


def test_directions_are_kept_apart_and_merged_in_order() -> None:
    stream = one(*OPEN, segment(True, 100, b"a"), segment(False, 500, b"b"), segment(True, 101, b"c"))
    assert (stream.from_client.data, stream.from_server.data) == (b"ac", b"b")
    assert stream.merged == [(True, b"a"), (False, b"b"), (True, b"c")]
    assert (stream.client, stream.server) == (CLIENT, SERVER)
    assert stream.from_client.syn_seen
    assert stream.from_server.syn_seen


def test_retransmission_is_read_once() -> None:
    stream = one(*OPEN, segment(True, 100, b"abc"), segment(True, 100, b"abc"), segment(True, 103, b"d"))
    assert stream.from_client.data == b"abcd"


def test_retransmission_that_goes_further_gives_what_is_new() -> None:
    stream = one(*OPEN, segment(True, 100, b"abc"), segment(True, 101, b"bcde"))
    assert [chunk.data for chunk in stream.from_client.chunks] == [b"abc", b"de"]


def test_segments_out_of_order_become_readable_with_the_one_that_was_missing() -> None:
    packets = (
        segment(True, 103, b"def", at_ns=1),
        segment(True, 106, b"g", at_ns=2),
        segment(True, 100, b"abc", at_ns=3),
    )
    (chunk,) = one(*OPEN, *packets).from_client.chunks
    assert (chunk.timestamp_ns, chunk.data) == (3, b"abcdefg")


def test_lost_segment_ends_the_stream_and_is_told() -> None:
    stream = one(*OPEN, segment(True, 100, b"abc"), segment(True, 104, b"never reached"))
    assert stream.from_client.data == b"abc"
    assert stream.missing
    assert not stream.from_server.missing


def test_sequence_numbers_wrap() -> None:
    start = 2**32 - 4
    opening = segment(True, start - 1, flags=SYN)
    stream = one(
        opening,
        segment(True, start + 6, b"cd"),
        segment(True, start, b"across"),
        segment(True, start, b"across"),
    )
    assert stream.from_client.data == b"acrosscd"


def test_connection_that_was_under_way_is_read_from_its_first_segment_on() -> None:
    stream = one(segment(False, 700, b"b"), segment(True, 300, b"a"), segment(False, 701, b"c"))
    assert stream.merged == [(False, b"b"), (True, b"a"), (False, b"c")]
    assert stream.client == CLIENT
    assert not stream.from_client.syn_seen


def test_client_of_a_connection_on_other_ports_is_the_higher_port() -> None:
    frame = SegmentBuilder(("10.0.0.2", 5000), ("10.0.0.1", 40000)).headers(1, 1, ACK, b"x") + b"x"
    stream = one(Packet(timestamp_ns=0, link_type=1, data=frame, original_length=len(frame)))
    assert stream.client == ("10.0.0.1", 40000)


def test_keepalive_probe_adds_nothing() -> None:
    stream = one(*OPEN, segment(True, 100, b"abc"), segment(True, 102, b"\0"), segment(True, 103, b"d"))
    assert stream.from_client.data == b"abcd"


def test_syn_between_used_ports_begins_a_new_stream() -> None:
    for ending in (FIN | ACK, RST | ACK):
        first, second = reassemble((*OPEN, segment(True, 100, b"1", ending), *OPEN, segment(True, 100, b"2")))
        assert (first.from_client.data, second.from_client.data) == (b"1", b"2")


def test_syn_sent_again_is_the_same_stream() -> None:
    assert one(OPEN[0], *OPEN, segment(True, 100, b"a")).from_client.data == b"a"


def test_syn_ack_first_shows_who_is_the_server() -> None:
    assert one(OPEN[1], segment(True, 100, b"a")).server == SERVER


def test_ends_of_the_connection_are_told() -> None:
    stream = one(*OPEN, segment(True, 100, flags=FIN | ACK), segment(False, 500, flags=RST | ACK))
    assert (stream.from_client.fin_seen, stream.from_client.rst_seen) == (True, False)
    assert (stream.from_server.fin_seen, stream.from_server.rst_seen) == (False, True)


def test_what_is_not_tcp_is_passed_over() -> None:
    assert reassemble([Packet(timestamp_ns=0, link_type=1, data=b"arp", original_length=3)]) == []


@given(st.binary(min_size=1, max_size=200), st.data())
def test_any_order_of_overlapping_segments_gives_the_bytes(data: bytes, draw: st.DataObject) -> None:
    cuts = draw.draw(st.lists(st.tuples(st.integers(0, len(data)), st.integers(1, 60)), max_size=12))
    pieces = [(at, data[at : at + length]) for at, length in cuts]
    pieces += [(at, data[at : at + 40]) for at in range(0, len(data), 40)]
    order = draw.draw(st.permutations(pieces))
    base = 2**32 - 50
    stream = one(
        segment(True, base - 1, flags=SYN), *(segment(True, base + at, piece) for at, piece in order)
    )
    assert stream.from_client.data == data
    assert not stream.missing


@given(writes=st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=100)), max_size=10))
def test_what_a_conversation_carries_is_what_is_read(
    writes: list[tuple[bool, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("conversation") / "capture.pcapng"
    with path.open("wb") as file:
        writer = PcapngWriter(file)
        conversation = TCPConversation(writer, CLIENT, SERVER, max_segment_length=33)
        conversation.open(0.0)
        for from_client, payload in writes:
            conversation.data(from_client, payload, 0.0)
        writer.flush()
    (stream,) = tcp_streams(path)
    for from_client, direction in ((True, stream.from_client), (False, stream.from_server)):
        assert direction.data == b"".join(payload for sender, payload in writes if sender is from_client)


def test_file_that_is_no_capture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("notes")
    with pytest.raises(ConfigError):
        tcp_streams(tmp_path / "notes")


@pytest.mark.parametrize(
    "name, connections, client_length, server_length",
    [
        ("lio-chap-digests-reset-pr", 7, 815_296, 3_790_240),
        ("open-iscsi-discovery-login-scan-io", 4, 20_600, 3_268_588),
        ("os-brick-two-paths-then-silent-portal", 11, 35_068, 9_695_392),
    ],
)
def test_golden_captures_are_put_together_without_a_gap(
    name: str, connections: int, client_length: int, server_length: int
) -> None:
    streams = tcp_streams(PCAPS / f"{name}.pcap.gz")
    assert len(streams) == connections
    assert not any(stream.missing for stream in streams)
    assert all(stream.from_client.syn_seen and stream.from_server.syn_seen for stream in streams)
    assert sum(len(stream.from_client.data) for stream in streams) == client_length
    assert sum(len(stream.from_server.data) for stream in streams) == server_length
