"""pcapng: writing it, and reading it and classic pcap back.

Writing is ours, from the block layouts below (draft-ietf-opsawg-pcapng, sections 4.1 to 4.3): a
packet costs about a microsecond, and a packet can carry a comment, which is how an injected fault
says inside Wireshark that it is one. Reading goes through scapy, which knows every old dialect.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from construct import Aligned, GreedyBytes, Int16ul, Int32ul, Int64ul, Padding, Prefixed, Struct

from iscsim.capture.layout import quick
from iscsim.capture.lazy_scapy import scapy_module
from iscsim.errors import ConfigError
from iscsim.pdu.digest import Buffer

LINKTYPE_ETHERNET: Final = 1

SECTION_HEADER_TYPE: Final = 0x0A0D0D0A
INTERFACE_DESCRIPTION_TYPE: Final = 1
ENHANCED_PACKET_TYPE: Final = 6
BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D
UNKNOWN_SECTION_LENGTH: Final = 0xFFFFFFFFFFFFFFFF

OPT_COMMENT: Final = 1
SHB_USER_APPLICATION: Final = 4
IF_NAME: Final = 2
IF_TSRESOL: Final = 9
NANOSECONDS: Final = b"\x09"  # if_tsresol: a power of ten

_BLOCK = ("block_type" / Int32ul, "block_total_length" / Int32ul)
SECTION_HEADER = Struct(
    *_BLOCK,
    "byte_order_magic" / Int32ul,
    "major_version" / Int16ul,
    "minor_version" / Int16ul,
    "section_length" / Int64ul,
)
INTERFACE_DESCRIPTION = Struct(*_BLOCK, "link_type" / Int16ul, Padding(2), "snap_length" / Int32ul)
ENHANCED_PACKET = Struct(
    *_BLOCK,
    "interface_id" / Int32ul,
    "timestamp_high" / Int32ul,
    "timestamp_low" / Int32ul,
    "captured_length" / Int32ul,
    "original_length" / Int32ul,
)
TRAILER = Struct("block_total_length" / Int32ul)
OPTION = Aligned(4, Struct("code" / Int16ul, "value" / Prefixed(Int16ul, GreedyBytes)))
END_OF_OPTIONS: Final = bytes(4)

_ENHANCED_PACKET = quick(ENHANCED_PACKET)
_TRAILER = quick(TRAILER)
_PACKET_OVERHEAD = _ENHANCED_PACKET.size + _TRAILER.size
_PADDING = tuple(bytes(length) for length in range(4))
_MAX_COMMENT_LENGTH = 32_768
_FLUSH_AT_SIZE = 1 << 20
_MAX_PIECES = 1024  # IOV_MAX of Linux
_SCAPY_READ_SIZE = 1 << 18  # iterating over a scapy reader cuts packets at 65535 bytes

Options = Sequence[tuple[int, bytes]]


def encode_options(options: Options) -> bytes:
    """Options of a block, ended as they must be; none gives no bytes at all."""
    if not options:
        return b""
    return b"".join(OPTION.build({"code": code, "value": value}) for code, value in options) + END_OF_OPTIONS


def _encode_block(layout: Struct, fields: dict[str, int], options: Options) -> bytes:
    """A block that is written once a file or once an interface: straight through Construct."""
    encoded_options = encode_options(options)
    length = layout.sizeof() + len(encoded_options) + TRAILER.sizeof()
    head = layout.build({**fields, "block_total_length": length})
    return bytes(head + encoded_options + TRAILER.build({"block_total_length": length}))


def _write_all(file: BinaryIO, view: memoryview) -> None:
    """Write to a raw or buffered file; a raw one may take less than it is given."""
    while view:
        written = file.write(view)
        if written is None:
            raise BlockingIOError("the capture file would block")
        view = view[written:]
    file.flush()


class PcapngWriter:
    """Writes one pcapng section of Ethernet packets with nanosecond timestamps.

    Packets are gathered until :meth:`flush`, which writes whole blocks only: after it the file can be
    read, though it is still being written. The caller opens and closes ``file``.

    ``epoch_offset_s`` is added to every ``now`` (seconds of any clock) to give seconds since 1970.
    """

    def __init__(self, file: BinaryIO, *, epoch_offset_s: float = 0.0, application: str = "iscsim") -> None:
        self._file = file
        self._gathers = isinstance(file, io.FileIO) and hasattr(os, "writev")
        self._epoch_offset_ns = round(epoch_offset_s * 1e9)
        self._interfaces: dict[str, int] = {}
        self._start = file.tell() if file.seekable() else None
        self._written_size = 0
        section = {
            "block_type": SECTION_HEADER_TYPE,
            "byte_order_magic": BYTE_ORDER_MAGIC,
            "major_version": 1,
            "minor_version": 0,
            "section_length": UNKNOWN_SECTION_LENGTH,
        }
        self._pending: list[Buffer] = [
            _encode_block(SECTION_HEADER, section, [(SHB_USER_APPLICATION, application.encode())])
        ]
        self._pending_size = len(self._pending[0])

    def interface(self, name: str) -> int:
        """The number of the interface ``name``, described in the file when first asked for."""
        if name not in self._interfaces:
            fields = {
                "block_type": INTERFACE_DESCRIPTION_TYPE,
                "link_type": LINKTYPE_ETHERNET,
                "snap_length": 0,
            }
            options = [(IF_NAME, name.encode()), (IF_TSRESOL, NANOSECONDS)]
            block = _encode_block(INTERFACE_DESCRIPTION, fields, options)
            self._interfaces[name] = len(self._interfaces)
            self._gather([block], len(block))
        return self._interfaces[name]

    def packet(
        self,
        interface: int,
        now: float,
        parts: Sequence[Buffer],
        *,
        comment: str | None = None,
        left_out: int = 0,
    ) -> None:
        """Add one packet, given as the parts it consists of (copied at the next flush, not before).

        The packet had ``left_out`` more bytes, which are not in the file.

        Raises:
            OSError: so much had been gathered that it was written, and the file did not take it.
        """
        length = sum(map(len, parts))
        behind = _PADDING[-length % 4]
        if comment is not None:
            behind += encode_options([(OPT_COMMENT, _comment(comment))])
        total_length = _PACKET_OVERHEAD + length + len(behind)
        timestamp = int(now * 1e9) + self._epoch_offset_ns
        if timestamp < 0:
            timestamp = 0
        head = _ENHANCED_PACKET.pack(
            ENHANCED_PACKET_TYPE,
            total_length,
            interface,
            timestamp >> 32,
            timestamp & 0xFFFFFFFF,
            length,
            length + left_out,
        )
        self._gather((head, *parts, behind + _TRAILER.pack(total_length)), total_length)

    def _gather(self, parts: Iterable[Buffer], size: int) -> None:
        self._pending += parts
        self._pending_size += size
        if self._pending_size >= _FLUSH_AT_SIZE:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered.

        Raises:
            OSError: the file did not take it. What was gathered is dropped and, where the file allows,
                the half block is cut off again: the file stays readable up to the last flush.
        """
        pending, size = self._pending, self._pending_size
        self._pending, self._pending_size = [], 0
        try:
            written = self._write_at_once(pending)
            if written < size:
                _write_all(self._file, memoryview(b"".join(pending))[written:])
        except OSError:
            self._cut_off_half_block()
            raise
        self._written_size += size

    def _write_at_once(self, pending: list[Buffer]) -> int:
        """How many bytes a raw file took without their being joined first."""
        if not self._gathers or len(pending) > _MAX_PIECES:
            return 0
        return os.writev(self._file.fileno(), pending)

    def _cut_off_half_block(self) -> None:
        if self._start is not None:
            # A device or pipe cannot be cut; the error that matters is on its way already.
            with contextlib.suppress(OSError):
                self._file.truncate(self._start + self._written_size)


def _comment(text: str) -> bytes:
    return text.encode("utf-8", "replace")[:_MAX_COMMENT_LENGTH]


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One packet of a capture file.

    ``link_type`` is the LINKTYPE number of tcpdump.org; ``data`` may be shorter than
    ``original_length`` where the capture was limited by a snap length.
    """

    timestamp_ns: int
    link_type: int
    data: bytes
    original_length: int
    interface_name: str = ""
    comments: tuple[str, ...] = ()


def read_packets(path: str | Path) -> Iterator[Packet]:
    """Read a pcap or pcapng file, gzip-compressed or not, in the order of the file.

    A file that ends in the middle of a packet (a capture still being written) ends the iteration.

    Raises:
        ConfigError: the file cannot be opened or is no capture.
    """
    utils = scapy_module("utils")
    error = scapy_module("error").Scapy_Exception
    try:
        with open(path, "rb") as file:
            reader = utils.RawPcapNgReader(file)
            yield from _packets_of(reader, isinstance(reader, utils.RawPcapNgReader))
    except error as problem:
        raise ConfigError(f"{path}: not a pcap or pcapng capture") from problem
    except OSError as problem:
        raise ConfigError(f"cannot read capture {path}: {problem.strerror or problem}") from problem


def _packets_of(reader: Any, is_pcapng: bool) -> Iterator[Packet]:
    while True:
        try:
            data, metadata = reader._read_packet(size=_SCAPY_READ_SIZE)
        except EOFError:
            return
        yield _pcapng_packet(data, metadata) if is_pcapng else _pcap_packet(reader, data, metadata)


def _pcap_packet(reader: Any, data: bytes, metadata: Any) -> Packet:
    fraction_ns = metadata.usec if reader.nano else metadata.usec * 1000
    return Packet(
        timestamp_ns=metadata.sec * 1_000_000_000 + fraction_ns,
        link_type=reader.linktype,
        data=data,
        original_length=metadata.wirelen,
    )


def _pcapng_packet(data: bytes, metadata: Any) -> Packet:
    # A Simple Packet Block has no time at all.
    ticks = (metadata.tshigh or 0) << 32 | (metadata.tslow or 0)
    return Packet(
        timestamp_ns=ticks * 1_000_000_000 // metadata.tsresol,
        link_type=metadata.linktype,
        data=data,
        original_length=metadata.wirelen,
        interface_name=(metadata.ifname or b"").decode("utf-8", "replace"),
        comments=tuple(text.decode("utf-8", "replace") for text in metadata.comments or ()),
    )
