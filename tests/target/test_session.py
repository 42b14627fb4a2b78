"""A target's session: who it belongs to, and what its end takes along."""

from dataclasses import replace

import pytest
from exchanges.ladder import (
    INITIATOR,
    ISID,
    TARGET,
    connect,
    discover,
    ended,
    like,
    log_in,
    login_request,
    logout,
    lun,
    make_entity,
    node_of,
    read_10,
    test_unit_ready,
    unit_of,
    write_10,
)

from iscsim.errors import LocalProtocolError
from iscsim.pdu import AsyncMessage, LoginResponse, LogoutResponse, ReadyToTransfer, SCSIDataIn, SCSIResponse
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.session.events import ConnectionEnded
from iscsim.target.policy import RFC
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


# -- connection reinstatement (RFC 7143 section 6.3.4) ---------------------------------------------


def test_a_known_connection_is_reinstated_within_its_session():
    entity = make_entity()
    old = log_in(entity)
    session = old.session
    old >> read_10() << like(SCSIDataIn)
    new = connect(entity, seed=2) >> login_request(tsih=session.tsih, cmd_sn=2)
    # CmdSN goes on, StatSN begins anew
    new << like(LoginResponse, status_class=0, tsih=session.tsih, exp_cmd_sn=2, max_cmd_sn=129)
    assert old << ended("connection reinstated by a new login")
    assert (entity.sessions, session.connections) == ([session], {0: new.connection})
    new.cmd_sn = 2
    assert new >> read_10() << like(SCSIDataIn, exp_cmd_sn=3)


def test_the_end_of_the_old_tcp_connection_leaves_the_session_alone():
    entity = make_entity()
    old = log_in(entity)
    new = connect(entity, seed=2) >> login_request(tsih=old.session.tsih)
    old.connection.connection_lost()
    assert entity.sessions == [new.session]
    assert new.next().status_class == 0
    assert new >> read_10() << like(SCSIDataIn)
    new.connection.connection_lost()
    assert entity.sessions == []


def test_reinstatement_ends_tasks_without_a_word_and_with_a_unit_attention():
    entity = make_entity()
    old = log_in(entity) >> write_10(blocks=2000)
    old << like(ReadyToTransfer, max_cmd_sn=128)
    old >> read_10(cmd_sn=3)  # waits
    new = connect(entity, seed=2) >> login_request(tsih=old.session.tsih)
    new << like(LoginResponse, exp_cmd_sn=2, max_cmd_sn=129)
    assert old
    assert (new.session.tasks, dict(new.session.held)) == ({}, {})
    new.cmd_sn = 2
    new >> read_10()
    sense = Sense.parse(new.next().sense)
    assert (sense.key, sense.asc, sense.ascq) == (SenseKey.UNIT_ATTENTION, 0x47, 0x7F)
    assert new >> read_10() << like(SCSIDataIn)
    assert new >> read_10(lun=b"\0\1" + bytes(6)) << like(SCSIDataIn)  # nothing was lost there


def test_a_reinstated_connection_negotiates_what_belongs_to_it_only():
    entity = make_entity()
    old = log_in(entity, {"MaxBurstLength": "4096", "FirstBurstLength": "4096"})
    keys = {"MaxRecvDataSegmentLength": "1024", "HeaderDigest": "CRC32C"}
    new = connect(entity, seed=2) >> login_request(keys, tsih=old.session.tsih)
    new << like(LoginResponse, status_class=0)
    parameters = new.session.parameters
    assert (parameters.max_burst_length, parameters.max_send_data_segment_length) == (4096, 1024)
    assert (parameters.header_digest, new.connection.send_header_digest) == (True, True)
    tsih = old.session.tsih
    wrong = connect(entity, seed=3) >> login_request({"MaxBurstLength": "8192"}, tsih=tsih)
    assert wrong << like(LoginResponse, status_class=2, status_detail=0)
    assert not new.connection.closing


def test_a_discovery_session_is_joined_by_the_same_rules():
    entity = make_entity()
    old = discover(entity)
    keys = {"SessionType": "Discovery", "TargetName": ""}
    new = connect(entity, seed=2) >> login_request(keys, tsih=old.session.tsih)
    assert new << like(LoginResponse, status_class=0)
    assert old << ended("connection reinstated")
    assert new.session.is_discovery


# -- asking for a logout (RFC 7143 section 11.9.1) -------------------------------------------------


def test_a_session_is_asked_to_log_out_and_dropped_when_it_does_not():
    entity = make_entity()
    exchange, gone = log_in(entity), []
    exchange.session.when_ended.append(lambda: gone.append(True))
    exchange.session.request_logout(5, exchange.now)
    exchange.collect() << like(AsyncMessage, async_event=1, parameter_3=5)
    assert (entity.sessions, gone) == ([exchange.session], [])
    exchange.wait(5) << like(AsyncMessage, async_event=3, parameter_1=0, parameter_2=2, parameter_3=0)
    assert exchange << ended("no logout within 5 s")
    assert (entity.sessions, gone) == ([], [True])


def test_a_session_that_logs_out_when_asked_is_not_dropped():
    exchange = log_in()
    exchange.session.request_logout(5, exchange.now)
    exchange.collect() << like(AsyncMessage)
    assert exchange >> logout() << like(LogoutResponse, response=0) << ended("^$")
    assert exchange.wait(10)


def test_no_time_to_log_out_means_being_dropped_at_once():
    exchange = log_in()
    exchange.session.request_logout(0, exchange.now)
    assert exchange.collect() << like(AsyncMessage, async_event=3) << ended("dropped by the target")


def test_a_discovery_session_is_dropped_without_a_word():
    """RFC 7143 section 7.4.3."""
    exchange = discover()
    exchange.session.request_logout(5, exchange.now)
    assert exchange.collect() << ended("dropped by the target")
    assert not exchange.connection.entity.sessions


def test_a_bad_time_leaves_the_session_as_it_is():
    exchange = log_in()
    with pytest.raises(LocalProtocolError):
        exchange.session.request_logout(70000, exchange.now)
    assert exchange.collect() >> read_10() << like(SCSIDataIn)


def test_removing_a_target_drops_its_sessions():
    entity = make_entity()
    exchange = log_in(entity)
    entity.remove_target(TARGET)
    assert exchange.collect() << like(AsyncMessage, async_event=3) << ended("target removed")


# -- unit attentions as events ---------------------------------------------------------------------


def test_unit_attentions_are_announced_if_the_personality_says_so():
    entity = make_entity(replace(RFC, announces_attentions=True))
    exchange = log_in(entity)
    unit_of(entity, 1).resize(100)
    message = exchange.collect().next()
    assert (message.async_event, message.lun) == (0, lun(1))
    sense = Sense.parse(bytes(message.data)[2:])
    assert (sense.key, sense.asc, sense.ascq) == (SenseKey.UNIT_ATTENTION, 0x2A, 0x09)
    assert exchange >> test_unit_ready(lun=lun(1)) << like(SCSIResponse, status=2)  # it still is one


def test_unit_attentions_are_not_announced_by_default():
    entity = make_entity()
    exchange = log_in(entity)
    unit_of(entity, 1).resize(100)
    assert exchange.collect()


def test_what_waited_for_a_reinstated_connection_goes_on():
    entity = make_entity()
    old = log_in(entity) >> write_10(blocks=2000, task_attribute=2)  # ORDERED
    old << like(ReadyToTransfer)
    other = log_in(entity, isid=bytes(6))
    assert other >> read_10()
    connect(entity, seed=2) >> login_request(tsih=old.session.tsih)
    assert other.collect() << like(SCSIDataIn)
