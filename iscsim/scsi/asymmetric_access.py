"""Asymmetric logical unit access (SPC-4): through which target port groups a unit may be used now.

States belong to a logical unit and a target port group of a device. SCSI has no clock: a change that takes
time is begun and finished by two calls, which whoever has a clock makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING

from iscsim.errors import ConfigError
from iscsim.scsi.asc import ASC
from iscsim.scsi.command import CommandFlag
from iscsim.scsi.sense import CheckCondition, SenseKey
from iscsim.scsi.unit_attention import UnitAttention

if TYPE_CHECKING:
    from iscsim.scsi.logical_unit import LogicalUnit
    from iscsim.scsi.nexus import ITNexus
    from iscsim.scsi.target_ports import TargetPorts

__all__ = ["AccessModes", "AccessState", "AccessStatus", "AsymmetricAccess", "GroupAccess", "Transition"]


class AccessState(IntEnum):
    """ASYMMETRIC ACCESS STATE."""

    ACTIVE_OPTIMIZED = 0x0
    ACTIVE_NON_OPTIMIZED = 0x1
    STANDBY = 0x2
    UNAVAILABLE = 0x3
    LOGICAL_BLOCK_DEPENDENT = 0x4
    OFFLINE = 0xE
    TRANSITIONING = 0xF

    @property
    def text(self) -> str:
        """As the standard writes it: ``"active/non-optimized"``."""
        return self.name.lower().replace("_", "-").replace("active-", "active/")

    @classmethod
    def of(cls, text: str) -> AccessState:
        """The state of that `text`. Raises `ConfigError` for another one."""
        for state in cls:
            if state.text == text:
                return state
        names = ", ".join(state.text for state in cls)
        raise ConfigError(f"access state {text!r:.40}: expected one of {names}")


class AccessModes(IntFlag):
    """TPGS of standard INQUIRY data: who may change states, the device itself or SET TARGET PORT GROUPS."""

    NONE = 0
    IMPLICIT = 1
    EXPLICIT = 2
    BOTH = 3


class AccessStatus(IntEnum):
    """STATUS CODE: what brought the state about."""

    NONE = 0
    EXPLICIT = 1
    IMPLICIT = 2


@dataclass(frozen=True, slots=True)
class GroupAccess:
    """How a unit may be used through one target port group."""

    state: AccessState = AccessState.ACTIVE_OPTIMIZED
    status: AccessStatus = AccessStatus.NONE
    preferred: bool = False


# SPC-4, "Target port asymmetric access states": the flag of the commands that run all the same, and what
# the others end with. LOGICAL BLOCK DEPENDENT is not offered: it needs a map of blocks that REPORT REFERRALS
# tells.
_REFUSALS: dict[AccessState, tuple[CommandFlag, ASC]] = {
    AccessState.STANDBY: (CommandFlag.IN_STANDBY, ASC.TARGET_PORT_STANDBY),
    AccessState.UNAVAILABLE: (CommandFlag.IN_UNAVAILABLE, ASC.TARGET_PORT_UNAVAILABLE),
    AccessState.OFFLINE: (CommandFlag.IN_UNAVAILABLE, ASC.LOGICAL_UNIT_NOT_READY_OFFLINE),
    AccessState.TRANSITIONING: (CommandFlag.IN_TRANSITION, ASC.ALUA_TRANSITION),
}
SUPPORTED = frozenset(AccessState) - {AccessState.LOGICAL_BLOCK_DEPENDENT}

_Key = tuple["TargetPorts | None", int]


class AsymmetricAccess:
    """The access states of one logical unit; every group is active/optimized until something is said.

    A unit may be mapped in several devices, each with groups of its own. ``ports`` says which device is meant
    (for iSCSI `TargetNode.ports`); None means all of them, those to come included. States outlive resets and
    sessions. ``supported`` are the states that may be set. Raises `ConfigError` for modes that are none.
    """

    __slots__ = ("_groups", "_implicit_transition_time_s", "_unit", "modes", "refusals", "supported")

    def __init__(self, unit: LogicalUnit, modes: AccessModes = AccessModes.IMPLICIT) -> None:
        self._unit = unit
        if not AccessModes.NONE <= modes <= AccessModes.BOTH:
            raise ConfigError(f"access modes {modes}: expected 0 to 3")
        self.modes = AccessModes(modes)
        self.supported = SUPPORTED
        self.refusals: Mapping[AccessState, tuple[CommandFlag, ASC]] = _REFUSALS
        self._implicit_transition_time_s = 0
        self._groups: dict[_Key, GroupAccess] = {}  # what was changed last comes last

    @property
    def implicit_transition_time_s(self) -> int:
        """How long a change may take, which REPORT TARGET PORT GROUPS says; 0 is unknown."""
        return self._implicit_transition_time_s

    @implicit_transition_time_s.setter
    def implicit_transition_time_s(self, seconds: int) -> None:
        """Raises `ConfigError` for what does not fit in a byte."""
        if not 0 <= seconds <= 255:
            raise ConfigError(f"implicit transition time {seconds} s: expected 0 to 255")
        self._implicit_transition_time_s = seconds

    def group(self, group: int, ports: TargetPorts | None = None) -> GroupAccess:
        """What holds for a group; without ``ports`` what was said of it last, for whatever device."""
        if ports is None:
            return next(
                (self._groups[key] for key in reversed(self._groups) if key[1] == group), GroupAccess()
            )
        found = self._groups.get((ports, group))
        return found if found is not None else self._groups.get((None, group), GroupAccess())

    def state(self, group: int, ports: TargetPorts | None = None) -> AccessState:
        """The state of a group, see `group`."""
        return self.group(group, ports).state

    # Changes.

    def set_state(self, group: int, state: AccessState, *, ports: TargetPorts | None = None) -> None:
        """An implicit change: every nexus of the device hears 2A/06, if it is another state than before.

        TRANSITIONING is the beginning of a change that takes time: it is heard of when it ends with the call
        that sets another state. Raises `ConfigError` for what is no group or not supported.
        """
        self.check_change(group, state)
        self._change(self._keys(group, ports), state, AccessStatus.IMPLICIT)

    def transition(self, group: int, to: AccessState, *, ports: TargetPorts | None = None) -> Transition:
        """Begin an implicit change: TRANSITIONING until `Transition.finish` or `Transition.fail`.

        Raises as `set_state`, also when a transition is going on already.
        """
        self.check_change(group, AccessState.TRANSITIONING)
        self.check_change(group, to)
        keys = self._keys(group, ports)
        before = {key: self._at(key) for key in keys}
        if any(access.state is AccessState.TRANSITIONING for access in before.values()):
            raise ConfigError(f"target port group {group} is in transition already")
        self._change(keys, AccessState.TRANSITIONING, AccessStatus.IMPLICIT)
        return Transition(self, before, to)

    def set_explicitly(self, states: dict[int, AccessState], *, by: ITNexus) -> None:
        """What SET TARGET PORT GROUPS asked for: every nexus of the device but ``by`` hears 2A/06."""
        for group, state in states.items():
            self._change([(by.target_ports, group)], state, AccessStatus.EXPLICIT, by=by)

    def prefer(self, group: int, preferred: bool = True, *, ports: TargetPorts | None = None) -> None:
        """Set PREF, a hint that is nobody's unit attention. Raises `ConfigError` for what is no group."""
        self.check_change(group, AccessState.ACTIVE_OPTIMIZED)
        for key in self._keys(group, ports):
            self._groups[key] = replace(self._at(key), preferred=preferred)

    def check_change(self, group: int, state: AccessState) -> None:
        """Raises `ConfigError` when `set_state` would."""
        if not 0 <= group <= 0xFFFF:
            raise ConfigError(f"target port group {group} is not one of 0 to 65535")
        if not self.modes:
            raise ConfigError(f"{self._unit} has no asymmetric access")
        if state not in self.supported:
            raise ConfigError(f"{self._unit} does not support the access state {AccessState(state).text}")

    def _keys(self, group: int, ports: TargetPorts | None) -> list[_Key]:
        if ports is not None:
            return [(ports, group)]
        return [key for key in self._groups if key[1] == group and key[0] is not None] + [(None, group)]

    def _at(self, key: _Key) -> GroupAccess:
        return self._groups.get(key) or self._groups.get((None, key[1])) or GroupAccess()

    def _change(
        self, keys: Iterable[_Key], state: AccessState, status: AccessStatus, *, by: ITNexus | None = None
    ) -> None:
        for key in keys:
            before = self._at(key)
            if before.state is not state:
                self._put(key, replace(before, state=AccessState(state), status=status))
                if state is not AccessState.TRANSITIONING:
                    self._tell(key, UnitAttention.ASYMMETRIC_ACCESS_STATE_CHANGED, except_for=by)
        self._unit.update_restricted()

    def _put(self, key: _Key, access: GroupAccess) -> None:
        self._groups.pop(key, None)
        self._groups[key] = access

    def _tell(self, key: _Key, attention: UnitAttention, *, except_for: ITNexus | None = None) -> None:
        """SPC-4: every I_T nexus of the device, whichever group it comes through.

        Who logs in later has nothing to hear.
        """
        ports, group = key
        for nexus in self._unit.nexuses:
            own = nexus.target_ports
            concerned = own is ports or (ports is None and (own, group) not in self._groups)
            if concerned and nexus is not except_for:
                nexus.establish(self._unit, attention)

    def _go_back(self, before: dict[_Key, GroupAccess]) -> None:
        for key, access in before.items():
            self._put(key, access)
            self._tell(key, UnitAttention.IMPLICIT_ACCESS_STATE_TRANSITION_FAILED)
        self._unit.update_restricted()

    # What commands meet.

    @property
    def restricts(self) -> bool:
        """Whether some nexus may not do everything."""
        return any(access.state in self.refusals for access in self._groups.values())

    def check(self, nexus: ITNexus, flags: CommandFlag) -> None:
        """Raises `CheckCondition` NOT READY when a command with these flags may not come this way now."""
        refusal = self.refusals.get(self.state(nexus.target_port_group, nexus.target_ports))
        if refusal is not None and not flags & refusal[0]:
            raise CheckCondition(SenseKey.NOT_READY, refusal[1])

    def hides(self, nexus: ITNexus) -> bool:
        """SPC-4: through an unavailable group the unit is not connected, INQUIRY says."""
        return self.state(nexus.target_port_group, nexus.target_ports) is AccessState.UNAVAILABLE


class Transition:
    """A change that is going on, see `AsymmetricAccess.transition`. It ends once, by one of the two calls."""

    __slots__ = ("_access", "_before", "to")

    def __init__(self, access: AsymmetricAccess, before: dict[_Key, GroupAccess], to: AccessState) -> None:
        self._access = access
        self._before = before
        self.to = to

    @property
    def in_progress(self) -> bool:
        """False after the end, and when `AsymmetricAccess.set_state` has ended it meanwhile."""
        at = self._access._at
        return bool(self._before) and all(at(key).state is AccessState.TRANSITIONING for key in self._before)

    def finish(self) -> bool:
        """The new state holds, every nexus hears 2A/06. False, and nothing done, when it has ended before."""
        if not self.in_progress:
            return False
        self._access._change(self._end(), self.to, AccessStatus.IMPLICIT)
        return True

    def fail(self) -> bool:
        """The old state holds again, every nexus hears 2A/07. False as `finish`."""
        if not self.in_progress:
            return False
        self._access._go_back(self._end())
        return True

    def _end(self) -> dict[_Key, GroupAccess]:
        before, self._before = self._before, {}
        return before
