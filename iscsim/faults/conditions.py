"""What a memory network's `Conditions` make of the rules; the faults themselves are in their own modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from iscsim.faults.engine import FaultEngine
from iscsim.faults.occasion import Hook, Occasion
from iscsim.faults.rule import FaultRule
from iscsim.net.conditions import Flow, Passage, Reply, Resolution, Verdict
from iscsim.net.memory import MemoryNetwork
from iscsim.session.names import format_portal

__all__ = ["FaultyConditions", "Pieces", "direction_of", "known_of"]

Pieces = list[Passage] | None
"""What gets through of a segment; None when it is lost."""


class FaultyConditions:
    """`iscsim.net.conditions.Conditions` that ask a `FaultEngine`.

    Actions get ``(rule, flow, hook, now, pieces)`` and give a `Verdict` or seconds at CONNECT, seconds at
    ACCEPT, and `Pieces` at SEGMENT and DATAGRAM; at RESOLVE ``(rule, name)``, and they give a `Resolution`.
    """

    def __init__(self, engine: FaultEngine) -> None:
        self._engine = engine

    @property
    def holds_connections(self) -> bool:
        """Whether a fault waits for connections to be accepted, or for what goes over them."""
        return self._engine.expects(Hook.ACCEPT) or self._engine.expects(Hook.SEGMENT)

    def resolving(self, host: str, name: str, now: float) -> Resolution:
        """See `Conditions.resolving`: delays add up, the first error counts."""
        found = Resolution()
        if self._engine.expects(Hook.RESOLVE):
            for rule in self._engine.firing(Occasion(hook=Hook.RESOLVE, now=now, host=host, name=name)):
                said: Resolution = rule.kind.action(rule, name)
                found = Resolution(found.rcode or said.rcode, found.delay_s + said.delay_s)
        return found

    def connecting(self, flow: Flow, attempt: int, now: float) -> Reply:
        """See `Conditions.connecting`: the first rule that does not let it pass decides, delays add up."""
        reply = Reply(Verdict.PASS)
        for rule in self._firing(Hook.CONNECT, flow, now):
            said = rule.kind.action(rule, flow, Hook.CONNECT, now, None)
            comment = _both(reply.comment, rule.comment)
            if isinstance(said, Verdict):
                verdict = said if reply.verdict is Verdict.PASS else reply.verdict
                reply = Reply(verdict, comment, reply.delay_s)
            else:
                reply = Reply(reply.verdict, comment, reply.delay_s + said)
        return reply

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
        pieces: list[Passage] = [Passage(data)]
        for rule in self._firing(hook, flow, now, length=len(data)):
            if pieces and (pieces[0].lost or pieces[0].held):
                pieces = _commented(pieces, rule.comment)
                continue
            comment = pieces[0].comment if pieces else None
            left = rule.kind.action(rule, flow, hook, now, pieces)
            pieces = [Passage(data, comment=comment, lost=True)] if left is None else left
            pieces = _commented(pieces, rule.comment)
        return pieces

    def _firing(self, hook: Hook, flow: Flow, now: float, length: int = 0) -> list[FaultRule]:
        if not self._engine.expects(hook):
            return []
        return self._engine.firing(_occasion(hook, flow, now, length))


def _occasion(hook: Hook, flow: Flow, now: float, length: int) -> Occasion:
    ends = [(flow.source, flow.source_host), (flow.destination, flow.destination_host)]
    (client, host), (server, peer) = ends if flow.from_client else reversed(ends)
    portal, initiator_address = format_portal(*server), format_portal(*client)
    return Occasion(
        hook=hook,
        now=now,
        portal=portal,
        initiator_address=initiator_address,
        host=host,
        peer_host=peer,
        src=initiator_address,
        dst=portal,
        port=server[1],
        direction=direction_of(flow),
        connection=flow.number,
        length=length,
    )


def direction_of(flow: Flow) -> str:
    """``"to_target"`` for what the side that connected sends."""
    return "to_target" if flow.from_client else "to_initiator"


def _both(first: str | None, second: str) -> str:
    return f"{first}; {second}" if first else second


def _commented(pieces: list[Passage], comment: str) -> list[Passage]:
    """The comment goes with the first piece."""
    if not pieces:
        return pieces
    return [replace(pieces[0], comment=_both(pieces[0].comment, comment)), *pieces[1:]]


def known_of(network: MemoryNetwork) -> dict[str, Callable[[], Iterable[str]]]:
    """What `FaultEngine.known` is to know of a network: hosts, cards, addresses, and places for those."""
    hosts = network.topology.hosts

    def cards() -> list[str]:
        return [str(card) for found in hosts.values() for card in found.values()]

    def addresses() -> list[str]:
        return [address for found in hosts.values() for card in found.values() for address in card.addresses]

    return {
        "host": lambda: list(hosts),
        "nic": cards,
        "address": addresses,
        "place": lambda: [*hosts, *cards()],
    }
