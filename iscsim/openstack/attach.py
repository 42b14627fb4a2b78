"""Attach and detach a volume as os-brick does: log in on every path, find the LUN, join the paths by WWN."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from iscsim.errors import ConfigError, ConnectionFailed, ISCSIError, SessionFailed
from iscsim.initiator import connect
from iscsim.initiator.multipath import MultipathDaemon, MultipathDevice, Path
from iscsim.initiator.multipath.hardware import FAST_IO_FAIL_S
from iscsim.initiator.recovering_session import stay_logged_in
from iscsim.initiator.session_state import SessionState
from iscsim.initiator.settings import NodeSettings
from iscsim.openstack.connection_info import ConnectionInfo, PathSpec

if TYPE_CHECKING:
    from iscsim.initiator.recovering_session import RecoveringSession
    from iscsim.initiator.scan import LogicalUnitInfo

Progress = Callable[[str], None]
_RECOVERY_S = 15.0
_WORDS = {"wwn": "WWN", "size": "size", "block_size": "block size"}


class NoPathWorks(ConnectionFailed):
    """Every path to a volume failed; ``failed`` says why each did."""

    def __init__(self, failed: dict[PathSpec, str]) -> None:
        super().__init__(f"no path to the volume works: {'; '.join(failed.values())}")
        self.failed = failed


@dataclass(slots=True)
class AttachedPath:
    """One path that has worked: where it goes, its session, the logical unit found there.

    A session that loses its connection logs in again by itself.
    """

    spec: PathSpec
    session: RecoveringSession
    unit: LogicalUnitInfo
    path: Path
    """What the multipath device has of it."""

    @property
    def works(self) -> bool:
        """Whether it is logged in now."""
        return self.session.state is SessionState.LOGGED_IN

    def row(self) -> dict[str, Any]:
        """For JSON: where it goes, and its session's state."""
        return path_row(self.spec) | {"state": str(self.session.state)}


@dataclass(slots=True)
class AttachedVolume:
    """A volume on which at least one path has worked. ``failed`` says of those that never have why not.

    ``daemon`` checks the paths of ``device`` and brings them back.
    """

    info: ConnectionInfo
    device: MultipathDevice
    paths: list[AttachedPath]
    failed: dict[PathSpec, str]
    daemon: MultipathDaemon
    _open: AsyncExitStack = field(repr=False)
    _is_multipath: bool = False

    def __post_init__(self) -> None:
        self._is_multipath = len(self.paths) > 1

    @property
    def wwn(self) -> str:
        """The WWN as scsi_id prints it: ``3`` and 32 hexadecimal digits."""
        return self.paths[0].unit.wwn

    @property
    def working(self) -> list[AttachedPath]:
        """The paths that are logged in."""
        return [path for path in self.paths if path.works]

    @property
    def is_alive(self) -> bool:
        """Whether any path works."""
        return bool(self.working)

    def describe(self) -> dict[str, Any]:
        """What os-brick's connect_volume returns, and the paths behind it as they are now; ready for JSON.

        ``state`` is that of a path's session, None where there never was one. A path that is lost is among
        ``failed_paths`` until it has logged in again; the device keeps its name.
        """
        working, many = self.working, self._is_multipath
        one, unit = (working or self.paths)[0], self.device.unit
        result: dict[str, Any] = {
            "type": "block",
            "scsi_wwn": self.wwn,
            "path": f"/dev/disk/by-id/dm-uuid-mpath-{self.wwn}" if many else one.spec.by_path,
        }
        if many:
            result["multipath_id"] = self.wwn
        return result | {
            "volume_id": self.info.volume_id,
            "vendor": unit.vendor,
            "product": unit.product,
            "size": unit.size,
            "block_size": unit.block_size,
            "access_mode": "ro" if self.info.read_only or unit.read_only else "rw",
            "paths": [path.row() | {"path": path.spec.by_path} for path in working],
            "failed_paths": [path.row() | {"error": _loss(path)} for path in self.paths if not path.works]
            + [path_row(spec) | {"state": None, "error": error} for spec, error in self.failed.items()],
        }

    async def reconnect(self, **options: Any) -> None:
        """Log in on the paths that never worked, and wait for those that were lost.

        ``options`` are those of :func:`attach`. A path that still fails is in ``failed``, with why. A lost
        one has one ``login_timeout`` to come back, and goes on trying when that is over.
        """
        missing = [spec for spec in self.info.paths if spec not in {path.spec for path in self.paths}]
        lost = [path.session.recovered(_RECOVERY_S) for path in self.paths if not path.works]
        trying = _try_paths(self._open, missing, patience=_patience(self.info), **options)
        (found, failed), _ = await asyncio.gather(trying, asyncio.gather(*lost))
        new = await _same_unit(found, self.device.unit, failed)
        self.paths = sorted(self.paths + new, key=lambda path: self.info.paths.index(path.spec))
        for path in new:
            await _add(self.daemon, self.device, path)
        self._is_multipath |= len(self.paths) > 1
        self.failed = failed

    async def detach(self) -> None:
        """Flush what was written, then log out of every session."""
        try:
            await self._flush()
        except (ConnectionFailed, SessionFailed):
            self.failed.update({path.spec: "lost before it was detached" for path in self.paths})
        finally:
            for path in self.paths:
                _forget(self.daemon, self.device, path)
            await self._open.aclose()

    async def _flush(self) -> None:
        if not self.is_alive:
            raise SessionFailed("no path works")
        await self.device.flush()


def _loss(path: AttachedPath) -> str:
    return _with_portal(path.spec, path.session.reason)


def _with_portal(spec: PathSpec, reason: str) -> str:
    return reason if spec.portal in reason else f"{spec.portal}: {reason}"


def _patience(info: ConnectionInfo) -> NodeSettings:
    """How a lost session is recovered: behind several paths commands must soon go to another one."""
    return NodeSettings(replacement_timeout=FAST_IO_FAIL_S) if len(info.paths) > 1 else NodeSettings()


def path_row(spec: PathSpec) -> dict[str, Any]:
    """For JSON: where a path goes."""
    return {"portal": spec.portal, "target": spec.target_name, "lun": spec.lun}


async def attach(
    info: ConnectionInfo,
    *,
    initiator_name: str,
    progress: Progress = lambda line: None,
    daemon: MultipathDaemon | None = None,
    **options: Any,
) -> AttachedVolume:
    """Attach the volume of ``info``; ``options`` are those of :func:`iscsim.connect`, for the first login.

    Every path is tried at once. Paths that fail do not matter as long as one works. A path that works is
    logged in to again when it is lost, and checked by ``daemon``; without one the volume has its own.

    Raises:
        NoPathWorks: none does; the message says why for each.
    """
    async with AsyncExitStack() as stack:
        if daemon is None:
            daemon = await stack.enter_async_context(MultipathDaemon())
        paths, failed = await _try_paths(
            stack,
            info.paths,
            patience=_patience(info),
            progress=progress,
            initiator_name=initiator_name,
            chap=info.chap,
            **options,
        )
        if not paths:
            raise NoPathWorks(failed)
        good = await _same_unit(paths, paths[0].unit, failed, ("wwn",))
        device = await _join(daemon, good)
        return AttachedVolume(info, device, good, failed, daemon, stack.pop_all())


async def _try_paths(
    stack: AsyncExitStack,
    specs: Sequence[PathSpec],
    *,
    patience: NodeSettings,
    progress: Progress = lambda line: None,
    **options: Any,
) -> tuple[list[AttachedPath], dict[PathSpec, str]]:
    """Try every path at once: those that work, and why the others do not."""
    tries = [_attach_path(stack, spec, patience, progress, **options) for spec in specs]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    paths = [outcome for outcome in outcomes if isinstance(outcome, AttachedPath)]
    return paths, _failures(specs, outcomes)


async def _same_unit(
    paths: list[AttachedPath],
    expected: LogicalUnitInfo,
    failed: dict[PathSpec, str],
    names: Sequence[str] = ("wwn", "size", "block_size"),
) -> list[AttachedPath]:
    """The paths whose unit is the expected one by these attributes; others are closed, and ``failed``.

    A path in standby shows no size: that is no difference.
    """
    for path in paths:
        for name in names:
            value, wanted = getattr(path.unit, name), getattr(expected, name)
            if value != wanted and (name == "wwn" or (value and wanted)):
                failed[path.spec] = f"{path.spec.portal}: {_WORDS[name]} {value}, expected {wanted}"
                await path.session.close()
                break
    return [path for path in paths if path.spec not in failed]


async def _join(daemon: MultipathDaemon, paths: list[AttachedPath]) -> MultipathDevice:
    """The device of these paths, of which one with a size comes first: one in standby shows none."""
    first, *others = sorted(paths, key=lambda path: not path.unit.size)
    device = await _add(daemon, None, first)
    try:
        for path in others:
            await _add(daemon, device, path)
    except BaseException:
        for path in paths:
            _forget(daemon, device, path)
        raise
    return device


def _forget(daemon: MultipathDaemon, device: MultipathDevice, path: AttachedPath) -> None:
    """The last path takes the map along, even if that would queue."""
    if device.paths == [path.path]:
        device.stop_queueing()
    daemon.remove_path(path.path)


async def _add(
    daemon: MultipathDaemon, device: MultipathDevice | None, path: AttachedPath
) -> MultipathDevice:
    """Have the daemon know one more path; a unit without a WWN, or that has no map, it does not keep."""
    try:
        found = await daemon.add_path(path.path)
        if found is not None:
            return found
        if device is None:
            return MultipathDevice([path.path])
        device.add_path(path.path)
        return device
    except ConfigError as error:  # nobody has configured anything: the target contradicts itself
        raise ConnectionFailed(str(error)) from error


def _failures(specs: Sequence[PathSpec], outcomes: list[AttachedPath | BaseException]) -> dict[PathSpec, str]:
    """Why each failed path failed, its portal in it; what is not about the path is raised."""
    failed = {}
    for spec, outcome in zip(specs, outcomes, strict=True):
        if isinstance(outcome, ISCSIError | OSError):
            failed[spec] = _with_portal(spec, str(outcome))
        elif isinstance(outcome, BaseException):
            raise outcome
    return failed


async def _attach_path(
    stack: AsyncExitStack, spec: PathSpec, patience: NodeSettings, progress: Progress, **options: Any
) -> AttachedPath:
    async with AsyncExitStack() as own:  # a path that does not work leaves no session behind
        opening = connect((spec.host, spec.port), spec.target_name, **options)
        session = await own.enter_async_context(await stay_logged_in(opening, patience))
        progress(f"logged in to {spec.target_name} through {spec.portal}")
        units = await session.scan()
        for unit in units:
            if unit.number == spec.lun:
                stack.push_async_callback(own.pop_all().aclose)
                path = Path(session, unit, memory={"portal": spec.portal})
                return AttachedPath(spec, session, unit, path)
    there = ", ".join(str(unit.number) for unit in units) or "none"
    raise ConnectionFailed(
        f"no LUN {spec.lun} at {spec.target_name} through {spec.portal} (LUNs there: {there})"
    )
