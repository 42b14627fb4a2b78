"""Asynchronous Messages and Rejects: told of, and obeyed."""

from typing import Any

import pytest
from marks import rfc

from iscsim.errors import RemoteProtocolError, SessionFailed
from iscsim.initiator.events import AsyncMessageReceived
from iscsim.initiator.task import CommandAborted, Logout, Management, Ping, TextNegotiation
from iscsim.pdu import (
    RESERVED_TAG,
    AsyncMessage,
    LogoutRequest,
    LogoutResponse,
    NOPIn,
    NOPOut,
    Reject,
    RejectReason,
    SCSIDataOut,
    SCSIResponse,
    TaskManagementFunction,
    TextRequest,
    TextResponse,
)
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.session.events import PDURejected

LUN = bytes.fromhex("0001000000000000")


# -- Asynchronous Messages -------------------------------------------------------------------------


@rfc("7143", "11.9.1", row="I10")
def test_scsi_event_brings_its_sense_data(ladder: Any) -> None:
    sense = Sense(SenseKey.UNIT_ATTENTION, 0x3F, 0x0E).encode()
    ladder >> AsyncMessage(async_event=0, lun=LUN, data=SCSIResponse.sense_segment(sense))
    (event,) = ladder.events(AsyncMessageReceived)
    assert (event.code, event.lun, event.sense_data) == (0, LUN, sense)
    assert not ladder.core.closing


def test_vendor_event_is_told_and_nothing_else(ladder: Any) -> None:
    ladder >> AsyncMessage(async_event=255, async_vcode=3, parameter_1=1, parameter_2=2, parameter_3=4)
    assert ladder.events(AsyncMessageReceived) == [AsyncMessageReceived(255, bytes(8), 3, 1, 2, 4)]
    assert (ladder.sent(), ladder.core.closing) == ([], False)


@rfc("7143", "11.9.1", row="I10")
def test_logout_request_with_nothing_under_way_is_obeyed_at_once(ladder: Any) -> None:
    ladder >> AsyncMessage(async_event=1, parameter_3=10)
    (request,) = ladder.sent()
    assert isinstance(request, LogoutRequest)
    ladder >> LogoutResponse(initiator_task_tag=request.initiator_task_tag)
    assert ladder.core.closing


@rfc("7143", "11.9.1", row="I10")
def test_logout_request_lets_commands_end_and_takes_no_more(new_ladder: Any) -> None:
    ladder = new_ladder(window=1)
    ladder.submit()
    waiting = ladder.submit()
    (command,) = ladder.sent()
    ladder >> AsyncMessage(async_event=1, parameter_3=10)
    assert isinstance(waiting.error, SessionFailed)
    with pytest.raises(SessionFailed, match="the target asks for a logout"):
        ladder.submit()
    assert ladder.sent() == []
    ladder >> SCSIResponse(initiator_task_tag=command.initiator_task_tag)
    assert [type(pdu) for pdu in ladder.sent()] == [LogoutRequest]


@rfc("7143", "11.9.1", row="I10")
def test_logout_request_is_obeyed_in_time_whatever_is_under_way(ladder: Any) -> None:
    ladder.submit()
    ladder.sent()
    ladder >> AsyncMessage(async_event=1, parameter_3=4)
    ladder.wait(2)
    assert [type(pdu) for pdu in ladder.sent()] == [LogoutRequest]
    ladder >> AsyncMessage(async_event=1, parameter_3=4)
    assert ladder.sent() == []


@rfc("7143", "11.9.1", row="I10")
@pytest.mark.parametrize("event", [2, 3])
def test_dropped_connection_ends_at_once(ladder: Any, event: int) -> None:
    ladder >> AsyncMessage(async_event=event, parameter_2=2, parameter_3=20)
    (told,) = ladder.events(AsyncMessageReceived)
    assert (told.parameter_2, told.parameter_3) == (2, 20)
    assert f"asynchronous event {event}" in ladder.failure


@rfc("7143", "11.9.1", row="I10")
def test_negotiation_request_is_answered_with_an_empty_text(ladder: Any) -> None:
    ladder >> AsyncMessage(async_event=4, parameter_3=3)
    (request,) = ladder.sent()
    assert isinstance(request, TextRequest)
    assert (request.data, request.final) == (b"", True)


def test_negotiations_that_are_asked_for_do_not_pile_up(ladder: Any) -> None:
    for _ in range(3):
        ladder >> AsyncMessage(async_event=4, parameter_3=3)
    (request,) = ladder.sent()
    ladder >> TextResponse(initiator_task_tag=request.initiator_task_tag, final=True)
    assert (ladder.sent(), len(ladder.core.requests)) == ([], 0)
    ladder >> AsyncMessage(async_event=4, parameter_3=3)
    assert len(ladder.sent()) == 1


def test_terminated_tasks_are_acknowledged(ladder: Any) -> None:
    ladder >> AsyncMessage(async_event=5, lun=LUN)
    (answer,) = ladder.sent()
    assert isinstance(answer, NOPOut)
    assert (answer.initiator_task_tag, answer.target_transfer_tag) == (RESERVED_TAG, RESERVED_TAG)
    assert (answer.lun, answer.exp_stat_sn) == (LUN, ladder.stat_sn)


# -- Rejects ---------------------------------------------------------------------------------------


def test_rejected_command_ends_and_its_place_is_plugged(ladder: Any) -> None:
    task = ladder.submit()
    (command,) = ladder.sent()
    ladder >> Reject(reason=RejectReason.COMMAND_NOT_SUPPORTED, data=command.header())
    (event,) = ladder.events(PDURejected)
    assert event.reason == 5
    assert isinstance(task.error, CommandAborted)
    assert "reason 0x05 (command not supported)" in str(task.error)
    (plug,) = ladder.sent()
    assert isinstance(plug, NOPOut)
    assert (plug.immediate, plug.cmd_sn) == (False, command.cmd_sn)
    assert plug.initiator_task_tag != RESERVED_TAG
    ladder >> NOPIn(initiator_task_tag=plug.initiator_task_tag)
    assert not ladder.core.closing


def test_rejecting_again_what_has_ended_makes_no_more_requests(ladder: Any) -> None:
    ladder.submit()
    (command,) = ladder.sent()
    for _ in range(3):
        ladder >> Reject(reason=RejectReason.COMMAND_NOT_SUPPORTED, data=command.header())
    (plug,) = ladder.sent()
    assert list(ladder.core.requests) == [plug.initiator_task_tag]


def test_place_the_target_counts_is_not_plugged(ladder: Any) -> None:
    ladder.submit()
    (command,) = ladder.sent()
    ladder.exp_cmd_sn += 1
    ladder >> Reject(reason=RejectReason.COMMAND_NOT_SUPPORTED, data=command.header())
    assert ladder.sent() == []


def test_rejected_immediate_command_leaves_no_gap(ladder: Any) -> None:
    task = ladder.submit(immediate=True)
    (command,) = ladder.sent()
    ladder >> Reject(reason=RejectReason.IMMEDIATE_COMMAND_REJECT, data=command.header())
    assert ladder.ended == [task]
    assert ladder.sent() == []


def test_rejected_data_out_does_not_end_its_command(ladder: Any) -> None:
    task = ladder.write(b"x" * 512)
    (command,) = ladder.sent()
    bad = SCSIDataOut(initiator_task_tag=command.initiator_task_tag)
    ladder >> Reject(reason=RejectReason.DATA_DIGEST_ERROR, data=bad.header())
    assert ladder.ended == []
    ladder >> SCSIResponse(initiator_task_tag=command.initiator_task_tag, status=2)
    assert ladder.ended == [task]


@pytest.mark.parametrize(
    "make", [lambda: Ping(), lambda: TextNegotiation([("SendTargets", "All")]), lambda: Management(5, LUN)]
)
def test_other_rejected_request_ends_with_an_error(ladder: Any, make: Any) -> None:
    request = make()
    verbs = {Ping: ladder.core.ping, TextNegotiation: ladder.core.negotiate, Management: ladder.core.manage}
    verbs[type(request)](request)
    (sent,) = ladder.sent()
    ladder >> Reject(reason=RejectReason.PROTOCOL_ERROR, data=sent.header())
    assert isinstance(request.error, RemoteProtocolError)
    assert not ladder.core.requests
    assert not ladder.core.closing


def test_rejected_logout_ends_the_connection(ladder: Any) -> None:
    ladder.core.logout(Logout())
    (sent,) = ladder.sent()
    ladder >> Reject(reason=RejectReason.PROTOCOL_ERROR, data=sent.header())
    assert "Logout Request: Reject" in ladder.failure


def test_waiting_for_logout_makes_us_log_out(ladder: Any) -> None:
    ladder.submit()
    (command,) = ladder.sent()
    ladder.exp_cmd_sn += 1
    ladder >> Reject(reason=RejectReason.WAITING_FOR_LOGOUT, data=command.header())
    assert [type(pdu) for pdu in ladder.sent()] == [LogoutRequest]


@pytest.mark.parametrize("data", [b"", bytes(47), b"\x3d" + bytes(47), b"\x01" + bytes(47)])
def test_reject_of_we_do_not_know_what_is_only_told(ladder: Any, data: bytes) -> None:
    ladder.submit()
    ladder.sent()
    ladder >> Reject(reason=0x77, data=data)
    (event,) = ladder.events(PDURejected)
    assert event.message == "Reject with reason 0x77"
    assert not ladder.core.closing
    assert ladder.ended == []


def test_rejected_abort_takes_the_session_along(ladder: Any) -> None:
    task = ladder.submit()
    ladder.core.commands.abort(task, CommandAborted("cancelled"))
    _, abort = ladder.sent()
    assert abort.function == TaskManagementFunction.ABORT_TASK
    ladder >> Reject(reason=RejectReason.COMMAND_NOT_SUPPORTED, data=abort.header())
    assert "could not be aborted" in ladder.failure


def test_reject_that_resets_a_negotiation_ends_the_connection(ladder: Any) -> None:
    ladder >> Reject(reason=RejectReason.NEGOTIATION_RESET)
    assert "RFC 7143 section 11.17.1" in ladder.failure
