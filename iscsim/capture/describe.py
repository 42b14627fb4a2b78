"""One line of text for each PDU, in the standards' words: what a ladder diagram shows.

CHAP challenges and responses are shown by their length only: a ladder gets pasted into bug reports.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final

from iscsim.errors import FormatError
from iscsim.pdu import (
    PDU,
    PDU_TYPES,
    RESERVED_TAG,
    AsyncEvent,
    AsyncMessage,
    LoginRequest,
    LoginResponse,
    LoginStatus,
    LogoutReason,
    LogoutRequest,
    LogoutResponse,
    LogoutResponseCode,
    NOPIn,
    NOPOut,
    ReadyToTransfer,
    Reject,
    RejectReason,
    SCSICommand,
    SCSIDataIn,
    SCSIDataOut,
    SCSIResponse,
    SCSIResponseCode,
    SNACKRequest,
    SNACKType,
    Stage,
    TaskManagementFunction,
    TaskManagementRequest,
    TaskManagementResponse,
    TaskManagementResponseCode,
    TextRequest,
    TextResponse,
)
from iscsim.scsi.cdb import Opcode, cdb_name
from iscsim.scsi.cdb_layouts import INQUIRY, TRANSFER_6, TRANSFER_10, TRANSFER_12, TRANSFER_16
from iscsim.scsi.layout import Layout
from iscsim.scsi.lun import format_lun
from iscsim.scsi.sense import Sense
from iscsim.scsi.status import Status, status_name

_SHOWN_VALUE_LENGTH: Final = 64
_HIDDEN_KEYS: Final = ("CHAP_C", "CHAP_R")
_SPELLINGS = {
    "data or r2t": "data or R2T",
    "scsi event": "SCSI event",
    "lun does not exist": "LUN does not exist",
}

_TRANSFERS: dict[int, Layout] = {
    Opcode.READ_6: TRANSFER_6,
    Opcode.WRITE_6: TRANSFER_6,
    Opcode.READ_10: TRANSFER_10,
    Opcode.WRITE_10: TRANSFER_10,
    Opcode.READ_12: TRANSFER_12,
    Opcode.WRITE_12: TRANSFER_12,
    Opcode.READ_16: TRANSFER_16,
    Opcode.WRITE_16: TRANSFER_16,
}


def describe(pdu: PDU) -> str:
    """``"SCSI Command READ (10) lba=0 blocks=8 LUN 0 ITT=0x1 CmdSN=5"``; never raises for a decoded PDU."""
    description = _DESCRIPTIONS.get(type(pdu))
    return description(pdu) if description is not None else repr(pdu)


def _words(kind: type[IntEnum], value: int) -> str:
    """The name of a code in plain words; a code the standard does not define as a number."""
    try:
        text = kind(value).name.replace("_", " ").lower()
    except ValueError:
        return f"code {value}"
    return _SPELLINGS.get(text, text)


def _tag(name: str, value: int) -> str:
    return f"{name}=none" if value == RESERVED_TAG else f"{name}={value:#x}"


def _ping_tags(pdu: NOPOut | NOPIn) -> str:
    return f"{_tag('ITT', pdu.initiator_task_tag)} {_tag('TTT', pdu.target_transfer_tag)}"


def _flags(**flags: bool) -> str:
    return "".join(f" {name}" for name, is_set in flags.items() if is_set)


def _text(pdu: PDU) -> str:
    """The keys of a text data segment, leniently: a capture may hold anything."""
    pairs = bytes(pdu.data).rstrip(b"\0").split(b"\0") if pdu.data else []
    return "".join(f" {_shown_pair(pair.decode('utf-8', 'backslashreplace'))}" for pair in pairs)


def _shown_pair(pair: str) -> str:
    key, equals, value = pair.partition("=")
    if key in _HIDDEN_KEYS:
        value = f"({len(value)} characters)"
    elif len(value) > _SHOWN_VALUE_LENGTH:
        value = value[:_SHOWN_VALUE_LENGTH] + "..."
    printable = (character if character.isprintable() else "?" for character in key + equals + value)
    return "".join(printable)


def _stages(pdu: LoginRequest | LoginResponse) -> str:
    text = _words(Stage, pdu.current_stage)
    if pdu.transit:
        text += f" -> {_words(Stage, pdu.next_stage)}"
    return text + _flags(continued=pdu.continuation)


def _login_request(pdu: LoginRequest) -> str:
    head = (
        f"Login Request {_stages(pdu)} ISID={pdu.isid.hex()} TSIH={pdu.tsih} CID={pdu.cid} CmdSN={pdu.cmd_sn}"
    )
    return head + _text(pdu)


def _login_response(pdu: LoginResponse) -> str:
    status = pdu.status_class << 8 | pdu.status_detail
    head = f"Login Response {_stages(pdu)} {_words(LoginStatus, status)} ({status:#06x}) TSIH={pdu.tsih}"
    return f"{head} StatSN={pdu.stat_sn}{_text(pdu)}"


def _text_request(pdu: TextRequest) -> str:
    return f"Text Request CmdSN={pdu.cmd_sn}{_flags(continued=pdu.continuation)}{_text(pdu)}"


def _text_response(pdu: TextResponse) -> str:
    return f"Text Response StatSN={pdu.stat_sn}{_flags(continued=pdu.continuation)}{_text(pdu)}"


def _cdb(cdb: bytes) -> str:
    layout = _TRANSFERS.get(cdb[0])
    if layout is not None:
        fields: dict[str, Any] = layout.parse(cdb)
        if layout is TRANSFER_6:  # SBC-3: 21 bits of LBA, and 0 blocks stands for 256
            lba, blocks = (fields["lba_high"] & 0x1F) << 16 | fields["lba_low"], fields["blocks"] or 256
        else:
            lba, blocks = fields["lba"], fields["blocks"]
        return f"{cdb_name(cdb)} lba={lba} blocks={blocks}"
    if cdb[0] == Opcode.INQUIRY and cdb[1] & 1:
        return f"INQUIRY page={INQUIRY.parse(cdb)['page']:02X}h"
    return cdb_name(cdb)


def _scsi_command(pdu: SCSICommand) -> str:
    text = f"SCSI Command {_cdb(pdu.whole_cdb)} {format_lun(pdu.lun)} {_tag('ITT', pdu.initiator_task_tag)}"
    text += f" CmdSN={pdu.cmd_sn}{_flags(immediate=pdu.immediate)}"
    if pdu.expected_data_transfer_length:
        text += f" length={pdu.expected_data_transfer_length}"
    return text + (f" immediate_data={len(pdu.data)}" if pdu.data else "")


def _data(pdu: SCSIDataIn | SCSIDataOut) -> str:
    place = f"DataSN={pdu.data_sn} offset={pdu.buffer_offset} length={len(pdu.data)}"
    return f"{_tag('ITT', pdu.initiator_task_tag)} {place}"


def _data_out(pdu: SCSIDataOut) -> str:
    return f"Data-Out {_data(pdu)} {_tag('TTT', pdu.target_transfer_tag)}{_flags(final=pdu.final)}"


def _data_in(pdu: SCSIDataIn) -> str:
    text = f"Data-In {_data(pdu)}{_flags(final=pdu.final, acknowledge=pdu.acknowledge)}"
    if pdu.status_present:
        text += f" {status_name(pdu.status)} StatSN={pdu.stat_sn}{_residual(pdu)}"
    return text


def _residual(pdu: SCSIDataIn | SCSIResponse) -> str:
    kind = "underflow" if pdu.underflow else "overflow" if pdu.overflow else ""
    return f" {kind}={pdu.residual_count}" if kind else ""


def _scsi_response(pdu: SCSIResponse) -> str:
    text = f"SCSI Response {_tag('ITT', pdu.initiator_task_tag)} "
    if pdu.response != SCSIResponseCode.COMMAND_COMPLETED_AT_TARGET:
        text += f"{_words(SCSIResponseCode, pdu.response)} "
    text += f"{status_name(pdu.status)} StatSN={pdu.stat_sn}{_residual(pdu)}"
    return f"{text} {_sense(pdu)}" if pdu.status == Status.CHECK_CONDITION else text


def _sense(pdu: SCSIResponse) -> str:
    try:
        return str(Sense.parse(pdu.sense))
    except (FormatError, ValueError):
        return f"sense data {bytes(pdu.data[:20]).hex() or 'missing'}"


def _ready_to_transfer(pdu: ReadyToTransfer) -> str:
    tags = f"{_tag('ITT', pdu.initiator_task_tag)} {_tag('TTT', pdu.target_transfer_tag)}"
    return (
        f"R2T {tags} R2TSN={pdu.r2t_sn} offset={pdu.buffer_offset} length={pdu.desired_data_transfer_length}"
    )


def _task_management_request(pdu: TaskManagementRequest) -> str:
    text = f"Task Management {_words(TaskManagementFunction, pdu.function)} {format_lun(pdu.lun)}"
    tags = f"{_tag('ITT', pdu.initiator_task_tag)} {_tag('referenced', pdu.referenced_task_tag)}"
    return f"{text} {tags} CmdSN={pdu.cmd_sn}"


def _task_management_response(pdu: TaskManagementResponse) -> str:
    outcome = _words(TaskManagementResponseCode, pdu.response)
    return f"Task Management Response {outcome} {_tag('ITT', pdu.initiator_task_tag)} StatSN={pdu.stat_sn}"


def _logout_request(pdu: LogoutRequest) -> str:
    return f"Logout Request {_words(LogoutReason, pdu.reason)} CID={pdu.cid} CmdSN={pdu.cmd_sn}"


def _logout_response(pdu: LogoutResponse) -> str:
    return f"Logout Response {_words(LogoutResponseCode, pdu.response)} StatSN={pdu.stat_sn}"


def _nop_out(pdu: NOPOut) -> str:
    return f"NOP-Out {_ping_tags(pdu)} CmdSN={pdu.cmd_sn} length={len(pdu.data)}"


def _nop_in(pdu: NOPIn) -> str:
    return f"NOP-In {_ping_tags(pdu)} StatSN={pdu.stat_sn} length={len(pdu.data)}"


def _async_message(pdu: AsyncMessage) -> str:
    return f"Async Message {_words(AsyncEvent, pdu.async_event)} StatSN={pdu.stat_sn}"


def _reject(pdu: Reject) -> str:
    rejected = PDU_TYPES.get(pdu.data[0] & 0x3F) if pdu.data else None
    what = f" of {rejected.__name__}" if rejected is not None else ""
    return f"Reject {_words(RejectReason, pdu.reason)}{what} StatSN={pdu.stat_sn}"


def _snack_request(pdu: SNACKRequest) -> str:
    run = f"BegRun={pdu.beg_run} RunLength={pdu.run_length}"
    return f"SNACK Request {_words(SNACKType, pdu.type)} {_tag('ITT', pdu.initiator_task_tag)} {run}"


_DESCRIPTIONS: dict[type[PDU], Callable[[Any], str]] = {
    LoginRequest: _login_request,
    LoginResponse: _login_response,
    TextRequest: _text_request,
    TextResponse: _text_response,
    SCSICommand: _scsi_command,
    SCSIResponse: _scsi_response,
    SCSIDataOut: _data_out,
    SCSIDataIn: _data_in,
    ReadyToTransfer: _ready_to_transfer,
    TaskManagementRequest: _task_management_request,
    TaskManagementResponse: _task_management_response,
    LogoutRequest: _logout_request,
    LogoutResponse: _logout_response,
    NOPOut: _nop_out,
    NOPIn: _nop_in,
    AsyncMessage: _async_message,
    Reject: _reject,
    SNACKRequest: _snack_request,
}
