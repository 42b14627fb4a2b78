"""A command a target works on for longer than one PDU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iscsim.pdu import SCSICommand
from iscsim.scsi.asc import ASC
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.session.transfer import DataOutFailure, DataOutTransfer

if TYPE_CHECKING:
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
    """A command under way: its data is still coming, or its answer has to wait for the store.

    It stays on the connection its command came on. An ``aborted`` one ends without a response, and is kept
    only until its late data has come.
    """

    command: SCSICommand
    transfer: DataOutTransfer
    connection: TargetConnection
    wanted_length: int
    r2t_sn: int = 0
    has_room: bool = False
    aborted: bool = False

    @property
    def tag(self) -> int:
        """Its Initiator Task Tag."""
        return self.command.initiator_task_tag

    def failure_sense(self, failure: DataOutFailure) -> bytes:
        """Sense data for a transfer that failed: ABORTED COMMAND."""
        return Sense.of(SenseKey.ABORTED_COMMAND, FAILURE_CODES[failure]).encode()
