"""multipathd on the host: takes the disks udev has looked at as paths, as ``find_multipaths`` has it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from iscsim.errors import ConfigError, ISCSIError
from iscsim.host.kernel import Action, Disk
from iscsim.initiator.device_names import letters
from iscsim.initiator.multipath import MultipathDaemon, MultipathDevice, Path
from iscsim.initiator.multipath.checkers import check_path
from iscsim.initiator.multipath.hardware import FAST_IO_FAIL_S, is_blacklisted, settings_for
from iscsim.initiator.scan import LogicalUnitInfo

if TYPE_CHECKING:
    from iscsim.host.model import Host

__all__ = ["WWIDS", "Multipathd"]

logger = logging.getLogger("iscsim.host")
WWIDS = "/etc/multipath/wwids"
_WWIDS_HEAD = b"# Multipath wwids, Version : 1.0\n# Valid WWIDs:\n"
_KNOWN_ONLY = "strict"
_ALWAYS = ("no", "off", "greedy")


class Multipathd:
    """The maps of the host. They are the kernel's: they stay when the daemon does not run.

    ``paths`` are the disks it watches, those without a map too.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        settings = host.settings
        overrides = {"no_path_retry": "queue"} if settings.queue_if_no_path else {}
        self.daemon = MultipathDaemon(release=settings.multipath_tools_version, overrides=overrides)
        self.daemon.listeners.append(lambda device: host.changed())
        self.paths: dict[str, Path] = {}
        """By the disk's name."""
        self.running = settings.multipathd_running
        self._work: dict[asyncio.Task[None], None] = {}
        self._turn = asyncio.Lock()  # one event at a time, as the daemon's uevent thread takes them
        self._aliases = 0
        host.udev.listeners.append(self._hear)

    @property
    def maps(self) -> dict[str, MultipathDevice]:
        """By WWN."""
        return self.daemon.maps

    # -- disks that come and go --------------------------------------------------------------------

    def _hear(self, action: Action, disk: Disk) -> None:
        if action == "remove":
            if not self._host.settings.multipathd_misses_removals:
                self._forget(disk.name)
        elif self.running:
            task = asyncio.get_running_loop().create_task(self._consider(disk))
            self._work[task] = None
            task.add_done_callback(self._work.pop)

    @property
    def busy(self) -> int:
        """How many disks it has still to consider."""
        return len(self._work)

    async def settle(self) -> None:
        """Wait until every disk udev has told of has been considered."""
        while self._work:
            await asyncio.wait(list(self._work))

    async def _consider(self, disk: Disk) -> None:
        if self._host.settings.multipathd_delay_s:
            await asyncio.sleep(self._host.settings.multipathd_delay_s)
        async with self._turn:
            if self._host.kernel.disks.get(disk.name) is disk:
                await self._add(disk)

    async def _add(self, disk: Disk) -> None:
        path = self._watch(disk)
        if self.is_blacklisted(path):
            self._forget(disk.name)
            return
        await self._check(path)
        if self.paths.get(disk.name) is not path:
            return  # it has gone meanwhile
        if self._is_wanted(path.unit.wwn):
            await self._take([path, *self._others(path)])

    def _watch(self, disk: Disk) -> Path:
        """Have a path for ``disk``; its name is what udev has found."""
        path = self.paths.get(disk.name)
        if path is None:
            path = self.paths[disk.name] = Path(disk.device, _unit(disk), hctl=str(disk.hctl), name=disk.name)
        return path

    async def _check(self, path: Path) -> None:
        """The state a new path is found in, before it has a map."""
        unit, release = path.unit, self.daemon.release
        settings = settings_for(unit.vendor, unit.product, release=release, overrides=self.daemon.overrides)
        path.checker_state = await check_path(path, settings.path_checker, settings.checker_timeout)

    def _others(self, path: Path) -> list[Path]:
        """Paths to the same unit that have no map yet."""
        taken = [each for device in self.maps.values() for each in device.paths]
        return [
            each
            for each in self.paths.values()
            if each is not path and each.unit.wwn == path.unit.wwn and each not in taken
        ]

    def _is_wanted(self, wwid: str) -> bool:
        """What ``find_multipaths`` says of a unit of that name."""
        mode = self._host.settings.find_multipaths
        if mode in _ALWAYS or wwid in self.maps or wwid in self.wwids:
            return True
        count = sum(path.unit.wwn == wwid for path in self.paths.values())
        return mode != _KNOWN_ONLY and count > 1

    async def _take(self, paths: list[Path]) -> MultipathDevice | None:
        device = None
        for path in paths:
            if any(path in each.paths for each in self.maps.values()):
                continue
            known = path.unit.wwn in self.maps
            try:
                device = await self.daemon.add_path(path)
            except (ConfigError, ISCSIError) as error:
                logger.warning("multipathd: %s: %s", path.name, error)
                continue
            if device is not None:
                self._shorten_recovery(path.name)
            if device is not None and not known:
                self._name(device)
                self.add_wwid(device.wwn)
        self._host.changed()
        return device

    def _shorten_recovery(self, name: str) -> None:
        """The session behind a path gives up soon: multipathd writes its fast_io_fail_tmo to recovery_tmo."""
        disk = self._host.kernel.disks.get(name)
        session = disk.adapter.session if disk is not None else None
        if session is not None:
            session.settings = replace(session.settings, replacement_timeout=FAST_IO_FAIL_S)

    def _name(self, device: MultipathDevice) -> None:
        if self._host.settings.user_friendly_names:
            device.alias = f"mpath{letters(self._aliases)}"
            self._aliases += 1

    def _forget(self, name: str) -> None:
        path = self.paths.pop(name, None)
        if path is not None:
            self.daemon.remove_path(path)
            self._host.changed()

    # -- what is asked of it -----------------------------------------------------------------------

    async def add_path(self, name: str) -> MultipathDevice | None:
        """``multipathd add path``: whatever ``find_multipaths`` says. The map; None for what gets none.

        Raises KeyError when there is no such disk, or udev has not looked at it yet.
        """
        disk = self._host.kernel.disks[name]
        if not disk.properties:
            raise KeyError(name)
        path = self._watch(disk)
        await self._take([path])
        return next((device for device in self.maps.values() if path in device.paths), None)

    def remove_path(self, name: str) -> None:
        """``multipathd del path``. Raises KeyError when it does not watch such a disk."""
        if name not in self.paths:
            raise KeyError(name)
        self._forget(name)

    def flush(self, name: str) -> None:
        """``multipath -f``. Raises ConfigError without such a map, MapInUse while it is open."""
        self.daemon.flush(name)
        self._host.changed()

    async def reconfigure(self) -> None:
        """``multipath -r``: every disk is considered anew, every path checked."""
        for name, disk in list(self._host.kernel.disks.items()):
            if not disk.properties:
                continue
            path = self._watch(disk)
            if self.is_blacklisted(path):
                self._forget(name)
            elif self._is_wanted(path.unit.wwn):
                await self._take([path])
        await self.daemon.check_all()
        self._host.changed()

    def is_blacklisted(self, path: Path) -> bool:
        """Whether it must not be in a map."""
        return is_blacklisted(path.unit.vendor, path.unit.product, release=self.daemon.release)

    # -- the file of known names -------------------------------------------------------------------

    @property
    def wwids(self) -> list[str]:
        """The units that are multipathed for sure, from /etc/multipath/wwids."""
        text = self._host.files.get(WWIDS, b"").decode(errors="replace")
        return [line.strip("/") for line in text.splitlines() if line.startswith("/")]

    def add_wwid(self, wwid: str) -> bool:
        """``multipath -a``: False when it was there."""
        if wwid in self.wwids:
            return False
        self._host.files[WWIDS] = self._host.files.get(WWIDS, _WWIDS_HEAD) + f"/{wwid}/\n".encode()
        self._host.changed()
        return True

    def remove_wwid(self, wwid: str) -> bool:
        """``multipath -w``: False when it was not there."""
        kept = [each for each in self.wwids if each != wwid]
        if len(kept) == len(self.wwids):
            return False
        self._host.files[WWIDS] = _WWIDS_HEAD + b"".join(f"/{each}/\n".encode() for each in kept)
        self._host.changed()
        return True

    async def close(self) -> None:
        """End the daemon."""
        for task in list(self._work):
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        await self.daemon.stop()


def _unit(disk: Disk) -> LogicalUnitInfo:
    """What multipathd knows of a path: the kernel's copy, and the name udev has found."""
    identity, capacity = disk.identity, disk.identity.capacity
    standard = identity.standard
    return LogicalUnitInfo(
        number=disk.hctl.lun,
        lun=disk.device.lun,
        vendor=standard.vendor,
        product=standard.product,
        revision=standard.revision,
        serial=identity.serial,
        wwn=disk.properties.get("ID_SERIAL", ""),
        device_type=standard.device_type,
        block_size=capacity.block_size if capacity else 0,
        blocks=capacity.blocks if capacity else 0,
        read_only=identity.write_protected,
    )
