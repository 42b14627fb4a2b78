"""The PDUs an initiator sends."""

from __future__ import annotations

from iscsim.pdu.ahs import AHS, ExtendedCDB
from iscsim.pdu.base import NO_LUN, PDU, pdu
from iscsim.pdu.constants import RESERVED_TAG, Opcode, Stage, TaskAttribute
from iscsim.pdu.digest import Buffer


@pdu(Opcode.SCSI_COMMAND)
class SCSICommand(PDU):
    """A SCSI command: CDB, direction, lengths, and the immediate data behind it (RFC 7143 section 11.3).

    ``final`` is False when unsolicited Data-Out PDUs follow. ``expected_data_transfer_length`` counts
    the bytes of the whole transfer. ``cdb`` is 16 bytes, a shorter CDB padded with zeros; a longer one
    continues in an :class:`ExtendedCDB`.
    """

    immediate: bool = False
    final: bool = True
    read: bool = False
    write: bool = False
    task_attribute: int = TaskAttribute.SIMPLE
    lun: bytes = NO_LUN
    initiator_task_tag: int = 0
    expected_data_transfer_length: int = 0
    cmd_sn: int = 0
    exp_stat_sn: int = 0
    cdb: bytes = bytes(16)
    ahs: tuple[AHS, ...] = ()
    data: Buffer = b""

    @property
    def additional_headers(self) -> tuple[AHS, ...]:
        """The additional header segments as they go on the wire."""
        return self.ahs

    @property
    def whole_cdb(self) -> bytes:
        """The CDB with the bytes that travelled in an extended CDB segment."""
        return self.cdb + b"".join(segment.spill for segment in self.ahs if isinstance(segment, ExtendedCDB))


@pdu(Opcode.TASK_MANAGEMENT_REQUEST)
class TaskManagementRequest(PDU):
    """A task management function (RFC 7143 section 11.5); ``function`` is a ``TaskManagementFunction``."""

    immediate: bool = True
    final: bool = True
    function: int = 0
    lun: bytes = NO_LUN
    initiator_task_tag: int = 0
    referenced_task_tag: int = RESERVED_TAG
    cmd_sn: int = 0
    exp_stat_sn: int = 0
    ref_cmd_sn: int = 0
    exp_data_sn: int = 0
    data: Buffer = b""


@pdu(Opcode.SCSI_DATA_OUT)
class SCSIDataOut(PDU):
    """Data of a write, unsolicited or asked for by an R2T (RFC 7143 section 11.7)."""

    final: bool = False
    lun: bytes = NO_LUN
    initiator_task_tag: int = 0
    target_transfer_tag: int = RESERVED_TAG
    exp_stat_sn: int = 0
    data_sn: int = 0
    buffer_offset: int = 0
    data: Buffer = b""


@pdu(Opcode.TEXT_REQUEST)
class TextRequest(PDU):
    """Keys and values in the full feature phase (RFC 7143 section 11.10)."""

    immediate: bool = False
    final: bool = True
    continuation: bool = False
    lun: bytes = NO_LUN
    initiator_task_tag: int = 0
    target_transfer_tag: int = RESERVED_TAG
    cmd_sn: int = 0
    exp_stat_sn: int = 0
    data: Buffer = b""


@pdu(Opcode.LOGIN_REQUEST)
class LoginRequest(PDU):
    """One step of a login (RFC 7143 section 11.12); always immediate. ``data`` holds text keys."""

    immediate: bool = True
    transit: bool = False
    continuation: bool = False
    current_stage: int = Stage.SECURITY_NEGOTIATION
    next_stage: int = Stage.SECURITY_NEGOTIATION
    version_max: int = 0
    version_min: int = 0
    isid: bytes = bytes(6)
    tsih: int = 0
    initiator_task_tag: int = 0
    cid: int = 0
    cmd_sn: int = 0
    exp_stat_sn: int = 0
    data: Buffer = b""


@pdu(Opcode.LOGOUT_REQUEST)
class LogoutRequest(PDU):
    """The wish to end a session or connection (RFC 7143 section 11.14); ``reason`` is a ``LogoutReason``."""

    immediate: bool = True
    final: bool = True
    reason: int = 0
    initiator_task_tag: int = 0
    cid: int = 0
    cmd_sn: int = 0
    exp_stat_sn: int = 0
    data: Buffer = b""


@pdu(Opcode.SNACK_REQUEST)
class SNACKRequest(PDU):
    """Ask again for, or acknowledge, numbered PDUs (RFC 7143 section 11.16); ``type`` is a ``SNACKType``."""

    final: bool = True
    type: int = 0
    lun: bytes = NO_LUN
    initiator_task_tag: int = RESERVED_TAG
    target_transfer_tag: int = RESERVED_TAG
    exp_stat_sn: int = 0
    beg_run: int = 0
    run_length: int = 0
    data: Buffer = b""


@pdu(Opcode.NOP_OUT)
class NOPOut(PDU):
    """A ping, or the answer to the target's ping (RFC 7143 section 11.18)."""

    immediate: bool = False
    final: bool = True
    lun: bytes = NO_LUN
    initiator_task_tag: int = RESERVED_TAG
    target_transfer_tag: int = RESERVED_TAG
    cmd_sn: int = 0
    exp_stat_sn: int = 0
    data: Buffer = b""
