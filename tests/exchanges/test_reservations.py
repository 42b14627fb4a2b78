"""Reservations on the wire: what PREEMPT AND ABORT ends, what ends a RESERVE, what ends with nothing."""

import pytest
from exchanges.ladder import (
    TARGET,
    command,
    data_out,
    ended,
    like,
    log_in,
    logout,
    lun,
    make_entity,
    node_of,
    read_10,
    task_management,
    test_unit_ready,
    unit_of,
    write_10,
)

from iscsim.pdu import (
    LogoutResponse,
    ReadyToTransfer,
    SCSIDataIn,
    SCSIResponse,
    TaskManagementFunction,
    TaskManagementResponse,
)
from iscsim.scsi import cdb
from iscsim.scsi.status import Status
from iscsim.scsi.transport_id import encode_transport_id
from iscsim.scsi.unit_attention import UnitAttention
from iscsim.target.node import Portal

REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, _, MOVE = range(8)
WE, EA, WERO, EARO, WEAR, EAAR = 1, 3, 5, 6, 7, 8
ISIDS = [bytes.fromhex(f"00023d00000{number}") for number in range(1, 4)]
GOOD, CONFLICT = (
    like(SCSIResponse, status=Status.GOOD),
    like(SCSIResponse, status=Status.RESERVATION_CONFLICT),
)


def reserve_out(action, key=0, action_key=0, kind=0, flags=0, more=b"", **fields):
    """A PERSISTENT RESERVE OUT with its parameter list as immediate data."""
    data = key.to_bytes(8, "big") + action_key.to_bytes(8, "big") + bytes([0, 0, 0, 0, flags, 0, 0, 0]) + more
    block = cdb.persistent_reserve_out(action, reservation_type=kind, parameter_list_length=len(data))
    return command(block, write=True, expected_data_transfer_length=len(data), data=data, **fields)


def three(kind=None):
    """Sessions registered under keys 1, 2 and 3; the first holds a reservation if there is a ``kind``."""
    entity = make_entity()
    sessions = [log_in(entity, isid=isid) for isid in ISIDS]
    for key, session in enumerate(sessions, 1):
        session >> reserve_out(REGISTER, 0, key) << GOOD
    if kind:
        sessions[0] >> reserve_out(RESERVE, 1, kind=kind) << GOOD
    return sessions


def begin_write(session, **fields):
    """A write under way; returns its tags, for the data that is still to come."""
    answer = (session >> write_10(blocks=2, **fields)).next()
    assert isinstance(answer, ReadyToTransfer)
    return answer.initiator_task_tag, answer.target_transfer_tag


def send_data(session, tags, **fields):
    return session >> data_out(tags[0], data=b"x" * 1024, target_transfer_tag=tags[1], **fields)


def heard(session):
    return session.session.nexus.unit_attentions.get(unit_of(session.session.entity), [])


# -- PREEMPT AND ABORT -----------------------------------------------------------------------------


def test_preempt_and_abort_ends_the_commands_of_who_is_preempted():
    holder, preempting, bystander = three(WERO)
    lost, kept, own = begin_write(holder), begin_write(bystander), begin_write(preempting)
    assert preempting >> reserve_out(PREEMPT_AND_ABORT, 2, 1, WERO) << GOOD
    assert heard(holder) == [UnitAttention.COMMANDS_CLEARED, UnitAttention.REGISTRATIONS_PREEMPTED]
    assert (heard(preempting), heard(bystander)) == ([], [])
    assert send_data(holder, lost)  # swallowed, and never answered
    for session, tags in ((bystander, kept), (preempting, own)):
        assert send_data(session, tags) << GOOD
    assert preempting >> read_10() << like(SCSIDataIn, data=b"x" * 512)


def test_preempt_leaves_the_commands_under_way_which_then_conflict():
    holder, preempting, _ = three(WERO)
    tags = begin_write(holder)
    assert preempting >> reserve_out(PREEMPT, 2, 1, WERO) << GOOD
    assert heard(holder) == [UnitAttention.REGISTRATIONS_PREEMPTED]
    assert send_data(holder, tags) << CONFLICT
    assert preempting >> read_10() << like(SCSIDataIn, data=bytes(512))


def test_preempt_and_abort_of_a_registration_without_a_reservation():
    one, preempting, _ = three()
    tags = begin_write(one)
    assert preempting >> reserve_out(PREEMPT_AND_ABORT, 2, 1) << GOOD
    assert send_data(one, tags)
    assert preempting >> read_10() << like(SCSIDataIn, data=bytes(512))


def test_preempt_and_abort_of_all_registrants_ends_the_commands_of_each():
    holder, preempting, third = three(WEAR)
    writes = [(session, begin_write(session)) for session in (holder, third)]
    assert preempting >> reserve_out(PREEMPT_AND_ABORT, 2, 0, WE) << GOOD
    for session, tags in writes:
        assert send_data(session, tags)
        assert heard(session) == [UnitAttention.COMMANDS_CLEARED, UnitAttention.REGISTRATIONS_PREEMPTED]


def test_preempt_and_abort_leaves_the_commands_on_other_units():
    holder, preempting, _ = three(WERO)
    tags = begin_write(holder, lun=lun(1))
    assert preempting >> reserve_out(PREEMPT_AND_ABORT, 2, 1, WERO) << GOOD
    assert heard(holder) == [UnitAttention.REGISTRATIONS_PREEMPTED]
    assert send_data(holder, tags, lun=lun(1)) << GOOD


def test_preempt_and_abort_of_its_own_key_ends_its_own_other_commands_and_is_answered():
    one, _, _ = three()
    tags = begin_write(one)
    assert one >> reserve_out(PREEMPT_AND_ABORT, 1, 1) << GOOD
    assert send_data(one, tags)
    assert heard(one) == []


def test_preempt_and_abort_that_conflicts_ends_nothing():
    holder, preempting, _ = three(WERO)
    tags = begin_write(holder)
    assert preempting >> reserve_out(PREEMPT_AND_ABORT, 2, 99, WERO) << CONFLICT
    assert send_data(holder, tags) << GOOD


def test_preempt_and_abort_of_who_is_not_there_any_more():
    holder, preempting, _ = three(WERO)
    holder.session.end()
    assert preempting >> reserve_out(PREEMPT_AND_ABORT, 2, 1, WERO) << GOOD


# -- what survives a session -----------------------------------------------------------------------


def test_a_registration_and_a_reservation_survive_logout_and_come_back_with_the_port():
    holder, other, _ = three(WE)
    holder >> logout() << like(LogoutResponse) << ended()
    assert other >> write_10(data=b"x" * 512) << CONFLICT
    again = log_in(other.session.entity, isid=ISIDS[0])
    assert again >> write_10(data=b"x" * 512) << GOOD


def test_another_session_of_the_same_initiator_is_another_nexus():
    three_sessions = three(WE)
    stranger = log_in(three_sessions[0].session.entity, isid=bytes.fromhex("00023d000009"))
    assert stranger >> write_10(data=b"x" * 512) << CONFLICT


def test_an_initiator_port_may_be_registered_before_it_logs_in():
    entity = make_entity()
    first = log_in(entity, isid=ISIDS[0])
    port = f"{first.session.initiator_name},i,0x{ISIDS[1].hex()}"
    transport_id = encode_transport_id(port)
    more = len(transport_id).to_bytes(4, "big") + transport_id
    first >> reserve_out(REGISTER, 0, 7, flags=0x08, more=more) << GOOD
    assert first >> reserve_out(RESERVE, 7, kind=EARO) << GOOD
    late = log_in(entity, isid=ISIDS[1])
    assert late >> read_10() << like(SCSIDataIn, data=bytes(512))
    stranger = log_in(entity, isid=ISIDS[2])
    assert stranger >> read_10() << CONFLICT


def test_a_registration_through_all_portal_groups():
    """ALL_TG_PT: every portal group is a target port, whether anybody is logged in there or not."""
    entity = make_entity()
    second = Portal("192.0.2.2")
    node_of(entity).add_portal(second)
    first = log_in(entity, isid=ISIDS[0])
    assert first >> reserve_out(REGISTER, 0, 7, flags=0x04) << GOOD
    assert first >> reserve_out(RESERVE, 7, kind=EARO) << GOOD
    other_path = log_in(entity, isid=ISIDS[0], portal=second)
    assert other_path >> read_10() << like(SCSIDataIn, data=bytes(512))
    ports = [one.target_port for one in unit_of(entity).reservations.registrations]
    assert ports == [f"{TARGET},t,0x0001", f"{TARGET},t,0x0002"]


def test_a_reservation_moves_to_a_port_behind_another_portal_group():
    entity = make_entity()
    second = Portal("192.0.2.2")
    node_of(entity).add_portal(second)
    first = log_in(entity, isid=ISIDS[0])
    first >> reserve_out(REGISTER, 0, 7) << GOOD
    first >> reserve_out(RESERVE, 7, kind=WE) << GOOD
    transport_id = encode_transport_id(f"{first.session.initiator_name},i,0x{ISIDS[1].hex()}")
    tail = bytes([0, 0x02, 0, 2]) + len(transport_id).to_bytes(4, "big") + transport_id
    data = (7).to_bytes(8, "big") + (9).to_bytes(8, "big") + tail
    block = cdb.persistent_reserve_out(MOVE, parameter_list_length=len(data))
    move = command(block, write=True, expected_data_transfer_length=len(data), data=data)
    assert first >> move << GOOD
    assert first >> write_10(data=b"x" * 512) << CONFLICT
    receiver = log_in(entity, isid=ISIDS[1], portal=second)
    assert receiver >> write_10(data=b"x" * 512) << GOOD


# -- what ends a RESERVE (SPC-2) -------------------------------------------------------------------

RESERVES = [bytes.fromhex("160000000000"), bytes.fromhex("56000000000000000000")]


def reserved(reserve):
    entity = make_entity()
    holder, other = (log_in(entity, isid=isid) for isid in ISIDS[:2])
    assert holder >> command(reserve) << GOOD
    assert other >> test_unit_ready() << CONFLICT
    return holder, other


def is_free(session):
    session.session.nexus.unit_attentions.clear()
    return bool(session >> test_unit_ready() << GOOD)


@pytest.mark.parametrize("reserve", RESERVES)
@pytest.mark.parametrize(
    "function", [TaskManagementFunction.LOGICAL_UNIT_RESET, TaskManagementFunction.TARGET_WARM_RESET]
)
def test_a_reset_by_anybody_ends_a_reserve(reserve, function):
    _, other = reserved(reserve)
    other >> task_management(function) << like(TaskManagementResponse, response=0)
    assert is_free(other)


def test_a_cold_reset_ends_a_reserve():
    _, other = reserved(RESERVES[0])
    cold = TaskManagementFunction.TARGET_COLD_RESET
    other >> task_management(cold) << like(TaskManagementResponse, response=0) << ended()
    assert is_free(log_in(other.connection.entity, isid=ISIDS[1]))


@pytest.mark.parametrize("reserve", RESERVES)
def test_logout_ends_a_reserve(reserve):
    holder, other = reserved(reserve)
    holder >> logout() << like(LogoutResponse)
    assert is_free(other)


@pytest.mark.parametrize("reserve", RESERVES)
def test_a_lost_connection_ends_a_reserve(reserve):
    holder, other = reserved(reserve)
    holder.connection.connection_lost()
    assert is_free(other)


def test_a_reset_of_another_unit_leaves_a_reserve():
    _, other = reserved(RESERVES[0])
    reset = task_management(TaskManagementFunction.LOGICAL_UNIT_RESET, lun=lun(1))
    other >> reset << like(TaskManagementResponse, response=0)
    assert other >> test_unit_ready() << CONFLICT


def test_session_reinstatement_ends_a_reserve():
    """RFC 7143 section 6.3.5: the I_T nexus is lost, though the same comes back."""
    holder, other = reserved(RESERVES[0])
    log_in(holder.connection.entity, isid=ISIDS[0])
    assert is_free(other)
