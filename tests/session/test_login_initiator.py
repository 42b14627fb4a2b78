"""What an initiator refuses in the login phase (RFC 7143 sections 6.3, 9.2, 11.13 and 13.9)."""

from contextlib import suppress
from dataclasses import replace

import pytest
from exchanges.logins import (
    FULL_FEATURE,
    INITIATOR_CHAP,
    INITIATOR_NAME,
    ISID,
    MUTUAL_CHAP,
    OPERATIONAL,
    SECURITY,
    TARGET_NAME,
    initiator_login,
)
from hypothesis import given
from hypothesis import strategies as st
from marks import rfc

from iscsim.errors import ConfigError, LocalProtocolError, LoginFailed, NegotiationError
from iscsim.pdu import LoginResponse
from iscsim.pdu.text import encode_text, parse_text
from iscsim.session.login_initiator import LoginConfig
from iscsim.session.login_status import LoginRedirected
from iscsim.session.parameters import Parameters


def answered(data=(), **fields):
    """The target's answer to the only request of a login without CHAP."""
    defaults = {"current_stage": OPERATIONAL, "isid": ISID, "tsih": 1}
    return LoginResponse(**defaults | {"data": encode_text(data)} | fields)


@rfc("7143", "6.3", "11.13", row="I4")
@pytest.mark.parametrize(
    "change",
    [{"initiator_task_tag": 1}, {"isid": bytes(6)}, {"current_stage": SECURITY}, {"version_active": 1},
     {"transit": True, "next_stage": 1}, {"transit": True, "next_stage": 2},
     {"transit": True, "next_stage": 3},
     {"transit": True, "next_stage": 3, "continuation": True}, {"data": b"no text"},
     {"data": encode_text([("TargetName", TARGET_NAME)])},
     {"data": encode_text([("MaxBurstLength", "16777215")])}],
)  # fmt: skip
def test_a_response_that_breaks_a_rule_is_an_error(change):
    login = initiator_login()
    login.start()
    with pytest.raises(NegotiationError):
        login.receive(replace(answered(), **change))
    assert not login.complete


def test_a_transition_beyond_the_stage_that_was_asked_for_is_an_error():
    login = initiator_login(security_stage=True)
    request = login.start()
    assert (request.transit, request.next_stage) == (True, OPERATIONAL)
    with pytest.raises(NegotiationError, match="stage 3 cannot come next"):
        login.receive(answered(current_stage=SECURITY, transit=True, next_stage=FULL_FEATURE))


def test_a_transition_that_was_not_asked_for_is_an_error():
    login = initiator_login(chap=INITIATOR_CHAP)
    assert not login.start().transit
    with pytest.raises(NegotiationError):
        login.receive(answered(current_stage=SECURITY, transit=True, next_stage=OPERATIONAL))


def complete_answers(login):
    """The first request sent, what a target that grants every wish answers."""
    answers = dict(parse_text(login.start().data)) | {"HeaderDigest": "None", "DataDigest": "None"}
    for name in ("InitiatorName", "TargetName", "SessionType", "MaxRecvDataSegmentLength"):
        del answers[name]
    return list(answers.items())


@rfc("7143", "13.9", row="I7")
@pytest.mark.parametrize(
    "change, more",
    [({"tsih": 0}, []), ({}, [("X-vendor", "1"), ("IFMarkInt", "1")]), ({}, [("TargetPortalGroupTag", "2")])],
)
def test_a_final_response_that_breaks_a_rule_is_an_error(change, more):
    login = initiator_login(portal_group_tag=1)
    data = complete_answers(login) + more
    with pytest.raises(NegotiationError):
        login.receive(answered(data, transit=True, next_stage=FULL_FEATURE, **change))


def test_an_unknown_key_in_the_final_response_is_ignored():
    login = initiator_login(portal_group_tag=1)
    data = [*complete_answers(login), ("X-vendor", "1"), ("TargetPortalGroupTag", "1")]
    assert login.receive(answered(data, transit=True, next_stage=FULL_FEATURE)) is None
    assert login.complete


def test_another_tsih_than_the_joined_sessions_is_an_error():
    login = initiator_login(joins={"tsih": 9, "session": Parameters()})
    login.start()
    data = [("HeaderDigest", "None"), ("DataDigest", "None")]
    with pytest.raises(NegotiationError):
        login.receive(answered(data, transit=True, next_stage=FULL_FEATURE, tsih=8))


@pytest.mark.parametrize(
    "pairs",
    [[("AuthMethod", "None")], [("AuthMethod", "Reject")], [], [("CHAP_A", "5")],
     [("AuthMethod", "CHAP"), ("CHAP_A", "5")]],
)  # fmt: skip
def test_an_initiator_with_a_secret_does_not_go_on_without_chap(pairs):
    login = initiator_login(chap=INITIATOR_CHAP)
    login.start()
    with pytest.raises(NegotiationError):
        login.receive(answered(pairs, current_stage=SECURITY))


def test_a_target_that_skips_its_own_proof_is_refused():
    login = initiator_login(chap=MUTUAL_CHAP)
    login.start()
    login.receive(answered([("AuthMethod", "CHAP")], current_stage=SECURITY))
    challenge = [("CHAP_A", "5"), ("CHAP_I", "1"), ("CHAP_C", "0x" + "ab" * 16)]
    assert login.receive(answered(challenge, current_stage=SECURITY)).transit
    with pytest.raises(NegotiationError):
        login.receive(answered(current_stage=SECURITY, transit=True, next_stage=OPERATIONAL))


def test_an_initiator_without_a_secret_refuses_chap_keys():
    login = initiator_login(security_stage=True)
    login.start()
    with pytest.raises(NegotiationError):
        login.receive(answered([("CHAP_A", "5")], current_stage=SECURITY))


def test_a_redirection_without_an_address_is_a_failure():
    login = initiator_login()
    login.start()
    with pytest.raises(LoginFailed) as caught:
        login.receive(LoginResponse(status_class=1, status_detail=1))
    assert not isinstance(caught.value, LoginRedirected)


def test_a_target_that_never_ends_is_given_up():
    login = initiator_login()
    login.start()
    for _ in range(64):
        assert login.receive(answered()).transit
    with pytest.raises(NegotiationError):
        login.receive(answered())


def test_no_response_is_taken_before_the_first_request():
    with pytest.raises(LocalProtocolError):
        initiator_login().receive(LoginResponse())


def test_a_normal_session_needs_a_target():
    with pytest.raises(ConfigError):
        LoginConfig(initiator_name=INITIATOR_NAME)


FIELDS = {
    "transit": st.booleans(),
    "continuation": st.booleans(),
    "current_stage": st.integers(0, 3),
    "next_stage": st.integers(0, 3),
}
TEXT = st.binary(max_size=100) | st.lists(
    st.tuples(
        st.sampled_from(
            ["AuthMethod", "CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R", "HeaderDigest", "X-a"]
        ),
        st.sampled_from(["CHAP", "None", "5", "1", "0xab", "tgtuser", "Reject"]),
    ),
    max_size=6,
).map(encode_text)


@given(
    st.lists(st.builds(LoginResponse, **FIELDS, data=TEXT, status_class=st.integers(0, 4)), max_size=5),
    st.booleans(),
)
def test_hostile_responses_end_in_an_error(responses, chap):
    login = initiator_login(chap=MUTUAL_CHAP if chap else None)
    login.start()
    with suppress(NegotiationError, LoginFailed):
        for each in responses:
            if login.complete:
                break
            login.receive(replace(each, isid=ISID))
    assert not (chap and login.complete)


def test_refusal_of_chap_that_nobody_asked_for_says_so() -> None:
    login = initiator_login(chap=INITIATOR_CHAP)
    login.start()
    with pytest.raises(LoginFailed, match="does the target ask for it"):
        login.receive(LoginResponse(status_class=2, status_detail=1))


def test_refusal_of_an_initiator_says_who_we_are() -> None:
    login = initiator_login()
    login.start()
    with pytest.raises(LoginFailed, match=rf"we are {INITIATOR_NAME}"):
        login.receive(LoginResponse(status_class=2, status_detail=2))
