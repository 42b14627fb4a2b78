"""Texts longer than one PDU: accumulating and splitting with the C bit (RFC 7143 sections 6.1 and 6.2)."""

from __future__ import annotations

from iscsim.errors import NegotiationError
from iscsim.pdu.text import MAX_TEXT_LENGTH, Pair, encode_text, parse_text

#: Data segments one end may send in one negotiation.
MAX_EXCHANGES = 64


class TextAssembler:
    """Joins data segments into one logical text data segment, within a limit in bytes."""

    __slots__ = ("_limit", "_received")

    def __init__(self, limit: int = MAX_TEXT_LENGTH) -> None:
        self._limit = limit
        self._received = bytearray()

    @property
    def partial(self) -> bool:
        """True while bytes wait for a segment whose C bit is 0."""
        return bool(self._received)

    def add(self, data: bytes | memoryview, continued: bool) -> bytes | None:
        """Take one data segment; the whole text when ``continued`` (the C bit) is 0, else None.

        Raises NegotiationError before anything is kept when the text would pass the limit.
        """
        if len(self._received) + len(data) > self._limit:
            self._received.clear()
            raise NegotiationError(f"more than {self._limit} bytes of text in one negotiation", "6.1")
        self._received += data
        if continued:
            return None
        text = bytes(self._received)
        self._received.clear()
        return text


def split_text(data: bytes, max_length: int) -> list[bytes]:
    """``data`` in segments of at most ``max_length`` bytes, one empty segment when there is none.

    All but the last are to be sent with the C bit set; a pair may be cut anywhere (RFC 7143 6.1).
    """
    return [data[start : start + max_length] for start in range(0, len(data), max_length)] or [b""]


class TextExchange:
    """One end's texts of one login or text negotiation: segments in, segments out, all within limits.

    ``max_length`` is what the peer takes in one data segment; ``limit`` bounds the bytes it may send in
    the whole negotiation, ``max_exchanges`` the segments (RFC 7143 section 6.2 asks for six at least).
    """

    __slots__ = (
        "_assembler",
        "_exchanges",
        "_limit",
        "_max_exchanges",
        "_max_length",
        "_received",
        "_unsent",
    )

    def __init__(
        self, max_length: int, *, limit: int = MAX_TEXT_LENGTH, max_exchanges: int = MAX_EXCHANGES
    ) -> None:
        self._max_length = max_length
        self._limit = limit
        self._max_exchanges = max_exchanges
        self._assembler = TextAssembler(limit)
        self._unsent: list[bytes] = []
        self._received = 0
        self._exchanges = 0

    @property
    def sending(self) -> bool:
        """True while segments of our own text wait for the peer's empty one."""
        return bool(self._unsent)

    def receive(self, data: bytes | memoryview, continued: bool) -> list[Pair] | None:
        """The pairs of the peer's text once it is whole; None while it, or our own text, goes on.

        Raises NegotiationError beyond a limit, for bad text, and for data that answers our C bit.
        """
        self._exchanges += 1
        self._received += len(data)
        if self._exchanges > self._max_exchanges:
            raise NegotiationError(f"no end after {self._max_exchanges} exchanges", "6.2")
        if self._received > self._limit:
            raise NegotiationError(f"more than {self._limit} bytes of text", "6.1")
        if self._unsent:
            if data or continued:
                raise NegotiationError("an answer to the C bit must be empty", "6.2")
            return None
        text = self._assembler.add(data, continued)
        return None if text is None else parse_text(text)

    def put(self, pairs: list[Pair]) -> None:
        """Set our next text."""
        self._unsent = split_text(encode_text(pairs), self._max_length)

    def take(self) -> tuple[bytes, bool]:
        """The next data segment and its C bit; an empty one when there is nothing to say."""
        data = self._unsent.pop(0) if self._unsent else b""
        return data, bool(self._unsent)
