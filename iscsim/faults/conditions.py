"""What a memory network's `Conditions` make of the rules; the faults themselves are in their own modules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from iscsim.faults.engine import FaultEngine
from iscsim.faults.occasion import Hook, Occasion
from iscsim.net.conditions import Flow, Passage, Verdict
from iscsim.net.network import Address

__all__ = ["FaultyConditions", "Pieces", "direction_of"]

Pieces = list[Passage] | None
"""What gets through of a segment; None when it is lost."""


class FaultyConditions:
    """`iscsim.net.conditions.Conditions` that ask a `FaultEngine`.

    Actions get ``(rule, flow, hook, now, pieces)`` and give a `Verdict` at CONNECT, seconds at ACCEPT, and
    `Pieces` at SEGMENT and DATAGRAM.
    """

    def __init__(self, engine: FaultEngine) -> None:
        self._engine = engine

    def connecting(self, flow: Flow, attempt: int, now: float) -> tuple[Verdict, str | None]:
        """See `Conditions.connecting`: the first rule that says anything decides."""
        for rule in self._firing(Hook.CONNECT, flow, now):
            verdict = rule.kind.action(rule, flow, Hook.CONNECT, now, None)
            if verdict is not Verdict.PASS:
                return verdict, self._engine.comment(rule)
        return Verdict.PASS, None

    def accepting(self, flow: Flow, now: float) -> float:
        """See `Conditions.accepting`."""
        rules = self._firing(Hook.ACCEPT, flow, now)
        return float(sum(rule.kind.action(rule, flow, Hook.ACCEPT, now, None) for rule in rules))

    def segment(self, flow: Flow, data: bytes, now: float) -> Pieces:
        """See `Conditions.segment`: each rule works on what the ones before it have left."""
        return self._through(Hook.SEGMENT, flow, data, now)

    def datagram(self, flow: Flow, data: bytes, now: float) -> list[Passage]:
        """See `Conditions.datagram`."""
        return self._through(Hook.DATAGRAM, flow, data, now) or []

    def _through(self, hook: Hook, flow: Flow, data: bytes, now: float) -> Pieces:
        pieces: Pieces = [Passage(data)]
        for rule in self._firing(hook, flow, now, length=len(data)):
            if pieces is not None:
                left = rule.kind.action(rule, flow, hook, now, pieces)
                lost = [Passage(data, comment=pieces[0].comment if pieces else None, lost=True)]
                pieces = _commented(lost if left is None else left, self._engine.comment(rule))
                if left is None:
                    break
        return pieces

    def _firing(self, hook: Hook, flow: Flow, now: float, length: int = 0) -> list[Any]:
        if not self._engine.expects(hook):
            return []
        return self._engine.firing(_occasion(hook, flow, now, length))


def _occasion(hook: Hook, flow: Flow, now: float, length: int) -> Occasion:
    client, server = (flow.source, flow.destination) if flow.from_client else (flow.destination, flow.source)
    return Occasion(
        hook=hook,
        now=now,
        portal=_shown(server),
        initiator_address=_shown(client),
        host=flow.source_host if flow.from_client else flow.destination_host,
        direction=direction_of(flow),
        source=_shown(flow.source),
        destination=_shown(flow.destination),
        connection=flow.number,
        length=length,
    )


def direction_of(flow: Flow) -> str:
    """``"to_target"`` for what the side that connected sends."""
    return "to_target" if flow.from_client else "to_initiator"


def _shown(address: Address) -> str:
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


def _commented(pieces: Pieces, comment: str) -> Pieces:
    """The comment goes with the first piece."""
    if not pieces:
        return pieces
    first = pieces[0]
    return [replace(first, comment=f"{first.comment}; {comment}" if first.comment else comment), *pieces[1:]]
