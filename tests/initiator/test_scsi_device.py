"""A disk of the emulated Linux host, over a transport with a script."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from initiator.transports import NEVER, Answer, ScriptedTransport, now, virtual

from iscsim.errors import ISCSIError, LocalProtocolError
from iscsim.initiator.disposition import DeviceEventKind
from iscsim.initiator.error_handling import ErrorHandler, ErrorHandlingSettings
from iscsim.initiator.scsi_device import (
    HCTL,
    DeviceEvent,
    DeviceOffline,
    DeviceState,
    DeviceStateChanged,
    SCSIDevice,
)
from iscsim.initiator.session_state import SessionState, TransportDisrupted, TransportFailed
from iscsim.initiator.task import CommandTask, TargetFailure
from iscsim.scsi import cdb
from iscsim.scsi.sense import CommandFailed, Sense, SenseKey
from iscsim.scsi.status import Status

READ, WRITE = cdb.read_10(0, 8), cdb.write_10(0, 8)
UNIT_ATTENTION = Sense(SenseKey.UNIT_ATTENTION, 0x29, 0)
HERE = HCTL(3, 0, 0, 1)


def ask(device: SCSIDevice, command: bytes = READ, data: bytes = b"") -> Coroutine[Any, Any, CommandTask]:
    length = 4096 if command[0] == READ[0] else 0
    return device.run(CommandTask(device.lun, command, data_out=data, data_in_length=length))


def play(*answers: Answer, command: bytes = READ, **settings: Any) -> tuple[int, int, float]:
    """The status of one command, how often it was sent, and after how many seconds it ended."""

    async def main() -> tuple[int, int, float]:
        transport = ScriptedTransport(list(answers))
        device = SCSIDevice(transport, HERE, settings=ErrorHandlingSettings(**settings))
        task = await ask(device, command)
        return task.status, len(transport.sent), round(now(), 3)

    return virtual(main())


# -- what is repeated ----------------------------------------------------------------------------------


def test_good_is_good() -> None:
    assert play(Status.GOOD)[:2] == (Status.GOOD, 1)


def test_recovered_data_is_good_data() -> None:
    assert play(Sense(SenseKey.RECOVERED_ERROR, 0x17, 1))[:2] == (Status.GOOD, 1)


@pytest.mark.parametrize(
    "sense",
    [
        UNIT_ATTENTION,
        Sense(SenseKey.NOT_READY, 0x04, 0x01),
        Sense(SenseKey.NOT_READY, 0x04, 0x07),
        Sense(SenseKey.ABORTED_COMMAND, 0, 0),
        Sense(SenseKey.MEDIUM_ERROR, 0x0C, 0),
        Sense(SenseKey.NO_SENSE, 0, 0),
        Sense(SenseKey.ILLEGAL_REQUEST, 0x24, 0, deferred=True),
    ],
    ids=str,
)
def test_what_may_pass_is_repeated(sense: Sense) -> None:
    status, sent, seconds = play(sense)
    assert (status, sent) == (Status.GOOD, 2)
    assert seconds < 0.1


@pytest.mark.parametrize(
    "sense",
    [
        Sense(SenseKey.MEDIUM_ERROR, 0x11, 0),
        Sense(SenseKey.HARDWARE_ERROR, 0x44, 0),
        Sense(SenseKey.ILLEGAL_REQUEST, 0x21, 0),
        Sense(SenseKey.NOT_READY, 0x04, 0x0B),
        Sense(SenseKey.DATA_PROTECT, 0x27, 7),
        Sense(SenseKey.MISCOMPARE, 0x1D, 0),
        Sense(SenseKey.ABORTED_COMMAND, 0x10, 1),
        Sense(SenseKey.COMPLETED, 0, 0),
        Sense(SenseKey.VOLUME_OVERFLOW, 0, 0),
    ],
    ids=str,
)
def test_what_will_not_pass_is_not_repeated(sense: Sense) -> None:
    assert play(sense)[:2] == (Status.CHECK_CONDITION, 1)


def test_a_reservation_conflict_is_not_repeated() -> None:
    assert play(Status.RESERVATION_CONFLICT)[:2] == (Status.RESERVATION_CONFLICT, 1)


def test_an_auto_contingent_allegiance_is_not_waited_for() -> None:
    assert play(Status.ACA_ACTIVE)[:2] == (Status.ACA_ACTIVE, 1)


def test_task_aborted_is_repeated_five_times() -> None:
    assert play(*[Status.TASK_ABORTED] * 9)[:2] == (Status.TASK_ABORTED, 6)


def test_an_aborted_command_is_repeated_five_times() -> None:
    assert play(*[Sense(SenseKey.ABORTED_COMMAND, 0, 0)] * 9)[:2] == (Status.CHECK_CONDITION, 6)


def test_a_command_that_is_passed_through_sees_its_check_condition() -> None:
    for sense in (UNIT_ATTENTION, Sense(SenseKey.ABORTED_COMMAND, 0, 0)):
        assert play(sense, command=cdb.read_capacity_10())[:2] == (Status.CHECK_CONDITION, 1)


def test_a_command_that_is_passed_through_waits_while_the_unit_is_busy() -> None:
    assert play(Status.BUSY, command=cdb.inquiry())[:2] == (Status.GOOD, 2)


def test_an_access_state_transition_is_waited_for_second_by_second() -> None:
    status, sent, seconds = play(*[Sense(SenseKey.NOT_READY, 0x04, 0x0A)] * 5)
    assert (status, sent) == (Status.GOOD, 6)
    assert seconds == pytest.approx(5, abs=0.1)


def test_busy_does_not_use_up_retries() -> None:
    assert play(*[Status.BUSY] * 100)[:2] == (Status.GOOD, 101)


@pytest.mark.parametrize(
    "answer",
    [Status.BUSY, UNIT_ATTENTION, Sense(SenseKey.NOT_READY, 4, 1), Sense(SenseKey.NOT_READY, 4, 0x0A)],
    ids=str,
)
def test_what_never_ends_is_given_up_after_six_timeouts(answer: Answer) -> None:
    """A hostile target: 180 s with Linux's numbers, 6 with these."""

    async def main() -> None:
        transport = ScriptedTransport(usual=answer)
        device = SCSIDevice(transport, HERE, settings=ErrorHandlingSettings(command_timeout_s=1.0))
        with pytest.raises(CommandFailed, match=r"READ \(10\) to LUN 1 ended with"):
            await ask(device)
        assert now() == pytest.approx(6, abs=1.1)

    virtual(main())


def test_the_verbs_say_what_it_was() -> None:
    async def main() -> None:
        device = SCSIDevice(ScriptedTransport([Status.RESERVATION_CONFLICT]), HERE)
        device._block_sizes[device.lun] = 512
        with pytest.raises(CommandFailed, match="RESERVATION CONFLICT"):
            await device.write(device, 0, bytes(512))

    virtual(main())


# -- the transport ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [TransportDisrupted("gone"), TargetFailure("response 1")], ids=repr)
def test_what_the_transport_lost_is_sent_again(error: ISCSIError) -> None:
    assert play(error, error)[:2] == (Status.GOOD, 3)


def test_it_is_not_sent_again_for_ever() -> None:
    with pytest.raises(TransportDisrupted, match="gone"):
        play(*[TransportDisrupted("gone")] * 6)


def test_without_a_session_nothing_is_repeated() -> None:
    with pytest.raises(TransportFailed, match="for long"):
        play(TransportFailed("for long"))


def test_a_retried_write_sends_the_same_bytes() -> None:
    async def main() -> None:
        transport = ScriptedTransport([Status.BUSY, UNIT_ATTENTION, TransportDisrupted("gone"), NEVER])
        device = SCSIDevice(transport, HERE)
        data = bytes(range(256)) * 16
        task = await ask(device, WRITE, data)
        assert task.status == Status.GOOD
        assert [bytes(each.data_out) for _, each in transport.sent] == [data] * 5
        assert {each.cdb for _, each in transport.sent} == {WRITE}

    virtual(main())


def test_commands_wait_while_the_session_is_failed() -> None:
    async def main() -> None:
        transport = ScriptedTransport()
        device = SCSIDevice(transport, HERE)
        transport.change(SessionState.FAILED)
        assert device.state is DeviceState.BLOCKED
        asyncio.get_running_loop().call_later(50, transport.change, SessionState.LOGGED_IN)
        await ask(device)
        assert now() == pytest.approx(50, abs=0.01)
        assert device.state is DeviceState.RUNNING
        assert device.iotmo_count == 0

    virtual(main())


def test_commands_fail_when_the_session_did_not_come_back_and_work_when_it_does() -> None:
    async def main() -> None:
        transport = ScriptedTransport()
        device = SCSIDevice(transport, HERE)
        transport.change(SessionState.FAILED)
        asyncio.get_running_loop().call_later(120, transport.change, SessionState.FREE)
        with pytest.raises(DeviceOffline, match="transport-offline: the session is gone"):
            await ask(device)
        assert now() == 120
        transport.change(SessionState.LOGGED_IN)
        assert (await ask(device)).status == Status.GOOD

    virtual(main())


# -- queue depth -----------------------------------------------------------------------------------------


def test_no_more_commands_than_the_queue_depth_are_under_way() -> None:
    async def main() -> None:
        transport = ScriptedTransport(latency_s=1.0)
        device = SCSIDevice(transport, HERE, queue_depth=4)
        await asyncio.gather(*(ask(device) for _ in range(10)))
        assert transport.most_under_way == 4
        assert now() == 3

    virtual(main())


@pytest.mark.parametrize("status", [Status.BUSY, Status.TASK_SET_FULL])
def test_a_storm_of_64_commands_loses_none(status: Status) -> None:
    async def main() -> None:
        transport = ScriptedTransport()
        rounds: dict[bytes, int] = {}

        def answer(task: CommandTask) -> Answer:
            rounds[task.cdb] = rounds.get(task.cdb, 0) + 1
            return status if rounds[task.cdb] <= 20 else Status.GOOD

        transport.answer = answer
        device = SCSIDevice(transport, HERE)
        blocks = {number: bytes((number,)) * 512 for number in range(64)}
        tasks = await asyncio.gather(
            *(ask(device, cdb.write_10(number, 1), data) for number, data in blocks.items())
        )
        assert [task.status for task in tasks] == [Status.GOOD] * 64
        assert set(rounds.values()) == {21}
        assert all(bytes(task.data_out) == blocks[task.cdb[5]] for _, task in transport.sent)
        assert device.counters()["iodone_cnt"] == device.counters()["iorequest_cnt"] == 64 * 21

    virtual(main())


def test_task_set_full_lowers_the_depth_of_every_device_of_the_target() -> None:
    async def main() -> None:
        transport = ScriptedTransport()
        handler = ErrorHandler(transport)
        first, second = (SCSIDevice(transport, HCTL(3, 0, 0, n), handler=handler) for n in (1, 2))
        for _ in range(12):
            transport.answers = [Status.TASK_SET_FULL]
            await ask(first)
            await asyncio.sleep(0.1)
        assert (first.queue_depth, second.queue_depth) == (31, 31)
        await asyncio.sleep(120)
        await ask(second)
        assert (first.queue_depth, second.queue_depth) == (32, 32)

    virtual(main())


# -- what it is --------------------------------------------------------------------------------------------


def test_it_is_known_by_host_channel_target_and_lun() -> None:
    device = SCSIDevice(ScriptedTransport(), HERE, name="sda")
    assert (str(device.hctl), device.label) == ("3:0:0:1", "3:0:0:1 (sda)")
    assert device.lun == bytes.fromhex("0001000000000000")


def test_the_lun_may_be_written_as_the_target_writes_it() -> None:
    flat = bytes.fromhex("4001000000000000")
    assert SCSIDevice(ScriptedTransport(), HCTL(3, 0, 0, 16385), flat).lun == flat


def test_no_other_unit_can_be_asked_through_it() -> None:
    async def main() -> None:
        device = SCSIDevice(ScriptedTransport(), HERE)
        with pytest.raises(LocalProtocolError, match="LUN 2 is not for 3:0:0:1"):
            await device.inquiry(2)

    virtual(main())


def test_counters_are_those_of_sysfs() -> None:
    async def main() -> None:
        device = SCSIDevice(ScriptedTransport([UNIT_ATTENTION, Status.BUSY, NEVER]), HERE)
        await ask(device)
        assert device.counters() == {
            "iorequest_cnt": 4,
            "iodone_cnt": 4,
            "ioerr_cnt": 2,
            "iotmo_cnt": 1,
        }

    virtual(main())


@pytest.mark.parametrize("kind", list(DeviceEventKind))
def test_unit_attentions_are_told(kind: DeviceEventKind) -> None:
    from iscsim.initiator.disposition import UNIT_ATTENTION_EVENTS

    async def main() -> None:
        asc, ascq = next(code for code, each in UNIT_ATTENTION_EVENTS.items() if each is kind)
        device = SCSIDevice(ScriptedTransport([Sense(SenseKey.UNIT_ATTENTION, asc, ascq or 0)]), HERE)
        told: list[object] = []
        device.listeners.append(told.append)
        await ask(device)
        assert told == [DeviceEvent(device, kind)]

    virtual(main())


def test_another_unit_attention_than_that_of_our_reset_is_no_echo() -> None:
    async def main() -> None:
        device = SCSIDevice(ScriptedTransport([Sense(SenseKey.UNIT_ATTENTION, 0x28, 0), Status.BUSY]), HERE)
        device.expecting_unit_attention = True
        await ask(device)
        assert device.expecting_unit_attention
        device.transport.answers = [Sense(SenseKey.MEDIUM_ERROR, 0x11, 0)]  # type: ignore[attr-defined]
        await ask(device)
        assert device.expecting_unit_attention

    virtual(main())


def test_it_says_what_it_is() -> None:
    assert repr(SCSIDevice(ScriptedTransport(), HERE, name="sdb")) == "SCSIDevice(3:0:0:1 (sdb), running)"


# -- states ------------------------------------------------------------------------------------------------


def test_an_offline_device_fails_commands_until_it_is_set_running() -> None:
    async def main() -> None:
        device = SCSIDevice(ScriptedTransport(), HERE, name="sda")
        told: list[object] = []
        device.listeners.append(told.append)
        device.take_offline("for a test")
        with pytest.raises(DeviceOffline, match=r"3:0:0:1 \(sda\) is offline: for a test"):
            await ask(device)
        device.set_running()
        assert (await ask(device)).status == Status.GOOD
        states = [event.state for event in told if isinstance(event, DeviceStateChanged)]
        assert states == [DeviceState.OFFLINE, DeviceState.RUNNING]
        assert device.counters()["iorequest_cnt"] == 1

    virtual(main())


def test_a_deleted_device_fails_what_waits_and_stays_deleted() -> None:
    async def main() -> None:
        transport = ScriptedTransport(latency_s=1.0)
        device = SCSIDevice(transport, HERE, queue_depth=1)
        first, second = asyncio.gather(ask(device)), asyncio.gather(ask(device))
        await asyncio.sleep(0.5)
        device.delete()
        device.delete()
        device.set_running()
        assert (await first)[0].status == Status.GOOD
        with pytest.raises(DeviceOffline, match="deleted"):
            await second
        assert (device.state, device.handler.devices) == (DeviceState.DELETED, [])

    virtual(main())


def test_a_device_without_a_host_takes_its_handler_with_it() -> None:
    transport = ScriptedTransport()
    device = SCSIDevice(transport, HERE)
    device.delete()
    device.take_offline("too late")
    assert transport.listeners == []
    assert device.state is DeviceState.DELETED


def test_cancelling_ends_the_command() -> None:
    async def main() -> None:
        transport = ScriptedTransport([NEVER])
        device = SCSIDevice(transport, HERE)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask(device), 3)
        await asyncio.sleep(0)
        assert (transport.under_way, device.in_flight) == ({}, 0)
        assert (await ask(device)).status == Status.GOOD

    virtual(main())
