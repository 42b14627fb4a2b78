"""Which paths a multipath device uses, and in which groups: the kernel's table and multipathd's mind."""

from __future__ import annotations

import logging

from iscsim.errors import ConfigError
from iscsim.initiator.multipath.grouping import PathGroup, best_group, form_groups
from iscsim.initiator.multipath.hardware import MapSettings
from iscsim.initiator.multipath.path import Path
from iscsim.initiator.multipath.states import USABLE, CheckerState, GroupState, PathState
from iscsim.initiator.scan import LogicalUnitInfo

logger = logging.getLogger("iscsim.initiator")

__all__ = ["PathTable"]

_STATISTICS = ("path_faults", "switch_grp", "map_loads", "total_q_time", "q_timeouts", "failures")


class PathTable:
    """Paths in groups, one of which is the current one. It sends nothing and waits for nothing.

    Raises:
        ConfigError: no path, or paths that differ in WWN, size or block size.
    """

    def __init__(self, paths: list[Path], settings: MapSettings) -> None:
        if not paths:
            raise ConfigError("a multipath device needs a path")
        self.settings = settings
        self.unit: LogicalUnitInfo = next((path.unit for path in paths if path.unit.size), paths[0].unit)
        """The unit as its first path shows it, of those that show its size."""
        if not self.unit.wwn:
            raise ConfigError(f"LUN {self.unit.number} at {paths[0].where} has no WWN to group it by")
        self.queue_if_no_path = settings.queues
        """Whether I/O waits when no path is left, now."""
        self.retry_tick = self.failback_tick = 0
        """Seconds until I/O waits no more, and until the best group is used again; 0: nothing is counted."""
        self.statistics = dict.fromkeys(_STATISTICS, 0)
        self.is_removed = False
        self.opened = 0
        self.groups: list[PathGroup] = []
        """The path groups, the preferred one first."""
        self.current_group: PathGroup | None = None
        self._prepared: PathGroup | None = None
        self._memory: dict[str, bool] = {}
        self._paths: list[Path] = []
        self.paths = paths

    def _changed(self) -> None:
        """There is a path again, or no more waiting for one."""

    def _refuse_another(self, unit: LogicalUnitInfo) -> None:
        """Raises ConfigError. A path in standby does not show a size: that is no difference."""
        expected = self.unit
        for name in ("wwn", "size", "block_size"):
            value, wanted = getattr(unit, name), getattr(expected, name)
            if value != wanted and (name == "wwn" or (unit.size and expected.size)):
                raise ConfigError(f"paths of {expected.wwn} differ in {name}: {value} and {wanted}")

    @property
    def paths(self) -> list[Path]:
        """All of them, in the order in which they were added."""
        return self._paths

    @paths.setter
    def paths(self, paths: list[Path]) -> None:
        for path in paths:
            self._refuse_another(path.unit)
            path.memory.setdefault("unit", self._memory)
        self._paths = paths
        self.regroup()

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
        return [path for path in self._paths if path.is_active]

    @property
    def hardware_handler(self) -> str:
        """``"0"``, ``"1 emc"`` or ``"1 alua"``: what the settings say, or the kernel has attached before."""
        settings = self.settings
        attached = settings.retain_attached_hw_handler and settings.kernel_attaches_alua
        if attached and any(path.tpgs for path in self._paths):
            return "1 alua"
        return settings.hardware_handler

    @property
    def features(self) -> str:
        """As device-mapper's table has them, ``"1 queue_if_no_path"``."""
        settings = self.settings
        retained = settings.retain_attached_hw_handler and not settings.kernel_attaches_alua
        names = ["queue_if_no_path"] * self.queue_if_no_path + ["retain_attached_hw_handler"] * retained
        return " ".join([str(len(names)), *names])

    def prioritizer_of(self, path: Path) -> str:
        """What tells its priority: ``alua`` is detected, the settings say what else."""
        return "alua" if self.settings.detect_prio and path.tpgs else self.settings.prio

    def checker_of(self, path: Path) -> str:
        """What checks it: ``tur`` for what has target port groups, when that is detected."""
        return "tur" if self.settings.detect_checker and path.tpgs else self.settings.path_checker

    def group_state(self, group: PathGroup) -> GroupState:
        """What is done with one of its groups."""
        if group.bypassed:
            return GroupState.DISABLED
        return GroupState.ACTIVE if group is self.current_group else GroupState.ENABLED

    def _choose(self, length: int) -> Path | None:
        """The path for the next command; its group is the current one then."""
        if self.current_group is not None:
            path = self.current_group.select(length)
            if path is not None:
                return path
        for group in sorted(self.groups, key=lambda group: group.bypassed):
            path = group.select(length)
            if path is not None:
                self._switch(group)
                return path
        return None

    def _switch(self, group: PathGroup | None) -> None:
        if group is not self.current_group:
            self.current_group, self._prepared = group, None

    def fail_path(self, path: Path, reason: str) -> None:
        """Stop using ``path``."""
        if path.is_active:
            logger.warning("%s: path through %s failed: %s", self.wwn, path.where, reason)
            path.failures += 1
            self.statistics["path_faults"] += 1
        path.state, path.failure = PathState.FAILED, reason
        if path.checker_state in USABLE:
            path.checker_state = CheckerState.DOWN
        path.tick = min(path.tick, self.settings.polling_interval)
        self._settle()
        if not self.active_paths and self.settings.retries and not self.retry_tick and self.queue_if_no_path:
            self.retry_tick = self.settings.retries * self.settings.polling_interval + 1
            self.statistics["q_timeouts"] += 1

    def check_soon(self) -> None:
        """Have every path checked within a second: access states have changed, the array says."""
        for path in self._paths:
            path.tick = 1

    def reinstate_path(self, path: Path) -> None:
        """Use ``path`` again."""
        path.state = PathState.ACTIVE
        self.retry_tick = 0
        self.queue_if_no_path = self.settings.queues
        self._settle()
        self._changed()

    def _settle(self) -> None:
        """Have a current group with an active path, if there is one; show what the next command would do."""
        current = self.current_group
        if current is None or current.bypassed or not any(path.is_active for path in current.paths):
            usable = [group for group in self.groups if any(path.is_active for path in group.paths)]
            self._switch(min(usable, key=lambda group: group.bypassed, default=None))

    def stop_queueing(self) -> None:
        """I/O that waits for a path fails, and so does what comes until a path is reinstated."""
        self.queue_if_no_path = False
        self._changed()

    def add_path(self, path: Path) -> None:
        """Use one more path. Raises ConfigError when it leads to another unit."""
        self.paths = [*self._paths, path]
        if path.is_active:
            self.reinstate_path(path)

    def remove_path(self, path: Path) -> None:
        """Forget a path; what is under way goes on. The last takes the map along, unless that queues or is
        open: then device-mapper does not let it go."""
        self.paths = [each for each in self._paths if each is not path]
        if not self._paths and not self.queue_if_no_path and not self.opened:
            self.remove()

    def remove(self) -> None:
        """The map is no more: whoever waits for a path fails."""
        self.is_removed = True
        self.stop_queueing()

    def regroup(self) -> None:
        """Form the path groups anew; groups that stay the same stay as they are."""
        settings = self.settings
        formed = form_groups(
            settings.path_grouping_policy, self._paths, settings.path_selector, settings.rr_min_io_rq
        )
        groups = [next((old for old in self.groups if old.paths == new.paths), new) for new in formed]
        if groups != self.groups:
            self.groups = groups
            self.statistics["map_loads"] += 1
            self._switch(None)  # a new table begins with its first group
        self._settle()

    def switch_to_best(self) -> None:
        """Use the best group from now on."""
        best = best_group(self.groups)
        if best is not None and best is not self.current_group:
            self.statistics["switch_grp"] += 1
            self._switch(best)

    @property
    def should_switch(self) -> bool:
        """Whether another group is better than the current one."""
        best = best_group(self.groups)
        return best is not None and best is not self.current_group
