"""What multipathd does: checks paths, brings them back, moves to better groups, lets I/O give up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from iscsim.errors import ConfigError, ISCSIError
from iscsim.initiator.disposition import DeviceEventKind
from iscsim.initiator.multipath.checkers import check_path
from iscsim.initiator.multipath.device import MapInUse, MultipathDevice
from iscsim.initiator.multipath.hardware import is_blacklisted, settings_for
from iscsim.initiator.multipath.path import Path
from iscsim.initiator.multipath.priorities import PRIORITIES
from iscsim.initiator.multipath.states import USABLE, CheckerState
from iscsim.scsi.asymmetric_access import AccessModes

logger = logging.getLogger("iscsim.initiator")

__all__ = ["MultipathDaemon", "check"]


async def check(device: MultipathDevice, path: Path) -> None:
    """Check one path of a map, and draw the consequences: fail or reinstate it, its priority, its group.

    One round of multipathd for this path; `MultipathDaemon` calls it when it is time.
    """
    settings = device.settings
    found = await check_path(path, device.checker_of(path), settings.checker_timeout)
    if found is CheckerState.PENDING:
        path.tick = 1
        return
    state = CheckerState.DOWN if found is CheckerState.TIMEOUT else found
    if path not in device.paths:  # it was removed meanwhile
        return
    before, path.checker_state = path.checker_state, state
    came_up = False
    if state not in USABLE:
        path.check_interval = settings.polling_interval
        if path.is_active:
            device.failback_tick = 0
            device.fail_path(path, f"checker {device.checker_of(path)} says {state.value}")
        path.checker_state = state
    elif state is not before or not path.is_active:
        path.check_interval = settings.polling_interval
        came_up = _reinstate(device, path)
    else:
        path.check_interval = min(2 * path.check_interval, settings.max_polling_interval)
    path.tick = path.check_interval
    changed = state in USABLE and await _update_priority(device, path)
    _choose_group(device, path, came_up, changed)


def _reinstate(device: MultipathDevice, path: Path) -> bool:
    """Use it again, unless it is in standby, the others do not work, and only the array could change that."""
    others = any(each.checker_state in USABLE for each in device.paths if each is not path)
    hopeless = path.checker_state is CheckerState.GHOST and not others and path.tpgs == AccessModes.IMPLICIT
    if not hopeless:
        device.reinstate_path(path)
        for group in device.groups:
            group.bypassed &= path not in group.paths
    return True


async def _update_priority(device: MultipathDevice, path: Path) -> bool:
    """Whether it has changed; one that cannot be told stays."""
    settings, before = device.settings, path.priority
    try:
        prioritizer = PRIORITIES[device.prioritizer_of(path)]
        path.priority = await prioritizer(path, settings.checker_timeout, settings.prio_args)
    except (ISCSIError, ValueError) as error:
        logger.info("%s: %s keeps priority %d: %s", device.wwn, path.where, before, error)
    return path.priority != before


def _choose_group(device: MultipathDevice, path: Path, came_up: bool, changed: bool) -> None:
    """Form the groups anew or change to a better one, as ``failback`` has it."""
    failback = device.settings.failback
    by_priority = device.settings.path_grouping_policy == "group_by_prio"
    if changed and by_priority and failback == "immediate":
        device.regroup()
    if not device.should_switch:
        return
    if failback == "immediate" or (failback == "followover" and came_up and _is_first(device, path)):
        device.switch_to_best()
    elif isinstance(failback, int) and failback and (came_up or not device.failback_tick):
        device.failback_tick = failback + 1


def _tells_of_access(event: object) -> bool:
    return getattr(event, "kind", None) == DeviceEventKind.ASYMMETRIC_ACCESS_STATE_CHANGED


def _is_first(device: MultipathDevice, path: Path) -> bool:
    """Whether it is the first path of its group that works."""
    (group,) = [group for group in device.groups if path in group.paths]
    return group.usable == [path]


class MultipathDaemon:
    """Keeps maps: checks their paths every second that is due, on the running loop's clock.

    Used with ``async with``; without, call :meth:`tick` once a second. ``release`` and ``overrides`` say what
    holds for a new map, see :func:`iscsim.initiator.multipath.settings_for`.
    """

    def __init__(self, *, release: str = "0.9.4", overrides: Mapping[str, Any] | None = None) -> None:
        self.release, self.overrides = release, dict(overrides or {})
        self.maps: dict[str, MultipathDevice] = {}
        """By WWN, in the order in which they were made."""
        self.listeners: list[Callable[[MultipathDevice], None]] = []
        """Each is called with a map after one of its paths was checked."""
        self._checks: dict[Path, asyncio.Task[None]] = {}
        self._loop: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop().create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Check no more. The maps stay as they are."""
        tasks = [*self._checks.values(), *([self._loop] if self._loop else [])]
        self._loop = None
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += 1.0
            await asyncio.sleep(due - loop.time())
            self.tick()

    def tick(self) -> None:
        """What multipathd does every second: begin the checks that are due, count down what counts down."""
        for device in list(self.maps.values()):
            for path in device.paths:
                path.tick -= 1
                if path.tick <= 0 and path not in self._checks:
                    self._begin(device, path)
            self._count_down(device)

    def _begin(self, device: MultipathDevice, path: Path) -> None:
        path.tick = path.check_interval = path.check_interval or device.settings.polling_interval
        task = asyncio.get_running_loop().create_task(self._check(device, path))
        self._checks[path] = task
        task.add_done_callback(lambda done: self._checks.pop(path, None))

    async def _check(self, device: MultipathDevice, path: Path) -> None:
        await check(device, path)
        for listener in self.listeners:
            listener(device)

    def _count_down(self, device: MultipathDevice) -> None:
        if device.retry_tick:
            device.statistics["total_q_time"] += 1
            device.retry_tick -= 1
            if not device.retry_tick:
                device.statistics["failures"] += 1
                device.stop_queueing()
        if device.failback_tick:
            device.failback_tick -= 1
            if not device.failback_tick and device.should_switch:
                device.switch_to_best()

    # -- maps --------------------------------------------------------------------------------------

    async def add_path(self, path: Path) -> MultipathDevice | None:
        """Have a path, in the map of its WWN or a new one; None for what is blacklisted or has no WWN.

        Raises ConfigError when it leads to a unit of another size under the same WWN.
        """
        unit = path.unit
        if not unit.wwn or is_blacklisted(unit.vendor, unit.product, release=self.release):
            return None
        device = self.maps.get(unit.wwn)
        if device is None:
            settings = settings_for(unit.vendor, unit.product, release=self.release, overrides=self.overrides)
            device = MultipathDevice([path], settings=settings, minor=self._free_minor())
            self.maps[device.wwn] = device
        elif path in device.paths:
            return device
        else:
            device.add_path(path)
        self._listen(device, path)
        await device.learn()
        await self._check_now(device, [path])
        device.regroup()
        return device

    def _listen(self, device: MultipathDevice, path: Path) -> None:
        """Check soon when a SCSI device hears that access states have changed; a session does not tell."""
        listeners = getattr(path.session, "listeners", None)
        if isinstance(listeners, list):
            listeners.append(lambda event: device.check_soon() if _tells_of_access(event) else None)

    async def _check_now(self, device: MultipathDevice, paths: list[Path]) -> None:
        for path in paths:
            await check(device, path)
            path.check_interval = path.tick = device.settings.polling_interval

    async def check_all(self) -> None:
        """Check every path now, in turn, as ``multipath -ll`` and ``multipathd reconfigure`` do."""
        for device in list(self.maps.values()):
            await self._check_now(device, list(device.paths))

    def remove_path(self, path: Path) -> None:
        """Forget a path; a map that has none left goes with it, unless it queues."""
        for device in list(self.maps.values()):
            if path in device.paths:
                device.remove_path(path)
                if device.is_removed:
                    del self.maps[device.wwn]

    def find(self, name: str) -> MultipathDevice:
        """The map of that alias, WWN, ``dm-0``, or path. Raises ConfigError."""
        for device in self.maps.values():
            paths = [path.name for path in device.paths if path.name]
            if name in (device.alias, device.wwn, f"dm-{device.minor}", *paths):
                return device
        raise ConfigError(f"no multipath map {name!r:.60}")

    def flush(self, name: str) -> None:
        """Take a map away, ``multipath -f``. Raises MapInUse while it is open, ConfigError without one."""
        device = self.find(name)
        if device.opened:
            raise MapInUse(f"{device.alias}: map in use")
        device.remove()
        del self.maps[device.wwn]

    def rename(self, name: str, alias: str) -> None:
        """Give a map another alias. Raises ConfigError when it is taken, or there is no such map."""
        device = self.find(name)
        if any(alias == other.alias for other in self.maps.values() if other is not device):
            raise ConfigError(f"there is a multipath map {alias!r:.60} already")
        device.alias = alias

    def _free_minor(self) -> int:
        taken = {device.minor for device in self.maps.values()}
        return next(number for number in range(len(taken) + 1) if number not in taken)
