"""The error handling of a Linux host against a target that goes wrong, second by second on the wire."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import iscsim
from iscsim.capture import pcap_events
from iscsim.initiator.error_handling import ErrorHandler, ErrorHandlingSettings
from iscsim.initiator.recovering_session import RecoveringSession
from iscsim.initiator.scsi_device import HCTL, DeviceOffline, DeviceState, SCSIDevice
from iscsim.initiator.settings import NodeSettings
from iscsim.initiator.task import CommandTimedOut
from iscsim.lab import Lab
from iscsim.pdu import (
    LoginRequest,
    LogoutRequest,
    SCSICommand,
    TaskManagementFunction,
    TaskManagementRequest,
)
from iscsim.scsi.cdb import cdb_name
from iscsim.scsi.lun import decode_lun
from iscsim.scsi.sense import CommandFailed

PCAPS = Path(__file__).parents[2] / "pcaps"
READ, WRITE = "READ (10)", "WRITE (10)"
SILENT = {"none": True}
REFUSING = {"response": 255}
SEEDS = range(int(os.environ.get("ISCSIM_SEEDS", "10")))
Play = Callable[["World"], Awaitable[None]]


class World:
    """A lab, a session with its target and the devices on it; ``play`` runs in virtual time."""

    def __init__(self, lab: Lab, session: RecoveringSession, handler: ErrorHandler, luns: int) -> None:
        self.lab, self.session, self.handler = lab, session, handler
        self.devices = [SCSIDevice(session, HCTL(3, 0, 0, n), handler=handler) for n in range(1, luns + 1)]
        self.device = self.devices[0]

    def fault(self, name: str, **given: Any) -> Any:
        return self.lab.fault(name, **given)


def play(
    main: Play, *, luns: int = 1, linux: bool = False, seed: int = 0, pcap: Path | None = None, **given: Any
) -> World:
    """Log in, ask each device something, and let ``main`` go on; ``given`` are settings of the handler."""

    async def whole(lab: Lab) -> World:
        target = await lab.target(luns={number: "1M" for number in range(1, luns + 1)})
        async with await lab.host("compute").log_in(target) as session:
            make = ErrorHandlingSettings.like_linux if linux else ErrorHandlingSettings.of
            handler = ErrorHandler(session, make(NodeSettings(), **given))
            world = World(lab, session, handler, luns)
            for device in world.devices:
                await device.read(device, 0, 1)
            await main(world)
        return world

    return Lab.run(whole, seed=seed, pcap=pcap)


def seen(path: Path) -> list[str]:
    """What the initiator sent, but reads of data, with the second: ``"30 ABORT TASK 1"``."""
    names = []
    first: int | None = None
    for event in pcap_events(path):
        first = event.timestamp_ns if first is None else first
        name = _name(event.content) if event.from_client else ""
        if name:
            names.append(f"{(event.timestamp_ns - first) / 1e9:.0f} {name}")
    return names[names.index(f"0 {READ} 1") + 1 :]


def _name(pdu: object) -> str:
    match pdu:
        case TaskManagementRequest():
            return f"{TaskManagementFunction(pdu.function).name.replace('_', ' ')} {decode_lun(pdu.lun)}"
        case SCSICommand():
            return f"{cdb_name(pdu.cdb)} {decode_lun(pdu.lun)}"
        case LoginRequest():
            return "login"
        case LogoutRequest():
            return "logout"
    return ""


async def read(world: World) -> None:
    await world.device.read(world.device, 0, 8)


# -- the ladder on the wire ----------------------------------------------------------------------------


def stuck(times: int = 1, **management: Any) -> Play:
    """A READ that is not answered so often, with task management answered as ``management`` says."""

    async def main(world: World) -> None:
        world.fault("task.no_response", command=READ).first(times)
        if management:
            world.fault("task.abort_response", **management)
        await read(world)

    return main


@pytest.mark.parametrize(
    "main, steps",
    [
        (stuck(), ["0 R", "30 ABORT TASK 1", "30 R"]),
        (
            stuck(2),
            ["0 R", "30 ABORT TASK 1", "30 R", "60 LOGICAL UNIT RESET 1", "60 T", "60 T", "60 R"],
        ),
        (
            stuck(**REFUSING),
            [
                "0 R",
                "30 ABORT TASK 1",
                "30 LOGICAL UNIT RESET 1",
                "30 TARGET WARM RESET 0",
                "32 login",
                "32 T",
                "32 T",
                "32 R",
            ],
        ),
        (
            stuck(**SILENT),
            [
                "0 R",
                "30 ABORT TASK 1",
                "45 LOGICAL UNIT RESET 1",
                "75 TARGET WARM RESET 0",
                "107 login",
                "107 T",
                "107 T",
                "107 R",
            ],
        ),
    ],
    ids=["aborted", "reset", "everything refused", "nothing answered"],
)
def test_each_step_is_on_the_wire_at_its_second(main: Play, steps: list[str], tmp_path: Path) -> None:
    play(main, pcap=tmp_path / "ladder.pcapng")
    names = {"R": f"{READ} 1", "T": "TEST UNIT READY 1"}
    expected = [" ".join(names.get(word, word) for word in step.split(" ")) for step in steps]
    assert seen(tmp_path / "ladder.pcapng") == [*expected, f"{steps[-1].split()[0]} logout"]


@pytest.mark.parametrize("response", [1, 2, 3, 4, 5, 6, 7, 255])
def test_every_response_but_complete_is_a_refusal(response: int, tmp_path: Path) -> None:
    """5 and 6 are about the function, 7 is reserved (RFC 7143 section 11.6.1): nobody is aborted by any."""
    play(stuck(response=response), pcap=tmp_path / "refused.pcapng")
    assert [step.partition(" ")[2] for step in seen(tmp_path / "refused.pcapng")[1:5]] == [
        "ABORT TASK 1",
        "LOGICAL UNIT RESET 1",
        "TARGET WARM RESET 0",
        "login",
    ]


def test_linux_drops_the_session_when_nothing_is_answered(tmp_path: Path) -> None:
    world = play(stuck(**SILENT), linux=True, checks_connection=False, pcap=tmp_path / "linux.pcapng")
    assert seen(tmp_path / "linux.pcapng")[1:3] == ["30 ABORT TASK 1", "47 login"]
    outcomes = [(round(step.begun_at), step.action, step.outcome) for step in world.handler.steps]
    assert outcomes[1:4] == [
        (45, "LOGICAL UNIT RESET", "there is no session"),
        (45, "TARGET WARM RESET", "there is no session"),
        (45, "session drop", "logged in again"),
    ]


def test_linux_asks_the_connection_before_it_aborts(tmp_path: Path) -> None:
    play(stuck(), linux=True, pcap=tmp_path / "linux.pcapng")
    assert seen(tmp_path / "linux.pcapng")[1] == "60 ABORT TASK 1"


def test_the_times_are_those_of_the_settings(tmp_path: Path) -> None:
    seconds = {"command_timeout_s": 10.0, "abort_timeout_s": 5.0, "lu_reset_timeout_s": 7.0}
    play(stuck(**SILENT), **seconds, target_reset_timeout_s=8.0, pcap=tmp_path / "quick.pcapng")
    assert seen(tmp_path / "quick.pcapng")[1:5] == [
        "10 ABORT TASK 1",
        "15 LOGICAL UNIT RESET 1",
        "22 TARGET WARM RESET 0",
        "32 login",
    ]


def test_an_answer_that_comes_too_late_changes_nothing(tmp_path: Path) -> None:
    """ABORT TASK is answered after 20 s, when LOGICAL UNIT RESET is under way for 5 s."""
    play(stuck(late=20), pcap=tmp_path / "late.pcapng")
    assert seen(tmp_path / "late.pcapng")[1:4] == [
        "30 ABORT TASK 1",
        "45 LOGICAL UNIT RESET 1",
        "65 TEST UNIT READY 1",
    ]


def test_a_command_that_is_only_slow_is_not_touched(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        world.fault("task.delay", delay="29s", command=READ)
        await read(world)

    play(main, pcap=tmp_path / "slow.pcapng")
    assert seen(tmp_path / "slow.pcapng") == [f"0 {READ} 1", "29 logout"]


def test_eight_stuck_commands_are_one_ladder(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        world.fault("task.no_response", command=READ).first(8)
        world.fault("task.abort_response", response=255).first(8)
        await asyncio.gather(*(world.device.read(world.device, lba, 8) for lba in range(8)))

    play(main, pcap=tmp_path / "eight.pcapng")
    names = [step.partition(" ")[2] for step in seen(tmp_path / "eight.pcapng")]
    assert (names.count("ABORT TASK 1"), names.count("LOGICAL UNIT RESET 1")) == (8, 1)


def test_other_units_wait_for_the_ladder_and_for_nothing_before_it(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        first, second = world.devices
        world.fault("task.no_response", command=READ, lun=1).first(1)
        world.fault("task.abort_response", none=True).first(2)
        async with asyncio.TaskGroup() as group:
            group.create_task(first.read(first, 0, 8))
            await asyncio.sleep(35)  # ABORT TASK is under way
            await second.write(second, 0, bytes(512))
            await asyncio.sleep(15)  # so is LOGICAL UNIT RESET
            group.create_task(second.write(second, 0, bytes(512)))

    play(main, luns=2, pcap=tmp_path / "two.pcapng")
    steps = [step for step in seen(tmp_path / "two.pcapng") if step.endswith(" 2")]
    # the last is repeated: the target was reset, and the unit says so
    assert steps[-3:] == [f"35 {WRITE} 2", f"75 {WRITE} 2", f"75 {WRITE} 2"]


def test_a_session_that_is_lost_is_no_timeout() -> None:
    async def main(world: World) -> None:
        world.fault("tcp.reset").first(1)
        await read(world)
        assert world.device.iotmo_count == 0
        assert list(world.handler.steps) == []

    play(main)


# -- as Linux was recorded -----------------------------------------------------------------------------


def resets(path: Path) -> tuple[list[tuple[object, ...]], float]:
    """The resets of a capture, with the fields libiscsi fills in, and the seconds from there to a login."""
    found, last = [], 0
    for event in pcap_events(path):
        pdu = event.content
        if isinstance(pdu, TaskManagementRequest) and pdu.function != TaskManagementFunction.ABORT_TASK:
            lun = pdu.lun if pdu.function == TaskManagementFunction.TARGET_WARM_RESET else b""
            fields = (pdu.immediate, pdu.referenced_task_tag, pdu.ref_cmd_sn, pdu.exp_data_sn)
            found.append((TaskManagementFunction(pdu.function).name, lun, *fields))
            last = event.timestamp_ns
        elif isinstance(pdu, LoginRequest) and found:
            return found, (event.timestamp_ns - last) / 1e9
    raise AssertionError("no resets, or no login after them")


def test_resets_and_the_login_after_them_are_those_of_the_recording(tmp_path: Path) -> None:
    """sg_reset on Linux 6.1: LIO refuses TARGET WARM RESET, so the session is dropped: back after 2 s."""
    recording = PCAPS / "lio-chap-digests-reset-pr.pcap.gz"
    play(stuck(response=1), pcap=tmp_path / "ours.pcapng")
    (theirs, their_wait), (ours, our_wait) = resets(recording), resets(tmp_path / "ours.pcapng")
    assert [reset[0] for reset in theirs] == ["LOGICAL_UNIT_RESET", "TARGET_WARM_RESET"]
    assert ours == theirs
    assert our_wait == pytest.approx(their_wait, abs=0.5)


# -- the end of patience -------------------------------------------------------------------------------


def test_a_unit_that_answers_everything_but_reads_is_taken_offline() -> None:
    async def main(world: World) -> None:
        world.fault("task.no_response", command=READ)
        with pytest.raises(CommandTimedOut, match="medium access timeout failure"):
            await read(world)
        assert world.device.state is DeviceState.OFFLINE
        with pytest.raises(DeviceOffline):
            await read(world)
        world.lab.heal()
        world.device.set_running()
        await read(world)

    play(main)


def test_without_a_new_session_the_device_is_blocked_then_transport_offline_then_back() -> None:
    async def main(world: World) -> None:
        begun = world.lab.now
        world.fault("net.blackhole", portal=str(world.session.portal)).until(f"{begun + 300}s")
        states = {}
        for second in (5, 11, 131, 330):
            await asyncio.sleep(begun + second - world.lab.now)
            states[second] = str(world.device.state)
        assert states == {5: "running", 11: "blocked", 131: "transport-offline", 330: "running"}
        await read(world)

    play(main)


@pytest.mark.parametrize(
    "fault",
    ["task.busy", "task.task_set_full", "ua.luns_changed", "notready.becoming", "notready.transition"],
)
def test_a_target_that_never_means_it_is_given_up(fault: str) -> None:
    async def main(world: World) -> None:
        world.fault(fault, command=READ)
        begun = world.lab.now
        with pytest.raises(CommandFailed):
            await read(world)
        assert world.lab.now - begun < 4 * 6.5  # the verbs ask four times after a unit attention

    play(main, command_timeout_s=1.0)


# -- no byte is lost -----------------------------------------------------------------------------------


def pattern(number: int, blocks: int = 8) -> bytes:
    return b"".join(number.to_bytes(8, "big") + block.to_bytes(8, "big") * 63 for block in range(blocks))


async def write_and_verify(world: World, count: int = 64) -> None:
    """``count`` writes at once, each to its own place; all of them are there afterwards."""
    device = world.device
    writes = [device.write(device, number * 8, pattern(number)) for number in range(count)]
    await asyncio.gather(*writes)
    for number in range(count):
        assert bytes(await device.read(device, number * 8, 8)) == pattern(number)


@pytest.mark.parametrize("fault", ["task.busy", "task.task_set_full", "ua.power_on", "abort"])
def test_a_storm_of_64_writes_loses_none(fault: str) -> None:
    async def main(world: World) -> None:
        world.fault(fault, command=WRITE).first(300 if fault.startswith("task") else 64)
        await write_and_verify(world)

    play(main)


def test_a_write_that_was_done_and_not_answered_is_done_again_with_the_same_bytes() -> None:
    async def main(world: World) -> None:
        world.fault("task.no_response", command=WRITE, execute=True).first(5)
        await write_and_verify(world, 8)
        assert world.device.iotmo_count == 5

    play(main)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_goes_wrong_what_was_written_is_there(seed: int) -> None:
    async def main(world: World) -> None:
        for fault, share in (("task.busy", 0.2), ("abort", 0.1), ("ua.power_on", 0.1)):
            world.fault(fault, command=WRITE).with_probability(share)
        done = bool(seed % 2)  # what is not answered may have been executed
        world.fault("task.no_response", command=WRITE, execute=done).with_probability(0.02).may_not_fire()
        management: dict[str, Any] = (REFUSING, SILENT, {"late": 3})[seed % 3]
        world.fault("task.abort_response", **management).with_probability(0.5).may_not_fire()
        world.fault("tcp.reset").with_probability(0.002).may_not_fire()
        try:
            await write_and_verify(world)
        except (CommandTimedOut, iscsim.SessionFailed, DeviceOffline, CommandFailed):
            world.lab.heal()  # given up: loudly, and then nothing may be wrong but that
            world.device.set_running()
            assert await world.session.recovered()
            await write_and_verify(world)

    play(main, seed=seed)


def test_two_runs_of_a_seed_are_the_same() -> None:
    async def main(world: World) -> None:
        world.fault("task.busy", command=WRITE).with_probability(0.3)
        world.fault("task.no_response", command=WRITE).with_probability(0.02)
        await write_and_verify(world)

    assert play(main, seed=7).lab.trace.sha256 == play(main, seed=7).lab.trace.sha256
