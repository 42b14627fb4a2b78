from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.capture.describe import describe
from iscsim.pdu import (
    PDU,
    PDU_TYPES,
    AsyncMessage,
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    LogoutResponse,
    NOPIn,
    NOPOut,
    RawPDU,
    ReadyToTransfer,
    Reject,
    SCSICommand,
    SCSIDataIn,
    SCSIDataOut,
    SCSIResponse,
    SNACKRequest,
    TaskManagementRequest,
    TaskManagementResponse,
    TextRequest,
    TextResponse,
    decode,
)
from iscsim.scsi import cdb

LUN_5 = bytes((0, 5, 0, 0, 0, 0, 0, 0))
SENSE = SCSIResponse.sense_segment(bytes.fromhex("700005000000000a00000000210000000000"))


def padded(command: bytes) -> bytes:
    return command.ljust(16, b"\0")


LINES = [
    (
        SCSICommand(
            read=True, lun=LUN_5, cdb=padded(cdb.read_10(0, 8)), cmd_sn=5, expected_data_transfer_length=4096
        ),
        "SCSI Command READ (10) lba=0 blocks=8 LUN 5 ITT=0x0 CmdSN=5 length=4096",
    ),
    (
        SCSICommand(write=True, cdb=padded(cdb.write_16(2**40, 1)), data=bytes(512), initiator_task_tag=16),
        "SCSI Command WRITE (16) lba=1099511627776 blocks=1 LUN 0 ITT=0x10 CmdSN=0 immediate_data=512",
    ),
    (
        SCSICommand(cdb=padded(bytes.fromhex("080102030000"))),
        "SCSI Command READ (6) lba=66051 blocks=256 LUN 0 ITT=0x0 CmdSN=0",
    ),
    (
        SCSICommand(cdb=padded(cdb.inquiry(0x83)), immediate=True),
        "SCSI Command INQUIRY page=83h LUN 0 ITT=0x0 CmdSN=0 immediate",
    ),
    (
        SCSICommand(cdb=padded(cdb.inquiry()), lun=b"\xff" * 8),
        "SCSI Command INQUIRY LUN ffffffffffffffff ITT=0x0 CmdSN=0",
    ),
    (
        SCSIResponse(status=2, data=SENSE, stat_sn=3, initiator_task_tag=1),
        "SCSI Response ITT=0x1 CHECK CONDITION StatSN=3"
        " ILLEGAL REQUEST: logical block address out of range (05/21/00)",
    ),
    (
        SCSIResponse(status=2, data=b"\0\x20\x70"),
        "SCSI Response ITT=0x0 CHECK CONDITION StatSN=0 sense data 002070",
    ),
    (SCSIResponse(status=2), "SCSI Response ITT=0x0 CHECK CONDITION StatSN=0 sense data missing"),
    (SCSIResponse(response=1, status=0), "SCSI Response ITT=0x0 target failure GOOD StatSN=0"),
    (SCSIResponse(underflow=True, residual_count=7), "SCSI Response ITT=0x0 GOOD StatSN=0 underflow=7"),
    (
        SCSIDataIn(
            data=bytes(36), final=True, status_present=True, stat_sn=9, overflow=True, residual_count=4
        ),
        "Data-In ITT=0x0 DataSN=0 offset=0 length=36 final GOOD StatSN=9 overflow=4",
    ),
    (
        SCSIDataIn(data=bytes(8), data_sn=1, buffer_offset=8, acknowledge=True),
        "Data-In ITT=0x0 DataSN=1 offset=8 length=8 acknowledge",
    ),
    (
        SCSIDataOut(data=bytes(8), final=True, target_transfer_tag=2),
        "Data-Out ITT=0x0 DataSN=0 offset=0 length=8 TTT=0x2 final",
    ),
    (SCSIDataOut(data=bytes(8)), "Data-Out ITT=0x0 DataSN=0 offset=0 length=8 TTT=none"),
    (
        ReadyToTransfer(
            target_transfer_tag=2, r2t_sn=1, buffer_offset=512, desired_data_transfer_length=1024
        ),
        "R2T ITT=0x0 TTT=0x2 R2TSN=1 offset=512 length=1024",
    ),
    (
        TaskManagementRequest(function=5, lun=LUN_5, initiator_task_tag=7, cmd_sn=2),
        "Task Management logical unit reset LUN 5 ITT=0x7 referenced=none CmdSN=2",
    ),
    (
        TaskManagementResponse(response=2, stat_sn=1),
        "Task Management Response LUN does not exist ITT=0x0 StatSN=1",
    ),
    (TaskManagementResponse(response=99), "Task Management Response code 99 ITT=0x0 StatSN=0"),
    (
        LoginRequest(transit=True, next_stage=1, isid=bytes(5) + b"\1", data=b"AuthMethod=CHAP,None\0"),
        "Login Request security negotiation -> operational negotiation"
        " ISID=000000000001 TSIH=0 CID=0 CmdSN=0 AuthMethod=CHAP,None",
    ),
    (
        LoginResponse(status_class=2, status_detail=1),
        "Login Response security negotiation authentication failure (0x0201) TSIH=0 StatSN=0",
    ),
    (
        LoginResponse(continuation=True, current_stage=1, data=b"CHAP_N=me\0CHAP_R=0x0123\0CHAP_C=0bAA==\0"),
        "Login Response operational negotiation continued success (0x0000) TSIH=0 StatSN=0"
        " CHAP_N=me CHAP_R=(6 characters) CHAP_C=(6 characters)",
    ),
    (TextRequest(data=b"SendTargets=All\0", cmd_sn=1), "Text Request CmdSN=1 SendTargets=All"),
    (TextResponse(data=b"X-a=" + b"y" * 65), f"Text Response StatSN=0 X-a={'y' * 64}..."),
    (TextResponse(data=b"a=\x1b[31m\xff\0b"), "Text Response StatSN=0 a=?[31m\\xff b"),
    (LogoutRequest(reason=1, cid=4), "Logout Request close connection CID=4 CmdSN=0"),
    (LogoutResponse(), "Logout Response success StatSN=0"),
    (NOPOut(initiator_task_tag=3, data=b"ping"), "NOP-Out ITT=0x3 TTT=none CmdSN=0 length=4"),
    (NOPIn(target_transfer_tag=3), "NOP-In ITT=none TTT=0x3 StatSN=0 length=0"),
    (AsyncMessage(async_event=1), "Async Message logout requested StatSN=0"),
    (AsyncMessage(), "Async Message SCSI event StatSN=0"),
    (Reject(reason=4, data=b"\x01" + bytes(47)), "Reject protocol error of SCSICommand StatSN=0"),
    (Reject(reason=4), "Reject protocol error StatSN=0"),
    (SNACKRequest(beg_run=2, run_length=3), "SNACK Request data or R2T ITT=none BegRun=2 RunLength=3"),
    (RawPDU(bytes(48)), f"RawPDU({'00' * 48})"),
]


@pytest.mark.parametrize("pdu, line", LINES, ids=lambda value: value if isinstance(value, str) else "")
def test_pdu_is_described_in_the_standards_words(pdu: PDU, line: str) -> None:
    assert describe(pdu) == line


def test_every_kind_of_pdu_has_its_own_line() -> None:
    for cls in PDU_TYPES.values():
        assert describe(cls()) != repr(cls())


@given(
    opcode=st.sampled_from(sorted(PDU_TYPES)),
    header=st.binary(min_size=48, max_size=48),
    data=st.binary(max_size=64),
)
def test_no_decoded_pdu_is_beyond_words(opcode: int, header: bytes, data: bytes) -> None:
    lengths = bytes(1) + len(data).to_bytes(3, "big")
    pdu, _ = decode(bytes((opcode,)) + header[1:4] + lengths + header[8:] + data.ljust(64, b"\0"))
    line = describe(pdu)
    assert line.isprintable()
