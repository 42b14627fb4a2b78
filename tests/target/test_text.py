"""Text requests: SendTargets, continuation, and what is refused."""

from dataclasses import replace

import pytest
from exchanges.ladder import (
    INITIATOR,
    TARGET,
    discover,
    like,
    log_in,
    make_entity,
    node_of,
    read_10,
    rejected,
    text,
)
from marks import rfc

from iscsim.pdu import RESERVED_TAG, RejectReason, SCSIDataIn, TextResponse
from iscsim.pdu.text import encode_text, parse_text
from iscsim.target.node import Portal
from iscsim.target.policy import LIO

OTHER = "iqn.2026-11.org.iscsim:other"
ALL = ("SendTargets", "All")
RECORD = [("TargetName", TARGET), ("TargetAddress", "192.0.2.1:3260,1")]


def answer(exchange) -> list[tuple[str, str]]:
    response = exchange.next()
    assert isinstance(response, TextResponse), response
    assert (response.final, response.target_transfer_tag) == (True, RESERVED_TAG)
    return parse_text(response.data)


# -- SendTargets (RFC 7143 Appendix C) -------------------------------------------------------------


@rfc("7143", "C", "13.3", row=44)
@pytest.mark.parametrize("value", ["All", TARGET])
def test_discovery_tells_name_and_addresses(value):
    assert answer(discover() >> text(("SendTargets", value))) == RECORD


def test_a_fault_rewrites_one_answer():
    exchange = discover()
    exchange.connection.text.rewrite = lambda records: [*records, ("TargetName", OTHER)]
    assert answer(exchange >> text(ALL)) == [*RECORD, ("TargetName", OTHER)]
    assert answer(exchange >> text(ALL)) == RECORD


@rfc("7143", "13.8", row=45)
def test_discovery_tells_of_every_target_portal_and_group():
    entity = make_entity()
    node_of(entity).add_portal(Portal("2001:db8::1", 3261))
    node_of(entity).add_portal(Portal("192.0.2.7"), tag=1)
    entity.add_target(OTHER).add_portal(entity.portals[0], tag=9)
    assert answer(discover(entity) >> text(ALL)) == [
        ("TargetName", TARGET),
        ("TargetAddress", "192.0.2.1:3260,1"),
        ("TargetAddress", "192.0.2.7:3260,1"),
        ("TargetAddress", "[2001:db8::1]:3261,2"),
        ("TargetName", OTHER),
        ("TargetAddress", "192.0.2.1:3260,9"),
    ]


def test_discovery_does_not_tell_of_targets_the_initiator_may_not_use():
    entity = make_entity()
    entity.add_target(OTHER).add_portal(entity.portals[0])
    node_of(entity).add_acl("iqn.2026-11.org.example:somebody")
    exchange = discover(entity)
    assert answer(exchange >> text(ALL)) == [("TargetName", OTHER), RECORD[1]]
    assert answer(exchange >> text(("SendTargets", TARGET))) == []


def test_discovery_leaves_disabled_groups_out():
    entity = make_entity()
    exchange = discover(entity)
    node_of(entity).add_portal(Portal("192.0.2.7"))
    node_of(entity).portal_groups[1].enabled = False
    assert answer(exchange >> text(ALL)) == [RECORD[0], ("TargetAddress", "192.0.2.7:3260,2")]


def test_discovery_leaves_a_target_out_that_cannot_be_reached():
    """RFC 7143 Appendix C: a name without an address would stand for the address that was asked."""
    entity = make_entity()
    exchange = discover(entity)
    node_of(entity).portal_groups[1].enabled = False
    entity.add_target(OTHER)
    assert answer(exchange >> text(ALL)) == []


def test_a_wildcard_is_shown_as_the_address_the_initiator_came_to():
    entity = make_entity()
    node_of(entity).add_portal(Portal("0.0.0.0", 3261))
    assert answer(discover(entity) >> text(ALL))[2] == ("TargetAddress", "192.0.2.1:3261,2")


@rfc("7143", "C", "13.3", row=44)
def test_a_normal_session_asks_for_its_own_target():
    entity = make_entity()
    entity.add_target(OTHER)
    exchange = log_in(entity)
    assert answer(exchange >> text(("SendTargets", ""))) == RECORD
    assert answer(exchange >> text(("SendTargets", TARGET))) == RECORD
    assert answer(exchange >> text(("SendTargets", OTHER))) == []


@rfc("7143", "C", "13.3", row=44)
def test_a_normal_session_may_not_ask_for_all():
    exchange = log_in() >> text(ALL)
    assert exchange << rejected(RejectReason.PROTOCOL_ERROR)
    assert exchange.rejections == ["SendTargets=All in a normal session (RFC 7143 section 13.3)"]


def test_lio_lets_a_normal_session_ask_for_all():
    assert answer(log_in(make_entity(LIO)) >> text(ALL)) == RECORD


def test_an_initiator_sees_the_luns_of_nobody_by_asking():
    entity = make_entity()
    node_of(entity).add_acl(INITIATOR)
    assert answer(discover(entity) >> text(ALL)) == RECORD


def test_discovery_without_a_value_means_nothing():
    assert discover() >> text(("SendTargets", "")) << rejected(RejectReason.PROTOCOL_ERROR)


@pytest.mark.parametrize("start", [discover, log_in])
def test_send_targets_is_the_only_key_of_its_request(start):
    """Or one request with thousands of them would be answered thousands of times."""
    for pairs in ([("SendTargets", TARGET)] * 2, [("SendTargets", TARGET), ("X-a", "b")]):
        assert start() >> text(*pairs) << rejected(RejectReason.PROTOCOL_ERROR)


# -- continuation (RFC 7143 sections 6.2 and 11.10) ------------------------------------------------


@rfc("7143", "6.2", "11.10.2", row=30)
def test_an_answer_longer_than_the_initiator_takes_is_continued():
    entity = make_entity()
    for number in range(20):
        entity.add_target(f"{OTHER}{number}").add_portal(entity.portals[0])
    exchange = discover(entity)
    exchange.session.parameters = replace(exchange.session.parameters, max_send_data_segment_length=512)
    exchange >> text(ALL, initiator_task_tag=4)
    data, parts = b"", 1
    while not (response := exchange.next()).final:
        assert response.continuation
        assert len(response.data) == 512
        data, parts = data + bytes(response.data), parts + 1
        exchange >> text(initiator_task_tag=4, target_transfer_tag=response.target_transfer_tag)
    names = [value for key, value in parse_text(data + bytes(response.data)) if key == "TargetName"]
    assert (len(names), parts) == (21, 3)


@rfc("7143", "6.2", row=30)
def test_a_question_may_come_in_pieces():
    whole = encode_text([ALL])
    exchange = discover() >> text(data=whole[:5], final=False, continuation=True, initiator_task_tag=4)
    first = exchange.next()
    assert (first.final, first.continuation, bytes(first.data)) == (False, False, b"")
    exchange >> text(
        data=whole[5:], initiator_task_tag=4, target_transfer_tag=first.target_transfer_tag, lun=bytes(8)
    )
    assert answer(exchange) == RECORD


@rfc("7143", "6.4", row=60)
def test_an_exchange_goes_on_until_the_initiator_says_final():
    exchange = discover() >> text(ALL, final=False, initiator_task_tag=4)
    response = exchange.next()
    assert (response.final, parse_text(response.data)) == (False, RECORD)
    exchange >> text(initiator_task_tag=4, target_transfer_tag=response.target_transfer_tag)
    assert answer(exchange) == []


@rfc("7143", "11.10.2", row=30)
def test_final_and_continuation_exclude_each_other():
    exchange = discover() >> text(ALL, continuation=True) << rejected(RejectReason.PROTOCOL_ERROR)
    assert exchange.rejections == ["F and C are both set (RFC 7143 section 11.10.2)"]


@rfc("7143", "6.4", row=60)
@pytest.mark.parametrize("fields", [{"target_transfer_tag": 77}, {"initiator_task_tag": 5}])
def test_a_tag_that_was_not_given_out_is_an_invalid_field(fields):
    exchange = discover() >> text(ALL, final=False, initiator_task_tag=4)
    tag = exchange.next().target_transfer_tag
    exchange >> text(**({"initiator_task_tag": 4, "target_transfer_tag": tag} | fields))
    assert exchange << rejected(RejectReason.INVALID_PDU_FIELD)


def test_a_tag_is_good_for_the_lun_it_came_with():
    """RFC 7143 section 11.17.1."""
    exchange = discover() >> text(ALL, final=False, initiator_task_tag=4, lun=b"\0\1" + bytes(6))
    tag = exchange.next().target_transfer_tag
    (
        exchange
        >> text(initiator_task_tag=4, target_transfer_tag=tag)
        << rejected(RejectReason.INVALID_PDU_FIELD)
    )
    exchange.cmd_sn -= 1
    exchange >> text(initiator_task_tag=4, target_transfer_tag=tag, lun=b"\0\1" + bytes(6))
    assert answer(exchange) == []


def test_all_requests_of_a_negotiation_are_immediate_or_none():
    """RFC 7143 section 11.10.3; the negotiation is reset."""
    exchange = log_in() >> text(("MaxRecvDataSegmentLength", "512"), final=False, initiator_task_tag=4)
    tag = exchange.next().target_transfer_tag
    last = {"initiator_task_tag": 4, "target_transfer_tag": tag}
    assert exchange >> text(**last, immediate=True) << rejected(RejectReason.PROTOCOL_ERROR)
    assert exchange >> text(**last) << rejected(RejectReason.INVALID_PDU_FIELD)
    assert exchange.session.parameters.max_send_data_segment_length == 8192


def test_a_tag_is_worth_nothing_once_the_exchange_has_ended():
    exchange = discover() >> text(target_transfer_tag=1) << rejected(RejectReason.INVALID_PDU_FIELD)
    assert exchange


def test_a_new_request_drops_the_exchange_under_way():
    exchange = discover() >> text(data=b"Send", final=False, continuation=True, initiator_task_tag=4)
    stale = exchange.next().target_transfer_tag
    assert answer(exchange >> text(ALL)) == RECORD
    exchange >> text(data=b"x", initiator_task_tag=4, target_transfer_tag=stale)
    assert exchange << rejected(RejectReason.INVALID_PDU_FIELD)


def test_an_exchange_without_end_is_rejected_and_reset():
    exchange = discover() >> text(final=False, initiator_task_tag=4, immediate=True)
    tag = exchange.next().target_transfer_tag
    for _ in range(63):
        exchange >> text(final=False, initiator_task_tag=4, target_transfer_tag=tag, immediate=True)
        exchange << like(TextResponse)
    exchange >> text(final=False, initiator_task_tag=4, target_transfer_tag=tag, immediate=True)
    assert exchange << rejected(RejectReason.PROTOCOL_ERROR)


@rfc("7143", "6.1", row=29)
@pytest.mark.parametrize(
    "data", [b"SendTargets", b"SendTargets\0", b"=All\0", b"send\xff=x\0", b"a" * 64 + b"=b\0", b"\0"]
)
def test_bad_text_is_rejected(data):
    exchange = discover() >> text(data=data) << rejected(RejectReason.PROTOCOL_ERROR)
    assert "RFC 7143 section 6.1" in exchange.rejections[0]


# -- negotiation (RFC 7143 section 6.4) ------------------------------------------------------------


@rfc("7143", "6.4", "13.12", row=(47, 60))
def test_a_new_max_recv_data_segment_length_holds_after_the_exchange():
    exchange = log_in() >> text(("MaxRecvDataSegmentLength", "512"), final=False, initiator_task_tag=4)
    tag = exchange.next().target_transfer_tag
    exchange >> read_10(blocks=2) << like(SCSIDataIn, data_sn=0, status_present=True)
    assert answer(exchange >> text(initiator_task_tag=4, target_transfer_tag=tag)) == []
    assert exchange >> read_10(blocks=2) << like(SCSIDataIn, data=bytes(512)) << like(SCSIDataIn, data_sn=1)


def test_two_negotiations_one_after_the_other():
    exchange = log_in()
    for length in (512, 1024):
        assert answer(exchange >> text(("MaxRecvDataSegmentLength", str(length)))) == []
        assert exchange.session.parameters.max_send_data_segment_length == length
    assert answer(exchange >> text(("InitiatorAlias", "me"))) == []
    parameters = exchange.session.parameters
    assert (parameters.initiator_alias, parameters.max_send_data_segment_length) == ("me", 1024)


def test_a_negotiation_that_is_dropped_changes_nothing():
    exchange = log_in() >> text(("MaxRecvDataSegmentLength", "512"), final=False, initiator_task_tag=4)
    exchange.next()
    assert answer(exchange >> text(("InitiatorAlias", "me"), initiator_task_tag=4)) == []
    assert exchange.session.parameters.max_send_data_segment_length == 8192


@rfc("7143", "6.2", row=31)
def test_an_unknown_key_is_not_understood():
    assert answer(log_in() >> text(("X-org.example.a", "b"))) == [("X-org.example.a", "NotUnderstood")]


@rfc("7143", "6.4", row=60)
@pytest.mark.parametrize(
    "pair",
    [
        *((name, "No") for name in ("InitialR2T", "ImmediateData", "DataPDUInOrder", "DataSequenceInOrder")),
        *((name, "4096") for name in ("MaxBurstLength", "FirstBurstLength")),
        *((name, "1") for name in ("MaxConnections", "MaxOutstandingR2T", "ErrorRecoveryLevel")),
        *((name, "2") for name in ("DefaultTime2Wait", "DefaultTime2Retain", "TargetPortalGroupTag")),
        *((name, "CRC32C") for name in ("HeaderDigest", "DataDigest")),
        *((name, "iqn.2026-11.org:a") for name in ("InitiatorName", "TargetName")),
        *((name, "x") for name in ("TargetAlias", "TargetAddress", "SessionType", "TaskReporting")),
        *((name, "5") for name in ("AuthMethod", "CHAP_A", "CHAP_N", "IFMarker", "OFMarkInt")),
        ("MaxRecvDataSegmentLength", "511"),
        ("MaxRecvDataSegmentLength", "16777216"),
        ("MaxRecvDataSegmentLength", "many"),
    ],
    ids="=".join,
)
def test_keys_that_are_not_for_now_are_a_protocol_error_and_change_nothing(pair):
    """RFC 7143 chapter 13: only MaxRecvDataSegmentLength and InitiatorAlias are for an initiator to send."""
    exchange = log_in()
    before = exchange.session.parameters
    exchange >> text(("InitiatorAlias", "new"), pair) << rejected(RejectReason.PROTOCOL_ERROR)
    assert exchange.session.parameters == before
    assert exchange >> text(initiator_task_tag=9, cmd_sn=1) << like(TextResponse, final=True)


@rfc("7143", "6.4", row=60)
def test_a_key_twice_is_a_protocol_error():
    pair = ("MaxRecvDataSegmentLength", "512")
    exchange = log_in() >> text(pair, pair) << rejected(RejectReason.PROTOCOL_ERROR)
    assert exchange.session.parameters.max_send_data_segment_length == 8192
