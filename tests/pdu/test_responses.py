"""The PDUs a target sends: real ones, and the sense data inside."""

import pytest

from iscsim.errors import FormatError
from iscsim.pdu import (
    PDU,
    RESERVED_TAG,
    AsyncEvent,
    AsyncMessage,
    LoginResponse,
    LogoutResponse,
    NOPIn,
    ReadyToTransfer,
    Reject,
    RejectReason,
    SCSIDataIn,
    SCSIResponse,
    Stage,
    TaskManagementResponse,
    TaskManagementResponseCode,
    TextResponse,
    decode,
)

SENSE = bytes.fromhex("700005000000000a00000000240000000000")
CHAP_RESPONSE = b"CHAP_N=tgtuser\0CHAP_R=0xe1139bfbaf481feb27103a06502584e4\0"

# header, data segment, PDU: the SCSI Response from tgt (pcaps/open-iscsi-discovery-login-scan-io.pcap.gz),
# others from LIO (pcaps/lio-chap-digests-reset-pr.pcap.gz); no Asynchronous Message and no Reject is in any
# capture, those are made up.
VECTORS = [
    (
        "218200020000001400000000000000002b00000000000000000000aa000000aa0000012a000000000000000000000080",
        b"\0\x12" + SENSE,
        SCSIResponse(
            underflow=True,
            status=2,
            initiator_task_tag=0x2B000000,
            stat_sn=170,
            exp_cmd_sn=170,
            max_cmd_sn=298,
            residual_count=128,
            data=b"\0\x12" + SENSE,
        ),
    ),
    (
        "2583000000000010ffffffffffffffff68000010ffffffff8229e5ab000000e100000120000000000000000000001ff0",
        bytes.fromhex("000000080000000000c5000000000000"),
        SCSIDataIn(
            final=True,
            underflow=True,
            status_present=True,
            lun=b"\xff" * 8,
            initiator_task_tag=0x68000010,
            stat_sn=0x8229E5AB,
            exp_cmd_sn=225,
            max_cmd_sn=288,
            residual_count=8176,
            data=bytes.fromhex("000000080000000000c5000000000000"),
        ),
    ),
    (
        "318000000000000000c50000000000005e0000000000005a65d0496a0000005e0000009c000000000001000000030000",
        b"",
        ReadyToTransfer(
            lun=bytes.fromhex("00c5000000000000"),
            initiator_task_tag=0x5E000000,
            target_transfer_tag=90,
            stat_sn=0x65D0496A,
            exp_cmd_sn=94,
            max_cmd_sn=156,
            buffer_offset=65536,
            desired_data_transfer_length=196608,
        ),
    ),
    (
        "22800100000000000000000000000000700000000000000065d0497c0000006e000000ad000000000000000000000000",
        b"",
        TaskManagementResponse(
            response=TaskManagementResponseCode.TASK_DOES_NOT_EXIST,
            initiator_task_tag=0x70000000,
            stat_sn=0x65D0497C,
            exp_cmd_sn=110,
            max_cmd_sn=173,
        ),
    ),
    (
        "238100000000003900023d000003000000000000000000008229e5340000006e0000006e000000000000000000000000",
        CHAP_RESPONSE,
        LoginResponse(
            transit=True,
            next_stage=Stage.OPERATIONAL_NEGOTIATION,
            isid=bytes.fromhex("00023d000003"),
            stat_sn=0x8229E534,
            exp_cmd_sn=110,
            max_cmd_sn=110,
            data=CHAP_RESPONSE,
        ),
    ),
    (
        "248000000000000d000000000000000000000001ffffffffb9ff37180000000200000002000000000000000000000000",
        b"TargetAlias=\0",  # LIO's header with a shorter text
        TextResponse(
            initiator_task_tag=1, stat_sn=0xB9FF3718, exp_cmd_sn=2, max_cmd_sn=2, data=b"TargetAlias=\0"
        ),
    ),
    (
        "2080000000000000ffffffffffffffff59000010ffffffff8229e59d000000d500000114000000000000000000000000",
        b"",
        NOPIn(
            lun=b"\xff" * 8,
            initiator_task_tag=0x59000010,
            stat_sn=0x8229E59D,
            exp_cmd_sn=213,
            max_cmd_sn=276,
        ),
    ),
    (
        "2680000000000000000000000000000070000010000000008229e5b3000000e800000127000000000000000000000000",
        b"",
        LogoutResponse(initiator_task_tag=0x70000010, stat_sn=0x8229E5B3, exp_cmd_sn=232, max_cmd_sn=295),
    ),
    (
        "32800000000000000000000000000000ffffffff00000000000000050000000600000007020000030002001400000000",
        b"",
        AsyncMessage(
            stat_sn=5,
            exp_cmd_sn=6,
            max_cmd_sn=7,
            async_event=AsyncEvent.CONNECTION_DROPPED,
            parameter_1=3,
            parameter_2=2,
            parameter_3=20,
        ),
    ),
    (
        "3f800400000000300000000000000000ffffffff00000000000000050000000600000007000000080000000000000000",
        bytes(48),
        Reject(
            reason=RejectReason.PROTOCOL_ERROR,
            stat_sn=5,
            exp_cmd_sn=6,
            max_cmd_sn=7,
            data_sn=8,
            data=bytes(48),
        ),
    ),
]


@pytest.mark.parametrize("header,data,pdu", VECTORS, ids=[type(pdu).__name__ for _, _, pdu in VECTORS])
def test_a_response_on_the_wire(header: str, data: bytes, pdu: PDU) -> None:
    wire = bytes.fromhex(header) + data + bytes(-len(data) % 4)
    assert b"".join(pdu.encode()) == wire
    assert decode(wire) == (pdu, len(wire))


def test_residual_flags_of_a_response() -> None:
    """RFC 7143 section 11.4.1: bits o, u, O, U are bits 3 to 6 of byte 1."""
    flags = ("bidirectional_read_overflow", "bidirectional_read_underflow", "overflow", "underflow")
    assert [SCSIResponse(**{flag: True}).header()[1] for flag in flags] == [0x90, 0x88, 0x84, 0x82]


def test_residual_flags_of_a_data_in() -> None:
    """RFC 7143 section 11.7.3."""
    flags = ("acknowledge", "overflow", "underflow", "status_present")
    assert [SCSIDataIn(**{flag: True}).header()[1] for flag in flags] == [0x40, 0x04, 0x02, 0x01]


def test_sense_goes_behind_its_length() -> None:
    """RFC 7143 section 11.4.7."""
    segment = SCSIResponse.sense_segment(SENSE)
    assert segment == b"\0\x12" + SENSE
    assert SCSIResponse(data=segment).sense == SENSE
    assert SCSIResponse(data=memoryview(segment + b"response data")).sense == SENSE


def test_no_sense_is_no_data() -> None:
    assert SCSIResponse.sense_segment(b"") == b""
    assert SCSIResponse().sense == b""
    assert SCSIResponse(data=b"\0\0").sense == b""


@pytest.mark.parametrize("data", [b"\0", b"\1", b"\0\1", b"\0\x13" + SENSE, b"\xff\xff"])
def test_a_sense_length_beyond_the_data_is_a_format_error(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        _ = SCSIResponse(data=data).sense
    assert caught.value.section == "11.4.7.1"


@pytest.mark.parametrize("cls", [AsyncMessage, Reject, NOPIn])
def test_what_answers_no_task_has_the_reserved_tag(cls: type[AsyncMessage | Reject | NOPIn]) -> None:
    """RFC 7143 sections 11.9, 11.17 and 11.19."""
    assert cls().initiator_task_tag == RESERVED_TAG


def test_targets_set_no_immediate_bit_and_ignore_it() -> None:
    """RFC 7143 section 11.2.1.1: the I bit is for requests."""
    for _, _, pdu in VECTORS:
        header = pdu.header()
        assert header[0] == pdu.opcode
        assert type(pdu).from_header(bytes((header[0] | 0xC0,)) + header[1:]).header()[0] == pdu.opcode
