"""The host's kernel: SCSI hosts, one a session, and their disks. What it once learnt of a disk it keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from iscsim.errors import ISCSIError, SCSIError
from iscsim.initiator.device_names import DiskNames, LowestFree
from iscsim.initiator.error_settings import ErrorHandlingSettings
from iscsim.initiator.multipath.path import device_number
from iscsim.initiator.scsi_host import SCSIHost

if TYPE_CHECKING:
    from iscsim.initiator.multipath import MultipathDevice
    from iscsim.initiator.recovering_session import RecoveringSession
    from iscsim.initiator.scsi_device import HCTL, SCSIDevice
    from iscsim.initiator.scsi_scan import UnitIdentity

__all__ = ["Action", "Disk", "Kernel", "Map", "SCSIAdapter"]

Action = Literal["add", "change", "remove"]
Listener = Callable[[Action, "Disk"], None]
SECTOR_SIZE = 512
"""What sysfs counts in, whatever the block size."""


@dataclass(slots=True, eq=False)
class SCSIAdapter:
    """SCSI host ``number`` of session ``sid``. Before the login is through it has neither of the last two."""

    number: int
    sid: int
    session: RecoveringSession | None = None
    scsi_host: SCSIHost | None = None


@dataclass(slots=True, eq=False)
class Disk:
    """A disk as the kernel has it; asked for its blocks it is what `iscsim.host.nbd` exports."""

    device: SCSIDevice
    adapter: SCSIAdapter
    name: str
    """``"sda"``."""
    open_count: int = 0
    """By whom else than a multipath map it is open."""
    properties: dict[str, str] = field(default_factory=dict)
    """What udev knows of it; empty before udev has looked."""

    @property
    def hctl(self) -> HCTL:
        """Host, channel, target and LUN."""
        return self.device.hctl

    last_identity: UnitIdentity | None = None
    """Once it is gone: what it was believed to be."""

    @property
    def identity(self) -> UnitIdentity:
        """What the kernel believes it is."""
        if self.last_identity is not None:
            return self.last_identity
        assert self.adapter.scsi_host is not None
        return self.adapter.scsi_host.kernel_identity(self.hctl)

    @property
    def size(self) -> int:
        """In bytes; 0 without a medium."""
        capacity = self.identity.capacity
        return capacity.blocks * capacity.block_size if capacity else 0

    @property
    def block_size(self) -> int:
        """In bytes."""
        capacity = self.identity.capacity
        return capacity.block_size if capacity else SECTOR_SIZE

    @property
    def read_only(self) -> bool:
        """Whether the unit is write protected."""
        return self.identity.write_protected

    @property
    def device_number(self) -> str:
        """``"8:16"``."""
        return device_number(self.name)

    async def read(self, lba: int, blocks: int) -> bytes | bytearray | memoryview:
        """``blocks`` blocks from ``lba`` on. Raises ISCSIError."""
        return await self.device.read(self.device, lba, blocks)

    async def write(self, lba: int, data: bytes) -> None:
        """Write whole blocks. Raises ISCSIError."""
        await self.device.write(self.device, lba, data)

    async def flush(self) -> None:
        """Have everything written go to the medium. Raises ISCSIError."""
        await self.device.flush(self.device)


@dataclass(frozen=True, slots=True)
class Map:
    """A multipath map, asked for its blocks."""

    device: MultipathDevice

    @property
    def size(self) -> int:
        """In bytes."""
        return self.device.size

    @property
    def block_size(self) -> int:
        """In bytes."""
        return self.device.block_size

    @property
    def read_only(self) -> bool:
        """Whether the unit is write protected."""
        return self.device.unit.read_only

    async def read(self, lba: int, blocks: int) -> bytes | bytearray | memoryview:
        """``blocks`` blocks from ``lba`` on. Raises ISCSIError."""
        return await self.device.read(lba, blocks)

    async def write(self, lba: int, data: bytes) -> None:
        """Write whole blocks. Raises ISCSIError."""
        await self.device.write(lba, data)

    async def flush(self) -> None:
        """Have everything written go to the medium. Raises ISCSIError."""
        await self.device.flush()


class Kernel:
    """SCSI hosts and disks. ``changed`` is called when there is something else to see; ``listeners`` are told
    of each disk that comes, changes or goes, as udev is."""

    def __init__(self, changed: Callable[[], None], *, first_scsi_host: int = 0) -> None:
        self._changed = changed
        self._numbers = LowestFree(first_scsi_host)
        self.names = DiskNames()
        self.adapters: dict[int, SCSIAdapter] = {}
        """By number."""
        self.disks: dict[str, Disk] = {}
        """By name, in the order in which they came."""
        self.listeners: list[Listener] = []

    # -- sessions ----------------------------------------------------------------------------------

    def add_adapter(self, sid: int) -> SCSIAdapter:
        """A SCSI host for a session that is being made."""
        number = self._numbers.take()
        self.adapters[number] = SCSIAdapter(number, sid)
        self._changed()
        return self.adapters[number]

    def connect(self, adapter: SCSIAdapter, session: RecoveringSession) -> None:
        """The login of ``adapter`` is through."""
        adapter.session = session
        adapter.scsi_host = SCSIHost(
            adapter.number,
            session,
            names=self.names,
            settings=ErrorHandlingSettings.like_linux(session.settings),
            queue_depth=session.settings.queue_depth,
        )
        self._changed()

    async def remove_adapter(self, adapter: SCSIAdapter) -> None:
        """The session goes: first its disks, as long as it can still be talked to."""
        for disk in [disk for disk in self.disks.values() if disk.adapter is adapter]:
            await self.delete(disk)
        if adapter.scsi_host is not None:
            await adapter.scsi_host.close()
        del self.adapters[adapter.number]
        self._numbers.give_back(adapter.number)
        self._changed()

    # -- disks -------------------------------------------------------------------------------------

    async def scan(
        self,
        number: int,
        channel: int | Literal["-"] = "-",
        target: int | Literal["-"] = "-",
        lun: int | Literal["-"] = "-",
    ) -> list[Disk]:
        """``echo "- - -" > /sys/class/scsi_host/hostN/scan``: the disks that were added.

        Raises KeyError when there is no such SCSI host, SessionFailed when its session ended meanwhile.
        """
        adapter = self.adapters[number]
        if adapter.scsi_host is None:
            return []
        added = await adapter.scsi_host.scan(channel, target, lun)
        return self._add_disks(adapter, added)

    async def rescan_session(self, adapter: SCSIAdapter) -> list[Disk]:
        """``iscsiadm --rescan``: every device is asked again, then the target is scanned.

        Raises SessionFailed when the session ended meanwhile.
        """
        if adapter.scsi_host is None:
            return []
        before = {disk: disk.identity for disk in self.disks.values() if disk.adapter is adapter}
        added = await adapter.scsi_host.rescan_all()
        for disk, identity in before.items():
            if disk.name in self.disks and disk.identity != identity:
                self._tell("change", disk)
        return self._add_disks(adapter, added)

    def _add_disks(self, adapter: SCSIAdapter, added: list[SCSIDevice]) -> list[Disk]:
        disks = [Disk(device, adapter, device.name) for device in added if device.name]
        for disk in disks:
            self.disks[disk.name] = disk
            self._tell("add", disk)
        self._changed()
        return disks

    async def rescan(self, disk: Disk) -> None:
        """``echo 1 > /sys/block/sda/device/rescan``. Raises SessionFailed when the session is gone."""
        assert disk.adapter.scsi_host is not None
        await disk.adapter.scsi_host.rescan(disk.hctl)
        self._tell("change", disk)
        self._changed()

    async def delete(self, disk: Disk) -> None:
        """``echo 1 > /sys/block/sda/device/delete``."""
        if self.disks.pop(disk.name, None) is None:
            return
        assert disk.adapter.scsi_host is not None
        disk.last_identity = disk.identity  # who still has it may ask
        await disk.adapter.scsi_host.delete(disk.hctl)
        self._tell("remove", disk)
        self._changed()

    def _tell(self, action: Action, disk: Disk) -> None:
        for listener in list(self.listeners):
            listener(action, disk)

    # -- finding -----------------------------------------------------------------------------------

    def find(self, hctl: HCTL) -> Disk | None:
        """The disk at that place."""
        return next((disk for disk in self.disks.values() if disk.hctl == hctl), None)

    def disks_of(self, adapter: SCSIAdapter) -> Iterator[Disk]:
        """The disks of one SCSI host."""
        return (disk for disk in self.disks.values() if disk.adapter is adapter)

    async def differences(self) -> list[str]:
        """A line for everything in which the kernel is wrong about a disk: kernel truth and fabric truth."""
        found = []
        for disk in list(self.disks.values()):
            assert disk.adapter.scsi_host is not None
            try:
                found += await disk.adapter.scsi_host.differences(disk.hctl)
            except (ISCSIError, SCSIError) as error:
                found.append(f"{disk.name} ({disk.hctl}): cannot be asked: {error}")
        return found
