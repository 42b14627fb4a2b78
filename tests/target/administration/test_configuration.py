"""Targets, portal groups and portals that come and go."""

from __future__ import annotations

import pytest
from exchanges.ladder import (
    INITIATOR,
    TARGET,
    connect,
    discover,
    ended,
    like,
    login_request,
    read_10,
    text,
)
from exchanges.ladder import test_unit_ready as unit_ready
from target.administration.small import OTHER, Small, ask, sense_of

from iscsim.errors import ConfigError
from iscsim.pdu import AsyncMessage, LoginResponse, SCSIDataIn, SCSIResponse, TextResponse
from iscsim.pdu.text import parse_text
from iscsim.target.administration.errors import AlreadyExists, NotFound
from iscsim.target.node import Portal

SECOND = "iqn.2026-11.org.iscsim:second"
GUEST = "iqn.2026-11.org.example:guest"


def shown_to(small: Small, initiator: str = INITIATOR) -> list[tuple[str, str]]:
    exchange = discover_as(small, initiator) >> text(("SendTargets", "All"))
    answer = exchange.next()
    assert isinstance(answer, TextResponse)
    return list(parse_text(bytes(answer.data)))


def discover_as(small: Small, initiator: str):  # type: ignore[no-untyped-def]
    keys = {"SessionType": "Discovery", "TargetName": "", "InitiatorName": initiator}
    exchange = connect(small.entity) >> login_request(keys)
    exchange << like(LoginResponse, status_class=0)
    return exchange


def test_new_target_lets_nobody_in() -> None:
    small = Small()
    small.configuration.create_target(SECOND)
    assert shown_to(small) == [("TargetName", TARGET), ("TargetAddress", "192.0.2.1:3260,1")]
    with pytest.raises(AlreadyExists, match="exists already"):
        small.configuration.create_target(SECOND.upper())


def test_deleted_target_drops_its_sessions_and_gives_its_portals_back() -> None:
    small = Small()
    host = small.host()
    (portal,) = small.entity.portals
    small.configuration.create_target(SECOND)
    small.configuration.create_group(SECOND)
    small.configuration.add_portal(SECOND, 1, portal)
    assert small.configuration.delete_target(TARGET) == []  # the second one needs it
    assert host.collect() << like(AsyncMessage, async_event=3) << ended("target removed")
    assert small.configuration.delete_target(SECOND) == [portal]


def test_disabled_group_ends_its_sessions_and_refuses_logins() -> None:
    small = Small()
    host = small.host()
    small.configuration.disable_group(TARGET, 1)
    assert host.collect() << like(AsyncMessage, async_event=3) << ended("portal group disabled")
    assert small.refusal() == 0x0301
    assert shown_to(small) == []
    small.configuration.enable_group(TARGET, 1)
    assert small.host().session


def test_group_comes_and_goes_without_touching_other_sessions() -> None:
    small = Small()
    host = small.host()
    small.configuration.create_group(TARGET, 2)
    small.configuration.add_portal(TARGET, 2, Portal("192.0.2.2"))
    assert host >> read_10() << like(SCSIDataIn, status=0)
    small.configuration.enable_group(TARGET, 2)
    assert sense_of(ask(host, unit_ready())) == (6, 0x3F, 0x03)  # MULTIP is set now
    (portal,) = small.configuration.delete_group(TARGET, 2)
    assert (str(portal), list(small.configuration.node(TARGET).portal_groups)) == ("192.0.2.2:3260", [1])
    assert sense_of(ask(host, unit_ready())) == (6, 0x3F, 0x03)  # and is not any more
    assert host >> read_10() << like(SCSIDataIn, status=0)


def test_session_of_a_deleted_portal_stays_as_lios_does() -> None:
    small = Small()
    host = small.host()
    (portal,) = small.configuration.remove_portal(TARGET, 1, "192.0.2.1", 3260)
    assert host >> read_10() << like(SCSIDataIn, status=0)
    exchange = connect(small.entity, portal) >> login_request()
    assert exchange.refusal == 0x0203


def test_portal_is_of_one_group_of_a_target() -> None:
    small = Small()
    small.configuration.create_group(TARGET, 2)
    with pytest.raises(AlreadyExists, match=r"has the portal 192\.0\.2\.1:3260 already"):
        small.configuration.new_portal(TARGET, 2, "192.0.2.1", 3260)
    with pytest.raises(NotFound, match=r"no portal 192\.0\.2\.9:3260"):
        small.configuration.remove_portal(TARGET, 1, "192.0.2.9", 3260)


def test_addresses_are_one_however_they_are_written() -> None:
    small = Small()
    small.configuration.add_portal(TARGET, 1, Portal("::"))
    small.configuration._portals[("::", 3260)] = small.configuration.node(TARGET).portal_groups[1].portals[1]
    for address in ("[::0]", "::0", "[::]"):
        found = small.configuration.find_portal(address, 3260)
        assert found is not None, address


def test_guests_are_let_in_to_read_and_then_to_write() -> None:
    small = Small()
    assert small.refusal(GUEST) == 0x0202
    assert shown_to(small, GUEST) == []
    small.configuration.set_group(TARGET, 1, {"generate_node_acls": 1}, None, {})
    guest = small.host(GUEST)
    assert small.configuration.access(TARGET, 1).lun_map.lookup(bytes(8)).read_only  # type: ignore[union-attr]
    small.configuration.set_group(TARGET, 1, {"demo_mode_write_protect": 0}, None, {})
    assert sense_of(ask(guest, unit_ready())) == (6, 0x2A, 0x01)  # WP of the mode parameter header
    assert not small.configuration.access(TARGET, 1).lun_map.lookup(bytes(8)).read_only  # type: ignore[union-attr]


def test_attribute_that_cannot_be_changes_nothing() -> None:
    small = Small()
    with pytest.raises(ConfigError, match="authentication: expected 0 or 1, not 7"):
        small.configuration.set_group(TARGET, 1, {"authentication": 7, "login_timeout": 3}, None, {})
    assert "login_timeout" not in small.configuration.access(TARGET, 1).attributes


def test_access_state_is_told_to_those_who_see_the_lun() -> None:
    small = Small()
    host = small.host()
    small.configuration.set_alua(TARGET, 1, "active/non-optimized", 0)
    assert sense_of(ask(host, unit_ready())) == (6, 0x2A, 0x06)
    small.configuration.set_alua(TARGET, 1, "standby", None)
    assert sense_of(ask(host, unit_ready())) == (6, 0x2A, 0x06)
    with pytest.raises(NotFound, match="no LUN 9"):
        small.configuration.set_alua(TARGET, 1, "standby", 9)


def test_personality_is_that_of_logins_to_come() -> None:
    small = Small()
    host = small.host(OTHER)
    small.configuration.set_personality("tgt", TARGET)
    small.acls.delete(TARGET, 1, INITIATOR)
    assert small.refusal() == 0x0203
    assert host >> unit_ready() << like(SCSIResponse, status=0)
    small.configuration.set_personality("lio", None)
    assert small.refusal() == 0x0202
    with pytest.raises(ConfigError, match="unknown personality 'linux'"):
        small.configuration.set_personality("linux", None)


def test_what_is_not_there_is_not_found_with_the_nearest_name() -> None:
    small = Small()
    with pytest.raises(NotFound, match=f"did you mean '{TARGET}'"):
        small.configuration.node(f"{TARGET}s")
    with pytest.raises(NotFound, match="has no portal group 7"):
        small.configuration.group(TARGET, 7)


def test_a_target_that_was_open_to_all_is_known_as_removed_to_all() -> None:
    small = Small()
    portal = small.entity.portals[0]
    small.configuration.create_target(SECOND)
    small.configuration.create_group(SECOND)
    small.configuration.add_portal(SECOND, 1, portal)
    small.configuration.delete_target(TARGET)
    assert (small.refusal(), small.refusal(GUEST)) == (0x0204, 0x0203)
    assert discover(small.entity)
