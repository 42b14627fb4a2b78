"""One path of a multipath device."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from iscsim.initiator.multipath.states import SHOWN, CheckerState, PathState

if TYPE_CHECKING:
    from iscsim.initiator.scan import LogicalUnitInfo

__all__ = ["Path", "device_number"]

_MINORS_EACH, _DISKS_EACH_MAJOR = 16, 16
_MAJORS = (8, *range(65, 72), *range(128, 136))


@dataclass(slots=True, eq=False)
class Path:
    """One way to a logical unit.

    ``session`` is whatever sends SCSI commands: a `Session`, what recovers by itself, or a SCSI device of a
    host. ``hctl`` and ``name`` are what a Linux host calls it, ``"2:0:0:197"`` and ``"sdd"``, "" where nobody
    has named it. ``tpgs`` and ``port_group`` are what its INQUIRY data and VPD page 83h say, None before they
    were asked.
    """

    session: Any
    unit: LogicalUnitInfo
    state: PathState = PathState.ACTIVE
    failure: str = ""
    """Why it failed, the last time it did."""
    hctl: str = ""
    name: str = ""
    checker_state: CheckerState = CheckerState.UP
    priority: int = 1
    tpgs: int | None = None
    port_group: int | None = None
    failures: int = 0
    """How often it has failed."""
    in_flight: int = 0
    """Commands under way."""
    in_flight_length: int = 0
    """Bytes they move."""
    commands: int = 0
    """How many it was given so far."""
    tick: int = 1
    """Seconds to the next check."""
    check_interval: int = 0
    """Seconds between checks, which grow while it is well; 0 before the first."""
    memory: dict[str, Any] = field(default_factory=dict)
    """What its checker has to remember."""

    @property
    def is_active(self) -> bool:
        """Whether it is used."""
        return self.state is PathState.ACTIVE

    @property
    def device_state(self) -> str:
        """``"running"``, or ``"offline"`` once error handling has given the device up."""
        state = getattr(self.session, "state", None)
        return "offline" if getattr(state, "value", state) == "offline" else "running"

    @property
    def device_number(self) -> str:
        """``"8:48"`` for sdd; "" without a name."""
        return device_number(self.name) if self.name else ""

    @property
    def where(self) -> str:
        """For messages: its name, or its portal."""
        return self.name or self.hctl or str(getattr(self.session, "portal", "?"))

    def __str__(self) -> str:
        shown = SHOWN.get(self.checker_state, "undef")
        place = f"{self.where} lun {self.unit.number}"
        if self.name:
            place = f"{self.hctl} {self.name} {self.device_number}"
        return f"{place} {self.state.value} {shown} {self.device_state}"


def device_number(name: str) -> str:
    """Major and minor number Linux gives a disk of that name: ``"8:48"`` for sdd, ``"65:0"`` for sdq."""
    index = 0
    for letter in name.removeprefix("sd"):
        index = index * 26 + ord(letter) - ord("a") + 1
    index -= 1
    major = _MAJORS[index // _DISKS_EACH_MAJOR % len(_MAJORS)]
    extended = (
        index // (_DISKS_EACH_MAJOR * len(_MAJORS)) << 8
    )  # further disks have minors beyond the first byte
    return f"{major}:{index % _DISKS_EACH_MAJOR * _MINORS_EACH + extended}"
