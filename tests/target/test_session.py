"""A target's session: who it belongs to, and what its end takes along."""

from exchanges.ladder import (
    INITIATOR,
    ISID,
    TARGET,
    discover,
    like,
    log_in,
    make_entity,
    node_of,
    read_10,
    unit_of,
    write_10,
)

from iscsim.pdu import ReadyToTransfer
from iscsim.session.events import ConnectionEnded
from iscsim.target.session import make_nexus

R2T_ONLY = {"InitialR2T": "Yes", "ImmediateData": "No"}


def test_a_session_is_known_by_initiator_isid_and_portal_group():
    session = log_in().session
    assert session.identity == (INITIATOR, ISID, 1)
    assert not session.is_discovery


def test_a_discovery_session_has_no_nexus_and_no_node():
    session = discover().session
    assert session.is_discovery
    assert (session.nexus, session.node, session.portal_group_tag) == (None, None, 0)


def test_the_ports_of_a_nexus_are_named_as_scsi_has_it():
    nexus = make_nexus(node_of(make_entity()), INITIATOR, ISID, 3)
    assert nexus.initiator_port == f"{INITIATOR},i,0x00023d000001"
    assert nexus.target_port == f"{TARGET},t,0x0003"
    assert (nexus.target_port_group, nexus.relative_target_port) == (3, 3)


def test_a_nexus_sees_the_ports_of_its_node():
    node = node_of(make_entity())
    node.portal_groups[1].target_port_group = 5
    nexus = make_nexus(node, INITIATOR, ISID, 1)
    assert (nexus.target_port_group, nexus.relative_target_port) == (5, 1)
    assert nexus.target_ports is node.ports


def test_the_end_takes_tasks_connections_and_nexus_along():
    exchange = log_in(keys=R2T_ONLY) >> write_10() >> read_10(cmd_sn=5) << like(ReadyToTransfer)
    session, unit = exchange.session, unit_of(exchange.session.entity)
    assert session.nexus in unit.nexuses
    session.end("enough")
    assert exchange.events() == [ConnectionEnded("enough")]
    assert not any((session.tasks, session.held, session.fences, session.node.sessions))
    assert session.nexus not in unit.nexuses


def test_a_session_ends_once():
    exchange = log_in()
    woken = []
    exchange.connection.wake = lambda: woken.append(True)
    exchange.session.end("first")
    exchange.session.end("second")
    assert (exchange.events(), woken) == ([ConnectionEnded("first")], [True])


def test_a_discovery_session_ends_too():
    exchange = discover()
    exchange.session.end()
    assert exchange.session.entity.sessions == []
