"""udev: some time after a disk has come it looks at it, and makes links under /dev/disk and /dev/mapper."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from iscsim.errors import ISCSIError
from iscsim.host.kernel import Action, Disk
from iscsim.host.tree import Entry, Link, Node
from iscsim.initiator.device_names import by_id_names, by_path_name
from iscsim.initiator.identity import identify
from iscsim.scsi.vpd import VPDPage

if TYPE_CHECKING:
    from iscsim.host.model import Host

__all__ = ["Udev"]

logger = logging.getLogger("iscsim.host")
_NO_LINK_OF_A_MAP = ("1", "S")


class Udev:
    """Looks at disks after ``udev_delay_s``; then ``listeners`` are told, with what happened to which disk.

    What it finds it asks the unit itself, not the kernel's copy, as scsi_id does.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._work: dict[asyncio.Task[None], None] = {}
        self.listeners: list[Callable[[Action, Disk], None]] = []
        self._links: dict[Disk, list[str]] = {}
        """Of each disk, in the order in which they came: of two that want one link the first has it."""
        host.kernel.listeners.append(self._hear)
        host.sources.append(self._entries)

    def _hear(self, action: Action, disk: Disk) -> None:
        if action == "remove":
            self._links.pop(disk, None)
            self._tell(action, disk)
            return
        task = asyncio.get_running_loop().create_task(self._look(action, disk))
        self._work[task] = None
        task.add_done_callback(self._work.pop)

    @property
    def busy(self) -> int:
        """How many disks it has still to look at."""
        return len(self._work)

    async def settle(self) -> None:
        """``udevadm settle``: wait until every disk has been looked at."""
        while self._work:
            await asyncio.wait(list(self._work))

    async def close(self) -> None:
        """Look at nothing more."""
        for task in list(self._work):
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)

    async def _look(self, action: Action, disk: Disk) -> None:
        if self._host.settings.udev_delay_s:
            await asyncio.sleep(self._host.settings.udev_delay_s)
        if not self._is_there(disk):
            return
        try:
            page_83 = await self._page(disk, VPDPage.DEVICE_IDENTIFICATION)
            page_80 = await self._page(disk, VPDPage.UNIT_SERIAL_NUMBER)
        except ISCSIError as error:
            logger.warning("udev: %s: %s", disk.name, error)
            return
        if not self._is_there(disk):
            return
        disk.properties = self._properties(disk, page_83, page_80)
        self._links[disk] = [self._by_path(disk), *_by_id(disk, page_83, page_80)]
        self._host.changed()
        self._tell(action, disk)

    def _is_there(self, disk: Disk) -> bool:
        """Whether it has not gone meanwhile; another may have its name."""
        return self._host.kernel.disks.get(disk.name) is disk

    async def _page(self, disk: Disk, page: VPDPage) -> bytes:
        """A page, empty when the unit has none. Raises SessionFailed."""
        if page not in disk.identity.pages:
            return b""
        return await disk.device.inquiry(disk.device, page)

    def _properties(self, disk: Disk, page_83: bytes, page_80: bytes) -> dict[str, str]:
        standard = disk.identity.standard
        serial = identify(page_83, page_80, vendor=standard.vendor, product=standard.product).scsi_id
        return {
            "DEVNAME": f"/dev/{disk.name}",
            "ID_SCSI": "1",
            "ID_VENDOR": standard.vendor,
            "ID_MODEL": standard.product,
            "ID_SERIAL": serial,
            "ID_SERIAL_SHORT": serial[1:],
            "ID_PATH": self._by_path(disk).rpartition("/")[2],
        }

    def _by_path(self, disk: Disk) -> str:
        session = disk.adapter.session
        assert session is not None
        return by_path_name(str(session.home), session.target_name, disk.hctl.lun)

    def _tell(self, action: Action, disk: Disk) -> None:
        for listener in list(self.listeners):
            listener(action, disk)

    # -- what there is to see ----------------------------------------------------------------------

    def _entries(self) -> Iterator[tuple[str, Entry]]:
        owners: dict[str, str] = {}
        maps = self._host.multipathd.maps.values()
        for device in maps:
            name = f"dm-{device.minor}"
            yield f"/dev/{name}", Node(name, DEVICE_MAPPER_MAJOR, device.minor or 0)
            yield f"/dev/mapper/{_mangled(device.alias)}", Link(f"../{name}")
            for link in (f"dm-name-{device.alias}", f"dm-uuid-mpath-{device.wwn}"):
                owners[f"/dev/disk/by-id/{_fit_for_a_link(link)}"] = name
            for disk in self._links:
                if any(path.name == disk.name for path in device.paths):
                    for link in self._links[disk][1:]:
                        if not link.rpartition("/scsi-")[2].startswith(_NO_LINK_OF_A_MAP):
                            owners.setdefault(link, name)
        for disk, links in self._links.items():
            for link in links:
                owners.setdefault(link, disk.name)
        for disk in self._host.kernel.disks.values():
            major, _, minor = disk.device_number.partition(":")
            yield f"/dev/{disk.name}", Node(disk.name, int(major), int(minor))
        for link, name in owners.items():
            yield link, Link(f"../../{name}")


DEVICE_MAPPER_MAJOR = 253


def _by_id(disk: Disk, page_83: bytes, page_80: bytes) -> list[str]:
    """The links of Debian's rules (sg3-utils), in which what a unit says of itself leads nowhere else."""
    standard = disk.identity.standard
    names = by_id_names(page_83, page_80, vendor=standard.vendor, product=standard.product)
    return [f"/dev/disk/by-id/{_fit_for_a_link(name)}" for name in names]


_NOT_IN_LINKS = re.compile(r"[^0-9A-Za-z#+\-.:=@_]")


def _fit_for_a_link(name: str) -> str:
    """As udev: what a unit says of itself names a file, and leads nowhere else."""
    return _NOT_IN_LINKS.sub("_", name)


def _mangled(alias: str) -> str:
    """The name of a map under /dev/mapper: libdevmapper writes what fits no name in hexadecimal."""
    return _NOT_IN_LINKS.sub(lambda found: f"\\x{ord(found[0]):02x}", alias)
