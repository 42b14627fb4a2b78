"""Numbers of the RFC, where a slip would pass unseen on both ends."""

from enum import IntEnum

import pytest

from iscsim.pdu import constants
from iscsim.pdu.constants import (
    AsyncEvent,
    LoginStatus,
    LogoutReason,
    LogoutResponseCode,
    Opcode,
    RejectReason,
    SNACKType,
    Stage,
    TaskAttribute,
    TaskManagementFunction,
    TaskManagementResponseCode,
)


def test_initiator_opcodes_lie_below_the_targets() -> None:
    """RFC 7143 section 11.2.1.2."""
    requests = {op for op in Opcode if op < 0x20}
    assert requests == {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10}
    assert set(Opcode) - requests == {0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x31, 0x32, 0x3F}


def test_vendor_specific_opcodes_are_not_ours() -> None:
    """RFC 7143 section 11.2.1.2."""
    assert not {0x1C, 0x1D, 0x1E, 0x3C, 0x3D, 0x3E} & set(Opcode)


def test_stage_2_is_reserved() -> None:
    """RFC 7143 section 11.12.3."""
    assert [stage.value for stage in Stage] == [0, 1, 3]


@pytest.mark.parametrize(
    "enum,values",
    [
        (TaskAttribute, [0, 1, 2, 3, 4]),  # RFC 7143 section 11.3.1
        (TaskManagementFunction, [1, 2, 3, 4, 5, 6, 7, 8]),  # RFC 7143 section 11.5.1
        (TaskManagementResponseCode, [0, 1, 2, 3, 4, 5, 6, 255]),  # RFC 7143 section 11.6.1
        (AsyncEvent, [0, 1, 2, 3, 4, 5, 255]),  # RFC 7143 section 11.9.1
        (LogoutReason, [0, 1, 2]),  # RFC 7143 section 11.14.1
        (LogoutResponseCode, [0, 1, 2, 3]),  # RFC 7143 section 11.15.1
        (SNACKType, [0, 1, 2, 3]),  # RFC 7143 section 11.16.1
        (RejectReason, list(range(2, 13))),  # RFC 7143 section 11.17.1
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_codes_are_those_of_the_rfc(enum: type[IntEnum], values: list[int]) -> None:
    assert [member.value for member in enum] == values


def test_login_status_is_class_and_detail() -> None:
    """RFC 7143 section 11.13.5."""
    details = {0: [0], 1: [1, 2], 2: list(range(12)), 3: [0, 1, 2]}
    expected = [(status_class, detail) for status_class in details for detail in details[status_class]]
    assert [divmod(status, 256) for status in LoginStatus] == expected


def test_sizes() -> None:
    assert constants.BASIC_HEADER_LENGTH == 48
    assert constants.MAX_DATA_SEGMENT_LENGTH == 0xFFFFFF
    assert constants.DEFAULT_MAX_RECV_DATA_SEGMENT_LENGTH == 8192  # RFC 7143 section 13.12
    assert constants.RESERVED_TAG == 0xFFFFFFFF
