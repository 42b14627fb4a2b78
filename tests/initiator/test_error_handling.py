"""The ladder, step by step and second by second, over a transport with a script."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from initiator.transports import NEVER, Answer, ScriptedTransport, now, virtual

from iscsim.errors import RemoteProtocolError
from iscsim.initiator.error_handling import ErrorHandler, ErrorHandlingSettings
from iscsim.initiator.scsi_device import HCTL, DeviceState, SCSIDevice
from iscsim.initiator.session_state import SessionState
from iscsim.initiator.task import CommandTask, CommandTimedOut
from iscsim.pdu import TaskManagementResponseCode
from iscsim.scsi import cdb
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.scsi.status import Status

READ, TUR = "READ (10)", "TEST UNIT READY"
COMPLETE = TaskManagementResponseCode.FUNCTION_COMPLETE
REFUSED = TaskManagementResponseCode.FUNCTION_REJECTED
NOT_THERE = TaskManagementResponseCode.TASK_DOES_NOT_EXIST
LINUX = ErrorHandlingSettings(drops_on_silence=True)


def ask(device: SCSIDevice, lba: int = 0) -> Coroutine[Any, Any, CommandTask]:
    return device.run(CommandTask(device.lun, cdb.read_10(lba, 8), data_in_length=4096))


def devices(transport: ScriptedTransport, count: int = 1, **settings: Any) -> list[SCSIDevice]:
    handler = ErrorHandler(transport, ErrorHandlingSettings(**settings))
    return [SCSIDevice(transport, HCTL(3, 0, 0, n), handler=handler) for n in range(1, count + 1)]


def climb(
    transport: ScriptedTransport, settings: ErrorHandlingSettings | None = None
) -> tuple[str, list[str], DeviceState]:
    """How one READ ends, every step with its second, and the device's state in the end."""

    async def main() -> tuple[str, list[str], DeviceState]:
        device = SCSIDevice(transport, HCTL(3, 0, 0, 1), settings=settings)
        try:
            end = Status((await ask(device)).status).name
        except CommandTimedOut as error:
            end = str(error)
        return end, [f"{at:.0f} {name}" for at, name in transport.log], device.state

    return virtual(main())


# -- rung by rung --------------------------------------------------------------------------------------


def test_an_aborted_command_is_sent_again() -> None:
    end, steps, _ = climb(ScriptedTransport([NEVER]))
    assert (end, steps) == ("GOOD", [f"0 {READ}", "30 ABORT TASK", f"30 {READ}"])


def test_a_command_that_was_aborted_once_is_not_aborted_again() -> None:
    end, steps, _ = climb(ScriptedTransport([NEVER, NEVER]))
    assert end == "GOOD"
    assert steps[2:] == [f"30 {READ}", "60 LOGICAL UNIT RESET", f"60 {TUR}", f"60 {READ}"]


def test_a_refused_abort_is_followed_by_a_reset_at_once() -> None:
    end, steps, _ = climb(ScriptedTransport([NEVER], [REFUSED]))
    assert end == "GOOD"
    assert steps == [f"0 {READ}", "30 ABORT TASK", "30 LOGICAL UNIT RESET", f"30 {TUR}", f"30 {READ}"]


def test_the_whole_ladder_without_any_answer() -> None:
    end, steps, state = climb(ScriptedTransport([NEVER], usual_management=NEVER))
    assert steps == [
        f"0 {READ}",
        "30 ABORT TASK",
        "45 LOGICAL UNIT RESET",
        "75 TARGET WARM RESET",
        "105 session drop",
        f"107 {TUR}",
        f"107 {READ}",
    ]
    assert (end, state) == ("GOOD", DeviceState.RUNNING)


def test_the_whole_ladder_of_a_target_that_refuses_everything() -> None:
    end, steps, _ = climb(ScriptedTransport([NEVER], usual_management=REFUSED))
    assert end == "GOOD"
    assert [step.split()[0] for step in steps] == ["0", "30", "30", "30", "30", "32", "32"]
    assert "30 TARGET WARM RESET" in steps
    assert "30 session drop" in steps


def test_a_session_that_does_not_come_back_takes_the_device_offline() -> None:
    end, steps, state = climb(ScriptedTransport([NEVER], usual_management=NEVER, comes_back=False))
    assert end == f"{READ} to LUN 1 was not answered in time: 3:0:0:1 is offline: " + (
        "not ready after error recovery"
    )
    assert steps[-1] == "105 session drop"
    assert state is DeviceState.OFFLINE


def test_it_waits_for_the_new_session_as_long_as_host_reset_timeout_says() -> None:
    async def main() -> None:
        transport = ScriptedTransport([NEVER], usual_management=NEVER, comes_back=False)
        (device,) = devices(transport, host_reset_timeout_s=60.0)
        with pytest.raises(CommandTimedOut):
            await ask(device)
        assert now() == pytest.approx(165, abs=0.5)

    virtual(main())


# -- as Linux does it ----------------------------------------------------------------------------------


def test_linux_drops_the_session_when_the_abort_is_not_answered() -> None:
    end, steps, _ = climb(ScriptedTransport([NEVER], [NEVER]), LINUX)
    assert end == "GOOD"
    assert steps[:3] == [f"0 {READ}", "30 ABORT TASK", "45 LOGICAL UNIT RESET"]
    # the script keeps its session: the real one is gone after 45 s, see test_error_ladder


def test_linux_gives_a_command_more_time_once_to_check_the_connection() -> None:
    settings = ErrorHandlingSettings(checks_connection=True)
    end, steps, _ = climb(ScriptedTransport([NEVER]), settings)
    assert (end, steps) == ("GOOD", [f"0 {READ}", "60 ABORT TASK", f"60 {READ}"])


def test_linux_does_not_abort_a_command_while_data_moves() -> None:
    async def main() -> None:
        transport = ScriptedTransport([NEVER])
        (device,) = devices(transport, checks_connection=True)
        asking = asyncio.ensure_future(ask(device))
        for _ in range(4):
            await asyncio.sleep(29)
            transport.sent[0][1].transfer_sn += 1
        await asking
        assert transport.times("ABORT TASK") == [180]  # the last piece at 116 s, looked at every 30 s

    virtual(main())


def test_nothing_is_aborted_without_a_session() -> None:
    async def main() -> None:
        transport = ScriptedTransport([NEVER])
        (device,) = devices(transport)
        loop = asyncio.get_running_loop()
        loop.call_later(10, transport.change, SessionState.FAILED)
        loop.call_later(100, transport.change, SessionState.LOGGED_IN)
        await ask(device)
        assert transport.times("ABORT TASK") == [120]
        assert device.iotmo_count == 4

    virtual(main())


# -- everybody waits -----------------------------------------------------------------------------------


def test_other_commands_go_on_while_one_is_aborted() -> None:
    async def main() -> None:
        transport = ScriptedTransport([NEVER], [NEVER])
        first, second = devices(transport, 2)
        stuck = asyncio.ensure_future(ask(first))
        await asyncio.sleep(40)
        begun = now()
        assert (await ask(second)).status == (await ask(first, 8)).status == Status.GOOD
        assert now() - begun < 0.1
        assert (await stuck).status == Status.GOOD

    virtual(main())


def test_commands_of_other_units_begin_when_the_ladder_is_over() -> None:
    async def main() -> None:
        transport = ScriptedTransport([NEVER], [REFUSED, NEVER])
        first, second = devices(transport, 2)
        stuck = asyncio.ensure_future(ask(first))
        await asyncio.sleep(31)
        assert first.handler.recovering
        begun = now()
        await ask(second)
        assert now() - begun == pytest.approx(29, abs=0.5)  # LOGICAL UNIT RESET takes 30 s from 30 s on
        assert (await stuck).status == Status.GOOD

    virtual(main())


def test_the_ladder_begins_when_everything_under_way_has_ended() -> None:
    async def main() -> None:
        transport = ScriptedTransport([NEVER], [REFUSED], latency_s=9.0)
        stuck, slow = devices(transport, 2)
        await asyncio.gather(ask(stuck), _later(25, slow))
        assert transport.times("ABORT TASK") == [30]
        assert transport.times("LOGICAL UNIT RESET") == [34]  # the other one ends at 25 + 9 s

    virtual(main())


async def _later(seconds: float, device: SCSIDevice) -> CommandTask:
    await asyncio.sleep(seconds)
    return await ask(device)


def test_many_timeouts_of_one_unit_are_one_ladder() -> None:
    async def main() -> None:
        transport = ScriptedTransport([NEVER] * 20, [REFUSED] * 20)
        (device,) = devices(transport)
        ended = await asyncio.gather(*(ask(device, lba) for lba in range(20)))
        assert [task.status for task in ended] == [Status.GOOD] * 20
        assert transport.names.count("ABORT TASK") == 20
        assert transport.names.count("LOGICAL UNIT RESET") == 1
        assert transport.names.count(TUR) == 1
        assert device.counters()["iotmo_cnt"] == 20

    virtual(main())


def test_each_unit_is_reset_by_itself() -> None:
    async def main() -> None:
        transport = ScriptedTransport([NEVER] * 3, [REFUSED] * 3)
        units = devices(transport, 3)
        await asyncio.gather(*map(ask, units))
        assert transport.names.count("LOGICAL UNIT RESET") == 3
        assert "TARGET WARM RESET" not in transport.names

    virtual(main())


def test_no_more_commands_than_the_session_takes_are_under_way_and_none_waits_for_a_timeout() -> None:
    async def main() -> None:
        transport = ScriptedTransport([NEVER] * 4)
        units = devices(transport, 8, commands_max=4)
        ended = await asyncio.gather(*(ask(unit, lba) for unit in units for lba in range(4)))
        assert [task.status for task in ended] == [Status.GOOD] * 32
        assert transport.most_under_way == 4
        assert sum(unit.iotmo_count for unit in units) == 4

    virtual(main())


# -- after a step --------------------------------------------------------------------------------------


def test_the_unit_attention_of_our_own_reset_is_passed() -> None:
    reset = Sense(SenseKey.UNIT_ATTENTION, 0x29, 0x03)
    end, steps, _ = climb(ScriptedTransport([NEVER, reset], [REFUSED]))
    assert end == "GOOD"
    assert steps[-3:] == [f"30 {TUR}", f"30 {TUR}", f"30 {READ}"]


def test_a_unit_that_speaks_nonsense_after_its_reset_brings_the_next_rung() -> None:
    for answer in (Status.CHECK_CONDITION, 0x55, RemoteProtocolError("nonsense")):
        end, steps, _ = climb(ScriptedTransport([NEVER, answer], [REFUSED]))
        assert end == "GOOD"
        assert "30 TARGET WARM RESET" in steps


def test_a_unit_that_hangs_after_its_reset_and_cannot_be_aborted_either() -> None:
    """``scsi_abort_eh_cmnd``: the handler's own command must not stay behind."""
    end, steps, _ = climb(ScriptedTransport([NEVER, NEVER], [REFUSED, COMPLETE, REFUSED, REFUSED, REFUSED]))
    assert end == "GOOD"
    assert [step for step in steps if READ not in step] == [
        "30 ABORT TASK",
        "30 LOGICAL UNIT RESET",
        f"30 {TUR}",
        "40 ABORT TASK",
        "40 LOGICAL UNIT RESET",
        "40 TARGET WARM RESET",
        "40 session drop",
        "42 TARGET WARM RESET",
        f"42 {TUR}",
    ]


@pytest.mark.parametrize(
    "answers",
    [
        [Status.BUSY, Status.BUSY],
        [Status.RESERVATION_CONFLICT],
        [Sense(SenseKey.NOT_READY, 0x04, 0x03)],
    ],
    ids=["busy", "reserved", "not ready"],
)
def test_a_unit_that_speaks_is_there(answers: list[Answer]) -> None:
    end, steps, _ = climb(ScriptedTransport([NEVER, *answers], [REFUSED]))
    assert end == "GOOD"
    assert "30 TARGET WARM RESET" not in steps


def test_a_unit_that_does_not_speak_after_its_reset_brings_the_next_rung() -> None:
    end, steps, _ = climb(ScriptedTransport([NEVER, NEVER], [REFUSED]))
    assert end == "GOOD"
    assert steps[2:] == [
        "30 LOGICAL UNIT RESET",
        f"30 {TUR}",
        "40 ABORT TASK",
        "40 TARGET WARM RESET",
        f"40 {TUR}",
        f"40 {READ}",
    ]


def test_a_unit_that_answers_all_but_reads_is_taken_offline() -> None:
    """``Medium access timeout failure. Offlining disk!``"""
    transport = ScriptedTransport()
    transport.answer = lambda task: NEVER if task.cdb[0] == cdb.read_10(0, 1)[0] else Status.GOOD
    end, steps, state = climb(transport)
    assert end.endswith("offline: medium access timeout failure")
    assert [step for step in steps if "RESET" in step] == ["60 LOGICAL UNIT RESET", "90 LOGICAL UNIT RESET"]
    assert state is DeviceState.OFFLINE


def asked_for(sense: bytes) -> Callable[[CommandTask], Answer | None]:
    """READs end with CHECK CONDITION once, without sense data; REQUEST SENSE brings ``sense``."""
    reads: list[CommandTask] = []

    def answer(task: CommandTask) -> Answer | None:
        if task.cdb[0] == cdb.request_sense()[0]:
            return sense
        reads.append(task)
        return Status.CHECK_CONDITION if len(reads) == 1 else None

    return answer


@pytest.mark.parametrize(
    "sense, end, steps",
    [
        (Sense(SenseKey.MEDIUM_ERROR, 0x11, 0).encode(), "CHECK_CONDITION", []),
        (Sense(SenseKey.RECOVERED_ERROR, 0x17, 1).encode(), "GOOD", []),
        (Sense(SenseKey.UNIT_ATTENTION, 0x29, 0).encode(), "GOOD", [READ]),
        (Sense(SenseKey.ABORTED_COMMAND, 0, 0).encode(), "GOOD", [READ]),
        (b"", "GOOD", ["LOGICAL UNIT RESET", TUR, READ]),
    ],
    ids=["error", "recovered", "attention", "aborted", "nothing"],
)
def test_check_condition_without_sense_data_is_asked_about(sense: bytes, end: str, steps: list[str]) -> None:
    transport = ScriptedTransport(answer=asked_for(sense))
    ended, log, _ = climb(transport)
    assert (ended, log) == (end, [f"0 {each}" for each in (READ, "REQUEST SENSE", *steps)])


def test_request_sense_that_is_refused_brings_a_reset() -> None:
    end, steps, _ = climb(ScriptedTransport([Status.CHECK_CONDITION, Status.BUSY]))
    assert end == "GOOD"
    assert steps[1:3] == ["0 REQUEST SENSE", "0 LOGICAL UNIT RESET"]


def test_a_status_nobody_knows_brings_a_reset() -> None:
    end, steps, _ = climb(ScriptedTransport([0x55]))
    assert (end, steps) == ("GOOD", [f"0 {READ}", "0 LOGICAL UNIT RESET", f"0 {TUR}", f"0 {READ}"])


# -- hostile targets -----------------------------------------------------------------------------------


def test_a_status_nobody_knows_does_not_go_on_for_ever() -> None:
    async def main() -> None:
        transport = ScriptedTransport()
        transport.answer = lambda task: 0x55 if task.cdb[0] == cdb.read_10(0, 1)[0] else None
        (device,) = devices(transport)
        assert (await ask(device)).status == 0x55
        assert transport.names.count(READ) == 6

    virtual(main())


@pytest.mark.parametrize("garbage", [77, RemoteProtocolError("garbage"), -1], ids=repr)
def test_garbage_for_a_function_is_a_refusal(garbage: Any) -> None:
    end, steps, state = climb(ScriptedTransport([NEVER], usual_management=garbage, comes_back=False))
    assert "offline" in end
    assert [step for step in steps if "RESET" in step] == ["30 LOGICAL UNIT RESET", "30 TARGET WARM RESET"]
    assert state is DeviceState.OFFLINE


def test_an_abort_of_a_task_that_is_not_there_is_no_abort() -> None:
    end, steps, _ = climb(ScriptedTransport([NEVER], [NOT_THERE]))
    assert end == "GOOD"
    assert "30 LOGICAL UNIT RESET" in steps


def test_a_command_that_ends_while_its_abort_is_scheduled_is_counted_once() -> None:
    async def main() -> None:
        transport = ScriptedTransport(latency_s=30.005)
        (device,) = devices(transport)
        asking = asyncio.ensure_future(ask(device))
        await asyncio.sleep(1)
        transport.latency_s = 0.0005
        await asking
        assert transport.names == [READ, READ]  # nothing was left to abort
        assert device.counters() == {
            "iorequest_cnt": 2,
            "iodone_cnt": 2,
            "ioerr_cnt": 0,
            "iotmo_cnt": 1,
        }

    virtual(main())


def test_cancelling_a_command_in_error_handling_lets_the_others_go() -> None:
    async def main() -> None:
        transport = ScriptedTransport([NEVER, NEVER], [REFUSED])
        first, second = devices(transport, 2)
        stuck = asyncio.ensure_future(ask(first))
        late = asyncio.ensure_future(_later(10, second))
        await asyncio.sleep(35)  # the first has failed and waits for the second
        assert first.handler.recovering
        stuck.cancel()
        await asyncio.sleep(0.001)
        assert not first.handler.recovering
        assert (await late).status == Status.GOOD

    virtual(main())


def test_cancelling_a_command_under_a_ladder_does_not_stop_the_ladder() -> None:
    async def main() -> None:
        transport = ScriptedTransport([NEVER, NEVER], [REFUSED, REFUSED, NEVER])
        (device,) = devices(transport)
        stuck, other = (asyncio.ensure_future(ask(device, lba)) for lba in (0, 8))
        await asyncio.sleep(40)
        stuck.cancel()
        assert (await other).status == Status.GOOD
        assert stuck.cancelled()
        assert device.in_flight == 0

    virtual(main())


def test_cancelling_a_command_while_it_is_aborted_leaves_nothing() -> None:
    async def main() -> None:
        transport = ScriptedTransport([NEVER], [NEVER])
        (device,) = devices(transport)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask(device), 35)
        await asyncio.sleep(0)
        assert (transport.under_way, device.in_flight) == ({}, 0)

    virtual(main())


def test_closing_under_a_ladder_lets_everybody_go() -> None:
    async def main() -> None:
        transport = ScriptedTransport([NEVER], [REFUSED, NEVER])
        (device,) = devices(transport)
        stuck = asyncio.ensure_future(ask(device))
        await asyncio.sleep(40)
        device.handler.close()
        await asyncio.sleep(1)
        assert transport.names[-1] == "session drop"  # the command was still there
        transport.change(SessionState.LOGGED_IN)
        device.look()
        assert (await stuck).status == Status.GOOD

    virtual(main())


# -- what is told --------------------------------------------------------------------------------------


def test_every_step_is_told_and_kept() -> None:
    async def main() -> None:
        transport = ScriptedTransport([NEVER], [REFUSED])
        (device,) = devices(transport)
        told: list[Any] = []
        device.handler.listeners.append(told.append)
        await ask(device)
        assert told == list(device.handler.steps)
        assert [str(step) for step in told] == [
            "   30.010 s  ABORT TASK for 3:0:0:1: function rejected",
            "   30.010 s  LOGICAL UNIT RESET for 3:0:0:1: function complete",
            "   30.010 s  TEST UNIT READY for 3:0:0:1: GOOD",
        ]

    virtual(main())


def test_a_closed_handler_listens_no_more() -> None:
    transport = ScriptedTransport()
    handler = ErrorHandler(transport)
    handler.close()
    handler.close()
    assert transport.listeners == []
