"""Attach and detach a volume as os-brick does: log in on every path, find the LUN, join the paths by WWN."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from iscsim.errors import ConfigError, ConnectionFailed, ISCSIError, SessionFailed
from iscsim.initiator import connect
from iscsim.initiator.multipath import MultipathDevice, Path
from iscsim.openstack.connection_info import ConnectionInfo, PathSpec

if TYPE_CHECKING:
    from iscsim.initiator.scan import LogicalUnitInfo
    from iscsim.initiator.session import Session

Progress = Callable[[str], None]
_WORDS = {"wwn": "WWN", "size": "size", "block_size": "block size"}


class NoPathWorks(ConnectionFailed):
    """Every path to a volume failed; ``failed`` says why each did."""

    def __init__(self, failed: dict[PathSpec, str]) -> None:
        super().__init__(f"no path to the volume works: {'; '.join(failed.values())}")
        self.failed = failed


@dataclass(slots=True)
class AttachedPath:
    """One path that works: where it goes, its session, the logical unit found there."""

    spec: PathSpec
    session: Session
    unit: LogicalUnitInfo


@dataclass(slots=True)
class AttachedVolume:
    """A volume with at least one working path. ``failed`` says of the others why they do not."""

    info: ConnectionInfo
    device: MultipathDevice
    paths: list[AttachedPath]
    failed: dict[PathSpec, str]
    _sessions: AsyncExitStack = field(repr=False)
    _is_multipath: bool = False

    def __post_init__(self) -> None:
        self._is_multipath = len(self.paths) > 1

    @property
    def wwn(self) -> str:
        """The WWN as scsi_id prints it: ``3`` and 32 hexadecimal digits."""
        return self.paths[0].unit.wwn

    @property
    def working(self) -> list[AttachedPath]:
        """The paths whose sessions can still be used."""
        return [path for path in self.paths if path.session.is_open]

    @property
    def is_alive(self) -> bool:
        """Whether any path works."""
        return bool(self.working)

    def describe(self) -> dict[str, Any]:
        """What os-brick's connect_volume returns, and the paths behind it as they are now; ready for JSON.

        A path that was lost is among ``failed_paths``; the device keeps its name.
        """
        working, many = self.working, self._is_multipath
        one, unit = (working or self.paths)[0], self.device.unit
        failed = {path.spec: _loss(path) for path in self.paths if path not in working} | self.failed
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
            "paths": [path_row(path.spec) | {"path": path.spec.by_path} for path in working],
            "failed_paths": [path_row(spec) | {"error": error} for spec, error in failed.items()],
        }

    async def reconnect(self, **options: Any) -> None:
        """Log in again on every path that does not work, as os-brick does when asked to connect again.

        ``options`` are those of :func:`attach`. A path that still fails is in ``failed``, with why.
        """
        working = self.working
        missing = [spec for spec in self.info.paths if spec not in {path.spec for path in working}]
        found, failed = await _try_paths(self._sessions, missing, **options)
        good = working + await _same_unit(found, self.device.unit, failed)
        if good:  # else the device keeps what it had: it cannot be without a path
            good.sort(key=lambda path: self.info.paths.index(path.spec))
            kept = {path.session: path for path in self.device.paths}
            self.device.paths = [kept.get(path.session) or Path(path.session, path.unit) for path in good]
            self.paths = good
            self._is_multipath |= len(good) > 1
        self.failed = failed

    async def detach(self) -> None:
        """Flush what was written, then log out of every session."""
        try:
            await self.device.flush()
        except (ConnectionFailed, SessionFailed):
            self.failed.update({path.spec: "lost before it was detached" for path in self.paths})
        finally:
            await self._sessions.aclose()


def _loss(path: AttachedPath) -> str:
    return _with_portal(path.spec, str(path.session.failure or "the session has ended"))


def _with_portal(spec: PathSpec, reason: str) -> str:
    return reason if spec.portal in reason else f"{spec.portal}: {reason}"


def path_row(spec: PathSpec) -> dict[str, Any]:
    """For JSON: where a path goes."""
    return {"portal": spec.portal, "target": spec.target_name, "lun": spec.lun}


async def attach(
    info: ConnectionInfo,
    *,
    initiator_name: str,
    progress: Progress = lambda line: None,
    **options: Any,
) -> AttachedVolume:
    """Attach the volume of ``info``; ``options`` go to :func:`iscsim.connect`.

    Every path is tried at once. Paths that fail do not matter as long as one works.

    Raises:
        NoPathWorks: none does; the message says why for each.
    """
    async with AsyncExitStack() as stack:
        paths, failed = await _try_paths(
            stack, info.paths, progress=progress, initiator_name=initiator_name, chap=info.chap, **options
        )
        if not paths:
            raise NoPathWorks(failed)
        good = await _same_unit(paths, paths[0].unit, failed, ("wwn",))
        return AttachedVolume(info, _join(good), good, failed, stack.pop_all())


async def _try_paths(
    stack: AsyncExitStack,
    specs: Sequence[PathSpec],
    *,
    progress: Progress = lambda line: None,
    **options: Any,
) -> tuple[list[AttachedPath], dict[PathSpec, str]]:
    """Try every path at once: those that work, and why the others do not."""
    tries = [_attach_path(stack, spec, progress, **options) for spec in specs]
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


def _join(paths: list[AttachedPath]) -> MultipathDevice:
    try:
        return MultipathDevice([Path(path.session, path.unit) for path in paths])
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
    stack: AsyncExitStack, spec: PathSpec, progress: Progress, **options: Any
) -> AttachedPath:
    async with AsyncExitStack() as own:  # a path that does not work leaves no session behind
        session = await own.enter_async_context(connect((spec.host, spec.port), spec.target_name, **options))
        progress(f"logged in to {spec.target_name} through {spec.portal}")
        units = await session.scan()
        for unit in units:
            if unit.number == spec.lun:
                stack.push_async_callback(own.pop_all().aclose)
                return AttachedPath(spec, session, unit)
    there = ", ".join(str(unit.number) for unit in units) or "none"
    raise ConnectionFailed(
        f"no LUN {spec.lun} at {spec.target_name} through {spec.portal} (LUNs there: {there})"
    )
