"""A lab with one session that lives, and what its capture shows: who sent what at which second."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from iscsim.capture import read_packets
from iscsim.capture.frames import ACK, SYN, parse_segment
from iscsim.capture.ladder import pcap_events
from iscsim.initiator.initial_login import LoginAttempt
from iscsim.initiator.recovering_session import RecoveringSession
from iscsim.initiator.session_state import SessionState, SessionStateChanged
from iscsim.initiator.settings import NodeSettings
from iscsim.lab import Lab
from iscsim.lab.serving import LiveTarget
from iscsim.pdu import PDU

PORTALS = ["10.245.47.95:3260", "10.245.47.96:3260"]


BY_THE_TEST = "dropped by the test"
EXPECTED = (BY_THE_TEST, "moved temporarily", "moved permanently", "no logout within")
"""What a target may say of connections that a test treats badly."""


class World:
    """``await world.begin()`` logs in at second 0.

    ``states`` then has (second, state) of every change, ``attempts`` every later login that was tried.
    """

    target: LiveTarget
    session: RecoveringSession

    def __init__(self, lab: Lab, **settings: Any) -> None:
        self.lab = lab
        self.settings = NodeSettings(**settings)
        self.states: list[tuple[float, SessionState]] = []
        self.attempts: list[LoginAttempt] = []

    async def begin(self, *, initiators: tuple[str, ...] = (), **options: Any) -> RecoveringSession:
        """A target with two portals, and a session with it through the first."""
        self.target = await self.lab.target(portals=PORTALS, luns={1: "1M"}, initiators=initiators)
        for text in EXPECTED:
            self.lab.expect_error(text)
        self.session = await self.lab.host("compute").log_in(
            self.target, settings=self.settings, on_attempt=self.attempts.append, **options
        )
        self.attempts.clear()
        self.session.listeners.append(self._note)
        return self.session

    def _note(self, event: object) -> None:
        if isinstance(event, SessionStateChanged):
            self.states.append((round(self.lab.now, 1), event.state))

    @property
    def began(self) -> list[float]:
        """When each attempt after the first login began."""
        return [round(attempt.began, 1) for attempt in self.attempts]

    @property
    def came_up(self) -> list[bool]:
        """Which of them had a TCP connection."""
        return [attempt.came_up for attempt in self.attempts]


def in_world(main: Callable[[World], Awaitable[Any]], pcap: Path | None = None, **settings: Any) -> Any:
    """Run ``main(world)`` in virtual time; then its session is closed, and the lab judges."""

    async def whole(lab: Lab) -> Any:
        world = World(lab, **settings)
        try:
            return await main(world)
        finally:
            await world.session.close()

    return Lab.run(whole, pcap=pcap)


def drop_connections(world: World) -> None:
    """The target's process closes its connections, and says nothing before."""
    for session in world.target.sessions:
        session.end(BY_THE_TEST)


def seconds_of(pcap: Path, kind: type[PDU], where: Callable[[Any], bool] = lambda pdu: True) -> list[float]:
    """When PDUs of a kind are in a capture, to a tenth of a second."""
    return [
        round(event.timestamp_ns / 1e9, 1)
        for event in pcap_events(pcap)
        if isinstance(event.content, kind) and where(event.content)
    ]


def connections_of(pcap: Path) -> list[float]:
    """When each TCP connection was begun, answered or not, to a tenth of a second."""
    first: dict[tuple[str, int], float] = {}
    for packet in read_packets(pcap):
        segment = parse_segment(packet.link_type, packet.data)
        if segment is not None and segment.flags & (SYN | ACK) == SYN:
            first.setdefault(segment.source, round(packet.timestamp_ns / 1e9, 1))
    return list(first.values())
