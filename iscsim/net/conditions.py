"""What stands between two hosts of a memory network: the one hook that can make it a bad one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from iscsim.net.network import Address

__all__ = ["CLEAR", "Conditions", "End", "Flow", "Passage", "Reply", "Resolution", "Verdict"]


class Verdict(Enum):
    """What becomes of a SYN."""

    PASS = "pass"
    LOST = "lost"
    """Nobody answers: it is sent again, until the connect times out."""
    REFUSED = "refused"
    """A RST comes back."""
    HOST_UNREACHABLE = "host unreachable"
    NETWORK_UNREACHABLE = "network unreachable"
    PROHIBITED = "prohibited"
    """ICMP comes back."""


class End(Enum):
    """How a connection is ended from outside."""

    FIN = "fin"
    RST = "rst"


@dataclass(slots=True, frozen=True)
class Flow:
    """One direction of a connection, of an attempt to make one, or of datagrams.

    ``number`` tells connections apart, in the order in which they were begun. ``from_client`` is True for
    what the side that connected sends.
    """

    source_host: str
    source: Address
    destination_host: str
    """Empty when nobody has the address."""
    destination: Address
    number: int
    from_client: bool = True


@dataclass(slots=True, frozen=True)
class Passage:
    """A piece of what was sent that gets through, ``delay_s`` later than the link alone would bring it.

    ``end`` ends the connection behind it. ``comment`` goes into the capture, on that very frame. A first
    piece that is ``lost`` stands for all that was sent: lost as with None, but with a comment in the capture.
    One that is ``held`` does too: the receiver has no room for it, and it is tried again for as long as it
    takes. A ``copy`` is on the wire, and the receiver, who has it already, drops it.
    """

    data: bytes
    delay_s: float = 0.0
    end: End | None = None
    comment: str | None = None
    lost: bool = False
    held: bool = False
    copy: bool = False


class Reply(NamedTuple):
    """What becomes of a SYN; the answer comes ``delay_s`` later than the link alone would bring it."""

    verdict: Verdict
    comment: str | None = None
    delay_s: float = 0.0


class Resolution(NamedTuple):
    """What a resolver hears: ``""`` for what there is, or ``"NXDOMAIN"``, ``"NODATA"``, ``"SERVFAIL"``,
    ``"REFUSED"``, ``"FORMERR"`` or ``"TIMEOUT"``, after so many seconds."""

    rcode: str = ""
    delay_s: float = 0.0


class Conditions(Protocol):
    """Asked for everything a memory network carries. ``now`` is in seconds of the loop's clock."""

    def resolving(self, host: str, name: str, now: float) -> Resolution:
        """What ``host`` hears when it asks for the addresses of ``name``."""

    def connecting(self, flow: Flow, attempt: int, now: float) -> Reply:
        """What becomes of SYN number ``attempt`` (from 1)."""

    def accepting(self, flow: Flow, now: float) -> float:
        """Seconds the server's program takes to accept; the connection itself is there already."""

    def segment(self, flow: Flow, data: bytes, now: float) -> list[Passage] | None:
        """What becomes of data: pieces in order, or None when it is lost and must be sent again."""

    def datagram(self, flow: Flow, data: bytes, now: float) -> list[Passage]:
        """What arrives of a datagram, and when: nothing, it, or it twice."""


class _Clear:
    """Nothing is in the way."""

    def resolving(self, host: str, name: str, now: float) -> Resolution:
        """See `Conditions.resolving`."""
        return Resolution()

    def connecting(self, flow: Flow, attempt: int, now: float) -> Reply:
        """See `Conditions.connecting`."""
        return Reply(Verdict.PASS)

    def accepting(self, flow: Flow, now: float) -> float:
        """See `Conditions.accepting`."""
        return 0.0

    def segment(self, flow: Flow, data: bytes, now: float) -> list[Passage] | None:
        """See `Conditions.segment`."""
        return [Passage(data)]

    def datagram(self, flow: Flow, data: bytes, now: float) -> list[Passage]:
        """See `Conditions.datagram`."""
        return [Passage(data)]


CLEAR: Conditions = _Clear()
