"""Where ``iscsim io`` sends its load: sessions of its own on every path, joined to one device."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from iscsim.cli.units import asking_unit
from iscsim.errors import ConfigError, ConnectionFailed, ISCSIError, SCSIError, SessionFailed

if TYPE_CHECKING:
    from iscsim.initiator.load.engine import Load
    from iscsim.initiator.load.paths import LoadDevice
    from iscsim.initiator.load.statistics import PathStatistics
    from iscsim.initiator.multipath import MultipathDevice
    from iscsim.initiator.recovering_session import RecoveringSession
    from iscsim.initiator.scan import LogicalUnitInfo
    from iscsim.initiator.settings import NodeSettings

_LOOK_EVERY_S = 0.02


@dataclass(frozen=True, slots=True)
class LoadPath:
    """One way to the unit: a portal, the target behind it, the LUN there."""

    portal: str
    target: str
    lun: int


@dataclass(slots=True)
class _OpenPath:
    name: str
    session: RecoveringSession
    unit: LogicalUnitInfo


@dataclass(slots=True)
class LoadUnit:
    """The unit the load is put on, and what its paths do."""

    device: LoadDevice
    unit: LogicalUnitInfo
    paths: list[_OpenPath]
    multipath: MultipathDevice | None = None
    statistics: list[PathStatistics] = field(default_factory=list)
    """One for each of several paths; none when there is one."""

    @property
    def name(self) -> str:
        """That of the first path."""
        return self.paths[0].name

    def measure(self, load: Load) -> None:
        """Have ``load`` count what each path does."""
        from iscsim.initiator.load.paths import MeasuredPath

        if self.multipath is not None:
            for path, statistics in zip(self.multipath.paths, self.statistics, strict=True):
                path.session = MeasuredPath(path.session, statistics, time.perf_counter, load.served)

    def states(self) -> dict[str, bool]:
        """Which paths are logged in and used, by name."""
        from iscsim.initiator.session_state import SessionState

        up = {path.name: path.session.state is SessionState.LOGGED_IN for path in self.paths}
        if self.multipath is not None:
            for open_path, path in zip(self.paths, self.multipath.paths, strict=True):
                up[open_path.name] &= path.is_active
        return up

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
    stack: AsyncExitStack,
    paths: list[LoadPath],
    settings: NodeSettings,
    *,
    initiator_name: str,
    interval_s: float,
    map_changes: Mapping[str, Any],
) -> LoadUnit:
    """Log in on every path. One that fails is told on stderr, as long as another works.

    ``map_changes`` are what multipath-tools shall do otherwise than for the array it is.

    Raises:
        ISCSIError: none works, or they lead to different units.
    """
    opened: list[_OpenPath] = []
    failures: list[ISCSIError] = []
    for path in paths:
        try:
            opened.append(await _open_path(stack, path, settings, initiator_name))
        except ISCSIError as error:
            failures.append(error)
    if not opened:
        raise failures[0] if len(failures) == 1 else ConnectionFailed("; ".join(map(str, failures)))
    for failure in failures:
        sys.stderr.write(f"iscsim: warning: {failure}\n")
    if len(paths) == 1:
        return _one_path(opened[0])
    opened.sort(key=lambda path: not path.unit.size)  # one in standby does not say how large the unit is
    return await _joined(stack, opened, interval_s, map_changes)


async def _open_path(
    stack: AsyncExitStack, path: LoadPath, settings: NodeSettings, initiator_name: str
) -> _OpenPath:
    from iscsim.initiator.recovering_session import log_in
    from iscsim.initiator.scan import examine

    session = await stack.enter_async_context(
        await log_in(path.portal, path.target, settings=settings, initiator_name=initiator_name)
    )
    async with asking_unit(session, path.lun):
        unit = await examine(session, session.lun_of(path.lun))
        if unit is None:
            raise SCSIError(f"LUN {path.lun} at {path.target} is not connected")
    return _OpenPath(str(session.portal), session, unit)


def _one_path(path: _OpenPath) -> LoadUnit:
    from iscsim.initiator.load.paths import UnitOfRecoveringSession

    if path.unit.block_size:
        path.session.learn_block_size(path.unit, path.unit.block_size)
    device = UnitOfRecoveringSession(path.session, path.unit, path.unit.block_size)
    return LoadUnit(device, path.unit, [path])


async def _joined(
    stack: AsyncExitStack, opened: list[_OpenPath], interval_s: float, changes: Mapping[str, Any]
) -> LoadUnit:
    from iscsim.initiator.load.statistics import PathStatistics
    from iscsim.initiator.multipath import MultipathDaemon, Path

    daemon = await stack.enter_async_context(MultipathDaemon(overrides=changes))
    device = None
    try:
        for path in opened:
            device = await daemon.add_path(Path(path.session, path.unit))
            if device is None:
                raise SessionFailed(f"LUN {path.unit.number} at {path.name} has no WWN to join paths by")
    except ConfigError as error:  # nobody has configured anything: the paths contradict each other
        raise SessionFailed(str(error)) from None
    if device is None or len(daemon.maps) != 1:
        raise SessionFailed(f"the paths lead to different units: {', '.join(daemon.maps)}")
    statistics = [PathStatistics(path.name, interval_s) for path in opened]
    return LoadUnit(device, device.unit, opened, device, statistics)
