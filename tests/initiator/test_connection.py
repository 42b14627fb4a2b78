"""The initiator's core: login, numbers, pings, task management, logout, and who ends it."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from marks import rfc

from iscsim.errors import ConnectionFailed, LocalProtocolError, LoginFailed, SessionFailed
from iscsim.initiator.connection import InitiatorConnection, Timeouts
from iscsim.initiator.task import (
    CommandAborted,
    CommandTask,
    CommandTimedOut,
    Logout,
    Management,
    Ping,
    TextNegotiation,
)
from iscsim.pdu import (
    NO_LUN,
    RESERVED_TAG,
    AsyncMessage,
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    LogoutResponse,
    NOPIn,
    NOPOut,
    RawPDU,
    ReadyToTransfer,
    Reject,
    SCSICommand,
    SCSIDataIn,
    SCSIResponse,
    Stage,
    TaskManagementFunction,
    TaskManagementRequest,
    TaskManagementResponse,
    TextResponse,
)
from iscsim.session.connection import Phase
from iscsim.session.events import ConnectionEnded, LoginCompleted, LoginRefused
from iscsim.session.login import LoginRedirected

NewCore = Callable[..., InitiatorConnection]
LUN = bytes.fromhex("0001000000000000")


# -- login -----------------------------------------------------------------------------------------


@rfc("7143", "6.3.1", "11.12.6", row=37)
def test_first_request_is_a_login_with_tsih_0(new_core: NewCore, bare_ladder: Any) -> None:
    ladder = bare_ladder(new_core())
    ladder.core.start()
    (request,) = ladder.sent()
    assert isinstance(request, LoginRequest)
    assert (request.tsih, request.cid, request.immediate) == (0, 0, True)


@rfc("7143", "11.13.4", row="I5")
def test_login_through_begins_full_feature_with_the_stat_sn_after_the_last(ladder: Any) -> None:
    assert ladder.core.phase is Phase.FULL_FEATURE
    assert ladder.core.exp_stat_sn == ladder.stat_sn
    (event,) = ladder.events(LoginCompleted)
    assert (event.peer_name, event.session_type) == ("iqn.2026-11.test:disk", "Normal")


def test_first_command_has_the_cmd_sn_of_the_login(ladder: Any) -> None:
    ladder.submit()
    (command,) = ladder.sent()
    assert command.cmd_sn == ladder.exp_cmd_sn
    assert command.exp_stat_sn == ladder.stat_sn


def test_refused_login_ends_with_its_status(new_core: NewCore, bare_ladder: Any) -> None:
    ladder = bare_ladder(new_core())
    ladder.core.start()
    ladder >> LoginResponse(status_class=2, status_detail=1)
    assert isinstance(ladder.core.failure, LoginFailed)
    assert ladder.core.failure.status == 0x0201
    assert [event.status for event in ladder.events(LoginRefused)] == [0x0201]


@rfc("7143", "11.13.5", row="I6")
def test_redirection_says_where_to(new_core: NewCore, bare_ladder: Any) -> None:
    ladder = bare_ladder(new_core())
    ladder.core.start()
    ladder >> LoginResponse(status_class=1, status_detail=1, data=b"TargetAddress=10.0.0.2:3261\0")
    assert isinstance(ladder.core.failure, LoginRedirected)
    assert ladder.core.failure.address == "10.0.0.2:3261"


def test_silence_during_login_ends_it(new_core: NewCore, bare_ladder: Any) -> None:
    ladder = bare_ladder(new_core(timeouts=Timeouts(login_s=15)))
    ladder.core.start()
    ladder.wait(14.9)
    assert not ladder.core.closing
    ladder.wait(15)
    assert isinstance(ladder.core.failure, ConnectionFailed)
    assert "15 s" in ladder.failure


@rfc("7143", "6.3", row="I4")
@pytest.mark.parametrize(
    "response",
    [
        pytest.param(
            LoginResponse(transit=True, next_stage=Stage.FULL_FEATURE, initiator_task_tag=9), id="tag"
        ),
        pytest.param(LoginResponse(current_stage=1, isid=b"\x80" + bytes(5), version_active=1), id="version"),
        pytest.param(SCSIDataIn(), id="Data-In"),
        pytest.param(NOPIn(), id="NOP-In"),
        pytest.param(Reject(reason=4), id="Reject"),
        pytest.param(RawPDU(b"\x3e" + bytes(47)), id="unknown opcode"),
    ],
)
def test_nonsense_during_login_ends_it(new_core: NewCore, bare_ladder: Any, response: Any) -> None:
    ladder = bare_ladder(new_core())
    ladder.core.start()
    ladder.core.receive_data(b"".join(response.encode()), 0.0)
    assert isinstance(ladder.core.failure, ConnectionFailed)


def test_digests_hold_from_the_pdu_behind_the_login_on(new_ladder: Any) -> None:
    ladder = new_ladder(header_digest=("CRC32C",), data_digest=("CRC32C",))
    task = ladder.write(b"x" * 4096)
    (command,) = ladder.sent()  # decoded with both digests
    ladder >> SCSIResponse(initiator_task_tag=command.initiator_task_tag)
    assert task.error is None
    assert ladder.ended == [task]


def test_damaged_data_ends_the_connection(new_ladder: Any) -> None:
    ladder = new_ladder(data_digest=("CRC32C",))
    ladder.submit()
    (command,) = ladder.sent()
    wire = bytearray(
        ladder.wire(SCSIDataIn(initiator_task_tag=command.initiator_task_tag, final=True, data=bytes(512)))
    )
    wire[100] ^= 1
    ladder.core.receive_data(wire, 0.0)
    assert "data digest" in ladder.failure


@rfc("7143", "13.12", row=(16, 47))
def test_a_data_segment_longer_than_declared_ends_the_connection(new_ladder: Any) -> None:
    ladder = new_ladder(max_recv_data_segment_length=512)
    ladder >> SCSIDataIn(data=bytes(513))
    assert "513" in ladder.failure


# -- numbers ---------------------------------------------------------------------------------------


@rfc("7143", "4.2.2.1", row="I1")
def test_commands_wait_for_the_window(new_ladder: Any) -> None:
    ladder = new_ladder(window=2)
    tasks = [ladder.submit() for _ in range(4)]
    first, second = ladder.sent()
    assert (second.cmd_sn - first.cmd_sn, len(ladder.core.commands.queue)) == (1, 2)
    ladder.exp_cmd_sn += 1
    ladder >> SCSIResponse(initiator_task_tag=first.initiator_task_tag)
    (third,) = ladder.sent()
    assert third.cmd_sn == second.cmd_sn + 1
    assert ladder.ended == tasks[:1]


@rfc("7143", "4.2.2.1", row="I1")
def test_a_closed_window_stops_commands_but_not_immediate_ones(ladder: Any) -> None:
    ladder.core.numbers.max_cmd_sn = ladder.exp_cmd_sn - 1
    ladder.submit()
    assert ladder.sent() == []
    ladder.submit(immediate=True)
    (command,) = ladder.sent()
    assert command.immediate
    assert command.cmd_sn == ladder.exp_cmd_sn  # the current one, which it does not use up


def test_the_window_opens_by_any_pdu(new_ladder: Any) -> None:
    ladder = new_ladder(window=1)
    for _ in range(2):
        ladder.submit()
    ladder.sent()
    ladder.window = 2
    ladder >> NOPIn()
    assert len(ladder.sent()) == 1


@rfc("7143", "11.2.1.8", row=23)
def test_every_task_has_a_tag_of_its_own_and_never_the_reserved_one(ladder: Any) -> None:
    ladder.core._next_tag = RESERVED_TAG - 1
    for _ in range(3):
        ladder.submit()
    assert [pdu.initiator_task_tag for pdu in ladder.sent()] == [RESERVED_TAG - 1, 0, 1]
    ladder.core._next_tag = RESERVED_TAG - 1
    ladder.submit()
    (command,) = ladder.sent()
    assert command.initiator_task_tag == 2


@rfc("7143", "4.2.2.2", row=(7, "I2"))
@pytest.mark.parametrize("step", [-1, 1, 100])
def test_stat_sn_out_of_order_ends_the_connection(ladder: Any, step: int) -> None:
    ladder.submit()
    (command,) = ladder.sent()
    ladder >> SCSIResponse(initiator_task_tag=command.initiator_task_tag, stat_sn=ladder.stat_sn + step)
    assert f"StatSN {ladder.stat_sn + step}, expected {ladder.stat_sn}" in ladder.failure


@rfc("7143", "4.2.2.1", row=1)
def test_stat_sn_wraps(ladder: Any) -> None:
    ladder.core.exp_stat_sn = 0xFFFFFFFF
    ladder.submit()
    (command,) = ladder.sent()
    ladder >> SCSIResponse(initiator_task_tag=command.initiator_task_tag, stat_sn=0xFFFFFFFF)
    assert ladder.core.exp_stat_sn == 0


# -- pings -----------------------------------------------------------------------------------------


@rfc("7143", "11.19", row=(7, 55, "I9"))
def test_targets_ping_is_answered_with_tag_and_lun_copied(ladder: Any) -> None:
    stat_sn = ladder.stat_sn
    ladder >> NOPIn(target_transfer_tag=77, lun=LUN, stat_sn=stat_sn)
    (answer,) = ladder.sent()
    assert isinstance(answer, NOPOut)
    assert (answer.target_transfer_tag, answer.lun, answer.immediate) == (77, LUN, True)
    assert answer.initiator_task_tag == RESERVED_TAG
    assert ladder.core.exp_stat_sn == stat_sn  # a ping does not use StatSN up


@rfc("7143", "11.19", row=55)
def test_notice_without_tags_is_not_answered(ladder: Any) -> None:
    ladder >> NOPIn()
    assert ladder.sent() == []


@rfc("7143", "11.18", row=55)
def test_own_ping_brings_its_data_back(ladder: Any) -> None:
    ping = Ping(b"hello")
    ladder.core.ping(ping)
    (request,) = ladder.sent()
    assert (request.immediate, request.target_transfer_tag, request.lun) == (True, RESERVED_TAG, NO_LUN)
    ladder >> NOPIn(initiator_task_tag=request.initiator_task_tag, data=b"hello!")
    assert ping.data == b"hello!"


def test_an_answer_to_a_ping_that_is_a_ping_itself_ends_the_connection(ladder: Any) -> None:
    ladder.core.ping(Ping(b"hello"))
    (request,) = ladder.sent()
    ladder >> NOPIn(initiator_task_tag=request.initiator_task_tag, target_transfer_tag=1)
    assert "the answer to a ping with Target Transfer Tag 0x1 (RFC 7143 section 11.19.1)" in ladder.failure


def test_answer_to_no_ping_ends_the_connection(ladder: Any) -> None:
    ladder >> NOPIn(initiator_task_tag=5)
    assert "unknown task tag 0x5" in ladder.failure


def test_silence_brings_a_ping_and_more_silence_the_end(new_ladder: Any) -> None:
    ladder = new_ladder(timeouts=Timeouts(ping_interval_s=5, ping_timeout_s=3))
    task = ladder.submit()
    ladder.sent()
    ladder.wait(5)
    (ping,) = ladder.sent()
    assert isinstance(ping, NOPOut)
    ladder.wait(8)
    assert "no answer to a ping within 3 s" in ladder.failure
    assert isinstance(task.error, SessionFailed)


def test_answered_ping_starts_the_next_interval(new_ladder: Any) -> None:
    ladder = new_ladder(timeouts=Timeouts(ping_interval_s=5, ping_timeout_s=3))
    ladder.wait(5)
    (ping,) = ladder.sent()
    ladder.now = 6.0
    ladder >> NOPIn(initiator_task_tag=ping.initiator_task_tag)
    assert ladder.core.next_deadline() == 11.0
    ladder.wait(11)
    assert len(ladder.sent()) == 1


def test_other_traffic_is_a_sign_of_life_too(new_ladder: Any) -> None:
    ladder = new_ladder(timeouts=Timeouts(ping_interval_s=5, ping_timeout_s=3))
    ladder.wait(5)
    ladder.now = 7.0
    ladder >> NOPIn()
    ladder.wait(8)
    assert not ladder.core.closing


def test_another_ping_is_not_sent_while_one_is_not_answered(new_ladder: Any) -> None:
    """A target that talks, and answers no ping, is not sent more and more of them."""
    ladder = new_ladder(timeouts=Timeouts(ping_interval_s=5, ping_timeout_s=3))
    ladder.wait(5)
    assert len(ladder.sent()) == 1
    ladder.now = 7.0
    ladder >> NOPIn()
    for second in (8, 12, 14):
        ladder.wait(second)
    assert (ladder.sent(), ladder.core.closing) == ([], False)
    ladder.wait(15)  # 7 s, and 5 + 3 of silence
    assert "no answer to a ping within 3 s" in ladder.failure


def test_what_the_login_agreed_on_is_the_time_to_wait_for_the_next(new_ladder: Any) -> None:
    assert new_ladder({"DefaultTime2Wait": "5"}).core.time2wait == 5


@pytest.mark.parametrize(("response", "time2wait"), [(0, 2), (1, 2), (2, 30), (3, 30)])
def test_logout_that_leaves_something_behind_says_how_long_to_wait(
    ladder: Any, response: int, time2wait: int
) -> None:
    ladder.core.logout(Logout())
    (request,) = ladder.sent()
    ladder >> LogoutResponse(initiator_task_tag=request.initiator_task_tag, response=response, time2wait=30)
    assert ladder.core.time2wait == time2wait


def test_without_an_interval_there_are_no_pings(new_ladder: Any) -> None:
    ladder = new_ladder(timeouts=Timeouts(ping_interval_s=0))
    assert ladder.core.next_deadline() is None


# -- task management -------------------------------------------------------------------------------


def manage(ladder: Any, function: int, task: CommandTask | None = None) -> tuple[Management, Any]:
    request = Management(function, LUN, task)
    ladder.core.manage(request)
    (sent,) = ladder.sent()
    assert isinstance(sent, TaskManagementRequest)
    return request, sent


@rfc("7143", "11.5.5", row=52)
def test_abort_task_names_the_task_and_its_cmd_sn(ladder: Any) -> None:
    task = ladder.submit()
    ladder.submit()
    command, _ = ladder.sent()
    request, sent = manage(ladder, TaskManagementFunction.ABORT_TASK, task)
    assert (sent.referenced_task_tag, sent.ref_cmd_sn) == (command.initiator_task_tag, command.cmd_sn)
    assert (sent.immediate, sent.cmd_sn) == (True, command.cmd_sn + 2)
    ladder >> TaskManagementResponse(initiator_task_tag=sent.initiator_task_tag, response=0)
    assert ladder.ended == [task]
    assert isinstance(task.error, CommandAborted)
    assert request.response == 0


@rfc("7143", "11.5.5", row=52)
def test_abort_of_an_immediate_task_refers_to_its_own_cmd_sn(ladder: Any) -> None:
    task = ladder.submit(immediate=True)
    ladder.submit()
    ladder.sent()
    _, sent = manage(ladder, TaskManagementFunction.ABORT_TASK, task)
    assert sent.ref_cmd_sn == sent.cmd_sn


def test_logical_unit_reset_ends_what_was_sent_before_it_to_that_unit(ladder: Any) -> None:
    before, other = ladder.submit(), ladder.submit(CommandTask(bytes(8), bytes(6)))
    ladder.sent()
    _, sent = manage(ladder, TaskManagementFunction.LOGICAL_UNIT_RESET)
    assert (sent.referenced_task_tag, sent.ref_cmd_sn) == (RESERVED_TAG, 0)
    behind = ladder.submit()
    ladder >> TaskManagementResponse(initiator_task_tag=sent.initiator_task_tag)
    assert ladder.ended == [before]
    assert {other, behind} == set(ladder.core.commands.tasks.values())


@pytest.mark.parametrize("function", [TaskManagementFunction.TARGET_WARM_RESET, 7])
def test_target_reset_ends_everything(ladder: Any, function: int) -> None:
    tasks = [ladder.submit(), ladder.submit(CommandTask(bytes(8), bytes(6)))]
    ladder.sent()
    _, sent = manage(ladder, function)
    ladder >> TaskManagementResponse(initiator_task_tag=sent.initiator_task_tag)
    assert ladder.ended == tasks


def test_function_that_was_not_done_ends_nothing(ladder: Any) -> None:
    ladder.submit()
    ladder.sent()
    request, sent = manage(ladder, TaskManagementFunction.LOGICAL_UNIT_RESET)
    ladder >> TaskManagementResponse(initiator_task_tag=sent.initiator_task_tag, response=5)
    assert (request.response, ladder.ended) == (5, [])


def test_unanswered_task_management_ends_the_session(new_ladder: Any) -> None:
    ladder = new_ladder(timeouts=Timeouts(ping_interval_s=0, request_s=15))
    request, _ = manage(ladder, TaskManagementFunction.LOGICAL_UNIT_RESET)
    ladder.wait(15)
    assert "no answer to LOGICAL UNIT RESET" in ladder.failure
    assert isinstance(request.error, SessionFailed)


# -- commands that take too long -------------------------------------------------------------------


def overdue(ladder: Any) -> tuple[CommandTask, Any, TaskManagementRequest]:
    task = CommandTask(LUN, bytes(6))
    task.deadline = 30.0
    ladder.submit(task)
    (command,) = ladder.sent()
    ladder.wait(29.9)
    assert ladder.sent() == []
    ladder.wait(30)
    (abort,) = ladder.sent()
    assert abort.referenced_task_tag == command.initiator_task_tag
    return task, command, abort


@pytest.fixture
def patient(new_ladder: Any) -> Any:
    return new_ladder(timeouts=Timeouts(ping_interval_s=0, request_s=15))


@pytest.mark.parametrize("response", [0, 1])
def test_overdue_command_is_aborted_and_the_session_lives(patient: Any, response: int) -> None:
    task, _, abort = overdue(patient)
    patient >> TaskManagementResponse(initiator_task_tag=abort.initiator_task_tag, response=response)
    assert isinstance(task.error, CommandTimedOut)
    assert not patient.core.closing
    assert not patient.core.commands.tasks


def test_response_that_overtakes_the_abort_counts(patient: Any) -> None:
    task, command, abort = overdue(patient)
    patient >> SCSIResponse(initiator_task_tag=command.initiator_task_tag)
    patient >> TaskManagementResponse(initiator_task_tag=abort.initiator_task_tag, response=1)
    assert patient.ended == [task]
    assert task.error is None


def test_command_that_cannot_be_aborted_takes_the_session_along(patient: Any) -> None:
    task, _, abort = overdue(patient)
    patient >> TaskManagementResponse(initiator_task_tag=abort.initiator_task_tag, response=255)
    assert "could not be aborted: response 255" in patient.failure
    assert isinstance(task.error, SessionFailed)


def test_unanswered_abort_takes_the_session_along(patient: Any) -> None:
    overdue(patient)
    patient.wait(45)
    assert "no answer to ABORT TASK" in patient.failure


def test_overdue_command_that_was_never_sent_just_ends(new_ladder: Any) -> None:
    ladder = new_ladder(window=1)
    ladder.submit()
    late = CommandTask(LUN, bytes(6))
    late.deadline = 2.0
    ladder.submit(late)
    ladder.sent()
    ladder.wait(2)
    assert ladder.sent() == []
    assert isinstance(late.error, CommandTimedOut)


def test_one_timer_watches_all_commands(patient: Any) -> None:
    for deadline in (40.0, 20.0, 30.0):
        task = CommandTask(LUN, bytes(6))
        task.deadline = deadline
        patient.submit(task)
    assert patient.core.next_deadline() == 20.0
    assert len(patient.core._deadlines) == 1


# -- logout ----------------------------------------------------------------------------------------


def test_logout_waits_for_its_answer(ladder: Any) -> None:
    ladder.core.events()
    logout = Logout()
    ladder.core.logout(logout)
    (request,) = ladder.sent()
    assert isinstance(request, LogoutRequest)
    assert (request.reason, request.immediate) == (0, True)
    with pytest.raises(SessionFailed, match="logged out"):
        ladder.submit()
    ladder >> LogoutResponse(initiator_task_tag=request.initiator_task_tag)
    assert ladder.core.closing
    assert ladder.core.failure is None
    assert ladder.events(ConnectionEnded) == [ConnectionEnded("")]


def test_commands_under_way_at_logout_end_with_the_session(ladder: Any) -> None:
    task = ladder.submit()
    ladder.sent()
    ladder.core.logout(Logout())
    (request,) = ladder.sent()
    ladder >> LogoutResponse(initiator_task_tag=request.initiator_task_tag)
    assert isinstance(task.error, SessionFailed)


# -- the end ---------------------------------------------------------------------------------------


def test_lost_connection_fails_everything_and_takes_nothing_more(new_ladder: Any) -> None:
    ladder = new_ladder(window=1)
    tasks = [ladder.submit(), ladder.submit()]
    ping = Ping()
    ladder.core.ping(ping)
    ladder.core.connection_lost()
    assert {type(request.error) for request in (*tasks, ping)} == {SessionFailed}
    assert ladder.ended == tasks
    with pytest.raises(SessionFailed, match=r"iqn\.2026-11\.test:disk: the target closed the connection"):
        ladder.submit()


@pytest.mark.parametrize(
    "pdu",
    [
        LoginResponse(),
        NOPOut(),
        SCSICommand(),
        RawPDU(b"\x3d" + bytes(47)),
        SCSIResponse(initiator_task_tag=9),
        SCSIDataIn(initiator_task_tag=9),
        ReadyToTransfer(initiator_task_tag=9),
        TaskManagementResponse(initiator_task_tag=9),
        LogoutResponse(initiator_task_tag=9),
    ],
    ids=lambda pdu: type(pdu).__name__,
)
def test_what_nobody_asked_for_ends_the_connection(ladder: Any, pdu: Any) -> None:
    ladder.core.receive_data(b"".join(pdu.encode()), 0.0)
    assert ladder.core.closing
    assert isinstance(ladder.core.failure, SessionFailed)


def test_a_request_before_the_login_is_our_own_fault(new_core: NewCore) -> None:
    with pytest.raises(LocalProtocolError):
        new_core().submit(CommandTask(LUN, bytes(6)))


def test_discovery_session_takes_no_commands(new_ladder: Any) -> None:
    ladder = new_ladder(discovery=True)
    assert ladder.core.phase is Phase.DISCOVERY
    with pytest.raises(LocalProtocolError, match="discovery"):
        ladder.submit()


# -- hostile bytes ---------------------------------------------------------------------------------

ANSWERS = [
    SCSIResponse,
    SCSIDataIn,
    ReadyToTransfer,
    TaskManagementResponse,
    TextResponse,
    LogoutResponse,
    NOPIn,
    AsyncMessage,
    Reject,
]


@pytest.mark.parametrize("seed", range(40))
def test_no_answer_makes_the_core_raise(new_ladder: Any, seed: int) -> None:
    """Every kind of answer, with tags that exist and fields that lie: it is taken or ends the connection."""
    dice = random.Random(seed)
    for _ in range(50):
        ladder = new_ladder(initial_r2t=True, data_sequence_in_order=dice.random() < 0.5)
        tasks = [ladder.submit(), ladder.write(bytes(4096))]
        requests = [Ping(), Management(TaskManagementFunction.ABORT_TASK, LUN, tasks[0]), TextNegotiation([])]
        for verb, request in zip(
            (ladder.core.ping, ladder.core.manage, ladder.core.negotiate), requests, strict=True
        ):
            verb(request)
        ladder.sent()
        for _ in range(6):
            ladder.core.receive_data(hostile(dice, ladder, [*tasks, *requests]), ladder.now)
            ladder.wait(ladder.now + dice.choice((0, 1, 20)))
            ladder.core.data_to_send()
        ladder.core.connection_lost()
        assert not ladder.core.commands.tasks
        assert not ladder.core.requests


def hostile(dice: random.Random, ladder: Any, requests: list[Any]) -> bytes:
    pdu = dice.choice(ANSWERS)(data=dice.randbytes(dice.choice((0, 0, 3, 48, 512, 4096))))
    for name in pdu.codec.fields:
        if name == "initiator_task_tag":
            pdu.initiator_task_tag = dice.choice(
                [RESERVED_TAG, 99, *(each.initiator_task_tag for each in requests)]
            )
        elif name == "stat_sn":
            pdu.stat_sn = ladder.core.exp_stat_sn
        elif isinstance(getattr(pdu, name), bool):
            setattr(pdu, name, dice.random() < 0.5)
        elif isinstance(getattr(pdu, name), int):
            small = (0, 1, 2, 3, 5) if name in SMALL else (0, 1, 7, 512, 4096, 1 << 31, RESERVED_TAG)
            setattr(pdu, name, dice.choice(small))
    return b"".join(pdu.encode())


SMALL = {"status", "response", "reason", "async_event", "async_vcode", "parameter_1", "parameter_2"}
SMALL |= {"parameter_3", "time2wait", "time2retain"}


# -- found by make fuzz ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_of,answer",
    [
        (lambda core, it: core.ping(it(Ping())), NOPIn),
        (lambda core, it: core.manage(it(Management(5, LUN))), TaskManagementResponse),
        (lambda core, it: core.logout(it(Logout())), LogoutResponse),
    ],
)
def test_request_answered_out_of_turn_ends_with_the_connection(
    ladder: Any, request_of: Any, answer: Any
) -> None:
    ended: list[Any] = []

    def watched(request: Any) -> Any:
        request.done = ended.append
        return request

    request_of(ladder.core, watched)
    (sent,) = ladder.sent()
    ladder >> answer(initiator_task_tag=sent.initiator_task_tag, stat_sn=ladder.stat_sn + 1)
    assert ladder.core.closing
    (request,) = ended
    assert isinstance(request.error, SessionFailed)
