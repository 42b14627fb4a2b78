"""The one definition of every PDU header: RFC 7143 section 11.3 to 11.19, written in Construct.

Each layout is the 48-byte Basic Header Segment in the order of the wire. Bits that the RFC calls
reserved are ``Padding``: ignored when received, zero when sent (RFC 7143 section 11). Everything
quick in :mod:`iscsim.pdu.codec` is derived from these.
"""

from __future__ import annotations

from construct import (
    BitsInteger,
    BitStruct,
    Bytes,
    Construct,
    Flag,
    Int8ub,
    Int16ub,
    Int24ub,
    Int32ub,
    Padding,
    Struct,
)

# RFC 7143 section 11.2.1.1: only requests have the I bit.
_REQUEST = "byte_0" / BitStruct(Padding(1), "immediate" / Flag, "opcode" / BitsInteger(6))
_RESPONSE = "byte_0" / BitStruct(Padding(2), "opcode" / BitsInteger(6))
_LENGTHS = ("total_ahs_length" / Int8ub, "data_segment_length" / Int24ub)
_FINAL_ONLY = "byte_1" / BitStruct("final" / Flag, Padding(7))
_LUN = "lun" / Bytes(8)
_TASK = "initiator_task_tag" / Int32ub
_TRANSFER = "target_transfer_tag" / Int32ub
_COMMAND_NUMBERS = ("cmd_sn" / Int32ub, "exp_stat_sn" / Int32ub)
_STATUS_NUMBERS = ("stat_sn" / Int32ub, "exp_cmd_sn" / Int32ub, "max_cmd_sn" / Int32ub)

# RFC 7143 section 11.3
SCSI_COMMAND = Struct(
    _REQUEST,
    "byte_1"
    / BitStruct("final" / Flag, "read" / Flag, "write" / Flag, Padding(2), "task_attribute" / BitsInteger(3)),
    Padding(2),
    *_LENGTHS,
    _LUN,
    _TASK,
    "expected_data_transfer_length" / Int32ub,
    *_COMMAND_NUMBERS,
    "cdb" / Bytes(16),
)

# RFC 7143 section 11.4
SCSI_RESPONSE = Struct(
    _RESPONSE,
    "byte_1"
    / BitStruct(
        "final" / Flag,
        Padding(2),
        "bidirectional_read_overflow" / Flag,
        "bidirectional_read_underflow" / Flag,
        "overflow" / Flag,
        "underflow" / Flag,
        Padding(1),
    ),
    "response" / Int8ub,
    "status" / Int8ub,
    *_LENGTHS,
    Padding(8),
    _TASK,
    "snack_tag" / Int32ub,
    *_STATUS_NUMBERS,
    "exp_data_sn" / Int32ub,
    "bidirectional_read_residual_count" / Int32ub,
    "residual_count" / Int32ub,
)

# RFC 7143 section 11.5
TASK_MANAGEMENT_REQUEST = Struct(
    _REQUEST,
    "byte_1" / BitStruct("final" / Flag, "function" / BitsInteger(7)),
    Padding(2),
    *_LENGTHS,
    _LUN,
    _TASK,
    "referenced_task_tag" / Int32ub,
    *_COMMAND_NUMBERS,
    "ref_cmd_sn" / Int32ub,
    "exp_data_sn" / Int32ub,
    Padding(8),
)

# RFC 7143 section 11.6
TASK_MANAGEMENT_RESPONSE = Struct(
    _RESPONSE,
    _FINAL_ONLY,
    "response" / Int8ub,
    Padding(1),
    *_LENGTHS,
    Padding(8),
    _TASK,
    Padding(4),
    *_STATUS_NUMBERS,
    Padding(12),
)

# RFC 7143 section 11.7
SCSI_DATA_OUT = Struct(
    _RESPONSE,  # RFC 7143 section 11.7: a Data-Out has no I bit and no CmdSN
    _FINAL_ONLY,
    Padding(2),
    *_LENGTHS,
    _LUN,
    _TASK,
    _TRANSFER,
    Padding(4),
    "exp_stat_sn" / Int32ub,
    Padding(4),
    "data_sn" / Int32ub,
    "buffer_offset" / Int32ub,
    Padding(4),
)

SCSI_DATA_IN = Struct(
    _RESPONSE,
    "byte_1"
    / BitStruct(
        "final" / Flag,
        "acknowledge" / Flag,
        Padding(3),
        "overflow" / Flag,
        "underflow" / Flag,
        "status_present" / Flag,
    ),
    Padding(1),
    "status" / Int8ub,
    *_LENGTHS,
    _LUN,
    _TASK,
    _TRANSFER,
    *_STATUS_NUMBERS,
    "data_sn" / Int32ub,
    "buffer_offset" / Int32ub,
    "residual_count" / Int32ub,
)

# RFC 7143 section 11.8
READY_TO_TRANSFER = Struct(
    _RESPONSE,
    _FINAL_ONLY,
    Padding(2),
    *_LENGTHS,
    _LUN,
    _TASK,
    _TRANSFER,
    *_STATUS_NUMBERS,
    "r2t_sn" / Int32ub,
    "buffer_offset" / Int32ub,
    "desired_data_transfer_length" / Int32ub,
)

# RFC 7143 section 11.9
ASYNC_MESSAGE = Struct(
    _RESPONSE,
    _FINAL_ONLY,
    Padding(2),
    *_LENGTHS,
    _LUN,
    _TASK,  # always RESERVED_TAG
    Padding(4),
    *_STATUS_NUMBERS,
    "async_event" / Int8ub,
    "async_vcode" / Int8ub,
    "parameter_1" / Int16ub,
    "parameter_2" / Int16ub,
    "parameter_3" / Int16ub,
    Padding(4),
)

# RFC 7143 section 11.10
TEXT_REQUEST = Struct(
    _REQUEST,
    "byte_1" / BitStruct("final" / Flag, "continuation" / Flag, Padding(6)),
    Padding(2),
    *_LENGTHS,
    _LUN,
    _TASK,
    _TRANSFER,
    *_COMMAND_NUMBERS,
    Padding(16),
)

# RFC 7143 section 11.11
TEXT_RESPONSE = Struct(
    _RESPONSE,
    "byte_1" / BitStruct("final" / Flag, "continuation" / Flag, Padding(6)),
    Padding(2),
    *_LENGTHS,
    _LUN,
    _TASK,
    _TRANSFER,
    *_STATUS_NUMBERS,
    Padding(12),
)

_LOGIN_FLAGS = "byte_1" / BitStruct(
    "transit" / Flag,
    "continuation" / Flag,
    Padding(2),
    "current_stage" / BitsInteger(2),
    "next_stage" / BitsInteger(2),
)

# RFC 7143 section 11.12
LOGIN_REQUEST = Struct(
    _REQUEST,
    _LOGIN_FLAGS,
    "version_max" / Int8ub,
    "version_min" / Int8ub,
    *_LENGTHS,
    "isid" / Bytes(6),
    "tsih" / Int16ub,
    _TASK,
    "cid" / Int16ub,
    Padding(2),
    *_COMMAND_NUMBERS,
    Padding(16),
)

# RFC 7143 section 11.13
LOGIN_RESPONSE = Struct(
    _RESPONSE,
    _LOGIN_FLAGS,
    "version_max" / Int8ub,
    "version_active" / Int8ub,
    *_LENGTHS,
    "isid" / Bytes(6),
    "tsih" / Int16ub,
    _TASK,
    Padding(4),
    *_STATUS_NUMBERS,
    "status_class" / Int8ub,
    "status_detail" / Int8ub,
    Padding(10),
)

# RFC 7143 section 11.14
LOGOUT_REQUEST = Struct(
    _REQUEST,
    "byte_1" / BitStruct("final" / Flag, "reason" / BitsInteger(7)),
    Padding(2),
    *_LENGTHS,
    Padding(8),
    _TASK,
    "cid" / Int16ub,
    Padding(2),
    *_COMMAND_NUMBERS,
    Padding(16),
)

# RFC 7143 section 11.15
LOGOUT_RESPONSE = Struct(
    _RESPONSE,
    _FINAL_ONLY,
    "response" / Int8ub,
    Padding(1),
    *_LENGTHS,
    Padding(8),
    _TASK,
    Padding(4),
    *_STATUS_NUMBERS,
    Padding(4),
    "time2wait" / Int16ub,
    "time2retain" / Int16ub,
    Padding(4),
)

# RFC 7143 section 11.16
SNACK_REQUEST = Struct(
    _RESPONSE,  # no I bit: it carries no CmdSN
    "byte_1" / BitStruct("final" / Flag, Padding(3), "type" / BitsInteger(4)),
    Padding(2),
    *_LENGTHS,
    _LUN,
    _TASK,
    _TRANSFER,  # "Target Transfer Tag or SNACK Tag"
    Padding(4),
    "exp_stat_sn" / Int32ub,
    Padding(8),
    "beg_run" / Int32ub,
    "run_length" / Int32ub,
)

# RFC 7143 section 11.17
REJECT = Struct(
    _RESPONSE,
    _FINAL_ONLY,
    "reason" / Int8ub,
    Padding(1),
    *_LENGTHS,
    Padding(8),
    _TASK,  # always RESERVED_TAG
    Padding(4),
    *_STATUS_NUMBERS,
    "data_sn" / Int32ub,  # "DataSN/R2TSN or Reserved"
    Padding(8),
)

# RFC 7143 section 11.18
NOP_OUT = Struct(
    _REQUEST,
    _FINAL_ONLY,
    Padding(2),
    *_LENGTHS,
    _LUN,
    _TASK,
    _TRANSFER,
    *_COMMAND_NUMBERS,
    Padding(16),
)

# RFC 7143 section 11.19
NOP_IN = Struct(
    _RESPONSE,
    _FINAL_ONLY,
    Padding(2),
    *_LENGTHS,
    _LUN,
    _TASK,
    _TRANSFER,
    *_STATUS_NUMBERS,
    Padding(12),
)

# RFC 7143 section 11.2.2: AHSLength, AHSType (of its byte two bits are reserved) and a byte that belongs
# to the type
AHS_HEADER = Struct(
    "ahs_length" / Int16ub,
    "byte_2" / BitStruct(Padding(2), "ahs_type" / BitsInteger(6)),
    "specific" / Int8ub,
)

LAYOUTS: dict[int, Construct] = {
    0x00: NOP_OUT,
    0x01: SCSI_COMMAND,
    0x02: TASK_MANAGEMENT_REQUEST,
    0x03: LOGIN_REQUEST,
    0x04: TEXT_REQUEST,
    0x05: SCSI_DATA_OUT,
    0x06: LOGOUT_REQUEST,
    0x10: SNACK_REQUEST,
    0x20: NOP_IN,
    0x21: SCSI_RESPONSE,
    0x22: TASK_MANAGEMENT_RESPONSE,
    0x23: LOGIN_RESPONSE,
    0x24: TEXT_RESPONSE,
    0x25: SCSI_DATA_IN,
    0x26: LOGOUT_RESPONSE,
    0x31: READY_TO_TRANSFER,
    0x32: ASYNC_MESSAGE,
    0x3F: REJECT,
}
