"""What a target refuses in the login phase, and CHAP inside it (RFC 7143 sections 6.3, 9.2 and 12.1)."""

from dataclasses import replace

import pytest
from exchanges.logins import (
    FULL_FEATURE,
    NAMES,
    OPERATIONAL,
    SECURITY,
    TARGET_CHAP,
    TARGET_NAME,
    USER,
    Policy,
    initiator_login,
    pairs_of,
    refused,
    request,
    status_of,
    target_login,
)
from hypothesis import given
from hypothesis import strategies as st
from marks import rfc

from iscsim.errors import LocalProtocolError
from iscsim.pdu import LoginRequest, LoginStatus
from iscsim.pdu.text import encode_hex, encode_text
from iscsim.session.chap import ChapAlgorithm, ChapReflected, chap_response
from iscsim.session.login import LoginRedirected, RedirectLogin, login_error

# -- what a target refuses


@rfc("7143", "13.5", row=61)
@pytest.mark.parametrize(
    "pairs, status",
    [
        (NAMES[1:], 0x0207),
        ([NAMES[0]], 0x0207),
        ([NAMES[0], ("SessionType", "Normal")], 0x0207),
        ([*NAMES[:2], ("SessionType", "Other")], 0x0209),
        ([NAMES[0], ("TargetName", "iqn.nope:x")], 0x0203),
        ([("InitiatorName", ""), NAMES[1]], 0x0200),
        ([("InitiatorName", "iqn." + "x" * 220), NAMES[1]], 0x0200),
        ([*NAMES, NAMES[0]], 0x0200),
        ([*NAMES, ("TargetAlias", "mine")], 0x0200),
        ([*NAMES, ("SendTargets", "All")], 0x0200),
        ([*NAMES, ("HeaderDigest", "None")], 0x0200),
        ([*NAMES, ("CHAP_A", "5")], 0x0200),
        ([*NAMES, ("AuthMethod", "KRB5,SRP")], 0x0201),
        ([*NAMES, ("AuthMethod", "CHAP")], 0x0201),
        ([*NAMES, *((f"X-{number}", "b") for number in range(33))], 0x0200),
    ],
)
def test_a_first_request_that_cannot_be_accepted_is_refused_with_its_status(pairs, status):
    assert refused(target_login(), request(pairs, SECURITY, OPERATIONAL)) == status


@pytest.mark.parametrize(
    "data",
    [b"InitiatorName", b"InitiatorName\0", b"K" * 64 + b"=v\0", b"K" * 255 + b"=v\0", b"K" * 8191 + b"=v\0",
     b"a=b\0" * 2048, b"A=\xff\0", b"\0"],
)  # fmt: skip
def test_text_against_the_format_is_refused(data):
    assert refused(target_login(), request(data=data)) == 0x0200


def test_2048_keys_do_not_make_a_target_talk():
    data = b"".join(b"X%d=b\0" % number for number in range(800))
    response = target_login().receive(request(data=encode_text(NAMES) + data))
    assert (status_of(response), len(response.data)) == (0x0200, 0)


@pytest.mark.parametrize("version_min, version_max, status", [(1, 2, 0x0205), (0, 2, 0)])
def test_only_version_0_is_spoken(version_min, version_max, status):
    response = target_login().receive(request(NAMES, version_min=version_min, version_max=version_max))
    assert (status_of(response), response.version_max, response.version_active) == (status, 0, 0)


@rfc("7143", "6.3", row=36)
@pytest.mark.parametrize("stage", [2, FULL_FEATURE])
def test_a_login_begins_in_the_security_or_the_operational_stage(stage):
    assert refused(target_login(), request(NAMES, stage)) == 0x0200


@rfc("7143", "6.3", "11.12.3", row=36)
@pytest.mark.parametrize("stage, to", [(0, 0), (0, 2), (1, 0), (1, 1), (1, 2)])
def test_only_three_transitions_exist(stage, to):
    asked = replace(request(NAMES, stage, OPERATIONAL), next_stage=to)
    assert refused(target_login(), asked) == 0x0200


def test_no_stage_comes_twice():
    first = request(NAMES, to=OPERATIONAL)
    assert refused(target_login(), first, request(stage=SECURITY)) == 0x0200


@rfc("7143", "6.3", row=36)
def test_no_stage_is_entered_before_it_is_granted():
    assert refused(target_login(), request(NAMES), request(stage=OPERATIONAL)) == 0x0200


@pytest.mark.parametrize(
    "change",
    [
        {"isid": bytes(6)},
        {"tsih": 1},
        {"cid": 1},
        {"initiator_task_tag": 1},
        {"version_max": 1},
        {"cmd_sn": 1},
    ],
)
def test_what_identifies_a_login_stays_the_same(change):
    assert refused(target_login(), request(NAMES), request(**change)) == 0x0200


def test_a_key_of_an_earlier_request_is_not_sent_again():
    assert refused(target_login(), request(NAMES), request([NAMES[0]])) == 0x0200
    last = request([NAMES[1]], OPERATIONAL, FULL_FEATURE)
    assert refused(target_login(), request(NAMES, to=OPERATIONAL), last) == 0x0200


@pytest.mark.parametrize("pair", [("AuthMethod", "None"), ("CHAP_A", "5")])
def test_security_keys_are_illegal_in_the_operational_stage(pair):
    assert refused(target_login(), request([*NAMES, pair], OPERATIONAL, FULL_FEATURE)) == 0x0200


def test_skipping_security_is_an_authentication_failure_when_it_is_asked_for():
    login = target_login(chap=TARGET_CHAP)
    assert refused(login, request(NAMES, OPERATIONAL, FULL_FEATURE)) == 0x0201


def test_authmethod_none_is_an_authentication_failure_when_chap_is_asked_for():
    login = target_login(chap=TARGET_CHAP)
    assert refused(login, request([*NAMES, ("AuthMethod", "None")], to=OPERATIONAL)) == 0x0201


@rfc("7143", "6.2.1", row=33)
def test_the_first_acceptable_method_of_the_list_is_chosen():
    for chap, method in ((None, "None"), (TARGET_CHAP, "CHAP")):
        response = target_login(chap=chap).receive(request([*NAMES, ("AuthMethod", "KRB5,CHAP,None")]))
        assert pairs_of(response)["AuthMethod"] == method


def test_tsih_of_no_session_is_refused():
    assert refused(target_login(), request(NAMES, tsih=3, to=OPERATIONAL)) == 0x020A


@rfc("7143", "6.3.1", "13.9", row=40)
def test_the_portal_group_tag_is_in_the_first_whole_response_only():
    login = target_login(portal_group_tag=65535)
    assert bytes(login.receive(request(continuation=True)).data) == b""
    assert pairs_of(login.receive(request(NAMES)))["TargetPortalGroupTag"] == "65535"
    assert pairs_of(login.receive(request())) == {}


@pytest.mark.parametrize("status", [0x0202, 0x0206, 0x020A, 0x0301, 0x0302])
def test_a_policy_may_refuse_at_the_very_end(status):
    policy = Policy(refusal=login_error(LoginStatus(status), "no"))
    asked = request(NAMES, OPERATIONAL, FULL_FEATURE, initiator_task_tag=5)
    assert refused(target_login(policy), asked) == status
    assert policy.admitted == []


def test_a_login_is_admitted_once_and_only_after_authentication():
    policy = Policy(chap=TARGET_CHAP)
    login = target_login(policy)
    login.receive(request([*NAMES, ("AuthMethod", "CHAP")]))
    login.receive(request([("CHAP_A", "5")]))
    assert refused(login, request([("CHAP_N", "chapuser"), ("CHAP_R", "0xab")], to=FULL_FEATURE)) == 0x0201
    assert policy.admitted == []


def test_after_its_end_a_login_takes_no_request():
    login = target_login()
    login.receive(request(NAMES, OPERATIONAL, FULL_FEATURE))
    with pytest.raises(LocalProtocolError):
        login.receive(request(NAMES))


def test_a_login_may_be_ended_from_outside():
    login = target_login()
    login.receive(request(NAMES, initiator_task_tag=9))
    response = login.refuse(login_error(LoginStatus.INVALID_DURING_LOGIN, "a SCSI command"))
    assert (status_of(response), response.initiator_task_tag) == (0x020B, 9)
    assert login.error is not None


# -- CHAP inside a login


def chap_proof(asked, credential=USER):
    challenge = bytes.fromhex(asked["CHAP_C"][2:])
    response = chap_response(ChapAlgorithm.MD5, int(asked["CHAP_I"]), credential.secret, challenge)
    return [("CHAP_N", credential.name), ("CHAP_R", encode_hex(response))]


def challenged():
    login = target_login(chap=TARGET_CHAP)
    login.receive(request([*NAMES, ("AuthMethod", "CHAP,None")], to=OPERATIONAL))
    return login, pairs_of(login.receive(request([("CHAP_A", "5")])))


def test_a_target_proposes_chap_to_an_initiator_that_proposes_nothing():
    login = target_login(chap=TARGET_CHAP)
    response = login.receive(request(NAMES, SECURITY, OPERATIONAL))
    assert (response.transit, pairs_of(response)["AuthMethod"]) == (False, "CHAP")
    response = login.receive(request([("AuthMethod", "CHAP"), ("CHAP_A", "5")]))
    asked = pairs_of(response)
    assert asked.keys() == {"CHAP_A", "CHAP_I", "CHAP_C"}
    response = login.receive(request(chap_proof(asked), SECURITY, OPERATIONAL))
    assert response.transit


@pytest.mark.parametrize("answer", [[], [("AuthMethod", "None")], [("AuthMethod", "Reject")]])
def test_an_initiator_that_does_not_take_the_proposal_is_not_authenticated(answer):
    first = request(NAMES, SECURITY, OPERATIONAL)
    assert refused(target_login(chap=TARGET_CHAP), first, request(answer, SECURITY, OPERATIONAL)) == 0x0201


def test_no_transition_is_granted_before_chap_has_ended():
    login = target_login(chap=TARGET_CHAP)
    assert not login.receive(request([*NAMES, ("AuthMethod", "CHAP")], to=OPERATIONAL)).transit
    assert not login.receive(request([("CHAP_A", "5")], to=FULL_FEATURE)).transit


def test_a_reflected_challenge_closes_the_connection_without_a_response():
    login, asked = challenged()
    pairs = [*chap_proof(asked), ("CHAP_I", "1"), ("CHAP_C", asked["CHAP_C"])]
    assert login.receive(request(pairs, to=OPERATIONAL)) is None
    assert isinstance(login.error, ChapReflected)


@pytest.mark.parametrize(
    "pairs, status",
    [([], 0x0207), ([("CHAP_N", "chapuser")], 0x0207), ([("CHAP_R", "0xab")], 0x0207),
     ([("CHAP_N", "chapuser"), ("CHAP_R", "0x")], 0x0200),
     ([("CHAP_N", "chapuser"), ("CHAP_R", "0xab")], 0x0201),
     ([("CHAP_A", "5")], 0x0200), ([("AuthMethod", "CHAP")], 0x0200)],
)  # fmt: skip
def test_a_broken_chap_step_is_refused_with_its_status(pairs, status):
    login, _ = challenged()
    assert refused(login, request(pairs, to=OPERATIONAL)) == status


def test_chap_keys_do_not_come_before_the_method_is_chosen():
    login = target_login(chap=TARGET_CHAP)
    assert refused(login, request([*NAMES, ("AuthMethod", "CHAP"), ("CHAP_A", "5")])) == 0x0200


def test_after_chap_the_initiator_may_still_wait_before_it_transits():
    login, asked = challenged()
    assert not login.receive(request(chap_proof(asked))).transit
    assert login.receive(request(to=OPERATIONAL)).transit


@rfc("7143", "13.8", row=45)
@pytest.mark.parametrize("permanent", [False, True])
def test_a_redirection_names_the_address_to_go_to(permanent):
    policy = Policy(refusal=RedirectLogin("[fd00::1]:3261", permanent=permanent))
    login, target = initiator_login(), target_login(policy)
    with pytest.raises(LoginRedirected) as caught:
        login.receive(target.receive(login.start()))
    assert (caught.value.address, caught.value.permanent) == ("[fd00::1]:3261", permanent)


# -- hostile peers

TEXT = st.binary(max_size=200) | st.lists(
    st.tuples(
        st.sampled_from(["InitiatorName", "TargetName", "SessionType", "AuthMethod", "CHAP_A", "CHAP_N",
                         "CHAP_R", "HeaderDigest", "MaxBurstLength", "X-a"]),
        st.sampled_from([TARGET_NAME, "Normal", "Discovery", "CHAP", "None", "5", "0xab", "512", "Reject"]),
    ), max_size=6,
).map(encode_text)  # fmt: skip
FIELDS = {
    "transit": st.booleans(),
    "continuation": st.booleans(),
    "current_stage": st.integers(0, 3),
    "next_stage": st.integers(0, 3),
    "data": TEXT,
}


@given(st.lists(st.builds(LoginRequest, **FIELDS, tsih=st.integers(0, 1)), max_size=5), st.booleans())
def test_hostile_requests_end_in_a_status(requests, chap):
    login = target_login(chap=TARGET_CHAP if chap else None)
    for each in requests:
        if login.complete or login.error is not None:
            break
        response = login.receive(each)
        assert response is None or status_of(response) in {0, *LoginStatus}
    assert not (chap and login.complete)


@pytest.mark.parametrize(
    "offered, chosen", [("CHAP,None", "CHAP"), ("None,CHAP", "None"), ("None", "None"), ("KRB5,CHAP", "CHAP")]
)
def test_chap_that_is_not_required_is_done_by_who_offers_it_first(offered: str, chosen: str) -> None:
    login = target_login(Policy(chap=replace(TARGET_CHAP, required=False)))
    response = login.receive(request([*NAMES, ("AuthMethod", offered)], SECURITY))
    assert pairs_of(response)["AuthMethod"] == chosen


def test_security_may_be_skipped_where_chap_is_not_required() -> None:
    login = target_login(Policy(chap=replace(TARGET_CHAP, required=False)))
    login.receive(request(NAMES, OPERATIONAL, FULL_FEATURE))
    assert login.complete


def test_chap_that_was_chosen_must_be_done_though_it_was_not_required() -> None:
    login = target_login(Policy(chap=replace(TARGET_CHAP, required=False)))
    login.receive(request([*NAMES, ("AuthMethod", "CHAP")], SECURITY))
    response = login.receive(request((), SECURITY, OPERATIONAL))
    assert not response.transit
    assert not login.complete
