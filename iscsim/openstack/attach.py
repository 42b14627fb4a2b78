"""Attach and detach a volume as os-brick does: log in on every path, find the LUN, join the paths by WWN."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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

    @property
    def wwn(self) -> str:
        """The WWN as scsi_id prints it: ``3`` and 32 hexadecimal digits."""
        return self.paths[0].unit.wwn

    @property
    def is_alive(self) -> bool:
        """Whether any of its sessions can still be used."""
        return any(path.session.is_open for path in self.paths)

    def describe(self) -> dict[str, Any]:
        """What os-brick's connect_volume returns, and the paths behind it; ready for JSON."""
        one, many = self.paths[0], len(self.paths) > 1
        result: dict[str, Any] = {
            "type": "block",
            "scsi_wwn": self.wwn,
            "path": f"/dev/disk/by-id/dm-uuid-mpath-{self.wwn}" if many else one.spec.by_path,
        }
        if many:
            result["multipath_id"] = self.wwn
        return result | {
            "volume_id": self.info.volume_id,
            "vendor": one.unit.vendor,
            "product": one.unit.product,
            "size": one.unit.size,
            "block_size": one.unit.block_size,
            "access_mode": "ro" if self.info.read_only or one.unit.read_only else "rw",
            "paths": [_row(path.spec) | {"path": path.spec.by_path} for path in self.paths],
            "failed_paths": [_row(spec) | {"error": error} for spec, error in self.failed.items()],
        }

    async def detach(self) -> None:
        """Flush what was written, then log out of every session."""
        try:
            await self.device.flush()
        except (ConnectionFailed, SessionFailed):
            self.failed.update({path.spec: "lost before it was detached" for path in self.paths})
        finally:
            await self._sessions.aclose()


def _row(spec: PathSpec) -> dict[str, Any]:
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
        ConnectionFailed: no path works; the message says why for each.
    """
    async with AsyncExitStack() as stack:
        tries = [
            _attach_path(stack, spec, progress, initiator_name=initiator_name, chap=info.chap, **options)
            for spec in info.paths
        ]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        paths = [outcome for outcome in outcomes if isinstance(outcome, AttachedPath)]
        failed = _failures(info.paths, outcomes)
        if not paths:
            raise ConnectionFailed(f"no path to the volume works: {'; '.join(failed.values())}")
        good = [path for path in paths if path.unit.wwn == paths[0].unit.wwn]
        for path in paths:
            if path not in good:
                failed[path.spec] = f"{path.spec.portal}: WWN {path.unit.wwn}, expected {paths[0].unit.wwn}"
                await path.session.close()
        return AttachedVolume(info, _join(good), good, failed, stack.pop_all())


def _join(paths: list[AttachedPath]) -> MultipathDevice:
    try:
        return MultipathDevice([Path(path.session, path.unit) for path in paths])
    except ConfigError as error:  # nobody has configured anything: the target contradicts itself
        raise ConnectionFailed(str(error)) from error


def _failures(
    specs: tuple[PathSpec, ...], outcomes: list[AttachedPath | BaseException]
) -> dict[PathSpec, str]:
    """Why each failed path failed, its portal in it; what is not about the path is raised."""
    failed = {}
    for spec, outcome in zip(specs, outcomes, strict=True):
        if isinstance(outcome, ISCSIError | OSError):
            reason = str(outcome)
            failed[spec] = reason if spec.portal in reason else f"{spec.portal}: {reason}"
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
