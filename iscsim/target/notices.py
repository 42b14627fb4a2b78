"""What a target says unasked: Asynchronous Messages (RFC 7143 section 11.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iscsim.errors import LocalProtocolError
from iscsim.pdu import NO_LUN, AsyncEvent, AsyncMessage
from iscsim.session.connection import Phase

if TYPE_CHECKING:
    from iscsim.target.connection import TargetConnection

VENDOR_EVENTS = range(248, 256)
MAX_TIME_S = 0xFFFF
_KNOWN = (*(event for event in AsyncEvent if event != AsyncEvent.VENDOR_SPECIFIC), *VENDOR_EVENTS)


class NoticeService:
    """Sends the Asynchronous Messages of one connection, and sees to it that what they say is done.

    What it sends goes out at once: ``wake`` is called.
    """

    def __init__(self, connection: TargetConnection) -> None:
        self._connection = connection
        self._asked_s = 0
        self._of_session = False

    def send(
        self,
        event: int,
        *,
        lun: bytes = NO_LUN,
        vendor_code: int = 0,
        parameter_1: int = 0,
        parameter_2: int = 0,
        parameter_3: int = 0,
        sense: bytes = b"",
        data: bytes = b"",
    ) -> None:
        """Send one message and do nothing else.

        ``event`` is an ``AsyncEvent`` or one of 248 to 255, ``lun`` 8 bytes, ``sense`` sense data, ``data``
        what a vendor has to say behind it.

        Raises:
            LocalProtocolError: RFC 7143 section 11.9 does not allow that message, or not here and now.
        """
        segment = len(sense).to_bytes(2, "big") + sense + data if sense or data else b""
        self._check(event, vendor_code, sense, segment)
        connection = self._connection
        connection.send(
            AsyncMessage(
                lun=lun,
                async_event=event,
                async_vcode=vendor_code,
                parameter_1=parameter_1,
                parameter_2=parameter_2,
                parameter_3=parameter_3,
                data=segment,
                **connection.numbers(),
            )
        )
        self._wake()

    def _check(self, event: int, vendor_code: int, sense: bytes, segment: bytes) -> None:
        connection = self._connection
        if connection.closing or connection.phase not in (Phase.FULL_FEATURE, Phase.LOGOUT_REQUESTED):
            # a discovery session is sent nothing but answers
            raise LocalProtocolError(f"an Asynchronous Message in phase {connection.phase.name}", "7.4.3")
        parameters = connection.session.parameters
        if event not in _KNOWN:
            raise LocalProtocolError(f"asynchronous event {event} is not one of {_KNOWN}", "11.9.1")
        if event == AsyncEvent.ALL_TASKS_TERMINATED and parameters.task_reporting != "FastAbort":
            raise LocalProtocolError("asynchronous event 5 without FastAbort", "11.9.1")
        if vendor_code and event not in VENDOR_EVENTS:
            raise LocalProtocolError(f"asynchronous event {event} has no AsyncVCode", "11.9.2")
        if bool(sense) != (event == AsyncEvent.SCSI_EVENT):
            raise LocalProtocolError("sense data goes with asynchronous event 0, and with no other", "11.9.4")
        if len(segment) > parameters.max_send_data_segment_length:
            raise LocalProtocolError(f"{len(segment)} bytes are more than the initiator takes", "13.12")

    def _wake(self) -> None:
        if self._connection.wake is not None:
            self._connection.wake()

    def request_logout(self, time_s: int, now: float, *, of_session: bool = False) -> None:
        """Ask for a logout within ``time_s`` seconds of ``now``; without one the connection is dropped.

        Until then new commands are rejected with "waiting for logout". ``of_session`` says that then the
        whole session is dropped, not just this connection. A second request changes nothing but the time.

        Raises:
            LocalProtocolError: this is no normal session in its full feature phase, or the time is not 0 to
                65535 seconds.
        """
        if not 0 <= time_s <= MAX_TIME_S:
            raise LocalProtocolError(f"{time_s} s to log out, not 0 to {MAX_TIME_S}", "11.9")
        connection = self._connection
        connection.now = now
        self._asked_s, self._of_session = time_s, of_session
        self.send(AsyncEvent.LOGOUT_REQUESTED, parameter_3=time_s)
        connection.await_logout()
        connection.set_timer(self._overdue, now + time_s)
        self._wake()

    def _overdue(self) -> None:
        message = f"no logout within {self._asked_s} s of being asked for one (RFC 7143 section 11.9.1)"
        connection = self._connection
        if self._of_session:
            connection.session.drop(message)
        else:
            self.drop(message)

    def request_negotiation(self, time_s: int) -> None:
        """Ask for a Text Request within ``time_s`` seconds; without one the caller may ask again.

        Raises:
            LocalProtocolError: as for :meth:`send`.
        """
        self.send(AsyncEvent.NEGOTIATION_REQUESTED, parameter_3=time_s)

    def drop(self, message: str) -> None:
        """Tell that this connection is dropped, and drop it; ``message`` is for the log."""
        connection = self._connection
        self._announce(AsyncEvent.CONNECTION_DROPPED, connection.cid)
        connection.end(message)
        connection.session.lose(connection, message)
        self._wake()

    def announce_session_drop(self) -> None:
        """Tell that all connections of the session are dropped; :meth:`TargetSession.drop` does it."""
        self._announce(AsyncEvent.ALL_CONNECTIONS_DROPPED, 0)

    def _announce(self, event: AsyncEvent, parameter_1: int) -> None:
        connection = self._connection
        if connection.closing:
            return
        # Parameter3 is 0: at ErrorRecoveryLevel 0 no task waits to be reassigned
        wait_s = connection.session.parameters.default_time2wait
        self.send(event, parameter_1=parameter_1, parameter_2=wait_s)
