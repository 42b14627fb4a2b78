"""Path groups: which paths are used together, and which group is the best."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from iscsim.initiator.multipath.path import Path
from iscsim.initiator.multipath.selectors import Selector, selector_of
from iscsim.initiator.multipath.states import USABLE

__all__ = ["POLICIES", "PathGroup", "best_group", "form_groups"]


@dataclass(slots=True, eq=False)
class PathGroup:
    """Paths that are used together, by turns. ``bypassed``: only when no other group has a path."""

    paths: list[Path]
    selector: Selector = field(default_factory=lambda: selector_of("round-robin 0"))
    bypassed: bool = False

    @property
    def usable(self) -> list[Path]:
        """The paths of which the checker says that they work."""
        return [path for path in self.paths if path.checker_state in USABLE]

    @property
    def priority(self) -> int:
        """The average of its usable paths, 0 without one."""
        usable = self.usable
        return sum(path.priority for path in usable) // len(usable) if usable else 0

    def select(self, length: int) -> Path | None:
        """The path for the next command of so many bytes; None when none is active."""
        active = [path for path in self.paths if path.is_active]
        return self.selector.select(active, length) if active else None


Policy = Callable[[Sequence[Path]], list[list[Path]]]


def _by(key: Callable[[Path], Hashable]) -> Policy:
    """One group for each value of ``key``, in the order in which the values come up."""

    def group(paths: Sequence[Path]) -> list[list[Path]]:
        groups: dict[Hashable, list[Path]] = {}
        for path in paths:
            groups.setdefault(key(path), []).append(path)
        return list(groups.values())

    return group


POLICIES: dict[str, Policy] = {
    "failover": lambda paths: [[path] for path in paths],
    "multibus": lambda paths: [list(paths)],
    "group_by_prio": _by(lambda path: path.priority),
    "group_by_serial": _by(lambda path: path.unit.serial),
    "group_by_node_name": _by(lambda path: path.session.target_name),
}
"""``path_grouping_policy``. The node name is that of Fibre Channel; of iSCSI we take the target's name."""


def form_groups(policy: str, paths: Sequence[Path], selector: str, min_io: int = 1) -> list[PathGroup]:
    """The groups of ``paths``, the one to be preferred first: by priority, then by usable paths."""
    groups = [PathGroup(members, selector_of(selector, min_io)) for members in POLICIES[policy](paths)]
    groups.sort(key=lambda group: (-group.priority, -len(group.usable)))
    return groups


def best_group(groups: Sequence[PathGroup]) -> PathGroup | None:
    """The one that should be used: the highest priority, then the most usable paths, then the first.

    A group none of whose paths is usable does not count.
    """
    best: PathGroup | None = None
    for group in groups:
        rank = (group.priority, len(group.usable))
        if rank[1] and (best is None or rank > (best.priority, len(best.usable))):
            best = group
    return best
