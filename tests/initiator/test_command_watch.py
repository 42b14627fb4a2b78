"""Deadlines of many commands, kept by one timer."""

import asyncio

from initiator.transports import ScriptedTransport, now, virtual

from iscsim.initiator.command_watch import CommandWatch
from iscsim.initiator.scsi_command import SCSICommandState
from iscsim.initiator.scsi_device import HCTL, SCSIDevice
from iscsim.initiator.task import CommandTask
from iscsim.scsi import cdb


class Watched:
    """A watch, and when which command was overdue."""

    def __init__(self, *more_time: str) -> None:
        self.device = SCSIDevice(ScriptedTransport(), HCTL(3, 0, 0, 1))
        self.names: dict[SCSICommandState, str] = {}
        self.log: list[tuple[str, float]] = []
        self.more_time = list(more_time)
        self.watch = CommandWatch(self._overdue)

    def add(self, name: str, timeout_s: float) -> SCSICommandState:
        task = CommandTask(self.device.lun, cdb.read_10(0, 1))
        command = SCSICommandState(self.device, task, timeout_s, now())
        self.names[command] = name
        self.watch.add(command)
        return command

    def _overdue(self, command: SCSICommandState) -> bool:
        name = self.names[command]
        self.log.append((name, now()))
        if name not in self.more_time:
            return False
        self.more_time.remove(name)
        return True


def test_each_command_has_its_own_time() -> None:
    async def main() -> None:
        watched = Watched()
        watched.add("slow", 60)
        watched.add("quick", 30)
        await asyncio.sleep(10)
        watched.add("late", 30)
        await asyncio.sleep(100)
        assert watched.log == [("quick", 30), ("late", 40), ("slow", 60)]

    virtual(main())


def test_who_has_ended_is_not_overdue() -> None:
    async def main() -> None:
        watched = Watched()
        watched.watch.remove(watched.add("done", 30))
        await asyncio.sleep(100)
        assert watched.log == []
        watched.add("next", 30)
        await asyncio.sleep(100)
        assert watched.log == [("next", 130)]

    virtual(main())


def test_more_time_is_as_much_again() -> None:
    async def main() -> None:
        watched = Watched("a", "a")
        watched.add("a", 30)
        await asyncio.sleep(500)
        assert watched.log == [("a", 30), ("a", 60), ("a", 90)]

    virtual(main())
