"""Additional sense codes (SPC-5 annex, ASC and ASCQ assignments) that this project sends or names."""

from __future__ import annotations

from enum import IntEnum


class ASC(IntEnum):
    """ASC in the high byte, ASCQ in the low one, under the name T10 gives the pair."""

    NO_ADDITIONAL_SENSE = 0x0000
    LOGICAL_UNIT_NOT_READY = 0x0400
    BECOMING_READY = 0x0401
    INITIALIZING_COMMAND_REQUIRED = 0x0402
    MANUAL_INTERVENTION_REQUIRED = 0x0403
    FORMAT_IN_PROGRESS = 0x0404
    ALUA_TRANSITION = 0x040A
    TARGET_PORT_STANDBY = 0x040B
    TARGET_PORT_UNAVAILABLE = 0x040C
    LOGICAL_UNIT_NOT_READY_OFFLINE = 0x0412
    SANITIZE_IN_PROGRESS = 0x041B
    LOGICAL_UNIT_COMMUNICATION_FAILURE = 0x0800
    UNREACHABLE_COPY_TARGET = 0x0804
    WRITE_ERROR = 0x0C00
    WRITE_ERROR_UNEXPECTED_UNSOLICITED_DATA = 0x0C0C
    WRITE_ERROR_NOT_ENOUGH_UNSOLICITED_DATA = 0x0C0D
    THIRD_PARTY_DEVICE_FAILURE = 0x0D01
    COPY_TARGET_DEVICE_NOT_REACHABLE = 0x0D02
    INCORRECT_COPY_TARGET_DEVICE_TYPE = 0x0D03
    UNRECOVERED_READ_ERROR = 0x1100
    READ_ERROR_LBA_MARKED_BAD = 0x1114
    PARAMETER_LIST_LENGTH_ERROR = 0x1A00
    DEFECT_LIST_NOT_FOUND = 0x1C00
    MISCOMPARE_DURING_VERIFY = 0x1D00
    INVALID_COMMAND_OPERATION_CODE = 0x2000
    ACCESS_DENIED_NO_ACCESS_RIGHTS = 0x2002
    LBA_OUT_OF_RANGE = 0x2100
    INVALID_FIELD_IN_CDB = 0x2400
    LOGICAL_UNIT_NOT_SUPPORTED = 0x2500
    INVALID_FIELD_IN_PARAMETER_LIST = 0x2600
    PARAMETER_NOT_SUPPORTED = 0x2601
    PARAMETER_VALUE_INVALID = 0x2602
    INVALID_RELEASE_OF_PERSISTENT_RESERVATION = 0x2604
    TOO_MANY_TARGET_DESCRIPTORS = 0x2606
    UNSUPPORTED_TARGET_DESCRIPTOR_TYPE = 0x2607
    TOO_MANY_SEGMENT_DESCRIPTORS = 0x2608
    UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE = 0x2609
    UNEXPECTED_INEXACT_SEGMENT = 0x260A
    INLINE_DATA_LENGTH_EXCEEDED = 0x260B
    WRITE_PROTECTED = 0x2700
    SPACE_ALLOCATION_FAILED_WRITE_PROTECT = 0x2707
    MEDIUM_MAY_HAVE_CHANGED = 0x2800
    POWER_ON_RESET_OR_BUS_DEVICE_RESET = 0x2900
    POWER_ON_OCCURRED = 0x2901
    SCSI_BUS_RESET_OCCURRED = 0x2902
    BUS_DEVICE_RESET_FUNCTION_OCCURRED = 0x2903
    DEVICE_INTERNAL_RESET = 0x2904
    IT_NEXUS_LOSS_OCCURRED = 0x2907
    PARAMETERS_CHANGED = 0x2A00
    MODE_PARAMETERS_CHANGED = 0x2A01
    LOG_PARAMETERS_CHANGED = 0x2A02
    RESERVATIONS_PREEMPTED = 0x2A03
    RESERVATIONS_RELEASED = 0x2A04
    REGISTRATIONS_PREEMPTED = 0x2A05
    ASYMMETRIC_ACCESS_STATE_CHANGED = 0x2A06
    IMPLICIT_ACCESS_STATE_TRANSITION_FAILED = 0x2A07
    CAPACITY_DATA_HAS_CHANGED = 0x2A09
    COPY_CANNOT_EXECUTE = 0x2B00
    COMMAND_SEQUENCE_ERROR = 0x2C00
    PREVIOUS_RESERVATION_CONFLICT_STATUS = 0x2C09
    COMMANDS_CLEARED_BY_ANOTHER_INITIATOR = 0x2F00
    INCOMPATIBLE_MEDIUM_INSTALLED = 0x3000
    MEDIUM_FORMAT_CORRUPTED = 0x3100
    FORMAT_COMMAND_FAILED = 0x3101
    SANITIZE_COMMAND_FAILED = 0x3103
    THIN_PROVISIONING_SOFT_THRESHOLD_REACHED = 0x3807
    SAVING_PARAMETERS_NOT_SUPPORTED = 0x3900
    MEDIUM_NOT_PRESENT = 0x3A00
    MEDIUM_NOT_PRESENT_TRAY_CLOSED = 0x3A01
    MEDIUM_NOT_PRESENT_TRAY_OPEN = 0x3A02
    TARGET_OPERATING_CONDITIONS_HAVE_CHANGED = 0x3F00
    MICROCODE_HAS_BEEN_CHANGED = 0x3F01
    INQUIRY_DATA_HAS_CHANGED = 0x3F03
    REPORTED_LUNS_DATA_HAS_CHANGED = 0x3F0E
    LOGICAL_UNIT_FAILED_SELF_TEST = 0x3E03
    INTERNAL_TARGET_FAILURE = 0x4400
    PROTOCOL_SERVICE_CRC_ERROR = 0x4705
    SOME_COMMANDS_CLEARED_BY_ISCSI_PROTOCOL_EVENT = 0x477F
    INITIATOR_DETECTED_ERROR_MESSAGE_RECEIVED = 0x4800
    INVALID_MESSAGE_ERROR = 0x4900
    OVERLAPPED_COMMANDS_ATTEMPTED = 0x4E00
    INSUFFICIENT_RESOURCES = 0x5503
    INSUFFICIENT_REGISTRATION_RESOURCES = 0x5504
    MEDIUM_REMOVAL_PREVENTED = 0x5302
    FAILURE_PREDICTION_THRESHOLD_EXCEEDED_FALSE = 0x5DFF
    IDLE_CONDITION_ACTIVATED_BY_COMMAND = 0x5E03
    STANDBY_CONDITION_ACTIVATED_BY_COMMAND = 0x5E04

    @property
    def text(self) -> str:
        """T10's words, in lower case: ``"logical block address out of range"``."""
        return _TEXTS.get(self) or self.name.lower().replace("_", " ")


# Where T10's words are more than the name spelt out.
_TEXTS: dict[int, str] = {
    ASC.NO_ADDITIONAL_SENSE: "no additional sense information",
    ASC.LOGICAL_UNIT_NOT_READY: "logical unit not ready, cause not reportable",
    ASC.BECOMING_READY: "logical unit is in process of becoming ready",
    ASC.INITIALIZING_COMMAND_REQUIRED: "logical unit not ready, initializing command required",
    ASC.MANUAL_INTERVENTION_REQUIRED: "logical unit not ready, manual intervention required",
    ASC.FORMAT_IN_PROGRESS: "logical unit not ready, format in progress",
    ASC.ALUA_TRANSITION: "logical unit not accessible, asymmetric access state transition",
    ASC.TARGET_PORT_STANDBY: "logical unit not accessible, target port in standby state",
    ASC.TARGET_PORT_UNAVAILABLE: "logical unit not accessible, target port in unavailable state",
    ASC.LOGICAL_UNIT_NOT_READY_OFFLINE: "logical unit not ready, offline",
    ASC.SANITIZE_IN_PROGRESS: "logical unit not ready, sanitize in progress",
    ASC.WRITE_ERROR_UNEXPECTED_UNSOLICITED_DATA: "write error - unexpected unsolicited data",
    ASC.WRITE_ERROR_NOT_ENOUGH_UNSOLICITED_DATA: "write error - not enough unsolicited data",
    ASC.READ_ERROR_LBA_MARKED_BAD: "read error - LBA marked bad by application client",
    ASC.MISCOMPARE_DURING_VERIFY: "miscompare during verify operation",
    ASC.INVALID_COMMAND_OPERATION_CODE: "invalid command operation code",
    ASC.ACCESS_DENIED_NO_ACCESS_RIGHTS: "access denied - no access rights",
    ASC.LBA_OUT_OF_RANGE: "logical block address out of range",
    ASC.INVALID_FIELD_IN_CDB: "invalid field in CDB",
    ASC.UNSUPPORTED_TARGET_DESCRIPTOR_TYPE: "unsupported target descriptor type code",
    ASC.UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE: "unsupported segment descriptor type code",
    ASC.SPACE_ALLOCATION_FAILED_WRITE_PROTECT: "space allocation failed write protect",
    ASC.MEDIUM_MAY_HAVE_CHANGED: "not ready to ready change, medium may have changed",
    ASC.POWER_ON_RESET_OR_BUS_DEVICE_RESET: "power on, reset, or bus device reset occurred",
    ASC.SCSI_BUS_RESET_OCCURRED: "SCSI bus reset occurred",
    ASC.IT_NEXUS_LOSS_OCCURRED: "I_T nexus loss occurred",
    ASC.ASYMMETRIC_ACCESS_STATE_CHANGED: "asymmetric access state changed",
    ASC.IMPLICIT_ACCESS_STATE_TRANSITION_FAILED: "implicit asymmetric access state transition failed",
    ASC.COPY_CANNOT_EXECUTE: "copy cannot execute since host cannot disconnect",
    ASC.PREVIOUS_RESERVATION_CONFLICT_STATUS: "previous reservation conflict status",
    ASC.MEDIUM_NOT_PRESENT_TRAY_CLOSED: "medium not present - tray closed",
    ASC.MEDIUM_NOT_PRESENT_TRAY_OPEN: "medium not present - tray open",
    ASC.REPORTED_LUNS_DATA_HAS_CHANGED: "reported LUNs data has changed",
    ASC.PROTOCOL_SERVICE_CRC_ERROR: "protocol service CRC error",
    ASC.LOGICAL_UNIT_FAILED_SELF_TEST: "logical unit failed self-test",
    ASC.FAILURE_PREDICTION_THRESHOLD_EXCEEDED_FALSE: "failure prediction threshold exceeded (false)",
    ASC.SOME_COMMANDS_CLEARED_BY_ISCSI_PROTOCOL_EVENT: "some commands cleared by iSCSI protocol event",
    ASC.MEDIUM_REMOVAL_PREVENTED: "medium removal prevented",
}


def asc_text(asc: int, ascq: int) -> str:
    """The words for a pair; a pair we do not know says whose it is."""
    code = asc << 8 | ascq
    if code in _KNOWN:
        return ASC(code).text
    return "vendor specific" if asc >= 0x80 or ascq >= 0x80 else "unknown additional sense"


_KNOWN = frozenset(ASC)
