"""Operation codes and service actions (SPC-4, SBC-3), and what the standards call them."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Opcode", "ServiceAction", "cdb_length", "cdb_name", "service_action"]


class Opcode(IntEnum):
    """Byte 0 of a CDB."""

    TEST_UNIT_READY = 0x00
    REQUEST_SENSE = 0x03
    FORMAT_UNIT = 0x04
    REASSIGN_BLOCKS = 0x07
    READ_6 = 0x08
    WRITE_6 = 0x0A
    INQUIRY = 0x12
    MODE_SELECT_6 = 0x15
    RESERVE_6 = 0x16
    RELEASE_6 = 0x17
    MODE_SENSE_6 = 0x1A
    START_STOP_UNIT = 0x1B
    SEND_DIAGNOSTIC = 0x1D
    PREVENT_ALLOW_MEDIUM_REMOVAL = 0x1E
    READ_CAPACITY_10 = 0x25
    READ_10 = 0x28
    WRITE_10 = 0x2A
    WRITE_AND_VERIFY_10 = 0x2E
    VERIFY_10 = 0x2F
    PRE_FETCH_10 = 0x34
    SYNCHRONIZE_CACHE_10 = 0x35
    READ_DEFECT_DATA_10 = 0x37
    WRITE_SAME_10 = 0x41
    UNMAP = 0x42
    SANITIZE = 0x48
    LOG_SELECT = 0x4C
    LOG_SENSE = 0x4D
    MODE_SELECT_10 = 0x55
    RESERVE_10 = 0x56
    RELEASE_10 = 0x57
    MODE_SENSE_10 = 0x5A
    PERSISTENT_RESERVE_IN = 0x5E
    PERSISTENT_RESERVE_OUT = 0x5F
    VARIABLE_LENGTH = 0x7F
    EXTENDED_COPY = 0x83
    RECEIVE_COPY_RESULTS = 0x84
    READ_16 = 0x88
    COMPARE_AND_WRITE = 0x89
    WRITE_16 = 0x8A
    ORWRITE_16 = 0x8B
    WRITE_AND_VERIFY_16 = 0x8E
    VERIFY_16 = 0x8F
    PRE_FETCH_16 = 0x90
    SYNCHRONIZE_CACHE_16 = 0x91
    WRITE_SAME_16 = 0x93
    WRITE_ATOMIC_16 = 0x9C
    SERVICE_ACTION_IN_16 = 0x9E
    REPORT_LUNS = 0xA0
    MAINTENANCE_IN = 0xA3
    MAINTENANCE_OUT = 0xA4
    READ_12 = 0xA8
    WRITE_12 = 0xAA
    WRITE_AND_VERIFY_12 = 0xAE
    VERIFY_12 = 0xAF
    READ_DEFECT_DATA_12 = 0xB7


class ServiceAction(IntEnum):
    """The service action under an operation code that has them, which stands above it here.

    It is bits 4:0 of byte 1, with the operation code times 100h, or the two bytes 8 and 9 of a variable
    length CDB, with 7Fh times 10000h.
    """

    SANITIZE_OVERWRITE = 0x4801
    SANITIZE_BLOCK_ERASE = 0x4802
    SANITIZE_CRYPTOGRAPHIC_ERASE = 0x4803
    SANITIZE_EXIT_FAILURE_MODE = 0x481F
    PERSISTENT_RESERVE_IN_READ_KEYS = 0x5E00
    PERSISTENT_RESERVE_IN_READ_RESERVATION = 0x5E01
    PERSISTENT_RESERVE_IN_REPORT_CAPABILITIES = 0x5E02
    PERSISTENT_RESERVE_IN_READ_FULL_STATUS = 0x5E03
    PERSISTENT_RESERVE_OUT_REGISTER = 0x5F00
    PERSISTENT_RESERVE_OUT_RESERVE = 0x5F01
    PERSISTENT_RESERVE_OUT_RELEASE = 0x5F02
    PERSISTENT_RESERVE_OUT_CLEAR = 0x5F03
    PERSISTENT_RESERVE_OUT_PREEMPT = 0x5F04
    PERSISTENT_RESERVE_OUT_PREEMPT_AND_ABORT = 0x5F05
    PERSISTENT_RESERVE_OUT_REGISTER_AND_IGNORE_EXISTING_KEY = 0x5F06
    PERSISTENT_RESERVE_OUT_REGISTER_AND_MOVE = 0x5F07
    EXTENDED_COPY_LID1 = 0x8300
    RECEIVE_COPY_STATUS_LID1 = 0x8400
    RECEIVE_COPY_OPERATING_PARAMETERS = 0x8403
    RECEIVE_COPY_FAILURE_DETAILS_LID1 = 0x8404
    READ_CAPACITY_16 = 0x9E10
    GET_LBA_STATUS = 0x9E12
    REPORT_REFERRALS = 0x9E13
    REPORT_TARGET_PORT_GROUPS = 0xA30A
    REPORT_SUPPORTED_OPERATION_CODES = 0xA30C
    REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS = 0xA30D
    SET_TARGET_PORT_GROUPS = 0xA40A
    WRITE_SAME_32 = 0x7F_000D


# T10 writes the CDB size in parentheses and some names with a hyphen.
_SPELLINGS = {"PRE FETCH": "PRE-FETCH", "LID1": "(LID1)"}
# SPC-4: the group code (bits 7:5) of the operation code fixes the length of the CDB.
_GROUP_LENGTHS = (6, 10, 10, 0, 16, 12, 0, 0)


def _spell(name: str) -> str:
    words = name.split("_")
    size = f" ({words.pop()})" if words[-1].isdigit() else ""
    text = " ".join(words)
    for plain, proper in _SPELLINGS.items():
        text = text.replace(plain, proper)
    return text + size


_NAMES = {int(code): _spell(code.name) for code in (*Opcode, *ServiceAction)}
_WITH_SERVICE_ACTIONS = frozenset(code >> 8 for code in ServiceAction if code <= 0xFFFF)


def cdb_length(opcode: int) -> int:
    """How many bytes a CDB with this operation code has; 0 where the operation code does not say."""
    return _GROUP_LENGTHS[opcode >> 5]


def service_action(cdb: bytes) -> int:
    """The service action of a CDB of 10 bytes or more, whose operation code has service actions (SPC-4)."""
    if cdb[0] == Opcode.VARIABLE_LENGTH:
        return cdb[8] << 8 | cdb[9]
    return cdb[1] & 0x1F


def cdb_name(cdb: bytes) -> str:
    """``"READ (10)"``, ``"READ CAPACITY (16)"``; a command we do not know is shown by its operation code."""
    if not cdb:
        return "empty CDB"
    opcode = cdb[0]
    if opcode == Opcode.VARIABLE_LENGTH and len(cdb) > 9:
        name = _NAMES.get(opcode << 16 | service_action(cdb))
        if name:
            return name
    if opcode in _WITH_SERVICE_ACTIONS and len(cdb) > 1:
        name = _NAMES.get(opcode << 8 | cdb[1] & 0x1F)
        if name:
            return name
    return _NAMES.get(opcode, f"operation code {opcode:02X}h")
