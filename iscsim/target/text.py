"""Text requests to a target: SendTargets, and the few keys that may change later (RFC 7143 section 6.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from iscsim.errors import NegotiationError
from iscsim.pdu import NO_LUN, RESERVED_TAG, RejectReason, TextRequest, TextResponse
from iscsim.session.keys import Role, in_any_case
from iscsim.session.negotiation import FullFeatureNegotiation
from iscsim.session.text import TextExchange
from iscsim.target.rejection import RequestRejected

if TYPE_CHECKING:
    from iscsim.target.connection import TargetConnection

Pair = tuple[str, str]


class TextService:
    """The text negotiation of one connection: one at a time (RFC 7143 section 11.10.4)."""

    def __init__(self, connection: TargetConnection) -> None:
        self._connection = connection
        self.rewrite: Callable[[Iterable[Pair]], Iterable[Pair]] | None = None
        """What the next answer to SendTargets makes of the records, then no more: for faults."""
        self._exchange: TextExchange | None = None
        self._negotiation: FullFeatureNegotiation | None = None
        self._initiator_task_tag = RESERVED_TAG
        self._target_transfer_tag = 0
        self._lun, self._immediate = NO_LUN, False

    def receive(self, pdu: TextRequest) -> None:
        """Answer a Text Request.

        Raises:
            RequestRejected: it breaks a rule; that resets the negotiation (RFC 7143 section 6.4).
        """
        try:
            self._receive(pdu)
        except NegotiationError as error:
            self._exchange = None
            raise RequestRejected(RejectReason.PROTOCOL_ERROR, str(error)) from error

    def _receive(self, pdu: TextRequest) -> None:
        if pdu.target_transfer_tag == RESERVED_TAG:
            self._begin(pdu)
        elif self._exchange is None or (pdu.initiator_task_tag, pdu.target_transfer_tag) != (
            self._initiator_task_tag,
            self._target_transfer_tag,
        ):
            message = f"no text negotiation with tag {pdu.target_transfer_tag:#x}"
            raise RequestRejected(RejectReason.INVALID_PDU_FIELD, message)
        elif pdu.immediate != self._immediate:
            raise NegotiationError("the I bit changed within a text negotiation", "11.10.3")
        elif pdu.lun != self._lun:
            # RFC 7143 section 11.17.1: the LUN qualifies the tag
            message = f"LUN {pdu.lun.hex()}, the tag was given out with {self._lun.hex()}"
            raise RequestRejected(RejectReason.INVALID_PDU_FIELD, message)
        if pdu.continuation and pdu.final:
            raise NegotiationError("F and C are both set", "11.10.2")
        assert self._exchange is not None
        pairs = self._exchange.receive(bytes(pdu.data), pdu.continuation)
        if pairs is not None:
            if self._connection.entity.policy.wishes.any_case:
                pairs = in_any_case(pairs)
            self._exchange.put(self._answers(pairs))
        self._respond(pdu)

    def _begin(self, pdu: TextRequest) -> None:
        # RFC 7143 section 6.2: a reserved tag begins anew and drops what was under way
        parameters = self._connection.session.parameters
        self._exchange = TextExchange(parameters.max_send_data_segment_length)
        self._negotiation = FullFeatureNegotiation(Role.TARGET, parameters)
        self._initiator_task_tag, self._lun, self._immediate = pdu.initiator_task_tag, pdu.lun, pdu.immediate
        self._target_transfer_tag = self._target_transfer_tag % 0xFFFF + 1

    def _respond(self, pdu: TextRequest) -> None:
        assert self._exchange is not None
        data, continued = self._exchange.take()
        # RFC 7143 section 11.11.1: F=1 only answers F=1, and not while text is left
        final = pdu.final and not continued
        self._connection.send(
            TextResponse(
                final=final,
                continuation=continued,
                lun=pdu.lun,
                initiator_task_tag=pdu.initiator_task_tag,
                target_transfer_tag=RESERVED_TAG if final else self._target_transfer_tag,
                data=data,
                **self._connection.numbers(),
            )
        )
        if final:
            self._finish()

    def _finish(self) -> None:
        assert self._negotiation is not None
        session = self._connection.session
        if not session.is_discovery:
            session.parameters = self._negotiation.finish()
            self._connection.commands.update_limits()
        self._exchange = None

    def _answers(self, pairs: list[Pair]) -> list[Pair]:
        assert self._negotiation is not None
        session = self._connection.session
        asked = [value for name, value in pairs if name == "SendTargets"]
        if session.is_discovery and len(asked) < len(pairs):
            raise NegotiationError("only SendTargets in a discovery session", "4.3")
        if asked and len(pairs) > 1:  # or 4000 questions in one request would have as many answers
            raise NegotiationError("SendTargets must be the only key of its request", "13.3")
        answers = [] if session.is_discovery else self._negotiation.receive(pairs)
        for value in asked:
            rewrite, self.rewrite = self.rewrite, None
            answers += self._targets(value) if rewrite is None else rewrite(self._targets(value))
        return answers

    def _targets(self, value: str) -> Iterator[Pair]:
        """The answer to SendTargets (RFC 7143 Appendix C)."""
        connection, session = self._connection, self._connection.session
        wanted: str | None = value
        if value == "All":
            policy = connection.entity.policy
            if not session.is_discovery and not policy.send_targets_all_in_normal_session:
                raise NegotiationError("SendTargets=All in a normal session", "13.3")
            wanted = None
        elif value == "":
            if session.node is None:
                raise NegotiationError("SendTargets without a value in a discovery session", "13.3")
            wanted = session.node.name
        elif session.node is not None and value != session.node.name:
            return iter(())
        return connection.entity.records(session.initiator_name, connection.local_address, wanted)
