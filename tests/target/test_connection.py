"""The target's end of a connection: command order, pings, logout, rejects, and how it ends."""

from dataclasses import replace
from functools import partial

import pytest
from exchanges.ladder import (
    TARGET,
    Exchange,
    connect,
    data_out,
    discover,
    ended,
    like,
    log_in,
    login_request,
    logout,
    make_entity,
    node_of,
    nop_out,
    read_10,
    rejected,
    task_management,
    text,
    write_10,
)
from marks import rfc

from iscsim.pdu import (
    RESERVED_TAG,
    LoginResponse,
    LogoutResponse,
    LogoutResponseCode,
    NOPIn,
    NOPOut,
    RawPDU,
    ReadyToTransfer,
    Reject,
    RejectReason,
    SCSIDataIn,
    SCSIDataOut,
    SCSIResponse,
    SNACKRequest,
    TaskManagementFunction,
    TaskManagementResponse,
    TextResponse,
)
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.session.connection import Phase
from iscsim.target.policy import RFC

WINDOW = RFC.command_window
R2T_ONLY = {"InitialR2T": "Yes", "ImmediateData": "No"}
DIGESTS = {"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}


# -- CmdSN (RFC 7143 section 4.2.2.1) --------------------------------------------------------------


@rfc("7143", "11.12.8", row=6)
def test_the_first_command_has_the_cmd_sn_of_the_login():
    exchange = log_in()
    window = exchange.session.window
    assert (window.exp_cmd_sn, window.max_cmd_sn) == (1, WINDOW)
    assert exchange >> read_10() << like(SCSIDataIn, exp_cmd_sn=2, max_cmd_sn=WINDOW + 1)


@rfc("7143", "4.2.2.1", row=1)
def test_cmd_sn_wraps():
    exchange = connect() >> login_request(cmd_sn=0xFFFFFFFF)
    exchange << like(LoginResponse, exp_cmd_sn=0xFFFFFFFF, max_cmd_sn=WINDOW - 2)
    exchange.session.nexus.unit_attentions.clear()
    exchange.cmd_sn = 0xFFFFFFFF
    assert exchange >> read_10() << like(SCSIDataIn, exp_cmd_sn=0) >> nop_out() << like(NOPIn, exp_cmd_sn=1)


@rfc("7143", "4.2.2.1", row=2)
@pytest.mark.parametrize("cmd_sn", [0, 1 + WINDOW, 0x80000001], ids=["below", "above", "far"])
@pytest.mark.parametrize("request_of", [read_10, nop_out, text, write_10])
def test_a_cmd_sn_outside_the_window_is_silently_ignored(cmd_sn, request_of):
    exchange = log_in()
    assert exchange >> request_of(cmd_sn=cmd_sn)
    assert exchange >> read_10() << like(SCSIDataIn, exp_cmd_sn=2)


@rfc("7143", "4.2.2.1", row=2)
def test_a_duplicate_is_silently_ignored():
    exchange = log_in() >> read_10()
    exchange << like(SCSIDataIn)
    assert exchange >> read_10(cmd_sn=1, initiator_task_tag=1)


def test_commands_ahead_of_their_turn_wait_for_it():
    exchange = log_in()
    third, second = read_10(lba=3, cmd_sn=3), nop_out(cmd_sn=2)
    assert exchange >> third >> second
    assert (
        exchange
        >> read_10(lba=1, cmd_sn=1)
        << like(SCSIDataIn, exp_cmd_sn=2)
        << like(NOPIn, exp_cmd_sn=3)
        << like(SCSIDataIn, exp_cmd_sn=4)
    )


def test_of_two_commands_that_wait_with_one_cmd_sn_the_first_stays():
    exchange = log_in() >> read_10(cmd_sn=2, initiator_task_tag=7) >> nop_out(cmd_sn=2, initiator_task_tag=8)
    assert exchange >> read_10(cmd_sn=1) << like(SCSIDataIn) << like(SCSIDataIn, initiator_task_tag=7)


def test_one_piece_of_the_stream_reaches_to_the_max_cmd_sn_of_before():
    """What came in one piece was sent before our answers were seen: it cannot know of a larger window."""
    exchange = log_in()
    exchange.send(*(nop_out() for _ in range(WINDOW + 5)))
    assert len(exchange.answers) == WINDOW
    exchange.answers.clear()
    exchange.cmd_sn = WINDOW + 1
    assert exchange >> nop_out() << like(NOPIn, exp_cmd_sn=WINDOW + 2)


def test_commands_that_waited_are_bound_by_the_same_window():
    exchange = log_in() >> read_10(cmd_sn=WINDOW + 1)
    assert not exchange.session.held
    exchange.send(nop_out(cmd_sn=1), nop_out(cmd_sn=WINDOW + 1))
    assert exchange << like(NOPIn)
    assert not exchange.session.held


@rfc("7143", "4.2.2.1", row=3)
def test_an_immediate_request_has_no_turn():
    exchange = log_in()
    assert exchange >> nop_out(immediate=True, cmd_sn=77) << like(NOPIn, exp_cmd_sn=1)
    assert exchange >> read_10(immediate=True, cmd_sn=77) << like(SCSIDataIn, exp_cmd_sn=1, max_cmd_sn=WINDOW)


@rfc("7143", "11.17.1", row=27)
@pytest.mark.parametrize("request_of", [read_10, nop_out, text])
def test_too_many_immediate_requests_at_once_are_rejected(request_of):
    exchange = log_in()
    exchange.send(*(request_of(immediate=True) for _ in range(40)))
    kinds = [isinstance(answer, Reject) for answer in exchange.answers]
    assert kinds == [False] * 32 + [True] * 8
    assert exchange.answers.pop().reason == RejectReason.IMMEDIATE_COMMAND_REJECT
    exchange.answers.clear()
    assert exchange >> nop_out(immediate=True) << like(NOPIn)


def fill_window(exchange: Exchange) -> int:
    """Open as many writes as the window takes; the transfer tag of the first."""
    for number in range(WINDOW):
        exchange >> write_10(initiator_task_tag=100 + number)
    tag = exchange.next().target_transfer_tag
    exchange.answers.clear()
    return tag


def test_a_window_closes_under_pressure_and_opens_again():
    """RFC 7143 section 4.2.2.1: MaxCmdSN = ExpCmdSN - 1 is a closed window; MaxCmdSN never goes back."""
    exchange = log_in(keys=R2T_ONLY)
    tag = fill_window(exchange)
    window = exchange.session.window
    assert (window.exp_cmd_sn, window.max_cmd_sn) == (WINDOW + 1, WINDOW)
    assert exchange >> read_10(cmd_sn=WINDOW + 1)  # silently ignored
    assert not exchange.connection.closing
    answer = like(SCSIResponse, exp_cmd_sn=WINDOW + 1, max_cmd_sn=WINDOW + 1)
    assert exchange >> data_out(100, 0, bytes(512), target_transfer_tag=tag) << answer
    assert exchange >> read_10(cmd_sn=WINDOW + 1) << like(SCSIDataIn, exp_cmd_sn=WINDOW + 2)


@pytest.mark.parametrize("request_of", [nop_out, read_10, partial(task_management, 1)])
def test_immediate_requests_are_taken_though_the_window_is_closed(request_of):
    """RFC 7143 section 4.2.2.1: one task management and one other request at any time."""
    exchange = log_in(keys=R2T_ONLY)
    fill_window(exchange)
    exchange >> request_of(immediate=True)
    assert not isinstance(exchange.next(), Reject)
    assert exchange


def test_a_duplicate_of_a_command_under_way_is_silently_ignored():
    exchange = log_in(keys=R2T_ONLY) >> write_10(initiator_task_tag=7)
    exchange << like(ReadyToTransfer)
    assert exchange >> write_10(initiator_task_tag=7, cmd_sn=1)
    assert list(exchange.session.tasks) == [7]


# -- StatSN (RFC 7143 section 4.2.2.2) -------------------------------------------------------------


@rfc("7143", "4.2.2.2", row=7)
def test_stat_sn_moves_with_every_response():
    exchange = log_in()
    first = exchange.connection.stat_sn
    requests = [
        read_10(),
        nop_out(),
        text(),
        task_management(TaskManagementFunction.TARGET_WARM_RESET),
        SNACKRequest(),
    ]
    for number, request in enumerate(requests):
        exchange >> request
        assert exchange.next().stat_sn == first + number
    assert exchange >> logout() << like(LogoutResponse, stat_sn=first + len(requests))


def test_the_login_response_has_the_stat_sn_before_the_first_answer():
    exchange = connect() >> login_request()
    assert exchange.next().stat_sn + 1 == exchange.connection.stat_sn


@rfc("7143", "11.19.2", row=(7, 8))
def test_a_ping_of_the_target_carries_the_next_stat_sn_without_using_it():
    exchange = log_in()
    stat_sn = exchange.connection.stat_sn
    exchange.connection.ping()
    assert exchange.collect() << like(NOPIn, stat_sn=stat_sn, initiator_task_tag=RESERVED_TAG)
    assert exchange >> nop_out() << like(NOPIn, stat_sn=stat_sn)


# -- pings -----------------------------------------------------------------------------------------


@rfc("7143", "11.18", row=55)
def test_a_ping_is_answered_with_its_data_tag_and_lun():
    exchange = log_in() >> nop_out(b"ping!", initiator_task_tag=9, lun=b"\0\1" + bytes(6))
    assert exchange << like(
        NOPIn,
        data=b"ping!",
        initiator_task_tag=9,
        target_transfer_tag=RESERVED_TAG,
        lun=b"\0\1" + bytes(6),
    )


@rfc("7143", "11.18.3", row=55)
def test_a_ping_answer_is_cut_to_what_the_initiator_takes():
    exchange = log_in(keys={"MaxRecvDataSegmentLength": "512"})
    assert exchange >> nop_out(bytes(1000)) << like(NOPIn, data=bytes(512))


def test_silence_is_broken_by_a_ping_and_ends_without_an_answer():
    exchange = log_in().wait(15.5)
    assert exchange << like(NOPIn, initiator_task_tag=RESERVED_TAG, target_transfer_tag=1)
    exchange.wait(31) << ended("no answer to a ping within 30 s")
    assert {answer.target_transfer_tag for answer in exchange.answers} <= {2, 3}
    assert not exchange.session.entity.sessions


@rfc("7143", "11.18.1", row=55)
def test_an_answered_ping_keeps_the_session():
    exchange = log_in()
    for tag in range(1, 6):
        exchange.wait(15.5) << like(NOPIn, target_transfer_tag=tag)
        exchange >> NOPOut(immediate=True, target_transfer_tag=tag)
    assert exchange
    assert not exchange.connection.closing


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"immediate": True, "target_transfer_tag": 2}, "NOP-Out for unknown transfer tag 0x2"),
        ({"immediate": False, "target_transfer_tag": 1}, "NOP-Out without a task tag, not immediate"),
    ],
    ids=["tag", "not immediate"],
)
def test_a_wrong_answer_to_a_ping_is_rejected(fields, message):
    """RFC 7143 sections 11.18 and 11.17.1."""
    exchange = log_in().wait(15.5) << like(NOPIn, target_transfer_tag=1)
    exchange >> NOPOut(initiator_task_tag=RESERVED_TAG, cmd_sn=1, **fields)
    assert exchange << rejected(RejectReason.INVALID_PDU_FIELD, exp_cmd_sn=1)
    assert exchange.rejections == [message]
    exchange >> NOPOut(immediate=True, target_transfer_tag=1)
    assert exchange
    exchange >> NOPOut(immediate=True, target_transfer_tag=1)
    assert exchange << rejected(RejectReason.INVALID_PDU_FIELD)


def test_a_nop_out_without_tags_only_brings_numbers():
    exchange = log_in().wait(15.5) << like(NOPIn)
    assert exchange >> NOPOut(immediate=True)
    exchange.wait(31) << like(NOPIn)
    assert exchange.ended == "no answer to a ping within 30 s"


def test_a_busy_connection_is_not_pinged():
    exchange = log_in()
    for _ in range(5):
        exchange.wait(10) >> nop_out() << like(NOPIn, initiator_task_tag=exchange._tag)
    assert exchange


def test_timers_can_be_turned_off():
    policy = replace(RFC, login_timeout_s=0, nop_in_interval_s=0)
    assert connect(make_entity(policy)).connection.next_deadline() is None
    assert log_in(make_entity(policy)).connection.next_deadline() is None
    exchange = log_in(make_entity(replace(RFC, nop_in_timeout_s=0))).wait(100)
    assert not exchange.connection.closing


def test_a_discovery_session_is_not_pinged():
    assert discover().wait(1000)


def test_a_discovery_session_without_requests_is_dropped():
    """RFC 7143 section 7.4.3; without a ping, a peer that is gone would keep its connection for ever."""
    silence_s = RFC.nop_in_interval_s + RFC.nop_in_timeout_s
    exchange = discover().wait(silence_s - 1) >> text(("SendTargets", "All")) << like(TextResponse)
    assert exchange.wait(silence_s - 1).ended is None
    assert exchange.wait(1) << ended(r"without a request for 45 s \(RFC 7143 section 7\.4\.3\)")
    assert not exchange.connection.entity.sessions


# -- a peer that asks for more than it reads ---------------------------------------------------------


def _tags(exchange):
    return [exchange.next().initiator_task_tag for _ in range(len(exchange.answers))]


def _crowded():
    """A session with room for four blocks of read data at a time."""
    return log_in(make_entity(replace(RFC, read_room=2047)))


def test_reads_beyond_the_room_wait_until_what_was_read_is_sent():
    exchange = _crowded().send(*(read_10() for _ in range(10)), nop_out())
    assert _tags(exchange) == [1, 2, 3, 4]
    exchange.connection.go_on(2.0)
    assert _tags(exchange.collect()) == [5, 6, 7, 8]
    exchange.connection.go_on(3.0)
    assert _tags(exchange.collect()) == [9, 10, 11]
    assert not exchange.connection.has_more


def test_held_reads_too_wait_for_room():
    exchange = _crowded().send(*(read_10(cmd_sn=sn) for sn in (2, 3, 4, 5, 6)))
    exchange.send(read_10(cmd_sn=1), nop_out(immediate=False, cmd_sn=7))
    assert _tags(exchange) == [6, 1, 2, 3]
    exchange.connection.go_on(2.0)
    assert _tags(exchange.collect()) == [4, 5, 7]


def test_a_broken_rule_among_what_waited_ends_the_connection():
    exchange = _crowded().send(*(read_10() for _ in range(4)), read_10(), logout(reason=7))
    exchange.collect()
    exchange.connection.go_on(2.0)
    exchange.collect() << ended("logout reason 7")


def test_a_broken_rule_among_what_was_held_ends_the_connection():
    exchange = _crowded().send(
        *(read_10(cmd_sn=sn) for sn in (2, 3, 4)), logout(reason=7, immediate=False, cmd_sn=5)
    )
    exchange.send(read_10(cmd_sn=1))
    assert _tags(exchange) == [5, 1, 2, 3]
    exchange.connection.go_on(2.0)
    exchange.collect() << ended("logout reason 7")


# -- logout (RFC 7143 sections 11.14 and 11.15) ----------------------------------------------------


@rfc("7143", "11.14.1", "11.15.1", row=54)
@pytest.mark.parametrize("immediate", [True, False])
def test_closing_the_session_answers_and_ends_it(immediate):
    exchange = log_in() >> logout(immediate=immediate)
    assert exchange << like(LogoutResponse, response=0, time2wait=2, time2retain=0) << ended("^$")
    assert exchange.connection.phase is Phase.LOGGED_OUT
    assert not exchange.session.entity.sessions


@rfc("7143", "11.14.1", row=54)
def test_closing_the_only_connection_closes_the_session():
    exchange = log_in() >> logout(reason=1, cid=0)
    assert exchange << like(LogoutResponse, response=0) << ended()
    assert not exchange.session.entity.sessions


@rfc("7143", "11.15.1", "11.15.3", row=54)
def test_closing_an_unknown_connection_is_answered_so():
    exchange = log_in() >> logout(reason=1, cid=5)
    assert exchange << like(LogoutResponse, response=LogoutResponseCode.CID_NOT_FOUND, time2wait=0)
    assert exchange.session.entity.sessions


@rfc("7143", "11.15.1", row=54)
def test_recovery_is_not_supported():
    exchange = log_in() >> logout(reason=2)
    assert exchange << like(LogoutResponse, response=LogoutResponseCode.RECOVERY_NOT_SUPPORTED)
    assert not exchange.connection.closing


def test_an_illegal_reason_ends_the_connection():
    exchange = log_in() >> logout(reason=3)
    assert exchange << ended("logout reason 3 .RFC 7143 section 11.14.1.")
    assert not exchange.session.entity.sessions


def test_nothing_behind_a_logout_is_carried_out():
    exchange = log_in()
    exchange.send(logout(), read_10(), nop_out())
    assert exchange << like(LogoutResponse)


def test_a_logout_that_waited_ends_the_session_and_what_waits_behind_it():
    exchange = log_in() >> read_10(cmd_sn=3) >> logout(immediate=False, cmd_sn=2)
    assert exchange >> nop_out(cmd_sn=1) << like(NOPIn) << like(LogoutResponse) << ended()


def test_tasks_are_gone_before_the_logout_is_answered():
    exchange = log_in() >> write_10(blocks=8)
    exchange.next()
    assert exchange >> logout() << like(LogoutResponse, response=0)
    assert not exchange.session.tasks


# -- rejects ---------------------------------------------------------------------------------------


@rfc("7143", "11.17.1", "11.17.4", row=27)
def test_an_unknown_opcode_is_rejected_with_its_header():
    header = b"\x5d" + bytes(range(1, 4)) + bytes(44)
    exchange = log_in() >> RawPDU(header)
    assert exchange << rejected(RejectReason.COMMAND_NOT_SUPPORTED, data=header)
    assert exchange.rejections == ["unknown opcode 0x1d"]


@rfc("7143", "11.17.1", row=27)
def test_a_login_request_after_the_login_is_a_protocol_error():
    assert log_in() >> login_request() << rejected(RejectReason.PROTOCOL_ERROR)


@rfc("7143", "11.16", "11.17.1", row=(27, 57))
def test_snack_is_not_supported_at_error_recovery_level_0():
    request = SNACKRequest(initiator_task_tag=5)
    assert log_in() >> request << rejected(RejectReason.COMMAND_NOT_SUPPORTED, data=request.header())


@rfc("7143", "4.3", row=43)
@pytest.mark.parametrize(
    "request_of",
    [
        read_10,
        nop_out,
        SNACKRequest,
        SCSIDataOut,
        login_request,
        lambda: task_management(1),
        lambda: logout(reason=1),
        lambda: text(("MaxRecvDataSegmentLength", "4096")),
    ],
)
def test_a_discovery_session_takes_send_targets_and_its_own_end_only(request_of):
    exchange = discover() >> request_of()
    assert exchange << rejected(RejectReason.PROTOCOL_ERROR)
    exchange.cmd_sn = 1
    assert exchange >> text(("SendTargets", "All")) << like(TextResponse)
    assert exchange >> logout() << like(LogoutResponse) << ended("^$")


@rfc("7143", "7.3", row=28)
def test_the_cmd_sn_of_a_rejected_request_counts_as_not_received():
    """RFC 7143 section 7.3: the initiator has to fill the gap."""
    exchange = log_in() >> text(("InitialR2T", "Yes"))
    assert exchange << rejected(RejectReason.PROTOCOL_ERROR, exp_cmd_sn=1, max_cmd_sn=WINDOW)
    assert exchange >> read_10()  # CmdSN 2 waits
    assert exchange >> nop_out(cmd_sn=1) << like(NOPIn, exp_cmd_sn=2) << like(SCSIDataIn, exp_cmd_sn=3)


# -- digests (RFC 7143 section 7.8) ----------------------------------------------------------------


def test_both_digests_go_both_ways():
    exchange = log_in(keys=DIGESTS)
    assert exchange >> write_10(data=b"x" * 512) << like(SCSIResponse, status=0)
    assert exchange >> read_10() << like(SCSIDataIn, data=b"x" * 512)


@rfc("7143", "7.8", row=26)
def test_a_wrong_header_digest_ends_the_connection():
    exchange = log_in(keys=DIGESTS) >> b"\0" * 52
    assert exchange << ended("header digest of opcode 0x00 does not match .RFC 7143 section 7.8.")
    assert not exchange.session.entity.sessions


def damaged(exchange, pdu) -> bytes:
    wire = bytearray(exchange.wire(pdu))
    wire[-1] ^= 0xFF
    return bytes(wire)


@rfc("7143", "7.8", "11.17.1", row=(26, 27))
def test_a_wrong_data_digest_is_rejected_and_leaves_a_gap():
    exchange = log_in(keys=DIGESTS)
    wrong = write_10(data=b"x" * 512)
    exchange >> damaged(exchange, wrong)
    assert exchange << rejected(RejectReason.DATA_DIGEST_ERROR, data=wrong.header(), exp_cmd_sn=1)
    wrong.initiator_task_tag = 50
    assert exchange >> wrong << like(SCSIResponse, initiator_task_tag=50, exp_cmd_sn=2)


@pytest.mark.parametrize("kind", [nop_out, text])
def test_other_damaged_requests_are_rejected_and_not_received(kind):
    exchange = log_in(keys=DIGESTS)
    wrong = kind(data=b"X-a=b\0")
    exchange >> damaged(exchange, wrong)
    assert exchange << rejected(RejectReason.DATA_DIGEST_ERROR, data=wrong.header(), exp_cmd_sn=1)
    assert exchange >> nop_out(cmd_sn=1) << like(NOPIn, exp_cmd_sn=2)


def test_a_damaged_data_out_fails_its_write_when_all_data_has_come():
    """RFC 7143 section 7.8, b)."""
    exchange = log_in(keys=DIGESTS | {"ImmediateData": "No"}) >> write_10(blocks=2)
    asked = exchange.next()
    parts = [
        SCSIDataOut(
            initiator_task_tag=1,
            target_transfer_tag=asked.target_transfer_tag,
            buffer_offset=512 * number,
            data_sn=number,
            data=bytes(512),
            final=number == 1,
        )
        for number in range(2)
    ]
    exchange >> damaged(exchange, parts[0])
    assert exchange << rejected(RejectReason.DATA_DIGEST_ERROR, data=parts[0].header())
    exchange >> parts[1]
    sense = Sense.parse(exchange.next().sense)
    assert (sense.key, sense.asc, sense.ascq) == (SenseKey.ABORTED_COMMAND, 0x47, 0x05)


def test_a_damaged_data_out_of_no_task_is_just_rejected():
    exchange = log_in(keys=DIGESTS)
    assert exchange >> damaged(exchange, SCSIDataOut(data=b"x")) << rejected(RejectReason.DATA_DIGEST_ERROR)


# -- the tap ---------------------------------------------------------------------------------------


class Dropper:
    """Swallows every Data-In."""

    def incoming(self, pdu):
        return [pdu]

    def outgoing(self, pdu):
        return [] if isinstance(pdu, SCSIDataIn) else [pdu]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_tap_sees_the_quick_path_too(when):
    exchange = connect()
    if when == "before":
        exchange.connection.use_tap(Dropper())
    exchange >> login_request()
    exchange.next()
    exchange.session.nexus.unit_attentions.clear()
    exchange.connection.use_tap(Dropper())
    assert exchange >> read_10()
    exchange.connection.use_tap(None)
    assert exchange >> read_10() << like(SCSIDataIn)


# -- the end ---------------------------------------------------------------------------------------


def test_a_login_has_to_come_in_time():
    exchange = connect().wait(14.9)
    assert not exchange.connection.closing
    exchange.wait(0.2)
    assert exchange << ended("no login within 15 s")


@rfc("7143", "E.1", row=62)
def test_a_lost_connection_takes_its_session_along():
    exchange = log_in()
    exchange.connection.connection_lost()
    assert exchange << ended("^$")
    assert not exchange.session.entity.sessions


def test_a_connection_lost_within_a_pdu_says_so():
    exchange = log_in() >> bytes(20)
    exchange.connection.connection_lost()
    assert exchange << ended("the connection was lost 20 bytes into a PDU")


def test_a_connection_lost_before_its_login_leaves_nothing():
    exchange = connect()
    exchange.connection.connection_lost()
    assert exchange << ended("^$")


def test_a_connection_lost_after_its_logout_is_no_news():
    exchange = log_in() >> logout()
    exchange.events()
    exchange.connection.connection_lost()
    assert exchange.events() == []


def test_a_reset_of_the_session_by_another_connection_wakes_this_one():
    entity = make_entity()
    exchange = log_in(entity)
    woken = []
    exchange.connection.wake = lambda: woken.append(exchange.connection.closing)
    log_in(entity)
    assert woken == [True]
    assert exchange << ended("session reinstated by a new login")
    assert exchange >> read_10()  # in vain


@rfc("7143", "11.6.1", row=53)
def test_a_cold_reset_is_answered_before_every_connection_closes():
    entity = make_entity()
    other = log_in(entity, isid=bytes(6))
    exchange = log_in(entity) >> task_management(TaskManagementFunction.TARGET_COLD_RESET, immediate=True)
    assert exchange << like(TaskManagementResponse, response=0) << ended("target cold reset")
    assert other << ended("target cold reset")
    assert (entity.sessions, node_of(entity).name) == ([], TARGET)
