"""One device out of several paths: the same logical unit through several sessions."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeVar

from iscsim.errors import ConfigError, ConnectionFailed, SCSIError, SessionFailed
from iscsim.initiator.scan import LogicalUnitInfo, examine
from iscsim.initiator.session import Session
from iscsim.initiator.task import CommandAborted, CommandTimedOut, TargetFailure
from iscsim.pdu import Buffer

logger = logging.getLogger("iscsim.initiator")

Policy = Literal["round-robin", "failover"]
POLICIES: tuple[Policy, ...] = ("round-robin", "failover")
Answer = TypeVar("Answer")

# What says that a path is bad, and nothing about the disk behind it.
PATH_ERRORS = (ConnectionFailed, SessionFailed, CommandTimedOut, CommandAborted, TargetFailure)


class PathState(Enum):
    """Whether a path is used."""

    ACTIVE = "active"
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class Path:
    """One way to a logical unit."""

    session: Session
    unit: LogicalUnitInfo
    state: PathState = PathState.ACTIVE
    failure: str = ""
    """Why it failed, the last time it did."""

    def __str__(self) -> str:
        running = "ready running" if self.state is PathState.ACTIVE else "faulty offline"
        return f"{self.session.portal} lun {self.unit.number} {self.state.value} {running}"


class MultipathDevice:
    """A block device with several paths, known by its WWN.

    ``"round-robin"`` takes the active paths in turn, ``"failover"`` the first one until it fails. A command
    whose path fails is repeated on the next one; what the unit itself says (LBA out of range, medium
    error) is not. A failed path is not used until :meth:`check` finds it well.

    Raises:
        ConfigError: no path, an unknown policy, or paths that differ in WWN, size or block size.
    """

    def __init__(self, paths: Iterable[Path], *, policy: Policy = "round-robin") -> None:
        self.paths = list(paths)
        if not self.paths:
            raise ConfigError("a multipath device needs a path")
        if policy not in POLICIES:
            raise ConfigError(f"multipath policy {policy!r} is not one of {', '.join(POLICIES)}")
        self.policy = policy
        self._next = 0
        first = self.unit
        if not first.wwn:
            raise ConfigError(
                f"LUN {first.number} at {self.paths[0].session.portal} has no WWN to group it by"
            )
        for path in self.paths:
            self._refuse_another(path.unit, first)

    @staticmethod
    def _refuse_another(unit: LogicalUnitInfo, first: LogicalUnitInfo) -> None:
        for name in ("wwn", "size", "block_size"):
            value, expected = getattr(unit, name), getattr(first, name)
            if value != expected:
                raise ConfigError(f"paths of {first.wwn} differ in {name}: {value} and {expected}")

    @property
    def unit(self) -> LogicalUnitInfo:
        """The unit as its first path shows it."""
        return self.paths[0].unit

    @property
    def wwn(self) -> str:
        """What the paths have in common, as ``scsi_id`` writes it."""
        return self.unit.wwn

    @property
    def size(self) -> int:
        """In bytes."""
        return self.unit.size

    @property
    def block_size(self) -> int:
        """In bytes."""
        return self.unit.block_size

    @property
    def active_paths(self) -> list[Path]:
        """Those that are used."""
        return [path for path in self.paths if path.state is PathState.ACTIVE]

    async def read(self, lba: int, blocks: int) -> bytes | bytearray | memoryview:
        """``blocks`` blocks from ``lba`` on.

        Raises:
            SessionFailed: no path is left.
            CommandFailed: what the unit says.
        """
        return await self._on_some_path(lambda path: path.session.read(path.unit, lba, blocks))

    async def write(self, lba: int, data: Buffer) -> None:
        """Write whole blocks. Raises as :meth:`read` does, and ValueError for a part of a block."""
        await self._on_some_path(lambda path: path.session.write(path.unit, lba, data))

    async def flush(self) -> None:
        """Have everything written go to the medium. Raises as :meth:`read` does."""
        await self._on_some_path(lambda path: path.session.flush(path.unit))

    async def _on_some_path(self, command: Callable[[Path], Awaitable[Answer]]) -> Answer:
        while True:
            path = self._choose()
            try:
                return await command(path)
            except PATH_ERRORS as error:
                self.fail_path(path, str(error))

    def _choose(self) -> Path:
        active = self.active_paths
        if not active:
            reasons = "; ".join(f"{path.session.portal}: {path.failure}" for path in self.paths)
            raise SessionFailed(f"{self.wwn} has no path left ({reasons})")
        if self.policy == "failover":
            return active[0]
        self._next += 1
        return active[self._next % len(active)]

    def fail_path(self, path: Path, reason: str) -> None:
        """Stop using ``path``."""
        if path.state is PathState.ACTIVE:
            logger.warning("%s: path through %s failed: %s", self.wwn, path.session.portal, reason)
        path.state, path.failure = PathState.FAILED, reason

    async def check(self) -> list[Path]:
        """Ask every path for the unit's identity, as multipathd's checkers do: the active paths afterwards.

        A path that now leads to another unit, or to one of another size, fails.
        """
        for path in self.paths:
            try:
                unit = await examine(path.session, path.unit.lun)
                if unit is None:
                    raise ConfigError(f"no unit under LUN {path.unit.number}")
                self._refuse_another(unit, self.unit)
            except (*PATH_ERRORS, SCSIError, ConfigError, ValueError) as error:
                self.fail_path(path, str(error))
            else:
                path.state = PathState.ACTIVE
        return self.active_paths

    def __str__(self) -> str:
        """In the form of ``multipath -ll``."""
        unit = self.unit
        lines = [
            f"{self.wwn} {unit.vendor},{unit.product}",
            f"size={format_size(self.size)} features='0' hwhandler='0' wp={'ro' if unit.read_only else 'rw'}",
        ]
        groups = [self.paths] if self.policy == "round-robin" else [[path] for path in self.paths]
        active = self.active_paths
        for index, group in enumerate(groups):
            last = index == len(groups) - 1
            state = "active" if active and active[0] in group else "enabled"
            prio = 1 if any(path in active for path in group) else 0
            lines.append(f"{'`' if last else '|'}-+- policy='round-robin 0' prio={prio} status={state}")
            for path in group:
                lines.append(f"{' ' if last else '|'} {'`' if path is group[-1] else '|'}- {path}")
        return "\n".join(lines)


def format_size(size: int) -> str:
    """As ``multipath`` shows it: ``3.0G``, ``512K``."""
    value, unit = size / 1024, "K"
    for larger in "MGTP":
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f}{unit}" if unit == "K" or value >= 100 else f"{value:.1f}{unit}"


async def group_paths(
    sessions: Iterable[Session], *, policy: Policy = "round-robin"
) -> list[MultipathDevice]:
    """The multipath devices of these sessions; one that was not scanned yet is scanned.

    Units without blocks or without a WWN are left out.

    Raises:
        ConfigError: paths of one WWN differ in size.
    """
    groups: dict[str, list[Path]] = {}
    for session in sessions:
        units = session.units if session.scanned else await session.scan()
        for unit in units:
            if unit.wwn and unit.size:
                groups.setdefault(unit.wwn, []).append(Path(session, unit))
    return [MultipathDevice(paths, policy=policy) for paths in groups.values()]
