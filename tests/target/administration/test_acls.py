"""Initiators let in and sent away, as both ends see it on the wire."""

from __future__ import annotations

import pytest
from exchanges.ladder import (
    INITIATOR,
    TARGET,
    connect,
    ended,
    like,
    login_request,
    read_10,
    write_10,
)
from target.administration.small import NO_CHAP, OTHER, Small

from iscsim.errors import ConfigError
from iscsim.pdu import AsyncMessage, LoginResponse, ReadyToTransfer, SCSIDataIn
from iscsim.target.administration.errors import AlreadyExists, NotFound
from iscsim.target.policy import PERSONALITIES

CHAP = {"user": "chapuser", "password": "chapsecret12", "mutual_user": "", "mutual_password": ""}


def test_initiator_whose_acl_is_deleted_is_told_and_thrown_out_and_others_stay() -> None:
    small = Small()
    host, other = small.host(), small.host(OTHER)
    small.acls.delete(TARGET, 1, INITIATOR.upper())
    assert host.collect() << like(AsyncMessage, async_event=3) << ended("ACL deleted")
    assert other >> read_10() << like(SCSIDataIn, status=0)
    assert [session.initiator_name for session in small.entity.sessions] == [OTHER]


def test_deletion_is_an_i_t_nexus_loss() -> None:
    small = Small()
    unit = small.configuration.backstores.find("disk0").unit
    host = small.host()
    nexus = host.session.nexus
    small.acls.delete(TARGET, 1, INITIATOR)
    assert nexus not in unit.nexuses


def test_write_under_way_ends_with_the_session() -> None:
    small = Small()
    host = small.host() >> write_10(blocks=2000)
    host << like(ReadyToTransfer)
    small.acls.delete(TARGET, 1, INITIATOR)
    assert host.collect() << like(AsyncMessage) << ended("ACL deleted")
    assert len(small.entity.task_sets) == 0


@pytest.mark.parametrize(("personality", "status"), [("rfc", 0x0202), ("lio", 0x0202), ("tgt", 0x0203)])
def test_new_login_is_refused_as_the_personality_does(personality: str, status: int) -> None:
    small = Small(PERSONALITIES[personality])
    small.acls.delete(TARGET, 1, INITIATOR)
    assert small.refusal() == status


def test_login_that_has_begun_fails_when_its_acl_is_deleted() -> None:
    small = Small()
    host = connect(small.entity) >> login_request(current_stage=0, next_stage=1)
    host << like(LoginResponse, status_class=0)
    small.acls.delete(TARGET, 1, INITIATOR)
    host >> login_request(data=b"")
    assert host.refusal == 0x0202


def test_last_acl_deleted_does_not_open_the_door_to_everybody() -> None:
    """A target that options describe is open as long as it has no ACL; that was another one."""
    small = Small()
    access = small.configuration.access(TARGET, 1)
    access.everybody = None
    for initiator in (INITIATOR, OTHER):
        small.acls.delete(TARGET, 1, initiator)
    assert small.refusal() == 0x0202


def test_acl_exists_in_whatever_case() -> None:
    small = Small()
    with pytest.raises(AlreadyExists, match="has an ACL for iqn"):
        small.acl(INITIATOR.upper())


def test_chap_acts_at_the_next_login_and_leaves_the_session_alone() -> None:
    small = Small()
    host = small.host()
    small.acls.find(TARGET, 1, INITIATOR).attributes["authentication"] = 1
    small.acls.set_chap(TARGET, 1, INITIATOR, CHAP)
    assert host >> read_10() << like(SCSIDataIn, status=0)
    assert small.refusal() == 0x0201


def test_authentication_without_credentials_lets_nobody_in() -> None:
    small = Small()
    small.configuration.set_group(TARGET, 1, {"authentication": 1}, None, {})
    assert small.refusal() == 0x0201


def test_acl_may_be_spared_the_authentication_of_its_group() -> None:
    small = Small()
    small.configuration.set_group(TARGET, 1, {"authentication": 1}, None, {})
    small.acls.find(TARGET, 1, INITIATOR).attributes["authentication"] = 0
    assert small.host().session


@pytest.mark.parametrize(
    ("chap", "why"),
    [
        ({"user": "chapuser"}, "user needs a password"),
        ({"password": "chapsecret12"}, "user needs a password"),
        ({"mutual_user": "x", "mutual_password": "y"}, "mutual_user needs user"),
        (CHAP | {"mutual_user": "x", "mutual_password": "chapsecret12"}, "same CHAP secret"),
    ],
)
def test_chap_that_cannot_be_changes_nothing(chap: dict[str, str], why: str) -> None:
    small = Small()
    with pytest.raises(ConfigError, match=why) as caught:
        small.acls.set_chap(TARGET, 1, INITIATOR, NO_CHAP | chap)
    assert "chapsecret12" not in str(caught.value)
    assert small.acls.find(TARGET, 1, INITIATOR).chap is None


def test_initiator_without_an_acl_is_not_found() -> None:
    with pytest.raises(NotFound, match="no ACL for iqn"):
        Small().acls.delete(TARGET, 1, "iqn.2026-11.org.example:nobody")


def test_guest_that_gets_an_acl_sees_what_that_shows_from_now_on() -> None:
    small = Small()
    small.configuration.set_group(TARGET, 1, {"generate_node_acls": 1}, None, {})
    guest = small.host("iqn.2026-11.org.example:guest")
    small.acl("iqn.2026-11.org.example:guest")
    assert guest.collect() << like(AsyncMessage, async_event=3) << ended("it has an ACL now")
