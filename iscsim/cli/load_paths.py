"""Where ``iscsim io`` sends its load: sessions of its own on every path, joined to one device."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from iscsim.cli.units import asking_unit
from iscsim.errors import ConnectionFailed, ISCSIError, SCSIError, SessionFailed

if TYPE_CHECKING:
    from iscsim.initiator.load.engine import Load
    from iscsim.initiator.load.paths import LoadDevice
    from iscsim.initiator.load.statistics import PathStatistics
    from iscsim.initiator.multipath import MultipathDevice
    from iscsim.initiator.scan import LogicalUnitInfo


_LOOK_EVERY_S = 0.02


@dataclass(frozen=True, slots=True)
class LoadPath:
    """One way to the unit: a portal, the target behind it, the LUN there."""

    portal: str
    target: str
    lun: int


@dataclass(slots=True)
class LoadUnit:
    """The unit the load is put on, and the statistics of its paths."""

    device: LoadDevice
    unit: LogicalUnitInfo
    names: list[str]
    """The paths that work, by their portals."""
    multipath: MultipathDevice | None = None
    statistics: list[PathStatistics] = field(default_factory=list)
    """One for each of several paths; none when there is one."""

    def measure(self, load: Load) -> None:
        """Have ``load`` count what each path does."""
        from iscsim.initiator.load.paths import MeasuredPath

        if self.multipath is not None:
            for path, statistics in zip(self.multipath.paths, self.statistics, strict=True):
                path.session = MeasuredPath(path.session, statistics, time.perf_counter, load.served)  # type: ignore[assignment]

    def states(self) -> dict[str, bool]:
        """Which paths are used, by name."""
        if self.multipath is None:
            return dict.fromkeys(self.names, True)
        active = self.multipath.active_paths
        return {name: path in active for name, path in zip(self.names, self.multipath.paths, strict=True)}

    async def watch(self, load: Load) -> None:
        """Note the paths that are lost and come back, until cancelled."""
        before = self.states()
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            now = self.states()
            for name, is_up in now.items():
                if is_up != before[name]:
                    load.note("path back" if is_up else "path lost", name)
            before = now


async def open_unit(
    stack: AsyncExitStack, paths: list[LoadPath], interval_s: float, policy: Any, **options: Any
) -> LoadUnit:
    """Log in on every path. One that fails is told on stderr, as long as another works.

    Raises:
        ISCSIError: none works, or they lead to different units.
    """
    opened: list[tuple[str, Any, LogicalUnitInfo]] = []
    failures: list[ISCSIError] = []
    for path in paths:
        try:
            opened.append((path.portal, *await _open_path(stack, path, options)))
        except ISCSIError as error:
            failures.append(error)
    if not opened:
        raise failures[0] if len(failures) == 1 else ConnectionFailed("; ".join(map(str, failures)))
    for failure in failures:
        sys.stderr.write(f"iscsim: warning: {failure}\n")
    return _one_path(*opened[0]) if len(paths) == 1 else _joined(opened, interval_s, policy)


async def _open_path(
    stack: AsyncExitStack, path: LoadPath, options: dict[str, Any]
) -> tuple[Any, LogicalUnitInfo]:
    from iscsim.initiator import connect
    from iscsim.initiator.scan import examine

    session = await stack.enter_async_context(connect(path.portal, path.target, **options))
    async with asking_unit(session, path.lun):
        unit = await examine(session, session.lun_of(path.lun))
        if unit is None:
            raise SCSIError(f"LUN {path.lun} at {path.target} is not connected")
    return session, unit


def _one_path(portal: str, session: Any, unit: LogicalUnitInfo) -> LoadUnit:
    from iscsim.initiator.load.paths import UnitOfPath

    return LoadUnit(UnitOfPath(session, unit), unit, [portal])


def _joined(opened: list[tuple[str, Any, LogicalUnitInfo]], interval_s: float, policy: Any) -> LoadUnit:
    from iscsim.errors import ConfigError
    from iscsim.initiator.load.statistics import PathStatistics
    from iscsim.initiator.multipath import MultipathDevice, Path

    try:
        device = MultipathDevice([Path(session, unit) for _, session, unit in opened], policy=policy)
    except ConfigError as error:  # nobody has configured anything: the paths lead to different units
        raise SessionFailed(str(error)) from None
    names = [portal for portal, _, _ in opened]
    statistics = [PathStatistics(name, interval_s) for name in names]
    return LoadUnit(device, device.unit, names, device, statistics)
