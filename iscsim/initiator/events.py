"""What only an initiator's connection has to tell."""

from __future__ import annotations

from dataclasses import dataclass

from iscsim.session.events import Event


@dataclass(slots=True, frozen=True)
class AsyncMessageReceived(Event):
    """The target sent an Asynchronous Message (RFC 7143 section 11.9).

    ``code`` is an ``AsyncEvent`` or a vendor's number, ``sense_data`` what a SCSI event (0) brought,
    without its length field. ``time2wait`` and ``time2retain`` are Parameter2 and Parameter3, in seconds.
    """

    code: int
    lun: bytes
    vendor_code: int
    parameter_1: int
    parameter_2: int
    parameter_3: int
    sense_data: bytes = b""
