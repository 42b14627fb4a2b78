"""Negotiating the operational keys, both roles (RFC 7143 sections 6.2 to 6.4 and chapter 13)."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.errors import NegotiationError
from iscsim.session.keys import KEYS, Role, Rule, SessionType
from iscsim.session.negotiation import FullFeatureNegotiation, Negotiator
from iscsim.session.parameters import (
    BOOLEAN_ATTRIBUTES,
    LIST_ATTRIBUTES,
    NUMBER_ATTRIBUTES,
    Parameters,
    Wishes,
)
from iscsim.session.rules import MAX_UNKNOWN_KEYS

DISCOVERY = SessionType.DISCOVERY
ATTRIBUTES = NUMBER_ATTRIBUTES | BOOLEAN_ATTRIBUTES | LIST_ATTRIBUTES


def target(wishes=None, **options):
    return Negotiator(Role.TARGET, wishes or Wishes(), **options)


def initiator(wishes=None, **options):
    return Negotiator(Role.INITIATOR, wishes or Wishes(), **options)


def answer(name, value, wishes=None, **options):
    """What a target answers to one pair; None when it does not."""
    return dict(target(wishes, **options).receive([(name, value)])).get(name)


def agree(initiator_wishes, target_wishes, **options):
    """Negotiate to the end: the parameters of both ends."""
    left, right = initiator(initiator_wishes, **options), target(target_wishes, **options)
    answers = right.receive(left.offer()) + right.offer()
    while answers:
        more = left.receive(answers)
        answers = right.receive(more)
    return left.finish(), right.finish()


# -- answers


@pytest.mark.parametrize(
    "name, offered, wish, expected",
    [
        ("HeaderDigest", "CRC32C,None", ("None", "CRC32C"), "CRC32C"),
        ("HeaderDigest", "None,CRC32C", ("None", "CRC32C"), "None"),
        ("HeaderDigest", "Y-com.example,CRC32C", ("CRC32C",), "CRC32C"),
        ("HeaderDigest", "CRC32C", ("None",), "Reject"),
        ("DataDigest", "None", ("CRC32C",), "Reject"),
        ("MaxBurstLength", "262144", 16776192, "262144"),
        ("MaxBurstLength", "16776192", 262144, "262144"),
        ("MaxBurstLength", "0x10000", 262144, "65536"),
        ("FirstBurstLength", "262144", 65536, "65536"),
        ("MaxConnections", "8", 1, "1"),
        ("DefaultTime2Wait", "0", 2, "2"),
        ("DefaultTime2Wait", "5", 2, "5"),
        ("DefaultTime2Retain", "20", 0, "0"),
        ("MaxOutstandingR2T", "16", 4, "4"),
        ("ErrorRecoveryLevel", "2", 0, "0"),
        ("InitialR2T", "No", True, "Yes"),
        ("InitialR2T", "No", False, "No"),
        ("InitialR2T", "Yes", False, "Yes"),
        ("ImmediateData", "Yes", True, "Yes"),
        ("ImmediateData", "Yes", False, "No"),
        ("ImmediateData", "No", True, "No"),
        ("DataPDUInOrder", "No", True, "Yes"),
        ("TaskReporting", "FastAbort,ResponseFence,RFC3720", ("RFC3720",), "RFC3720"),
    ],
)
def test_a_target_answers_by_the_rule_of_the_key(name, offered, wish, expected):
    assert answer(name, offered, Wishes(**{ATTRIBUTES[name]: wish})) == expected


def test_answers_come_in_the_order_of_the_offers():
    pairs = [("FirstBurstLength", "512"), ("ImmediateData", "Yes"), ("X-a", "1"), ("HeaderDigest", "None")]
    assert [name for name, _ in target().receive(pairs)] == [name for name, _ in pairs]


@pytest.mark.parametrize(
    "name, value",
    [("MaxBurstLength", "511"), ("MaxOutstandingR2T", "0"), ("MaxOutstandingR2T", "65536"),
     ("ErrorRecoveryLevel", "3"), ("DefaultTime2Wait", "3601"), ("MaxConnections", str(2**64 - 1))],
)  # fmt: skip
def test_a_number_out_of_range_is_answered_reject_and_changes_nothing(name, value):
    end = target()
    assert end.receive([(name, value)]) == [(name, "Reject")]
    assert end.finish() == target().finish()


@pytest.mark.parametrize(
    "name, value",
    [("MaxBurstLength", "0x"), ("MaxBurstLength", "-1"), ("MaxBurstLength", " 512"), ("MaxBurstLength", ""),
     ("MaxBurstLength", str(2**64)), ("InitialR2T", "yes"), ("ImmediateData", ""),
     ("MaxRecvDataSegmentLength", "511"), ("MaxRecvDataSegmentLength", "16777216"), ("InitiatorName", "")],
)  # fmt: skip
def test_a_malformed_value_ends_the_login(name, value):
    with pytest.raises(NegotiationError) as caught:
        target().receive([(name, value)])
    assert (caught.value.status_class, caught.value.status_detail) == (2, 0)


def test_unknown_keys_are_not_understood():
    assert answer("X-com.example.key", "1") == "NotUnderstood"
    assert answer("Maxburstlength", "512") == "NotUnderstood"


def test_known_keys_are_never_not_understood():
    for key in KEYS.values():
        if key.rule in (Rule.AUTHENTICATION, Rule.QUESTION, Rule.DECLARATION):
            continue
        value = "Yes" if key.rule in (Rule.AND, Rule.OR) else "1"
        assert answer(key.name, value) != "NotUnderstood"


@pytest.mark.parametrize(
    "name, value, expected",
    [("IFMarker", "No", "No"), ("OFMarker", "Yes", "Reject"), ("IFMarkInt", "2048~4096", "Reject"),
     ("OFMarkInt", "No", "Reject"), ("RDMAExtensions", "Yes", "No"), ("MaxAHSLength", "256", "Irrelevant"),
     ("iSCSIProtocolLevel", "2", "1"), ("X#NodeArchitecture", "Linux/6.1", None)],
)  # fmt: skip
def test_obsolete_foreign_and_recent_keys_have_their_answers(name, value, expected):
    assert answer(name, value) == expected


def test_more_unknown_keys_than_the_limit_end_the_login():
    pairs = [(f"X-{number}", "b") for number in range(2048)]
    assert len(target().receive(pairs[:MAX_UNKNOWN_KEYS])) == MAX_UNKNOWN_KEYS
    with pytest.raises(NegotiationError):
        target().receive(pairs)


@pytest.mark.parametrize("name", ["HeaderDigest", "InitiatorName", "MaxRecvDataSegmentLength", "X-unknown"])
def test_a_key_sent_twice_in_one_login_ends_it(name):
    value = "1024" if name.startswith("Max") else "None"
    end = target()
    end.receive([(name, value)])
    with pytest.raises(NegotiationError) as caught:
        end.receive([(name, value)])
    assert caught.value.section == "6.3"


@pytest.mark.parametrize("constant", ["Reject", "Irrelevant", "NotUnderstood"])
@pytest.mark.parametrize(
    "name", ["MaxBurstLength", "InitiatorAlias", "X-unknown", "MaxRecvDataSegmentLength"]
)
def test_the_reserved_constants_are_no_proposals(name, constant):
    with pytest.raises(NegotiationError):
        target().receive([(name, constant)])


@pytest.mark.parametrize(
    "name", ["TargetAlias", "TargetPortalGroupTag", "SendTargets", "AuthMethod", "CHAP_A"]
)
def test_keys_that_are_not_the_initiators_to_negotiate_end_the_login(name):
    with pytest.raises(NegotiationError):
        target().receive([(name, "1")])


def test_operational_keys_are_illegal_in_the_security_stage():
    end = target()
    assert end.receive([("InitiatorAlias", "a"), ("X-unknown", "1")], security_stage=True) == [
        ("X-unknown", "NotUnderstood")
    ]
    with pytest.raises(NegotiationError):
        end.receive([("HeaderDigest", "None")], security_stage=True)


# -- keys that depend on others


def test_nine_keys_are_irrelevant_in_a_discovery_session_wherever_its_type_is_said():
    for key in KEYS.values():
        if key.irrelevant_in_discovery:
            value = "Yes" if key.rule in (Rule.AND, Rule.OR) else "1024"
            answers = target().receive([(key.name, value), ("SessionType", "Discovery")])
            assert answers == [(key.name, "Irrelevant")]


def test_first_burst_length_is_irrelevant_when_nothing_may_be_unsolicited():
    pairs = [("FirstBurstLength", "4192"), ("InitialR2T", "No"), ("ImmediateData", "Yes")]
    answers = target(Wishes(initial_r2t=True, immediate_data=False)).receive(pairs)
    assert answers == [("FirstBurstLength", "Irrelevant"), ("InitialR2T", "Yes"), ("ImmediateData", "No")]


def test_first_burst_length_never_exceeds_max_burst_length():
    pairs = [("FirstBurstLength", "262144"), ("MaxBurstLength", "8192")]
    assert target().receive(pairs) == [("FirstBurstLength", "8192"), ("MaxBurstLength", "8192")]


def test_a_target_proposes_first_burst_length_when_its_default_would_be_too_long():
    end = target()
    end.receive([("MaxBurstLength", "8192")])
    assert ("FirstBurstLength", "8192") in end.offer()
    assert end.pending
    end.receive([("FirstBurstLength", "8192")])
    assert end.finish().first_burst_length == 8192


def test_burst_lengths_that_disagree_across_requests_end_the_login():
    end = target()
    end.receive([("FirstBurstLength", "65536")])
    end.receive([("MaxBurstLength", "512")])
    with pytest.raises(NegotiationError) as caught:
        end.finish()
    assert caught.value.section == "13.14"


def test_error_recovery_with_ordered_sequences_allows_one_r2t():
    pairs = [("MaxOutstandingR2T", "8"), ("ErrorRecoveryLevel", "1"), ("DataSequenceInOrder", "Yes")]
    answers = dict(target(Wishes(max_outstanding_r2t=8, error_recovery_level=2)).receive(pairs))
    assert answers["MaxOutstandingR2T"] == "1"
    end = target(Wishes(max_outstanding_r2t=8, error_recovery_level=2))
    end.receive(pairs[:1])
    end.receive(pairs[1:])
    with pytest.raises(NegotiationError):
        end.finish()


def test_error_recovery_level_is_0_in_a_discovery_session():
    wishes = Wishes(error_recovery_level=2)
    assert answer("ErrorRecoveryLevel", "2", wishes, session_type=DISCOVERY) == "0"


# -- digests


def test_a_required_digest_is_crc32c_or_no_login():
    required = Wishes(header_digest=("CRC32C",), data_digest=("CRC32C",))
    end = target(required)
    assert end.receive([("HeaderDigest", "None")]) == [("HeaderDigest", "Reject")]
    with pytest.raises(NegotiationError):
        end.finish()
    assert target(required).needs_operational_stage
    assert not target().needs_operational_stage


def test_a_target_proposes_a_required_digest_nobody_mentioned():
    end = target(Wishes(header_digest=("CRC32C",)))
    assert end.offer(final=False) == [("MaxRecvDataSegmentLength", "262144")]
    assert end.offer() == [("HeaderDigest", "CRC32C")]
    assert end.pending
    with pytest.raises(NegotiationError):
        end.finish()
    assert end.receive([("HeaderDigest", "CRC32C")]) == []
    assert not end.pending
    assert end.finish().header_digest


@pytest.mark.parametrize("refusal", ["Reject", "None", "NotUnderstood"])
def test_an_initiator_that_needs_a_digest_does_not_go_on_without(refusal):
    end = initiator(Wishes(header_digest=("CRC32C",)))
    answers = dict(end.offer())
    del answers["MaxRecvDataSegmentLength"]
    answers |= {"HeaderDigest": refusal, "DataDigest": "None"}

    def go_on():
        end.receive(list(answers.items()))
        end.finish()

    with pytest.raises(NegotiationError):
        go_on()


# -- what we send


def test_a_target_volunteers_nothing_but_its_max_recv_data_segment_length():
    end = target(Wishes(task_reporting=("RFC3720", "ResponseFence"), protocol_level=2))
    assert end.offer() == [("MaxRecvDataSegmentLength", "262144")]
    assert end.offer() == []


def test_an_initiator_offers_what_open_iscsi_does():
    offered = dict(initiator().offer())
    assert list(offered) == [
        "HeaderDigest", "DataDigest", "DefaultTime2Wait", "DefaultTime2Retain", "ErrorRecoveryLevel",
        "InitialR2T", "ImmediateData", "MaxBurstLength", "FirstBurstLength", "MaxOutstandingR2T",
        "MaxConnections", "DataPDUInOrder", "DataSequenceInOrder", "MaxRecvDataSegmentLength",
    ]  # fmt: skip
    assert offered["MaxBurstLength"] == "16776192"
    assert offered["HeaderDigest"] == "None,CRC32C"


def test_an_initiator_offers_nothing_irrelevant_in_a_discovery_session():
    offered = dict(initiator(session_type=DISCOVERY).offer())
    assert list(offered) == [
        "HeaderDigest", "DataDigest", "DefaultTime2Wait", "DefaultTime2Retain", "ErrorRecoveryLevel",
        "MaxRecvDataSegmentLength",
    ]  # fmt: skip


def test_task_reporting_and_protocol_level_are_offered_on_demand():
    wishes = Wishes(task_reporting=("FastAbort", "ResponseFence", "RFC3720"), protocol_level=2)
    end = initiator(wishes)
    offered = dict(end.offer())
    assert (offered["TaskReporting"], offered["iSCSIProtocolLevel"]) == (
        "FastAbort,ResponseFence,RFC3720",
        "2",
    )
    end.receive([("TaskReporting", "ResponseFence"), ("iSCSIProtocolLevel", "NotUnderstood")])
    parameters, _ = agree(wishes, Wishes(task_reporting=("ResponseFence",), protocol_level=2))
    assert (parameters.task_reporting, parameters.protocol_level) == ("ResponseFence", 2)


# -- answers we get


@pytest.mark.parametrize(
    "name, value",
    [("HeaderDigest", "CRC32"), ("MaxBurstLength", "16776193"), ("MaxBurstLength", "1"),
     ("DefaultTime2Wait", "1"), ("DataPDUInOrder", "No"), ("ImmediateData", "maybe"),
     ("HeaderDigest", "NotUnderstood")],
)  # fmt: skip
def test_an_answer_against_the_rule_is_an_error(name, value):
    end = initiator()
    end.offer()
    with pytest.raises(NegotiationError):
        end.receive([(name, value)])


def test_a_second_answer_is_an_error():
    end = initiator()
    end.offer()
    end.receive([("HeaderDigest", "None")])
    with pytest.raises(NegotiationError):
        end.receive([("HeaderDigest", "None")])


def test_answers_that_the_offer_determines_may_be_left_out():
    no_digest = {"header_digest": ("None",), "data_digest": ("None",)}
    end = initiator(Wishes(**no_digest, initial_r2t=True, immediate_data=False))
    optional = ("InitialR2T", "ImmediateData", "DataPDUInOrder", "DataSequenceInOrder")
    end.receive([pair for pair in end.offer() if pair[0] not in (*optional, "MaxRecvDataSegmentLength")])
    parameters = end.finish()
    assert (parameters.initial_r2t, parameters.immediate_data) == (True, False)


def test_an_answer_that_must_come_and_does_not_is_an_error():
    end = initiator()
    end.offer()
    with pytest.raises(NegotiationError):
        end.finish()


def test_irrelevant_and_reject_leave_the_default():
    end = initiator()
    answers = [(name, "Reject") for name, _ in end.offer() if name != "MaxRecvDataSegmentLength"]
    end.receive([(name, "Irrelevant" if name == "FirstBurstLength" else value) for name, value in answers])
    parameters = end.finish()
    assert (parameters.max_burst_length, parameters.first_burst_length) == (262144, 65536)
    assert parameters.initial_r2t
    assert parameters.default_time2retain == 20


# -- results


def test_both_ends_come_to_the_same_parameters():
    left, right = agree(Wishes(), Wishes(max_recv_data_segment_length=65536, max_burst_length=1048576))
    assert (left.max_recv_data_segment_length, left.max_send_data_segment_length) == (262144, 65536)
    assert (right.max_recv_data_segment_length, right.max_send_data_segment_length) == (65536, 262144)
    assert left.max_burst_length == right.max_burst_length == 1048576
    assert not left.initial_r2t
    assert left.immediate_data
    assert left.first_burst_length == 262144


BOOLEANS = ("initial_r2t", "immediate_data", "data_pdu_in_order", "data_sequence_in_order")


@given(st.data())
def test_any_wishes_lead_to_one_result(data):
    def wishes():
        values = {name: data.draw(st.booleans()) for name in BOOLEANS}
        burst = data.draw(st.integers(512, 2**24 - 1))
        return Wishes(
            **values,
            max_burst_length=burst,
            first_burst_length=data.draw(st.integers(512, burst)),
            max_outstanding_r2t=data.draw(st.integers(1, 65535)),
            header_digest=data.draw(st.sampled_from([("None",), ("CRC32C", "None"), ("None", "CRC32C")])),
        )

    left, right = agree(wishes(), wishes())
    for name in (*BOOLEANS, "max_burst_length", "first_burst_length", "max_outstanding_r2t", "header_digest"):
        assert getattr(left, name) == getattr(right, name)
    assert left.first_burst_length <= left.max_burst_length


def test_a_further_connection_negotiates_only_what_is_its_own():
    session = Parameters(max_burst_length=1048576, initiator_name="iqn.a")
    left, right = agree(Wishes(), Wishes(), session=session)
    assert left.max_burst_length == right.max_burst_length == 1048576
    assert right.max_send_data_segment_length == 262144
    assert right.initiator_name == "iqn.a"
    with pytest.raises(NegotiationError):
        target(session=session).receive([("MaxBurstLength", "512")])


def test_names_and_aliases_are_part_of_the_result():
    end = target()
    end.declare([("TargetPortalGroupTag", "3"), ("TargetAlias", "disk")])
    end.receive([("InitiatorName", "iqn.a"), ("InitiatorAlias", "vm"), ("TargetName", "iqn.b")])
    result = end.finish()
    assert (result.initiator_name, result.initiator_alias, result.target_name) == ("iqn.a", "vm", "iqn.b")
    assert (result.target_alias, result.target_portal_group_tag) == ("disk", 3)


def test_a_recent_declaration_of_ours_may_be_not_understood():
    end = initiator()
    end.declare([("X#NodeArchitecture", "iscsim"), ("InitiatorAlias", "vm")])
    assert end.receive([("X#NodeArchitecture", "NotUnderstood")]) == []
    with pytest.raises(NegotiationError):
        end.receive([("InitiatorAlias", "NotUnderstood")])


def test_a_target_may_declare_several_addresses():
    end = initiator()
    end.receive([("TargetAddress", "10.0.0.1:3260"), ("TargetAddress", "[fd00::1]:3260")])
    assert end.target_addresses == ["10.0.0.1:3260", "[fd00::1]:3260"]


# -- the full feature phase


def full_feature(role=Role.TARGET):
    return FullFeatureNegotiation(role, Parameters(max_send_data_segment_length=4096))


def test_a_new_max_recv_data_segment_length_takes_effect_at_the_end():
    negotiation = full_feature()
    pairs = [("MaxRecvDataSegmentLength", "65536"), ("X-com.example", "1"), ("InitiatorAlias", "new")]
    assert negotiation.receive(pairs) == [("X-com.example", "NotUnderstood")]
    assert negotiation.finish().max_send_data_segment_length == 65536
    assert negotiation.finish().initiator_alias == "new"
    assert full_feature().finish().max_send_data_segment_length == 4096


@pytest.mark.parametrize("name", sorted(name for name, key in KEYS.items() if key.use.value in ("IO", "LO")))
def test_login_keys_are_illegal_in_the_full_feature_phase(name):
    with pytest.raises(NegotiationError):
        full_feature().receive([(name, "1")])


@pytest.mark.parametrize(
    "pairs",
    [
        [("MaxRecvDataSegmentLength", "4096"), ("MaxRecvDataSegmentLength", "4096")],
        [("MaxRecvDataSegmentLength", "1")],
        [("TargetAlias", "not the initiator's")],
        [("X-unknown", "Reject")],
    ],
)
def test_a_broken_rule_ends_the_text_exchange(pairs):
    with pytest.raises(NegotiationError):
        full_feature().receive(pairs)


def test_send_targets_is_left_to_discovery():
    assert full_feature().receive([("SendTargets", "All")]) == []


def test_an_initiator_takes_the_targets_declarations():
    negotiation = full_feature(Role.INITIATOR)
    negotiation.receive([("TargetAlias", "disk"), ("TargetAddress", "a"), ("TargetAddress", "b")])
    assert negotiation.finish().target_alias == "disk"


NAME = st.sampled_from([*KEYS, "X-com.example", "Unknown"])
VALUE = st.text(max_size=30) | st.sampled_from(
    ["Yes", "No", "None", "512", "0x200", "CRC32C,None", "Discovery"]
)


@given(st.lists(st.tuples(NAME, VALUE), max_size=12), st.booleans())
def test_hostile_keys_end_in_answers_or_a_negotiation_error(pairs, security_stage):
    for end in (target(), initiator(), target(session=Parameters())):
        with suppress(NegotiationError):
            end.offer()
            end.receive(pairs, security_stage=security_stage)
            end.finish()
    with suppress(NegotiationError):
        full_feature().receive(pairs)
