"""Faults at the PDU seam: a tap on each connection of a target that asks the engine.

Actions of the hooks RECEIVE and SEND get ``(rule, tap, pdu)`` and give the list of PDUs that take its place.
Those that need time or do more than that use what `FaultTap` offers.
"""

from __future__ import annotations

import heapq
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from iscsim.faults.engine import FaultEngine
from iscsim.faults.key_text import split_pairs
from iscsim.faults.occasion import Hook, Occasion
from iscsim.faults.rule import FaultRule
from iscsim.net.network import Address
from iscsim.pdu import (
    PDU,
    RESERVED_TAG,
    AsyncMessage,
    LoginRequest,
    LoginResponse,
    LogoutResponse,
    NOPIn,
    Reject,
    SCSICommand,
    SCSIDataIn,
    SCSIResponse,
    Stage,
    TaskManagementResponse,
    TextResponse,
)
from iscsim.session.connection import Phase
from iscsim.session.names import format_portal
from iscsim.session.numbering import serial_add
from iscsim.target.connection import TargetConnection

__all__ = ["FaultTap", "FaultTaps", "uses_stat_sn"]

_STAGES: dict[int, str] = {stage: stage.name for stage in Stage}
_MOST_COMMANDS = 4096
"""Commands whose CDB a tap remembers; a command that is aborted never says that it has ended."""


class FaultTaps:
    """What `TargetServer` takes as ``taps``: a tap for each connection, once a rule waits for PDUs.

    Connections that are there already get theirs when the first such rule is armed, and lose it with the
    last. ``host_of`` gives the name of the host with an IP address, or an empty text.
    """

    def __init__(self, engine: FaultEngine, host_of: Callable[[str], str] = lambda address: "") -> None:
        self._engine = engine
        self._host_of = host_of
        self._connections: weakref.WeakKeyDictionary[TargetConnection, FaultTap] = weakref.WeakKeyDictionary()
        engine.listeners.append(self._rule_added)
        engine.removal_listeners.append(self._rule_removed)

    def __call__(self, connection: TargetConnection, peer: Address) -> FaultTap | None:
        """The tap of a new connection, None while there is nothing for it to do."""
        tap = FaultTap(self._engine, connection, peer, self._host_of(peer[0]))
        self._connections[connection] = tap
        return tap if self._expected() else None

    def _expected(self) -> bool:
        return self._engine.expects(Hook.RECEIVE) or self._engine.expects(Hook.SEND)

    def _rule_added(self, rule: FaultRule) -> None:
        if self._expected():
            for connection, tap in list(self._connections.items()):
                if connection.tap is None and not connection.closing:
                    connection.use_tap(tap)

    def _rule_removed(self, rule: FaultRule) -> None:
        if not self._expected():
            for connection, tap in list(self._connections.items()):
                if connection.tap is tap and tap.is_idle and not connection.closing:
                    connection.use_tap(None)


class FaultTap:
    """The tap of one connection of a target.

    ``initiator`` and ``target`` are the names its login told, ``last_login`` is its last Login Request,
    ``kept`` what actions remember of this connection. A ``silent`` one sends nothing any more.
    """

    def __init__(self, engine: FaultEngine, connection: TargetConnection, peer: Address, host: str) -> None:
        self._engine = engine
        self._connection = weakref.ref(connection)  # which refers to its tap
        self.portal = format_portal(connection.local_address, connection.portal.port)
        self.initiator_address = format_portal(*peer)
        self.host, self.number = host, next(engine.connection_numbers)
        self.initiator = self.target = ""
        self.last_login: LoginRequest | None = None
        self.silent = False
        self.kept: dict[FaultRule, Any] = {}
        self._commands: dict[int, SCSICommand] = {}
        self._late: list[tuple[float, int, str, Callable[[], None]]] = []
        self._late_count = 0
        self._overtaken: list[SCSIResponse | SCSIDataIn] = []

    @property
    def connection(self) -> TargetConnection:
        """The connection it is the tap of."""
        connection = self._connection()
        assert connection is not None  # it is the one that calls us
        return connection

    @property
    def is_idle(self) -> bool:
        """Whether nothing of an earlier fault is under way."""
        return not (self.silent or self._late or self._overtaken)

    # -- the seam ----------------------------------------------------------------------------------

    def incoming(self, pdu: PDU) -> list[PDU]:
        """See `iscsim.session.connection.Tap`."""
        phase = self.connection.phase
        if isinstance(pdu, LoginRequest) is not (phase is Phase.LOGIN) or phase is Phase.LOGGED_OUT:
            return [pdu]  # out of place: the target says so, and has no session yet to do anything else
        self._learn(pdu)
        return self._through(Hook.RECEIVE, pdu)

    def outgoing(self, pdu: PDU) -> list[PDU]:
        """See `iscsim.session.connection.Tap`."""
        if self.silent:
            return []
        found = self._through(Hook.SEND, pdu)
        if isinstance(pdu, SCSIResponse) or (isinstance(pdu, SCSIDataIn) and pdu.status_present):
            self._commands.pop(pdu.initiator_task_tag, None)
        return self._overtake(found) if self._overtaken else found

    def _through(self, hook: Hook, pdu: PDU) -> list[PDU]:
        pdus = [pdu]
        if not self._engine.expects(hook):
            return pdus
        for rule in self._engine.firing(self._occasion(hook, pdu)):
            self.connection.comment(rule.comment, received=hook is Hook.RECEIVE)
            # what an earlier rule has made of it is not what this one befalls
            pdus = [
                each
                for one in pdus
                for each in (rule.kind.action(rule, self, one) if type(one) is type(pdu) else [one])
            ]
        return pdus

    def _learn(self, pdu: PDU) -> None:
        if isinstance(pdu, LoginRequest):
            self.last_login = pdu
            keys = dict(split_pairs(pdu.data))
            self.initiator = self.initiator or keys.get("InitiatorName", "")
            self.target = self.target or keys.get("TargetName", "")
        elif isinstance(pdu, SCSICommand):
            if len(self._commands) >= _MOST_COMMANDS:
                self._commands.pop(next(iter(self._commands)))
            self._commands[pdu.initiator_task_tag] = pdu

    def command_of(self, pdu: PDU) -> SCSICommand | None:
        """The SCSI command that ``pdu`` is or belongs to."""
        if isinstance(pdu, SCSICommand):
            return pdu
        return self._commands.get(getattr(pdu, "initiator_task_tag", -1))

    def _occasion(self, hook: Hook, pdu: PDU) -> Occasion:
        command = self.command_of(pdu)
        stage = pdu.current_stage if isinstance(pdu, LoginRequest | LoginResponse) else Stage.FULL_FEATURE
        return Occasion(
            hook=hook,
            now=self.connection.now,
            portal=self.portal,
            initiator_address=self.initiator_address,
            host=self.host,
            initiator=self.initiator,
            target=self.target,
            opcode=type(pdu).__name__,
            stage=_STAGES.get(stage, ""),
            lun=command.lun if command is not None else getattr(pdu, "lun", None),
            cdb=command.cdb if command is not None else b"",
            connection=self.number,
            length=48 + len(pdu.data),
            subject=pdu,
            seam=self,
        )

    # -- what actions use --------------------------------------------------------------------------

    def later(self, seconds: float, rule: FaultRule, do: Callable[[], None]) -> None:
        """Call ``do`` in so many seconds; what it sends shows the comment of ``rule`` too."""
        self._late_count += 1
        heapq.heappush(self._late, (self.connection.now + seconds, self._late_count, rule.comment, do))
        self.connection.set_timer(self._release, self._late[0][0])

    def _release(self) -> None:
        connection = self.connection
        while self._late and self._late[0][0] <= connection.now and not connection.closing:
            _, _, comment, do = heapq.heappop(self._late)
            connection.comment(comment)
            do()
        if self._late and not connection.closing:
            connection.set_timer(self._release, self._late[0][0])

    def send_later(self, seconds: float, rule: FaultRule, pdu: PDU) -> None:
        """Send ``pdu`` past this tap in so many seconds."""
        self.later(seconds, rule, lambda: self.connection.put(pdu))

    def handle_later(self, seconds: float, rule: FaultRule, pdu: PDU) -> None:
        """Let the target have ``pdu`` past this tap in so many seconds."""
        self.later(seconds, rule, lambda: self.connection.take_late(pdu))

    def skip(self, pdu: Any) -> None:
        """Let a request that is swallowed use its CmdSN up, or the target would wait for it for ever."""
        connection = self.connection
        if not pdu.immediate and connection.take_turn(pdu):
            connection.session.window.give_back()
            connection.release_held()

    def keep_waiting(self) -> None:
        """A target that hangs in a login does not look at its clock either."""
        self.connection.cancel_timer(self.connection._login_timed_out)

    def fall_silent(self) -> None:
        """Send nothing any more, and let the initiator find out."""
        self.silent = True
        self.keep_waiting()

    def overtake(self, pdu: SCSIResponse | SCSIDataIn, seconds: float, rule: FaultRule) -> None:
        """Let the next PDU that carries status go before ``pdu``, or nothing if none does in time."""
        self._overtaken.append(pdu)
        self.later(seconds, rule, lambda: self._give_way(pdu))

    def _give_way(self, pdu: PDU) -> None:
        if any(each is pdu for each in self._overtaken):
            self._overtaken = [each for each in self._overtaken if each is not pdu]
            self.connection.put(pdu)

    def _overtake(self, pdus: Iterable[PDU]) -> list[PDU]:
        """StatSN counts what is sent in its order: who goes first gets the number of the one that waits."""
        found: list[PDU] = []
        for pdu in pdus:
            if self._overtaken and uses_stat_sn(pdu) and all(pdu is not each for each in self._overtaken):
                waiting, self._overtaken = self._overtaken, []
                everybody: list[Any] = [pdu, *waiting]
                first = waiting[0].stat_sn
                for step, each in enumerate(everybody):
                    each.stat_sn = serial_add(first, step)
                found += everybody
            else:
                found.append(pdu)
        return found


def uses_stat_sn(pdu: PDU) -> bool:
    """Whether ``pdu`` uses a StatSN up (RFC 7143 section 4.2.2.2)."""
    if isinstance(pdu, SCSIDataIn):
        return pdu.status_present
    if isinstance(pdu, NOPIn):
        return pdu.initiator_task_tag != RESERVED_TAG
    return isinstance(pdu, _WITH_STATUS)


_WITH_STATUS = (SCSIResponse, TaskManagementResponse, TextResponse, LogoutResponse, AsyncMessage, Reject)
