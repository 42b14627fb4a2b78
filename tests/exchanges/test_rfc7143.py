"""What RFC 7143 asks of a target and no one module answers for: rows of conformance/checklist.toml."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from exchanges.checksum import crc32c
from exchanges.ladder import (
    ISID,
    Exchange,
    command,
    connect,
    data_out,
    inquiry,
    like,
    log_in,
    login_request,
    logout,
    lun,
    make_entity,
    node_of,
    nop_out,
    read_10,
    rejected,
    task_management,
    test_unit_ready,
    text,
    unit_of,
    write_10,
)
from marks import rfc

from iscsim.pdu import (
    LoginResponse,
    LogoutResponse,
    NOPIn,
    ReadyToTransfer,
    RejectReason,
    SCSIDataIn,
    SCSIResponse,
    Stage,
    TaskManagementFunction,
    TaskManagementResponse,
)
from iscsim.pdu.text import encode_text, parse_text
from iscsim.scsi.status import Status
from iscsim.session.chap import ChapAlgorithm, ChapConfig, ChapCredential, chap_response
from iscsim.target.policy import RFC

Function = TaskManagementFunction
R2T_ONLY = {"InitialR2T": "Yes", "ImmediateData": "No"}
DIGESTS = {"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}
SECURITY = Stage.SECURITY_NEGOTIATION
RESERVE_6, RELEASE_6 = b"\x16" + bytes(5), b"\x17" + bytes(5)
OTHER_ISID = bytes(6)


def small_window(commands: int = 4) -> Exchange:
    """A session whose window is used up by writes that wait for their data."""
    exchange = log_in(make_entity(replace(RFC, command_window=commands)), R2T_ONLY)
    for _ in range(commands):
        exchange >> write_10()
    return exchange


def exchanged(exchange: Exchange, wire: bytes) -> bytes:
    """The bytes that answer ``wire``."""
    exchange.connection.receive_data(wire, 0.0)
    return b"".join(exchange.connection.data_to_send())


def negotiated(*pairs: tuple[str, str]) -> dict[str, str]:
    """What a login with ``pairs`` is answered."""
    response = (connect() >> login_request(dict(pairs))).next()
    assert (response.status_class, response.transit) == (0, True)
    return dict(parse_text(response.data))


# -- numbers ---------------------------------------------------------------------------------------


@rfc("7143", "4.2.2.1", row=4)
def test_max_cmd_sn_never_goes_back_and_the_window_may_close():
    exchange = small_window()
    assert [(r2t.exp_cmd_sn, r2t.max_cmd_sn) for r2t in exchange.answers] == [(2, 4), (3, 4), (4, 4), (5, 4)]
    tags = [exchange.next().target_transfer_tag for _ in range(4)]
    for number, tag in enumerate(tags, 1):
        exchange >> data_out(number, 0, bytes(512), target_transfer_tag=tag)
        assert exchange << like(SCSIResponse, exp_cmd_sn=5, max_cmd_sn=4 + number)


@rfc("7143", "4.2.2.1", row=(3, 5))
def test_a_closed_window_lets_immediate_requests_through():
    exchange = small_window()
    exchange.answers.clear()
    assert exchange >> nop_out(cmd_sn=5)  # no place for it: ignored
    assert exchange >> nop_out(immediate=True, cmd_sn=5) << like(NOPIn, exp_cmd_sn=5, max_cmd_sn=4)
    abort = task_management(Function.ABORT_TASK, referenced_task_tag=1, immediate=True, cmd_sn=5)
    assert exchange >> abort << like(TaskManagementResponse, response=0)


@rfc("7143", "11.4.8", row=10)
def test_r2ts_are_not_counted_in_exp_data_sn():
    exchange = log_in(keys=R2T_ONLY | {"MaxBurstLength": "512", "FirstBurstLength": "512"})
    exchange >> write_10(blocks=3)
    for offset in (0, 512, 1024):
        tag = exchange.next().target_transfer_tag
        exchange >> data_out(1, offset, bytes(512), target_transfer_tag=tag)
    assert exchange << like(SCSIResponse, status=Status.GOOD, exp_data_sn=0)


@rfc("7143", "4.2.2.4", row=9)
def test_every_burst_of_data_out_begins_with_data_sn_0():
    exchange = log_in(keys=R2T_ONLY | {"MaxBurstLength": "1024", "FirstBurstLength": "512"})
    exchange >> write_10(blocks=4)
    first = exchange.next().target_transfer_tag
    exchange >> data_out(1, 0, bytes(512), target_transfer_tag=first, final=False, data_sn=0)
    exchange >> data_out(1, 512, bytes(512), target_transfer_tag=first, data_sn=1)
    second = exchange.next().target_transfer_tag
    exchange >> data_out(1, 1024, bytes(1024), target_transfer_tag=second, data_sn=2)  # and not going on
    assert exchange.next().status == Status.CHECK_CONDITION


@rfc("7143", "4.2.5.1", row=11)
def test_data_and_status_of_a_write_stay_on_its_connection():
    entity = make_entity()
    exchange = log_in(entity, R2T_ONLY) >> write_10()
    other = log_in(entity, R2T_ONLY, isid=OTHER_ISID)
    tag = exchange.next().target_transfer_tag
    data = data_out(1, 0, b"x" * 512, target_transfer_tag=tag)
    assert other >> data << rejected(RejectReason.INVALID_PDU_FIELD)
    assert exchange.collect()
    assert bytes(unit_of(entity).read(0, 1)) == bytes(512)
    assert exchange >> data << like(SCSIResponse, status=Status.GOOD)
    assert other.collect()


# -- writes and residuals --------------------------------------------------------------------------


@rfc("7143", "11.4.2", row=12)
def test_a_write_is_answered_behind_its_last_data_out():
    exchange = log_in(keys=R2T_ONLY) >> write_10(blocks=3)
    tag = exchange.next().target_transfer_tag
    for number in range(2):
        part = {"data_sn": number, "final": False, "target_transfer_tag": tag}
        assert exchange >> data_out(1, 512 * number, bytes(512), **part)
    last = data_out(1, 1024, bytes(512), target_transfer_tag=tag, data_sn=2)
    assert exchange >> last << like(SCSIResponse, status=Status.GOOD)


@rfc("7143", "13.17", row=18)
def test_one_r2t_is_out_at_a_time_unless_more_were_agreed():
    exchange = log_in(keys=R2T_ONLY | {"MaxBurstLength": "512", "FirstBurstLength": "512"})
    exchange >> write_10(blocks=3)
    for offset in (0, 512, 1024):
        (r2t,) = exchange.answers
        exchange.answers.clear()
        exchange >> data_out(1, offset, bytes(512), target_transfer_tag=r2t.target_transfer_tag)
    assert exchange << like(SCSIResponse, status=Status.GOOD)


@rfc("7143", "11.4.5", row=21)
@pytest.mark.parametrize("length", [5, 36])
def test_data_cut_by_the_allocation_length_are_no_overflow(length):
    answer = like(SCSIDataIn, overflow=False, underflow=False, residual_count=0, status_present=True)
    assert log_in() >> inquiry(length) << answer


# -- bytes on the wire -----------------------------------------------------------------------------


@rfc("7143", "11.2.3", "13.1", row=24)
def test_digests_are_crc32c_over_header_and_padded_data():
    exchange = log_in(keys=DIGESTS)
    header = nop_out(b"12345", initiator_task_tag=9, cmd_sn=1).header()
    padded = b"12345\0\0\0"
    answer = exchanged(exchange, header + crc32c(header) + padded + crc32c(padded))
    assert (answer[48:52], answer[52:60]) == (crc32c(answer[:48]), padded)
    assert answer[60:] == crc32c(padded)


@rfc("7143", "11.2.3", row=24)
def test_there_is_no_digest_of_no_data():
    exchange = log_in(keys=DIGESTS)
    header = nop_out(initiator_task_tag=9, cmd_sn=1).header()
    answer = exchanged(exchange, header + crc32c(header))
    assert answer[48:] == crc32c(answer[:48])


@rfc("7143", "11.1", "11.2.3", row=25)
def test_padding_is_ignored_when_it_comes_and_zero_when_it_goes():
    header = nop_out(b"12345", initiator_task_tag=9, cmd_sn=1).header()
    answer = exchanged(log_in(), header + b"12345\xff\xff\xff")
    assert int.from_bytes(answer[5:8], "big") == 5
    assert answer[48:] == b"12345\0\0\0"


# -- text ------------------------------------------------------------------------------------------


@rfc("7143", "6.1", row=29)
def test_keys_are_told_apart_by_case():
    answers = negotiated(("HEADERDIGEST", "CRC32C"))
    assert answers["HEADERDIGEST"] == "NotUnderstood"
    assert "HeaderDigest" not in answers


@rfc("7143", "6.1", row=29)
def test_8192_bytes_of_text_are_taken():
    pairs = [(f"X-org.example.{number}", "v" * 255) for number in range(31)]
    question = encode_text(pairs)
    assert len(question) > 8192 - 255
    padding = 8192 - len(question) - len("X-last=\0")
    exchange = log_in() >> text(*pairs, ("X-last", "v" * padding))
    assert len(parse_text(exchange.next().data)) == 32


KNOWN = {
    "HeaderDigest": "None",
    "DataDigest": "None",
    "MaxConnections": "1",
    "InitialR2T": "No",
    "ImmediateData": "Yes",
    "MaxBurstLength": "16384",
    "FirstBurstLength": "8192",
    "DefaultTime2Wait": "2",
    "DefaultTime2Retain": "20",
    "MaxOutstandingR2T": "1",
    "DataPDUInOrder": "Yes",
    "DataSequenceInOrder": "Yes",
    "ErrorRecoveryLevel": "0",
    "TaskReporting": "RFC3720,ResponseFence,FastAbort",
    "iSCSIProtocolLevel": "1",
    "IFMarker": "Yes",
    "OFMarker": "Yes",
    "IFMarkInt": "2048~8192",
    "OFMarkInt": "2048",
}


@rfc("7143", "6.2", row=31)
def test_no_key_of_the_standard_is_not_understood():
    answers = negotiated(*KNOWN.items(), ("InitiatorAlias", "a host"), ("MaxRecvDataSegmentLength", "8192"))
    assert KNOWN.keys() <= answers.keys()
    assert "NotUnderstood" not in answers.values()


@rfc("7143", "13.25", row=46)
def test_markers_are_refused_by_their_names():
    answers = negotiated(*KNOWN.items())
    assert {answers["IFMarker"], answers["OFMarker"]} <= {"No", "Reject"}
    assert (answers["IFMarkInt"], answers["OFMarkInt"]) == ("Reject", "Reject")


@rfc("7143", "6.2", row=32)
@pytest.mark.parametrize("first, again", [("MaxBurstLength=511", "MaxBurstLength=65536"), ("X-a=1", "X-a=2")])
def test_a_refused_key_is_not_offered_again(first, again):
    names = {"InitiatorName": "iqn.2026-11.org.example:host", "TargetName": node_of(make_entity()).name}
    exchange = connect() >> login_request(transit=False, data=encode_text([*names.items(), first.split("=")]))
    answers = dict(parse_text(exchange.next().data))
    assert answers[first.split("=")[0]] in ("Reject", "NotUnderstood")
    exchange >> login_request(data=encode_text([again.split("=")]))
    assert exchange << like(LoginResponse, status_class=2, status_detail=0)


@rfc("7143", "6.2.1", row=33)
@pytest.mark.parametrize(
    "offer, answer",
    [
        ("CRC32C,None", "CRC32C"),
        ("None,CRC32C", "None"),
        ("X-strange,CRC32C", "CRC32C"),
        ("X-strange", "Reject"),
    ],
)
def test_the_first_value_of_a_list_that_is_supported_is_chosen(offer, answer):
    assert negotiated(("HeaderDigest", offer))["HeaderDigest"] == answer


@rfc("7143", "6.2.2", row=34)
def test_a_boolean_that_the_offer_decides_is_so_with_or_without_an_answer():
    exchange = connect() >> login_request(R2T_ONLY)
    answers = dict(parse_text(exchange.next().data))
    assert (answers.get("InitialR2T", "Yes"), answers.get("ImmediateData", "No")) == ("Yes", "No")
    exchange.session.nexus.unit_attentions.clear()
    assert exchange >> write_10() << like(ReadyToTransfer, buffer_offset=0)


@rfc("7143", "13.13", "13.14", row=48)
def test_first_burst_length_stays_within_max_burst_length():
    answers = negotiated(("MaxBurstLength", "4096"), ("FirstBurstLength", "65536"))
    assert (answers["MaxBurstLength"], answers["FirstBurstLength"]) == ("4096", "4096")
    answers = negotiated(*R2T_ONLY.items(), ("FirstBurstLength", "65536"))
    assert answers["FirstBurstLength"] == "Irrelevant"


@rfc("7143", "13.17", row=49)
@pytest.mark.parametrize("offer, answer", [("0", "Reject"), ("65536", "Reject"), ("65535", "1"), ("1", "1")])
def test_max_outstanding_r2t_has_its_range(offer, answer):
    assert negotiated(("MaxOutstandingR2T", offer))["MaxOutstandingR2T"] == answer


# -- CHAP ------------------------------------------------------------------------------------------


@rfc("7143", "12.1.3", row=59)
@pytest.mark.parametrize("spelling", ["hexadecimal", "base64"])
def test_a_chap_response_may_be_hexadecimal_or_base64(spelling):
    entity = make_entity()
    node_of(entity).chap = ChapConfig(incoming=(ChapCredential("user", b"secretsecret"),))
    exchange = connect(entity)
    exchange >> login_request({"AuthMethod": "CHAP"}, transit=False, current_stage=SECURITY)
    exchange.next()
    exchange >> security(("CHAP_A", "8,5"))
    asked = dict(parse_text(exchange.next().data))
    algorithm = ChapAlgorithm(int(asked["CHAP_A"]))
    challenge = bytes.fromhex(asked["CHAP_C"][2:])
    response = chap_response(algorithm, int(asked["CHAP_I"]), b"secretsecret", challenge)
    shown = "0x" + response.hex() if spelling == "hexadecimal" else "0b" + base64.b64encode(response).decode()
    last = security(("CHAP_N", "user"), ("CHAP_R", shown), transit=True, next_stage=Stage.FULL_FEATURE)
    assert exchange >> last << like(LoginResponse, status_class=0, transit=True)


def security(*pairs: tuple[str, str], **fields: object) -> object:
    options = {"transit": False, "current_stage": SECURITY, "isid": ISID, "cmd_sn": 1} | fields
    return login_request(data=encode_text(pairs), **options)


# -- task management -------------------------------------------------------------------------------


@rfc("7143", "4.2.3.3", "4.2.3.4", row=50)
def test_without_fast_abort_data_that_were_asked_for_are_waited_for():
    offer = {"TaskReporting": "ResponseFence,RFC3720"}
    exchange = log_in(keys=R2T_ONLY | offer) >> write_10()
    tag = exchange.next().target_transfer_tag
    assert exchange >> task_management(Function.ABORT_TASK_SET, initiator_task_tag=50)
    exchange >> data_out(1, 0, bytes(512), target_transfer_tag=tag)
    assert exchange << like(TaskManagementResponse, initiator_task_tag=50, response=0)


@rfc("7143", "11.6.1", row=53)
def test_a_function_is_answered_behind_the_responses_of_the_tasks_before_it():
    exchange = log_in()
    exchange.send(read_10(), nop_out(), task_management(Function.ABORT_TASK_SET))
    assert exchange << like(SCSIDataIn) << like(NOPIn) << like(TaskManagementResponse, response=0)


# -- pings and logout ------------------------------------------------------------------------------


@rfc("7143", "11.18.1", row=55)
def test_a_nop_out_without_a_task_tag_is_not_answered():
    assert log_in() >> nop_out(b"x", initiator_task_tag=0xFFFFFFFF, immediate=True)


@rfc("7143", "11.15.3", "11.15.4", row=54)
@pytest.mark.parametrize(
    "reason, cid, response, times", [(0, 99, 0, (2, 0)), (1, 9, 1, (0, 0)), (2, 0, 2, (0, 0))]
)
def test_times_of_a_logout_count_with_success_only(reason, cid, response, times):
    answer = (log_in() >> logout(reason=reason, cid=cid)).next()
    assert isinstance(answer, LogoutResponse)
    assert (answer.response, (answer.time2wait, answer.time2retain)) == (response, times)


# -- what events clear (Appendix E) ----------------------------------------------------------------


@rfc("7143", "E.1", row=62)
def test_a_connection_that_fails_takes_its_write_along():
    entity = make_entity()
    exchange = log_in(entity, R2T_ONLY) >> write_10(blocks=2)
    tag = exchange.next().target_transfer_tag
    exchange >> data_out(1, 0, b"x" * 512, target_transfer_tag=tag, final=False)
    exchange.connection.connection_lost()
    assert not exchange.session.tasks
    assert bytes(unit_of(entity).read(0, 2)) == bytes(1024)


@rfc("7143", "E.1", row=62)
@pytest.mark.parametrize("function", [Function.LOGICAL_UNIT_RESET, Function.TARGET_WARM_RESET])
def test_a_reset_leaves_the_numbers_of_the_session_alone(function):
    exchange = log_in() >> read_10()
    stat_sn = exchange.next().stat_sn
    exchange >> task_management(function) << like(TaskManagementResponse, stat_sn=stat_sn + 1, exp_cmd_sn=2)
    exchange.session.nexus.unit_attentions.clear()
    assert exchange >> read_10() << like(SCSIDataIn, stat_sn=stat_sn + 2, exp_cmd_sn=3)


@rfc("7143", "E.2", row=62)
def test_a_session_that_ends_gives_its_spc_2_reservation_back():
    entity = make_entity()
    exchange = log_in(entity) >> command(RESERVE_6) << like(SCSIResponse, status=Status.GOOD)
    other = log_in(entity, isid=OTHER_ISID)
    other >> test_unit_ready() << like(SCSIResponse, status=Status.RESERVATION_CONFLICT)
    assert exchange >> logout() << like(LogoutResponse)
    assert other >> test_unit_ready() << like(SCSIResponse, status=Status.GOOD)


@rfc("7143", "E.2", row=62)
def test_a_persistent_reservation_outlives_its_session():
    entity = make_entity()
    exchange = log_in(entity)
    register = bytes(8) + (7).to_bytes(8, "big") + bytes(8)
    reserve = (7).to_bytes(8, "big") + bytes(16)
    for action, kind, parameters in ((0, 0, register), (1, 3, reserve)):
        cdb = bytes([0x5F, action, kind, 0, 0, 0, 0, 0, 24, 0])
        exchange >> command(cdb, write=True, expected_data_transfer_length=24, data=parameters)
        exchange << like(SCSIResponse, status=Status.GOOD)
    exchange.connection.connection_lost()
    other = log_in(entity, isid=OTHER_ISID)
    assert other >> read_10() << like(SCSIResponse, status=Status.RESERVATION_CONFLICT)
    assert log_in(entity) >> read_10() << like(SCSIDataIn, status=Status.GOOD)


@rfc("7143", "E.1", row=62)
def test_a_reset_of_one_unit_leaves_the_tasks_of_another():
    exchange = log_in(keys=R2T_ONLY) >> write_10(lun=lun(1))
    tag = exchange.next().target_transfer_tag
    exchange >> task_management(Function.LOGICAL_UNIT_RESET) << like(TaskManagementResponse, response=0)
    data = data_out(1, 0, bytes(512), target_transfer_tag=tag, lun=lun(1))
    assert exchange >> data << like(SCSIResponse, status=Status.GOOD)
