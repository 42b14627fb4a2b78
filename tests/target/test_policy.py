"""Personalities are data."""

import dataclasses
from dataclasses import replace

import pytest
from exchanges.ladder import INITIATOR, TARGET, connect, like, log_in, login_request, make_entity, text

from iscsim.errors import ConfigError
from iscsim.pdu import LoginResponse
from iscsim.pdu.text import encode_text, parse_text
from iscsim.session.parameters import Wishes
from iscsim.target.policy import LIO, PERSONALITIES, RFC, TGT, TargetPolicy


def test_personalities_are_known_by_their_names():
    assert {name: policy.name for name, policy in PERSONALITIES.items()} == {
        "rfc": "rfc",
        "lio": "lio",
        "tgt": "tgt",
        "vnx": "vnx",
    }
    assert PERSONALITIES["rfc"] == TargetPolicy() == RFC


def test_a_personality_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RFC.login_timeout_s = 1.0


# -- where requirements conflict: both values of every switch --------------------------------------


def keys_of(response):
    assert response.status_class == 0
    return dict(parse_text(response.data))


def answered(policy, keys=None, **fields):
    """What a login in one step is answered."""
    return (connect(make_entity(policy)) >> login_request(keys, **fields)).next()


@pytest.mark.parametrize("tells", [True, False])
def test_the_portal_group_tag_is_told_or_not(tells):
    entity = make_entity(replace(RFC, tells_portal_group_tag=tells))
    assert ("TargetPortalGroupTag" in keys_of((connect(entity) >> login_request()).next())) is tells
    assert entity.sessions[0].portal_group_tag == 1


def test_keys_the_initiator_did_not_mention_are_not_brought_up():
    """open-iscsi gives up when it does not know one."""
    assert set(keys_of(answered(RFC))) == {"TargetPortalGroupTag", "MaxRecvDataSegmentLength"}


def test_keys_are_brought_up_where_a_personality_does_so():
    wishes = Wishes(volunteered=("TaskReporting", "iSCSIProtocolLevel", "MaxBurstLength"))
    policy = replace(RFC, wishes=wishes)
    exchange = connect(make_entity(policy)) >> login_request({"MaxBurstLength": "262144"})
    response = exchange.next()
    keys = keys_of(response)
    assert (keys["TaskReporting"], keys["iSCSIProtocolLevel"], keys["MaxBurstLength"]) == (
        "RFC3720",
        "1",
        "262144",
    )
    assert not response.transit  # RFC 7143 section 11.13.6: there may be an answer
    answers = [("TaskReporting", "NotUnderstood"), ("iSCSIProtocolLevel", "1")]
    exchange >> login_request(data=encode_text(answers))
    assert exchange << like(LoginResponse, status_class=0, transit=True)


def test_what_means_nothing_in_discovery_is_not_brought_up_there():
    policy = replace(RFC, wishes=Wishes(volunteered=("TaskReporting", "DefaultTime2Wait")))
    keys = keys_of(answered(policy, {"SessionType": "Discovery", "TargetName": ""}))
    assert ("TaskReporting" in keys, "DefaultTime2Wait" in keys) == (False, True)


@pytest.mark.parametrize("name", ["TargetAlias", "MaxRecvDataSegmentLength", "X-a", "SendTargets"])
def test_what_is_no_proposal_cannot_be_brought_up(name):
    with pytest.raises(ConfigError, match="volunteered keys"):
        Wishes(volunteered=(name,))


@pytest.mark.parametrize("policy, status", [(RFC, 7), (TGT, 0)], ids=["rfc", "tgt"])
def test_keys_differ_by_case_or_do_not(policy, status):
    keys = {"InitiatorName": "", "InitiatorNAME": INITIATOR, "Initialr2t": "No"}
    response = answered(policy, keys)
    assert response.status_detail == status
    if status == 0:
        assert keys_of(response)["InitialR2T"] == "Yes"  # tgt wants it
        exchange = log_in(make_entity(policy)) >> text(("Sendtargets", ""))
        assert dict(parse_text(exchange.next().data))["TargetName"] == TARGET


@pytest.mark.parametrize("wishes", [Wishes(max_connections=2), Wishes(error_recovery_level=1)], ids=str)
def test_what_this_target_cannot_keep_is_not_promised(wishes):
    with pytest.raises(ConfigError, match="one connection a session"):
        TargetPolicy(wishes=wishes)


@pytest.mark.parametrize(
    "policy, offer, agreed",
    [
        (RFC, "FastAbort,ResponseFence,RFC3720", "FastAbort"),
        (RFC, "RFC3720,ResponseFence", "RFC3720"),
        (LIO, "FastAbort,ResponseFence,RFC3720", "RFC3720"),
    ],
)
def test_task_reporting_is_the_first_offer_a_personality_has(policy, offer, agreed):
    """RFC 7143 section 13.23."""
    exchange = log_in(make_entity(policy), {"TaskReporting": offer})
    assert exchange.session.parameters.task_reporting == agreed


OFFERED = (
    "HeaderDigest=CRC32C DataDigest=CRC32C DefaultTime2Wait=2 DefaultTime2Retain=0 IFMarker=No OFMarker=No"
    " ErrorRecoveryLevel=0 InitialR2T=No ImmediateData=Yes MaxBurstLength=16776192 FirstBurstLength=262144"
    " MaxOutstandingR2T=1 MaxConnections=1 DataPDUInOrder=Yes DataSequenceInOrder=Yes"
    " MaxRecvDataSegmentLength=262144"
)
ANSWERED = {  # golden/lio-chap-digests-reset-pr.pcap.gz, frame 1208
    "HeaderDigest": "CRC32C",
    "DataDigest": "CRC32C",
    "MaxConnections": "1",
    "InitialR2T": "Yes",
    "ImmediateData": "Yes",
    "MaxRecvDataSegmentLength": "262144",
    "MaxBurstLength": "262144",
    "FirstBurstLength": "65536",
    "DefaultTime2Wait": "2",
    "DefaultTime2Retain": "0",
    "MaxOutstandingR2T": "1",
    "ErrorRecoveryLevel": "0",
}


def test_lio_answers_linux_as_it_was_recorded():
    offered = dict(pair.split("=") for pair in OFFERED.split())
    keys = keys_of(answered(LIO, offered))
    assert keys["TargetAlias"] == "LIO Target"
    assert {name: keys.get(name) for name in ANSWERED} == ANSWERED


def test_tgt_takes_8_kib_at_a_time():
    """golden/open-iscsi-2.1.8-linux-6.1.log: MaxXmitDataSegmentLength, FirstBurstLength and so on."""
    offered = dict(pair.split("=") for pair in OFFERED.split())
    keys = keys_of(answered(TGT, offered))
    wanted = {"MaxRecvDataSegmentLength": "8192", "FirstBurstLength": "65536", "MaxBurstLength": "262144"}
    assert {name: keys[name] for name in wanted} == wanted
    assert keys["InitialR2T"] == "Yes"
