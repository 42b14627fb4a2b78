"""The table of keys against the RFC's own chapters 12 and 13."""

import pytest

from iscsim.session.keys import KEYS, SECURITY_KEYS, Role, Rule, Use, in_any_case

CHAPTER_13 = """HeaderDigest DataDigest MaxConnections SendTargets TargetName InitiatorName TargetAlias
    InitiatorAlias TargetAddress TargetPortalGroupTag InitialR2T ImmediateData MaxRecvDataSegmentLength
    MaxBurstLength FirstBurstLength DefaultTime2Wait DefaultTime2Retain MaxOutstandingR2T DataPDUInOrder
    DataSequenceInOrder ErrorRecoveryLevel SessionType TaskReporting iSCSIProtocolLevel IFMarker OFMarker
    IFMarkInt OFMarkInt X#NodeArchitecture""".split()


def test_every_key_of_chapter_13_is_known():
    assert set(CHAPTER_13) <= set(KEYS)


def test_every_key_of_chapter_12_is_a_security_key():
    expected = """AuthMethod KRB_AP_REQ KRB_AP_REP SRP_U TargetAuth SRP_GROUP SRP_s SRP_A SRP_B SRP_M SRP_HM
        CHAP_A CHAP_I CHAP_C CHAP_N CHAP_R""".split()
    assert set(expected) == SECURITY_KEYS


@pytest.mark.parametrize(
    "name, rule, default, low, high",
    [
        ("MaxConnections", Rule.MINIMUM, "1", 1, 65535),
        ("MaxRecvDataSegmentLength", Rule.DECLARATION, "8192", 512, 2**24 - 1),
        ("MaxBurstLength", Rule.MINIMUM, "262144", 512, 2**24 - 1),
        ("FirstBurstLength", Rule.MINIMUM, "65536", 512, 2**24 - 1),
        ("DefaultTime2Wait", Rule.MAXIMUM, "2", 0, 3600),
        ("DefaultTime2Retain", Rule.MINIMUM, "20", 0, 3600),
        ("MaxOutstandingR2T", Rule.MINIMUM, "1", 1, 65535),
        ("ErrorRecoveryLevel", Rule.MINIMUM, "0", 0, 2),
        ("TargetPortalGroupTag", Rule.DECLARATION, None, 0, 65535),
    ],
)
def test_numbers_have_the_ranges_of_the_rfc(name, rule, default, low, high):
    key = KEYS[name]
    assert (key.rule, key.default, key.minimum, key.maximum) == (rule, default, low, high)
    assert key.admits(low)
    assert key.admits(high)
    assert not key.admits(low - 1)
    assert not key.admits(high + 1)


@pytest.mark.parametrize(
    "name, rule",
    [
        ("InitialR2T", Rule.OR),
        ("ImmediateData", Rule.AND),
        ("DataPDUInOrder", Rule.OR),
        ("DataSequenceInOrder", Rule.OR),
    ],
)
def test_booleans_default_to_yes(name, rule):
    assert (KEYS[name].rule, KEYS[name].default) == (rule, "Yes")


def test_nine_keys_are_irrelevant_in_a_discovery_session():
    assert {key.name for key in KEYS.values() if key.irrelevant_in_discovery} == {
        *("MaxConnections", "InitialR2T", "ImmediateData", "MaxBurstLength", "FirstBurstLength"),
        *("MaxOutstandingR2T", "DataPDUInOrder", "DataSequenceInOrder", "TaskReporting"),
    }


def test_seven_keys_may_be_sent_in_any_stage():
    assert {key.name for key in KEYS.values() if key.any_stage} == {
        *("SessionType", "InitiatorName", "TargetName", "InitiatorAlias", "TargetAlias"),
        *("TargetAddress", "TargetPortalGroupTag"),
    }


def test_only_target_address_may_be_declared_twice():
    assert [key.name for key in KEYS.values() if key.repeatable] == ["TargetAddress"]


def test_four_known_keys_may_be_sent_in_the_full_feature_phase():
    assert {key.name for key in KEYS.values() if key.use is Use.ALL} == {
        "MaxRecvDataSegmentLength", "TargetAlias", "InitiatorAlias", "TargetAddress",
    }  # fmt: skip


def test_the_peer_of_each_role_is_the_other():
    assert Role.INITIATOR.peer is Role.TARGET
    assert Role.TARGET.peer is Role.INITIATOR


def test_keys_in_any_case():
    pairs = [("Initiatorname", "A"), ("MAXBURSTLENGTH", "1"), ("x-Other", "y"), ("SendTargets", "All")]
    assert in_any_case(pairs) == [
        ("InitiatorName", "A"),
        ("MaxBurstLength", "1"),
        ("x-Other", "y"),
        ("SendTargets", "All"),
    ]
