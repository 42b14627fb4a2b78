"""Text negotiations of the full feature phase as an initiator begins them (RFC 7143 section 6.4)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from iscsim.errors import RemoteProtocolError
from iscsim.initiator.task import TextNegotiation
from iscsim.pdu import RESERVED_TAG, TextRequest, TextResponse
from iscsim.pdu.text import MAX_TEXT_LENGTH, Pair, encode_text, parse_text
from iscsim.session.text import split_text

if TYPE_CHECKING:
    from iscsim.initiator.connection import InitiatorConnection

MAX_ANSWER_LENGTH = 4 << 20
"""Bytes of one answer: SendTargets of tens of thousands of targets."""
MAX_RESPONSES = 4096


class TextService:
    """The text negotiations of one connection, one after the other (RFC 7143 section 11.10.4).

    Requests are immediate, as those of other initiators are: old targets do not count their CmdSN.
    """

    def __init__(self, connection: InitiatorConnection) -> None:
        self._connection = connection
        self._waiting: deque[TextNegotiation] = deque()
        self._current: TextNegotiation | None = None
        self._unsent: list[bytes] = []
        self._received = bytearray()
        self._responses = 0

    def begin(self, negotiation: TextNegotiation) -> None:
        """Start ``negotiation`` as soon as none is under way."""
        self._waiting.append(negotiation)
        self._begin_next()

    def _begin_next(self) -> None:
        if self._current is not None or not self._waiting:
            return
        connection = self._connection
        self._current = negotiation = self._waiting.popleft()
        self._unsent = split_text(
            encode_text(negotiation.pairs), connection.parameters.max_send_data_segment_length
        )
        self._received, self._responses = bytearray(), 0
        connection.register(negotiation)
        self._send(RESERVED_TAG, bytes(8))

    def _send(self, transfer_tag: int, lun: bytes) -> None:
        assert self._current is not None
        data = self._unsent.pop(0) if self._unsent else b""
        connection = self._connection
        connection.send(
            TextRequest(
                immediate=True,
                final=not self._unsent,
                continuation=bool(self._unsent),
                lun=lun,
                initiator_task_tag=self._current.initiator_task_tag,
                target_transfer_tag=transfer_tag,
                cmd_sn=connection.numbers.cmd_sn,
                exp_stat_sn=connection.exp_stat_sn,
                data=data,
            )
        )

    def receive(self, pdu: TextResponse) -> None:
        """Take a Text Response: go on until its F bit is set (RFC 7143 section 11.11)."""
        negotiation = self._current
        if negotiation is None or pdu.initiator_task_tag != negotiation.initiator_task_tag:
            raise RemoteProtocolError(f"Text Response for tag {pdu.initiator_task_tag:#x}", "11.11.3")
        self._connection.take_numbers(pdu)
        self._check(pdu)
        self._received += pdu.data
        if not pdu.final:
            self._send(pdu.target_transfer_tag, pdu.lun)
            return
        negotiation.answers = _parse(bytes(self._received))
        self._connection.unregister(negotiation)
        self._end(negotiation)

    def _check(self, pdu: TextResponse) -> None:
        self._responses += 1
        if self._responses > MAX_RESPONSES or len(self._received) + len(pdu.data) > MAX_ANSWER_LENGTH:
            raise RemoteProtocolError(f"no end of text after {len(self._received)} bytes", "6.2")
        if pdu.final and (pdu.continuation or self._unsent):
            raise RemoteProtocolError("a Text Response with F in the middle of a text", "11.11.1")
        # with F set the transfer tag says nothing (RFC 7143 section 11.10.4)
        if not pdu.final and pdu.target_transfer_tag == RESERVED_TAG:
            raise RemoteProtocolError("Text Response without F and without a transfer tag", "11.11.4")

    def rejected(self, negotiation: TextNegotiation) -> None:
        """The target rejected a Text Request: its negotiation is over (RFC 7143 section 6.2)."""
        self._end(negotiation)

    def _end(self, negotiation: TextNegotiation) -> None:
        self._current = None
        negotiation.done(negotiation)
        if not self._connection.closing:
            self._begin_next()

    def fail_waiting(self) -> list[TextNegotiation]:
        """Those that will never begin."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting


def _parse(text: bytes) -> list[Pair]:
    """The pairs of an answer of any length.

    Segments are joined whether C was set or not: tgt cuts pairs without saying so. ``parse_text`` takes
    64 KiB at a time, so a longer text is cut behind a NUL.
    """
    pairs: list[Pair] = []
    while len(text) > MAX_TEXT_LENGTH:
        cut = text.rfind(b"\0", 0, MAX_TEXT_LENGTH) + 1
        if not cut:
            break  # parse_text says what is wrong with it
        pairs += parse_text(text[:cut])
        text = text[cut:]
    return pairs + parse_text(text)
