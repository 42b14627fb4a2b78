from __future__ import annotations

import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from iscsim.capture.pcapng import read_packets
from iscsim.capture.recorder import (
    WHOLE_BURST,
    WHOLE_RATE,
    ConnectionTap,
    Recorder,
    epoch_offset_s,
    real_time_recorder,
)
from iscsim.capture.streams import Stream, tcp_streams
from iscsim.errors import ConfigError

CLIENT, PORTAL, OTHER_PORTAL = ("127.0.0.1", 40000), ("127.0.0.1", 41000), ("127.0.0.1", 41001)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "capture.pcapng"


@pytest.fixture
def recorder(path: Path) -> Iterator[Recorder]:
    with Recorder(path) as recorder:
        yield recorder


def only_stream(path: Path) -> Stream:
    (stream,) = tcp_streams(path)
    return stream


def talk(tap: ConnectionTap, now: float = 0.0) -> None:
    tap.opened(now)
    tap.from_client([b"login ", memoryview(b"request")], now)
    tap.from_server(b"login response", now)


def test_both_directions_are_recorded_while_the_recorder_runs(recorder: Recorder, path: Path) -> None:
    talk(recorder.connection(CLIENT, PORTAL))
    assert only_stream(path).merged == [(True, b"login request"), (False, b"login response")]


def test_new_recorder_has_a_readable_file_at_once(recorder: Recorder, path: Path) -> None:
    assert list(read_packets(path)) == []


def test_orderly_close_is_a_fin_from_both_ends(recorder: Recorder, path: Path) -> None:
    tap = recorder.connection(CLIENT, PORTAL)
    talk(tap)
    tap.closed(by_client=False, now=1.0)
    stream = only_stream(path)
    assert stream.from_client.fin_seen
    assert stream.from_server.fin_seen
    assert len(list(read_packets(path))) == 3 + 2 + 4


@pytest.mark.parametrize("by_client", [True, False])
def test_reset_is_an_rst_from_the_end_that_did_it(recorder: Recorder, path: Path, by_client: bool) -> None:
    tap = recorder.connection(CLIENT, PORTAL)
    talk(tap)
    tap.reset(by_client, 1.0)
    stream = only_stream(path)
    assert (stream.from_client.rst_seen, stream.from_server.rst_seen) == (by_client, not by_client)


def test_tap_is_silent_before_open_and_after_close(recorder: Recorder, path: Path) -> None:
    tap = recorder.connection(CLIENT, PORTAL)
    tap.from_client(b"before", 0.0)
    talk(tap)
    tap.closed(True, 1.0)
    tap.from_server(b"after", 1.0)
    tap.closed(True, 1.0)
    tap.reset(True, 1.0)
    assert only_stream(path).merged == [(True, b"login request"), (False, b"login response")]
    assert not only_stream(path).from_client.rst_seen


def test_second_end_in_the_same_process_is_not_recorded(recorder: Recorder, path: Path) -> None:
    ours, theirs = recorder.connection(CLIENT, PORTAL), recorder.connection(CLIENT, PORTAL)
    talk(ours)
    talk(theirs)
    theirs.closed(True, 1.0)
    ours.closed(True, 1.0)
    assert (ours.is_recording, theirs.is_recording) == (False, False)
    assert only_stream(path).from_client.data == b"login request"


def test_first_to_open_records_whoever_asked_first(recorder: Recorder) -> None:
    asked_first, opened_first = recorder.connection(CLIENT, PORTAL), recorder.connection(CLIENT, PORTAL)
    opened_first.opened(0.0)
    asked_first.opened(0.0)
    assert (asked_first.is_recording, opened_first.is_recording) == (False, True)


def test_next_connection_between_the_same_ports_is_recorded_too(recorder: Recorder, path: Path) -> None:
    for start in (0.0, 10.0):
        tap = recorder.connection(CLIENT, PORTAL)
        talk(tap, start)
        tap.closed(True, start)
    assert [stream.from_client.data for stream in tcp_streams(path)] == [b"login request"] * 2


def test_connections_interleave(recorder: Recorder, path: Path) -> None:
    one, two = recorder.connection(CLIENT, PORTAL), recorder.connection(("127.0.0.1", 40001), OTHER_PORTAL)
    for tap in (one, two):
        tap.opened(0.0)
    for tap, data in ((one, b"1"), (two, b"2"), (one, b"11")):
        tap.from_client(data, 0.1)
    assert [stream.from_client.data for stream in tcp_streams(path)] == [b"111", b"2"]


def test_one_client_port_to_two_portals_stays_two_connections(recorder: Recorder, path: Path) -> None:
    for portal in (PORTAL, OTHER_PORTAL):
        talk(recorder.connection(CLIENT, portal))
    first, second = tcp_streams(path)
    assert first.server == second.server == ("127.0.0.1", 3260)
    assert first.client != second.client


def test_emulated_addresses_are_shown(path: Path) -> None:
    shown = {CLIENT: ("10.245.47.10", 40000), PORTAL: ("10.245.47.95", 3260)}
    with Recorder(path, show=lambda address: shown[address]) as recorder:
        talk(recorder.connection(CLIENT, PORTAL))
    stream = only_stream(path)
    assert (stream.client, stream.server) == (shown[CLIENT], shown[PORTAL])


def test_real_portal_port_is_shown_when_asked_for(path: Path) -> None:
    with Recorder(path, portal_port=None) as recorder:
        talk(recorder.connection(CLIENT, PORTAL))
    assert only_stream(path).server == PORTAL


def test_ipv6_socket_addresses_are_taken_as_they_are(recorder: Recorder, path: Path) -> None:
    talk(recorder.connection(("::1", 40000, 0, 0), ("::1", 3260, 0, 0)))  # type: ignore[arg-type]
    assert only_stream(path).client == ("::1", 40000)


def test_interface_and_comment_are_in_the_file(recorder: Recorder, path: Path) -> None:
    tap = recorder.connection(CLIENT, PORTAL, interface="eth1")
    tap.opened(0.0)
    tap.from_server(b"x", 0.0, comment="fault: corrupted digest")
    packet = list(read_packets(path))[-1]
    assert (packet.interface_name, packet.comments) == ("eth1", ("fault: corrupted digest",))


def test_times_are_wall_clock_times(path: Path) -> None:
    with Recorder(path, epoch_offset_s=1_600_000_000) as recorder:
        recorder.connection(CLIENT, PORTAL).opened(2.5)
    assert {packet.timestamp_ns for packet in read_packets(path)} == {1_600_000_002_500_000_000}


def test_epoch_offset_leads_from_loop_time_to_wall_clock() -> None:
    before = time.time()
    assert before <= epoch_offset_s(1000.0) + 1000.0 <= time.time()


def test_same_events_give_the_same_file() -> None:
    def record() -> bytes:
        file = BytesIO()
        with Recorder(file) as recorder:
            talk(recorder.connection(CLIENT, PORTAL))
        return file.getvalue()

    assert record() == record()


def test_file_of_the_caller_stays_open() -> None:
    file = BytesIO()
    Recorder(file).close()
    assert not file.closed


def test_recorder_that_is_closed_ignores_its_taps(path: Path) -> None:
    recorder = Recorder(path)
    tap, late = recorder.connection(CLIENT, PORTAL), recorder.connection(CLIENT, OTHER_PORTAL)
    tap.opened(0.0)
    recorder.close()
    recorder.close()
    tap.from_client(b"x", 0.0)
    tap.closed(True, 0.0)
    late.opened(0.0)
    assert only_stream(path).merged == []


def test_full_disk_is_one_warning_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    with Recorder("/dev/full") as recorder:
        for portal in (PORTAL, OTHER_PORTAL):
            tap = recorder.connection(CLIENT, portal)
            talk(tap)
            tap.closed(True, 1.0)
    assert [record.getMessage() for record in caplog.records] == [
        "capture /dev/full: recording stopped: No space left on device"
    ]


def test_disk_that_fills_up_ends_the_recording_not_the_session(caplog: pytest.LogCaptureFixture) -> None:
    class FillingFile(BytesIO):
        def write(self, data) -> int:  # type: ignore[no-untyped-def]
            if self.tell() + len(data) > 1000:
                raise OSError(28, "No space left on device")
            return super().write(data)

    file = FillingFile()
    with Recorder(file) as recorder:
        tap = recorder.connection(CLIENT, PORTAL)
        talk(tap)
        tap.from_client(bytes(5000), 0.1)
        tap.from_client(b"small", 0.2)
        tap.closed(True, 0.3)
        assert not recorder.is_recording
    assert len(caplog.records) == 1
    assert b"login response" in file.getvalue()


def test_address_that_is_no_ip_address_is_not_recorded(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    tap = recorder.connection(("client", 1), ("portal-a", 2))
    talk(tap)
    tap.closed(True, 1.0)
    assert "connection not recorded" in caplog.text
    assert recorder.is_recording


def test_path_that_cannot_be_created_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot write capture .*/x: No such file or directory"):
        Recorder(tmp_path / "missing" / "x")


@pytest.mark.parametrize("as_type", [str, Path])
def test_path_may_be_text(path: Path, as_type: type) -> None:
    Recorder(as_type(path)).close()
    assert path.exists()


def test_everything_is_recorded_whole_unless_a_rate_is_given(recorder: Recorder) -> None:
    tap = recorder.connection(CLIENT, PORTAL)
    tap.opened(0.0)
    assert tap.takes_whole(1 << 40, 0.0)


def test_what_goes_beyond_the_rate_is_without_its_data_and_logged_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Recorder(path, whole_rate=1000, whole_burst=5000) as recorder:
        tap = recorder.connection(CLIENT, PORTAL)
        tap.opened(0.0)
        assert tap.takes_whole(5000, 0.0)
        for now in (0.5, 0.75):
            assert not tap.takes_whole(4148, now)
            tap.headers_from_server([bytes(48), bytes(4100)], now)
        assert tap.takes_whole(1000, 1.0)
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "the target sends much: some data is left out, no headers"
    ]
    cut = [packet for packet in read_packets(path) if packet.original_length > len(packet.data)]
    assert [packet.original_length - len(packet.data) for packet in cut] == [4100, 4100]


def test_the_end_that_does_not_record_takes_everything_whole(path: Path) -> None:
    with Recorder(path, whole_rate=0, whole_burst=0) as recorder:
        first, second = recorder.connection(CLIENT, PORTAL), recorder.connection(CLIENT, PORTAL)
        first.opened(0.0)
        second.opened(0.0)
        assert second.takes_whole(5000, 0.0)
        assert not first.takes_whole(5000, 0.0)


def test_a_recorder_in_real_time_lets_the_target_be_quick(path: Path) -> None:
    with real_time_recorder(path) as recorder:
        tap = recorder.connection(CLIENT, PORTAL)
        tap.opened(0.0)
        assert tap.takes_whole(WHOLE_BURST, 0.0)
        assert not tap.takes_whole(WHOLE_RATE, 0.5)
