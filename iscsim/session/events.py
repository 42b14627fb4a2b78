"""What a connection tells the program around it: past-tense facts, in order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Event:
    """Something that happened on a connection."""


@dataclass(slots=True, frozen=True)
class LoginCompleted(Event):
    """The full feature phase has begun."""

    peer_name: str
    session_type: str


@dataclass(slots=True, frozen=True)
class LoginRefused(Event):
    """A login ended with a status other than success."""

    status: int
    message: str


@dataclass(slots=True, frozen=True)
class PDURejected(Event):
    """A PDU was answered with a Reject."""

    reason: int
    message: str


@dataclass(slots=True, frozen=True)
class ConnectionEnded(Event):
    """The connection must be closed once everything is sent; ``message`` is empty when that is fine."""

    message: str
