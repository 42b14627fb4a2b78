"""Asymmetric access on the wire: two portal groups of one node, and a session through each."""

import pytest
from exchanges.ladder import (
    Exchange,
    command,
    data_out,
    inquiry,
    like,
    log_in,
    make_entity,
    node_of,
    read_10,
    test_unit_ready,
    unit_of,
    write_10,
)

from iscsim.pdu import ReadyToTransfer, SCSIDataIn, SCSIResponse
from iscsim.scsi import cdb
from iscsim.scsi.asymmetric_access import AccessModes, AccessState
from iscsim.scsi.sense import Sense
from iscsim.scsi.supported_functions import parse_supported_functions
from iscsim.scsi.target_port_groups import encode_states, parse_report
from iscsim.scsi.task_management import TaskManagement
from iscsim.target.node import Portal

R2T_ONLY = {"InitialR2T": "Yes", "ImmediateData": "No"}
STANDBY = AccessState.STANDBY


@pytest.fixture
def sessions():
    """Sessions through portal groups 1 and 2, which have heard their first unit attention."""
    entity = make_entity()
    node_of(entity).add_portal(Portal("192.0.2.2"))
    first, second = (log_in(entity, R2T_ONLY, portal=portal) for portal in entity.portals)
    return first, second, unit_of(entity), node_of(entity)


def asked(exchange: Exchange, cdb: bytes) -> bytes:
    exchange >> command(cdb, read=True, expected_data_transfer_length=4096)
    return bytes(exchange.next().data)


def sense_of(exchange: Exchange) -> str:
    return str(Sense.parse(exchange.next().sense))[-9:-1]


def states(exchange: Exchange) -> dict[int, int]:
    return {group.group: group.state for group in parse_report(asked(exchange, REPORT))[0]}


REPORT = cdb.report_target_port_groups()


def test_portal_groups_are_target_port_groups_seen_alike_from_both(sessions):
    first, second, _, _ = sessions
    groups, _ = parse_report(asked(first, REPORT))
    assert [(group.group, group.ports) for group in groups] == [(1, (1,)), (2, (2,))]
    assert asked(second, REPORT) == asked(first, REPORT)


def test_standby_path_answers_what_it_must_and_refuses_the_rest(sessions):
    first, second, _, node = sessions
    node.set_access_state(2, STANDBY)
    assert sense_of(second >> test_unit_ready()) == "06/2a/06"
    assert sense_of(second >> read_10()) == "02/04/0b"
    assert second >> inquiry() << like(SCSIDataIn, status_present=True)
    assert states(second) == {1: 0, 2: 2}
    assert sense_of(first >> read_10()) == "06/2a/06"
    assert first >> read_10() << like(SCSIDataIn, status_present=True)


def test_no_data_is_asked_for_a_write_that_is_refused(sessions):
    _, second, _, node = sessions
    node.set_access_state(2, STANDBY)
    second.session.nexus.unit_attentions.clear()
    second >> write_10()
    assert second << like(SCSIResponse, status=2, underflow=True, residual_count=512)


def test_write_whose_data_came_too_late_changes_nothing(sessions):
    _, second, unit, node = sessions
    second >> write_10()
    tag = second.next().target_transfer_tag
    node.set_access_state(2, STANDBY)
    second.session.nexus.unit_attentions.clear()
    assert sense_of(second >> data_out(1, 0, b"x" * 512, target_transfer_tag=tag)) == "02/04/0b"
    assert bytes(unit.store.read(0, 1)) == bytes(512)


def test_initiator_changes_states_itself_where_it_may(sessions):
    first, second, unit, _ = sessions
    unit.access.modes = AccessModes.EXPLICIT
    data = encode_states([(1, AccessState.ACTIVE_NON_OPTIMIZED), (2, STANDBY)])
    pdu = command(
        cdb.set_target_port_groups(parameter_list_length=len(data)),
        write=True,
        expected_data_transfer_length=len(data),
    )
    first >> pdu
    r2t = first.next()
    assert isinstance(r2t, ReadyToTransfer)
    assert (
        first
        >> data_out(pdu.initiator_task_tag, 0, data, target_transfer_tag=r2t.target_transfer_tag)
        << (like(SCSIResponse, status=0))
    )
    assert sense_of(second >> test_unit_ready()) == "06/2a/06"
    assert states(first) == states(second) == {1: 1, 2: 2}


def test_portal_group_that_is_added_is_seen_at_once(sessions):
    first, _, _, node = sessions
    node.add_portal(Portal("192.0.2.3"))
    assert states(first) == {1: 0, 2: 0, 3: 0}


def test_portal_group_that_is_turned_off_is_a_port_until_its_last_session_ends(sessions):
    first, second, _, node = sessions
    node.portal_groups[2].enabled = False
    assert states(first) == states(second) == {1: 0, 2: 0}
    second.session.end()
    assert states(first) == {1: 0}
    assert not asked(first, cdb.inquiry(allocation_length=96))[6] & 0x10


def test_portal_groups_may_share_a_target_port_group():
    entity = make_entity()
    node = node_of(entity)
    node.add_portal(Portal("192.0.2.2")).target_port_group = 1
    first, second = (log_in(entity, portal=portal) for portal in entity.portals)
    assert [each.session.portal_group_tag for each in (first, second)] == [1, 2]
    (group,), _ = parse_report(asked(first, REPORT))
    assert (group.group, group.ports) == (1, (1, 2))
    node.set_access_state(2, STANDBY)
    assert [sense_of(each >> test_unit_ready() >> test_unit_ready()) for each in (first, second)] == [
        "06/2a/06",
        "06/2a/06",
    ]
    assert [sense_of(each) for each in (first, second)] == ["02/04/0b", "02/04/0b"]


def test_unit_in_two_nodes_has_states_in_each():
    entity = make_entity()
    node, unit = node_of(entity), unit_of(entity)
    other = entity.add_target("iqn.2026-11.org.iscsim:other")
    other.add_portal(Portal("192.0.2.9"))
    other.add_lun(0, unit)
    here = log_in(entity)
    there = log_in(entity, {"TargetName": other.name}, portal=other.portal_groups[1].portals[0])
    other.set_access_state(1, STANDBY)
    assert states(here) == {1: 0}
    assert [sense_of(there >> test_unit_ready()) for _ in range(2)] == ["06/2a/06", "02/04/0b"]
    assert states(there) == {1: 2}
    assert here >> test_unit_ready() << like(SCSIResponse, status=0)
    assert node.ports != other.ports


def test_nodes_may_be_one_device_with_the_ports_of_both():
    entity = make_entity()
    node, unit = node_of(entity), unit_of(entity)
    other = entity.add_target("iqn.2026-11.org.iscsim:other")
    other.add_portal(Portal("192.0.2.9"), tag=2)
    other.add_lun(0, unit)
    node.ports = other.ports = type(node.ports)(lambda: node.port_groups() | other.port_groups())
    here = log_in(entity)
    there = log_in(entity, {"TargetName": other.name}, portal=other.portal_groups[2].portals[0])
    assert states(here) == states(there) == {1: 0, 2: 0}
    other.set_access_state(2, STANDBY)
    assert [sense_of(here >> test_unit_ready()), sense_of(there >> test_unit_ready())] == ["06/2a/06"] * 2
    assert states(here) == states(there) == {1: 0, 2: 2}


def test_supported_functions_are_those_task_management_carries_out():
    exchange = log_in()
    data = asked(exchange, cdb.report_supported_task_management_functions(extended=True))
    assert (len(data), data[3]) == (16, 12)
    assert parse_supported_functions(data) >= (
        TaskManagement.ABORT_TASK
        | TaskManagement.ABORT_TASK_SET
        | TaskManagement.CLEAR_TASK_SET
        | TaskManagement.LOGICAL_UNIT_RESET
        | TaskManagement.TARGET_RESET
    )


def test_second_port_changes_inquiry_data():
    entity = make_entity()
    exchange = log_in(entity)
    assert not asked(exchange, cdb.inquiry(allocation_length=96))[6] & 0x10
    node_of(entity).add_portal(Portal("192.0.2.2"))
    assert sense_of(exchange >> test_unit_ready()) == "06/3f/03"
    assert asked(exchange, cdb.inquiry(allocation_length=96))[6] & 0x10
    node_of(entity).add_portal(Portal("192.0.2.3"))
    assert exchange >> test_unit_ready() << like(SCSIResponse, status=0)
