"""What faults that happen by themselves may touch: the seam between them and a lab."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from iscsim.net.memory import MemoryNetwork

__all__ = ["Undo", "World"]

Undo = Callable[[], None]
"""What makes good again what a fault did; None where there is nothing to be made good."""


class Handle(Protocol):
    """A timer that may be cancelled."""

    def cancel(self) -> None:
        """Do not call."""


class World(Protocol):
    """A lab as the actions of TIMER faults see it."""

    @property
    def network(self) -> MemoryNetwork | None:
        """The network in memory; None on real TCP."""

    @property
    def targets(self) -> Mapping[str, Any]:
        """The target nodes (`iscsim.target.node.TargetNode`) by their iSCSI names."""

    @property
    def hosts(self) -> Mapping[str, Any]:
        """The hosts whose programs run here (`iscsim.lab.host.LabHost`) by their names."""

    def server_of(self, target: str) -> Any:
        """The `iscsim.target.server.TargetServer` that serves this target."""

    def time(self) -> float:
        """Seconds of the loop's clock."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        """Call ``callback`` at this time of the loop's clock."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` to its end beside everything else: a target that starts again."""
