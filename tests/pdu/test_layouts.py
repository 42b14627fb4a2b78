"""The Construct layouts against the drawings of RFC 7143 section 11, read a second time and bit by bit."""

import pytest
from construct import Container

from iscsim.pdu.constants import BASIC_HEADER_LENGTH, Opcode
from iscsim.pdu.layouts import AHS_HEADER, LAYOUTS

# field: (byte, first bit in it, width in bits); bit 0 is the most significant (RFC 7143 section 11)
I_BIT = {"immediate": (0, 1, 1)}
FINAL = {"final": (1, 0, 1)}
OPCODE = {"opcode": (0, 2, 6)}
LENGTHS = {"total_ahs_length": (4, 0, 8), "data_segment_length": (5, 0, 24)}
LUN = {"lun": (8, 0, 64)}
ITT = {"initiator_task_tag": (16, 0, 32)}
TTT = {"target_transfer_tag": (20, 0, 32)}
CMD_SN = {"cmd_sn": (24, 0, 32)}
EXP_STAT_SN = {"exp_stat_sn": (28, 0, 32)}
STAT_SN = {"stat_sn": (24, 0, 32), "exp_cmd_sn": (28, 0, 32), "max_cmd_sn": (32, 0, 32)}
CONTINUE = {"continuation": (1, 1, 1)}
LOGIN = {
    "transit": (1, 0, 1),
    **CONTINUE,
    "current_stage": (1, 4, 2),
    "next_stage": (1, 6, 2),
    "version_max": (2, 0, 8),
    "isid": (8, 0, 48),
    "tsih": (14, 0, 16),
}
COMMON = {**OPCODE, **LENGTHS, **ITT}
REQUEST = {**COMMON, **I_BIT, **CMD_SN, **EXP_STAT_SN}
RESPONSE = {**COMMON, **STAT_SN}

DRAWINGS = {
    Opcode.NOP_OUT: {**REQUEST, **FINAL, **LUN, **TTT},
    Opcode.SCSI_COMMAND: {
        **REQUEST,
        **FINAL,
        **LUN,
        "read": (1, 1, 1),
        "write": (1, 2, 1),
        "task_attribute": (1, 5, 3),
        "expected_data_transfer_length": (20, 0, 32),
        "cdb": (32, 0, 128),
    },
    Opcode.TASK_MANAGEMENT_REQUEST: {
        **REQUEST,
        **FINAL,
        **LUN,
        "function": (1, 1, 7),
        "referenced_task_tag": (20, 0, 32),
        "ref_cmd_sn": (32, 0, 32),
        "exp_data_sn": (36, 0, 32),
    },
    Opcode.LOGIN_REQUEST: {**REQUEST, **LOGIN, "version_min": (3, 0, 8), "cid": (20, 0, 16)},
    Opcode.TEXT_REQUEST: {**REQUEST, **FINAL, **CONTINUE, **LUN, **TTT},
    Opcode.SCSI_DATA_OUT: {
        **COMMON,
        **FINAL,
        **LUN,
        **TTT,
        **EXP_STAT_SN,
        "data_sn": (36, 0, 32),
        "buffer_offset": (40, 0, 32),
    },
    Opcode.LOGOUT_REQUEST: {**REQUEST, **FINAL, "reason": (1, 1, 7), "cid": (20, 0, 16)},
    Opcode.SNACK_REQUEST: {
        **COMMON,
        **FINAL,
        **LUN,
        **TTT,
        **EXP_STAT_SN,
        "type": (1, 4, 4),
        "beg_run": (40, 0, 32),
        "run_length": (44, 0, 32),
    },
    Opcode.NOP_IN: {**RESPONSE, **FINAL, **LUN, **TTT},
    Opcode.SCSI_RESPONSE: {
        **RESPONSE,
        **FINAL,
        "bidirectional_read_overflow": (1, 3, 1),
        "bidirectional_read_underflow": (1, 4, 1),
        "overflow": (1, 5, 1),
        "underflow": (1, 6, 1),
        "response": (2, 0, 8),
        "status": (3, 0, 8),
        "snack_tag": (20, 0, 32),
        "exp_data_sn": (36, 0, 32),
        "bidirectional_read_residual_count": (40, 0, 32),
        "residual_count": (44, 0, 32),
    },
    Opcode.TASK_MANAGEMENT_RESPONSE: {**RESPONSE, **FINAL, "response": (2, 0, 8)},
    Opcode.LOGIN_RESPONSE: {
        **RESPONSE,
        **LOGIN,
        "version_active": (3, 0, 8),
        "status_class": (36, 0, 8),
        "status_detail": (37, 0, 8),
    },
    Opcode.TEXT_RESPONSE: {**RESPONSE, **FINAL, **CONTINUE, **LUN, **TTT},
    Opcode.SCSI_DATA_IN: {
        **RESPONSE,
        **FINAL,
        **LUN,
        **TTT,
        "acknowledge": (1, 1, 1),
        "overflow": (1, 5, 1),
        "underflow": (1, 6, 1),
        "status_present": (1, 7, 1),
        "status": (3, 0, 8),
        "data_sn": (36, 0, 32),
        "buffer_offset": (40, 0, 32),
        "residual_count": (44, 0, 32),
    },
    Opcode.LOGOUT_RESPONSE: {
        **RESPONSE,
        **FINAL,
        "response": (2, 0, 8),
        "time2wait": (40, 0, 16),
        "time2retain": (42, 0, 16),
    },
    Opcode.READY_TO_TRANSFER: {
        **RESPONSE,
        **FINAL,
        **LUN,
        **TTT,
        "r2t_sn": (36, 0, 32),
        "buffer_offset": (40, 0, 32),
        "desired_data_transfer_length": (44, 0, 32),
    },
    Opcode.ASYNC_MESSAGE: {
        **RESPONSE,
        **FINAL,
        **LUN,
        "async_event": (36, 0, 8),
        "async_vcode": (37, 0, 8),
        "parameter_1": (38, 0, 16),
        "parameter_2": (40, 0, 16),
        "parameter_3": (42, 0, 16),
    },
    Opcode.REJECT: {**RESPONSE, **FINAL, "reason": (2, 0, 8), "data_sn": (36, 0, 32)},
}
CASES = sorted(DRAWINGS)


def bits(byte: int, first: int, width: int) -> int:
    """The field's ones within the 384 bits of a header."""
    return ((1 << width) - 1) << (BASIC_HEADER_LENGTH * 8 - byte * 8 - first - width)


def flat(parsed: Container) -> dict[str, object]:
    merged = {**parsed.byte_0, **parsed.byte_1, **parsed}
    return {name: value for name, value in merged.items() if name not in ("_io", "byte_0", "byte_1")}


def as_int(value: object) -> int:
    return int.from_bytes(value, "big") if isinstance(value, bytes) else int(value)


def test_every_opcode_has_a_layout_of_48_bytes() -> None:
    assert set(LAYOUTS) == set(Opcode) == set(DRAWINGS)
    assert {layout.sizeof() for layout in LAYOUTS.values()} == {BASIC_HEADER_LENGTH}


@pytest.mark.parametrize("opcode", CASES)
def test_fields_of_a_drawing_do_not_overlap(opcode: Opcode) -> None:
    masks = [bits(*place) for place in DRAWINGS[opcode].values()]
    assert sum(mask.bit_count() for mask in masks) == sum(masks).bit_count()


@pytest.mark.parametrize("opcode", CASES)
def test_layout_has_the_fields_of_its_drawing(opcode: Opcode) -> None:
    assert set(flat(LAYOUTS[opcode].parse(bytes(48)))) == set(DRAWINGS[opcode])


@pytest.mark.parametrize("opcode", CASES)
def test_each_field_is_where_the_drawing_has_it(opcode: Opcode) -> None:
    for name, place in DRAWINGS[opcode].items():
        parsed = flat(LAYOUTS[opcode].parse(bits(*place).to_bytes(48, "big")))
        ones = (1 << place[2]) - 1
        assert {field: as_int(value) for field, value in parsed.items()} == {
            **dict.fromkeys(parsed, 0),
            name: ones,
        }


@pytest.mark.parametrize("opcode", CASES)
def test_each_field_is_built_where_the_drawing_has_it(opcode: Opcode) -> None:
    layout = LAYOUTS[opcode]
    for place in DRAWINGS[opcode].values():
        header = bits(*place).to_bytes(48, "big")
        assert layout.build(layout.parse(header)) == header


@pytest.mark.parametrize("opcode", CASES)
def test_reserved_bits_are_ignored_when_read_and_zero_when_sent(opcode: Opcode) -> None:
    """RFC 7143 section 11."""
    layout = LAYOUTS[opcode]
    defined = sum(bits(*place) for place in DRAWINGS[opcode].values())
    parsed = layout.parse(b"\xff" * 48)
    assert flat(parsed) == flat(layout.parse(defined.to_bytes(48, "big")))
    assert layout.build(parsed) == defined.to_bytes(48, "big")


def test_ahs_type_has_two_reserved_bits() -> None:
    """RFC 7143 section 11.2.2.1."""
    parsed = AHS_HEADER.parse(b"\x12\x34\xc1\x56")
    assert (parsed.ahs_length, parsed.byte_2.ahs_type, parsed.specific) == (0x1234, 1, 0x56)
    assert AHS_HEADER.build(parsed) == b"\x12\x34\x01\x56"
