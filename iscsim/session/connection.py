"""What both ends of a connection do: a core without I/O, clock or dice.

Four verbs move it, and every shell around it (TCP, memory, a test) uses just these::

    connection.receive_data(data, now)      bytes came in
    connection.data_to_send()               pieces to write, in order
    connection.events()                     what happened
    connection.handle_timer(now)            at connection.next_deadline()

After each of the first and the last, call the two in between. Once ``closing`` is true and all data is
written, close the TCP connection. When ``has_more`` is true, call ``go_on(now)`` as soon as the peer takes
data, and then the same two.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from enum import Enum, auto
from itertools import chain
from typing import Any, ClassVar, Protocol

from iscsim.errors import RemoteProtocolError
from iscsim.pdu import PDU, Buffer
from iscsim.session.comments import Comment
from iscsim.session.events import ConnectionEnded, Event
from iscsim.session.framer import Framer


class Phase(Enum):
    """Where in its life a connection is (RFC 7143 section 6.3)."""

    LOGIN = auto()
    FULL_FEATURE = auto()
    DISCOVERY = auto()
    """The full feature phase of a discovery session (RFC 7143 section 4.3)."""
    LOGOUT_REQUESTED = auto()
    """The full feature phase, after the target has asked for a logout (RFC 7143 section 8.1.1)."""
    LOGGED_OUT = auto()


LOGIN = frozenset({Phase.LOGIN})
FULL_FEATURE = frozenset({Phase.FULL_FEATURE})

Handler = Callable[[Any, Any], None]
HandlerTable = Mapping[type[PDU], tuple[Handler, frozenset[Phase]]]


class Tap(Protocol):
    """A hook between session and wire: sees each PDU and says what goes on in its place."""

    def incoming(self, pdu: PDU) -> list[PDU]:
        """The PDUs to handle instead of ``pdu``: itself, others, none."""

    def outgoing(self, pdu: PDU) -> list[PDU]:
        """The PDUs to send instead of ``pdu``; a ``RawPDU`` can be anything."""


class Connection:
    """One iSCSI connection; the roles add their verbs and the table ``handlers``."""

    handlers: ClassVar[HandlerTable] = {}
    _legal_in: ClassVar[dict[Phase, dict[type[PDU], Handler]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._legal_in = {
            phase: {pdu: handler for pdu, (handler, phases) in cls.handlers.items() if phase in phases}
            for phase in Phase
        }

    def __init__(self) -> None:
        self.framer = Framer()
        self.now = 0.0
        self.closing = False
        self.owed = 0
        """Bytes of answers that lie in the outgoing list, as far as those count that bring them."""
        self.most_owed = sys.maxsize
        """With more than this owed, nothing further is handled before :meth:`data_to_send`."""
        self.tap: Tap | None = None
        self.wake: Callable[[], None] | None = None
        """Called when there is something to send although nothing was received."""
        self.send_header_digest = False
        self.send_data_digest = False
        self.comments: list[Comment] = []
        """What a capture is to show with pieces of the outgoing list, or with what was received."""
        self._out: list[Buffer] = []
        self._events: list[Event] = []
        self._deadlines: dict[Callable[[], None], float] = {}
        self._rest: Iterator[PDU] | None = None
        self._enter(Phase.LOGIN)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self._legal = self._legal_in[phase]

    def use_tap(self, tap: Tap | None) -> None:
        """Put ``tap`` between this connection and the wire, at any time; None takes it away."""
        self.tap = tap

    def receive_data(self, data: Buffer, now: float) -> None:
        """Bytes came in at ``now``. Then call :meth:`data_to_send` and :meth:`events`.

        Never raises for what a peer sent: a broken rule is answered or ends the connection.
        """
        self.now = now
        if self.closing:
            return
        pdus = self.framer.receive(data)
        if self._rest is None:
            self._take(pdus)
        else:
            self._rest = chain(self._rest, pdus)

    @property
    def has_more(self) -> bool:
        """Whether something received was left for :meth:`go_on`, because too much was owed."""
        return self._rest is not None

    def go_on(self, now: float) -> None:
        """Handle what was left. Then call :meth:`data_to_send` and :meth:`events`."""
        self.now = now
        rest, self._rest = self._rest, None
        if rest is not None and not self.closing:
            self._take(rest)

    def _take(self, pdus: Iterator[PDU]) -> None:
        try:
            for pdu in pdus:
                if self.tap is None:
                    handler = self._legal.get(type(pdu))
                    if handler is not None:
                        handler(self, pdu)
                    else:
                        self._receive_illegal(pdu)
                else:
                    for replacement in self.tap.incoming(pdu):
                        self._handle(replacement)
                if self.closing:
                    return
                if self.owed > self.most_owed:
                    self._rest = pdus
                    return
        except RemoteProtocolError as error:
            self.fail(error)

    def _handle(self, pdu: PDU) -> None:
        self._legal.get(type(pdu), type(self)._receive_illegal)(self, pdu)

    def _receive_illegal(self, pdu: PDU) -> None:
        """A PDU that the table does not allow in this phase."""
        raise RemoteProtocolError(f"{type(pdu).__name__} in phase {self.phase.name}", "6.3")

    def fail(self, error: RemoteProtocolError) -> None:
        """The one place that answers a broken rule no handler could answer: end the connection."""
        self.end(str(error))

    def end(self, message: str = "") -> None:
        """Close once everything is sent. ``message`` says what was wrong, if anything was."""
        if not self.closing:
            self.closing = True
            self._deadlines.clear()
            self._events.append(ConnectionEnded(message))

    def send(self, pdu: PDU) -> None:
        """Put ``pdu`` into the outgoing list, past the tap."""
        if self.tap is None:
            self._out += pdu.encode(self.send_header_digest, self.send_data_digest)
            return
        for replacement in self.tap.outgoing(pdu):
            self._out += replacement.encode(self.send_header_digest, self.send_data_digest)

    def put(self, pdu: PDU) -> None:
        """Put ``pdu`` into the outgoing list, whatever the tap would say."""
        self._out += pdu.encode(self.send_header_digest, self.send_data_digest)

    def take_late(self, pdu: PDU) -> None:
        """Handle what the tap has kept back. Then call :meth:`data_to_send` and :meth:`events`."""
        try:
            if not self.closing:
                self._handle(pdu)
        except RemoteProtocolError as error:
            self.fail(error)

    def comment(self, text: str, *, received: bool = False) -> None:
        """Have a capture show ``text`` with the next PDU that is sent, or with what was ``received``."""
        self.comments.append(Comment(-1 if received else len(self._out), text))

    def data_to_send(self) -> list[Buffer]:
        """The pieces to write now, in order; views of stores among them, so write them soon."""
        out, self._out = self._out, []
        self.owed = 0
        return out

    def events(self) -> list[Event]:
        """What has happened since the last call."""
        events, self._events = self._events, []
        return events

    def set_timer(self, action: Callable[[], None], at: float) -> None:
        """Call ``action`` at ``at``; an action has one deadline at most."""
        self._deadlines[action] = at

    def cancel_timer(self, action: Callable[[], None]) -> None:
        """Forget the deadline of ``action``, if it has one."""
        self._deadlines.pop(action, None)

    def next_deadline(self) -> float | None:
        """When :meth:`handle_timer` wants to be called, or None."""
        return min(self._deadlines.values()) if self._deadlines else None

    def handle_timer(self, now: float) -> None:
        """Time has come to ``now``. Then call :meth:`data_to_send` and :meth:`events`."""
        self.now = now
        due = sorted((at, index) for index, at in enumerate(self._deadlines.values()) if at <= now)
        actions = list(self._deadlines)
        for _, index in due:
            action = actions[index]
            if self._deadlines.get(action, now + 1) <= now:  # an action before may have changed it
                del self._deadlines[action]
                action()
