"""What a target says unasked: Asynchronous Messages and Rejects (RFC 7143 sections 11.9 and 11.17)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iscsim.errors import FormatError, RemoteProtocolError
from iscsim.initiator.events import AsyncMessageReceived
from iscsim.initiator.task import CommandTask, Logout, Management, Ping, Request, TextNegotiation
from iscsim.pdu import (
    BASIC_HEADER_LENGTH,
    NO_LUN,
    PDU,
    RESERVED_TAG,
    AsyncEvent,
    AsyncMessage,
    LogoutRequest,
    NOPOut,
    Reject,
    RejectReason,
    SCSICommand,
    SCSIResponse,
    TaskManagementRequest,
    TextRequest,
)
from iscsim.pdu.wire import decode_header
from iscsim.session.connection import Phase
from iscsim.session.events import PDURejected
from iscsim.session.numbering import serial_less

if TYPE_CHECKING:
    from iscsim.initiator.connection import InitiatorConnection

_REQUESTS = (SCSICommand, TaskManagementRequest, TextRequest, LogoutRequest, NOPOut)


class NoticeService:
    """Takes the notices of one connection and does what they ask for."""

    def __init__(self, connection: InitiatorConnection) -> None:
        self._connection = connection
        self._logging_out = False
        self._negotiation: TextNegotiation | None = None

    # -- Asynchronous Messages ---------------------------------------------------------------------

    def receive_async_message(self, pdu: AsyncMessage) -> None:
        """Tell of it, and do what RFC 7143 section 11.9.1 asks for."""
        connection = self._connection
        connection.take_numbers(pdu)
        sense = SCSIResponse(data=pdu.data).sense if pdu.async_event == AsyncEvent.SCSI_EVENT else b""
        connection.tell(
            AsyncMessageReceived(
                pdu.async_event,
                pdu.lun,
                pdu.async_vcode,
                pdu.parameter_1,
                pdu.parameter_2,
                pdu.parameter_3,
                sense,
            )
        )
        match pdu.async_event:
            case AsyncEvent.LOGOUT_REQUESTED:
                self.log_out_within(pdu.parameter_3)
            case AsyncEvent.CONNECTION_DROPPED | AsyncEvent.ALL_CONNECTIONS_DROPPED:
                connection.time2wait = pdu.parameter_2
                connection.end(f"the target drops the connection (asynchronous event {pdu.async_event})")
            case AsyncEvent.NEGOTIATION_REQUESTED if self._negotiation is None:
                self._negotiate()  # a target may ask again and again: one at a time
            case AsyncEvent.ALL_TASKS_TERMINATED:
                self._acknowledge(pdu.lun)

    def _negotiate(self) -> None:
        self._negotiation = TextNegotiation([])
        self._negotiation.done = self._negotiated
        self._connection.text.begin(self._negotiation)

    def _negotiated(self, negotiation: TextNegotiation) -> None:
        self._negotiation = None

    def log_out_within(self, time_s: float) -> None:
        """No more commands; log out when those under way have ended, in half of ``time_s`` at the latest."""
        connection = self._connection
        if not connection.draining:
            connection.draining = "the target asks for a logout"
            connection.set_timer(self._log_out, connection.now + time_s / 2)
            connection.commands.fail_queue(connection.session_failed(connection.draining))
            self.look_for_the_end()

    def look_for_the_end(self) -> None:
        """Log out if that is what we wait for and nothing is under way any more."""
        connection = self._connection
        if self._log_out in connection._deadlines and not connection.commands.tasks:
            self._log_out()

    def _log_out(self) -> None:
        connection = self._connection
        connection.cancel_timer(self._log_out)
        if not self._logging_out:
            self._logging_out = True
            connection.logout(Logout())

    def _acknowledge(self, lun: bytes) -> None:
        """Event 5 is answered by a NOP-Out that is no ping, with the LUN of the message."""
        connection = self._connection
        connection.send(
            NOPOut(
                immediate=True,
                lun=lun,
                cmd_sn=connection.numbers.cmd_sn,
                exp_stat_sn=connection.exp_stat_sn,
            )
        )

    # -- Rejects -----------------------------------------------------------------------------------

    def receive_reject(self, pdu: Reject) -> None:
        """A PDU of ours was not accepted: end what will never be answered (RFC 7143 section 7.3)."""
        connection = self._connection
        message = f"Reject with reason {pdu.reason:#04x}{_reason_text(pdu.reason)}"
        connection.tell(PDURejected(pdu.reason, message))
        if connection.phase is Phase.LOGIN:
            raise RemoteProtocolError(f"{message} during login", "6.3")
        connection.take_numbers(pdu)
        if pdu.reason == RejectReason.NEGOTIATION_RESET:
            # RFC 7143 section 11.17.1: taken as a negotiation failure, which ends the connection
            raise RemoteProtocolError(message, "11.17.1")
        bad = _bad_pdu(pdu)
        if bad is not None:
            self._end_request(bad, message)
        if pdu.reason == RejectReason.WAITING_FOR_LOGOUT and not connection.closing:
            self.log_out_within(0)

    def _end_request(self, bad: PDU, message: str) -> None:
        connection = self._connection
        if not isinstance(bad, _REQUESTS):
            return  # Data-Out and SNACK: the command is answered some time (RFC 7143 section 7.3)
        tag = bad.initiator_task_tag
        request: Request | None = connection.commands.tasks.get(tag) or connection.requests.get(tag)
        if isinstance(request, CommandTask) and isinstance(bad, SCSICommand):
            if not request.immediate:
                self._plug(request.cmd_sn)
            connection.commands.rejected(request, message)
        elif isinstance(request, (Management, TextNegotiation, Ping)):
            connection.unregister(request)
            request.error = RemoteProtocolError(f"{request.name}: {message}", "11.17")
            if isinstance(request, TextNegotiation):
                connection.text.rejected(request)
            else:
                request.done(request)
        elif isinstance(request, Logout):
            connection.end(f"Logout Request: {message}")

    def _plug(self, cmd_sn: int) -> None:
        """Fill the gap a rejected command leaves in CmdSN, or the target waits for it for ever.

        RFC 7143 section 7.3. Only when ExpCmdSN says that the target does wait.
        """
        connection = self._connection
        if serial_less(cmd_sn, connection.numbers.exp_cmd_sn):
            return
        ping = Ping()
        connection.register(ping, timed=False)
        connection.send(
            NOPOut(
                lun=NO_LUN,
                initiator_task_tag=ping.initiator_task_tag,
                target_transfer_tag=RESERVED_TAG,
                cmd_sn=cmd_sn,
                exp_stat_sn=connection.exp_stat_sn,
            )
        )


def _bad_pdu(pdu: Reject) -> PDU | None:
    """The rejected PDU as far as the Reject shows it (RFC 7143 section 11.17.4)."""
    if len(pdu.data) < BASIC_HEADER_LENGTH:
        return None
    try:
        return decode_header(pdu.data)
    except FormatError:
        return None


def _reason_text(reason: int) -> str:
    try:
        return f" ({RejectReason(reason).name.lower().replace('_', ' ')})"
    except ValueError:
        return ""
