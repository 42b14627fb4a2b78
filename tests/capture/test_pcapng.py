from __future__ import annotations

import gzip
import struct
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.capture.lazy_scapy import scapy_module
from iscsim.capture.pcapng import (
    ENHANCED_PACKET,
    OPTION,
    SECTION_HEADER,
    Packet,
    PcapngWriter,
    encode_options,
    read_packets,
)
from iscsim.errors import ConfigError

PCAPS = Path(__file__).parents[2] / "pcaps"


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    """(type, whole block) of a pcapng file; both lengths of a block must agree."""
    found = []
    while data:
        block_type, length = struct.unpack_from("<II", data)
        assert length % 4 == 0
        assert data[length - 4 : length] == data[4:8]
        found.append((block_type, data[:length]))
        data = data[length:]
    return found


def written(*frames: bytes, comment: str | None = None, now: float = 1.5, epoch: float = 0.0) -> bytes:
    file = BytesIO()
    writer = PcapngWriter(file, epoch_offset_s=epoch)
    interface = writer.interface("eth7")
    for frame in frames:
        writer.packet(interface, now, [frame], comment=comment)
    writer.flush()
    return file.getvalue()


def reread(tmp_path: Path, data: bytes) -> list[Packet]:
    path = tmp_path / "capture"
    path.write_bytes(data)
    return list(read_packets(path))


def test_file_begins_with_a_section_header_in_our_byte_order() -> None:
    block_type, block = blocks(written())[0]
    section = SECTION_HEADER.parse(block)
    assert block_type == 0x0A0D0D0A
    assert (section.byte_order_magic, section.major_version, section.minor_version) == (0x1A2B3C4D, 1, 0)
    assert section.section_length == 2**64 - 1


def test_interface_is_described_once_with_name_and_nanoseconds() -> None:
    file = BytesIO()
    writer = PcapngWriter(file)
    assert [writer.interface("eth0"), writer.interface("eth1"), writer.interface("eth0")] == [0, 1, 0]
    writer.flush()
    descriptions = [block for block_type, block in blocks(file.getvalue()) if block_type == 1]
    assert len(descriptions) == 2
    assert b"\x02\x00\x04\x00eth0" in descriptions[0]  # if_name
    assert b"\x09\x00\x01\x00\x09" in descriptions[0]  # if_tsresol


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 60])
def test_packet_block_is_what_construct_builds(length: int) -> None:
    frame = bytes(range(length))
    _, block = blocks(written(frame, now=5.25))[-1]
    timestamp = 5_250_000_000
    head = ENHANCED_PACKET.build(
        {
            "block_type": 6,
            "block_total_length": len(block),
            "interface_id": 0,
            "timestamp_high": timestamp >> 32,
            "timestamp_low": timestamp & 0xFFFFFFFF,
            "captured_length": length,
            "original_length": length,
        }
    )
    assert block == head + frame + bytes(-length % 4) + struct.pack("<I", len(block))


def test_packet_without_comment_has_no_options() -> None:
    assert len(blocks(written(bytes(60)))[-1][1]) == 28 + 60 + 4


@given(st.lists(st.tuples(st.integers(1, 0xFFFF), st.binary(max_size=40)), min_size=1, max_size=4))
def test_options_are_padded_and_ended(options: list[tuple[int, bytes]]) -> None:
    data = encode_options(options)
    assert len(data) % 4 == 0
    assert data.endswith(bytes(4))
    for code, value in options:
        parsed = OPTION.parse(data)
        assert (parsed.code, parsed.value) == (code, value)
        data = data[4 + len(value) + -len(value) % 4 :]
    assert data == bytes(4)


def test_no_options_take_no_bytes() -> None:
    assert encode_options([]) == b""


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    (packet,) = reread(
        tmp_path, written(b"frame", comment="fault: R2T dropped \u2620", now=1.5, epoch=1_600_000_000)
    )
    assert packet == Packet(
        timestamp_ns=1_600_000_001_500_000_000,
        link_type=1,
        data=b"frame",
        original_length=5,
        interface_name="eth7",
        comments=("fault: R2T dropped \u2620",),
    )


def test_scapy_reads_the_comment_and_the_interface(tmp_path: Path) -> None:
    path = tmp_path / "capture.pcapng"
    path.write_bytes(written(bytes(60), comment="delayed 200 ms"))
    (packet,) = scapy_module("utils").rdpcap(str(path))
    assert packet.comments == [b"delayed 200 ms"]
    assert packet.sniffed_on == "eth7"
    assert packet.time == 1.5


def test_time_before_the_epoch_is_shown_as_the_epoch(tmp_path: Path) -> None:
    assert reread(tmp_path, written(b"x", now=-1.0))[0].timestamp_ns == 0


def test_overlong_comment_is_cut(tmp_path: Path) -> None:
    (packet,) = reread(tmp_path, written(b"x", comment="long" * 50_000))
    assert len(packet.comments[0]) == 32_768


def test_packet_is_made_of_its_parts(tmp_path: Path) -> None:
    file = BytesIO()
    writer = PcapngWriter(file)
    writer.packet(writer.interface("eth0"), 0.0, [b"ab", bytearray(b"cd"), memoryview(b"xefx")[1:3]])
    writer.flush()
    assert reread(tmp_path, file.getvalue())[0].data == b"abcdef"


def test_nothing_is_written_before_flush() -> None:
    file = BytesIO()
    writer = PcapngWriter(file)
    writer.packet(writer.interface("eth0"), 0.0, [b"x"])
    assert file.getvalue() == b""


def test_much_data_is_written_without_being_asked() -> None:
    file = BytesIO()
    writer = PcapngWriter(file)
    writer.packet(writer.interface("eth0"), 0.0, [bytes(2 << 20)])
    assert len(file.getvalue()) > 2 << 20


class ShortFile(BytesIO):
    """Takes at most ``room`` bytes in all, three at a time, as a raw file on a full disk does."""

    room = 10**9

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        if self.tell() >= self.room:
            raise OSError(28, "No space left on device")
        return super().write(data[: min(3, self.room - self.tell())])


def test_short_writes_are_continued() -> None:
    file = ShortFile()
    writer = PcapngWriter(file)
    writer.packet(writer.interface("eth7"), 1.5, [b"frame"])
    writer.flush()
    assert file.getvalue() == written(b"frame")


def test_full_disk_leaves_whole_blocks_behind() -> None:
    file = ShortFile()
    writer = PcapngWriter(file)
    writer.packet(writer.interface("eth7"), 1.5, [b"frame"])
    writer.flush()
    file.room = file.tell() + 10
    writer.packet(0, 1.6, [b"lost"])
    with pytest.raises(OSError, match="No space"):
        writer.flush()
    assert file.getvalue() == written(b"frame")


def test_file_that_takes_nothing_is_an_error() -> None:
    class BlockedFile(BytesIO):
        def write(self, data) -> None:  # type: ignore[no-untyped-def, override]
            return None

    with pytest.raises(BlockingIOError):
        PcapngWriter(BlockedFile()).flush()


@pytest.mark.parametrize(
    "magic, fraction, timestamp_ns",
    [
        (0xA1B2C3D4, 250_000, 7_250_000_000),
        (0xA1B23C4D, 250_000, 7_000_250_000),
    ],
    ids=["microseconds", "nanoseconds"],
)
@pytest.mark.parametrize("order", "<>")
def test_classic_pcap_is_read(
    tmp_path: Path, magic: int, fraction: int, timestamp_ns: int, order: str
) -> None:
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, 101)
    data = head + struct.pack(order + "IIII", 7, fraction, 3, 9) + b"abc"
    expected = Packet(timestamp_ns=timestamp_ns, link_type=101, data=b"abc", original_length=9)
    assert reread(tmp_path, data) == [expected]
    assert reread(tmp_path, gzip.compress(data)) == [expected]


def test_compressed_pcapng_is_read(tmp_path: Path) -> None:
    assert [packet.data for packet in reread(tmp_path, gzip.compress(written(b"one", b"two")))] == [
        b"one",
        b"two",
    ]


@pytest.mark.parametrize("cut", [1, 20, 40])
def test_capture_still_being_written_is_read_up_to_its_last_whole_packet(tmp_path: Path, cut: int) -> None:
    data = written(b"first", b"second frame")
    assert reread(tmp_path, data[:-cut])[0].data == b"first"


def test_packet_above_64_kib_is_read_whole(tmp_path: Path) -> None:
    assert len(reread(tmp_path, written(bytes(70_000)))[0].data) == 70_000


@pytest.mark.parametrize(
    "data", [b"", b"no capture at all, just words", b"\x1f\x8bnot gzip", b"\x0a\x0d\x0d\x0a"]
)
def test_other_files_are_refused_by_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"other: not a pcap"):
        list(read_packets(path))


def test_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read capture .*nowhere: No such file"):
        list(read_packets(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    "name, packets, link_type",
    [
        ("lio-chap-digests-reset-pr", 2542, 276),
        ("open-iscsi-discovery-login-scan-io", 1148, 1),
        ("os-brick-two-paths-then-silent-portal", 2335, 1),
    ],
)
def test_golden_captures_are_read_whole(name: str, packets: int, link_type: int) -> None:
    found = list(read_packets(PCAPS / f"{name}.pcap.gz"))
    assert len(found) == packets
    assert {packet.link_type for packet in found} == {link_type}
    assert all(len(packet.data) == packet.original_length for packet in found)
