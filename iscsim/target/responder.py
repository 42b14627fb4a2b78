"""What a SCSI command is answered: Data-In, SCSI Response, residuals (RFC 7143 sections 11.4 and 11.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iscsim.pdu import BidirectionalReadLength, Buffer, SCSICommand, SCSIDataIn, SCSIResponse
from iscsim.scsi.completion import Completion
from iscsim.scsi.nexus import ITNexus
from iscsim.scsi.status import Status
from iscsim.session.transfer import bursts
from iscsim.target.abort import check_condition_sent

if TYPE_CHECKING:
    from iscsim.target.connection import TargetConnection
    from iscsim.target.session import TargetSession


class Responder:
    """Answers the commands of one connection, whatever their size; the quick path has its own way."""

    def __init__(self, connection: TargetConnection, session: TargetSession, nexus: ITNexus) -> None:
        self._connection = connection
        self._session = session
        self._nexus = nexus
        self._device_server = connection.entity.device_server

    def answer(self, pdu: SCSICommand, completion: Completion, wanted_length: int) -> None:
        """Answer ``pdu``; ``wanted_length`` is how many bytes of Data-Out it wanted."""
        room = _read_length(pdu)
        data = completion.data_in[:room]
        good = completion.status == Status.GOOD
        count = self._send_data_in(
            pdu, data, with_status=good and not pdu.write, whole=len(completion.data_in)
        )
        if not (good and count and not pdu.write):
            self._send_response(pdu, completion, wanted_length, count)

    def _send_data_in(self, pdu: SCSICommand, data: Buffer, *, with_status: bool, whole: int) -> int:
        """Send ``data`` as Data-In PDUs, the last with status if asked; returns how many."""
        connection, parameters = self._connection, self._session.parameters
        if connection.send_data_digest:
            data = memoryview(bytes(data))  # the digest must match what is sent, though the store may change
        pieces = bursts(len(data), parameters.max_burst_length, parameters.max_send_data_segment_length)
        data_sn = -1
        for data_sn, (offset, length, final) in enumerate(pieces):
            last = with_status and offset + length == len(data)
            numbers = connection.numbers() if last else connection.numbers_without_status()
            residual = _residual(_read_length(pdu), whole) if last else {}
            connection.send(
                SCSIDataIn(
                    final=final,
                    status_present=last,
                    status=0,
                    lun=pdu.lun,
                    initiator_task_tag=pdu.initiator_task_tag,
                    data_sn=data_sn,
                    buffer_offset=offset,
                    data=data[offset : offset + length],
                    **(numbers if last else {**numbers, "stat_sn": 0}),
                    **residual,
                )
            )
        return data_sn + 1

    def _send_response(
        self, pdu: SCSICommand, completion: Completion, wanted_length: int, data_in_count: int
    ) -> None:
        expected = pdu.expected_data_transfer_length
        read_residual = _residual(_read_length(pdu), len(completion.data_in))
        if pdu.write:
            # RFC 7143 section 11.4.5: what the command would have moved against what was expected
            residual = _residual(expected, wanted_length)
        elif completion.status == Status.GOOD and not completion.data_in:
            # the same without the W bit: a WRITE has moved nothing, and must not look as if it had
            wanted_length = self._device_server.data_out_length(self._nexus, pdu.lun, pdu.whole_cdb)
            residual = _residual(0, wanted_length) if wanted_length else read_residual
        else:
            residual = read_residual
        if pdu.read and pdu.write:
            residual |= {f"bidirectional_read_{name}": value for name, value in read_residual.items()}
        self._connection.send(
            SCSIResponse(
                status=completion.status,
                initiator_task_tag=pdu.initiator_task_tag,
                exp_data_sn=data_in_count,
                data=SCSIResponse.sense_segment(completion.sense),
                **self._connection.numbers(),
                **residual,
            )
        )
        if completion.status == Status.CHECK_CONDITION:
            check_condition_sent(self._connection, pdu.lun)


def _read_length(pdu: SCSICommand) -> int:
    """Bytes the initiator has room for (RFC 7143 sections 11.3.4 and 11.2.2.4)."""
    if not pdu.read:
        return 0
    if not pdu.write:
        return pdu.expected_data_transfer_length
    lengths = [segment.length for segment in pdu.ahs if isinstance(segment, BidirectionalReadLength)]
    return lengths[0] if lengths else 0


def _residual(expected: int, actual: int) -> dict[str, Any]:
    """Underflow, overflow and Residual Count fields (RFC 7143 section 11.4.5)."""
    if actual == expected:
        return {}
    name = "underflow" if actual < expected else "overflow"
    return {name: True, "residual_count": abs(expected - actual)}
