"""A byte stream in, PDUs out: in pieces of any size, with limits checked before anything is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from iscsim.errors import DigestError, FormatError
from iscsim.pdu import (
    BASIC_HEADER_LENGTH,
    DEFAULT_MAX_RECV_DATA_SEGMENT_LENGTH,
    DIGEST_LENGTH,
    MAX_DATA_SEGMENT_LENGTH,
    PDU,
    PDU_TYPES,
    Buffer,
    RawPDU,
    digest,
)
from iscsim.pdu.wire import attach_ahs, unpack_lengths

_MIN_ROOM = 4096


class DamagedPDU(PDU):
    """A PDU whose data digest did not match (RFC 7143 section 7.8): only its header can be trusted.

    ``header_pdu`` is the PDU; of its ``data`` only the length is good for anything.
    """

    __slots__ = ("header_pdu",)

    def __init__(self, header_pdu: PDU) -> None:
        self.header_pdu = header_pdu
        self.data = b""

    def header(self) -> bytes:
        """The header as it came, for the data of a Reject (RFC 7143 section 11.17.4)."""
        return self.header_pdu.header()

    def __repr__(self) -> str:
        return f"DamagedPDU({self.header_pdu!r})"


class Framer:
    """Cuts a TCP stream into PDUs.

    The owner changes ``max_data_segment_length``, ``header_digest`` and ``data_digest`` between
    PDUs; they hold from the next PDU on.
    A PDU of unknown opcode comes out as :class:`RawPDU` with its header and AHS in ``wire``, so that it
    can be rejected (RFC 7143 section 11.17.1) without losing the stream.
    """

    __slots__ = (
        "_body",
        "_filled",
        "_head",
        "_head_length",
        "_pdu",
        "data_digest",
        "header_digest",
        "leaves_partial",
        "left",
        "left_wants",
        "max_data_segment_length",
        "place",
    )

    def __init__(self) -> None:
        self.max_data_segment_length = DEFAULT_MAX_RECV_DATA_SEGMENT_LENGTH
        self.header_digest = False
        self.data_digest = False
        self.leaves_partial = False
        """Leave a PDU that is not complete in the chunk: the owner brings it again with what follows."""
        self.left = 0
        """How many bytes of the last chunk were left."""
        self.left_wants = 0
        """How long the PDU that was left is in all, as far as is known."""
        self.place: Callable[[PDU, int], memoryview | None] | None = None
        """Asked for a home for a long data segment, of just its length, before it is received."""
        self._head = bytearray()  # header, AHS and header digest that came in pieces
        self._head_length = BASIC_HEADER_LENGTH  # how much of it must be there
        self._pdu: PDU | None = None  # the PDU whose data segment is still coming
        # room for that data segment, padding and digest
        self._body: bytearray | memoryview = bytearray()
        self._filled = 0

    @property
    def pending_length(self) -> int:
        """Bytes kept of a PDU that is not complete yet."""
        return len(self._head) + len(self._body)

    def receive(self, chunk: Buffer) -> Iterator[PDU]:
        """The PDUs that ``chunk`` completes; exhaust the iterator before the next chunk.

        Data segments that lie whole in ``chunk`` are views of it, nothing is copied: it must not be
        written to while they are in use.

        Raises:
            FormatError: the stream cannot be followed any further (RFC 7143 section 7.7).
            DigestError: a header digest does not match (RFC 7143 section 7.8).
        """
        offset, end = 0, len(chunk)
        types = PDU_TYPES
        self.left = 0
        if self._pdu is not None and self._filled == len(self._body):
            yield self._take_body()
        while offset < end:
            start = offset
            if self._pdu is not None:
                offset = self._fill_body(chunk, offset)
                if self._filled < len(self._body):
                    return
                yield self._take_body()
                continue
            if self._head or end - offset < BASIC_HEADER_LENGTH:
                if self.leaves_partial and not self._head:
                    self.left, self.left_wants = end - start, BASIC_HEADER_LENGTH
                    return
                offset = self._fill_head(chunk, offset)
                if len(self._head) < self._head_length:
                    return
                pdu, data_length = self._take_head()
            else:
                (data_length,) = unpack_lengths(chunk, offset)
                if data_length >> 24 or self.header_digest:
                    head_end = offset + self._length_of_head(data_length >> 24)
                    if head_end > end:
                        if self.leaves_partial:
                            self.left, self.left_wants = end - start, head_end - start
                        else:
                            self._fill_head(chunk, offset)
                        return
                    pdu = self._parse_head(memoryview(chunk)[offset:head_end])
                    data_length &= MAX_DATA_SEGMENT_LENGTH
                    offset = head_end
                else:
                    cls = types.get(chunk[offset] & 0x3F)
                    pdu = (
                        cls.from_header(chunk, offset) if cls else RawPDU(bytes(chunk[offset : offset + 48]))
                    )
                    offset += BASIC_HEADER_LENGTH
            if data_length:
                if data_length > self.max_data_segment_length:
                    raise self._too_long(pdu, data_length)
                body_length = data_length + -data_length % 4 + (DIGEST_LENGTH if self.data_digest else 0)
                if end - offset < body_length:
                    if not self._begin_body(pdu, data_length, body_length):
                        self.left, self.left_wants = end - start, offset + body_length - start
                        return
                    continue
                if self.data_digest:
                    pdu = self._with_data(pdu, memoryview(chunk)[offset : offset + body_length], data_length)
                else:  # as _with_data(), in one slice
                    pdu.data = memoryview(chunk)[offset : offset + data_length]
                offset += body_length
            yield pdu

    def _too_long(self, pdu: PDU, data_length: int) -> FormatError:
        # RFC 7143 section 7.7: a format error ends the connection; nothing was allocated for it.
        return FormatError(
            f"{type(pdu).__name__} with a data segment of {data_length} bytes,"
            f" {self.max_data_segment_length} were declared",
            "13.12",
        )

    def _length_of_head(self, ahs_words: int) -> int:
        """Header, AHS and header digest in bytes."""
        return BASIC_HEADER_LENGTH + ahs_words * 4 + (DIGEST_LENGTH if self.header_digest else 0)

    def _fill_head(self, chunk: Buffer, offset: int) -> int:
        """Collect header, AHS and header digest piece by piece; returns the new offset."""
        head = self._head
        while (missing := self._head_length - len(head)) > 0 and offset < len(chunk):
            head += chunk[offset : offset + missing]
            offset += min(missing, len(chunk) - offset)
            if len(head) == BASIC_HEADER_LENGTH:
                self._head_length = self._length_of_head(head[4])
        return offset

    def _take_head(self) -> tuple[PDU, int]:
        """The PDU of the collected header, and the length of the data segment to come."""
        head, self._head, self._head_length = self._head, bytearray(), BASIC_HEADER_LENGTH
        return self._parse_head(memoryview(head)), int.from_bytes(head[5:8], "big")

    def _parse_head(self, head: memoryview) -> PDU:
        """The PDU of a header with its AHS and header digest."""
        opcode, ahs_end = head[0] & 0x3F, BASIC_HEADER_LENGTH + head[4] * 4
        if self.header_digest and digest(head[:ahs_end]) != head[ahs_end:]:
            raise DigestError(f"header digest of opcode {opcode:#04x} does not match", "header")
        cls = PDU_TYPES.get(opcode)
        if cls is None:
            return RawPDU(bytes(head[:ahs_end]))
        pdu = cls.from_header(head)
        if ahs_end > BASIC_HEADER_LENGTH:
            attach_ahs(pdu, bytes(head[BASIC_HEADER_LENGTH:ahs_end]))
        return pdu

    def _begin_body(self, pdu: PDU, data_length: int, body_length: int) -> bool:
        """Make room for a data segment that is still coming; False when it is to be left in the chunk."""
        home = None
        if self.place is not None and data_length == body_length >= _MIN_ROOM:
            home = self.place(pdu, data_length)
        if home is None and self.leaves_partial:
            return False
        self._pdu, self._filled = pdu, 0
        self._body = bytearray(body_length) if home is None else home
        pdu.data = memoryview(self._body)[:data_length]
        return True

    def room(self) -> memoryview | None:
        """Where the rest of the data segment under way may be received without a copy.

        None between PDUs, and when so little is missing that it is better received with what follows.
        """
        if self._pdu is None or len(self._body) - self._filled < _MIN_ROOM:
            return None
        return memoryview(self._body)[self._filled :]

    def fill_room(self, length: int) -> bool:
        """``length`` bytes were received into :meth:`room`; when True, ``receive(b"")`` gives the PDU."""
        self._filled += length
        return self._filled == len(self._body)

    def _fill_body(self, chunk: Buffer, offset: int) -> int:
        take = min(len(self._body) - self._filled, len(chunk) - offset)
        self._body[self._filled : self._filled + take] = memoryview(chunk)[offset : offset + take]
        self._filled += take
        return offset + take

    def _take_body(self) -> PDU:
        pdu, body = self._pdu, self._body
        assert pdu is not None
        self._pdu, self._body, self._filled = None, bytearray(), 0
        return self._with_data(pdu, memoryview(body), len(pdu.data))

    def _with_data(self, pdu: PDU, body: memoryview, data_length: int) -> PDU:
        """Give ``pdu`` its data; a :class:`DamagedPDU` comes back when the data digest says no."""
        pdu.data = body[:data_length]
        if self.data_digest and digest(body[:-DIGEST_LENGTH]) != body[-DIGEST_LENGTH:]:
            return DamagedPDU(pdu)
        return pdu
