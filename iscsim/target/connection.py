"""The target's end of a connection: dispatch, command order, ping and logout."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from iscsim.errors import NegotiationError, RemoteProtocolError
from iscsim.pdu import (
    PDU,
    RESERVED_TAG,
    LoginRequest,
    LogoutReason,
    LogoutRequest,
    LogoutResponse,
    LogoutResponseCode,
    NOPIn,
    NOPOut,
    RawPDU,
    Reject,
    RejectReason,
    SCSICommand,
    SCSIDataOut,
    SNACKRequest,
    TaskManagementRequest,
    TextRequest,
)
from iscsim.session.chap import Randomness
from iscsim.session.connection import FULL_FEATURE, LOGIN, Connection, Phase, Tap
from iscsim.session.events import PDURejected
from iscsim.session.framer import DamagedPDU
from iscsim.session.numbering import SERIAL_MASK
from iscsim.target.abort import acknowledged
from iscsim.target.commands import CommandService
from iscsim.target.held import Request
from iscsim.target.login import LoginService
from iscsim.target.notices import NoticeService
from iscsim.target.rejection import RequestRejected
from iscsim.target.task_management import manage
from iscsim.target.text import TextService

if TYPE_CHECKING:
    from iscsim.target.node import NetworkEntity, Portal
    from iscsim.target.session import TargetSession

_DISCOVERY = frozenset({Phase.DISCOVERY})
_LEAVING = frozenset({Phase.LOGOUT_REQUESTED})
_WORKING = FULL_FEATURE | _LEAVING
_ANY_SESSION = _WORKING | _DISCOVERY
_MAX_IMMEDIATE = 32
"""Immediate requests taken from one piece of the stream; what they are answered has no other bound.

RFC 7143 section 4.2.2.1 asks for two at least.
"""
_MAX_PINGS = 16
"""Pings whose answer is still known as one."""


def _in_sequence(handler: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Let a request through when its CmdSN is next, or at once when it is immediate.

    Such a request completes within its handler, so its place in the window is free again at once.
    """

    def receive(connection: TargetConnection, pdu: Request) -> None:
        window = connection.session.window
        if pdu.immediate:
            if not connection.admits_immediate(pdu):
                return
        elif connection.take_turn(pdu):
            window.give_back()
        else:
            return
        try:
            if pdu.initiator_task_tag == RESERVED_TAG and not isinstance(pdu, NOPOut):
                message = f"{type(pdu).__name__} with the reserved task tag"
                raise RequestRejected(RejectReason.INVALID_PDU_FIELD, message)
            handler(connection, pdu)
        except RequestRejected as rejection:
            if not pdu.immediate:
                window.take_back()
                window.untake()
            connection.reject(pdu, rejection.reason, str(rejection))
        else:
            connection.release_held()

    return receive


class TargetConnection(Connection):
    """A target's connection, sans I/O.

    ``local_address`` is where the initiator came to: shown for wildcard portals. ``rng`` gives CHAP
    challenges and session handles: ``secrets.SystemRandom()``, or a seeded one in simulation only.
    """

    session: TargetSession

    def __init__(
        self,
        entity: NetworkEntity,
        portal: Portal,
        *,
        rng: Randomness,
        now: float,
        local_address: str = "127.0.0.1",
    ) -> None:
        super().__init__()
        self.entity = entity
        self.portal = portal
        self.local_address = local_address
        self.rng = rng
        self.now = now
        self.most_owed = entity.policy.read_room
        self.cid = 0
        self.stat_sn = rng.getrandbits(31)
        self._last_receipt = now
        self._ping_tag = 0
        self._pings: deque[int] = deque(maxlen=_MAX_PINGS)
        self.login = LoginService(self)
        self.commands = CommandService(self)
        self.text = TextService(self)
        self.notices = NoticeService(self)
        if entity.policy.login_timeout_s:
            self.set_timer(self._login_timed_out, now + entity.policy.login_timeout_s)

    # -- numbers -----------------------------------------------------------------------------------

    def numbers(self) -> dict[str, Any]:
        """StatSN, ExpCmdSN and MaxCmdSN as a response with status carries them; StatSN moves on."""
        numbers = self.numbers_without_status()
        self.stat_sn = (self.stat_sn + 1) & SERIAL_MASK
        return numbers

    def numbers_without_status(self) -> dict[str, Any]:
        """The same for R2T and pings, which do not use StatSN up (RFC 7143 section 4.2.2.2)."""
        window = self.session.window
        return {"stat_sn": self.stat_sn, "exp_cmd_sn": window.exp_cmd_sn, "max_cmd_sn": window.max_cmd_sn}

    def take_turn(self, pdu: Request) -> bool:
        """Whether the turn of this non-immediate request has come; if not it is held or ignored.

        RFC 7143 section 4.2.2.1: what lies outside ExpCmdSN to MaxCmdSN, or came before, is silently
        ignored.
        """
        if not self.may_come(pdu.cmd_sn):
            return False
        window = self.session.window
        if pdu.cmd_sn == window.exp_cmd_sn:
            window.take()
            return True
        self.session.held.hold(pdu)
        return False

    def may_come(self, cmd_sn: int) -> bool:
        """Whether ``cmd_sn`` is one this piece of the stream may use: ExpCmdSN to the MaxCmdSN of before."""
        exp_cmd_sn = self.session.window.exp_cmd_sn
        return (cmd_sn - exp_cmd_sn) & SERIAL_MASK < (self._first_beyond - exp_cmd_sn) & SERIAL_MASK

    def is_ahead(self, pdu: Request) -> bool:
        """Whether requests before this immediate one have not come yet."""
        return self.session.window.exp_cmd_sn != pdu.cmd_sn and self.may_come((pdu.cmd_sn - 1) & SERIAL_MASK)

    def admits_immediate(self, pdu: Request) -> bool:
        """Whether one more immediate request is taken now; if not it is rejected."""
        self._immediate_count += 1
        if self._immediate_count <= _MAX_IMMEDIATE:
            return True
        self.reject(pdu, RejectReason.IMMEDIATE_COMMAND_REJECT, "too many immediate requests at once")
        return False

    def release_held(self) -> None:
        """Handle the requests whose turn has now come, with the data that came behind them."""
        held = self.session.held
        if self._releasing or not held:
            return
        self._releasing = True
        while (
            self.owed <= self.most_owed
            and (place := held.pop(self.session.window.exp_cmd_sn, None)) is not None
        ):
            for function in place.functions:
                manage(self, function)
            if place.plugged:  # nothing to do for it (RFC 7143 section 11.6.1)
                self.session.window.take()
                self.session.window.give_back()
            elif place.request is not None:
                for pdu in (place.request, *place.data_out):
                    self._handle(pdu)
        self._releasing = False

    def receive_data(self, data: bytes | bytearray | memoryview, now: float) -> None:
        """See :meth:`Connection.receive_data`.

        What arrives in one piece was sent before our answers to it were seen: it may reach to the
        MaxCmdSN of before, no further. That bounds what one piece can make us do.
        """
        self._last_receipt = now
        self._immediate_count = 0
        if self.phase is not Phase.LOGIN:
            self._first_beyond = (self.session.window.max_cmd_sn + 1) & SERIAL_MASK
        super().receive_data(data, now)

    @property
    def has_more(self) -> bool:
        """See :meth:`Connection.has_more`: tasks that wait until less is owed count too."""
        return self._rest is not None or bool(self.commands.ready)

    def go_on(self, now: float) -> None:
        """See :meth:`Connection.go_on`: the requests whose turn had come, then what came behind them."""
        self.now = now
        try:
            if not self.closing:
                self.commands.start_ready()
                self.release_held()
        except RemoteProtocolError as error:
            self.fail(error)
        if self.owed <= self.most_owed:
            super().go_on(now)

    def use_tap(self, tap: Tap | None) -> None:
        """See :meth:`Connection.use_tap`: the quick path must not pass the tap by."""
        super().use_tap(tap)
        if self.phase is not Phase.LOGIN:
            self.commands.update_limits()

    _first_beyond = -1
    _immediate_count = 0
    _releasing = False
    _ending_node = ""

    # -- login and the end of things ---------------------------------------------------------------

    def _receive_login(self, pdu: LoginRequest) -> None:
        self.login.receive(pdu)

    def begin_session(self, session: TargetSession, cid: int) -> None:
        """The login is through: digests and limits now hold (RFC 7143 section 6.3)."""
        self.session, self.cid = session, cid
        parameters = session.parameters
        self.cancel_timer(self._login_timed_out)
        self.framer.max_data_segment_length = parameters.max_recv_data_segment_length
        self.framer.header_digest, self.framer.data_digest = parameters.header_digest, parameters.data_digest
        self.send_header_digest, self.send_data_digest = parameters.header_digest, parameters.data_digest
        self.commands.begin(session)
        self._first_beyond = (session.window.max_cmd_sn + 1) & SERIAL_MASK
        self._enter(Phase.DISCOVERY if session.is_discovery else Phase.FULL_FEATURE)
        policy = self.entity.policy
        if session.is_discovery:
            if policy.nop_in_interval_s and policy.nop_in_timeout_s:
                self._end_if_silent()
        elif policy.nop_in_interval_s:
            self.set_timer(self._look_for_silence, self.now + policy.nop_in_interval_s)

    def _login_timed_out(self) -> None:
        self.end(f"no login within {self.entity.policy.login_timeout_s:g} s")

    def end_node_after_answer(self, message: str) -> None:
        """End every session of this node once the answer being made has its place in the queue."""
        self._ending_node = message

    def end_node_if_asked(self) -> None:
        """That answer has its place now."""
        if self._ending_node and self.session.node is not None:
            for session in list(self.session.node.sessions):
                session.end(self._ending_node)

    def connection_lost(self) -> None:
        """The TCP connection is gone: with its only connection a session at level 0 is gone too."""
        cut = self.framer.pending_length
        self.end(f"the connection was lost {cut} bytes into a PDU" if cut else "")
        if self.phase is not Phase.LOGIN:
            self.session.lose(self)

    def fail(self, error: RemoteProtocolError) -> None:
        """End the connection for a broken rule; during login the initiator is told first."""
        if self.phase is Phase.LOGIN:
            self.login.refuse(error)
        self.end(str(error))
        if self.phase is not Phase.LOGIN:
            self.session.lose(self, str(error))

    def reject(self, pdu: PDU, reason: RejectReason, message: str) -> None:
        """Answer ``pdu`` with a Reject that carries its header (RFC 7143 section 11.17)."""
        header = pdu.header()[:48]
        self.send(Reject(reason=reason, data=header, **self.numbers()))
        self._events.append(PDURejected(reason, message))

    def _receive_illegal(self, pdu: PDU) -> None:
        if isinstance(pdu, DamagedPDU):
            self._receive_damaged(pdu)
        elif self.phase is Phase.LOGIN:
            # RFC 7143 section 6.3: nothing but Login Requests; section 11.13.5 names the status
            raise NegotiationError(f"{type(pdu).__name__} during login", "11.13.5", 0x02, 0x0B)
        elif isinstance(pdu, SCSICommand | TextRequest) and self.phase is Phase.LOGOUT_REQUESTED:
            self._receive_too_late(pdu)
        elif isinstance(pdu, RawPDU):
            self.reject(pdu, RejectReason.COMMAND_NOT_SUPPORTED, f"unknown opcode {pdu.wire[0] & 0x3F:#04x}")
        else:
            self.reject(pdu, RejectReason.PROTOCOL_ERROR, f"{type(pdu).__name__} in phase {self.phase.name}")

    def await_logout(self) -> None:
        """The initiator was asked to log out: what is new from now on is rejected."""
        self._enter(Phase.LOGOUT_REQUESTED)

    def _receive_too_late(self, pdu: SCSICommand | TextRequest) -> None:
        # RFC 7143 section 11.9.1; a CmdSN outside the window is ignored here too
        if pdu.immediate or self.may_come(pdu.cmd_sn):
            message = f"{type(pdu).__name__} after a logout was asked for"
            self.reject(pdu, RejectReason.WAITING_FOR_LOGOUT, message)

    def _receive_damaged(self, damaged: DamagedPDU) -> None:
        # RFC 7143 section 7.8: reject, and let a write that lost its data fail at its end
        pdu = damaged.header_pdu
        self.reject(
            pdu, RejectReason.DATA_DIGEST_ERROR, f"data digest of {type(pdu).__name__} does not match"
        )
        if isinstance(pdu, SCSIDataOut):
            self.commands.lose_data_out(pdu)

    # -- ping and logout ---------------------------------------------------------------------------

    def _receive_nop_out(self, pdu: NOPOut) -> None:
        if pdu.initiator_task_tag == RESERVED_TAG:
            acknowledged(self, pdu)
            self._receive_ping_answer(pdu)
            return
        data = pdu.data[: self.session.parameters.max_send_data_segment_length]
        self.send(
            NOPIn(lun=pdu.lun, initiator_task_tag=pdu.initiator_task_tag, data=bytes(data), **self.numbers())
        )

    def _receive_ping_answer(self, pdu: NOPOut) -> None:
        """A NOP-Out nobody answers: an answer to a ping of ours, or just numbers (RFC 7143 section 11.18)."""
        if not pdu.immediate:
            raise RequestRejected(RejectReason.INVALID_PDU_FIELD, "NOP-Out without a task tag, not immediate")
        if pdu.target_transfer_tag == RESERVED_TAG:
            return
        if pdu.target_transfer_tag not in self._pings:
            message = f"NOP-Out for unknown transfer tag {pdu.target_transfer_tag:#x}"
            raise RequestRejected(RejectReason.INVALID_PDU_FIELD, message)
        self._pings.remove(pdu.target_transfer_tag)
        self.cancel_timer(self._ping_unanswered)

    def _look_for_silence(self) -> None:
        policy = self.entity.policy
        due = self._last_receipt + policy.nop_in_interval_s
        if due <= self.now:
            self.ping()
            due = self.now + policy.nop_in_interval_s
        self.set_timer(self._look_for_silence, due)

    def _end_if_silent(self) -> None:
        # RFC 7143 section 7.4.3: a discovery session is sent nothing but answers, not even pings
        silence_s = self.entity.policy.nop_in_interval_s + self.entity.policy.nop_in_timeout_s
        due = self._last_receipt + silence_s
        if due > self.now:
            self.set_timer(self._end_if_silent, due)
            return
        message = f"a discovery session without a request for {silence_s:g} s (RFC 7143 section 7.4.3)"
        self.end(message)
        self.session.lose(self, message)

    def ping(self) -> None:
        """Send the target's own ping; without an answer in time the connection ends."""
        self._ping_tag = self._ping_tag % 0xFFFF + 1
        self._pings.append(self._ping_tag)
        self.send(NOPIn(target_transfer_tag=self._ping_tag, **self.numbers_without_status()))
        if self.entity.policy.nop_in_timeout_s and self._ping_unanswered not in self._deadlines:
            self.set_timer(self._ping_unanswered, self.now + self.entity.policy.nop_in_timeout_s)

    def _ping_unanswered(self) -> None:
        message = f"no answer to a ping within {self.entity.policy.nop_in_timeout_s:g} s"
        self.end(message)
        self.session.lose(self, message)

    def _receive_logout(self, pdu: LogoutRequest) -> None:
        response = self._logout_response(pdu)
        numbers = self.numbers()
        self.send(
            LogoutResponse(
                response=response,
                initiator_task_tag=pdu.initiator_task_tag,
                time2wait=self.session.parameters.default_time2wait if response == 0 else 0,
                time2retain=0,  # nothing is retained at ErrorRecoveryLevel 0
                **numbers,
            )
        )
        if response == LogoutResponseCode.SUCCESS:
            self._enter(Phase.LOGGED_OUT)
            self.end()
            self.session.lose(self)

    def _logout_response(self, pdu: LogoutRequest) -> LogoutResponseCode:
        # RFC 7143 sections 11.14 and 11.15.1
        if self.session.is_discovery and pdu.reason != LogoutReason.CLOSE_SESSION:
            # RFC 7143 section 4.3
            raise RequestRejected(
                RejectReason.PROTOCOL_ERROR, f"logout reason {pdu.reason} in a discovery session"
            )
        if pdu.reason == LogoutReason.CLOSE_SESSION:
            return LogoutResponseCode.SUCCESS
        if pdu.reason == LogoutReason.CLOSE_CONNECTION:
            known = pdu.cid in self.session.connections
            return LogoutResponseCode.SUCCESS if known else LogoutResponseCode.CID_NOT_FOUND
        if pdu.reason == LogoutReason.REMOVE_CONNECTION_FOR_RECOVERY:
            return LogoutResponseCode.RECOVERY_NOT_SUPPORTED
        raise RemoteProtocolError(f"logout reason {pdu.reason}", "11.14.1")

    # -- the rest goes to its room -----------------------------------------------------------------

    def _receive_command(self, pdu: SCSICommand) -> None:
        self.commands.receive(pdu)

    def _receive_data_out(self, pdu: SCSIDataOut) -> None:
        self.commands.receive_data_out(pdu)

    def _receive_task_management(self, pdu: TaskManagementRequest) -> None:
        manage(self, pdu)

    def _receive_text(self, pdu: TextRequest) -> None:
        self.text.receive(pdu)

    def _receive_snack(self, pdu: SNACKRequest) -> None:
        self.reject(pdu, RejectReason.COMMAND_NOT_SUPPORTED, "SNACK at ErrorRecoveryLevel 0")

    handlers = {
        LoginRequest: (_receive_login, LOGIN),
        SCSICommand: (_receive_command, FULL_FEATURE),
        SCSIDataOut: (_receive_data_out, _WORKING),
        TaskManagementRequest: (_in_sequence(_receive_task_management), _WORKING),
        NOPOut: (_in_sequence(_receive_nop_out), _WORKING),
        SNACKRequest: (_receive_snack, _WORKING),
        TextRequest: (_in_sequence(_receive_text), FULL_FEATURE | _DISCOVERY),
        LogoutRequest: (_in_sequence(_receive_logout), _ANY_SESSION),
    }
