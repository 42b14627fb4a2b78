"""Requests that came before their turn."""

import pytest

from iscsim.pdu import NOPOut, SCSICommand, SCSIDataOut, TaskManagementRequest
from iscsim.target.held import HeldRequests


@pytest.fixture
def held() -> HeldRequests:
    held = HeldRequests()
    held.hold(SCSICommand(cmd_sn=5, initiator_task_tag=50, data=memoryview(b"abc")))
    return held


def test_what_is_held_is_copied_out_of_its_segment(held):
    assert type(held[5].request.data) is bytes
    assert held.hold_data(SCSIDataOut(initiator_task_tag=50, data=memoryview(b"abc")), 512)
    assert type(held[5].data_out[0].data) is bytes


def test_the_first_of_two_stays(held):
    held.hold(NOPOut(cmd_sn=5))
    assert isinstance(held[5].request, SCSICommand)


def test_a_plugged_place_takes_nothing_more(held):
    held.plug(5)
    held.plug(6)
    held.hold(NOPOut(cmd_sn=6))
    assert (held[5].request, held[5].plugged, held[6].request) == (None, True, None)
    assert held.find(50) is None


def test_a_command_is_found_by_its_tag(held):
    held.hold(NOPOut(cmd_sn=6, initiator_task_tag=60))
    cmd_sn, place = held.find(50)
    assert (cmd_sn, place) == (5, held[5])
    assert held.find(60) is None  # no command


def test_data_is_kept_for_commands_and_up_to_the_limit(held):
    assert not held.hold_data(SCSIDataOut(initiator_task_tag=51), 4096)
    assert held.hold_data(SCSIDataOut(initiator_task_tag=50, data=bytes(3000)), 4096)
    assert not held.hold_data(SCSIDataOut(initiator_task_tag=50, data=bytes(1097)), 4096)
    assert held.hold_data(SCSIDataOut(initiator_task_tag=50, data=bytes(1096)), 4096)
    assert len(held[5].data_out) == 2


def test_empty_data_counts_too(held):
    kept = [held.hold_data(SCSIDataOut(initiator_task_tag=50), 4096) for _ in range(20)]
    assert kept.count(True) == 9


def test_functions_wait_at_places_of_their_own_or_with_a_request(held):
    held.wait(TaskManagementRequest(cmd_sn=5))
    held.wait(TaskManagementRequest(cmd_sn=5))
    held.wait(TaskManagementRequest(cmd_sn=9))
    assert (held.waiting_functions, len(held)) == (3, 2)
    held.plug(5)
    assert held.waiting_functions == 3
