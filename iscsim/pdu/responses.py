"""The PDUs a target sends."""

from __future__ import annotations

from iscsim.errors import FormatError
from iscsim.pdu.base import NO_LUN, PDU, pdu
from iscsim.pdu.constants import RESERVED_TAG, Opcode, Stage
from iscsim.pdu.digest import Buffer


@pdu(Opcode.SCSI_RESPONSE)
class SCSIResponse(PDU):
    """How a command ended (RFC 7143 section 11.4). ``data`` holds SenseLength, sense, response data."""

    final: bool = True
    bidirectional_read_overflow: bool = False
    bidirectional_read_underflow: bool = False
    overflow: bool = False
    underflow: bool = False
    response: int = 0
    status: int = 0
    initiator_task_tag: int = 0
    snack_tag: int = 0
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    exp_data_sn: int = 0
    bidirectional_read_residual_count: int = 0
    residual_count: int = 0
    data: Buffer = b""

    @property
    def sense(self) -> bytes:
        """The sense data, without its SenseLength (RFC 7143 section 11.4.7); empty when there is no data.

        Raises:
            FormatError: SenseLength says more than the data segment holds, or is cut itself.
        """
        if not self.data:
            return b""
        length = int.from_bytes(self.data[:2], "big")
        if length > len(self.data) - 2:
            raise FormatError(f"SenseLength {length} in {len(self.data)} bytes of data", "11.4.7.1")
        return bytes(self.data[2 : 2 + length])

    @staticmethod
    def sense_segment(sense: bytes) -> bytes:
        """The data segment that carries ``sense``; empty when there is none."""
        return len(sense).to_bytes(2, "big") + sense if sense else b""


@pdu(Opcode.TASK_MANAGEMENT_RESPONSE)
class TaskManagementResponse(PDU):
    """How a task management function ended (RFC 7143 section 11.6)."""

    final: bool = True
    response: int = 0
    initiator_task_tag: int = 0
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    data: Buffer = b""


@pdu(Opcode.SCSI_DATA_IN)
class SCSIDataIn(PDU):
    """Data of a read (RFC 7143 section 11.7).

    With ``status_present`` it also ends the command; only then do ``status``, ``stat_sn``,
    ``overflow``, ``underflow`` and ``residual_count`` mean anything.
    """

    final: bool = False
    acknowledge: bool = False
    overflow: bool = False
    underflow: bool = False
    status_present: bool = False
    status: int = 0
    lun: bytes = NO_LUN
    initiator_task_tag: int = 0
    target_transfer_tag: int = RESERVED_TAG
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    data_sn: int = 0
    buffer_offset: int = 0
    residual_count: int = 0
    data: Buffer = b""


@pdu(Opcode.READY_TO_TRANSFER)
class ReadyToTransfer(PDU):
    """The target asks for a piece of a write's data (RFC 7143 section 11.8)."""

    final: bool = True
    lun: bytes = NO_LUN
    initiator_task_tag: int = 0
    target_transfer_tag: int = 0
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    r2t_sn: int = 0
    buffer_offset: int = 0
    desired_data_transfer_length: int = 0
    data: Buffer = b""


@pdu(Opcode.ASYNC_MESSAGE)
class AsyncMessage(PDU):
    """News the initiator did not ask for (RFC 7143 section 11.9); ``async_event`` is an ``AsyncEvent``."""

    final: bool = True
    lun: bytes = NO_LUN
    initiator_task_tag: int = RESERVED_TAG
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    async_event: int = 0
    async_vcode: int = 0
    parameter_1: int = 0
    parameter_2: int = 0
    parameter_3: int = 0
    data: Buffer = b""


@pdu(Opcode.TEXT_RESPONSE)
class TextResponse(PDU):
    """Answer to a Text Request (RFC 7143 section 11.11)."""

    final: bool = True
    continuation: bool = False
    lun: bytes = NO_LUN
    initiator_task_tag: int = 0
    target_transfer_tag: int = RESERVED_TAG
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    data: Buffer = b""


@pdu(Opcode.LOGIN_RESPONSE)
class LoginResponse(PDU):
    """Answer to one step of a login (RFC 7143 section 11.13)."""

    transit: bool = False
    continuation: bool = False
    current_stage: int = Stage.SECURITY_NEGOTIATION
    next_stage: int = Stage.SECURITY_NEGOTIATION
    version_max: int = 0
    version_active: int = 0
    isid: bytes = bytes(6)
    tsih: int = 0
    initiator_task_tag: int = 0
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    status_class: int = 0
    status_detail: int = 0
    data: Buffer = b""


@pdu(Opcode.LOGOUT_RESPONSE)
class LogoutResponse(PDU):
    """Answer to a Logout Request (RFC 7143 section 11.15); times in seconds."""

    final: bool = True
    response: int = 0
    initiator_task_tag: int = 0
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    time2wait: int = 0
    time2retain: int = 0
    data: Buffer = b""


@pdu(Opcode.REJECT)
class Reject(PDU):
    """A PDU was not accepted (RFC 7143 section 11.17); ``data`` holds the header of the bad PDU."""

    final: bool = True
    reason: int = 0
    initiator_task_tag: int = RESERVED_TAG
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    data_sn: int = 0
    data: Buffer = b""


@pdu(Opcode.NOP_IN)
class NOPIn(PDU):
    """The answer to a ping, or the target's own ping (RFC 7143 section 11.19)."""

    final: bool = True
    lun: bytes = NO_LUN
    initiator_task_tag: int = RESERVED_TAG
    target_transfer_tag: int = RESERVED_TAG
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    data: Buffer = b""
