"""What a session that lives is in, how it says so, and how what needs it fails."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from iscsim.errors import SessionFailed
from iscsim.session.events import Event

__all__ = ["SessionState", "SessionStateChanged", "TransportDisrupted", "TransportFailed"]


class SessionState(StrEnum):
    """As ``/sys/class/iscsi_session/session*/state`` shows it (RFC 7143 section 8.3)."""

    LOGGED_IN = "LOGGED_IN"
    """Commands are taken and sent."""
    FAILED = "FAILED"
    """The connection is lost, and a new login is being tried: new commands wait for it."""
    FREE = "FREE"
    """It took longer than ``replacement_timeout``: commands fail at once. The login is still tried."""


@dataclass(slots=True, frozen=True)
class SessionStateChanged(Event):
    """A session that lives went from one state to another; ``reason`` is one line."""

    state: SessionState
    previous: SessionState
    reason: str


class TransportDisrupted(SessionFailed):
    """The connection was lost under a command, which may or may not have been executed.

    The session is being recovered: the command may be sent again (Linux: DID_TRANSPORT_DISRUPTED).
    """


class TransportFailed(SessionFailed):
    """There was no session for too long, or there will be none (Linux: DID_TRANSPORT_FAILFAST)."""
