"""What is known of a command over its attempts."""

from initiator.transports import ScriptedTransport, virtual

from iscsim.initiator.scsi_command import SCSICommandState
from iscsim.initiator.scsi_device import HCTL, SCSIDevice
from iscsim.initiator.task import CommandTask
from iscsim.scsi import cdb


def make(command: bytes = cdb.write_10(0, 1), data: bytes = b"") -> SCSICommandState:
    device = SCSIDevice(ScriptedTransport(), HCTL(3, 0, 0, 1))
    return SCSICommandState(device, CommandTask(device.lun, command, data_out=data), 30.0, 100.0)


def test_five_retries_are_allowed() -> None:
    command = make()
    assert [command.take_retry() for _ in range(6)] == [True] * 5 + [False]


def test_it_is_overdue_after_six_timeouts() -> None:
    command = make()
    assert not command.is_overdue(100 + 180)
    assert command.is_overdue(100 + 180.1)


def test_the_next_attempt_has_the_same_bytes() -> None:
    data = bytes(range(256)) * 2
    command = make(data=data)
    first = command.task
    command.begin_again()
    assert command.task is not first
    assert (command.task.cdb, command.task.data_out) == (first.cdb, data)


def test_data_that_moves_is_progress() -> None:
    async def main() -> None:
        command = make()
        assert not command.has_progressed()
        command.task.transfer_sn = 3
        assert command.has_progressed()
        assert not command.has_progressed()

    virtual(main())


def test_only_what_sd_sends_is_a_block_command() -> None:
    assert make().is_block_command
    assert not make(cdb.inquiry()).is_block_command
