"""How a handler says that its request is to be answered with a Reject."""

from __future__ import annotations

from iscsim.pdu import RejectReason


class RequestRejected(Exception):
    """Raised by a handler before it has done anything: one place answers (RFC 7143 section 7.3).

    ``reason`` is that of RFC 7143 section 11.17.1, ``str()`` one line for the log.
    """

    def __init__(self, reason: RejectReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
