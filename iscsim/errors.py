"""Every error iscsim raises on purpose.

ISCSIError
    ProtocolError                 a rule of RFC 7143 was broken on a connection
        LocalProtocolError        our own caller asked for what the RFC forbids
        RemoteProtocolError       the peer did it
            FormatError           RFC 7143 section 7.7: the PDU cannot be trusted, the connection ends
            DigestError           RFC 7143 section 7.8: CRC32C of header or data does not match
            SequenceError         RFC 7143 section 7.9: a number is out of order
            NegotiationError      RFC 7143 section 7.12: text or login negotiation failed
    LoginFailed                   the target answered a login with a status class other than 0
    ConnectionFailed              the TCP connection could not be made, or was lost
    SessionFailed                 the session is gone with every connection it had
    SCSIError
        CheckCondition            raised by command handlers, answered as CHECK CONDITION in one place
        CommandFailed             seen by an initiator: a command ended with a status other than GOOD
FaultError                        an armed fault never fired, or one was armed that cannot
Deadlock                          on a virtual loop nothing can happen any more; says who waits for what
ConfigError                       an option, a file or a name the user gave is wrong (exit code 2)
"""

from __future__ import annotations


class ISCSIError(Exception):
    """The root of what can go wrong on the wire."""


class ProtocolError(ISCSIError):
    """A rule of RFC 7143 was broken. ``section`` names it, as in ``"6.2"``."""

    def __init__(self, message: str, section: str = "") -> None:
        super().__init__(f"{message} (RFC 7143 section {section})" if section else message)
        self.section = section


class LocalProtocolError(ProtocolError):
    """Our caller asked for something the RFC forbids; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The peer broke a rule."""


class FormatError(RemoteProtocolError):
    """The PDU's own fields contradict each other or our limits (RFC 7143 section 7.7)."""


class DigestError(RemoteProtocolError):
    """A CRC32C digest does not match (RFC 7143 section 7.8). ``part`` is ``"header"`` or ``"data"``."""

    def __init__(self, message: str, part: str) -> None:
        super().__init__(message, "7.8")
        self.part = part


class SequenceError(RemoteProtocolError):
    """DataSN, R2TSN, StatSN or a buffer offset is not the next one (RFC 7143 section 7.9)."""


class NegotiationError(RemoteProtocolError):
    """A negotiation failed (RFC 7143 section 7.12); a target answers with this status.

    ``status_class`` and ``status_detail`` are those of RFC 7143 section 11.13.5.
    """

    def __init__(
        self, message: str, section: str = "6.2", status_class: int = 0x02, status_detail: int = 0x00
    ) -> None:
        super().__init__(message, section)
        self.status_class = status_class
        self.status_detail = status_detail


class LoginFailed(ISCSIError):
    """The target refused a login (RFC 7143 section 11.13.5)."""

    def __init__(self, message: str, status_class: int, status_detail: int) -> None:
        super().__init__(message)
        self.status_class = status_class
        self.status_detail = status_detail

    @property
    def status(self) -> int:
        """Class and detail as one number, as in ``0x0201``."""
        return self.status_class << 8 | self.status_detail


class ConnectionFailed(ISCSIError):
    """No TCP connection, or the one there was is lost."""


class SessionFailed(ISCSIError):
    """The session cannot be used any more; the message says why."""


class SCSIError(ISCSIError):
    """A SCSI command did not end well."""


class ConfigError(Exception):
    """Something the user wrote is wrong; the message is one line that says what."""


class FaultError(Exception):
    """Faults that were armed have not fired; the message says which, and what came closest."""


class Deadlock(RuntimeError):
    """Virtual time cannot go on: no timer is set, and everybody waits. The message says who for what."""
