"""The initiator's end of a connection: login, numbers, ping, task management, text, logout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from iscsim.errors import (
    ConnectionFailed,
    DigestError,
    FormatError,
    ISCSIError,
    LocalProtocolError,
    LoginFailed,
    NegotiationError,
    RemoteProtocolError,
    SequenceError,
    SessionFailed,
)
from iscsim.initiator.commands import CommandService
from iscsim.initiator.notices import NoticeService
from iscsim.initiator.task import CommandTask, Logout, Management, Ping, Request, TextNegotiation
from iscsim.initiator.text import TextService
from iscsim.pdu import (
    PDU,
    RESERVED_TAG,
    AsyncMessage,
    LoginResponse,
    LogoutReason,
    LogoutRequest,
    LogoutResponse,
    LogoutResponseCode,
    NOPIn,
    NOPOut,
    RawPDU,
    ReadyToTransfer,
    Reject,
    SCSIDataIn,
    SCSIResponse,
    TaskManagementFunction,
    TaskManagementRequest,
    TaskManagementResponse,
    TaskManagementResponseCode,
    TextResponse,
)
from iscsim.session.chap import Randomness
from iscsim.session.connection import FULL_FEATURE, LOGIN, Connection, Phase
from iscsim.session.events import Event, LoginCompleted, LoginRefused
from iscsim.session.framer import DamagedPDU
from iscsim.session.keys import SessionType
from iscsim.session.login import InitiatorLogin, LoginConfig
from iscsim.session.numbering import SERIAL_MASK, CommandNumbers
from iscsim.session.parameters import Parameters

_ANY_SESSION = FULL_FEATURE | {Phase.DISCOVERY}
_NEVER = float("inf")
# RFC 7143 section 11.15.3: what these say of Time2Wait counts; open-iscsi looks at it only then, too
_WAIT_BEFORE_LOGIN = {LogoutResponseCode.RECOVERY_NOT_SUPPORTED, LogoutResponseCode.CLEANUP_FAILED}
Kind = TypeVar("Kind", bound=Request)

# What carries StatSN, ExpCmdSN and MaxCmdSN once the login is through.
NumberedPDU = (
    SCSIResponse
    | SCSIDataIn
    | ReadyToTransfer
    | TaskManagementResponse
    | TextResponse
    | LogoutResponse
    | NOPIn
    | AsyncMessage
    | Reject
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long an initiator waits, in seconds; 0 turns the first two off.

    ``ping_interval_s`` of silence bring a NOP-Out, without an answer in ``ping_timeout_s`` the connection
    ends. ``request_s`` is for logout, text and task management; ``login_s`` for the whole login phase.
    """

    ping_interval_s: float = 5.0
    ping_timeout_s: float = 5.0
    request_s: float = 15.0
    login_s: float = 15.0


class InitiatorConnection(Connection):
    """An initiator's connection, the only one of its session, sans I/O.

    ``rng`` gives CHAP responses and the first CmdSN: ``secrets.SystemRandom()``, or a seeded one in
    simulation only. ``label`` says in messages which session this is. Call :meth:`start` first; requests
    go in by :meth:`submit`, :meth:`ping`, :meth:`manage`, :meth:`negotiate` and :meth:`logout`, and each
    ends with its own ``done``.
    """

    def __init__(
        self,
        config: LoginConfig,
        *,
        isid: bytes,
        rng: Randomness,
        now: float,
        timeouts: Timeouts = Timeouts(),
        label: str = "",
    ) -> None:
        super().__init__()
        self.now = now
        self.timeouts = timeouts
        self.label = label or config.target_name or "discovery session"
        self.parameters = Parameters()
        self.tsih = 0
        self.exp_stat_sn = 0
        first_cmd_sn = rng.getrandbits(31)
        self.numbers = CommandNumbers(first_cmd_sn)
        self.requests: dict[int, Request] = {}
        self.failure: ISCSIError | None = None
        """Why the connection has ended, if not by a logout."""
        self.negotiation_error: NegotiationError | None = None
        """What in the target's answers to our login we could not agree to."""
        self.time2wait: float = 0
        """How long the target wants us to wait before a new login, in seconds, once this one is over."""
        self.timer_set = False
        """True once a timer was set; who asks for :meth:`next_deadline` then sets it back."""
        self.plain = False
        """Whether headers may be written without digests and tap."""
        self._login = InitiatorLogin(config, rng=rng, isid=isid, cmd_sn=first_cmd_sn)
        self._session_type = config.session_type
        self._next_tag = 1
        self.sweep_at = _NEVER
        self._last_receipt = now
        self._ping: Ping | None = None  # not answered yet: no other is sent
        self.draining = ""
        """Why no more commands are taken although the connection is up."""
        self.commands = CommandService(self)
        self.text = TextService(self)
        self.notices = NoticeService(self)

    # -- requests ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Send the first Login Request."""
        if self.timeouts.login_s:
            self.set_timer(self._login_timed_out, self.now + self.timeouts.login_s)
        self.send(self._login.start())

    def submit(self, task: CommandTask) -> None:
        """Send a SCSI command, or queue it until the window opens. Set ``task.deadline`` before.

        Raises:
            SessionFailed: the session takes no more commands.
            LocalProtocolError: a length or the CDB does not fit a SCSI Command, or this is discovery.
        """
        self.commands.submit(task)

    def ping(self, request: Ping) -> None:
        """Send a NOP-Out that wants an answer (RFC 7143 section 11.18). Raises as :meth:`submit` does."""
        self.check_open()
        self.register(request)
        self._send_ping(request)

    def manage(self, request: Management) -> None:
        """Send a task management request (RFC 7143 section 11.5). Raises as :meth:`submit` does."""
        self.check_open(draining=True)
        self.register(request)
        request.cmd_sn = self.numbers.cmd_sn
        request.affected = self.commands.affected_by(request)
        task = request.task
        refers = task is not None and request.function == TaskManagementFunction.ABORT_TASK
        self.send(
            TaskManagementRequest(
                function=request.function,
                lun=request.lun,
                initiator_task_tag=request.initiator_task_tag,
                referenced_task_tag=task.initiator_task_tag if task and refers else RESERVED_TAG,
                cmd_sn=request.cmd_sn,
                exp_stat_sn=self.exp_stat_sn,
                # RFC 7143 section 11.5.5: an immediate task is named by our own CmdSN
                ref_cmd_sn=(request.cmd_sn if task.immediate else task.cmd_sn) if task and refers else 0,
            )
        )

    def negotiate(self, request: TextNegotiation) -> None:
        """Begin a text negotiation. Raises SessionFailed when the session has ended."""
        self.check_open(discovery=True)
        self.text.begin(request)

    def logout(self, request: Logout) -> None:
        """Ask to close the session; no more commands go out (RFC 7143 section 11.14).

        Raises SessionFailed when the session has ended already.
        """
        self.check_open(discovery=True, draining=True)
        self.draining = "logged out"
        self.register(request)
        self.send(
            LogoutRequest(
                reason=LogoutReason.CLOSE_SESSION,
                initiator_task_tag=request.initiator_task_tag,
                cmd_sn=self.numbers.cmd_sn,
                exp_stat_sn=self.exp_stat_sn,
            )
        )

    def check_open(self, *, discovery: bool = False, draining: bool = False) -> None:
        """Raise what forbids a new request, if anything does."""
        if self.closing or (self.draining and not draining):
            raise self.session_failed(self.draining or str(self.failure or "it was closed"))
        if self.phase is Phase.LOGIN:
            raise LocalProtocolError("a request before the login is through", "6.3")
        if self.phase is Phase.DISCOVERY and not discovery:
            # RFC 7143 section 4.3: nothing but SendTargets and logout
            raise LocalProtocolError("a discovery session takes no commands", "4.3")

    def session_failed(self, message: str) -> SessionFailed:
        """The error of what cannot be done any more."""
        return SessionFailed(f"{self.label}: {message}")

    def new_tag(self) -> int:
        """A free Initiator Task Tag, never the reserved one (RFC 7143 section 11.2.1.8)."""
        tag, tasks, requests = self._next_tag, self.commands.tasks, self.requests
        while tag == RESERVED_TAG or tag in tasks or tag in requests:
            tag = (tag + 1) & SERIAL_MASK
        self._next_tag = (tag + 1) & SERIAL_MASK
        return tag

    def register(self, request: Request, *, timed: bool = True) -> None:
        """Give ``request`` its tag, and a deadline if it has none and is ``timed``."""
        request.initiator_task_tag = tag = self.new_tag()
        self.requests[tag] = request
        if timed and request.deadline == _NEVER and self.timeouts.request_s:
            request.deadline = self.now + self.timeouts.request_s
        self.watch(request)

    def unregister(self, request: Request) -> None:
        """``request`` has its answer."""
        del self.requests[request.initiator_task_tag]

    # -- numbers -----------------------------------------------------------------------------------

    def take_numbers(self, pdu: NumberedPDU) -> None:
        """Take StatSN, which must be the next, and the command window from a PDU that uses StatSN up."""
        self.take_stat_sn(pdu)
        self.take_window(pdu)

    def take_stat_sn(self, pdu: NumberedPDU) -> None:
        """RFC 7143 section 4.2.2.2: on one TCP connection a gap can only be the target's fault."""
        if pdu.stat_sn != self.exp_stat_sn:
            raise SequenceError(
                f"{type(pdu).__name__} with StatSN {pdu.stat_sn}, expected {self.exp_stat_sn}", "7.9"
            )
        self.exp_stat_sn = (pdu.stat_sn + 1) & SERIAL_MASK

    def take_window(self, pdu: NumberedPDU) -> None:
        """Take ExpCmdSN and MaxCmdSN, and send what waited for them."""
        self.numbers.update(pdu.exp_cmd_sn, pdu.max_cmd_sn)
        if self.commands.queue:
            self.commands.release()

    # -- time --------------------------------------------------------------------------------------

    def set_timer(self, action: Callable[[], None], at: float) -> None:
        """See :meth:`Connection.set_timer`."""
        self.timer_set = True
        super().set_timer(action, at)

    def has_news(self) -> bool:
        """Whether there is something to send or to tell, or another :meth:`next_deadline`."""
        return bool(self._out or self._events or self.timer_set)

    def watch(self, request: Request) -> None:
        """See to it that ``request`` does not outlive its deadline: one timer for all of them."""
        if request.deadline < self.sweep_at:
            self.sweep_at = request.deadline
            self.set_timer(self._sweep, request.deadline)

    def _sweep(self) -> None:
        self.sweep_at = _NEVER
        for request in list(self.requests.values()):
            if request.deadline <= self.now:
                self.end(f"no answer to {request.name} in time")
                return
        commands = self.commands
        for task in [*commands.tasks.values(), *commands.queue]:
            if task.deadline <= self.now:
                commands.overdue(task)
        for request in (*self.requests.values(), *commands.tasks.values(), *commands.queue):
            self.watch(request)

    def _look_for_silence(self) -> None:
        due = self._last_receipt + self.timeouts.ping_interval_s
        if due > self.now:
            self.set_timer(self._look_for_silence, due)
            return
        if self._ping is None:
            self._ping = ping = Ping()
            ping.done = self._ping_ended
            self.register(ping, timed=False)  # a timer of its own watches it
            self._send_ping(ping)
        self.set_timer(self._ping_unanswered, self.now + self.timeouts.ping_timeout_s)

    def _ping_ended(self, ping: Ping) -> None:
        self._ping = None

    def _ping_unanswered(self) -> None:
        timeouts = self.timeouts
        if self._last_receipt + timeouts.ping_interval_s + timeouts.ping_timeout_s > self.now:
            self._look_for_silence()  # it said something since: it lives
        else:
            self.end(f"no answer to a ping within {timeouts.ping_timeout_s:g} s")

    def _login_timed_out(self) -> None:
        self.end(f"no end of the login within {self.timeouts.login_s:g} s")

    # -- receiving ---------------------------------------------------------------------------------

    def receive_data(self, data: bytes | bytearray | memoryview, now: float) -> None:
        """See :meth:`Connection.receive_data`. ``data`` may be overwritten afterwards."""
        self._last_receipt = now
        super().receive_data(data, now)

    def receive_in_room(self, length: int, now: float) -> None:
        """``length`` bytes were received into ``framer.room()``, where the rest of a data segment goes.

        What follows is as after :meth:`receive_data`.
        """
        if self.framer.fill_room(length):
            self.receive_data(b"", now)
        else:
            self._last_receipt = self.now = now

    def connection_lost(self, message: str = "the target closed the connection") -> None:
        """The TCP connection is gone; ``message`` says how."""
        self.end(message)

    def end(self, message: str = "") -> None:
        """End the connection and everything under way on it."""
        if self.closing:
            return
        if message and self.failure is None:
            failed_login = self.phase is Phase.LOGIN
            self.failure = ConnectionFailed(message) if failed_login else SessionFailed(message)
        super().end(message)
        error = self.session_failed(message or "it was closed")
        requests = [*self.requests.values(), *self.text.fail_waiting()]
        self.requests.clear()
        for request in requests:
            request.error = error
            request.done(request)
        self.commands.fail_all(error)

    def tell(self, event: Event) -> None:
        """Add to :meth:`events`."""
        self._events.append(event)

    def _receive_illegal(self, pdu: PDU) -> None:
        if isinstance(pdu, DamagedPDU):
            # RFC 7143 section 7.8: without SNACK, at level 0, the connection is dropped
            raise DigestError(f"data digest of {type(pdu.header_pdu).__name__} does not match", "data")
        if isinstance(pdu, RawPDU):
            raise FormatError(f"unknown opcode {pdu.wire[0] & 0x3F:#04x}", "11.2.1.2")
        super()._receive_illegal(pdu)

    # -- login -------------------------------------------------------------------------------------

    def _receive_login(self, pdu: LoginResponse) -> None:
        try:
            request = self._login.receive(pdu)
        except LoginFailed as error:
            self.failure = error
            self._events.append(LoginRefused(error.status, str(error)))
            self.end(str(error))
            return
        except NegotiationError as error:
            self.negotiation_error = error
            raise
        self.numbers.update(pdu.exp_cmd_sn, pdu.max_cmd_sn)
        if request is not None:
            self.send(request)
        else:
            self._begin_session()

    def _begin_session(self) -> None:
        """The login is through: digests and limits now hold (RFC 7143 section 6.3)."""
        parameters = self._login.parameters
        assert parameters is not None
        self.parameters = parameters
        self.tsih, self.exp_stat_sn = self._login.tsih, self._login.exp_stat_sn
        self.time2wait = parameters.default_time2wait
        self.cancel_timer(self._login_timed_out)
        self.framer.max_data_segment_length = parameters.max_recv_data_segment_length
        self.framer.header_digest, self.framer.data_digest = parameters.header_digest, parameters.data_digest
        self.framer.place = self.commands.place
        self.send_header_digest, self.send_data_digest = parameters.header_digest, parameters.data_digest
        self.commands.update(parameters)
        self.plain = not parameters.header_digest and self.tap is None
        if self._session_type is SessionType.DISCOVERY:
            self._enter(Phase.DISCOVERY)
        else:
            self._enter(Phase.FULL_FEATURE)
            if self.timeouts.ping_interval_s:
                self.set_timer(self._look_for_silence, self.now + self.timeouts.ping_interval_s)
        self._events.append(LoginCompleted(parameters.target_name or "", self._session_type.value))

    # -- ping --------------------------------------------------------------------------------------

    def _send_ping(self, request: Ping) -> None:
        self.send(
            NOPOut(
                immediate=True,  # a closed window must not stop it
                initiator_task_tag=request.initiator_task_tag,
                cmd_sn=self.numbers.cmd_sn,
                exp_stat_sn=self.exp_stat_sn,
                data=request.data[: self.parameters.max_send_data_segment_length],
            )
        )

    def _receive_nop_in(self, pdu: NOPIn) -> None:
        if pdu.initiator_task_tag == RESERVED_TAG:
            self.take_window(pdu)  # RFC 7143 section 11.19.2: it does not use StatSN up
            if pdu.target_transfer_tag != RESERVED_TAG:
                self._answer_ping(pdu.target_transfer_tag, pdu.lun)
            return
        if pdu.target_transfer_tag != RESERVED_TAG:
            tag = pdu.target_transfer_tag
            raise FormatError(f"the answer to a ping with Target Transfer Tag {tag:#x}", "11.19.1")
        request = self._take_request(pdu, Ping)
        request.data = bytes(pdu.data)
        if self._ping_unanswered in self._deadlines:
            self.cancel_timer(self._ping_unanswered)
            self.set_timer(self._look_for_silence, self.now + self.timeouts.ping_interval_s)
        request.done(request)

    def _answer_ping(self, transfer_tag: int, lun: bytes) -> None:
        """RFC 7143 section 11.18: tag and LUN copied, immediate, not to be answered."""
        self.send(
            NOPOut(
                immediate=True,
                lun=lun,
                target_transfer_tag=transfer_tag,
                cmd_sn=self.numbers.cmd_sn,
                exp_stat_sn=self.exp_stat_sn,
            )
        )

    def _take_request(self, pdu: NOPIn | TaskManagementResponse | LogoutResponse, kind: type[Kind]) -> Kind:
        """The request that ``pdu`` answers with the next StatSN, and which thereby has ended."""
        request = self.requests.get(pdu.initiator_task_tag)
        if not isinstance(request, kind):
            tag = pdu.initiator_task_tag
            raise RemoteProtocolError(f"{type(pdu).__name__} for unknown task tag {tag:#x}", "11.2.1.8")
        self.take_numbers(pdu)  # an answer out of turn ends the connection, and the request with it
        self.unregister(request)
        return request

    # -- task management and logout ----------------------------------------------------------------

    def _receive_task_management(self, pdu: TaskManagementResponse) -> None:
        request = self._take_request(pdu, Management)
        request.response = pdu.response
        if pdu.response == TaskManagementResponseCode.FUNCTION_COMPLETE:
            self.commands.terminated(request)
        request.done(request)
        self.notices.look_for_the_end()

    def _receive_logout(self, pdu: LogoutResponse) -> None:
        request = self._take_request(pdu, Logout)
        request.response = pdu.response
        if pdu.response in _WAIT_BEFORE_LOGIN:
            self.time2wait = pdu.time2wait
        self._enter(Phase.LOGGED_OUT)
        request.done(request)
        self.end()

    # -- the rest goes to its room -----------------------------------------------------------------

    def _receive_data_in(self, pdu: SCSIDataIn) -> None:
        self.commands.receive_data_in(pdu)

    def _receive_response(self, pdu: SCSIResponse) -> None:
        self.commands.receive_response(pdu)

    def _receive_ready_to_transfer(self, pdu: ReadyToTransfer) -> None:
        self.commands.receive_ready_to_transfer(pdu)

    def _receive_text(self, pdu: TextResponse) -> None:
        self.text.receive(pdu)

    def _receive_async_message(self, pdu: AsyncMessage) -> None:
        self.notices.receive_async_message(pdu)

    def _receive_reject(self, pdu: Reject) -> None:
        self.notices.receive_reject(pdu)

    handlers = {
        LoginResponse: (_receive_login, LOGIN),
        SCSIDataIn: (_receive_data_in, FULL_FEATURE),
        SCSIResponse: (_receive_response, FULL_FEATURE),
        ReadyToTransfer: (_receive_ready_to_transfer, FULL_FEATURE),
        TaskManagementResponse: (_receive_task_management, FULL_FEATURE),
        NOPIn: (_receive_nop_in, _ANY_SESSION),
        TextResponse: (_receive_text, _ANY_SESSION),
        LogoutResponse: (_receive_logout, _ANY_SESSION),
        AsyncMessage: (_receive_async_message, _ANY_SESSION),
        Reject: (_receive_reject, _ANY_SESSION | LOGIN),
    }
