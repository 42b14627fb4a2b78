"""Texts longer than one PDU: accumulating and splitting with the C bit (RFC 7143 sections 6.1 and 6.2)."""

from __future__ import annotations

from iscsim.errors import NegotiationError
from iscsim.pdu.text import MAX_TEXT_LENGTH


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
