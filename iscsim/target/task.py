"""A command a target works on for longer than one PDU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iscsim.pdu import SCSICommand
from iscsim.scsi.asc import ASC
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.scsi.status import Status
from iscsim.session.transfer import DataOutFailure, DataOutTransfer

if TYPE_CHECKING:
    from iscsim.scsi.logical_unit import LogicalUnit
    from iscsim.target.connection import TargetConnection

# RFC 7143 section 11.4.7.2
FAILURE_CODES = {
    DataOutFailure.UNEXPECTED_UNSOLICITED_DATA: ASC.WRITE_ERROR_UNEXPECTED_UNSOLICITED_DATA,
    DataOutFailure.INCORRECT_AMOUNT_OF_DATA: ASC.WRITE_ERROR_NOT_ENOUGH_UNSOLICITED_DATA,
    DataOutFailure.DATA_SEQUENCE_ERROR: ASC.PROTOCOL_SERVICE_CRC_ERROR,
    DataOutFailure.DATA_DIGEST_ERROR: ASC.PROTOCOL_SERVICE_CRC_ERROR,
}


@dataclass(slots=True, eq=False)
class Task:
    """A command under way: its data is still coming, others go first, or its answer waits for the store.

    It stays on the connection its command came on. ``unit`` is None when its LUN is not there. A ``dormant``
    one waits in its task set. ``wanted_length`` is what the device server wants to be sent; not ``settled``,
    that is not known yet. ``since`` is when it was last asked for data or had some, ``kept_length`` how many
    bytes nobody asked for may be kept for it. An ``aborted`` one ends without a response, and is kept only
    until its late data has come; one with a ``status`` ends with just that, once its late data has come.
    """

    command: SCSICommand
    transfer: DataOutTransfer
    connection: TargetConnection
    wanted_length: int
    unit: LogicalUnit | None = None
    settled: bool = True
    kept_length: int = 0
    r2t_sn: int = 0
    since: float = 0.0
    has_room: bool = False
    in_task_set: bool = False
    dormant: bool = False
    aborted: bool = False
    status: Status | None = None
    sense: bytes = b""

    @property
    def tag(self) -> int:
        """Its Initiator Task Tag."""
        return self.command.initiator_task_tag

    def fail(self, sense: Sense) -> None:
        """Have it end with CHECK CONDITION."""
        self.status = Status.CHECK_CONDITION
        self.sense = sense.encode(self.unit is not None and self.unit.d_sense)


def failure_sense(failure: DataOutFailure) -> bytes:
    """Sense data for a transfer that failed: ABORTED COMMAND."""
    return Sense.of(SenseKey.ABORTED_COMMAND, FAILURE_CODES[failure]).encode()
