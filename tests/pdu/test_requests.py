"""The PDUs an initiator sends: real ones, and what they look like before anyone fills them in."""

import pytest

from iscsim.pdu import (
    PDU,
    RESERVED_TAG,
    BidirectionalReadLength,
    ExtendedCDB,
    LoginRequest,
    LogoutRequest,
    NOPOut,
    SCSICommand,
    SCSIDataOut,
    SNACKRequest,
    SNACKType,
    Stage,
    TaskManagementFunction,
    TaskManagementRequest,
    TextRequest,
    decode,
)

# header, data segment, PDU: sent by Linux 6.1 in pcaps/lio-chap-digests-reset-pr.pcap.gz; no SNACK is in
# any capture, that one is made up.
VECTORS = [
    (
        "01c100000000000000c5000000000000170000100003f000000000938229e55b2800000002080001f800000000000000",
        b"",
        SCSICommand(
            read=True,
            lun=bytes.fromhex("00c5000000000000"),
            initiator_task_tag=0x17000010,
            expected_data_transfer_length=504 * 512,
            cmd_sn=147,
            exp_stat_sn=0x8229E55B,
            cdb=bytes.fromhex("2800000002080001f800000000000000"),
        ),
    ),
    (
        "428500000000000000c50000000000006f000000ffffffff0000006e65d0497b00000000000000000000000000000000",
        b"",
        TaskManagementRequest(
            function=TaskManagementFunction.LOGICAL_UNIT_RESET,
            lun=bytes.fromhex("00c5000000000000"),
            initiator_task_tag=0x6F000000,
            cmd_sn=110,
            exp_stat_sn=0x65D0497B,
        ),
    ),
    (
        "430000000000000900023d000003000000000000000000000000006e8229e53300000000000000000000000000000000",
        b"CHAP_A=5\0",
        LoginRequest(
            isid=bytes.fromhex("00023d000003"),
            cmd_sn=110,
            exp_stat_sn=0x8229E533,
            data=b"CHAP_A=5\0",
        ),
    ),
    (
        "0480000000000010000000000000000000000001ffffffff00000001b9ff371800000000000000000000000000000000",
        b"SendTargets=All\0",
        TextRequest(initiator_task_tag=1, cmd_sn=1, exp_stat_sn=0xB9FF3718, data=b"SendTargets=All\0"),
    ),
    (
        "4080000000000000000000000000000059000010ffffffff000000d58229e59d00000000000000000000000000000000",
        b"",
        NOPOut(immediate=True, initiator_task_tag=0x59000010, cmd_sn=213, exp_stat_sn=0x8229E59D),
    ),
    (
        "468000000000000000000000000000007000001000000000000000e88229e5b300000000000000000000000000000000",
        b"",
        LogoutRequest(initiator_task_tag=0x70000010, cmd_sn=232, exp_stat_sn=0x8229E5B3),
    ),
    (
        "10820000000000000017000000000000ffffffff0000002a000000000000001100000000000000000000000300000000",
        b"",
        SNACKRequest(
            type=SNACKType.DATA_ACK,
            lun=bytes.fromhex("0017000000000000"),
            target_transfer_tag=42,
            exp_stat_sn=17,
            beg_run=3,
        ),
    ),
]


@pytest.mark.parametrize("header,data,pdu", VECTORS, ids=[type(pdu).__name__ for _, _, pdu in VECTORS])
def test_a_request_on_the_wire(header: str, data: bytes, pdu: PDU) -> None:
    wire = bytes.fromhex(header) + data + bytes(-len(data) % 4)
    assert b"".join(pdu.encode()) == wire
    assert decode(wire) == (pdu, len(wire))


def test_a_login_request_is_immediate_and_asks_for_a_new_session() -> None:
    """RFC 7143 sections 11.12 and 11.12.6."""
    request = LoginRequest()
    assert request.header()[0] == 0x43
    assert (request.tsih, request.version_min, request.version_max) == (0, 0, 0)


def test_stages_share_the_byte_with_transit_and_continue() -> None:
    """RFC 7143 section 11.12."""
    stages = {"current_stage": Stage.OPERATIONAL_NEGOTIATION, "next_stage": Stage.FULL_FEATURE}
    assert LoginRequest(transit=True, **stages).header()[1] == 0x87
    assert LoginRequest(continuation=True, **stages).header()[1] == 0x47


def test_a_data_out_has_no_cmd_sn_and_never_the_immediate_bit() -> None:
    """RFC 7143 section 11.7."""
    header = SCSIDataOut(final=True, exp_stat_sn=7, data_sn=1, buffer_offset=8192, data=bytes(4)).header()
    assert header[:2] == b"\x05\x80"
    assert header[24:28] == bytes(4)
    assert SCSIDataOut.from_header(b"\x45" + header[1:]) == SCSIDataOut.from_header(header)


def test_without_an_r2t_a_data_out_has_the_reserved_tag() -> None:
    """RFC 7143 section 11.7.4."""
    assert SCSIDataOut().target_transfer_tag == RESERVED_TAG


def test_a_long_cdb_is_put_together_from_its_segments() -> None:
    """RFC 7143 section 11.3.5."""
    spill = bytes(range(16, 32))
    command = SCSICommand(cdb=bytes(range(16)), ahs=(BidirectionalReadLength(512), ExtendedCDB(spill)))
    assert command.whole_cdb == bytes(range(32))
    wire = b"".join(command.encode())
    assert wire[4] == (8 + 20) // 4
    assert decode(wire) == (command, 48 + 28)


def test_a_short_cdb_is_its_16_bytes() -> None:
    assert SCSICommand(cdb=bytes(16)).whole_cdb == bytes(16)


def test_equal_data_makes_equal_pdus_whatever_holds_it() -> None:
    assert TextRequest(data=b"x") == TextRequest(data=memoryview(bytearray(b"x")))
    assert TextRequest(data=b"x") != TextRequest(data=b"y")
