"""One device out of several paths: the same logical unit through several sessions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, TypeVar

from iscsim.errors import ConfigError, ISCSIError, SessionFailed
from iscsim.initiator.multipath.asymmetric import learn_port_group
from iscsim.initiator.multipath.grouping import PathGroup
from iscsim.initiator.multipath.handlers import Activation, activate
from iscsim.initiator.multipath.hardware import MapSettings
from iscsim.initiator.multipath.path import Path
from iscsim.initiator.multipath.show import describe
from iscsim.initiator.multipath.states import CheckerState
from iscsim.initiator.multipath.table import PathTable
from iscsim.initiator.multipath.verdicts import Verdict, tells_of_access, verdict_of
from iscsim.initiator.scan import LogicalUnitInfo, examine
from iscsim.pdu import Buffer

logger = logging.getLogger("iscsim.initiator")

Policy = Literal["round-robin", "failover"]
_PLAIN = MapSettings(
    path_selector="round-robin 0",
    failback="immediate",
    detect_prio=False,
    detect_checker=False,
    retain_attached_hw_handler=False,
)
_POLICIES: dict[Policy, MapSettings] = {
    "round-robin": _PLAIN.changed({"path_grouping_policy": "multibus"}),
    "failover": _PLAIN,
}
POLICIES: tuple[Policy, ...] = tuple(_POLICIES)
Answer = TypeVar("Answer")
_PATIENCE = 60
"""Seconds for which a command waits for a unit that is busy or in transition, on each path."""
_REPEATS = 5
_HANDLER_DELAY_S = 2.0


class MapInUse(ISCSIError):
    """A map cannot be flushed while somebody has it open."""


class MultipathDevice(PathTable):
    """A block device with several paths, known by its WWN.

    ``settings`` are what multipath-tools would do: :func:`iscsim.initiator.multipath.settings_for`. Without
    them ``policy`` says which path is taken: ``"round-robin"`` the active ones in turn, ``"failover"`` the
    first one until it fails. A command whose path fails is repeated on another; what the unit itself says
    (LBA out of range, medium error, reservation conflict) is not. A failed path is not used until
    :meth:`check`, or a :class:`MultipathDaemon`, finds it well. ``alias`` and ``minor`` are its name and
    number, ``dm-0``.

    Raises:
        ConfigError: no path, an unknown policy, or paths that differ in WWN, size or block size.
    """

    def __init__(
        self,
        paths: Iterable[Path],
        *,
        policy: Policy = "round-robin",
        settings: MapSettings | None = None,
        alias: str = "",
        minor: int | None = None,
    ) -> None:
        if policy not in _POLICIES:
            raise ConfigError(f"multipath policy {policy!r} is not one of {', '.join(POLICIES)}")
        super().__init__(list(paths), _POLICIES[policy] if settings is None else settings)
        self.policy = policy
        self.alias: str = alias or self.wwn
        self.minor = minor
        self._preparing = asyncio.Lock()
        self._waiting: list[asyncio.Future[None]] = []

    def __str__(self) -> str:
        """In the form of ``multipath -ll``."""
        return describe(self)

    # -- reading and writing -----------------------------------------------------------------------

    async def read(self, lba: int, blocks: int) -> bytes | bytearray | memoryview:
        """``blocks`` blocks from ``lba`` on.

        Raises:
            SessionFailed: no path is left, and the device does not queue.
            CommandFailed: what the unit says.
        """
        length = blocks * self.block_size
        return await self._on_some_path(lambda path: path.session.read(path.unit, lba, blocks), length)

    async def write(self, lba: int, data: Buffer) -> None:
        """Write whole blocks. Raises as :meth:`read` does, and ValueError for a part of a block."""
        await self._on_some_path(lambda path: path.session.write(path.unit, lba, data), len(data))

    async def flush(self) -> None:
        """Have everything written go to the medium. Raises as :meth:`read` does."""
        await self._on_some_path(lambda path: path.session.flush(path.unit), 0)

    async def _on_some_path(self, command: Callable[[Path], Awaitable[Answer]], length: int) -> Answer:
        waited = repeats = 0
        while True:
            path = self._choose(length)
            if path is None or not self._is_prepared:
                await self._become_usable(path)
                continue
            path.in_flight, path.in_flight_length = path.in_flight + 1, path.in_flight_length + length
            path.commands += 1
            try:
                return await command(path)
            except ISCSIError as error:
                failed = error
            finally:
                path.in_flight, path.in_flight_length = path.in_flight - 1, path.in_flight_length - length
            verdict = verdict_of(failed)
            if tells_of_access(failed):
                self.check_soon()
            if verdict is Verdict.REPORT:
                raise failed
            if verdict is Verdict.WAIT and waited < _PATIENCE:
                await asyncio.sleep(1)
                waited += 1
            elif verdict is Verdict.REPEAT and repeats < _REPEATS:
                repeats += 1
            else:
                self.fail_path(path, str(failed))
                waited = repeats = 0

    # -- making a group usable ---------------------------------------------------------------------

    @property
    def _is_prepared(self) -> bool:
        return self._prepared is self.current_group or self.hardware_handler == "0"

    async def _become_usable(self, path: Path | None) -> None:
        """Wait for a path, or prepare its group. Raises SessionFailed when that is hopeless."""
        if path is None:
            if not self.queue_if_no_path or self.is_removed:
                reasons = "; ".join(f"{each.where}: {each.failure}" for each in self._paths)
                raise SessionFailed(f"{self.wwn} has no path left ({reasons})")
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
            return
        async with self._preparing:
            if not self._is_prepared and self.current_group is not None:
                await self._prepare(self.current_group)

    async def _prepare(self, group: PathGroup) -> None:
        """Have the hardware handler activate the paths of a group, see ``handlers``."""
        name = self.hardware_handler.removeprefix("1 ")
        if group.bypassed:  # everything else has been tried: do not hammer the array
            await asyncio.sleep(_HANDLER_DELAY_S)
        for path in [path for path in group.paths if path.is_active]:
            deadline = asyncio.get_running_loop().time() + _PATIENCE
            outcome = await activate(path, name)
            while outcome is Activation.AGAIN and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(_HANDLER_DELAY_S)
                outcome = await activate(path, name)
            if outcome is Activation.BYPASS:
                group.bypassed = True
                self._settle()
                return
            if outcome is not Activation.READY:
                self.fail_path(path, f"hardware handler {name} cannot activate it")
                self.check_soon()
        group.bypassed = False
        if group is self.current_group:
            self._prepared = group

    def _changed(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    # -- what is asked of it -----------------------------------------------------------------------

    @contextmanager
    def open(self) -> Iterator[MultipathDevice]:
        """Have it open, as a file system or a virtual machine has: it cannot be flushed then."""
        self.opened += 1
        try:
            yield self
        finally:
            self.opened -= 1

    async def resize(self) -> int:
        """Take the unit's size as its paths show it now: the size in bytes.

        Raises ConfigError, and changes nothing, when they do not agree; CommandFailed or SessionFailed when
        one that is active does not say.
        """
        found = {path: await path.session.read_capacity(path.unit) for path in self.active_paths}
        sizes = list(dict.fromkeys((each.blocks, each.block_size) for each in found.values()))
        if len(sizes) > 1:
            raise ConfigError(f"paths of {self.wwn} differ in size: {sizes[0]} and {sizes[1]}")
        for blocks, block_size in sizes:
            self.unit = replace(self.unit, blocks=blocks, block_size=block_size)
            for path in self._paths:
                path.unit = replace(path.unit, blocks=blocks, block_size=block_size)
        return self.size

    async def check(self) -> list[Path]:
        """Ask every path for the unit's identity: the active paths afterwards.

        A path that now leads to another unit, or to one of another size, fails.
        """
        for path in self._paths:
            try:
                unit = await examine(path.session, path.unit.lun)
                if unit is None:
                    raise ConfigError(f"no unit under LUN {path.unit.number}")
                self._refuse_another(unit)
            except (ISCSIError, ConfigError, ValueError) as error:
                self.fail_path(path, str(error))
                path.checker_state = CheckerState.DOWN
            else:
                path.checker_state = CheckerState.UP if unit.size else CheckerState.GHOST
                self.reinstate_path(path)
        if self.settings.failback == "immediate":
            self.switch_to_best()
        return self.active_paths

    async def learn(self) -> None:
        """Ask every path what it has to say of asymmetric access; a path that does not answer is left out."""
        for path in self._paths:
            try:
                await learn_port_group(path)
            except (ISCSIError, ValueError) as error:
                logger.info("%s: %s says nothing of its port group: %s", self.wwn, path.where, error)


async def group_paths(
    sessions: Iterable[object],
    *,
    policy: Policy = "round-robin",
    settings: Callable[[LogicalUnitInfo], MapSettings] | MapSettings | None = None,
) -> list[MultipathDevice]:
    """The multipath devices of these sessions; one that was not scanned yet is scanned.

    Units without a WWN are left out, and those without blocks unless another path shows some. ``settings``
    may be a function of the unit, such as what gives the hardware table's.

    Raises:
        ConfigError: paths of one WWN differ in size.
    """
    groups: dict[str, list[Path]] = {}
    for session in sessions:
        units = session.units if session.scanned else await session.scan()  # type: ignore[attr-defined]
        for unit in units:
            if unit.wwn:
                groups.setdefault(unit.wwn, []).append(Path(session, unit))
    found = [paths for paths in groups.values() if any(path.unit.size for path in paths)]
    return [
        MultipathDevice(
            paths, policy=policy, settings=settings(paths[0].unit) if callable(settings) else settings
        )
        for paths in found
    ]
