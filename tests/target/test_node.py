"""Nodes, portal groups, portals and ACLs."""

import pytest
from exchanges.ladder import INITIATOR, TARGET, discover, log_in, make_entity, node_of

from iscsim.errors import ConfigError
from iscsim.scsi.asymmetric_access import AccessState
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.nexus import LUNMap
from iscsim.scsi.store import MemoryStore
from iscsim.session.chap import ChapConfig, ChapCredential
from iscsim.target.node import NetworkEntity, Portal, Redirect, TargetNode
from iscsim.target.policy import LIO, VNX

CHAP = ChapConfig(incoming=(ChapCredential("user", b"secretsecret"),))


@pytest.mark.parametrize(
    "address, shown",
    [
        ("192.0.2.1", "192.0.2.1:3260"),
        ("2001:db8::1", "[2001:db8::1]:3260"),
        ("0.0.0.0", "198.51.100.7:3260"),
        ("::", "198.51.100.7:3260"),
        ("", "198.51.100.7:3260"),
    ],
)
def test_a_wildcard_portal_is_shown_where_the_asker_came_to(address, shown):
    assert Portal(address).shown_at("198.51.100.7") == shown


def test_a_portal_prints_as_it_was_given():
    assert str(Portal("0.0.0.0", 1)) == "0.0.0.0:1"


def test_each_portal_without_a_tag_is_a_group_of_its_own():
    node = TargetNode(TARGET)
    assert [node.add_portal(Portal("192.0.2.1")).tag for _ in range(3)] == [1, 2, 3]
    assert node.add_portal(Portal("192.0.2.9"), tag=2) is node.portal_groups[2]
    assert len(node.portal_groups[2].portals) == 2


@pytest.mark.parametrize("tag", [0, -1, 65536])
def test_a_tag_is_1_to_65535(tag):
    with pytest.raises(ConfigError, match="target portal group tag"):
        TargetNode(TARGET).add_portal(Portal("192.0.2.1"), tag=tag)


def test_a_portal_is_found_in_its_group_enabled_or_not():
    node, portal = TargetNode(TARGET), Portal("192.0.2.1")
    group = node.add_portal(portal)
    assert node.group_of(portal) is group
    assert node.group_of(Portal("192.0.2.1")) is None
    group.enabled = False
    assert node.group_of(portal) is group


def test_without_acl_everybody_is_admitted():
    node = TargetNode(TARGET)
    assert node.admits(INITIATOR)
    assert node.lun_map_of(INITIATOR) is node.lun_map
    assert node.chap_of(INITIATOR) is None


def test_an_acl_has_a_map_and_a_chap_of_its_own():
    node, lun_map = TargetNode(TARGET), LUNMap()
    node.chap = CHAP
    node.add_acl(INITIATOR.upper(), lun_map=lun_map)
    assert node.admits(INITIATOR)
    assert not node.admits("iqn.2026-11.org.example:other")
    assert node.lun_map_of(INITIATOR) is lun_map
    assert node.chap_of(INITIATOR) is None
    assert node.chap_of("iqn.2026-11.org.example:other") is CHAP


def test_an_acl_without_a_map_sees_the_units_of_the_node():
    node = TargetNode(TARGET)
    node.add_lun(5, LogicalUnit(MemoryStore(8), serial="a"), read_only=True)
    acl = node.add_acl(INITIATOR, chap=CHAP)
    assert acl.lun_map is node.lun_map
    assert [(mapped.number, mapped.read_only) for mapped in acl.lun_map] == [(5, True)]
    assert node.chap_of(INITIATOR) is CHAP


@pytest.mark.parametrize("name", ["disk", "iqn.2026-11.org.iscsim:a b"])
def test_a_bad_name_is_refused(name):
    with pytest.raises(ConfigError, match="not an iSCSI name"):
        NetworkEntity().add_target(name)
    with pytest.raises(ConfigError, match="not an iSCSI name"):
        TargetNode(TARGET).add_acl(name)


@pytest.mark.parametrize("alias", ["x" * 256, "ü" * 128, "a\0b", "a\nb"])
def test_an_alias_that_a_login_could_not_carry_is_refused(alias):
    with pytest.raises(ConfigError, match="target alias"):
        NetworkEntity().add_target(TARGET, alias=alias)


def test_a_name_is_taken_once():
    entity = NetworkEntity(LIO)
    assert entity.add_target(TARGET.upper(), alias="A disk").policy is LIO
    with pytest.raises(ConfigError, match="exists already"):
        entity.add_target(TARGET)


def test_the_portals_of_an_entity_are_listed_once():
    entity = make_entity()
    (portal,) = entity.portals
    entity.add_target("iqn.2026-11.org.iscsim:other").add_portal(portal)
    assert entity.portals == [portal]


def test_all_sessions_are_known():
    entity = make_entity()
    found = discover(entity).session, log_in(entity).session
    assert tuple(entity.sessions) == found
    assert repr(node_of(entity)) == f"TargetNode('{TARGET}', 1 sessions)"


def test_a_handle_is_never_0_and_never_taken():
    entity = make_entity()
    assert [entity.new_tsih(draw) for draw in (0, 65534, 65535)] == [1, 65535, 1]
    taken = log_in(entity).session.tsih
    assert entity.new_tsih(taken - 1) == taken % 65535 + 1


def test_discovery_takes_the_chap_of_the_targets_an_initiator_may_use() -> None:
    mine, other, all_ = (ChapCredential(name, b"x" * 16) for name in ("mine", "other", "all"))
    entity = NetworkEntity()
    for name, host, credential in (("a", "me", mine), ("b", "you", other)):
        node = entity.add_target(f"iqn.2026-11.test:{name}")
        node.add_acl(f"iqn.2026-11.test:{host}", chap=ChapConfig(incoming=(credential,)))
    entity.add_target("iqn.2026-11.test:c").chap = ChapConfig(incoming=(all_,))
    chap = entity.discovery_chap_of("iqn.2026-11.test:me")
    assert chap is not None
    assert (chap.incoming, chap.required) == ((mine, all_), False)
    entity.discovery_chap = ChapConfig(incoming=(other,))
    assert entity.discovery_chap_of("iqn.2026-11.test:me") is entity.discovery_chap


def test_discovery_without_any_chap_asks_for_none() -> None:
    entity = NetworkEntity()
    entity.add_target("iqn.2026-11.test:a")
    assert entity.discovery_chap_of("iqn.2026-11.test:me") is None


def test_ports_are_the_portal_groups_that_are_on():
    node = node_of(make_entity())
    group = node.add_portal(Portal("192.0.2.2"), tag=7)
    assert dict(node.ports) == {1: (1,), 7: (7,)}
    group.target_port_group = 1
    assert dict(node.ports) == {1: (1, 7)}
    group.enabled = False
    assert dict(node.ports) == {1: (1,)}


def test_units_are_those_of_every_map_each_once():
    node = TargetNode(TARGET)
    shared, own = (LogicalUnit(MemoryStore(8), serial=serial) for serial in ("shared", "own"))
    node.add_lun(0, shared)
    lun_map = LUNMap()
    lun_map.add(0, own)
    lun_map.add(1, shared)
    node.add_acl(INITIATOR, lun_map=lun_map)
    assert (node.units(), node.units(1), node.units(2)) == ([shared, own], [shared], [])


def test_access_state_may_be_that_of_one_unit_or_all():
    node = node_of(make_entity())
    first, second = node.units()
    node.set_access_state(1, AccessState.STANDBY, 1)
    assert [unit.access.state(1, node.ports) for unit in (first, second)] == [0, AccessState.STANDBY]
    node.set_access_state(1, AccessState.UNAVAILABLE)
    assert {unit.access.state(1, node.ports) for unit in (first, second)} == {AccessState.UNAVAILABLE}


@pytest.mark.parametrize(
    "group, state, lun, complaint",
    [
        (2, AccessState.STANDBY, None, "no portal group 2"),
        (1, AccessState.STANDBY, 9, "no LUN 9"),
        (1, AccessState.LOGICAL_BLOCK_DEPENDENT, None, "does not support"),
    ],
)
def test_access_state_that_cannot_be_changes_nothing(group, state, lun, complaint):
    node = node_of(make_entity())
    with pytest.raises(ConfigError, match=complaint):
        node.set_access_state(group, state, lun)
    assert not any(unit.restricted for unit in node.units())


def test_state_one_unit_cannot_have_is_given_to_none():
    node = node_of(make_entity())
    node.units()[1].access.supported = frozenset({AccessState.ACTIVE_OPTIMIZED})
    with pytest.raises(ConfigError, match="does not support the access state standby"):
        node.set_access_state(1, AccessState.STANDBY)
    assert node.units()[0].access.state(1) is AccessState.ACTIVE_OPTIMIZED


def test_every_portal_group_is_a_target_port() -> None:
    node = NetworkEntity().add_target("iqn.2026-11.test:a")
    for tag in (1, 20):
        node.add_portal(Portal("192.0.2.1"), tag)
    assert node.target_port_names() == {
        1: "iqn.2026-11.test:a,t,0x0001",
        20: "iqn.2026-11.test:a,t,0x0014",
    }


# -- redirection and removal -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "to, shown",
    [
        ("192.0.2.9:3261", "192.0.2.9:3261"),
        ("192.0.2.9", "192.0.2.9:3260"),
        ("[2001:db8::9]:3261", "[2001:db8::9]:3261"),
        ("disk.example.org", "disk.example.org:3260"),
        (Portal("192.0.2.9", 3261), "192.0.2.9:3261"),
        (Portal("0.0.0.0", 3261), "198.51.100.7:3261"),
    ],
    ids=str,
)
def test_a_redirection_is_shown_as_an_address_without_a_tag(to, shown):
    assert Redirect(to).shown_at("198.51.100.7") == shown


@pytest.mark.parametrize("to", ["192.0.2.9:3260,1", "192.0.2.9,1", "192.0.2.9:0", "", "a b", "[::1"])
def test_a_redirection_to_no_address_is_refused(to):
    with pytest.raises(ConfigError):
        Redirect(to)


def test_a_portal_sends_elsewhere_before_its_node_does():
    node, portal = TargetNode(TARGET), Portal("192.0.2.1")
    assert node.redirect_of(portal, "192.0.2.1") is None
    node.redirect_to = Redirect("192.0.2.8")
    assert node.redirect_of(portal, "192.0.2.1") is node.redirect_to
    portal.redirect_to = Redirect("192.0.2.9")
    assert node.redirect_of(portal, "192.0.2.1") is portal.redirect_to


def test_who_came_where_a_node_sends_all_is_not_sent_again():
    node, here = TargetNode(TARGET), Portal("192.0.2.1")
    node.redirect_to = Redirect(here)
    assert node.redirect_of(here, "192.0.2.1") is None
    assert node.redirect_of(Portal("192.0.2.2"), "192.0.2.2") is node.redirect_to


def test_a_removed_target_is_remembered_for_those_who_might_use_it():
    entity = make_entity()
    node = node_of(entity)
    node.add_acl(INITIATOR)
    assert entity.remove_target(TARGET.upper()) is node
    assert entity.nodes == {}
    assert entity.was_removed(TARGET, INITIATOR)
    assert not entity.was_removed(TARGET, "iqn.2026-11.org.example:other")
    assert not entity.was_removed("iqn.2026-11.org.iscsim:other", INITIATOR)
    entity.add_target(TARGET)
    assert not entity.was_removed(TARGET, INITIATOR)


def test_a_target_that_is_not_there_cannot_be_removed():
    with pytest.raises(ConfigError, match="no target iqn"):
        NetworkEntity().remove_target(TARGET)


def test_targets_of_an_array_are_one_device_with_the_ports_of_all():
    """However they were made: described, or one after the other while it is served."""
    entity = NetworkEntity(VNX)
    first, second = (entity.add_target(f"iqn.1992-04.com.emc:cx.fnm1.{port}") for port in ("a0", "b0"))
    other = entity.add_target("iqn.1992-04.com.emc:cx.fnm2.a0")
    for node, tag in ((first, 2), (second, 1), (other, 5)):
        node.add_portal(Portal("127.0.0.1"), tag)
    assert first.ports is second.ports
    assert dict(first.ports) == {1: (2,), 2: (1,)}
    assert dict(other.ports) == {1: (5,)}
    entity.remove_target(first.name)
    assert dict(second.ports) == {2: (1,)}
