"""Watching the faults of a target that ``iscsim serve --control`` serves, while a load runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iscsim.cli.errors import EnvironmentFailure
from iscsim.errors import ISCSIError
from iscsim.net.reasons import reason_of
from iscsim.net.rpc import call

if TYPE_CHECKING:
    from iscsim.initiator.load.engine import Load

_ASK_EVERY_S = 0.2
_TIMEOUT_S = 5.0


class FaultWatch:
    """Notes when faults are armed, when they begin to fire, and when they are taken away.

    Raises:
        EnvironmentFailure: nobody answers on the socket.
    """

    def __init__(self, control: Path) -> None:
        self._control = control
        try:
            self._before = self._ask()
        except (OSError, ISCSIError) as error:
            reason = reason_of(error) if isinstance(error, OSError) else error
            raise EnvironmentFailure(f"{control}: {reason}") from error
        self._firing: dict[str, None] = {}

    def _ask(self) -> dict[str, dict[str, Any]]:
        return {row["id"]: row for row in call(self._control, "fault.list", timeout_s=_TIMEOUT_S)}

    async def watch(self, load: Load) -> None:
        """Ask again and again, until cancelled, or the target is gone."""
        while True:
            await asyncio.sleep(_ASK_EVERY_S)
            try:
                now = await asyncio.to_thread(self._ask)
            except (OSError, ISCSIError) as error:
                load.note("fault", f"no more is known of faults: {error}")
                return
            self._compare(now, load)

    def _compare(self, now: dict[str, dict[str, Any]], load: Load) -> None:
        for identity, row in now.items():
            before = self._before.get(identity)
            if before is None:
                load.note("fault", f"{row['name']} armed")
            if row["fired"] > (before["fired"] if before else 0):
                if identity not in self._firing:  # what fires all the time is told once
                    load.note("fault", row["name"])
                self._firing[identity] = None
            else:
                self._firing.pop(identity, None)
        for identity, row in self._before.items():
            if identity not in now:
                load.note("fault", f"{row['name']} removed")
        self._before = now
